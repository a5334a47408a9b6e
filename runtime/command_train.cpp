// train and eval.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "runtime/command.h"
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/progress.h"
#include "runtime/table.h"

namespace gradc::runtime {

// Set by the signal handler of the executable: the one thing in this file that cannot live in an object.
static std::atomic<bool> interrupted{false};

static void on_interrupt(int) {
  interrupted.store(true, std::memory_order_relaxed);
  std::signal(SIGINT, SIG_DFL);   // who presses again means it
}

static std::string figures_json(const Figures& figures) {
  JsonObject object;
  for (auto& [name, value] : figures) object.add(name, value);
  return object.text();
}

// Before hours of training: can the checkpoint be written at all?
static Status check_writable(const std::string& path) {
  size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  if (access(folder.c_str(), W_OK) == 0) return {};
  return Error{GRADC_FILE, fmt::format("cannot write '{}': {}", path, std::strerror(errno))};
}

Status command_train(Model& model, const CommandOptions& options) {
  TrainOptions train;
  train.directories = data_directories(options);
  train.epochs = options.epochs;
  train.steps = options.steps;
  train.optimizer = options.optimizer;
  auto rates = parse_rates(options.lr);
  if (!rates) return std::move(rates.error());
  train.lr = *rates;
  auto settings = parse_settings(options.set);
  if (!settings) return std::move(settings.error());
  train.set = *settings;
  train.shuffle = !options.no_shuffle;
  train.resume = options.resume;
  train.init = options.init;
  train.watch_every = options.watch;
  train.checkpoint_every = options.checkpoint_every;
  train.checkpoint = !options.checkpoint.empty() ? options.checkpoint : !options.resume.empty() ? options.resume : default_checkpoint(model);
  if (options.checkpoint.empty() && options.resume.empty()) train.checkpoint_seconds = 5;   // nobody asked for one at every epoch
  if (options.no_save) train.checkpoint.clear();
  if (!train.checkpoint.empty()) GRADC_TRY(check_writable(train.checkpoint));
  train.stop = &interrupted;
  interrupted.store(false);
  if (options.profile) model.start_profile();

  Progress progress(options.json ? stderr : stdout);
  std::vector<Observer*> observers;
  Warnings warnings;
  if (!options.quiet && !(options.json && !isatty(2))) observers.push_back(&progress);
  else observers.push_back(&warnings);
  std::unique_ptr<Log> log;
  if (!options.log.empty()) {
    auto opened = Log::open(options.log, !options.resume.empty());
    if (!opened) return std::move(opened.error());
    log = std::move(*opened);
    observers.push_back(log.get());
  }
  auto start = std::chrono::steady_clock::now();
  auto before = std::signal(SIGINT, on_interrupt);
  Trainer trainer(model, train, observers);
  auto result = trainer.run();
  std::signal(SIGINT, before == SIG_ERR ? SIG_DFL : before);
  if (!result) return std::move(result.error());
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  if (options.json) {
    JsonObject out;
    out.add("steps", result->steps).add("epochs", result->epochs);
    for (auto& [name, value] : result->means) out.add(name, value);
    if (!result->validation.empty()) out.raw("validation", figures_json(result->validation));
    out.add("seconds", seconds).add("threads", int64_t(model.threads())).add("stopped_early", result->stopped_early).add("interrupted", result->interrupted);
    if (!train.checkpoint.empty()) out.add("checkpoint", std::string_view(train.checkpoint));
    if (options.profile) out.raw("profile", profile_json(model));
    fmt::print("{}\n", out.text());
    return {};
  }
  if (options.profile) fmt::print("{}", profile_text(model));
  if (options.quiet) return {};
  std::string saved = train.checkpoint.empty() ? "" : fmt::format("; saved in {}", train.checkpoint);
  if (result->interrupted)
    fmt::print("interrupted after step {}{}{}\n", result->steps, saved, train.checkpoint.empty() ? "" : fmt::format(" (--resume {} goes on)", train.checkpoint));
  else
    fmt::print("{} {} steps in {}{}\n", result->stopped_early ? "no lower loss: stopped after" : "trained", result->steps, duration_text(seconds), saved);
  return {};
}

static std::string table_json(const Table& table) {
  std::vector<std::string> items;
  const size_t columns = size_t(table.shape.back());
  for (size_t i = 0; i < table.values.size(); ++i) items.push_back(json_number(table.values[i]));
  if (table.shape.size() == 1) return json_array(items);
  std::vector<std::string> rows;
  for (size_t i = 0; i < items.size(); i += columns) rows.push_back(json_array({items.begin() + int64_t(i), items.begin() + int64_t(i + columns)}));
  return json_array(rows);
}

static Status write_confusion(const Confusion& confusion, const std::string& path, const std::string& title) {
  if (path.empty()) return {};
  if (path.ends_with(".svg")) return write_whole(path, {confusion_svg(confusion, title)});
  if (path.ends_with(".csv")) return write_whole(path, {confusion_csv(confusion)});
  return Error{GRADC_INVALID, fmt::format("a confusion matrix is written as .svg or .csv, not '{}'", path)};
}

Status command_eval(Model& model, const CommandOptions& options) {
  if (!options.confusion && !options.out.empty()) return Error{GRADC_INVALID, "--out takes the confusion matrix: add --confusion"};
  GRADC_TRY(load_trained(model, options));
  const program::Train* train = nullptr;
  for (uint32_t i = 0; i < size(model.program()->trains()); ++i)
    if (const program::Train* candidate = model.program()->trains()->Get(i); candidate->validate() && !text(candidate->validate()->entry()).empty()) train = candidate;
  if (!train) return Error{GRADC_INVALID, "this program has nothing to evaluate: no train block says what the loss is"};
  auto settings = parse_settings(options.set);
  if (!settings) return std::move(settings.error());
  for (auto& [name, value] : *settings) {
    auto hypers = model.find_hypers(name, {});
    if (!hypers) return std::move(hypers.error());
    for (Hyper* hyper : *hypers) hyper->value = value;
  }
  bool validated = !text(train->validate_data()).empty();
  std::string split = !options.split.empty() ? options.split
                      : validated            ? text(train->validate_data()) + "." + text(train->validate_split())
                                             : text(train->data()) + "." + text(train->split());
  Result<Samples> samples = Samples{"noise", {}, std::max<int64_t>(1, train->validate()->rows())};
  if (split != ".") samples = read_named_split(model, split, options);
  if (!samples) return std::move(samples.error());
  auto evaluator = Evaluator::create(model, train->validate());
  if (!evaluator) return std::move(evaluator.error());
  GRADC_TRY(check_inputs(evaluator->entry(), *samples));
  if (options.profile) model.start_profile();
  static const std::vector<uint32_t> in_order;
  SampleRows rows(*samples, in_order);
  std::vector<Table> tables;
  Figures figures = evaluator->run(model, rows, samples->count, &tables);
  std::optional<Confusion> confusion;
  if (options.confusion) {
    auto found = find_confusion(tables, samples->classes);
    if (!found) return std::move(found.error());
    confusion = std::move(*found);
    GRADC_TRY(write_confusion(*confusion, options.out, fmt::format("{}, {}", model.name(), samples->name)));
  }
  if (options.json) {
    JsonObject out;
    out.add("data", std::string_view(samples->name)).add("samples", samples->count);
    for (auto& [name, value] : figures) out.add(name, value);
    for (const Table& table : tables) out.raw(table.name, table_json(table));
    if (confusion) {
      std::vector<std::string> names;
      for (const std::string& name : confusion->classes) names.push_back(json_string(name));
      out.raw("classes", json_array(names));
    }
    if (options.profile) out.raw("profile", profile_json(model));
    fmt::print("{}\n", out.text());
    return {};
  }
  const std::string of = split == "." ? samples->name : fmt::format("{} ({} samples)", samples->name, samples->count);   // noise is as much as the block draws
  fmt::print("{}  {}\n", of, figures_text(figures));
  if (confusion && options.out.empty()) {
    const bool terminal = isatty(1);
    const char* no_colour = std::getenv("NO_COLOR");
    winsize window{};
    size_t columns = terminal && ioctl(1, TIOCGWINSZ, &window) == 0 ? window.ws_col : 0;
    fmt::print("\n{}", confusion_text(*confusion, terminal && !(no_colour && *no_colour), columns));
  }
  if (options.profile) fmt::print("{}", profile_text(model));
  return {};
}

}  // namespace gradc::runtime
