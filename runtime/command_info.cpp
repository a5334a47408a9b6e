// info, bench, weights.
#include <algorithm>
#include <chrono>
#include <fmt/format.h>

#include "runtime/command.h"
#include "runtime/json.h"
#include "runtime/machine.h"
#include "runtime/predict.h"
#include "runtime/statistics.h"
#include "runtime/weights.h"

namespace gradc::runtime {

static std::string bytes_text(double bytes) {
  return bytes >= 1e6 ? fmt::format("{:.1f} MB", bytes / 1e6) : bytes >= 1e3 ? fmt::format("{:.1f} kB", bytes / 1e3) : fmt::format("{:.0f} B", bytes);
}

// What the compiler planned: a process that trains takes as much of its own, beside the program itself.
static int64_t plan_bytes(const Model& model) {
  const program::Program& program = *model.program();
  return int64_t(program.variables_bytes() + model.arena_bytes() + model.scratch_bytes() + size(program.constants()));
}

namespace {
// A split that training or validation reads: its files, and what it is in memory; or why it cannot be read.
struct SplitSize {
  std::string name, error;
  int64_t samples = 0;
  size_t file_bytes = 0, bytes = 0;
  std::vector<std::string> classes;
  std::vector<Statistics> statistics;
  const Vocabulary* vocabulary = nullptr;   // of a text
};
}  // namespace

// What the tokens are: the characters, or the first of the pairs.
static std::string vocabulary_text(const Vocabulary& vocabulary) {
  if (vocabulary.kind() == Vocabulary::Kind::bytes) return "bytes";
  std::string pieces;
  if (vocabulary.kind() == Vocabulary::Kind::characters) {
    for (int64_t token = 0; token < vocabulary.size(); ++token) pieces += vocabulary.piece(token);
    return fmt::format("{} characters: {}", vocabulary.size(), json_string(pieces));
  }
  constexpr int64_t bytes = 256, shown = 16;
  for (int64_t token = bytes; token < std::min(vocabulary.size(), bytes + shown); ++token) pieces += " " + json_string(readable(vocabulary.piece(token)));
  return fmt::format("bytes and {} pairs:{}{}", vocabulary.size() - bytes, pieces, vocabulary.size() > bytes + shown ? " ..." : "");
}

static std::vector<SplitSize> split_sizes(Model& model, const CommandOptions& options) {
  const program::Program& program = *model.program();
  std::vector<SplitSize> sizes;
  auto add = [&](const std::string& data, const std::string& split) {
    std::string name = data + "." + split;
    if (data.empty() || std::any_of(sizes.begin(), sizes.end(), [&](const SplitSize& known) { return known.name == name; })) return;
    SplitSize size{name, ""};
    if (auto samples = read_split(program, data, split, data_directories(options), &model.vocabularies)) {
      size.samples = samples->count;
      size.file_bytes = samples->file_bytes;
      size.classes = samples->classes;
      if (options.statistics) size.statistics = statistics(*samples);
      for (const Column& column : samples->columns) size.bytes += column.bytes.size();
      if (auto known = model.vocabularies.find(data); known != model.vocabularies.end()) size.vocabulary = &known->second;
    } else {
      size.error = samples.error().message;
    }
    sizes.push_back(std::move(size));
  };
  for (uint32_t t = 0; t < size(program.trains()); ++t) {
    const program::Train& train = *program.trains()->Get(t);
    add(text(train.data()), text(train.split()));
    add(text(train.validate_data()), text(train.validate_split()));
  }
  return sizes;
}

// A number, or a list as the language writes it.
static std::string numbers_text(const std::vector<double>& numbers) {
  return numbers.size() == 1 ? fmt::format("{:.6g}", numbers[0]) : fmt::format("[{:.6g}]", fmt::join(numbers, ", "));
}

static const char* kind_names[] = {"parameter", "state", "slot", "accumulator", "session"};

Status command_info(Model& model, const CommandOptions& options) {
  const program::Program& program = *model.program();
  int64_t parameters = 0, frozen = 0;
  size_t slots = 0, sessions = 0;
  std::string precision = text(program.precision());
  if (precision.empty()) precision = "f32";
  for (const Variable& variable : model.variables) {
    if (variable.kind == program::VariableKind::parameter) (variable.frozen ? frozen : parameters) += variable.type.elements();
    if (variable.kind == program::VariableKind::session) sessions += variable.bytes;
    else if (!variable.belongs_to_model()) slots += variable.bytes;
  }
  size_t calls = 0;
  for (const Entry& entry : model.entries()) calls += entry.calls;
  size_t constants = size(program.constants());
  if (options.json) {
    std::vector<std::string> variables, entries, exports, hypers, data;
    for (const Variable& variable : model.variables) {
      if (!variable.belongs_to_model()) continue;
      JsonObject object;
      object.add("name", std::string_view(variable.name)).add("kind", kind_names[size_t(variable.kind)]).add("element", info(variable.type.element).name);
      object.raw("shape", fmt::format("[{}]", fmt::join(variable.type.shape, ", "))).add("frozen", variable.frozen).add("line", std::string_view(variable.line));
      variables.push_back(object.text());
    }
    for (const Entry& entry : model.entries()) {
      JsonObject object;
      object.add("name", std::string_view(entry.name)).add("phases", int64_t(entry.phases.size())).add("calls", int64_t(entry.calls));
      object.add("flops", entry.flops).add("recomputed_flops", entry.source->recomputed()).add("arena_bytes", int64_t(entry.source->arena_bytes())).add("parallel", entry.parallel && model.threads() > 1);
      entries.push_back(object.text());
    }
    for (const SplitSize& split : split_sizes(model, options)) {
      std::vector<std::string> classes;
      for (const std::string& name : split.classes) classes.push_back(json_string(name));
      JsonObject object;
      object.add("name", std::string_view(split.name)).add("samples", split.samples).add("file_bytes", int64_t(split.file_bytes)).add("bytes", int64_t(split.bytes));
      object.raw("classes", json_array(classes));
      if (split.vocabulary) object.add("vocabulary", split.vocabulary->size());
      for (const Statistics& each : split.statistics) {
        JsonObject figures;
        figures.raw("mean", numbers_text(each.mean)).raw("std", numbers_text(each.deviation));
        object.raw(each.field, figures.text());
      }
      data.push_back(object.text());
    }
    for (const Hyper& hyper : model.hypers)
      hypers.push_back(JsonObject().add("name", std::string_view(hyper.name)).add("optimizer", hyper.owner ? std::string_view(text(hyper.owner->name())) : "").add("value", hyper.value).text());
    for (uint32_t i = 0; i < size(program.exports()); ++i) exports.push_back(json_string(text(program.exports()->Get(i)->name())));
    JsonObject out;
    out.add("name", std::string_view(model.name())).add("source", std::string_view(text(program.source()))).add("target", std::string_view(text(program.target())));
    out.add("parameters", parameters).add("frozen", frozen).add("peak_bytes", plan_bytes(model)).add("variable_bytes", int64_t(program.variables_bytes()));
    out.add("slot_bytes", int64_t(slots)).add("session_bytes", int64_t(sessions)).add("memory_limit", int64_t(program.memory_limit())).raw("data", json_array(data));
    out.add("precision", std::string_view(precision));
    out.add("arena_bytes", int64_t(model.arena_bytes())).add("scratch_bytes", int64_t(model.scratch_bytes())).add("constant_bytes", int64_t(constants));
    out.add("kernels", int64_t(size(program.kernels()))).add("calls", int64_t(calls)).add("threads", int64_t(model.threads()));
    out.raw("variables", json_array(variables)).raw("entries", json_array(entries)).raw("exports", json_array(exports)).raw("hyperparameters", json_array(hypers));
    fmt::print("{}\n", out.text());
    return {};
  }
  fmt::print("{} (from {}), compiled for {}{}\n\n", model.name(), text(program.source()), text(program.target()),
             precision == "f32" ? "" : fmt::format(", products in {}", precision));
  size_t width = 4;
  for (const Variable& variable : model.variables)
    if (variable.belongs_to_model()) width = std::max(width, variable.name.size());
  for (const Variable& variable : model.variables)
    if (variable.belongs_to_model())
      fmt::print("  {:{}}  {:<16} {:>10}  {}{}\n", variable.name, width, to_string(variable.type), variable.type.elements(), variable.line.substr(variable.line.rfind('/') + 1),
                 variable.kind == program::VariableKind::state ? "  state" : variable.frozen ? "  frozen" : "");
  fmt::print("\nparameters   {}{}\n", parameters, frozen ? fmt::format(" (and {} frozen)", frozen) : "");
  fmt::print("peak memory  {}: parameters and states {}, optimizer slots {}, {}activations {}, scratch {} for {} threads, constants {}; the data come on top\n",
             bytes_text(double(plan_bytes(model))), bytes_text(double(program.variables_bytes() - slots - sessions)), bytes_text(double(slots)),
             sessions ? fmt::format("sessions {}, ", bytes_text(double(sessions))) : "", bytes_text(double(model.arena_bytes())), bytes_text(double(model.scratch_bytes())),
             model.threads(), bytes_text(double(constants)));
  if (uint64_t limit = program.memory_limit()) fmt::print("built for    at most {} of that\n", bytes_text(double(limit)));
  std::vector<std::string> classes;
  const Vocabulary* vocabulary = nullptr;
  for (const SplitSize& split : split_sizes(model, options)) {
    fmt::print("data         {}: {}\n", split.name,
               split.error.empty() ? fmt::format("{} samples, {} in files, {} in memory", split.samples, bytes_text(double(split.file_bytes)), bytes_text(double(split.bytes))) : split.error);
    if (!split.classes.empty() && split.classes != classes) fmt::print("classes      {}\n", fmt::join(split.classes, ", "));
    classes = split.classes;
    if (split.vocabulary && split.vocabulary != vocabulary) fmt::print("vocabulary   {}\n", vocabulary_text(*split.vocabulary));
    vocabulary = split.vocabulary;
    for (const Statistics& each : split.statistics) fmt::print("             {}: mean = {}, std = {}\n", each.field, numbers_text(each.mean), numbers_text(each.deviation));
  }
  fmt::print("kernels      {} ({} calls)\n", size(program.kernels()), calls);
  for (const Entry& entry : model.entries())
    fmt::print("  {:24} {:3} calls {:3} phases {:>10.3f} MFLOP{}{}\n", entry.name, entry.calls, entry.phases.size(), entry.flops * 1e-6,
               entry.source->recomputed() > 0 ? fmt::format(" ({:.3f} again, to save memory)", entry.source->recomputed() * 1e-6) : "", entry.parallel ? "" : "  one thread");
  for (uint32_t t = 0; t < size(program.trains()); ++t)
    for (uint32_t s = 0; s < size(program.trains()->Get(t)->step_list()); ++s)
      if (auto* optimizers = program.trains()->Get(t)->step_list()->Get(s)->optimizers()) {
        std::string list;
        for (auto* optimizer : *optimizers) list += (list.empty() ? "" : ", ") + text(optimizer->name());
        fmt::print("optimizers   {}\n", list);
      }
  for (size_t i = 0; i < model.hypers.size(); ++i) {   // a line for each optimizer
    bool fresh = i == 0 || model.hypers[i].owner != model.hypers[i - 1].owner;
    fmt::print("{}{} = {:g}", !fresh ? ", " : i == 0 ? "settings     " : "\n             ", model.hypers[i].name, model.hypers[i].value);
  }
  if (!model.hypers.empty()) fmt::print("\n");
  for (uint32_t i = 0; i < size(program.exports()); ++i) fmt::print("export       {}\n", text(program.exports()->Get(i)->name()));
  return {};
}

namespace {
// Made-up rows within the declared ranges, for timing where there are no data.
class MadeUpRows : public RowSource {
 public:
  explicit MadeUpRows(std::vector<FieldType> fields) : fields_(std::move(fields)) {}
  void fill(Entry& entry, int64_t, int64_t) override {
    for (const Port& port : entry.inputs) {
      double low = 0, high = 1;
      for (const FieldType& field : fields_)
        if (field.name == port.name && field.has_range) low = field.low, high = field.high;
      size_t stride = info(port.type.element).bytes;
      for (int64_t i = 0; i < port.type.elements(); ++i) {
        state_ = state_ * 6364136223846793005 + 1442695040888963407;
        write_number(port.type.element, port.data + size_t(i) * stride, low + double(state_ >> 40) / double(1 << 24) * (high - low));
      }
    }
  }

