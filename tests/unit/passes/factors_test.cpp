// Sums of products with a factor that is known last: derivatives of activations become one value.
#include <catch2/catch.hpp>

#include <random>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "passes/factors.h"
#include "passes/pass.h"

using namespace gradc;
using namespace gradc::ir;

namespace {
// y = f(x w) u and the gradient of sum(y) by x, for an activation f.
template <class Activation>
Function layer(Activation f) {
  Function made;
  Builder b(made);
  Value x = b.make(Op::mark, {b.input("x", {ElementType::f64, {4, 8}})});
  Value z = b.contract("mk,kn->mn", x, b.input("w", {ElementType::f64, {8, 6}}));
  Value y = b.contract("mk,kn->mn", f(b, z), b.input("u", {ElementType::f64, {6, 5}}));
  Value r = b.map(Op::mul, {y, y});
  made.results = {{"dx", b.make(Op::grad, {b.reduce(Op::reduce_sum, r, {0, 1}), x}), false}};
  passes::expand_gradients(made);
  passes::optimize(made);
  return made;
}

// Maps that read a product which depends on another one: cotangents.
int readers_of_cotangents(const Function& f) {
  std::vector<int> depth(f.size());
  int count = 0;
  for (uint32_t i = 0; i < f.size(); ++i) {
    const Node& node = f.nodes[i];
    for (Value operand : node.operands) {
      depth[i] = std::max(depth[i], depth[operand.id]);
      count += f[operand].op == Op::contract && depth[operand.id] == 3 && is_map(node.op);
    }
    depth[i] += node.op == Op::contract;
  }
  return count;
}

Value half(Builder& b) { return b.scalar(0.5, ElementType::f64); }
Value silu(Builder& b, Value z) { return b.map(Op::mul, {z, b.map(Op::sigmoid, {z})}); }
Value gelu(Builder& b, Value z) { return b.map(Op::mul, {b.map(Op::mul, {z, half(b)}), b.map(Op::add, {b.map(Op::erf, {z}), b.scalar(1, ElementType::f64)})}); }
Value gelu_by_tanh(Builder& b, Value z) {
  Value cube = b.map(Op::mul, {b.map(Op::mul, {z, z}), z});
  return b.map(Op::mul, {b.map(Op::mul, {z, half(b)}), b.map(Op::add, {b.map(Op::tanh, {b.map(Op::add, {z, cube})}), b.scalar(1, ElementType::f64)})});
}
}  // namespace

TEST_CASE("the gradient of an activation that is a product reads its cotangent once") {
  for (auto activation : {silu, gelu, gelu_by_tanh}) {
    Function f = layer(activation);
    Bindings at;
    std::mt19937 random(2);
    for (const Node& node : f.nodes)
      if (node.op == Op::input) {
        Tensor t(node.type);
        for (int64_t i = 0; i < t.size(); ++i) t.set(i, std::normal_distribution<double>()(random));
        at[node.attrs.text(Attr::name)] = t;
      }
    Tensor before = evaluate(f, at).at("dx");
    CHECK(readers_of_cotangents(f) > 1);
    CHECK(passes::take_out_late_factors(f) > 0);
    CHECK(readers_of_cotangents(f) == 1);
    Tensor after = evaluate(f, at).at("dx");
    for (int64_t i = 0; i < before.size(); ++i) CHECK(after.at(i) == Approx(before.at(i)).epsilon(1e-12));
  }
}

TEST_CASE("sums without a common factor that is known last stay as they are") {
  Function f;
  Builder b(f);
  const Type matrix{ElementType::f32, {4, 4}};
  Value x = b.input("x", matrix), y = b.input("y", matrix), z = b.input("z", matrix), p = b.contract("mk,kn->mn", x, y), q = b.contract("mk,kn->mn", y, x);
  auto times = [&](Value u, Value v) { return b.map(Op::mul, {u, v}); };
  f.results = {{"none", b.map(Op::add, {times(x, y), times(p, z)}), false},
               {"as_late", b.map(Op::add, {times(p, q), times(p, x)}), false},   // q is no earlier than p
               {"alone", b.map(Op::add, {p, times(p, x)}), false}};
  CHECK(passes::take_out_late_factors(f) == 0);
  f.results = {{"one", b.map(Op::sub, {times(x, p), times(p, z)}), false}};
  CHECK(passes::take_out_late_factors(f) == 1);
}
