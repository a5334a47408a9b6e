// Pairs what a file holds with what the model has, and says in one go what does not fit.
#include "runtime/weights.h"

#include <algorithm>
#include <fmt/format.h>

namespace gradc::runtime {
namespace {
struct Found {
  Variable* variable;
  const StoredTensor* tensor;
};

bool under(const std::string& name, const std::string& path) { return path.empty() || name == path || name.starts_with(path + "."); }
/// The name below a path that it is under.
std::string below(const std::string& name, const std::string& path) { return path.empty() ? name : name.substr(std::min(name.size(), path.size() + 1)); }
std::string joined(const std::string& path, const std::string& rest) { return path.empty() || rest.empty() ? path + rest : path + "." + rest; }

std::string listed(const std::vector<std::string>& parts) {
  size_t shown = std::min<size_t>(parts.size(), 6);
  return fmt::format("{}{}", fmt::join(parts.begin(), parts.begin() + std::ptrdiff_t(shown), "; "), parts.size() > shown ? fmt::format("; and {} more", parts.size() - shown) : "");
}

Result<StoredWeights> read_stored(const std::string& path) {
  auto file = Bytes::map(path);
  if (!file) return std::move(file.error());
  return file->text().starts_with("GRADCKPT") ? read_checkpoint_weights(path, std::move(*file)) : read_safetensors(path, std::move(*file));
}

void put(const Found& found) {
  ElementType from = found.tensor->type.element, to = found.variable->type.element;
  if (from == to) return found.variable->write(found.tensor->data);
  std::vector<char> elements(found.variable->bytes);
  for (int64_t i = 0; i < found.variable->type.elements(); ++i)
    write_number(to, elements.data() + size_t(i) * info(to).bytes, read_number(from, found.tensor->data + size_t(i) * info(from).bytes));
  found.variable->write(elements.data());
}
}  // namespace

Result<std::string> load_mapped(const std::string& path, Model& model, const WeightMap& map, bool write) {
  auto stored = read_stored(path);
  if (!stored) return std::move(stored.error());
  std::vector<Found> found;
  std::vector<std::string> wrong, missing, unused, names;
  std::vector<const Variable*> met;
  for (const Variable& variable : model.variables)
    if (variable.belongs_to_model() && under(variable.name, map.into)) names.push_back(variable.name);
  for (const StoredTensor& tensor : stored->tensors) {
    if (!under(tensor.name, map.from)) continue;
    std::string name = joined(map.into, below(tensor.name, map.from));
    Variable* variable = model.variable(name);
    if (!variable || !variable->belongs_to_model()) {
      std::string near = nearest(name, names);
      unused.push_back(fmt::format("'{}' is of no use here{}", tensor.name, near.empty() || map.partial ? "" : fmt::format(" (did you mean '{}'?)", near)));
      continue;
    }
    met.push_back(variable);
    std::string called = name == tensor.name ? fmt::format("'{}'", name) : fmt::format("'{}' (for '{}')", tensor.name, name);
    if (!tensor.unknown_type.empty()) {
      wrong.push_back(fmt::format("{} is of type {}, which is not supported", called, tensor.unknown_type));
      continue;
    }
    ElementType from = tensor.type.element, to = variable->type.element;
    bool same_kind = info(from).is_float == info(to).is_float && (info(from).is_float || from == to);
    if (tensor.type.shape != variable->type.shape || !same_kind)
      wrong.push_back(fmt::format("{} is {} in the file, {} in this program", called, to_string(tensor.type), to_string(variable->type)));
    else if (!tensor.data)
      return Error{GRADC_CORRUPT, fmt::format("'{}' is truncated or corrupt: '{}' lies outside of it", path, tensor.name)};
    else
      found.push_back({variable, &tensor});
  }
  for (const Variable& variable : model.variables)
    if (variable.kind == program::VariableKind::parameter && under(variable.name, map.into) && std::find(met.begin(), met.end(), &variable) == met.end())
      missing.push_back(fmt::format("'{}' ({}) is missing", variable.name, to_string(variable.type)));
  if (map.partial && met.empty())
    return Error{GRADC_OTHER_MODEL, fmt::format("'{}' holds no weight {}that this model {}has; the file begins with '{}'", path, map.from.empty() ? "" : fmt::format("under '{}' ", map.from),
                                                map.into.empty() ? "" : fmt::format("under '{}' ", map.into), stored->tensors.empty() ? "" : stored->tensors[0].name)};
  std::vector<std::string> left = missing;
  left.insert(left.end(), unused.begin(), unused.end());
  if (!map.partial) wrong.insert(wrong.end(), left.begin(), left.end());
  if (!wrong.empty()) return Error{GRADC_OTHER_MODEL, fmt::format("'{}' does not fit this model: {}", path, listed(wrong))};
  if (write) std::for_each(found.begin(), found.end(), put);
  return map.partial && !left.empty() ? listed(left) : std::string();
}

Status load_weights(const std::string& path, Model& model) {
  auto result = load_mapped(path, model, {});
  if (!result) return std::move(result.error());
  return {};
}

}  // namespace gradc::runtime
