// The training loop: it learns, repeats itself bit by bit, and goes on after a kill as if nothing had happened.
#include <catch2/catch.hpp>
#include <filesystem>

#include "runtime/weights.h"
#include "runtime/trainer.h"
#include "toy.h"

using namespace gradc::runtime;

namespace {
// Stops training after some steps, as a kill would.
struct StopAfter : Observer {
  explicit StopAfter(int64_t steps) : left(steps) {}
  void step(const StepEnd& end) override {
    losses.push_back(end.loss);
    if (--left == 0) stop = true;
  }
  void epoch(const EpochEnd& end) override { epochs.push_back(end); }
  std::atomic<bool> stop{false};
  int64_t left;
  std::vector<double> losses;
  std::vector<EpochEnd> epochs;
};

std::string weights(Model& model) {
  std::string bytes;
  for (const Variable& variable : model.variables)
    if (variable.kind != gradc::program::VariableKind::accumulator) bytes.append(variable.data, variable.bytes);
  return bytes;
}
}  // namespace

TEST_CASE("training finds the line") {
  toy::Options options;
  options.epochs = 200;
  for (bool accumulate : {false, true}) {
    options.accumulate = accumulate;
    if (accumulate) options.samples = 43, options.epochs = 1000, options.lr = 0.5;   // the last chunk is masked
    toy::Toy program(options);
    auto model = toy::make(program);
    StopAfter observer(-1);
    auto result = Trainer(*model, {}, {&observer}).run();
    REQUIRE(result);
    CHECK(result->epochs == options.epochs);
    CHECK(result->steps == options.epochs * (accumulate ? 1 : 5));
    REQUIRE(result->validation.size() == 2);
    CHECK(result->validation[0].first == "loss");
    CHECK(result->validation[0].second < 1e-3);
    CHECK(result->validation[1].first == "worst");
    const float* w = reinterpret_cast<const float*>(model->variable("line.w")->data);
    for (int f = 0; f < 3; ++f) CHECK(w[f] == Approx(f + 1).margin(0.05));
  }
}

TEST_CASE("killed and resumed gives the same bits as never stopped") {
  std::string folder = toy::fresh_folder("resume");
  for (bool accumulate : {false, true}) {
    toy::Options options;
    options.accumulate = accumulate;
    options.patience = 100;
    toy::Toy program(options);
    TrainOptions train;
    train.epochs = 6;
    train.set = {{"lr", 0.05}};
    auto straight = toy::make(program);
    StopAfter all(-1);
    REQUIRE(Trainer(*straight, train, {&all}).run());
    for (int64_t stop_at : {1, 3, 5, 6}) {
      std::string path = folder + "/a.ckpt";
      StopAfter observer(stop_at);
      train.stop = &observer.stop;
      train.checkpoint = path;
      train.resume.clear();
      {
        auto killed = toy::make(program, 2);
        auto result = Trainer(*killed, train, {&observer}).run();
        REQUIRE(result);
        if (int64_t(all.losses.size()) > stop_at) CHECK(result->interrupted);
      }
      TrainOptions again;
      again.resume = path;
      auto resumed = toy::make(program, 1, 12345);   // another seed: the checkpoint's counts
      StopAfter rest(-1);
      REQUIRE(Trainer(*resumed, again, {&rest}).run());
      CHECK(weights(*resumed) == weights(*straight));
      std::vector<double> joined = observer.losses;
      joined.insert(joined.end(), rest.losses.begin(), rest.losses.end());
      CHECK(joined == all.losses);
      if (!rest.epochs.empty()) CHECK(rest.epochs.back().means == all.epochs.back().means);
    }
  }
}

TEST_CASE("a longer run continues a shorter one") {
  std::string path = toy::fresh_folder("longer") + "/a.ckpt";
  toy::Toy program;
  TrainOptions train;
  train.steps = 7;
  train.checkpoint = path;
  auto first = toy::make(program);
  REQUIRE(Trainer(*first, train, {}).run());
  train.steps = 14;
  auto straight = toy::make(program);
  train.checkpoint.clear();
  REQUIRE(Trainer(*straight, train, {}).run());
  train.resume = path;
  auto second = toy::make(program);
  REQUIRE(Trainer(*second, train, {}).run());
  CHECK(weights(*second) == weights(*straight));
}

