// Choosing optimizers and executing steps.
#include "runtime/update.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace gradc::runtime {

std::pair<std::string, std::string> split_choice(const std::string& text) {
  size_t equals = text.find('=');
  return equals == std::string::npos ? std::pair<std::string, std::string>{"", text} : std::pair{text.substr(0, equals), text.substr(equals + 1)};
}

static const program::Optimizer* find_optimizer(const program::TrainStep& step, const std::string& name, std::vector<std::string>& names) {
  const program::Optimizer* found = nullptr;
  for (uint32_t o = 0; o < size(step.optimizers()); ++o) {
    std::string each = text(step.optimizers()->Get(o)->name());
    if (std::find(names.begin(), names.end(), each) == names.end()) names.push_back(each);
    if (each == name) found = step.optimizers()->Get(o);
  }
  return found;
}

Result<StepRun*> TrainRun::find_step(const std::string& name) {
  std::vector<std::string> names;
  for (StepRun& step : steps) {
    if (text(step.source->name()) == name) return &step;
    if (step.source->name() && step.source->name()->size() > 0) names.push_back(text(step.source->name()));
  }
  return Error{GRADC_UNKNOWN_NAME, fmt::format("no train step is called '{}' here{}", name, names.empty() ? ": there is one, without a name" : suggestion(name, names))};
}

Result<TrainRun> TrainRun::create(Model& model, size_t index, const std::vector<std::string>& chosen) {
  TrainRun run;
  run.source = model.program()->trains()->Get(uint32_t(index));
  run.batch = run.source->batch();
  run.chunk = run.source->chunk() > 0 ? run.source->chunk() : run.batch;
  for (uint32_t s = 0; s < size(run.source->step_list()); ++s) {
    StepRun step;
    step.source = run.source->step_list()->Get(s);
    if (size(step.source->optimizers()) == 0) return Error{GRADC_INTERNAL, fmt::format("train step '{}' has no optimizer", text(step.source->name()))};
    step.optimizer = step.source->optimizers()->Get(0);
    run.steps.push_back(step);
  }
  for (const std::string& choice : chosen) {
    auto [step_name, name] = split_choice(choice);
    bool found = false;
    std::vector<std::string> names;
    if (!step_name.empty())
      if (auto step = run.find_step(step_name); !step) return std::move(step.error());
    for (StepRun& step : run.steps) {
      if (!step_name.empty() && text(step.source->name()) != step_name) continue;
      if (const program::Optimizer* optimizer = find_optimizer(*step.source, name, names)) step.optimizer = optimizer, found = true;
    }
    if (!found) return Error{GRADC_UNKNOWN_NAME, fmt::format("no optimizer is called '{}' {}{}", name, step_name.empty() ? "here" : "in " + step_name, suggestion(name, names))};
  }
  for (StepRun& step : run.steps) {
    step.step = model.entry(step.optimizer->step());
    step.apply = model.entry(step.optimizer->apply());
    step.watch = model.entry(step.source->watch());
    if (!step.step) return Error{GRADC_INTERNAL, fmt::format("no entry is called '{}'", text(step.optimizer->step()))};
    for (Hyper& hyper : model.hypers)
      if ((hyper.owner == step.optimizer || !hyper.owner) && !hyper.name.empty() && hyper.name == text(step.optimizer->lr())) step.lr = &hyper;   // a config value, perhaps
    if (int64_t rows = compiled_rows(*step.step)) run.chunk = rows;
  }
  return run;
}

std::vector<const program::Optimizer*> TrainRun::chosen() const {
  std::vector<const program::Optimizer*> optimizers;
  for (const StepRun& step : steps) optimizers.push_back(step.optimizer);
  return optimizers;
}

Status TrainRun::check_rows(int64_t rows) const {
  for (const StepRun& step : steps) {
    int64_t compiled = compiled_rows(*step.step);
    if (compiled == 0 || (step.apply && step.step->takes_fewer_rows())) continue;
    if (rows > compiled && !step.apply) return Error{GRADC_INVALID, fmt::format("a batch of this program has {} samples, not {}", compiled, rows)};
    if (rows % compiled != 0 && !step.step->takes_fewer_rows())
      return Error{GRADC_INVALID, fmt::format("a batch of this program has {} samples{}, not {}", compiled, step.apply ? " or a multiple of that" : "", rows)};
  }
  return {};
}

