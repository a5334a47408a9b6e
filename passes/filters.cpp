// The gradient of a convolution's input applies filters uvck to windows of dy, summing over k, with lanes along c. Filters in that order are transposed
// for every few lines of the image if each granule does it for itself: a tenth to a third of its time. On one Zen 4 core of 115 GFLOP/s that left 73 to 84 to a 3x3
// convolution of 28x28, 32 to 32 channels; with filters transposed beforehand a 5x5 one reaches 114, as its forward pass does.
#include "passes/filters.h"

#include <algorithm>

#include "ir/builder.h"
#include "ir/infer.h"

namespace gradc::passes {
using namespace ir;

namespace {
constexpr int64_t least_rows = 256;   // that filters are applied to

bool has(const std::string& letters, char c) { return letters.find(c) != letters.npos; }

// The operand with the result's last index, if it is applied to windows; else -1.
int filters_of(const Function& f, const Node& contract) {
  if (contract.op != Op::contract || contract_precision(contract.attrs) != Precision::f32 || contract.type.size() == 0) return -1;
  ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(contract.attrs.text(Attr::spec)));
  if (spec.result.empty()) return -1;
  const char lane = spec.result.back();
  if (has(spec.a, lane) == has(spec.b, lane)) return -1;
  const int filters = has(spec.b, lane);
  const std::string &mine = filters ? spec.b : spec.a, &other = filters ? spec.a : spec.b;
  Value v = contract.operands[1 - filters];
  while (is_view(f[v].op) && f[v].op != Op::windows) v = f[v].operands[0];
  if (f[v].op != Op::windows) return -1;
  int64_t columns = 1;
  for (size_t i = 0; i < mine.size(); ++i)
    if (has(spec.result, mine[i]) && !has(other, mine[i])) columns *= f.type(contract.operands[filters]).shape[i];
  return contract.type.size() / columns >= least_rows ? filters : -1;
}
}  // namespace

bool turn_filters(Function& f, Node& contract) {
  const int filters = filters_of(f, contract);
  if (filters < 0) return false;
  ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(contract.attrs.text(Attr::spec)));
  std::string& mine = filters ? spec.b : spec.a;
  const std::string& other = filters ? spec.a : spec.b;
  if (mine.back() == spec.result.back()) return false;
  // What both have comes first, in the order of the windows, then the rest in the result's.
  std::string turned;
  for (char c : other)
    if (has(mine, c)) turned += c;
  for (char c : spec.result)
    if (has(mine, c) && !has(other, c)) turned += c;
  if (turned.size() != mine.size()) return false;
  std::vector<int64_t> order;
  for (char c : turned) order.push_back(static_cast<int64_t>(mine.find(c)));
  Builder b(f);
  b.loc = contract.loc;
  contract.operands[filters] = b.transpose(contract.operands[filters], order);
  mine = turned;
  contract.attrs.set(Attr::spec, spec.text());
  return true;
}

bool turned_filters(const Function& f, const Node& contract, Value operand) {
  const int filters = filters_of(f, contract);
  return filters >= 0 && contract.operands[filters] == operand && f[operand].op == Op::transpose;
}

}  // namespace gradc::passes
