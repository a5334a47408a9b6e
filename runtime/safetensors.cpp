// Reading and writing safetensors.
#include "runtime/safetensors.h"

#include <algorithm>
#include <fmt/format.h>

#include "runtime/file.h"
#include "runtime/json.h"

namespace gradc::runtime {

static constexpr std::string_view element_codes[] = {"F32", "F64", "BF16", "I32", "I64", "U8", "BOOL"};   // in the order of ElementType

Status save_weights(const std::string& path, Model& model) {
  JsonObject header;
  header.raw("__metadata__", JsonObject().add("format", "pt").text());   // no name: equal weights are equal files
  std::vector<std::string_view> pieces = {{}, {}};
  std::vector<std::unique_ptr<char[]>> copies;
  uint64_t offset = 0;
  for (const Variable& variable : model.variables) {
    if (!variable.belongs_to_model()) continue;
    header.raw(variable.name, fmt::format(R"({{"dtype": "{}", "shape": [{}], "data_offsets": [{}, {}]}})", element_codes[size_t(variable.type.element)],
                                          fmt::join(variable.type.shape, ", "), offset, offset + variable.bytes));
    pieces.push_back(variable.elements(copies));
    offset += variable.bytes;
  }
  std::string text = header.text();
  text.append((8 - text.size() % 8) % 8, ' ');
  uint64_t length = text.size();
  pieces[0] = {reinterpret_cast<const char*>(&length), sizeof length};
  pieces[1] = text;
  return write_whole(path, pieces);
}

namespace {
struct Found {
  Variable* variable;
  ElementType element;
  const uint8_t* data;
};
}  // namespace

Status load_weights(const std::string& path, Model& model) {
  auto file = Bytes::map(path);
  if (!file) return std::move(file.error());
  auto corrupt = [&](std::string_view why) { return Error{GRADC_CORRUPT, fmt::format("'{}' is no safetensors file: {}", path, why)}; };
  if (file->size() < 8) return corrupt("it is shorter than 8 bytes");
  uint64_t length = load<uint64_t>(file->data());
  if (length > file->size() - 8) return corrupt("it is truncated, or begins with something else than a length");
  JsonValue header;
  if (!parse_json(file->text().substr(8, length), header) || header.kind != JsonValue::Kind::object) return corrupt("its header is not JSON");
  const uint8_t* data = file->data() + 8 + length;
  uint64_t available = file->size() - 8 - length;

  std::vector<Found> found;
  std::vector<std::string> wrong, unused, names;
  for (const Variable& variable : model.variables)
    if (variable.belongs_to_model()) names.push_back(variable.name);
  for (size_t i = 0; i < header.items.size(); ++i) {
    if (header.names[i] == "__metadata__") continue;
    const JsonValue *code = header.items[i].member("dtype"), *shape = header.items[i].member("shape"), *range = header.items[i].member("data_offsets");
    if (!code || !shape || !range || range->items.size() != 2) return corrupt(fmt::format("'{}' lacks its type, shape or place", header.names[i]));
    Variable* variable = model.variable(header.names[i]);
    if (!variable || !variable->belongs_to_model()) {
      unused.push_back(header.names[i]);
      continue;
    }
    Type type;
    auto known = std::find(std::begin(element_codes), std::end(element_codes), code->string);
    for (const JsonValue& extent : shape->items) type.shape.push_back(int64_t(extent.number));
    if (known == std::end(element_codes)) {
      wrong.push_back(fmt::format("'{}' is of type {}, which is not supported", variable->name, code->string));
      continue;
    }
    type.element = ElementType(known - std::begin(element_codes));
    bool same_kind = info(type.element).is_float == info(variable->type.element).is_float && (info(type.element).is_float || type.element == variable->type.element);
    if (type.shape != variable->type.shape || !same_kind) {
      wrong.push_back(fmt::format("'{}' is {} in the file, {} in this program", variable->name, to_string(type), to_string(variable->type)));
      continue;
    }
    double first = range->items[0].number, last = range->items[1].number;
    if (first < 0 || last > double(available) || last - first != double(type.bytes()))
      return Error{GRADC_CORRUPT, fmt::format("'{}' is truncated or corrupt: '{}' lies outside of it", path, variable->name)};
    found.push_back({variable, type.element, data + uint64_t(first)});
  }
  for (const Variable& variable : model.variables)
    if (variable.kind == program::VariableKind::parameter &&
        std::none_of(found.begin(), found.end(), [&](const Found& each) { return each.variable == &variable; }) &&
        std::none_of(wrong.begin(), wrong.end(), [&](const std::string& each) { return each.starts_with("'" + variable.name + "'"); }))
      wrong.push_back(fmt::format("'{}' ({}) is missing", variable.name, to_string(variable.type)));
  for (const std::string& name : unused) {
    std::string near = nearest(name, names);
    wrong.push_back(fmt::format("'{}' is of no use here{}", name, near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near)));
  }
  if (!wrong.empty()) {
    size_t shown = std::min<size_t>(wrong.size(), 6);
    return Error{GRADC_OTHER_MODEL, fmt::format("'{}' does not fit this model: {}{}", path, fmt::join(wrong.begin(), wrong.begin() + std::ptrdiff_t(shown), "; "),
                                                wrong.size() > shown ? fmt::format("; and {} more", wrong.size() - shown) : "")};
  }
  for (const Found& each : found) {
    if (each.element == each.variable->type.element) {
      each.variable->write(each.data);
      continue;
    }
    size_t from = info(each.element).bytes, to = info(each.variable->type.element).bytes;
    std::vector<char> elements(each.variable->bytes);
    for (int64_t i = 0; i < each.variable->type.elements(); ++i)
      write_number(each.variable->type.element, elements.data() + size_t(i) * to, read_number(each.element, each.data + size_t(i) * from));
    each.variable->write(elements.data());
  }
  return {};
}

}  // namespace gradc::runtime
