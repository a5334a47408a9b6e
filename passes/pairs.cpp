// A product of bf16 reads pairs of neighbours along the reduction from registers whose lanes run along the result's last index. Whoever has a matrix of
// f32 rounds and interleaves it first: a kernel does that for the 64 rows of each of its granules, which takes a tenth of a product's time and
// more where the matrix is also transposed (input gradients). As a value of its own the rounded matrix is made once a step, in the order in which the
// products read it. A step of
// 784-1024-1024-10 at batch 512 on one Zen 4 core went from 28.0 to 26.2 ms.
#include "passes/pairs.h"

#include <algorithm>
#include <map>

#include "ir/builder.h"

namespace gradc::passes {
using namespace ir;

namespace {
bool has(const std::string& letters, char c) { return letters.find(c) != letters.npos; }

ContractSpec spec_of(const Node& contract) { return std::get<ContractSpec>(ContractSpec::parse(contract.attrs.text(Attr::spec))); }

// What `paired` asks for (ir/layout.h), and enough columns for two vectors.
bool fits(const Type& matrix, int64_t summed) { return matrix.rank() == 2 && matrix.shape[summed] >= 2 && matrix.shape[summed] % 2 == 0 && matrix.shape[1 - summed] >= 32 && matrix.shape[1 - summed] % 16 == 0; }
}  // namespace

std::optional<LaneMatrix> lane_matrix(const Function& f, const Node& contract) {
  ContractSpec spec = spec_of(contract);
  if (spec.result.empty()) return std::nullopt;
  char lane = spec.result.back();
  if (has(spec.a, lane) == has(spec.b, lane)) return std::nullopt;
  size_t operand = has(spec.b, lane);
  const std::string& letters = operand ? spec.b : spec.a;
  if (letters.size() != 2) return std::nullopt;
  int64_t summed = letters[0] == lane ? 1 : 0;
  if (has(spec.result, letters[summed]) || !fits(f.type(contract.operands[operand]), summed)) return std::nullopt;
  return LaneMatrix{operand, summed};
}

std::optional<int64_t> paired_axis(const Function& f, Value cast, const std::vector<Value>& users) {
  const Node& node = f[cast];
  if (node.op != Op::cast || node.type.element != ElementType::bf16 || f.type(node.operands[0]).element != ElementType::f32 || users.empty()) return std::nullopt;
  std::optional<int64_t> axis;
  for (Value user : users) {
    if (f[user].op != Op::contract || contract_precision(f[user].attrs) != Precision::bf16) return std::nullopt;
    std::optional<LaneMatrix> matrix = lane_matrix(f, f[user]);
    if (!matrix || f[user].operands[matrix->operand] != cast || f[user].operands[1 - matrix->operand] == cast || (axis && *axis != matrix->summed)) return std::nullopt;
    axis = matrix->summed;
  }
  return axis;
}

void share_roundings(Function& f, int64_t least_rows) {
  Function out;
  out.name = f.name;
  Builder b(out);
  std::vector<Value> map(f.size());
  std::map<std::pair<Value, int64_t>, Value> rounded;   // by what is rounded and the axis of its pairs
  for (uint32_t i = 0; i < f.size(); ++i) {
    Node node = f.nodes[i];
    std::optional<LaneMatrix> matrix;
    if (node.op == Op::contract && contract_precision(node.attrs) == Precision::bf16) matrix = lane_matrix(f, node);
    std::optional<Value> cast;
    if (matrix) {
      Value x = node.operands[matrix->operand];
      int64_t rows = node.type.size() / f.type(x).shape[1 - matrix->summed];
      if (rows >= least_rows && f.type(x).element == ElementType::f32) {
        auto [known, fresh] = rounded.try_emplace({x, matrix->summed});
        if (fresh) b.loc = node.loc, known->second = b.cast(map[x.id], ElementType::bf16);
        cast = known->second;
      }
    }
    for (Value& operand : node.operands) operand = map[operand.id];
    if (cast) node.operands[matrix->operand] = *cast;
    map[i] = out.append(std::move(node));
  }
  out.results = std::move(f.results);
  for (Result& r : out.results) r.value = map[r.value.id];
  f = std::move(out);
}

}  // namespace gradc::passes
