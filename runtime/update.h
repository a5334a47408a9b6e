// One execution of a train step: fill, run, perhaps in chunks that are accumulated and applied. Shared by the training loop, `bench` and the
// C interface.
#pragma once
#include <string>
#include <vector>

#include "runtime/batch.h"
#include "runtime/evaluate.h"
#include "runtime/model.h"

namespace gradc::runtime {

/// A train step with the optimizer chosen for it.
struct StepRun {
  const program::TrainStep* source = nullptr;
  const program::Optimizer* optimizer = nullptr;
  Entry* step = nullptr;
  Entry* apply = nullptr;     // null: `step` updates by itself
  Entry* watch = nullptr;     // squares of gradients; null: none was compiled
  Hyper* lr = nullptr;
  int64_t executions = 0, updates = 0;
  int64_t planned = 1;        // executions: T
  double loss_sum = 0;        // of the epoch so far: the trainer's
};

/// A train block with its steps, ready to run.
struct TrainRun {
  const program::Train* source = nullptr;
  std::vector<StepRun> steps;
  int64_t batch = 0;          // 0: all
  int64_t chunk = 0;

  /// Steps of program.trains[index], each with the first optimizer that it names, or what `chosen` says: "NAME" for all steps that have it, "STEP=NAME" for one.
  static Result<TrainRun> create(Model& model, size_t index, const std::vector<std::string>& chosen);
  /// The step of this name; null and an error that lists them if there is none.
  Result<StepRun*> find_step(const std::string& name);
  std::vector<const program::Optimizer*> chosen() const;
  /// Whether every step that reads rows can take `rows` of them in one update; else says what it takes.
  Status check_rows(int64_t rows) const;
};

struct StepResult {
  double loss = 0, lr = 0;
  bool has_lr = false;
};

/// "STEP=VALUE" to its parts; "" and the whole where no step is named.
std::pair<std::string, std::string> split_choice(const std::string& text);

/// Runs the step on `rows` rows; the first is number `base` of its epoch. If the loss is not finite, nothing is updated and the error says where it comes from.
/// norms: null, or where to put the norm of each parameter's gradient, by name, if the step can be watched. What the step does stays the same.
Result<StepResult> execute(Model& model, const TrainRun& train, StepRun& step, RowSource& source, int64_t base, int64_t rows, Figures* norms = nullptr);

}  // namespace gradc::runtime
