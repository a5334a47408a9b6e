// Attention and its gradients, as a user writes the formula: right in every shape, and in memory that is linear in the length of the sequence.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "codegen/execute.h"
#include "codegen/plan.h"
#include "ir/evaluate.h"
#include "kernel_harness.h"
#include "passes/attention.h"
#include "passes/fusion.h"
#include "passes/pass.h"

using namespace gradc;
using namespace gradc::ir;
using codegen::test::relative_error;

namespace {
struct Example {
  int64_t samples, heads, queries, keys, width;   // width: of a head
  bool causal, linear = false;   // linear: sum(y * r), else sum(y * y * r)
};

// y = softmax(q k^T / sqrt(d)) v, masked if causal, of q [n, t, h, e], k and v [n, s, h, e]; with a loss its gradients by all three.
Function attention(const Example& e, bool gradients = true) {
  Function f;
  Builder b(f);
  auto input = [&](const char* name, int64_t length) { return b.make(Op::mark, {b.input(name, {ElementType::f32, {e.samples, length, e.heads, e.width}})}); };
  Value q = input("q", e.queries), k = input("k", e.keys), v = input("v", e.keys);
  const Shape square = {e.samples, e.heads, e.queries, e.keys};
  Value scores = b.map(Op::div, {b.contract("nqhe,nkhe->nhqk", q, k), b.scalar(std::sqrt(static_cast<double>(e.width)), ElementType::f32)});
  if (e.causal) {
    Value seen = b.map(Op::ge, {b.iota({ElementType::i32, square}, 2), b.iota({ElementType::i32, square}, 3)});
    scores = b.map(Op::select, {seen, scores, b.scalar(-std::numeric_limits<double>::infinity(), ElementType::f32)});
  }
  auto along_rows = [&](Value x) { return b.broadcast(x, square, {0, 1, 2}); };
  Value top = b.make(Op::stop_gradient, {b.reduce(Op::reduce_max, scores, {3})});
  Value weights = b.map(Op::exp, {b.map(Op::sub, {scores, along_rows(top)})});
  weights = b.map(Op::div, {weights, along_rows(b.reduce(Op::reduce_sum, weights, {3}))});
  Value y = b.contract("nhqk,nkhe->nqhe", weights, v);
  f.results = {{"y", y, false}};
  if (gradients) {
    Value s = b.reduce(Op::reduce_sum, b.map(Op::mul, {e.linear ? y : b.map(Op::mul, {y, y}), b.input("r", b.type(y))}), {0, 1, 2, 3});
    for (auto [name, of] : {std::pair{"dq", q}, std::pair{"dk", k}, std::pair{"dv", v}}) f.results.push_back({name, b.make(Op::grad, {s, of}), false});
  }
  passes::expand_gradients(f);
  passes::optimize(f);
  return f;
}

Bindings numbers(const Function& f) {
  Bindings at;
  std::mt19937 random(3);
  for (const Node& node : f.nodes)
    if (node.op == Op::input) {
      Tensor t(node.type);
      for (int64_t i = 0; i < t.size(); ++i) t.set(i, std::normal_distribution<float>()(random));
      at[node.attrs.text(Attr::name)] = t;
    }
  return at;
}

struct Memory {
  uint64_t arena, scratch;
};
Memory memory(const Example& e) {
  Function f = attention(e);
  REQUIRE(passes::use_attention(f) == 1);
  passes::prepare_for_fusion(f);
  program::ProgramT program;
  codegen::KernelTable kernels;
  codegen::plan_entry({}, f, passes::fuse(f), kernels, program);
  return {program.entries[0]->arena_bytes, program.entries[0]->local_bytes};
}
}  // namespace

