#include <catch2/catch.hpp>

#include "codegen/memory_plan.h"
#include "codegen/plan.h"
#include "ir/builder.h"
#include "passes/fusion.h"

using namespace gradc;
using namespace gradc::ir;

namespace {
const ElementType f32 = ElementType::f32;

// A step of a two-layer network with its gradients written by hand: x -> w1 -> relu -> w2 -> loss, plain gradient descent.
Module two_layers(int64_t batch) {
  Module m;
  m.variables = {{"w1", {f32, {784, 256}}, VariableKind::parameter, false, {}}, {"w2", {f32, {256, 32}}, VariableKind::parameter, false, {}}};
  Function f;
  f.name = "train";
  Builder b(f);
  Value x = b.input("x", {f32, {batch, 784}}), y = b.input("y", {f32, {batch, 32}});
  Value w1 = b.variable("w1", m.variables[0].type), w2 = b.variable("w2", m.variables[1].type);
  Value zero = b.scalar(0, f32);
  Value a = b.map(Op::max, {zero, b.contract("mk,kn->mn", x, w1)});
  Value e = b.map(Op::sub, {b.contract("mk,kn->mn", a, w2), y});
  Value rows = b.reduce(Op::reduce_sum, b.map(Op::mul, {e, e}), {1});
  f.results.push_back({"loss", b.reduce(Op::reduce_mean, rows, {0}), false});
  Value da = b.map(Op::select, {b.map(Op::gt, {a, zero}), b.contract("mn,kn->mk", e, w2), b.like(0, a)});
  Value lr = b.cast(b.input("lr", {ElementType::f64, {}}), f32);
  auto step = [&](Value w, Value g) { return b.map(Op::sub, {w, b.map(Op::mul, {g, lr})}); };
  f.results.push_back({"w1", step(w1, b.contract("mk,mn->kn", x, da)), true});
  f.results.push_back({"w2", step(w2, b.contract("mk,mn->kn", a, e)), true});
  m.functions.push_back(f);
  return m;
}

struct Planned {
  codegen::KernelTable kernels;
  program::ProgramT program;
  const program::EntryT& entry() const { return *program.entries.back(); }
};

Planned planned(const Module& m) {
  Planned out;
  codegen::place_variables(m, out.program);
  for (Function f : m.functions) {
    passes::prepare_for_fusion(f);
    codegen::plan_entry(m, f, passes::fuse(f), out.kernels, out.program);
  }
  return out;
}
}  // namespace

TEST_CASE("forward and input gradient are one phase, the loss the next, the updates the last") {
  Planned p = planned(two_layers(128));
  const auto& phases = p.entry().phases;
  REQUIRE(phases.size() == 3);
  size_t longest = 0;
  for (const auto& strand : phases[0]->strands) longest = std::max(longest, strand->calls.size());
  CHECK(longest >= 3);
  CHECK(p.entry().first_update == 2);
  CHECK(phases[2]->strands.size() == 2);   // both weight gradients, with their updates, in no order
}

TEST_CASE("updates overwrite parameters, buffers that live at one time do not overlap") {
  Planned p = planned(two_layers(128));
  int written = 0;
  for (const auto& phase : p.entry().phases)
    for (const auto& strand : phase->strands)
      for (const auto& call : strand->calls)
        for (size_t a = call->args.size() - call->outputs; a < call->args.size(); ++a) written += call->args[a].space() == program::Space::variables;
  CHECK(written == 2);
  // Inputs are read by the weight gradients in the last phase, and so share bytes with nothing.
  const auto& inputs = p.entry().inputs;
  for (size_t i = 0; i < inputs.size(); ++i)
    for (size_t j = i + 1; j < inputs.size(); ++j) CHECK(inputs[i]->place->offset() != inputs[j]->place->offset());
}

TEST_CASE("a value that is read after its variable was written goes through a copy") {
  Module m;
  m.variables = {{"a", {f32, {64, 64}}, VariableKind::state, false, {}}, {"b", {f32, {64, 64}}, VariableKind::state, false, {}}};
  Function f;
  f.name = "swap";
  Builder b(f);
  Value va = b.variable("a", m.variables[0].type), vb = b.variable("b", m.variables[1].type);
  f.results.push_back({"a", vb, true});
  f.results.push_back({"b", va, true});
  m.functions.push_back(f);
  Planned p = planned(m);
  // One of the two can be written in place after the other was saved; both values must survive: some call writes to the arena.
  bool saved = false;
  for (const auto& phase : p.entry().phases)
    for (const auto& strand : phase->strands)
      for (const auto& call : strand->calls) saved = saved || call->args.back().space() == program::Space::arena;
  CHECK(saved);
}

TEST_CASE("equal kernels are compiled once") {
  Module m = two_layers(128);
  m.functions.push_back(m.functions[0]);
  m.functions[1].name = "again";
  Planned p = planned(m);
  size_t calls = 0;
  for (const auto& phase : p.program.entries[0]->phases)
    for (const auto& strand : phase->strands) calls += strand->calls.size();
  CHECK(p.kernels.kernels().size() == calls);
}

TEST_CASE("layers that differ by their random sites alone share their kernels") {
  auto kernels_of = [](int layers) {
    Module m;
    Function f;
    f.name = "init";
    Builder b(f);
    Value seed = b.input("seed", {ElementType::i64, {}}), step = b.input("step", {ElementType::i64, {}});
    for (int i = 0; i < layers; ++i) {
      m.variables.push_back({"w" + std::to_string(i), {f32, {64, 64}}, VariableKind::parameter, false, {}});
      Value r = b.make(Op::random, {seed, step, b.scalar(0, ElementType::i64)},
                       {{Attr::distribution, std::string("normal")}, {Attr::site, int64_t{i} + 1}, {Attr::element, f32}, {Attr::shape, Shape{64, 64}}});
      f.results.push_back({m.variables.back().name, b.map(Op::mul, {r, b.like(0.5, r)}), true});
    }
    m.functions.push_back(f);
    return planned(m).kernels.kernels().size();
  };
  CHECK(kernels_of(1) == 1);
  CHECK(kernels_of(50) == 1);
}

