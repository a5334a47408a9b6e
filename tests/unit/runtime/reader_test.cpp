// Readers: the same rows whether a thread has them ready or not, wherever one begins, and augmented by epoch and row alone.
#include <catch2/catch.hpp>

#include "runtime/reader.h"
#include "runtime/trainer.h"
#include "toy.h"

using namespace gradc::runtime;

namespace {
std::string rows_of(const Entry& entry) {
  std::string bytes;
  for (const Port& port : entry.inputs) bytes.append(port.data, port.bytes);
  return bytes;
}
struct Reading {
  explicit Reading(bool augment, ReadPlan::Thread thread, int64_t seed = 7, bool shuffle = true) : program({.augment = augment}), model(toy::make(program, 1, seed)) {
    samples = *read_split(*model->program(), "points", "train", {});
    plan.shuffle = shuffle;
    plan.rows = 40, plan.batch = 8, plan.chunk = 5;   // chunks of 5 and 3
    plan.thread = thread;
    auto created = Reader::create(*model, samples, {step()}, model->entry("augment."), plan);
    REQUIRE(created);
    reader = std::move(*created);
  }
  Entry* step() { return model->entry("train.sgd"); }
  std::string chunk(int64_t epoch, int64_t batch, int64_t first, int64_t count) {
    reader->seek(epoch, batch * 8);
    reader->fill(*step(), first, count);
    return rows_of(*step());
  }
  std::vector<std::string> epoch(int64_t number) {
    std::vector<std::string> all;
    for (int64_t batch = 0; batch < 5; ++batch)
      for (int64_t first : {0, 5}) all.push_back(chunk(number, batch, first, first ? 3 : 5));
    return all;
  }
  toy::Toy program;
  std::unique_ptr<Model> model;
  Samples samples;
  ReadPlan plan;
  std::unique_ptr<Reader> reader;
};
using Thread = ReadPlan::Thread;
}  // namespace

TEST_CASE("a reader's rows do not depend on who made them") {
  for (bool augment : {false, true}) {
    Reading inline_reading(augment, Thread::never), threaded(augment, Thread::always);
    CHECK_FALSE(inline_reading.reader->has_thread());
    REQUIRE(threaded.reader->has_thread());
    std::vector<std::vector<std::string>> epochs;
    for (int64_t e = 0; e < 3; ++e) {
      epochs.push_back(inline_reading.epoch(e));
      CHECK(threaded.epoch(e) == epochs.back());
    }
    CHECK(epochs[0] != epochs[1]);
    // Any order of asking, the same place twice, and a reader that begins in the middle.
    CHECK(threaded.chunk(1, 3, 5, 3) == epochs[1][7]);
    CHECK(threaded.chunk(1, 3, 5, 3) == epochs[1][7]);
    CHECK(threaded.chunk(0, 4, 0, 5) == epochs[0][8]);
    CHECK(threaded.chunk(0, 4, 5, 3) == epochs[0][9]);
    CHECK(threaded.chunk(1, 0, 0, 5) == epochs[1][0]);
    Reading later(augment, Thread::always), other_seed(augment, Thread::always, 8);
    CHECK(later.chunk(2, 1, 0, 5) == epochs[2][2]);
    CHECK(other_seed.chunk(2, 1, 0, 5) != epochs[2][2]);
  }
}

TEST_CASE("augmenting changes what it should, by epoch and row") {
  Reading plain(false, Thread::never, 7, false), augmented(true, Thread::never, 7, false);
  CHECK(plain.epoch(0) == plain.epoch(1));
  CHECK(augmented.epoch(0) != augmented.epoch(1));
  CHECK(augmented.epoch(0) == augmented.epoch(0));
  augmented.chunk(3, 2, 5, 3);
  const float* x = reinterpret_cast<const float*>(augmented.step()->input("x")->data);
  std::vector<float> seen(x, x + 24);
  plain.chunk(3, 2, 5, 3);
  const float* raw = reinterpret_cast<const float*>(plain.step()->input("x")->data);
  for (int64_t row = 0; row < 8; ++row)
    for (int64_t f = 0; f < 3; ++f) CHECK(seen[size_t(row * 3 + f)] == raw[row * 3 + f] + 0.01f * float(std::min<int64_t>(row, 2) + 21) + float(3) + 0.5f * float(f));
  CHECK(load<float>(augmented.step()->input("y")->data) == load<float>(plain.step()->input("y")->data));
}

TEST_CASE("training with augmented data: the same bits on any number of threads, inline, and resumed") {
  std::string path = toy::fresh_folder("augmented") + "/a.ckpt";
  auto weights = [](Model& model) { return std::string(model.variable("line.w")->data, model.variable("line.w")->bytes); };
  auto train = [&](bool augment, int threads, Thread thread, int64_t steps, bool save, bool resume) {
    toy::Toy program({.augment = augment});
    auto model = toy::make(program, threads);
    TrainOptions options;
    options.steps = steps;
    options.reader = thread;
    if (save) options.checkpoint = path;
    if (resume) options.resume = path;
    REQUIRE(Trainer(*model, options, {}).run());
    return weights(*model);
  };
  std::string once = train(true, 1, Thread::never, 23, false, false);
  CHECK(once != train(false, 1, Thread::never, 23, false, false));
  CHECK(once == train(true, 2, Thread::always, 23, false, false));
  train(true, 1, Thread::always, 12, true, false);
  CHECK(once == train(true, 2, Thread::always, 23, false, true));
}
