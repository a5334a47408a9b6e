// Sums in parts (ir/kernel.h): which products add to what their result holds, block by block of what they sum over. So their operands need not be in memory at once. Lanes run along the
// result's last index and both operands are read where they lie: others are products like any other.
#include <algorithm>

#include "ir/infer.h"
#include "ir/reshape_runs.h"
#include "passes/fusion_groups.h"

namespace gradc::passes {
using namespace ir;

namespace {
bool has(const std::string& letters, char c) { return letters.find(c) != letters.npos; }

Shape without_ones(Shape shape) {
  std::erase(shape, 1);
  return shape;
}

// Whether the elements lie in memory row by row: a value that is stored, perhaps under another shape.
bool lies_as_written(const Function& f, Value v) {
  while (f[v].op == Op::reshape) v = f[v].operands[0];
  return f[v].type.element == ElementType::f32 && (computes(f[v]) || f[v].op == Op::input || f[v].op == Op::variable);
}

// Whether each axis has one stride in memory, the last one 1: a value that is stored, seen through transpositions and reshapes that split its axes.
bool lies_in_steps(const Function& f, Value v) {
  for (; is_view(f[v].op); v = f[v].operands[0]) {
    const Node& view = f[v];
    if (view.op == Op::after || (view.op == Op::transpose && view.attrs.integers(Attr::axes).back() == view.type.rank() - 1)) continue;
    if (view.op != Op::reshape) return false;
    const Shape& from = f.type(view.operands[0]).shape;
    for (const ReshapeRun& run : reshape_runs(view.type.shape, from))
      if (without_ones(Shape(from.begin() + static_cast<int64_t>(run.other_first), from.begin() + static_cast<int64_t>(run.other_last))).size() > 1) return false;
  }
  return lies_as_written(f, v);
}

// Whether a value follows row by row what waits for other kernels: it is computed again there, or goes with what is.
bool computed_again(const Groups& g, Value v) {
  const Shape rows = without_ones(g.f.type(v).shape);
  std::set<int> seen;
  std::vector<int> stack = {g.of[g.base(v).id]};
  while (!stack.empty()) {
    int at = stack.back();
    stack.pop_back();
    if (at < 0 || !seen.insert(at).second || without_ones(g.all[at].domain) != rows) continue;
    if (g.all[at].waits) return true;
    stack.insert(stack.end(), g.all[at].needs.begin(), g.all[at].needs.end());
  }
  return false;
}

// "xtBA,xtBC->xBAC" or "->xBCA", where t is summed and B in both.
bool in_first_parts(const std::string& a, const std::string& b, const std::string& result) {
  size_t shared = 0;
  while (shared < std::min(a.size(), b.size()) && a[shared] == b[shared]) ++shared;
  if (shared < 2 || shared == a.size() || shared == b.size()) return false;
  const std::string common = a[0] + a.substr(2, shared - 2);
  return result == common + a.substr(shared) + b.substr(shared) || result == common + b.substr(shared) + a.substr(shared);
}

// "XtA" and an operand that has X, t and C, for "->XAC" or "->XCA" with one index A and one C, the last of them last in its operand: how many indices X has. Else 0.
size_t parts_of_square(const std::string& square, const std::string& other, const std::string& result) {
  if (square.size() < 3 || other.size() != square.size() || result.size() != square.size()) return 0;
  const size_t t = square.size() - 2;
  const char a = square[t + 1], c = has(square, result[t]) ? result[t + 1] : result[t];
  for (size_t i = 0; i <= t; ++i)
    if (!has(other, square[i])) return 0;
  const bool fits = result.substr(0, t) == square.substr(0, t) && has(result, a) && !has(other, a) && has(other, c) && !has(square, c);
  return fits && (result.back() == a || other.back() == c) ? t : 0;
}
}  // namespace

int64_t parts_of_sum(const Groups& g, const std::vector<Value>& users, Value v) {
  const Function& f = g.f;
  const Node& node = f[v];
  if (node.type.element != ElementType::f32 || contract_precision(node.attrs) != Precision::f32) return 0;
  const ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(node.attrs.text(Attr::spec)));
  auto ones_from = [](const Shape& shape, size_t first) { return std::find(shape.begin() + static_cast<int64_t>(first), shape.end(), 1) != shape.end(); };   // they have no place in a loop
  const bool summed = std::all_of(users.begin(), users.end(), [&](Value user) { return f[user].op == Op::reduce_sum && f[user].attrs.integers(Attr::axes) == std::vector<int64_t>{0}; });
  if (summed && in_first_parts(spec.a, spec.b, spec.result) && !ones_from(node.type.shape, 0) && f.type(node.operands[0]).shape[1] != 1 && lies_as_written(f, node.operands[0]) &&
      lies_as_written(f, node.operands[1]))
    return 1;
  for (size_t side : {0, 1}) {
    const Value square = node.operands[side], other = node.operands[1 - side];
    const size_t parts = parts_of_square(side ? spec.b : spec.a, side ? spec.a : spec.b, spec.result);
    if (parts > 0 && !ones_from(f.type(square).shape, parts) && !ones_from(node.type.shape, parts) && computed_again(g, square) && lies_as_written(f, square) && lies_in_steps(f, other))
      return static_cast<int64_t>(parts);
  }
  return 0;
}

}  // namespace gradc::passes
