// The driver: takes a model file through the stages of the compiler, and makes what was asked for. The only place that
// sees every folder.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ir/diagnostics.h"
#include "passes/winograd.h"

namespace gradc::ir {
struct Module;
}

namespace gradc {

enum class Stage { ast, graph, gradient, optimized, kernels, llvm, assembly };
std::optional<Stage> stage_from_name(std::string_view);   // "ast", "graph", "gradient", "optimized", "kernels", "llvm", "asm"

enum class DumpFormat { text, dot, svg };

struct DriverOptions {
  std::map<std::string, double> set;       // --set width=512: config values fixed at build
  std::vector<std::string> optimizers;     // further optimizers to choose from at start ("sgd(lr = 0.1)"), beside the file's own
  std::string target = "native";           // or a name of codegen::named_target
  std::string precision;                   // "f32", "bf16", "bf16x3"; "": what the file says
  passes::Winograd winograd = passes::Winograd::automatic;
  std::string memory_limit;                // of what the program holds, "64MB"; "": none
  bool verify = false;                     // the verifier after each pass
  std::string cache;                       // folder of code compiled before; "": none
  bool tune = false;                       // measure how contracts are best computed, where that is not remembered
  std::optional<size_t> tuned_choice;      // for tests: this candidate wins (the last one if there are fewer), nothing is measured
};

/// How a contract is computed after tuning.
struct TunedKernel {
  std::string kernel, model, choice;   // in words: what it computes, what the model would have, what was faster
  double gain;                         // time as the model would have it / time now
  bool measured;                       // by this driver; else remembered
};

class Driver {
 public:
  explicit Driver(DriverOptions);
  ~Driver();

  Sources& sources();
  Diagnostics& diagnostics();

  /// Reads a file, for its syntax tree alone.
  bool read(const std::string& path, std::optional<std::string> text = std::nullopt);
  /// Reads and elaborates a model file; false if diagnostics say why not. `text` takes the place of the file's contents.
  bool load(const std::string& path, std::optional<std::string> text = std::nullopt);

  /// A stage as text (dot and svg: the stages that are graphs). `function` picks one function by name, "" all of them.
  /// Nothing if diagnostics say why.
  std::optional<std::string> dump(Stage, DumpFormat = DumpFormat::text, const std::string& function = "");

  /// The module at stage graph, gradient or optimized.
  const ir::Module* module_at(Stage);

  bool build_executable(const std::string& output);
  /// NAME.h, libNAME.a and libNAME.so in a folder; NAME is the model file's.
  bool build_library(const std::string& folder);
  /// Compiles in memory and runs the program with these arguments (the first is the program's name): its exit status.
  int run(const std::vector<std::string>& arguments);

  /// All kernels whose choice was measured, now or earlier.
  const std::vector<TunedKernel>& tuned() const;
  /// Seconds per stage so far, for --verbose.
  const std::vector<std::pair<std::string, double>>& times() const;
  /// Kernels compiled so far, and how many of them were in the cache.
  std::pair<size_t, size_t> kernels() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gradc
