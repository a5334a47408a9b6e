// Choices of contracts: every candidate gives the same bits as the model's choice, and what was chosen is found again.
#include <catch2/catch.hpp>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "codegen/compile.h"
#include "codegen/contract_plan.h"
#include "codegen/layout.h"
#include "codegen/tune.h"
#include "ir/builder.h"
#include "kernel_harness.h"
#include "passes/fusion.h"
#include "passes/pass.h"

using namespace gradc;
using namespace gradc::codegen;
using namespace gradc::codegen::test;
using ir::Builder, ir::ElementType, ir::Kernel, ir::Op, ir::Value;
namespace fs = std::filesystem;

namespace {
// The contracts of a training step of two layers, planned as in a program: products, input gradients, updates with a momentum, in their layouts.
std::vector<Kernel> contracts(int64_t batch, int64_t in, int64_t hidden, int64_t out, const Target& target, ir::Precision precision = ir::Precision::f32) {
  constexpr ElementType f32 = ElementType::f32;
  ir::Module module;
  ir::Function f;
  f.name = "step";
  Builder b(f);
  auto variable = [&](const char* name, ir::Shape shape) {
    module.variables.push_back({name, {f32, shape}, ir::VariableKind::state, false, {}});
    return b.variable(name, {f32, shape});
  };
  Value x = variable("x", {batch, in}), zero = b.scalar(0, f32);
  Value w = variable("w", {in, hidden}), v = variable("v", {hidden, out}), w_speed = variable("w_speed", {in, hidden}), v_speed = variable("v_speed", {hidden, out});
  Value h = b.map(Op::max, {zero, b.contract("bi,ih->bh", x, w, precision)});
  Value y = b.map(Op::tanh, {b.contract("bh,ho->bo", h, v, precision)});
  Value dh = b.map(Op::select, {b.map(Op::gt, {h, zero}), b.contract("bo,ho->bh", y, v, precision), b.like(0, h)});
  auto update = [&](const std::string& name, Value weight, Value speed, Value gradient) {
    Value next = b.map(Op::add, {b.map(Op::mul, {speed, b.scalar(0.9, f32)}), gradient});
    f.results.push_back({name, b.map(Op::sub, {weight, b.map(Op::div, {next, b.scalar(3, f32)})}), true});
    f.results.push_back({name + "_speed", next, true});
  };
  update("w", w, w_speed, b.contract("bi,bh->ih", x, dh, precision));
  update("v", v, v_speed, b.contract("bh,bo->ho", h, y, precision));
  passes::optimize(f);
  passes::prepare_for_fusion(f);
  auto calls = passes::fuse(f);
  program::ProgramT program;
  KernelTable kernels;
  place_variables(module, program, choose_layouts({{&f, &calls}}, target));
  plan_entry(module, f, std::move(calls), kernels, program);
  std::vector<Kernel> found;
  for (const Kernel& kernel : kernels.kernels())
    if (kernel.form == ir::Form::contract) found.push_back(kernel);
  return found;
}

struct Kinds {
  bool turned = false, packed = false, deferred = false, apart = false, prefetched = false, blocks = false;
};

void check_bits(const Kernel& kernel, const Target& target, Kinds& kinds) {
  auto inputs = random_inputs(kernel, 7, -1, 1);
  std::vector<int64_t> cuts;
  if (kernel.units > Kernel::unit_alignment) cuts = {kernel.units / 3 / Kernel::unit_alignment * Kernel::unit_alignment};
  auto expected = Compiled(kernel, target).run(inputs, cuts);
  auto candidates = contract_candidates(kernel, target);
  CHECK(candidates.front() == static_cast<const ContractChoice&>(plan_contract(kernel, target)));
  for (const ContractChoice& choice : candidates) {
    INFO(target.name << ": " << to_string(choice) << "\n" << ir::key(kernel));
    auto actual = Compiled(kernel, target, &choice).run(inputs, cuts);
    for (size_t r = 0; r < expected.size(); ++r) CHECK(std::memcmp(expected[r].bytes().data(), actual[r].bytes().data(), expected[r].bytes().size()) == 0);
    const ContractChoice& model = candidates.front();
    kinds.turned |= choice.turned != model.turned;
    kinds.packed |= choice.pack_b && !model.pack_b;
    kinds.deferred |= choice.deferred && choice.vectors > 1;
    kinds.apart |= model.deferred && !choice.deferred;
    kinds.prefetched |= choice.prefetched;
    kinds.blocks |= choice.row_block_shift != 0;
  }
}

struct Folder {
  fs::path path = fs::temp_directory_path() / ("gradc-tune-" + std::to_string(getpid()));
  ~Folder() { fs::remove_all(path); }
};
}  // namespace

