#include <catch2/catch.hpp>

#include <algorithm>

#include "ir/builder.h"
#include "passes/fusion.h"

using namespace gradc::ir;
using namespace gradc::passes;

namespace {
const ElementType f32 = ElementType::f32;

std::vector<KernelCall> fused(Function& f) {
  prepare_for_fusion(f);
  return fuse(f);
}
int count(const std::vector<KernelCall>& calls, Form form) {
  int n = 0;
  for (const KernelCall& call : calls) n += call.kernel.form == form;
  return n;
}
}  // namespace

TEST_CASE("bias and activation ride in the contract's epilogue") {
  Function f;
  Builder b(f);
  Value y = b.contract("mk,kn->mn", b.input("x", {f32, {128, 784}}), b.variable("w", {f32, {784, 256}}));
  Value z = b.map(Op::add, {y, b.variable("b", {f32, {256}})});
  f.results.push_back({"a", b.map(Op::max, {z, b.scalar(0, f32)}), false});
  auto calls = fused(f);
  REQUIRE(calls.size() == 1);
  CHECK(calls[0].kernel.form == Form::contract);
  CHECK(calls[0].kernel.units == 128);
  CHECK(calls[0].arguments.size() == 3);
}

TEST_CASE("arithmetic on a contract's operand is stored before it") {
  Function f;
  Builder b(f);
  Value x = b.map(Op::mul, {b.cast(b.input("x", {ElementType::u8, {128, 28, 28}}), f32), b.scalar(1.0 / 255, f32)});
  f.results.push_back({"y", b.contract("mk,kn->mn", b.reshape(x, {128, 784}), b.variable("w", {f32, {784, 256}})), false});
  auto calls = fused(f);
  REQUIRE(calls.size() == 2);
  CHECK(calls[0].kernel.form == Form::map);
  CHECK(calls[1].kernel.form == Form::contract);
}

TEST_CASE("softmax is one kernel over rows") {
  Function f;
  Builder b(f);
  Value x = b.input("x", {f32, {128, 10}});
  auto keep = [&](Value v) { return b.broadcast(v, {128, 10}, {0}); };
  Value e = b.make(Op::exp, {b.make(Op::sub, {x, keep(b.reduce(Op::reduce_max, x, {1}))})});
  f.results.push_back({"p", b.make(Op::div, {e, keep(b.reduce(Op::reduce_sum, e, {1}))}), false});
  auto calls = fused(f);
  REQUIRE(calls.size() == 1);
  CHECK(calls[0].kernel.form == Form::row);
  CHECK(calls[0].kernel.outer == 1);
  CHECK(calls[0].kernel.units == 128);
}

TEST_CASE("an optimizer's update rides in the weight gradient's epilogue") {
  Function f;
  Builder b(f);
  Type type{f32, {784, 256}};
  Value g = b.contract("mk,mn->kn", b.input("x", {f32, {128, 784}}), b.input("d", {f32, {128, 256}}));
  Value w = b.variable("w", type), v = b.variable("v", type);
  Value v2 = b.map(Op::add, {b.map(Op::mul, {v, b.scalar(0.9, f32)}), b.map(Op::mul, {g, b.scalar(0.1, f32)})});
  Value lr = b.cast(b.input("lr", {ElementType::f64, {}}), f32);
  f.results.push_back({"w", b.map(Op::sub, {w, b.map(Op::mul, {v2, lr})}), true});
  f.results.push_back({"v", v2, true});
  auto calls = fused(f);
  CHECK(count(calls, Form::contract) == 1);
  CHECK(calls.back().kernel.form == Form::contract);
  CHECK(calls.back().results.size() == 2);
  CHECK(calls.size() == 2);   // and one kernel of scalars
}

TEST_CASE("sums over columns and over everything have forms of their own") {
  Function f;
  Builder b(f);
  Value x = b.input("x", {f32, {512, 256}});
  f.results.push_back({"columns", b.reduce(Op::reduce_sum, x, {0}), false});
  f.results.push_back({"all", b.reduce(Op::reduce_sum, x, {0, 1}), false});
  auto calls = fused(f);
  CHECK(count(calls, Form::column) == 1);
  CHECK(count(calls, Form::row) == 2);   // large: rows first, then their sums
}