static double number(const Port& port) { return read_number(port.type.element, port.data); }

// Which of several players it is.
static std::string of_step(const StepRun& step) {
  std::string name = text(step.source->name());
  return name.empty() ? "" : " of " + name;
}

static void clear_accumulators(Model& model) {
  for (Variable& variable : model.variables)
    if (variable.kind == program::VariableKind::accumulator) std::memset(variable.data, 0, variable.stored_bytes);
}

// Runs the entry that gives squares of gradients. It shares the arena with `step`, whose inputs are filled in: they are its inputs, and are put back.
static void look(Model& model, Entry& watch, const Entry* step, Figures& norms) {
  std::vector<std::vector<char>> kept;
  if (step)
    for (const Port& port : step->inputs) kept.emplace_back(port.data, port.data + port.bytes);
  for (size_t i = 0; i < kept.size(); ++i)
    if (const Port* port = watch.input(step->inputs[i].name)) std::memcpy(port->data, kept[i].data(), port->bytes);
  model.run(watch);
  for (const Port& port : watch.outputs) norms.push_back({port.name, std::sqrt(number(port))});
  for (size_t i = 0; i < kept.size(); ++i) std::memcpy(step->inputs[i].data, kept[i].data(), kept[i].size());
}

Result<StepResult> execute(Model& model, const TrainRun& train, StepRun& step, RowSource& source, int64_t base, int64_t rows, Figures* norms) {
  model.scalars.step = step.executions;
  model.scalars.t = double(step.updates + 1);
  model.scalars.T = double(step.planned);
  double sum = 0;
  const Port* loss = step.step->output("loss");
  int64_t chunk = step.apply ? train.chunk : rows;
  for (int64_t first = 0; first < rows || first == 0; first += std::max<int64_t>(chunk, 1)) {
    int64_t valid = std::min(chunk, rows - first);
    model.scalars.row = base + first;
    model.scalars.valid = valid;
    source.fill(*step.step, first, valid);
    if (norms && step.watch && !step.apply) look(model, *step.watch, step.step, *norms);
    if (!model.run(*step.step)) {
      double value = loss ? number(*loss) : 0;
      std::string where = model.explain_not_finite(*step.step, [&] { source.fill(*step.step, first, valid); });
      clear_accumulators(model);
      return Error{GRADC_NOT_FINITE, fmt::format("the loss{} is {} in step {}: {}. {}", of_step(step), std::isnan(value) ? "nan" : fmt::to_string(value), step.executions + 1, where,
                                                 step.step->guarded ? "Nothing was updated" : "The update was made already: load a checkpoint to go on")};
    }
    if (loss) sum += number(*loss) * double(valid);
  }
  StepResult result{rows > 0 ? sum / double(rows) : loss ? number(*loss) : 0};
  const Entry* last = step.step;
  if (step.apply) {
    last = step.apply;
    model.scalars.count = double(rows);
    model.scalars.row = base;
    model.scalars.valid = rows;
    if (norms && step.watch) look(model, *step.watch, nullptr, *norms);
    if (!model.run(*step.apply)) {
      clear_accumulators(model);
      return Error{GRADC_NOT_FINITE, fmt::format("the loss{} is not finite in step {}. {}", of_step(step), step.executions + 1,
                                                 step.apply->guarded ? "Nothing was updated" : "The update was made already: load a checkpoint to go on")};
    }
    if (const Port* total = step.apply->output("loss")) result.loss = number(*total);
  }
  if (const Port* lr = last->output("lr")) result.lr = number(*lr), result.has_lr = true;
  else if (step.lr) result.lr = step.lr->value, result.has_lr = true;
  ++step.executions;
  ++step.updates;
  return result;
}

}  // namespace gradc::runtime
