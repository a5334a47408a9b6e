// Convolutions in the direct form against the reference evaluation: forward and both gradients, with strides, dilations and padding of all kinds, in
// every target, the same bits however the units are split; and what their inner loops are made of.
#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "codegen/contract_plan.h"
#include "contract_check.h"

using namespace gradc;
using namespace gradc::codegen;
using namespace gradc::codegen::test;
using ir::Attr, ir::Builder, ir::ElementType, ir::Kernel, ir::Op, ir::Shape, ir::Value;

namespace {
struct Convolution {
  int64_t n, h, w, c, k, u, v;
  int64_t stride = 1, dilation = 1;
  std::vector<int64_t> low = {0, 0}, high = {0, 0};

  std::string text() const { return fmt::format("{}x{}x{}x{} to {}, {}x{}, stride {}, dilation {}, low {} {}, high {} {}", n, h, w, c, k, u, v, stride, dilation, low[0], low[1], high[0], high[1]); }
  int64_t positions(int axis) const { return ((axis ? w : h) + low[axis] + high[axis] - dilation * ((axis ? v : u) - 1) - 1) / stride + 1; }
};
Convolution same(int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, int64_t size) {
  return {n, h, w, c, k, size, size, 1, 1, {(size - 1) / 2, (size - 1) / 2}, {size / 2, size / 2}};
}

Value windows(Builder& b, Value x, const Convolution& of) {
  return b.make(Op::windows, {x}, {{Attr::axes, std::vector<int64_t>{1, 2}}, {Attr::size, std::vector<int64_t>{of.u, of.v}}, {Attr::stride, std::vector<int64_t>(2, of.stride)},
                                   {Attr::dilation, std::vector<int64_t>(2, of.dilation)}, {Attr::low, of.low}, {Attr::high, of.high}, {Attr::value, 0.0}});
}

Kernel forward(const Convolution& of, int64_t outer = 3, ElementType element = ElementType::f32) {
  ir::Function body;
  Builder b(body);
  Value x = b.input("a0", {element, {of.n, of.h, of.w, of.c}}), w = b.input("a1", {element, {of.u, of.v, of.c, of.k}});
  Value hero = b.contract("nijuvc,uvck->nijk", windows(b, x, of), w);
  Value bias = b.broadcast(b.input("a2", {element, {of.k}}), body.type(hero).shape, {3});
  Value y = b.make(Op::add, {hero, bias});
  return finish_contract(std::move(body), hero, outer, {b.make(Op::max, {y, b.like(0, y)})});
}

Kernel weight_gradient(const Convolution& of, bool update = false, ElementType element = ElementType::f32) {
  ir::Function body;
  Builder b(body);
  Value x = b.input("a0", {element, {of.n, of.h, of.w, of.c}}), dy = b.input("a1", {element, {of.n, of.positions(0), of.positions(1), of.k}});
  Value hero = b.contract("nijuvc,nijk->uvck", windows(b, x, of), dy);
  if (!update) return finish_contract(std::move(body), hero, 3, {hero});
  return finish_contract(std::move(body), hero, 3, adam(b, hero), {2, 3, 4});
}

// Reads dy, padded so that every window has all weights, with the weights turned round.
Kernel input_gradient(const Convolution& of) {
  Convolution turned = of;
  turned.low = {of.u - 1 - of.low[0], of.v - 1 - of.low[1]}, turned.high = {of.u - 1 - of.high[0], of.v - 1 - of.high[1]};
  ir::Function body;
  Builder b(body);
  Value dy = b.input("a0", {ElementType::f32, {of.n, of.positions(0), of.positions(1), of.k}}), w = b.input("a1", {ElementType::f32, {of.u, of.v, of.c, of.k}});
  Value hero = b.contract("nijuvk,uvck->nijc", windows(b, dy, turned), b.make(Op::reverse, {w}, {{Attr::axes, std::vector<int64_t>{0, 1}}}));
  return finish_contract(std::move(body), hero, 3, {hero});
}

bool direct(const Kernel& kernel, const Target& target) { return plan_contract(kernel, target).lines_of_a.has_value(); }
}  // namespace