TEST_CASE("what one kernel reads is computed there; what is dear and read twice is stored") {
  Function f;
  Builder b(f);
  Value x = b.input("x", {f32, {64, 32}});
  Value dear = b.make(Op::exp, {x}), cheap = b.make(Op::neg, {x});
  Value w = b.variable("w", {f32, {32, 32}});
  Value y = b.contract("mk,kn->mn", x, w);
  f.results.push_back({"r", b.make(Op::mul, {y, dear}), false});
  f.results.push_back({"s", b.reduce(Op::reduce_sum, dear, {1}), false});
  f.results.push_back({"t", b.reduce(Op::reduce_max, cheap, {1}), false});
  auto calls = fused(f);
  CHECK(count(calls, Form::map) == 1);   // exp
}

namespace {
// The step of a layer and a loss: logits, a loss that takes the logit of each row's label, its gradient.
Function classifier() {
  Function f;
  Builder b(f);
  Value x = b.input("x", {f32, {128, 256}}), w = b.variable("w", {f32, {256, 10}});
  Value hidden = b.map(Op::max, {x, b.scalar(0, f32)});
  Value z = b.map(Op::add, {b.contract("mk,kn->mn", hidden, w), b.variable("b", {f32, {10}})});
  auto wide = [&](Value v) { return b.broadcast(v, {128, 10}, {0}); };
  Value e = b.make(Op::exp, {b.make(Op::sub, {z, wide(b.reduce(Op::reduce_max, z, {1}))})});
  Value total = b.reduce(Op::reduce_sum, e, {1});
  Value hit = b.make(Op::eq, {wide(b.cast(b.input("label", {ElementType::u8, {128}}), ElementType::i32)), b.iota({ElementType::i32, {128, 10}}, 1)});
  Value at_label = b.reduce(Op::reduce_sum, b.make(Op::select, {hit, z, b.like(0, z)}), {1});
  f.results.push_back({"loss", b.reduce(Op::reduce_mean, b.make(Op::sub, {b.make(Op::log, {total}), at_label}), {0}), false});
  Value dz = b.make(Op::sub, {b.make(Op::div, {e, wide(total)}), b.cast(hit, f32)});
  f.results.push_back({"dz", dz, false});
  return f;
}
}  // namespace

TEST_CASE("loss and gradient of a classifier are one visit per row") {
  Function f = classifier();
  auto calls = fused(f);
  REQUIRE(calls.size() == 4);
  CHECK(calls[0].kernel.form == Form::map);
  CHECK(calls[1].kernel.form == Form::contract);
  CHECK(calls[1].results.size() == 1);   // the logits: what is chosen by label belongs to the rows
  CHECK(calls[2].kernel.form == Form::row);
  CHECK(calls[2].results.size() == 2);
  CHECK(calls[3].kernel.domain == Shape{128});   // the mean
}

TEST_CASE("every edge between kernels has a reason") {
  Function f = classifier();
  auto calls = fused(f);
  for (const KernelCall& call : calls) {
    REQUIRE(call.cuts.size() == call.arguments.size());
    for (size_t a = 0; a < call.arguments.size(); ++a) {
      bool computed = false;
      for (const KernelCall& other : calls) computed = computed || std::count(other.results.begin(), other.results.end(), call.arguments[a]);
      CHECK(computed == !call.cuts[a].empty());
    }
  }
  CHECK(calls[1].cuts[0] == "max would be computed again for every tile of the product");
  CHECK(calls[2].cuts[0] == "reduce_max reduces along a row, of which a tile of the product holds a part");
}

TEST_CASE("maps that a later map reads in place are one visit") {
  Function f;
  Builder b(f);
  Type type{f32, {784, 256}};
  auto outer = [&] { return b.map(Op::mul, {b.broadcast(b.input("x", {f32, {784}}), {784, 256}, {0}), b.broadcast(b.input("d", {f32, {256}}), {784, 256}, {1})}); };
  Value g = outer(), m = b.variable("m", type), v = b.variable("v", type), w = b.variable("w", type);
  Value m2 = b.map(Op::add, {m, g}), v2 = b.map(Op::add, {v, b.map(Op::mul, {g, g})});
  f.results.push_back({"m", m2, true});
  f.results.push_back({"v", v2, true});
  f.results.push_back({"w", b.map(Op::sub, {w, b.map(Op::mul, {m2, v2})}), true});
  auto calls = fused(f);
  REQUIRE(calls.size() == 1);
  CHECK(calls[0].results.size() == 3);
}

