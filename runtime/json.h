// JSON: writing strings and numbers, and reading the small subset that safetensors headers use.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gradc::runtime {

/// "text", with what has to be escaped.
std::string json_string(std::string_view text);
/// A number that reads back to the same value; null where it is not finite, which JSON cannot say.
std::string json_number(double value);

/// Builds one object, member by member.
class JsonObject {
 public:
  JsonObject& add(std::string_view name, double value) { return raw(name, json_number(value)); }
  JsonObject& add(std::string_view name, int64_t value) { return raw(name, std::to_string(value)); }
  JsonObject& add(std::string_view name, bool value) { return raw(name, value ? "true" : "false"); }
  JsonObject& add(std::string_view name, std::string_view value) { return raw(name, json_string(value)); }
  JsonObject& add(std::string_view name, const char* value) { return raw(name, json_string(value)); }
  JsonObject& raw(std::string_view name, std::string_view json);
  std::string text() const { return "{" + members_ + "}"; }

 private:
  std::string members_;
};
std::string json_array(const std::vector<std::string>& items);

/// A value of a parsed document.
struct JsonValue {
  enum class Kind { null, boolean, number, string, array, object } kind = Kind::null;
  double number = 0;
  std::string string;
  std::vector<std::string> names;   // of an object's members, in order
  std::vector<JsonValue> items;     // an array's items, or an object's values
  const JsonValue* member(std::string_view name) const;
};
/// False: not JSON.
bool parse_json(std::string_view text, JsonValue& value);

}  // namespace gradc::runtime
