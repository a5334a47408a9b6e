// What several commands need: which checkpoint, which data, settings.
#include "runtime/command.h"

#include <charconv>
#include <fmt/format.h>

#include "runtime/file.h"

namespace gradc::runtime {

std::string default_checkpoint(const Model& model) { return model.name() + ".ckpt"; }

Status load_trained(Model& model, const CommandOptions& options) {
  if (options.untrained || (size(model.program()->trains()) == 0 && options.checkpoint.empty())) return {};
  std::string path = options.checkpoint.empty() ? default_checkpoint(model) : options.checkpoint;
  if (options.checkpoint.empty() && !file_exists(path))
    return Error{GRADC_FILE, fmt::format("there is no '{}' here: run 'train' first, name a checkpoint with --checkpoint FILE, or use the first values with --untrained", path)};
  auto state = load_checkpoint(path, model, Purpose::inference);
  if (!state) return std::move(state.error());
  if (options.seed) model.scalars.seed = *options.seed;   // other numbers are drawn than in the training
  return {};
}

std::map<std::string, std::string> data_directories(const CommandOptions& options) {
  std::map<std::string, std::string> directories;
  for (const std::string& each : options.data) {
    size_t equals = each.find('=');
    if (equals == std::string::npos) directories[""] = each;
    else directories[each.substr(0, equals)] = each.substr(equals + 1);
  }
  return directories;
}

Result<std::vector<std::pair<std::string, double>>> parse_settings(const std::vector<std::string>& set) {
  std::vector<std::pair<std::string, double>> settings;
  for (const std::string& each : set) {
    size_t equals = each.find('=');
    double value = 0;
    const char* end = each.data() + each.size();
    if (equals != std::string::npos)
      if (auto [last, error] = std::from_chars(each.data() + equals + 1, end, value); error == std::errc() && last == end) {
        settings.push_back({each.substr(0, equals), value});
        continue;
      }
    return Error{GRADC_INVALID, fmt::format("--set takes name=number, not '{}'", each)};
  }
  return settings;
}

Result<std::vector<std::pair<std::string, double>>> parse_rates(const std::vector<std::string>& rates) {
  std::vector<std::pair<std::string, double>> parsed;
  for (const std::string& each : rates) {
    auto [step, number] = split_choice(each);
    double value = 0;
    auto [last, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (error != std::errc() || last != number.data() + number.size()) return Error{GRADC_INVALID, fmt::format("--lr takes a number, or STEP=number, not '{}'", each)};
    parsed.push_back({step, value});
  }
  return parsed;
}

std::pair<std::string, std::string> split_name(const Model& model, const std::string& name) {
  if (size_t dot = name.rfind('.'); dot != std::string::npos) return {name.substr(0, dot), name.substr(dot + 1)};
  if (model.program()->data())
    for (auto* data : *model.program()->data())
      if (find_split(*data, name)) return {text(data->name()), name};
  return {size(model.program()->data()) > 0 ? text(model.program()->data()->Get(0)->name()) : "", name};
}

Result<Samples> read_named_split(Model& model, const std::string& name, const CommandOptions& options) {
  auto [data, split] = split_name(model, name);
  return read_split(*model.program(), data, split, data_directories(options), &model.vocabularies);
}

}  // namespace gradc::runtime
