// Reading and writing safetensors (https://github.com/huggingface/safetensors): a length, a JSON header, the tensors' bytes.
#include "runtime/weights.h"

#include <algorithm>
#include <fmt/format.h>

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

Result<StoredWeights> read_safetensors(const std::string& path, Bytes file) {
  auto corrupt = [&](std::string_view why) { return Error{GRADC_CORRUPT, fmt::format("'{}' is no safetensors file: {}", path, why)}; };
  if (file.size() < 8) return corrupt("it is shorter than 8 bytes");
  uint64_t length = load<uint64_t>(file.data());
  if (length > file.size() - 8) return corrupt("it is truncated, or begins with something else than a length");
  JsonValue header;
  if (!parse_json(file.text().substr(8, length), header) || header.kind != JsonValue::Kind::object) return corrupt("its header is not JSON");
  const uint8_t* data = file.data() + 8 + length;
  uint64_t available = file.size() - 8 - length;
  StoredWeights weights{std::move(file), {}};
  for (size_t i = 0; i < header.items.size(); ++i) {
    if (header.names[i] == "__metadata__") continue;
    const JsonValue *code = header.items[i].member("dtype"), *shape = header.items[i].member("shape"), *range = header.items[i].member("data_offsets");
    if (!code || !shape || !range || range->items.size() != 2) return corrupt(fmt::format("'{}' lacks its type, shape or place", header.names[i]));
    StoredTensor tensor{header.names[i], {}, nullptr, ""};
    for (const JsonValue& extent : shape->items) tensor.type.shape.push_back(int64_t(extent.number));
    auto known = std::find(std::begin(element_codes), std::end(element_codes), code->string);
    if (known == std::end(element_codes)) {
      tensor.unknown_type = code->string;
    } else {
      tensor.type.element = ElementType(known - std::begin(element_codes));
      double first = range->items[0].number, last = range->items[1].number;
      // Where it lies is judged when it is used: names and shapes are the likelier mistakes.
      if (first >= 0 && last <= double(available) && last - first == double(tensor.type.bytes())) tensor.data = data + uint64_t(first);
    }
    weights.tensors.push_back(std::move(tensor));
  }
  return weights;
}

}  // namespace gradc::runtime