TEST_CASE("convolutions line by line", "[contract][lines]") {
  std::mt19937 random(11);
  std::vector<Convolution> all = {
      same(2, 9, 14, 16, 32, 3),
      same(1, 8, 28, 3, 16, 5),                                       // few channels
      same(2, 7, 11, 1, 6, 5),                                        // one, and lanes that are no whole vector
      {2, 14, 14, 6, 16, 5, 5},                                       // no padding
      {2, 15, 17, 8, 16, 3, 3, 2, 1, {1, 1}, {1, 1}},                 // strides
      {2, 13, 19, 5, 16, 3, 3, 1, 2, {2, 2}, {2, 2}},                 // dilation
      {2, 12, 15, 4, 16, 3, 2, 2, 3, {2, 3}, {5, 1}},                 // everything
      {1, 9, 12, 8, 16, 4, 3, 1, 1, {3, 2}, {3, 2}},                  // every window that has an element
      {2, 3, 9, 2, 16, 5, 3, 1, 1, {2, 1}, {2, 1}},                   // more offsets than lines
      {1, 6, 10, 4, 48, 3, 3, 1, 1, {0, 1}, {0, 1}},                  // lines whose ends alone are missing
      {2, 6, 10, 4, 16, 3, 3, 1, 1, {1, 0}, {1, 0}},                  // lines that are missing alone
  };
  for (const Convolution& of : all) {
    INFO(of.text());
    for (int64_t outer : {1, 2, 3}) check(forward(of, outer), random);
    check(weight_gradient(of), random);
    check(weight_gradient(of, true), random, targets(), 40);
    if (of.stride == 1 && of.dilation == 1 && of.low[0] >= 0) check(input_gradient(of), random);
    for (const Target& target : targets()) {
      if (!target.avx512) continue;
      CHECK(direct(forward(of), target));
      CHECK(direct(weight_gradient(of), target));
    }
  }
  for (int i : {0, 3, 6}) {
    check(forward(all[i], 3, ElementType::f64), random);
    check(weight_gradient(all[i], false, ElementType::f64), random);
  }
  // Sums of more units than wait at once, lines that are copied in several blocks.
  check(weight_gradient(same(2, 20, 40, 40, 64, 3)), random);
}

TEST_CASE("convolutions of other forms", "[contract][lines]") {
  std::mt19937 random(12);
  auto make = [&](const std::string& spec, Shape x, Shape w, std::vector<int64_t> axes, std::vector<int64_t> size, std::vector<int64_t> low, int64_t outer) {
    ir::Function body;
    Builder b(body);
    Value a = b.input("a0", {ElementType::f32, x}), f = b.input("a1", {ElementType::f32, w});
    std::vector<int64_t> ones(axes.size(), 1);
    Value seen = b.make(Op::windows, {a}, {{Attr::axes, axes}, {Attr::size, size}, {Attr::stride, ones}, {Attr::dilation, ones}, {Attr::low, low}, {Attr::high, low}, {Attr::value, 0.0}});
    Value hero = b.contract(spec, seen, f);
    return finish_contract(std::move(body), hero, outer, {hero});
  };
  check(make("njvc,vck->njk", {3, 20, 5}, {4, 5, 16}, {1}, {4}, {1}, 2), random);                                   // one axis
  check(make("nijtuvwc,uvwck->nijtk", {2, 4, 5, 9, 3}, {3, 3, 3, 3, 16}, {1, 2, 3}, {3, 3, 3}, {1, 1, 1}, 4), random);   // three
  check(make("nijuvgc,uvgck->nijgk", {2, 6, 10, 3, 4}, {3, 3, 3, 4, 16}, {1, 2}, {3, 3}, {1, 1}, 3), random);       // groups of channels
  Kernel groups = make("nijuvgc,nijgk->uvcgk", {3, 6, 10, 2, 4}, {3, 6, 10, 2, 16}, {1, 2}, {3, 3}, {1, 1}, 3);        // gradients of their weights
  check(groups, random);
  for (const Target& target : targets())
    if (target.avx512) CHECK(direct(groups, target));
  check(make("nijuvgc,nijgk->uvcgk", {2, 6, 10, 3, 5}, {2, 6, 10, 3, 20}, {1, 2}, {3, 3}, {1, 1}, 3), random);
  check(make("nijuvc,uvc->nijc", {2, 6, 10, 16}, {3, 3, 16}, {1, 2}, {3, 3}, {1, 1}, 3), random);                   // each channel by itself
  check(make("ncijuv,uvck->nijk", {2, 4, 6, 10}, {3, 3, 4, 16}, {2, 3}, {3, 3}, {1, 1}, 3), random);                // channels first
  check(make("nijuvc,uvck->nkij", {2, 6, 10, 4}, {3, 3, 4, 16}, {1, 2}, {3, 3}, {1, 1}, 2), random);
}

