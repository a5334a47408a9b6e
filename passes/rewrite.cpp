// The engine of the local rewrites: it rebuilds the function in SSA order and offers each node to the rules.
#include <vector>

#include "ir/check.h"
#include "passes/rules.h"

namespace gradc::passes {
using ir::Function;
using ir::Value;

int apply_rules(Function& f, std::span<const Rule> rules) {
  constexpr int bound = 1000;   // rewrites of one node: more means that two rules undo each other
  Function to;
  to.name = f.name;
  ir::Builder b(to);
  std::vector<Value> map(f.size());
  int count = 0;
  for (uint32_t i = 0; i < f.size(); ++i) {
    ir::Node& node = f.nodes[i];
    for (Value& operand : node.operands) operand = map[operand.id];
    b.loc = node.loc;
    Value v = to.append(std::move(node));
    for (int tries = 0;;) {
      Value better;
      const Rule* applied = nullptr;
      for (const Rule& rule : rules) {
        if (!rule.heads.matches(to[v].op)) continue;
        better = rule.rewrite({&b, v});
        applied = &rule;
        if (better.valid()) break;
      }
      if (!better.valid()) break;
      CHECK(to.type(better) == to.type(v), "rule {} gives {} for {}", applied->name, ir::to_string(to.type(better)), ir::to_string(to.type(v)));
      CHECK(++tries < bound, "rule {} and others undo each other", applied->name);
      v = better;
      ++count;
    }
    map[i] = v;
  }
  to.results = std::move(f.results);
  for (ir::Result& r : to.results) r.value = map[r.value.id];
  f = std::move(to);
  return count;
}

std::span<const Rule> all_rules() {
  static const std::vector<Rule> rules = [] {
    std::vector<Rule> all;
    for (auto table : {arithmetic_rules(), logic_rules(), view_rules(), reduce_rules(), contract_rules()}) all.insert(all.end(), table.begin(), table.end());
    return all;
  }();
  return rules;
}
}  // namespace gradc::passes
