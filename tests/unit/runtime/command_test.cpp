// The command line: exit codes, files, and processes that are killed.
#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "runtime/checkpoint.h"
#include "runtime/data.h"
#include "runtime/json.h"
#include "toy.h"

using namespace gradc::runtime;

extern "C" int gradc_header_compiles(const gradc_image*);

namespace {
// Runs a command in a folder, in a process of its own; its output goes to a file there.
class Process {
 public:
  Process(const toy::Toy& program, const std::string& folder, std::vector<std::string> words) : folder_(folder) {
    std::vector<const char*> argv = {"toy"};
    for (const std::string& word : words) argv.push_back(word.c_str());
    argv.push_back(nullptr);
    id_ = fork();
    if (id_ == 0) {
      if (chdir(folder.c_str()) != 0 || !freopen("out.txt", "w", stdout) || !freopen("err.txt", "w", stderr)) _exit(99);
      int status = gradc_main(program.image(), int(argv.size()) - 1, argv.data());
      std::fflush(nullptr);
      _exit(status);
    }
  }
  void signal(int number) const { kill(id_, number); }
  int wait() const {
    int status = 0;
    waitpid(id_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  std::string out() const { return toy::read_file(folder_ + "/out.txt"); }
  std::string err() const { return toy::read_file(folder_ + "/err.txt"); }

 private:
  std::string folder_;
  pid_t id_;
};

void wait_for(const std::string& path) {
  for (int i = 0; i < 2000 && !std::filesystem::exists(path); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}
}  // namespace

TEST_CASE("commands of a program") {
  std::string folder = toy::fresh_folder("commands");
  toy::Options options;
  options.epochs = 60;
  options.lr = 0.8;
  toy::Toy program(options);
  CHECK(gradc_header_compiles(program.image()) == GRADC_OK);
  auto run = [&](std::vector<std::string> words, int expected) {
    Process process(program, folder, std::move(words));
    CHECK(process.wait() == expected);
    return expected == 0 ? process.out() : process.err();
  };
  CHECK_THAT(run({"eval"}, 1), Catch::Contains("toy.ckpt") && Catch::Contains("--untrained"));
  CHECK_THAT(run({"train", "--log", "log.jsonl"}, 0), Catch::Contains("epoch 60/60") && Catch::Contains("val loss") && Catch::Contains("worst") && Catch::Contains("toy.ckpt"));
  std::string log = toy::read_file(folder + "/log.jsonl");
  CHECK(std::count(log.begin(), log.end(), '\n') == 60 * 5 + 60);
  run({"train", "--log", "again.jsonl", "--quiet", "--threads", "2"}, 0);
  CHECK(toy::read_file(folder + "/again.jsonl") == log);
  for (const char* command : {"eval", "info", "bench"}) {
    std::vector<std::string> words = {command, "--json"};
    if (std::string(command) == "bench") words.insert(words.end(), {"--seconds", "0.01"});
    JsonValue value;
    REQUIRE(parse_json(run(words, 0), value));
    if (std::string(command) == "eval") CHECK(value.member("loss")->number < 0.01);
    if (std::string(command) == "info") CHECK(value.member("parameters")->number == 4);
    if (std::string(command) == "bench") CHECK(value.member("step_ms")->number > 0);
  }
  JsonValue trained;
  REQUIRE(parse_json(run({"train", "--json", "--profile", "--epochs", "2", "--no-save"}, 0), trained));
  CHECK(trained.member("steps")->number == 10);
  CHECK(trained.member("profile")->items.size() >= 4);
  CHECK_THAT(run({"train", "--profile", "--epochs", "2", "--no-save"}, 0), Catch::Contains("GFLOP/s") && Catch::Contains("toy.grad:2"));
  CHECK_THAT(run({"info"}, 0), Catch::Contains("line.w") && Catch::Contains("f32[3]") && Catch::Contains("peak memory"));

  std::string values = run({"predict", "--index", "0:11"}, 0);
  CHECK(std::count(values.begin(), values.end(), '\n') == 11);
  toy::write_file(folder + "/in.csv", "1,2,3\n0,0,0\n");
  std::string text = run({"predict", "in.csv"}, 0);
  CHECK(std::stof(text) == Approx(14.25).margin(0.1));
  run({"predict", "x=in.csv", "--out", "out.npy"}, 0);
  auto column = read_any(folder + "/out.npy", {"result", {ElementType::f32, {}}});
  REQUIRE(column);
  CHECK(column->samples == 2);
  CHECK(load<float>(column->sample(0)) == std::stof(text));
  run({"weights", "--out", "w.safetensors"}, 0);
  run({"train", "--init", "w.safetensors", "--steps", "3", "--no-shuffle", "--no-save"}, 0);

  CHECK_THAT(run({"trian"}, 2), Catch::Contains("did you mean 'train'?"));
  CHECK_THAT(run({"train", "--epoch", "3"}, 2), Catch::Contains("did you mean '--epochs'?"));
  CHECK_THAT(run({"train", "--epochs", "x"}, 2), Catch::Contains("--epochs"));
  CHECK_THAT(run({"train", "--epochs", "0"}, 2), Catch::Contains("--epochs"));
  CHECK_THAT(run({"train", "--optimizer", "sdg"}, 1), Catch::Contains("did you mean 'sgd'?"));
  CHECK_THAT(run({"train", "--set", "lr"}, 1), Catch::Contains("name=number"));
  CHECK_THAT(run({"train", "--checkpoint", "/nonexistent/a.ckpt"}, 1), Catch::Contains("cannot write"));
  CHECK_THAT(run({"train", "--log", "/nonexistent/a.jsonl"}, 1), Catch::Contains("cannot write"));
  CHECK_THAT(run({"predict", "none.csv"}, 1), Catch::Contains("none.csv"));
  CHECK_THAT(run({"predict"}, 1), Catch::Contains("name a file with samples, or take samples of the program's data, as --split") && Catch::Contains("--index 0"));
  CHECK_THAT(run({"predict", "--index", "11"}, 1), Catch::Contains("0 to 10"));
  CHECK_THAT(run({"eval", "--checkpoint", "in.csv"}, 1), Catch::Contains("no checkpoint") || Catch::Contains("truncated"));
  CHECK_THAT(run({}, 2), Catch::Contains("Usage"));
}

TEST_CASE("an interrupted program saves, says so, and goes on to the same bits") {
  std::string folder = toy::fresh_folder("interrupt");
  toy::Options options;
  options.epochs = 100000;
  options.samples = 400;
  toy::Toy program(options);
  Process process(program, folder, {"train", "--checkpoint", "a.ckpt", "--checkpoint-every", "7"});
  wait_for(folder + "/a.ckpt");
  process.signal(SIGINT);
  CHECK(process.wait() == 0);
  CHECK_THAT(process.out(), Catch::Contains("interrupted after step") && Catch::Contains("--resume a.ckpt"));
  auto model = toy::make(program);
  auto state = load_checkpoint(folder + "/a.ckpt", *model, Purpose::resume);
  REQUIRE(state);
  CHECK(state->cycles > 0);
  std::string end = std::to_string(state->cycles + 60);
  CHECK(Process(program, folder, {"train", "--resume", "a.ckpt", "--steps", end, "--checkpoint", "b.ckpt"}).wait() == 0);
  CHECK(Process(program, folder, {"train", "--steps", end, "--checkpoint", "c.ckpt", "--quiet"}).wait() == 0);
  auto other = toy::make(program);
  REQUIRE(load_checkpoint(folder + "/b.ckpt", *model, Purpose::resume));
  REQUIRE(load_checkpoint(folder + "/c.ckpt", *other, Purpose::resume));
  CHECK(copy_weights(*model) == copy_weights(*other));
}

TEST_CASE("a kill at any moment leaves a whole checkpoint") {
  std::string folder = toy::fresh_folder("kill");
  toy::Options options;
  options.epochs = 1000000;
  toy::Toy program(options);
  int64_t before = 0;
  for (int i = 0; i < 12; ++i) {
    std::vector<std::string> words = {"train", "--checkpoint", "a.ckpt", "--checkpoint-every", "1", "--quiet"};
    if (i > 0) words.insert(words.end(), {"--resume", "a.ckpt"});
    Process process(program, folder, words);
    wait_for(folder + "/a.ckpt");
    std::this_thread::sleep_for(std::chrono::microseconds(3000 + 1777 * i));
    process.signal(SIGKILL);
    CHECK(process.wait() == -SIGKILL);
    auto model = toy::make(program);
    auto state = load_checkpoint(folder + "/a.ckpt", *model, Purpose::resume);
    REQUIRE(state);
    CHECK(state->cycles >= before);
    before = state->cycles;
  }
  CHECK(before > 0);
}
