// A library for this would weigh more than all that we need of it.
#include "runtime/json.h"

#include <charconv>
#include <cmath>
#include <fmt/format.h>

namespace gradc::runtime {

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\', out += c;
    else if (c == '\n') out += "\\n";
    else if (uint8_t(c) < 0x20) out += fmt::format("\\u{:04x}", int(c));
    else out += c;
  }
  return out + "\"";
}

std::string json_number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : "null"; }

JsonObject& JsonObject::raw(std::string_view name, std::string_view json) {
  if (!members_.empty()) members_ += ", ";
  members_ += json_string(name);
  members_ += ": ";
  members_ += json;
  return *this;
}

std::string json_array(const std::vector<std::string>& items) { return fmt::format("[{}]", fmt::join(items, ", ")); }

const JsonValue* JsonValue::member(std::string_view name) const {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return &items[i];
  return nullptr;
}

namespace {
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}
  bool document(JsonValue& value) {
    if (!parse(value, 0)) return false;
    blanks();
    return rest_.empty();
  }

 private:
  void blanks() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n' || rest_[0] == '\t' || rest_[0] == '\r')) rest_.remove_prefix(1);
  }
  bool accept(std::string_view word) {
    blanks();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  bool string(std::string& out) {
    if (!accept("\"")) return false;
    while (!rest_.empty() && rest_[0] != '"') {
      char c = rest_[0];
      rest_.remove_prefix(1);
      if (c != '\\') {
        out += c;
        continue;
      }
      if (rest_.empty()) return false;
      char e = rest_[0];
      rest_.remove_prefix(1);
      if (e == 'u') {
        unsigned code = 0;
        if (rest_.size() < 4) return false;
        auto [end, error] = std::from_chars(rest_.data(), rest_.data() + 4, code, 16);
        if (error != std::errc() || end != rest_.data() + 4) return false;
        rest_.remove_prefix(4);
        if (code < 0x80) out += char(code);
        else if (code < 0x800) out += char(0xc0 | code >> 6), out += char(0x80 | (code & 0x3f));
        else out += char(0xe0 | code >> 12), out += char(0x80 | ((code >> 6) & 0x3f)), out += char(0x80 | (code & 0x3f));
      } else {
        constexpr std::string_view escapes = "nrtbf", meanings = "\n\r\t\b\f";
        size_t at = escapes.find(e);
        out += at == std::string_view::npos ? e : meanings[at];
      }
    }
    return accept("\"");
  }
  bool parse(JsonValue& value, int depth) {
    if (depth > 32) return false;
    if (accept("{")) {
      value.kind = JsonValue::Kind::object;
      if (accept("}")) return true;
      do {
        value.names.emplace_back();
        value.items.emplace_back();
        blanks();
        if (!string(value.names.back()) || !accept(":") || !parse(value.items.back(), depth + 1)) return false;
      } while (accept(","));
      return accept("}");
    }
    if (accept("[")) {
      value.kind = JsonValue::Kind::array;
      if (accept("]")) return true;
      do {
        value.items.emplace_back();
        if (!parse(value.items.back(), depth + 1)) return false;
      } while (accept(","));
      return accept("]");
    }
    blanks();
    if (rest_.starts_with('"')) {
      value.kind = JsonValue::Kind::string;
      return string(value.string);
    }
    if (accept("null")) return true;
    value.kind = JsonValue::Kind::boolean;
    if (accept("true")) return value.number = 1, true;
    if (accept("false")) return true;
    value.kind = JsonValue::Kind::number;
    auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value.number);
    rest_.remove_prefix(size_t(end - rest_.data()));
    return error == std::errc();
  }
  std::string_view rest_;
};
}  // namespace

bool parse_json(std::string_view text, JsonValue& value) { return Parser(text).document(value); }

}  // namespace gradc::runtime