TEST_CASE("granules depend on the number of units alone and cover it") {
  for (int64_t units : {1, 5, 16, 17, 64, 128, 500, 784, 10000}) {
    CHECK(codegen::grain(units) >= 1);
    CHECK(codegen::grain(units) <= std::max<int64_t>(units, 16));
  }
}

TEST_CASE("places in the arena do not overlap while both values live, and little more is taken than lives") {
  uint32_t seed = 1;
  auto random = [&](uint32_t below) { return (seed = seed * 1664525 + 1013904223) / 65536 % below; };
  for (int round = 0; round < 50; ++round) {
    std::vector<codegen::Lifetime> lives;
    for (uint32_t i = 0, count = 2 + random(30); i < count; ++i) {
      int first = static_cast<int>(random(8));
      lives.push_back({uint64_t(1) + random(5000), first, first + static_cast<int>(random(4))});
    }
    codegen::ArenaPlan plan = codegen::plan_arena(lives);
    uint64_t end = 0;
    for (size_t i = 0; i < lives.size(); ++i) {
      CHECK(plan.offsets[i] % codegen::alignment == 0);
      end = std::max(end, plan.offsets[i] + codegen::aligned(lives[i].bytes));
      for (size_t j = 0; j < i; ++j) {
        bool together = lives[i].first <= lives[j].last && lives[j].first <= lives[i].last;
        bool apart = plan.offsets[i] + lives[i].bytes <= plan.offsets[j] || plan.offsets[j] + lives[j].bytes <= plan.offsets[i];
        CHECK((!together || apart));
      }
    }
    CHECK(plan.bytes == end);
    CHECK(plan.bytes >= codegen::most_live(lives));
    CHECK(plan.bytes <= codegen::most_live(lives) * 5 / 4);
  }
}

TEST_CASE("within a phase rows are handed on at the very same place, or not at all") {
  using Step = codegen::Lifetime::Step;
  uint32_t seed = 1;
  auto random = [&](uint32_t below) { return (seed = seed * 1664525 + 1013904223) / 65536 % below; };
  int handed = 0;
  for (int round = 0; round < 50; ++round) {
    std::vector<codegen::Lifetime> lives;
    for (uint32_t i = 0, count = 2 + random(30); i < count; ++i) {
      int first = static_cast<int>(random(3)), call = static_cast<int>(random(6)), strand = first * 2 + static_cast<int>(random(2));
      codegen::Lifetime life{uint64_t(64) * (1 + random(40)), first, first + static_cast<int>(random(3)), Step{strand, call}, Step{}, uint64_t(64) << random(2)};
      if (life.last == first) life.read = Step{strand, call + static_cast<int>(random(3))};
      else if (random(2)) life.read = Step{life.last * 2 + static_cast<int>(random(2)), static_cast<int>(random(6))};
      lives.push_back(life);
    }
    codegen::ArenaPlan plan = codegen::plan_arena(lives);
    for (size_t i = 0; i < lives.size(); ++i)
      for (size_t j = 0; j < lives.size(); ++j) {
        const codegen::Lifetime &a = lives[i], &b = lives[j];
        bool together = i != j && a.first <= b.last && b.first <= a.last;
        bool apart = plan.offsets[i] + a.bytes <= plan.offsets[j] || plan.offsets[j] + b.bytes <= plan.offsets[i];
        if (!together || apart) continue;
        CHECK(plan.offsets[i] == plan.offsets[j]);
        // What both need of one phase is a strand in which one has been read before the other is written.
        bool forth = a.last == b.first && a.read.strand >= 0 && a.read.strand == b.written.strand && a.read.call < b.written.call;
        bool back = b.last == a.first && b.read.strand >= 0 && b.read.strand == a.written.strand && b.read.call < a.written.call;
        CHECK((forth || back));
        CHECK(a.row_bytes == b.row_bytes);
        ++handed;
      }
  }
  CHECK(handed > 50);
}

// x |> n dense layers without a gradient: one strand.
TEST_CASE("a chain of layers needs two buffers, whatever its depth") {
  auto arena = [](int layers, int64_t width) {
    Module m;
    Function f;
    f.name = "chain";
    Builder b(f);
    Value h = b.input("x", {f32, {128, 256}});
    for (int i = 0; i < layers; ++i) {
      int64_t k = b.type(h).shape[1], n = i % 2 ? 256 : width;
      Value w = b.input("w" + std::to_string(i), {f32, {k, n}});
      Value z = b.contract("mk,kn->mn", h, w);
      h = b.map(Op::tanh, {z});
    }
    f.results = {{"y", b.reduce(Op::reduce_sum, h, {1}), false}};
    m.functions = {f};
    uint64_t inputs = 0;
    for (const Node& node : f.nodes)
      if (node.op == Op::input) inputs += node.type.bytes();
    Planned p = planned(m);
    return p.program.entries[0]->arena_bytes - inputs;
  };
  const uint64_t one = 128 * 256 * 4;
  CHECK(arena(3, 256) <= 2 * one + one / 8);
  CHECK(arena(9, 256) <= 2 * one + one / 8);    // a pitch and the result may come on top
  CHECK(arena(9, 128) <= 3 * one);
}