 private:
  std::vector<FieldType> fields_;
  uint64_t state_ = 1;
};

struct Times {
  double median = 0, least = 0;
};
}  // namespace

// Runs for about `seconds` after warming up.
template <class Function>
static Times measure(double seconds, Function function) {
  using Clock = std::chrono::steady_clock;
  auto elapsed = [](Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); };
  auto start = Clock::now();
  for (int i = 0; i < 3 || (elapsed(start) < seconds / 5 && i < 1000); ++i) function();
  std::vector<double> times;
  start = Clock::now();
  while (times.size() < 5 || (elapsed(start) < seconds && times.size() < 100000)) {
    auto begin = Clock::now();
    function();
    times.push_back(elapsed(begin));
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[0]};
}

Status command_bench(Model& model, const CommandOptions& options) {
  JsonObject out;
  out.add("threads", int64_t(model.threads()));
  if (options.only != "predict" && size(model.program()->trains()) > 0) {
    auto run = TrainRun::create(model, 0, options.optimizer);
    if (!run) return std::move(run.error());
    for (StepRun& step : run->steps) model.initialize(step.optimizer);
    Samples samples;
    std::vector<FieldType> fields;
    std::string data = text(run->source->data()), origin = "data that are made up";
    if (const program::DataSet* set = find_data(*model.program(), data); set && set->fields())
      for (auto* field : *set->fields()) fields.push_back(to_field(field));
    if (!data.empty())
      if (auto read = read_split(*model.program(), data, text(run->source->split()), data_directories(options), &model.vocabularies)) samples = std::move(*read), origin = samples.name;
    MadeUpRows made_up(fields);
    std::vector<uint32_t> order;
    order_epoch(order, samples, model.scalars.seed, 0, 0);
    SampleRows rows(samples, order);
    int64_t batch = run->batch > 0 ? run->batch : std::max(samples.count, run->chunk);
    bool real = samples.count >= batch;
    double flops = 0;
    int64_t processed = 0;
    for (StepRun& step : run->steps) {
      int64_t chunks = step.apply && run->chunk > 0 ? (batch + run->chunk - 1) / run->chunk : 1, repeat = std::max<int64_t>(1, step.source->repeat());
      flops += double(repeat) * (step.step->flops * double(chunks) + (step.apply ? step.apply->flops : 0));
      processed += repeat * batch;
    }
    std::optional<Error> failure;
    auto once = [&] {
      for (StepRun& step : run->steps)
        for (int64_t repeat = 0; repeat < std::max<int64_t>(1, step.source->repeat()); ++repeat) {
          if (rows.base + batch > samples.count) rows.base = 0;
          auto result = execute(model, *run, step, real ? static_cast<RowSource&>(rows) : made_up, rows.base, batch);
          if (!result && !failure) failure = result.error();
          rows.base += batch;
        }
    };
    Times times = measure(options.seconds, once);
    if (failure) return std::move(*failure);
    out.add("data", std::string_view(real ? origin : "made up")).add("batch", batch).add("step_ms", times.median * 1e3).add("step_ms_min", times.least * 1e3);
    out.add("samples_per_s", double(processed) / times.median).add("gflops", flops / times.median * 1e-9);
    if (!options.json)
      fmt::print("training   {:.4f} ms a step (median; least {:.4f}), {:.0f} samples/s, {:.1f} GFLOP/s; batch {}, {}, {} threads\n", times.median * 1e3, times.least * 1e3,
                 double(processed) / times.median, flops / times.median * 1e-9, batch, real ? origin : "made-up data", model.threads());
  }
  if (options.only != "train" && size(model.program()->exports()) > 0) {
    auto predictor = Predictor::create(model, options.export_name);
    if (!predictor) return std::move(predictor.error());
    Entry& entry = *predictor->smallest();
    MadeUpRows rows(predictor->inputs());
    model.scalars.valid = 1;
    model.scalars.row = 0;
    rows.fill(entry, 0, 1);
    std::vector<std::vector<char>> copies;   // the entry may overwrite its inputs
    for (const Port& port : entry.inputs) copies.emplace_back(port.data, port.data + port.bytes);
    Times times = measure(options.seconds / 2, [&] {
      for (size_t i = 0; i < copies.size(); ++i) std::memcpy(entry.inputs[i].data, copies[i].data(), copies[i].size());
      model.run(entry);
    });
    out.add("predict_us", times.median * 1e6).add("predict_us_min", times.least * 1e6);
    if (!options.json) fmt::print("{}  {:.2f} us a call (median; least {:.2f}) at batch 1\n", predictor->name(), times.median * 1e6, times.least * 1e6);
  }
  out.add("plan_bytes", plan_bytes(model)).add("own_bytes", process_bytes("RssAnon")).add("peak_rss_bytes", process_bytes("VmHWM"));
  if (options.json) fmt::print("{}\n", out.text());
  return {};
}

Status command_weights(Model& model, const CommandOptions& options) {
  if (options.out.empty()) return Error{GRADC_INVALID, "weights needs --out FILE.safetensors"};
  GRADC_TRY(load_trained(model, options));
  GRADC_TRY(save_weights(options.out, model));
  int64_t tensors = std::count_if(model.variables.begin(), model.variables.end(), [](const Variable& variable) { return variable.belongs_to_model(); });
  if (options.json) fmt::print("{}\n", JsonObject().add("file", std::string_view(options.out)).add("tensors", tensors).text());
  else fmt::print("{} tensors written to {}\n", tensors, options.out);
  return {};
}

}  // namespace gradc::runtime