TEST_CASE("seeds and shuffling") {
  toy::Toy program;
  auto run = [&](int64_t seed, bool shuffle) {
    auto model = toy::make(program, 1, seed);
    TrainOptions train;
    train.shuffle = shuffle;
    REQUIRE(Trainer(*model, train, {}).run());
    return weights(*model);
  };
  CHECK(run(1, true) == run(1, true));
  CHECK(run(1, true) != run(2, true));
  CHECK(run(1, true) != run(1, false));
  auto order = shuffled(1000, 5, 0, 0);
  CHECK(order != shuffled(1000, 5, 0, 1));
  CHECK(order != shuffled(1000, 5, 1, 0));
  std::sort(order.begin(), order.end());
  for (uint32_t i = 0; i < 1000; ++i) REQUIRE(order[i] == i);
}

TEST_CASE("early stopping keeps the best") {
  toy::Options options;
  options.patience = 3;
  options.epochs = 500;
  toy::Toy program(options);
  std::string path = toy::fresh_folder("early") + "/a.ckpt";
  auto model = toy::make(program);
  StopAfter observer(-1);
  TrainOptions train;
  train.checkpoint = path;
  auto result = Trainer(*model, train, {&observer}).run();
  REQUIRE(result);
  CHECK(result->stopped_early);
  REQUIRE(observer.epochs.size() > 4);
  size_t best = observer.epochs.size() - 4;
  CHECK(observer.epochs[best].better);
  for (size_t i = best + 1; i < observer.epochs.size(); ++i) CHECK_FALSE(observer.epochs[i].better);
  // What is in the model now, and what inference loads, is the best epoch's.
  auto loaded = toy::make(program);
  REQUIRE(load_checkpoint(path, *loaded, Purpose::inference));
  CHECK(copy_weights(*loaded) == copy_weights(*model));
  Samples samples = *read_split(*loaded->program(), "points", "test", {});
  std::vector<uint32_t> order;
  SampleRows rows(samples, order);
  loaded->scalars.step = observer.epochs[best].step - 1;
  auto evaluator = Evaluator::create(*loaded, loaded->program()->trains()->Get(0)->validate());
  CHECK(evaluator->run(*loaded, rows, samples.count)[0].second == Approx(observer.epochs[best].validation[0].second).epsilon(0.02));
}

TEST_CASE("a loss that is not finite updates nothing and says where it comes from") {
  toy::Options options;
  options.poison = true;
  options.lr = 30;   // diverges
  options.epochs = 100;
  toy::Toy program(options);
  std::string path = toy::fresh_folder("poison") + "/a.ckpt";
  auto model = toy::make(program);
  TrainOptions train;
  train.checkpoint = path;
  train.checkpoint_every = 1;
  auto result = Trainer(*model, train, {}).run();
  REQUIRE_FALSE(result);
  CHECK(result.error().code == GRADC_NOT_FINITE);
  CHECK_THAT(result.error().message, Catch::Contains("residual") && Catch::Contains("toy.grad:2") && Catch::Contains("step") && Catch::Contains(path));
  auto saved = toy::make(program);
  REQUIRE(load_checkpoint(path, *saved, Purpose::resume));
  CHECK(weights(*saved) == weights(*model));
}

TEST_CASE("options that cannot be") {
  toy::Options options;
  options.batch = 64;
  toy::Toy program(options);
  auto model = toy::make(program);
  auto result = Trainer(*model, {}, {}).run();
  REQUIRE_FALSE(result);
  CHECK_THAT(result.error().message, Catch::Contains("batch of 64") && Catch::Contains("40 samples"));

  toy::Toy good;
  auto second = toy::make(good);
  TrainOptions train;
  train.optimizer = {"sdg"};
  result = Trainer(*second, train, {}).run();
  REQUIRE_FALSE(result);
  CHECK(result.error().code == GRADC_UNKNOWN_NAME);
  CHECK_THAT(result.error().message, Catch::Contains("did you mean 'sgd'?"));
  train.optimizer.clear();
  train.set = {{"sgd.rl", 1}};
  result = Trainer(*second, train, {}).run();
  REQUIRE_FALSE(result);
  CHECK_THAT(result.error().message, Catch::Contains("did you mean 'sgd.lr'?"));
}

TEST_CASE("an optimizer or a setting of one block is no mistake in another") {
  toy::Toy program;
  auto& trains = program.tables().trains;
  trains.push_back(std::make_unique<gradc::program::TrainT>(*trains[0]));
  auto& optimizer = *trains[1]->step_list[0]->optimizers[0];
  optimizer.name = "fast";
  optimizer.hypers[0]->name = optimizer.lr = "fast.lr";
  program.pack();
  TrainOptions train;
  train.optimizer = {"fast"};
  train.set = {{"fast.lr", 0.01}};
  auto model = toy::make(program);
  StopAfter observer(-1);
  REQUIRE(Trainer(*model, train, {&observer}).run());
  CHECK(observer.losses.size() == 50);   // both blocks
  train.set = {{"slow.lr", 0.01}};
  CHECK_FALSE(Trainer(*model, train, {}).run());
}

