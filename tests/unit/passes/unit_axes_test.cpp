// Axes of extent 1 leave the arithmetic, and nothing else changes.
#include <catch2/catch.hpp>

#include "ir/builder.h"
#include "ir/verify.h"
#include "passes/unit_axes.h"
#include "tests/unit/passes/support.h"

using namespace gradc;
using namespace gradc::ir;

namespace {
bool has_ones(const Shape& shape) { return std::find(shape.begin(), shape.end(), 1) != shape.end(); }

// Images of one channel, seen through windows and folded back; softmax along a row of a single sample.
Function example() {
  Function f;
  Builder b(f);
  const std::vector<int64_t> axes = {1, 2}, size = {3, 3}, stride = {2, 2}, ones = {1, 1};
  Value image = b.input("image", {ElementType::f32, {2, 9, 7, 1}});
  Value seen = b.make(Op::windows, {b.map(Op::tanh, {image})}, {{Attr::axes, axes}, {Attr::size, size}, {Attr::stride, stride}, {Attr::dilation, ones}, {Attr::low, ones}, {Attr::high, ones}, {Attr::value, 0.0}});
  Value folded = b.make(Op::fold, {b.map(Op::mul, {seen, seen})}, {{Attr::shape, Shape{2, 9, 7, 1}}, {Attr::axes, axes}, {Attr::size, size}, {Attr::stride, stride}, {Attr::dilation, ones}, {Attr::low, ones}, {Attr::high, ones}});
  Value row = b.input("row", {ElementType::f32, {1, 4, 1, 5}});
  Value e = b.map(Op::exp, {row}), total = b.reduce(Op::reduce_sum, e, {0, 3});
  Value soft = b.map(Op::div, {e, b.broadcast(total, b.type(e).shape, {1, 2})});
  Value turned = b.transpose(b.map(Op::sin, {soft}), {3, 2, 0, 1});
  Value alone = b.reduce(Op::reduce_max, b.input("alone", {ElementType::f32, {1, 1}}), {0});
  f.results = {{"folded", b.map(Op::neg, {folded}), false}, {"turned", turned, false}, {"alone", alone, false}, {"whole", seen, false}};
  return f;
}
}  // namespace

TEST_CASE("values without axes of extent 1 are the same") {
  const Function before = example();
  Function after = before;
  passes::drop_unit_axes(after);
  CHECK(verify(after) == "");
  passes::check_same_values(before, after, 3, 1e-6);
  for (const Node& node : after.nodes)
    if (is_reduce(node.op) || node.op == Op::windows || node.op == Op::broadcast) CHECK_FALSE(has_ones(node.type.shape));
  for (size_t i = 0; i < before.results.size(); ++i) CHECK(after.type(after.results[i].value) == before.type(before.results[i].value));
}

TEST_CASE("only images of one channel lose it for their lanes") {
  Function one = example(), none = example();
  std::erase_if(none.results, [](const Result& r) { return r.name == "folded"; });
  none.prune();
  const size_t size = none.size();
  passes::spread_single_channels(none);
  CHECK(none.size() == size);
  passes::spread_single_channels(one);
  CHECK(std::any_of(one.nodes.begin(), one.nodes.end(), [](const Node& node) { return node.op == Op::fold && node.type.shape == Shape{2, 9, 7}; }));
}
