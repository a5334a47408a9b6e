// How kernels describe themselves, and when two are the same.
#include <catch2/catch.hpp>

#include "ir/builder.h"
#include "ir/kernel.h"
#include "ir/text.h"

using namespace gradc::ir;
using enum ElementType;

namespace {
Kernel dense(Loc loc) {
  Kernel k;
  k.form = Form::contract;
  Builder b(k.body);
  b.loc = loc;
  Value x = b.input("a0", {f32, {128, 784}}), w = b.input("a1", {f32, {784, 256}}), bias = b.input("a2", {f32, {256}});
  k.hero = b.contract("mk,kn->mn", x, w);
  Value y = b.map(Op::add, {k.hero, bias});
  k.body.results = {{"r0", b.map(Op::max, {y, b.scalar(0, f32)})}};
  k.body.name = "kernel";
  k.domain = {128, 256};
  k.outer = 1;
  k.units = 128;
  k.in_place = {-1};
  return k;
}
}  // namespace

TEST_CASE("a kernel describes itself by its hero and the maps that ride along") {
  CHECK(describe(dense({})) == "contract 128x256x784 + add + max");

  Kernel softmax;
  softmax.form = Form::row;
  Builder b(softmax.body);
  Value x = b.input("a0", {f32, {128, 10}});
  Value e = b.map(Op::exp, {x}), sum = b.reduce(Op::reduce_sum, e, {1});
  softmax.body.results = {{"r0", b.map(Op::div, {e, b.broadcast(sum, {128, 10}, {0})})}};
  softmax.domain = {128, 10};
  CHECK(describe(softmax) == "row 128x10 (reduce_sum) + exp + div");

  Kernel map;
  Builder c(map.body);
  Value v = c.input("a0", {f32, {8}});
  for (int i = 0; i < 9; ++i) v = c.make(Op::neg, {v});
  map.body.results = {{"r0", v}};
  map.domain = {8};
  CHECK(describe(map) == "map 8: neg + neg + neg + neg + neg + neg + 3 more");
}

TEST_CASE("the key is schedule and body, without locations") {
  Kernel k = dense({1, 7, 3});
  CHECK(key(k) == R"(# contract domain [128, 256] outer 1 units 128 hero 3 in_place [-1]
function kernel {
  %a0 = input : f32[128, 784]
  %a1 = input : f32[784, 256]
  %a2 = input : f32[256]
  %3 = contract %a0, %a1 {spec = "mk,kn->mn"} : f32[128, 256]
  %4 = broadcast %a2 {axes = [1]} : f32[128, 256]
  %5 = add %3, %4 : f32[128, 256]
  %6 = constant {value = 0} : f32[]
  %7 = broadcast %6 {axes = []} : f32[128, 256]
  %8 = max %5, %7 : f32[128, 256]
  return r0 = %8
}
)");
  CHECK(key(k) == key(dense({2, 9, 1})));
  gradc::Sources sources;
  gradc::Diagnostics diagnostics(sources);
  auto body = parse_function(sources.add("key", key(k)), sources, diagnostics);   // the schedule is a comment
  REQUIRE(body);
  CHECK(key(k).ends_with(print(*body)));
  Kernel other = dense({});
  other.in_place = {2};
  CHECK(key(other) != key(k));
  other = dense({});
  other.units = 64;
  CHECK(key(other) != key(k));
}
