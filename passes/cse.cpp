#include "passes/cse.h"

#include <algorithm>
#include <bit>
#include <map>
#include <unordered_map>

namespace gradc::passes {
using ir::Function;
using ir::Node;
using ir::Op;
using ir::Value;

namespace {
std::vector<Value> key_operands(const Node& node) {
  std::vector<Value> operands = node.operands;
  if (ir::info(node.op).traits & ir::commutative) std::sort(operands.begin(), operands.end());
  return operands;
}
size_t hash_of(const Node& node) {
  size_t hash = static_cast<size_t>(node.op) * 0x9e3779b97f4a7c15ull + node.attrs.hash();
  for (Value v : key_operands(node)) hash = (hash ^ v.id) * 0x100000001b3ull;
  return hash;
}
bool same(const Node& a, const Node& b) { return a.op == b.op && a.type == b.type && a.attrs == b.attrs && key_operands(a) == key_operands(b); }
}  // namespace

int merge_common(Function& f) {
  std::unordered_multimap<size_t, Value> seen;
  std::vector<Value> map(f.size());
  int merged = 0;
  for (uint32_t i = 0; i < f.size(); ++i) {
    Node& node = f.nodes[i];
    for (Value& operand : node.operands) operand = map[operand.id];
    map[i] = Value{i};
    if (node.op == Op::mark || node.op == Op::input) continue;   // a target of grad is itself alone; inputs are the signature
    size_t hash = hash_of(node);
    auto [begin, end] = seen.equal_range(hash);
    auto twin = std::find_if(begin, end, [&](const auto& entry) { return same(f.nodes[entry.second.id], node); });
    if (twin == end) {
      seen.emplace(hash, Value{i});
    } else {
      map[i] = twin->second;
      ++merged;
    }
  }
  for (ir::Result& r : f.results) r.value = map[r.value.id];
  f.prune();
  return merged;
}

int reuse_extrema(Function& f) {
  // Of the comparisons that an extremum decides the same way: max(x, c) <= c <=> x <= c, also for NaN.
  struct Row {
    Op extremum, comparison;
  };
  constexpr Row rows[] = {{Op::max, Op::le}, {Op::max, Op::gt}, {Op::min, Op::ge}, {Op::min, Op::lt}};
  std::map<std::tuple<Op, Value, uint64_t>, Value> extrema;
  int count = 0;
  for (uint32_t i = 0; i < f.size(); ++i) {
    Node& node = f.nodes[i];
    if (node.operands.size() != 2 || f[node.operands[1]].op != Op::constant) continue;
    uint64_t number = std::bit_cast<uint64_t>(f[node.operands[1]].attrs.number(ir::Attr::value));
    if (node.op == Op::max || node.op == Op::min) extrema.emplace(std::tuple(node.op, node.operands[0], number), Value{i});
    for (const Row& row : rows) {
      if (row.comparison != node.op) continue;
      auto found = extrema.find({row.extremum, node.operands[0], number});
      if (found == extrema.end()) continue;
      node.operands[0] = found->second;
      ++count;
      break;
    }
  }
  return count;
}
}  // namespace gradc::passes
