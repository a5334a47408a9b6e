// Convolutions as Winograd's algorithm computes them: which are rewritten, and that they are the same sums, to what rounding allows.
#include "passes/winograd.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <random>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/verify.h"
#include "passes/pass.h"

using namespace gradc::ir;
using namespace gradc::passes;

namespace {
struct Case {
  int64_t samples, height, width, channels, filters, low, high;
};

// y = conv(x, w), and with s = sum(y * r) the gradients of s by x and w, optimized.
Function convolution(const Case& c, ElementType element) {
  Function f;
  Builder b(f);
  Value x = b.make(Op::mark, {b.input("x", {element, {c.samples, c.height, c.width, c.channels}})}), w = b.make(Op::mark, {b.input("w", {element, {3, 3, c.channels, c.filters}})});
  Value seen = b.make(Op::windows, {x}, {{Attr::axes, std::vector<int64_t>{1, 2}}, {Attr::size, std::vector<int64_t>{3, 3}}, {Attr::stride, std::vector<int64_t>{1, 1}}, {Attr::dilation, std::vector<int64_t>{1, 1}},
                                         {Attr::low, std::vector<int64_t>(2, c.low)}, {Attr::high, std::vector<int64_t>(2, c.high)}, {Attr::value, 0.0}});
  Value y = b.contract("nijuvc,uvck->nijk", seen, w);
  Value s = b.reduce(Op::reduce_sum, b.map(Op::mul, {y, b.input("r", b.type(y))}), {0, 1, 2, 3});
  f.results = {{"y", y, false}, {"dx", b.make(Op::grad, {s, x}), false}, {"dw", b.make(Op::grad, {s, w}), false}};
  expand_gradients(f);
  optimize(f);
  return f;
}

Bindings inputs(const Function& f, uint32_t seed) {
  std::mt19937 random(seed);
  Bindings at;
  for (const Node& node : f.nodes)
    if (node.op == Op::input) {
      Tensor t(node.type);
      for (int64_t i = 0; i < t.size(); ++i) t.set(i, std::uniform_real_distribution<float>(-1, 1)(random));
      at[node.attrs.text(Attr::name)] = t;
    }
  return at;
}

// The largest difference, relative to the largest value.
double error(const Tensor& is, const Tensor& wanted) {
  double largest = 0, difference = 0;
  for (int64_t i = 0; i < wanted.size(); ++i) {
    largest = std::max(largest, std::abs(wanted.at(i)));
    difference = std::max(difference, std::abs(wanted.at(i) - is.at(i)));
  }
  return difference / largest;
}
}  // namespace

TEST_CASE("Winograd's algorithm computes a convolution and its gradients") {
  for (Case c : {Case{2, 8, 8, 8, 8, 1, 1}, {1, 7, 9, 5, 3, 1, 1}, {2, 6, 5, 4, 6, 0, 0}, {1, 3, 3, 2, 2, 1, 1}, {1, 5, 4, 3, 2, 2, 1}, {3, 1, 2, 2, 3, 1, 1}})
    for (Winograd how : {Winograd::tile2, Winograd::tile4}) {
      Function f = convolution(c, ElementType::f32), exact = convolution(c, ElementType::f64);
      INFO("samples " << c.samples << ", " << c.height << " x " << c.width << ", channels " << c.channels << " to " << c.filters << ", padding " << c.low << ", " << c.high);
      const int count = use_winograd(f, how);
      const bool ones = c.samples == 1 || c.height == 1;   // the gradient by x is then a fold of a reshape, which stays one
      CHECK(count == (ones ? 2 : 3));
      CHECK(verify(f) == "");
      Bindings at = inputs(f, 1), wide;
      for (const auto& [name, tensor] : at) {
        Tensor t({ElementType::f64, tensor.type.shape});
        for (int64_t i = 0; i < t.size(); ++i) t.set(i, tensor.at(i));
        wide[name] = t;
      }
      Bindings is = evaluate(f, at), wanted = evaluate(exact, wide);
      for (const char* name : {"y", "dx", "dw"}) CHECK(error(is.at(name), wanted.at(name)) < (how == Winograd::tile2 ? 2e-6 : 2e-5));
    }
}

TEST_CASE("what the model finds slower, and what is no such convolution, stays") {
  auto rewrites = [](const Case& c, Winograd how) {
    Function f = convolution(c, ElementType::f32);
    return use_winograd(f, how);
  };
  CHECK(rewrites({2, 8, 8, 32, 32, 1, 1}, Winograd::automatic) == 3);
  CHECK(rewrites({2, 8, 8, 1, 32, 1, 1}, Winograd::automatic) == 0);   // one channel: transforms cost more than they save
  CHECK(rewrites({2, 8, 8, 32, 32, 1, 1}, Winograd::never) == 0);
  Function wide = convolution({2, 8, 8, 32, 32, 1, 1}, ElementType::f64);
  CHECK(use_winograd(wide) == 0);

  auto strided = [](int64_t stride, int64_t size, Precision precision, bool rounded = false) {
    Function f;
    Builder b(f);
    const std::vector<int64_t> low(2, size / 2);
    Value seen = b.make(Op::windows, {b.input("x", {ElementType::f32, {2, 12, 12, 32}})}, {{Attr::axes, std::vector<int64_t>{1, 2}}, {Attr::size, std::vector<int64_t>(2, size)}, {Attr::stride, std::vector<int64_t>(2, stride)},
                                                                                           {Attr::dilation, std::vector<int64_t>{1, 1}}, {Attr::low, low}, {Attr::high, low}, {Attr::value, 0.0}});
    f.results = {{"y", b.contract("nijuvc,uvck->nijk", seen, b.input("w", {ElementType::f32, {size, size, 32, 32}}), precision), false}};
    return use_winograd(f, Winograd::automatic, rounded);
  };
  CHECK(strided(1, 3, Precision::f32) == 1);
  CHECK(strided(2, 3, Precision::f32) == 0);
  CHECK(strided(1, 5, Precision::f32) == 0);
  CHECK(strided(1, 3, Precision::bf16) == 0);
  CHECK(strided(1, 3, Precision::bf16, true) == 1);
}

TEST_CASE("a convolution and the gradient of its kernel share the transform of the input") {
  Function f = convolution({2, 8, 8, 32, 32, 1, 1}, ElementType::f32);
  use_winograd(f, Winograd::tile2);
  auto transforms = std::count_if(f.nodes.begin(), f.nodes.end(), [](const Node& node) { return node.op == Op::windows; });
  CHECK(transforms == 3);   // of x, of dy as an input, of dy as a cotangent
}