TEST_CASE("checkpoints that are damaged or of another model") {
  std::string folder = toy::fresh_folder("damaged"), path = folder + "/a.ckpt";
  toy::Toy program;
  auto model = toy::make(program);
  TrainOptions train;
  train.checkpoint = path;
  REQUIRE(Trainer(*model, train, {}).run());
  std::string whole = toy::read_file(path), before = weights(*model);
  auto load = [&](const std::string& content) {
    toy::write_file(folder + "/b.ckpt", content);
    auto state = load_checkpoint(folder + "/b.ckpt", *model, Purpose::resume);
    REQUIRE_FALSE(state);
    CHECK(weights(*model) == before);
    return state.error();
  };
  for (size_t size = 0; size < whole.size(); size += 13) CHECK(load(whole.substr(0, size)).code == GRADC_CORRUPT);
  for (size_t at = 0; at < whole.size(); at += 7) {
    std::string bad = whole;
    bad[at] = char(bad[at] ^ 0x20);
    CHECK(load(bad).code == GRADC_CORRUPT);
  }
  CHECK(load(whole + "x").code == GRADC_CORRUPT);
  CHECK_THAT(load(whole.substr(0, whole.size() / 2)).message, Catch::Contains("truncated"));
  CHECK_THAT(load("hello, I am no checkpoint").message, Catch::Contains("no checkpoint"));

  toy::Options wider;
  wider.features = 4;
  toy::Toy other(wider);
  auto second = toy::make(other);
  auto state = load_checkpoint(path, *second, Purpose::inference);
  REQUIRE_FALSE(state);
  CHECK(state.error().code == GRADC_OTHER_MODEL);
  CHECK_THAT(state.error().message, Catch::Contains("line.w") && Catch::Contains("f32[3]") && Catch::Contains("f32[4]"));

  REQUIRE_FALSE(load_checkpoint(folder + "/none.ckpt", *model, Purpose::resume));
  auto full = save_checkpoint("/dev/full", *model, {}, {});   // a device: not replaced by a file
  REQUIRE_FALSE(full);
  CHECK_THAT(full.error().message, Catch::Contains("/dev/full"));
  CHECK(std::filesystem::is_character_file("/dev/full"));
  auto status = save_checkpoint("/nonexistent-folder/a.ckpt", *model, {}, {});
  REQUIRE_FALSE(status);
  CHECK(status.error().code == GRADC_FILE);
}

TEST_CASE("weights go out and come in by name") {
  std::string folder = toy::fresh_folder("weights"), path = folder + "/w.safetensors";
  toy::Toy program;
  auto model = toy::make(program), other = toy::make(program, 1, 99);
  REQUIRE(copy_weights(*model) != copy_weights(*other));
  REQUIRE(save_weights(path, *model));
  REQUIRE(load_weights(path, *other));
  CHECK(copy_weights(*model) == copy_weights(*other));

  auto file = [&](const std::string& header, size_t bytes) {
    uint64_t length = header.size();
    toy::write_file(path, std::string(reinterpret_cast<char*>(&length), 8) + header + std::string(bytes, '\0'));
    auto status = load_weights(path, *other);
    REQUIRE_FALSE(status);
    return status.error();
  };
  Error error = file(R"({"line.w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "line.bb": {"dtype": "F32", "shape": [], "data_offsets": [16, 20]}})", 20);
  CHECK(error.code == GRADC_OTHER_MODEL);
  CHECK_THAT(error.message, Catch::Contains("f32[4]") && Catch::Contains("f32[3]") && Catch::Contains("'line.b'") && Catch::Contains("missing") && Catch::Contains("'line.bb'"));
  CHECK(file(R"({"line.w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}, "line.b": {"dtype": "F32", "shape": [], "data_offsets": [12, 16]}})", 14).code == GRADC_CORRUPT);
  CHECK(file("{nonsense", 4).code == GRADC_CORRUPT);
  CHECK(copy_weights(*model) == copy_weights(*other));
  toy::write_file(path, std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8));
  CHECK_FALSE(load_weights(path, *other));
}
