// The team and the step function: every granule exactly once, phases in order, the same bits whatever the number of threads.
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "runtime/machine.h"
#include "runtime/team.h"
#include "toy.h"

using namespace gradc::runtime;

namespace {
// Stages of 13 parts each; every part checks that all parts of the stage before are done. A thread in `away` stays out until it may come back.
struct Counting : Stages {
  static constexpr int64_t rounds = 300, parts_of_stage = 13;
  std::atomic<int64_t> stage{-1}, taken{0}, done[rounds] = {};
  std::atomic<int> early{0};
  std::atomic<bool> away[8] = {};
  std::atomic<int64_t> ran[8] = {};
  int64_t take_part(int thread) override {
    while (away[thread]) away[thread].wait(true);
    int64_t mine = 0;
    for (; taken.fetch_add(1) < parts_of_stage; ++mine) {
      int64_t now = stage;
      if (now > 0 && done[now - 1] != parts_of_stage) ++early;
      ++done[now];
      ++ran[thread];
    }
    return mine;
  }
  int64_t parts() const override { return parts_of_stage; }
  bool next(int) override {
    if (++stage == rounds) return false;
    taken = 0;
    return true;
  }
  void rewind() {
    taken = parts_of_stage;
    for (auto& count : done) count = 0;
    stage = -1;
  }
};
}  // namespace

TEST_CASE("more threads than cores run stages in order") {
  Counting stages;
  Team team(7, stages);
  for (int repeat = 0; repeat < 20; ++repeat) {
    stages.rewind();
    team.run();
    for (auto& count : stages.done) CHECK(count == Counting::parts_of_stage);
  }
  CHECK(stages.early == 0);
}

TEST_CASE("a thread that was taken away is not waited for, and comes back") {
  Counting stages;
  Team team(3, stages);
  for (int repeat = 0; repeat < 3; ++repeat) {
    stages.away[1] = stages.away[2] = true;
    stages.rewind();
    team.run();
    CHECK(stages.ran[0] == (repeat + 1) * Counting::rounds * Counting::parts_of_stage);
  }
  for (int thread : {1, 2}) stages.away[thread] = false, stages.away[thread].notify_all();
  stages.rewind();
  team.run();
  CHECK(stages.ran[0] + stages.ran[1] + stages.ran[2] == 4 * Counting::rounds * Counting::parts_of_stage);
  CHECK(stages.early == 0);
}

namespace {
// Two phases over 101 units in granules of 3; the second reads all of the first. Counts how often each unit is run.
constexpr int64_t units = 101;
void first_kernel(char* const* a, int64_t begin, int64_t end, char*) {
  for (int64_t i = begin; i < end; ++i) reinterpret_cast<std::atomic<int32_t>*>(a[0])[i].fetch_add(1);
}
void second_kernel(char* const* a, int64_t begin, int64_t end, char*) {
  auto* counts = reinterpret_cast<std::atomic<int32_t>*>(a[0]);
  for (int64_t i = begin; i < end; ++i) {
    int32_t sum = 0;
    for (int64_t j = 0; j < units; ++j) sum += counts[j].load();
    reinterpret_cast<int32_t*>(a[1])[i] = sum;
  }
}
}  // namespace