TEST_CASE("attention and its gradients agree with the reference, whatever the lengths, heads and samples") {
  for (const Example& e : {Example{2, 3, 40, 40, 16, true}, {2, 2, 33, 33, 12, true}, {1, 2, 65, 65, 16, false}, {2, 1, 7, 90, 8, false}, {3, 2, 70, 19, 8, false}, {1, 5, 50, 50, 16, true}, {2, 4, 16, 16, 32, true}, {2, 2, 48, 48, 8, true, true}})
    for (const codegen::Target& target : codegen::test::targets()) {
      INFO(e.samples << " samples, " << e.heads << " heads, " << e.queries << " to " << e.keys << ", " << e.width << " wide on " << target.name);
      Function f = attention(e);
      const Bindings at = numbers(f), wanted = evaluate(f, at);
      REQUIRE(passes::use_attention(f) == 1);
      const Bindings same = evaluate(f, at);
      passes::prepare_for_fusion(f);
      const Bindings is = codegen::execute(f, passes::fuse(f), at, target);
      for (const char* name : {"y", "dq", "dk", "dv"}) {
        INFO(name);
        CHECK(relative_error(same.at(name), wanted.at(name)) < 1e-6);
        CHECK(relative_error(is.at(name), wanted.at(name)) < 1e-5);
      }
    }
}

TEST_CASE("attention needs memory for what has the sequence's length, not for its square") {
  for (const Example& e : {Example{2, 2, 128, 128, 16, true}, {2, 1, 192, 192, 16, false}, {1, 2, 192, 192, 16, true}, {2, 2, 128, 128, 16, true, true}}) {
    Example twice = e;
    twice.queries *= 2, twice.keys *= 2;
    const Memory one = memory(e), two = memory(twice);
    CHECK(two.arena <= 2 * one.arena);
    CHECK(two.scratch <= 2 * one.scratch);
    CHECK(one.arena < 2 * static_cast<uint64_t>(e.samples * e.heads * e.queries * e.keys * 4));   // of one that is kept, and what has the length: a dozen of them
  }
}

TEST_CASE("kernels are not promised that a block's rows of odd lengths begin at whole vectors") {
  Function f = attention({2, 2, 33, 33, 12, true});
  REQUIRE(passes::use_attention(f) == 1);
  passes::prepare_for_fusion(f);
  program::ProgramT program;
  codegen::KernelTable kernels;
  codegen::plan_entry({}, f, passes::fuse(f), kernels, program);
  int odd = 0;
  for (const auto& phase : program.entries[0]->phases)
    for (const auto& strand : phase->strands)
      for (const auto& call : strand->calls)
        for (size_t a = 0; a < call->unit_bytes.size(); ++a)
          if (call->unit_bytes[a] % 64 != 0) {
            const std::vector<int>& unaligned = kernels.kernels()[call->kernel].unaligned;
            CHECK(std::count(unaligned.begin(), unaligned.end(), static_cast<int>(a)) == 1);
            ++odd;
          }
  CHECK(odd > 0);
}

TEST_CASE("scores that are smaller than what they are made of are kept for the backward pass, larger ones computed again") {
  auto again = [](const Example& e) {
    Function f = attention(e);
    passes::use_attention(f);
    int count = 0;
    for (const Node& node : f.nodes) count += node.op == Op::contract && node.loc.role == Loc::Role::recomputation;
    return count;
  };
  CHECK(again({2, 2, 64, 64, 16, true}) == 1);
  CHECK(again({2, 2, 64, 64, 16, true, true}) == 2);   // cotangents wait for nothing, and are computed beside the weighted sum: then they come again, too
  CHECK(again({2, 2, 16, 16, 32, true}) == 0);
  Function prediction = attention({2, 2, 64, 64, 16, true}, false);
  const size_t before = prediction.size();
  CHECK(passes::use_attention(prediction) == 1);
  CHECK(prediction.size() <= before + 1);   // a transposition
}

TEST_CASE("products around what is no attention stay as they are") {
  Function f;
  Builder b(f);
  Value x = b.input("x", {ElementType::f32, {4, 8, 16}}), y = b.input("y", {ElementType::f32, {4, 24, 16}});
  Value s = b.contract("nqe,nke->nqk", x, y);
  f.results = {{"z", b.contract("nqk,nke->qne", b.map(Op::exp, {s}), y), false}};   // nothing is summed along k
  CHECK(passes::use_attention(f) == 0);
}