TEST_CASE("every choice of a contract gives the same bits", "[tune]") {
  for (const Target& target : targets()) {
    Kinds kinds;
    // Blocked, pitched and row-major matrices; whole and partial tiles; few rows, which are shared out by columns.
    for (auto [batch, in, hidden, out] : {std::array{40, 48, 96, 10}, {67, 33, 50, 17}, {128, 64, 160, 32}, {8, 1024, 192, 64}})
      for (const Kernel& kernel : contracts(batch, in, hidden, out, target)) check_bits(kernel, target, kinds);
    CHECK(kinds.turned);
    CHECK(kinds.packed);
    if (target.registers < 32) continue;
    CHECK(kinds.deferred);
    CHECK(kinds.apart);
    CHECK(kinds.prefetched);
    CHECK(kinds.blocks);
  }
}

TEST_CASE("every choice of a contract in bf16 gives the same bits", "[tune]") {
  for (const Target& target : bf16_targets())
    for (ir::Precision precision : {ir::Precision::bf16, ir::Precision::bf16x3}) {
      Kinds kinds;
      for (const Kernel& kernel : contracts(40, 48, 96, 10, target, precision)) check_bits(kernel, target, kinds);
    }
}

TEST_CASE("what was chosen is remembered for this kernel and target", "[tune]") {
  Folder folder;
  Cache cache(folder.path.string());
  Target target = *named_target("avx512"), other = *named_target("avx2");
  std::vector<Kernel> kernels = contracts(40, 48, 96, 10, target);
  const Kernel& kernel = kernels.front();
  int asked = 0;
  Judge last = [&](const Kernel&, const Target&, const std::vector<ContractChoice>& candidates) {
    ++asked;
    return std::pair(candidates.size() - 1, 1.25);
  };
  CHECK(!remembered(kernel, target, cache));
  Tuned tuned = tune(kernel, target, &cache, last);
  CHECK(tuned.choice == contract_candidates(kernel, target).back());
  CHECK(tuned.measured);
  CHECK(asked == 1);
  auto found = remembered(kernel, target, cache);
  REQUIRE(found);
  CHECK(found->choice == tuned.choice);
  CHECK(found->gain == 1.25);
  CHECK(!found->measured);
  CHECK(!remembered(kernel, other, cache));
  CHECK(!remembered(kernels.back(), target, cache));
  // Without a cache it is for this time alone.
  CHECK(tune(kernels.back(), target, nullptr, last).choice == contract_candidates(kernels.back(), target).back());
  CHECK(!remembered(kernels.back(), target, cache));
  // A damaged file is as if it were not there.
  for (const auto& entry : fs::recursive_directory_iterator(folder.path))
    if (entry.is_regular_file()) std::ofstream(entry.path(), std::ios::binary) << "1.25 one row";
  CHECK(!remembered(kernel, target, cache));
}

TEST_CASE("a chosen kernel has a name of its own", "[tune]") {
  Target target = *named_target("avx512");
  KernelTable table;
  table.add(contracts(40, 48, 96, 10, target).front());
  std::string model = table.symbol(0);
  CHECK(table.choice(0) == nullptr);
  ContractChoice choice = contract_candidates(table.kernels()[0], target).back();
  table.choose(0, choice);
  REQUIRE(table.choice(0) != nullptr);
  CHECK(*table.choice(0) == choice);
  CHECK(table.symbol(0) != model);
}

TEST_CASE("candidates are run by turns", "[tune]") {
  for (const Target& target : targets()) {
    Kernel kernel = contracts(40, 48, 96, 10, target).front();
    auto candidates = contract_candidates(kernel, target);
    candidates.resize(std::min<size_t>(candidates.size(), 3));
    auto [best, gain] = measure(kernel, target, candidates);
    CHECK(best < candidates.size());
    CHECK((best == 0) == (gain == 1));
  }
}
