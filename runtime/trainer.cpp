// The loop itself. Its state is `state_` and the model's variables, nothing else: what is not there would be lost when a run is resumed.
#include "runtime/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fmt/format.h>

#include "runtime/file.h"
#include "runtime/weights.h"

namespace gradc::runtime {

static double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Trainer::Trainer(Model& model, TrainOptions options, std::vector<Observer*> observers)
    : model_(model), options_(std::move(options)), observers_(std::move(observers)) {}

// A name that this block does not know may be meant for another one.
template <class Knows>
bool Trainer::known_elsewhere(Knows knows, size_t stage) const {
  for (size_t other = 0; other < size(model_.program()->trains()); ++other)
    if (other != stage && knows(other)) return true;
  return false;
}

// Chooses optimizers and settings for a block. Whatever the command line says comes after what a checkpoint says.
Result<TrainRun> Trainer::prepare(size_t stage, bool resumed) {
  std::vector<std::string> chosen;
  if (resumed)
    for (const TrainState::Step& step : state_.steps) chosen.push_back(step.name.empty() ? step.optimizer : step.name + "=" + step.optimizer);
  for (const std::string& choice : options_.optimizer) {
    auto known = TrainRun::create(model_, stage, {choice});
    if (known) chosen.push_back(choice);
    else if (!known_elsewhere([&](size_t other) { return bool(TrainRun::create(model_, other, {choice})); }, stage)) return std::move(known.error());
  }
  auto run = TrainRun::create(model_, stage, chosen);
  if (!run) return run.error();
  if (resumed && state_.steps.size() == run->steps.size())
    for (size_t s = 0; s < run->steps.size(); ++s) {
      StepRun& step = run->steps[s];
      step.loss_sum = state_.steps[s].loss_sum;
      if (text(step.optimizer->name()) == state_.steps[s].optimizer) step.executions = state_.steps[s].executions, step.updates = state_.steps[s].updates;
      else step.executions = state_.steps[s].executions, model_.initialize(step.optimizer);
    }
  else
    for (StepRun& step : run->steps) model_.initialize(step.optimizer);
  for (auto& [name, rate] : options_.lr) {
    auto named = name.empty() ? Result<StepRun*>(nullptr) : run->find_step(name);
    if (!named) {
      auto knows = [&, &name = name](size_t other) {
        auto there = TrainRun::create(model_, other, {});
        return there && there->find_step(name);
      };
      if (known_elsewhere(knows, stage)) continue;
      return std::move(named.error());
    }
    for (StepRun& step : run->steps) {
      if (*named && *named != &step) continue;
      if (!step.lr) return Error{GRADC_UNKNOWN_NAME, fmt::format("optimizer '{}' has no learning rate that --lr could set", text(step.optimizer->name()))};
      step.lr->value = rate;
    }
  }
  for (auto& [name, value] : options_.set) {
    auto hypers = model_.find_hypers(name, run->chosen());
    if (!hypers) {
      auto knows = [&, &name = name](size_t other) {
        auto there = TrainRun::create(model_, other, {});
        return there && model_.find_hypers(name, there->chosen());
      };
      if (known_elsewhere(knows, stage)) continue;
      return hypers.error();
    }
    for (Hyper* hyper : *hypers) hyper->value = value;
  }
  return run;
}

Result<TrainResult> Trainer::run() {
  size_t blocks = size(model_.program()->trains());
  if (blocks == 0) return Error{GRADC_INVALID, "this program has nothing to train"};
  bool resumed = !options_.resume.empty();
  if (!options_.init.empty()) GRADC_TRY(load_weights(options_.init, model_));
  if (resumed) {
    auto state = load_checkpoint(options_.resume, model_, Purpose::resume);
    if (!state) return state.error();
    state_ = std::move(*state);
    if (state_.stage < 0 || size_t(state_.stage) >= blocks) return Error{GRADC_CORRUPT, fmt::format("checkpoint '{}' is of a train block that there is not", options_.resume)};
  } else {
    state_.shuffle = options_.shuffle;
  }
  if (!options_.shuffle) state_.shuffle = false;
  if (options_.epochs) state_.epochs = *options_.epochs, state_.step_limit = 0;
  if (options_.steps) state_.step_limit = *options_.steps, state_.epochs = 0;
  // Hours of training end badly if the next block then finds no file.
  for (size_t stage = size_t(state_.stage) + resumed; stage < blocks; ++stage) GRADC_TRY(load(stage, false));
  saved_at_ = now();
  for (size_t stage = size_t(state_.stage); stage < blocks; ++stage) {
    if (stage > size_t(state_.stage)) {   // a new block: its own counters, the options' lengths
      TrainState next;
      next.stage = int64_t(stage);
      next.shuffle = state_.shuffle;
      next.epochs = state_.epochs;
      next.step_limit = state_.step_limit;
      state_ = std::move(next);
      resumed = false;
    }
    GRADC_TRY(run_block(stage, resumed));
    if (result_.interrupted) break;
  }
  return result_;
}

// What the block's `load` statements say. write false: only whether it could be done.
Status Trainer::load(size_t stage, bool write) {
  const program::Train& train = *model_.program()->trains()->Get(uint32_t(stage));
  for (uint32_t i = 0; i < size(train.loads()); ++i) {
    const program::Load& load = *train.loads()->Get(i);
    auto left = load_mapped(text(load.file()), model_, {text(load.into()), text(load.from()), true}, write);
    if (!left) {
      left.error().message += fmt::format(" ({}: load)", text(load.line()));
      return std::move(left.error());
    }
    if (write && !left->empty())
      for (Observer* observer : observers_) observer->note(fmt::format("'{}': {}", text(load.file()), *left));
  }
  return {};
}

Status Trainer::run_block(size_t stage, bool resumed) {
  if (!resumed) GRADC_TRY(load(stage, true));   // before optimizers take first values from parameters
  auto run = prepare(stage, resumed);
  if (!run) return std::move(run.error());
  run_ = std::move(*run);
  const program::Train& train = *run_.source;

  Samples samples, validation;
  if (std::string data = text(train.data()); !data.empty()) {
    auto read = read_split(*model_.program(), data, text(train.split()), options_.directories, &model_.vocabularies);
    if (!read) return std::move(read.error());
    samples = std::move(*read);
  }
  evaluator_.reset();
  if (std::string data = text(train.validate_data()); !data.empty()) {
    auto read = read_split(*model_.program(), data, text(train.validate_split()), options_.directories, &model_.vocabularies);
    if (!read) return std::move(read.error());
    validation = std::move(*read);
  }
  if (train.validate() && (validation.count > 0 || text(train.data()).empty())) {
    auto evaluator = Evaluator::create(model_, train.validate());
    if (!evaluator) return std::move(evaluator.error());
    evaluator_ = *evaluator;
    GRADC_TRY(check_inputs(evaluator_->entry(), validation));
    if (validation.columns.empty()) validation.count = std::max<int64_t>(1, train.validate()->rows());
  }

  watch_ = {};
  watch_every_ = options_.watch_every.value_or(train.watch_every());
  if (options_.watch_every && *options_.watch_every > 0 && std::none_of(run_.steps.begin(), run_.steps.end(), [](const StepRun& step) { return step.watch; }))
    return Error{GRADC_INVALID, "--watch looks at gradients, and this program was compiled without that: write `watch gradients` into the train block"};
  int64_t reading = 0, repeats = 0;   // executions a cycle: those that take rows, and all
  reads_.clear();
  for (StepRun& step : run_.steps) {
    GRADC_TRY(check_inputs(*step.step, samples));
    reads_.push_back(reads_any(*step.step, samples));
    reading += reads_.back() ? std::max<int64_t>(1, step.source->repeat()) : 0;
    repeats += std::max<int64_t>(1, step.source->repeat());
  }
  samples_ = samples.count;
  batch_ = run_.batch > 0 ? run_.batch : samples.count;
  if (reading > 0 && batch_ > samples.count)
    return Error{GRADC_RANGE, fmt::format("a batch of {} is larger than data {} with {} samples", batch_, samples.name, samples.count)};
  if (reading > 0) GRADC_TRY(run_.check_rows(batch_));
  rows_per_cycle_ = reading * batch_;
  int64_t per_epoch = rows_per_cycle_ > 0 ? samples.count / rows_per_cycle_ : 0;
  if (rows_per_cycle_ > 0 && per_epoch == 0)
    return Error{GRADC_RANGE, fmt::format("one time through the steps takes {} batches of {}, but data {} have only {} samples", reading, batch_, samples.name, samples.count)};

  int64_t step_limit = state_.step_limit > 0 ? state_.step_limit : state_.epochs > 0 ? 0 : train.steps();
  int64_t epochs = step_limit > 0 ? 0 : state_.epochs > 0 ? state_.epochs : train.epochs();
  if (epochs > 0 && per_epoch == 0) return Error{GRADC_INVALID, "without data there are no epochs: say how many --steps"};
  int64_t cycles = step_limit > 0 ? step_limit : epochs * per_epoch;
  if (cycles <= 0) return Error{GRADC_INVALID, "neither epochs nor steps are given"};
  for (StepRun& step : run_.steps) step.planned = cycles * std::max<int64_t>(1, step.source->repeat());

  tell(&Observer::begin, BlockBegin{text(train.name()), int64_t(size(model_.program()->trains())), int64_t(stage), epochs, cycles, per_epoch, state_.cycles,
                                    state_.epoch, std::max(rows_per_cycle_, int64_t(0)), &run_});
  ReadPlan plan{int64_t(stage), state_.shuffle, per_epoch * rows_per_cycle_, batch_, run_.steps[0].apply ? std::max<int64_t>(run_.chunk, 1) : batch_, options_.reader};
  std::vector<Entry*> takers;
  for (StepRun& step : run_.steps) takers.push_back(step.step);
  auto reader = Reader::create(model_, samples, takers, model_.entry("augment." + text(train.name())), plan);
  if (!reader) return std::move(reader.error());
  bool early = train.patience() > 0 && state_.epochs_without_better >= train.patience();
  while (state_.cycles < cycles && !early && !stop()) {
    GRADC_TRY(run_cycle(**reader, per_epoch > 0 ? per_epoch : cycles));
    bool epoch_over = per_epoch > 0 ? state_.cycle == per_epoch : state_.cycles == cycles;
    if (epoch_over || state_.cycles == cycles) {
      GRADC_TRY(finish_epoch(evaluator_ ? &validation : nullptr, epoch_over));
      early = train.patience() > 0 && state_.epochs_without_better >= train.patience();
      if (!options_.checkpoint.empty() && now() - saved_at_ >= options_.checkpoint_seconds) GRADC_TRY(save());
    } else if (options_.checkpoint_every > 0 && state_.cycles % options_.checkpoint_every == 0 && !options_.checkpoint.empty()) {
      GRADC_TRY(save());
    }
  }
  result_.stopped_early = early;
  result_.interrupted = stop() && state_.cycles < cycles && !early;
  result_.steps = state_.cycles;
  result_.epochs = state_.epoch;
  result_.best_loss = state_.best_loss;
  if (!options_.checkpoint.empty()) GRADC_TRY(save());
  for (Observer* observer : observers_) observer->end();
  if (!state_.best.empty() && !result_.interrupted) restore_weights(model_, state_.best);
  return {};
}

Status Trainer::run_cycle(Reader& reader, int64_t cycles_per_epoch) {
  int64_t base = state_.cycle * rows_per_cycle_;
  StepEnd end;
  const bool looks = watch_every_ > 0 && state_.cycles % watch_every_ == 0;
  model_.scalars.epoch = double(state_.epoch) + double(state_.cycle) / double(cycles_per_epoch);
  model_.scalars.val_loss = state_.val_loss;
  for (size_t s = 0; s < run_.steps.size(); ++s) {
    StepRun& step = run_.steps[s];
    StepResult last;
    Figures norms;   // of the last repeat
    for (int64_t repeat = 0; repeat < std::max<int64_t>(1, step.source->repeat()); ++repeat) {
      norms.clear();
      reader.seek(state_.epoch, base);
      auto result = execute(model_, run_, step, reader, base, reads_[s] || samples_ == 0 ? std::max<int64_t>(batch_, 1) : batch_, looks ? &norms : nullptr);
      if (!result) {
        Error& error = result.error();
        error.message = fmt::format("epoch {}: {}{}", state_.epoch + 1, error.message,
                                    options_.checkpoint.empty() || !file_exists(options_.checkpoint) ? "" : fmt::format("; '{}' is as it was last saved", options_.checkpoint));
        return std::move(error);
      }
      last = *result;
      if (reads_[s]) base += batch_;
    }
    if (s == 0) end.loss = last.loss;
    end.figures.push_back({figure(step, "loss"), last.loss});
    if (last.has_lr) end.figures.push_back({figure(step, "lr"), last.lr});
    for (auto& [name, norm] : norms) end.gradients.push_back({figure(step, name.c_str()), norm});
    step.loss_sum += last.loss;
  }
  ++state_.cycle;
  ++state_.cycles;
  ++state_.loss_count;
  end.step = state_.cycles;
  end.epoch = state_.epoch + 1;
  end.means = means();
  state_.steps.clear();
  for (const StepRun& step : run_.steps) state_.steps.push_back({text(step.source->name()), text(step.optimizer->name()), step.executions, step.updates, step.loss_sum});
  for (GradientWarning& warning : watch_.look(end.gradients)) {
    warning.step = end.step, warning.epoch = end.epoch;
    tell(&Observer::warning, warning);
  }
  tell(&Observer::step, end);
  return {};
}

std::string Trainer::figure(const StepRun& step, const char* name) const { return run_.steps.size() > 1 ? text(step.source->name()) + "." + name : name; }

Figures Trainer::means() const {
  Figures all;
  for (const StepRun& step : run_.steps) all.push_back({figure(step, "loss"), state_.loss_count ? step.loss_sum / double(state_.loss_count) : 0});
  return all;
}

// whole: the epoch ended, and not just the number of steps within it; then the run may yet be resumed in the middle of the epoch.
Status Trainer::finish_epoch(const Samples* validation, bool whole) {
  EpochEnd end{state_.epoch + 1, state_.cycles, means(), {}, false};
  double judged = end.means[0].second;
  if (validation && validation->count > 0) {
    for (Observer* observer : observers_) observer->validating();
    static const std::vector<uint32_t> in_order;
    SampleRows rows(*validation, in_order);
    end.validation = evaluator_->run(model_, rows, validation->count);
    if (!end.validation.empty()) judged = end.validation[0].second;
    if (!end.validation.empty() && whole) state_.val_loss = judged;
  }
  if (run_.source->patience() > 0 && whole) {
    end.better = judged < state_.best_loss;
    state_.epochs_without_better = end.better ? 0 : state_.epochs_without_better + 1;
    if (end.better) state_.best_loss = judged, state_.best = copy_weights(model_);
  }
  if (whole) {
    ++state_.epoch;
    state_.cycle = 0;
    state_.loss_count = 0;
    for (StepRun& step : run_.steps) step.loss_sum = 0;
    for (TrainState::Step& step : state_.steps) step.loss_sum = 0;
  }
  result_.means = end.means;
  result_.validation = end.validation;
  tell(&Observer::epoch, end);
  return {};
}

Status Trainer::save() {
  saved_at_ = now();
  return save_checkpoint(options_.checkpoint, model_, state_, run_.chosen());
}

}  // namespace gradc::runtime