TEST_CASE("a mask of stored values is computed by its reader") {
  Function f;
  Builder b(f);
  Value zero = b.scalar(0, f32), w = b.variable("w", {f32, {32, 32}});
  Value a = b.map(Op::max, {b.contract("mk,kn->mn", b.input("x", {f32, {64, 32}}), w), zero});
  Value mask = b.map(Op::le, {a, zero});
  Value back = b.contract("mk,kn->mn", b.input("d", {f32, {64, 32}}), w);
  f.results.push_back({"forward", b.contract("mk,kn->mn", a, w), false});
  f.results.push_back({"back", b.map(Op::select, {mask, b.like(0, back), back}), false});
  auto calls = fused(f);
  REQUIRE(calls.size() == 3);
  for (const KernelCall& call : calls) CHECK(call.results.size() == 1);
}

TEST_CASE("filters that lie along another axis are turned round once") {
  // The gradient of a convolution's input: windows of dy by filters uvck, summed over k.
  auto gradient = [](int64_t images) {
    Function f;
    Builder b(f);
    Value dy = b.input("dy", {f32, {images, 8, 8, 16}}), w = b.variable("w", {f32, {3, 3, 4, 16}});
    Value windows = b.make(Op::windows, {dy}, {{Attr::axes, std::vector<int64_t>{1, 2}}, {Attr::size, std::vector<int64_t>{3, 3}}, {Attr::stride, std::vector<int64_t>{1, 1}},
                                               {Attr::dilation, std::vector<int64_t>{1, 1}}, {Attr::low, std::vector<int64_t>{1, 1}}, {Attr::high, std::vector<int64_t>{1, 1}}, {Attr::value, 0.0}});
    f.results.push_back({"dx", b.contract("nijuvk,uvck->nijc", windows, b.make(Op::reverse, {w}, {{Attr::axes, std::vector<int64_t>{0, 1}}})), false});
    return f;
  };
  Function many = gradient(32), few = gradient(2);
  auto calls = fused(many);
  REQUIRE(calls.size() == 2);
  CHECK(calls[0].kernel.form == Form::map);
  CHECK(calls[0].kernel.domain == Shape{3, 3, 16, 4});
  CHECK(calls[1].kernel.form == Form::contract);
  CHECK(calls[1].arguments[1] == calls[0].results[0]);
  CHECK(calls[1].kernel.body[calls[1].kernel.hero].attrs.text(Attr::spec) == "nijuvk,uvkc->nijc");
  CHECK(fused(few).size() == 1);
}

TEST_CASE("a gather is an element of who reads it, a scatter_add a kernel of its own") {
  Function f;
  Builder b(f);
  Value table = b.variable("table", {f32, {50, 64}}), tokens = b.input("tokens", {ElementType::i32, {8, 12}}), places = b.variable("places", {f32, {12, 64}});
  Value x = b.map(Op::add, {b.make(Op::gather, {table, tokens}, {{Attr::axis, int64_t{0}}, {Attr::batch, int64_t{0}}}), places});
  Value y = b.contract("ntd,de->nte", x, b.variable("w", {f32, {64, 64}}));
  Value g = b.map(Op::mul, {y, y});
  Value sums = b.make(Op::scatter_add, {tokens, g}, {{Attr::axis, int64_t{0}}, {Attr::batch, int64_t{0}}, {Attr::extent, int64_t{50}}});
  f.results = {{"table", b.make(Op::sub, {table, sums}), true}, {"x", x}};
  auto calls = fused(f);
  REQUIRE(calls.size() == 4);
  CHECK(calls[0].kernel.form == Form::map);
  CHECK(calls[0].arguments.size() == 3);
  CHECK(calls[1].kernel.form == Form::contract);
  CHECK(calls[2].kernel.form == Form::scatter);
  CHECK(calls[2].kernel.units == 50);
  CHECK(calls[3].kernel.form == Form::map);
  CHECK(calls[3].kernel.units == 50);
}

TEST_CASE("what a gather reads from is complete before it, also where shapes happen to agree") {
  Function f;
  Builder b(f);
  Value x = b.make(Op::exp, {b.input("x", {f32, {6, 70}})}), index = b.input("i", {ElementType::i32, {6}});
  Value y = b.make(Op::gather, {x, index}, {{Attr::axis, int64_t{0}}, {Attr::batch, int64_t{0}}});
  f.results = {{"x", x}, {"y", b.make(Op::add, {x, y})}};
  auto calls = fused(f);
  REQUIRE(calls.size() == 2);
  CHECK(calls[0].results.size() == 1);
  CHECK(calls[1].arguments.size() == 2);
}
