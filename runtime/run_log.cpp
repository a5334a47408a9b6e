// One JSON object a line. A last line that is not complete is being written: it is left out.
#include "runtime/run_log.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/watch.h"

namespace gradc::runtime {

static void add(std::vector<Series>& all, const std::string& name, double x, double y) {
  auto known = std::find_if(all.begin(), all.end(), [&](const Series& series) { return series.name == name; });
  if (known == all.end()) known = all.insert(all.end(), Series{name, {}});
  if (std::isfinite(y)) known->points.push_back({x, y});
}

static std::string stem(const std::string& path) {
  std::string name = path.substr(path.rfind('/') + 1);
  size_t dot = name.rfind('.');
  return dot == std::string::npos || dot == 0 ? name : name.substr(0, dot);
}

Result<RunLog> read_run_log(const std::string& path) {
  auto bytes = Bytes::map(path);
  if (!bytes) return std::move(bytes.error());
  RunLog log;
  log.name = stem(path);
  std::string_view rest = bytes->text();
  std::string block;
  double before = 0, last = 0;   // steps of the blocks before; the last step of this one
  for (int64_t number = 1; !rest.empty(); ++number) {
    size_t end = rest.find('\n');
    std::string_view text = rest.substr(0, end);
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
    if (text.find_first_not_of(" \t\r") == text.npos) continue;
    JsonValue line;
    if (!parse_json(text, line) || line.kind != JsonValue::Kind::object) {
      if (end == std::string_view::npos && number > 1) break;
      return Error{GRADC_CORRUPT, fmt::format("'{}', line {}: this is no JSON object, as 'train --log' writes one a line", path, number)};
    }
    const JsonValue* step = line.member("step");
    if (!step || step->kind != JsonValue::Kind::number) continue;
    if (const JsonValue* name = line.member("block"); name && name->string != block) {
      if (last > 0) log.blocks.push_back(before += last);
      block = name->string;
    }
    last = step->number;
    const double x = before + last;
    if (const JsonValue* kind = line.member("warning")) {
      const JsonValue *layer = line.member("layer"), *norm = line.member("norm");
      log.warnings.push_back({kind->string, layer ? layer->string : "", x, norm && norm->kind == JsonValue::Kind::number ? norm->number : NAN});
      continue;
    }
    const bool epoch = std::any_of(line.names.begin(), line.names.end(), [](const std::string& name) { return name.ends_with("epoch_loss"); });
    for (size_t i = 0; i < line.items.size(); ++i)
      if (line.items[i].kind == JsonValue::Kind::number && line.names[i] != "step" && line.names[i] != "epoch") add(epoch ? log.epochs : log.steps, line.names[i], x, line.items[i].number);
    if (const JsonValue* gradients = line.member("gradients")) {
      Figures norms;
      for (size_t i = 0; i < gradients->items.size(); ++i) norms.push_back({gradients->names[i], gradients->items[i].kind == JsonValue::Kind::number ? gradients->items[i].number : NAN});
      for (auto& [layer, norm] : norms_by_layer(norms)) add(log.norms, layer, x, norm);
    }
  }
  if (log.steps.empty() && log.epochs.empty()) return Error{GRADC_CORRUPT, fmt::format("'{}' has no steps: it is no log of 'train --log'", path)};
  return log;
}

}  // namespace gradc::runtime
