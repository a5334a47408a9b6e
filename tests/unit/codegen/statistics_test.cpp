// Statistics of a batch behind a convolution: summed by the sample in the strand that computes the sample, whatever its units are.
#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "codegen/execute.h"
#include "codegen/plan.h"
#include "ir/builder.h"
#include "ir/evaluate.h"
#include "passes/fusion.h"
#include "passes/pass.h"
#include "passes/winograd.h"
#include "kernel_harness.h"

using namespace gradc::ir;
using namespace gradc::codegen;
using gradc::passes::Winograd;
using gradc::codegen::test::relative_error;

namespace {
// Batch normalisation of conv(x, w), its mean and variance.
Function normalised(int64_t samples, int64_t extent, int64_t channels, int64_t filters) {
  Function f;
  f.name = "step";
  Builder b(f);
  const std::vector<int64_t> ones(2, 1), all = {0, 1, 2};
  Value seen = b.make(Op::windows, {b.input("x", {ElementType::f32, {samples, extent, extent, channels}})},
                      {{Attr::axes, std::vector<int64_t>{1, 2}}, {Attr::size, std::vector<int64_t>(2, 3)}, {Attr::stride, ones}, {Attr::dilation, ones}, {Attr::low, ones}, {Attr::high, ones}, {Attr::value, 0.0}});
  Value y = b.contract("nijuvc,uvck->nijk", seen, b.input("w", {ElementType::f32, {3, 3, channels, filters}}));
  Value mean = b.reduce(Op::reduce_mean, y, all);
  Value centred = b.make(Op::sub, {y, b.broadcast(mean, b.type(y).shape, {3})});
  Value variance = b.reduce(Op::reduce_mean, b.make(Op::mul, {centred, centred}), all);
  Value scale = b.make(Op::rsqrt, {b.map(Op::add, {variance, b.scalar(1e-5, ElementType::f32)})});
  f.results = {{"mean", mean, false}, {"variance", variance, false}, {"z", b.make(Op::mul, {centred, b.broadcast(scale, b.type(y).shape, {3})}), false}};
  gradc::passes::optimize(f);
  return f;
}

std::vector<KernelCall> kernels(Function& f, Winograd how) {
  gradc::passes::use_winograd(f, how);
  gradc::passes::prepare_for_fusion(f);
  return gradc::passes::fuse(f);
}
}  // namespace

TEST_CASE("no barrier stands between a convolution and the sums of its samples") {
  for (Winograd how : {Winograd::never, Winograd::tile4}) {
    Function f = normalised(32, 13, 16, 24);
    KernelTable table;
    gradc::program::ProgramT program;
    std::vector<KernelCall> calls = kernels(f, how);
    plan_entry({}, f, calls, table, program);
    int found = 0;
    for (const auto& phase : program.entries[0]->phases)
      for (const auto& strand : phase->strands) {
        const auto& last = strand->calls.back();
        if (table.kernels()[last->kernel].kept == 0) continue;
        ++found;
        REQUIRE(strand->calls.size() == (how == Winograd::never ? 2 : 3));   // the convolution, or products and their transform; the sums
        CHECK(last->units == 32);
        CHECK(strand->granules == 16);
        for (const auto& call : strand->calls) {
          CHECK(call->units % 32 == 0);
          CHECK(call->units / call->grain == 16);
        }
      }
    CHECK(found == 1);
    CHECK(program.entries[0]->phases.size() == (how == Winograd::never ? 3 : 4));   // the kernel's transform, the convolution, over the samples, the application
  }
}

TEST_CASE("large samples are summed in a phase of their own, so that blocks of tiles stay small") {
  Function f = normalised(8, 64, 32, 64);
  KernelTable table;
  gradc::program::ProgramT program;
  std::vector<KernelCall> calls = kernels(f, Winograd::tile4);
  plan_entry({}, f, calls, table, program);
  int found = 0;
  for (const auto& phase : program.entries[0]->phases)
    for (const auto& strand : phase->strands)
      if (table.kernels()[strand->calls.back()->kernel].kept > 0) {
        ++found;
        CHECK(strand->calls.size() == 1);
        CHECK(strand->calls[0]->units == 8);
      }
  CHECK(found == 1);
  CHECK(program.entries[0]->local_bytes < 2 << 20);
}

TEST_CASE("statistics behind a convolution, planned and run") {
  for (auto [samples, extent, channels, filters] : {std::array<int64_t, 4>{16, 13, 16, 24}, {9, 20, 3, 16}, {37, 12, 16, 70}})
    for (Winograd how : {Winograd::never, Winograd::tile2, Winograd::tile4})
      for (const Target& target : test::targets()) {
        Function f = normalised(samples, extent, channels, filters);
        Bindings at;
        std::mt19937 random(5);
        for (const Node& node : f.nodes)
          if (node.op == Op::input) {
            Tensor t(node.type);
            for (int64_t i = 0; i < t.size(); ++i) t.set(i, std::uniform_real_distribution<float>(-0.5, 1)(random));
            at[node.attrs.text(Attr::name)] = t;
          }
        Bindings wanted = evaluate(f, at), is = execute(f, kernels(f, how), at, target);
        INFO(samples << " samples, " << extent << ", " << channels << " to " << filters << " on " << target.name);
        for (const char* name : {"mean", "variance", "z"}) {
          INFO(name);
          CHECK(relative_error(is.at(name), wanted.at(name)) < 3e-5);
        }
      }
}