TEST_CASE("few filters: lanes along the line", "[contract][lines]") {
  std::mt19937 random(13);
  // Lines of one vector and of two, one channel and more than a vector of them; a whole vector of filters is not few.
  for (const Convolution& of : {same(2, 7, 14, 3, 6, 3), same(1, 9, 28, 1, 6, 5), same(2, 4, 13, 19, 5, 3), same(1, 5, 40, 16, 4, 3)}) {
    INFO(of.text());
    for (const Target& target : targets())
      if (target.avx512) CHECK((direct(forward(of), target) && plan_contract(forward(of), target).lines_of_a->across));
    for (int64_t outer : {1, 2, 3}) check(forward(of, outer), random);
    for (const Target& target : targets()) {   // units of whole lines: all channels of a place are stored together, lines of an image are copied once
      if (!target.avx512) continue;
      auto plan = plan_contract(forward(of, 2), target);
      CHECK(plan.interleaved);
      CHECK(plan.lines_of_a->walks >= 0);
    }
  }
  for (const Target& target : targets())
    if (target.avx512) CHECK(!plan_contract(forward(same(1, 9, 28, 1, 16, 5)), target).lines_of_a->across);
}

TEST_CASE("few filters: gradients of weights summed along the lanes", "[contract][lines]") {
  std::mt19937 random(14);
  // Whole vectors of places and not, an odd number of filters, other padding, dilation, more lines than one copy.
  std::vector<Convolution> all = {same(2, 9, 28, 1, 6, 5), same(3, 5, 16, 1, 3, 3), same(2, 6, 47, 1, 7, 4), {2, 11, 30, 1, 5, 3, 3, 1, 2, {2, 2}, {2, 2}}, {2, 9, 17, 1, 4, 3, 4, 1, 1, {0, 3}, {1, 0}}};
  for (const Convolution& of : all) {
    INFO(of.text());
    for (const Target& target : targets())
      if (target.avx512) CHECK((direct(weight_gradient(of), target) && plan_contract(weight_gradient(of), target).lines_of_a->summed));
    check(weight_gradient(of), random);
    check(weight_gradient(of, true), random, targets(), 40);
  }
  check(weight_gradient(all[0], false, ElementType::f64), random);
  for (const Target& target : targets()) {   // filters that fill the lanes, places that do not
    if (!target.avx512) continue;
    CHECK(!plan_contract(weight_gradient(same(2, 9, 28, 1, 16, 5)), target).lines_of_a->summed);
    CHECK(!plan_contract(weight_gradient(same(2, 9, 9, 1, 6, 5)), target).lines_of_a->summed);
  }
}

TEST_CASE("inner loops of convolutions do not touch the stack", "[contract][lines]") {
  for (const Target& target : targets()) {
    if (!target.fma) continue;
    INFO(target.name);
    Convolution of = same(2, 28, 28, 32, 32, 3);
    for (const Kernel& kernel : {forward(of), weight_gradient(of), weight_gradient(of, true)}) {
      auto plan = plan_contract(kernel, target);
      CHECK(plan.lines_of_a);
      check_tiles(kernel, target, 4 * plan.heights[0] * plan.vectors);
    }
  }
}
