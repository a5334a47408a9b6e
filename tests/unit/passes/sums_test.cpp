// Sums over samples and places in two: within each sample, then over samples.
#include <catch2/catch.hpp>

#include <cmath>
#include <random>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "passes/fusion.h"
#include "passes/pass.h"

using namespace gradc::ir;
using namespace gradc;

namespace {
const ElementType f32 = ElementType::f32;

// mean(x), mean((x - mean(x))^2) over all axes but the last, as the library writes them.
Function moments(Shape shape) {
  Function f;
  Builder b(f);
  Value x = b.input("x", {f32, shape});
  const int64_t last = static_cast<int64_t>(shape.size()) - 1;
  std::vector<int64_t> axes;
  for (int64_t axis = 0; axis < last; ++axis) axes.push_back(axis);
  Value mean = b.reduce(Op::reduce_mean, x, axes);
  Value centred = b.make(Op::sub, {x, b.broadcast(mean, shape, {last})});
  f.results = {{"mean", mean, false}, {"variance", b.reduce(Op::reduce_mean, b.make(Op::mul, {centred, centred}), axes), false}};
  passes::optimize(f);
  return f;
}

int sums(const Function& f) {
  int count = 0;
  for (const Node& node : f.nodes) count += node.op == Op::reduce_sum;
  return count;
}
}  // namespace

TEST_CASE("moments over a batch are one kernel over places and one over samples") {
  Function f = moments({16, 8, 8, 24});
  passes::prepare_for_fusion(f);
  std::vector<KernelCall> calls = passes::fuse(f);
  REQUIRE(calls.size() == 2);
  CHECK(calls[0].kernel.form == Form::column);
  CHECK(calls[0].kernel.kept == 1);
  CHECK(calls[0].kernel.units == 16);
  CHECK(calls[0].results.size() == 2);
  CHECK(calls[1].kernel.form == Form::column);
  CHECK(calls[1].kernel.kept == 0);
}

TEST_CASE("short sums, few samples and few columns stay as they are") {
  for (Shape shape : {Shape{4, 40, 40, 24}, {64, 4, 4, 24}, {64, 16, 16, 3}, {8, 5, 5, 24}, {4096, 24}}) {
    Function f = moments(shape);
    const int before = sums(f);
    passes::prepare_for_fusion(f);
    CHECK(sums(f) == before);
  }
}

TEST_CASE("a variance in two sums does not cancel") {
  const Shape shape = {16, 8, 8, 24};
  Function f = moments(shape);
  Tensor x({f32, shape});
  std::mt19937 random(3);
  for (int64_t i = 0; i < x.size(); ++i) x.set(i, 1000 + std::uniform_real_distribution<float>(-1, 1)(random) + (i / (64 * 24)) * 0.1f);
  std::vector<double> exact(24);
  for (int64_t c = 0; c < 24; ++c) {
    double sum = 0, squares = 0;
    for (int64_t i = c; i < x.size(); i += 24) sum += x.at(i);
    for (int64_t i = c; i < x.size(); i += 24) squares += std::pow(x.at(i) - sum / 1024, 2);
    exact[c] = squares / 1024;
  }
  passes::prepare_for_fusion(f);
  CHECK(sums(f) == 4);
  Bindings is = evaluate(f, {{"x", x}});
  for (int64_t c = 0; c < 24; ++c) CHECK(std::abs(is.at("variance").at(c) - exact[c]) < 1e-4 * exact[c]);   // the mean itself is rounded by 3e-5
}