TEST_CASE("every granule runs once a run, after all of the phase before") {
  namespace program = gradc::program;
  program::ProgramT tables;
  tables.abi = GRADC_ABI;
  tables.variables_bytes = 1024;
  tables.kernels.resize(2);
  for (auto& kernel : tables.kernels) kernel = std::make_unique<program::KernelT>();
  auto entry = std::make_unique<program::EntryT>();
  entry->name = "both";
  entry->arena_bytes = 64;
  entry->first_update = 2;
  for (uint32_t k = 0; k < 2; ++k) {
    auto call = std::make_unique<program::CallT>();
    call->kernel = k;
    call->args = {program::Place(program::Space::variables, 0), program::Place(program::Space::variables, 512)};
    call->units = units;
    call->grain = 3;
    call->outputs = 1;
    call->flops = 1e7;
    auto strand = std::make_unique<program::StrandT>();
    strand->granules = (units + 2) / 3;
    strand->calls.push_back(std::move(call));
    auto phase = std::make_unique<program::PhaseT>();
    phase->strands.push_back(std::move(strand));
    entry->phases.push_back(std::move(phase));
  }
  tables.entries.push_back(std::move(entry));
  flatbuffers::FlatBufferBuilder builder;
  program::FinishProgramBuffer(builder, program::Program::Pack(builder, &tables));
  gradc_kernel kernels[] = {first_kernel, second_kernel};
  gradc_image image{builder.GetBufferPointer(), builder.GetSize(), kernels, 0};
  for (int threads : {1, 2, 5, 9}) {
    auto model = Model::create(&image, threads, nullptr);
    REQUIRE(model);
    Entry& both = *(*model)->entry("both");
    CHECK(both.parallel);
    const int32_t* counts = reinterpret_cast<const int32_t*>(both.phases[0].strands[0].calls[0].args[0]);
    int wrong = 0;
    for (int run = 1; run <= 500; ++run) {
      (*model)->run(both);
      for (int64_t i = 0; i < units; ++i) wrong += counts[i] != run || counts[128 + i] != run * units;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("several threads are used where they pay") {
  struct Way { int64_t together, alone; };
  // Runs so often at these speeds; gives the share of runs that went the slower way.
  auto waste = [](Pace& pace, Way way, int runs) {
    int slower = 0;
    for (int i = 0; i < runs; ++i) {
      bool together = pace.together();
      slower += together != (way.together < way.alone);
      pace.took(i % 50 == 3 ? 100 * way.alone : together ? way.together : way.alone);   // now and then something else runs
    }
    return double(slower) / runs;
  };
  for (Way way : {Way{1000, 1900}, Way{1900, 1000}}) {
    Pace pace;
    CHECK(waste(pace, way, 1000) < 0.04);
    CHECK(waste(pace, way, 20000) < 0.005);
    CHECK(waste(pace, {way.alone, way.together}, 20000) < 0.25);   // the machine has changed: seen at the next trial
    CHECK(waste(pace, {way.alone, way.together}, 20000) < 0.005);
  }
  Pace pace;
  waste(pace, {1000, 1900}, 20000);
  CHECK(waste(pace, {3000, 1900}, 1000) < 0.05);   // worse than alone is seen at once
  // Something else has the other cores while a program starts: long runs stay together, others are tried again within a second.
  Pace longer, shorter;
  waste(longer, {60'000'000, 44'000'000}, 12);
  CHECK(longer.together());
  waste(shorter, {3'900'000, 3'300'000}, 12);
  CHECK_FALSE(shorter.together());
  CHECK(waste(shorter, {1'700'000, 3'300'000}, 2000) < 0.2);
}

TEST_CASE("results do not depend on the number of threads") {
  toy::Options options;
  options.heavy = true;
  options.features = 40;
  options.batch = 32;
  toy::Toy program(options);
  std::vector<float> reference;
  for (int threads : {1, 2, 3, 8}) {
    auto model = toy::make(program, threads);
    REQUIRE(model);
    Entry& step = *model->entry("train.sgd");
    CHECK(step.parallel);
    for (int i = 0; i < 50; ++i) {
      model->scalars.step = i;
      model->scalars.valid = 32;
      for (const Port& port : step.inputs)
        for (int64_t e = 0; e < port.type.elements(); ++e) write_number(port.type.element, port.data + e * 4, std::sin(double(e * 7 + i)));
      REQUIRE(model->run(step));
    }
    const float* w = reinterpret_cast<const float*>(model->variable("line.w")->data);
    std::vector<float> now(w, w + 40);
    if (reference.empty()) reference = now;
    CHECK(now == reference);
  }
}

TEST_CASE("the host's floating-point control word comes back") {
#if defined(__x86_64__)
  uint32_t before = _mm_getcsr();
  _mm_setcsr(before | 0x6000);   // round toward zero
  toy::Toy program;
  auto model = toy::make(program, 2);
  model->run(*model->entry("validate"));
  CHECK(_mm_getcsr() == (before | 0x6000));
  _mm_setcsr(before);
#endif
}

TEST_CASE("machine") {
  CHECK(usable_cores() >= 1);
  CHECK(missing_features({}).empty());
  CHECK(missing_features({"a_feature_of_2190"}) == std::vector<std::string>{"a_feature_of_2190"});
  toy::Toy program;
  program.tables().features = {"a_feature_of_2190"};
  program.pack();
  auto model = Model::create(program.image(), 1, nullptr);
  REQUIRE_FALSE(model);
  CHECK(model.error().code == GRADC_MACHINE);
  CHECK_THAT(model.error().message, Catch::Contains("a_feature_of_2190"));
}

TEST_CASE("a damaged program is refused") {
  toy::Toy program;
  program.tables().abi = GRADC_ABI + 1;
  program.pack();
  CHECK_FALSE(Model::create(program.image(), 1, nullptr));
  program.tables().abi = GRADC_ABI;
  program.tables().entries[1]->phases[0]->strands[0]->calls[0]->kernel = 99;
  program.pack();
  CHECK_FALSE(Model::create(program.image(), 1, nullptr));
}
