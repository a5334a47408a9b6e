// Local rewrites: named rules in tables, one identity each.
//
// The discipline: a rule looks at one node and a few of its operands; both sides have the same value under the float contract in
// ir/ops.def and the same type; the right side costs no more than the left side; and all rules pull the same way, so that they end:
// constants to the right operand, negations, reshapes, transposes and broadcasts towards the results, numbers together.
// tests/unit/passes holds an example of each rule, run with random inputs on both sides.
#pragma once
#include <cmath>
#include <optional>
#include <span>
#include <string_view>

#include "passes/term.h"

namespace gradc::passes {

/// The operations that a rule looks at: some by name, or all maps.
struct Heads {
  ir::Op ops[6] = {};
  int count = 0;
  bool all_maps = false;
  constexpr Heads(std::same_as<ir::Op> auto... op) : ops{op...}, count(sizeof...(op)) {}
  static constexpr Heads maps() {
    Heads heads;
    heads.all_maps = true;
    return heads;
  }
  bool matches(ir::Op op) const {
    if (all_maps) return ir::is_map(op);
    for (int i = 0; i < count; ++i)
      if (ops[i] == op) return true;
    return false;
  }
};

/// The value that a node may be replaced by, or an invalid one if the rule does not apply.
using Rewrite = ir::Value (*)(Term);

struct Rule {
  std::string_view name;
  Heads heads;
  Rewrite rewrite;
};

std::span<const Rule> arithmetic_rules();
std::span<const Rule> logic_rules();
std::span<const Rule> view_rules();
std::span<const Rule> reduce_rules();
std::span<const Rule> contract_rules();
/// All of them, in the order in which they are tried.
std::span<const Rule> all_rules();

/// One sweep in SSA order, each node rewritten until no rule applies to it; says how often one did. Leaves dead nodes.
int apply_rules(ir::Function&, std::span<const Rule>);

// ---- for rules

/// The number that every element of a constant is.
inline std::optional<double> number(Term t) {
  if (!t.is(ir::Op::constant)) return std::nullopt;
  return t.node().attrs.number(ir::Attr::value);
}
inline bool is_number(Term t, double n) { return number(t) == n; }
inline bool is_power_of_two(double n) {
  int exponent;
  return std::isnormal(n) && std::abs(std::frexp(n, &exponent)) == 0.5;
}
inline ir::Shape without_ones(const ir::Shape& shape) {
  ir::Shape rest;
  for (int64_t extent : shape)
    if (extent != 1) rest.push_back(extent);
  return rest;
}

}  // namespace gradc::passes
