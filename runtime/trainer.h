// The training loop: train blocks in file order, epochs, steps, validation, early stopping, checkpoints. It prints nothing: observers
// (progress bar, log) are told what happens.
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/checkpoint.h"
#include "runtime/evaluate.h"
#include "runtime/reader.h"
#include "runtime/update.h"
#include "runtime/watch.h"

namespace gradc::runtime {

struct TrainOptions {
  std::map<std::string, std::string> directories;   // see read_split
  std::optional<int64_t> epochs, steps;
  std::vector<std::string> optimizer;               // NAME, or STEP=NAME; else what the model file names first
  std::vector<std::pair<std::string, double>> lr;   // of a step, or with "" of all
  std::vector<std::pair<std::string, double>> set;
  bool shuffle = true;
  ReadPlan::Thread reader = ReadPlan::Thread::automatic;
  std::string checkpoint;                           // "": save nothing
  int64_t checkpoint_every = 0;                     // also after every so many steps
  double checkpoint_seconds = 0;                    // at the end of an epoch only if the last one is older (0: always)
  std::string resume, init;
  std::optional<int64_t> watch_every;               // steps between looks at the gradients; 0: none; else the model file's
  const std::atomic<bool>* stop = nullptr;          // becomes true: finish the step, save, return
};

/// What observers are told. A "step" is one time through the block's steps.
struct BlockBegin {
  std::string name;
  int64_t blocks, block;
  int64_t epochs;             // planned; 0 where only steps count
  int64_t cycles, cycles_per_epoch;
  int64_t done, epochs_done;  // more than 0 when resumed
  int64_t samples_per_cycle;
  const TrainRun* run;
};
struct StepEnd {
  int64_t step;               // of the block, from 1
  int64_t epoch;              // from 1
  Figures means;              // of the epoch so far: "loss", or "NAME.loss" for each train step
  double loss;                // of the first train step
  Figures figures;            // "loss" (or "NAME.loss"), "lr"
  Figures gradients;          // norm by parameter; empty: not looked at in this step
};
struct EpochEnd {
  int64_t epoch, step;        // from 1
  Figures means;              // of training: "loss", or "NAME.loss" for each train step
  Figures validation;         // empty: none
  bool better;                // early stopping: the lowest loss so far
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void begin(const BlockBegin&) {}
  virtual void step(const StepEnd&) {}
  virtual void validating() {}
  virtual void epoch(const EpochEnd&) {}
  virtual void warning(const GradientWarning&) {}   // before the step's or epoch's own call
  virtual void note(const std::string&) {}
  virtual void end() {}       // of a block
};

struct TrainResult {
  int64_t steps = 0, epochs = 0;   // of the last block
  Figures means;                   // of training in the last epoch: "loss", or "NAME.loss" for each train step
  Figures validation;              // the last
  double best_loss = 0;
  bool stopped_early = false, interrupted = false;
};

class Trainer {
 public:
  Trainer(Model& model, TrainOptions options, std::vector<Observer*> observers);
  /// Runs all blocks, from where the checkpoint stands. The model then holds the best weights (early stopping) or the last.
  Result<TrainResult> run();
  const TrainState& state() const { return state_; }

 private:
  Result<TrainRun> prepare(size_t stage, bool resumed);
  template <class Knows>
  bool known_elsewhere(Knows knows, size_t stage) const;
  Status load(size_t stage, bool write);
  Status run_block(size_t stage, bool resumed);
  Status run_cycle(Reader& reader, int64_t cycles_per_epoch);
  std::string figure(const StepRun& step, const char* name) const;   // "loss", or with several steps "critic_step.loss"
  Figures means() const;
  Status finish_epoch(const Samples* validation, bool whole);
  Status save();
  bool stop() const { return options_.stop && options_.stop->load(std::memory_order_relaxed); }
  template <class Event>
  void tell(void (Observer::*what)(const Event&), const Event& event) {
    for (Observer* observer : observers_) (observer->*what)(event);
  }

  Model& model_;
  TrainOptions options_;
  std::vector<Observer*> observers_;
  TrainState state_;
  TrainRun run_;
  TrainResult result_;
  GradientWatch watch_;
  int64_t watch_every_ = 0;       // steps; 0: never
  std::vector<bool> reads_;       // per step: takes rows of the data
  std::optional<Evaluator> evaluator_;
  int64_t batch_ = 0, rows_per_cycle_ = 0, samples_ = 0;
  double saved_at_ = 0;
};

}  // namespace gradc::runtime
