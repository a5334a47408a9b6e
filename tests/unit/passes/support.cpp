#include "tests/unit/passes/support.h"

#include <catch2/catch.hpp>
#include <random>

#include "ir/text.h"

namespace gradc::passes {
using namespace ir;

Bindings random_arguments(const Function& f, uint64_t seed) {
  std::mt19937_64 random(seed);
  Bindings at;
  for (const Node& node : f.nodes) {
    if (node.op != Op::input && node.op != Op::variable) continue;
    std::string name = (node.op == Op::variable ? "@" : "") + node.attrs.text(Attr::name);
    Tensor t(node.type);
    for (int64_t i = 0; i < t.size(); ++i) {
      double magnitude = std::uniform_real_distribution<double>(0.1, 2)(random);
      t.set(i, is_float(node.type.element) ? (random() % 2 ? magnitude : -magnitude) : static_cast<double>(random() % 4));
    }
    at[name] = t;
  }
  return at;
}

void check_same_values(const Function& left, const Function& right, uint64_t seed, double tolerance) {
  Bindings at = random_arguments(left, seed);
  for (const auto& [name, value] : random_arguments(right, seed)) at.emplace(name, value);
  Bindings l = evaluate(left, at), r = evaluate(right, at);
  REQUIRE(l.size() == r.size());
  for (const auto& [name, expected] : l) {
    const Tensor& actual = r.at(name);
    REQUIRE(actual.type == expected.type);
    for (int64_t i = 0; i < expected.size(); ++i) {
      double a = expected.at(i), b = actual.at(i);
      bool same = a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= tolerance * std::max({1.0, std::abs(a), std::abs(b)});
      if (same) continue;
      FAIL_CHECK(name << "[" << i << "] is " << a << " and " << b << " in\n" << print(left) << "\n" << print(right));
      return;
    }
  }
}
}  // namespace gradc::passes
