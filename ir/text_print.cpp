// Printing of the text form (text.h).
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cmath>
#include <map>

#include "ir/text.h"

namespace gradc::ir {
namespace {
bool plain_name(std::string_view name) {
  auto allowed = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '/' || c == '-'; };
  return !name.empty() && (std::isalpha(static_cast<unsigned char>(name[0])) || name[0] == '_') && std::all_of(name.begin(), name.end(), allowed);
}

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      result += {'\\', c};
    else if (c == '\n')
      result += "\\n";
    else if (static_cast<unsigned char>(c) < 32)
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      result += c;
  }
  return result + "\"";
}

std::string name_text(std::string_view name) { return plain_name(name) ? std::string(name) : quoted(name); }

struct AttrPrinter {
  std::string operator()(int64_t v) const { return fmt::format("{}", v); }
  std::string operator()(double v) const { return print_number(v); }
  std::string operator()(const std::string& v) const { return quoted(v); }
  std::string operator()(const std::vector<int64_t>& v) const { return to_string(v); }
  std::string operator()(ElementType v) const { return std::string(element_name(v)); }
  std::string operator()(const FunctionPtr&) const { return "{...}"; }   // Printer::line writes it out
  std::string operator()(const DensePtr& v) const {
    std::string text = "[";
    for (double x : *v) text += (text.size() > 1 ? ", " : "") + print_number(x);
    return text + "]";
  }
};

// How each file is called in locations: by its last component, by its whole path where two files share that, or by number.
std::vector<std::string> file_labels(const Module& module) {
  std::vector<std::string> labels = {""};
  auto taken = [&](const std::string& text) { return std::find(labels.begin(), labels.end(), text) != labels.end(); };
  for (size_t i = 1; i < module.files.size(); ++i) {
    const std::string& path = module.files[i];
    std::string text = path.substr(path.rfind('/') + 1);
    if (taken(text)) text = path;
    if (taken(text)) text = fmt::format("file{}", i);
    while (taken(text)) text += "_";
    labels.push_back(text);
  }
  return labels;
}

bool is_named(std::string_view label) { return !std::isdigit(static_cast<unsigned char>(label[1])); }

// Attributes that the rest of the line does not say already: types repeat `element` and `shape`, labels `name`.
std::string attributes_text(const Node& node, bool named) {
  auto implied = [&](Attr attr) {
    if (attr == Attr::element) return node.attrs.element(attr) == node.type.element;
    if (attr == Attr::shape) return node.attrs.integers(attr) == node.type.shape;
    return attr == Attr::name && named;
  };
  std::string text;
  for (Attr attr : info(node.op).attributes)
    if (node.attrs.has(attr) && !implied(attr)) text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", attr_name(attr), std::visit(AttrPrinter(), node.attrs.at(attr)));
  return text;
}

class Printer {
 public:
  Printer(const Function& function, bool locations, std::vector<std::string> files) : f_(function), locations_(locations), files_(std::move(files)) {
    std::map<std::string, uint32_t> first;
    labels_.reserve(f_.size());
    for (uint32_t i = 0; i < f_.size(); ++i) {
      const Node& node = f_.nodes[i];
      labels_.push_back(fmt::format("%{}", i));
      if (node.op != Op::input && node.op != Op::variable) continue;
      const std::string& name = node.attrs.text(Attr::name);
      std::string text = (node.op == Op::input ? "%" : "@") + name_text(name);
      bool numeric = !name.empty() && std::isdigit(static_cast<unsigned char>(name[0]));   // would read as a node's number
      if (!name.empty() && !numeric && first.emplace(text, i).second) labels_.back() = text;
    }
  }

  const std::vector<std::string>& labels() const { return labels_; }
  std::string label(Value v) const { return v.id < labels_.size() ? labels_[v.id] : fmt::format("%<{}>", v.id); }

  std::string location(Loc loc) const {
    if (!locations_ || !loc.known()) return "";
    std::string file = loc.file < files_.size() ? files_[loc.file] : fmt::format("file{}", loc.file);
    std::string text = fmt::format("  @{}:{}:{}", name_text(file), loc.line, loc.column);
    return loc.role == Loc::Role::source ? text : fmt::format("{} {}", text, role_name(loc.role));
  }

  std::string line(Value v) const {
    const Node& node = f_[v];
    std::string text = fmt::format("{} = {}", label(v), info(node.op).name);
    for (size_t i = 0; i < node.operands.size(); ++i) text += (i ? ", " : " ") + label(node.operands[i]);
    std::string attributes = attributes_text(node, is_named(labels_[v.id]));
    if (node.attrs.has(Attr::body)) attributes.replace(attributes.rfind("{...}"), 5, body(*node.attrs.function(Attr::body)));
    if (!attributes.empty()) text += " {" + attributes + "}";
    return text + " : " + to_string(node.type) + location(node.loc);
  }

  std::string results() const {
    std::vector<std::string> items;
    for (const Result& r : f_.results) items.push_back(fmt::format("{}{} = {}", r.write ? "write @" : "", name_text(r.name), label(r.value)));
    std::string text = "return";
    for (size_t i = 0; i < items.size(); ++i) text += (i ? ", " : " ") + items[i];
    constexpr size_t longest = 110;
    if (text.size() <= longest) return text;
    text = "return";
    for (size_t i = 0; i < items.size(); ++i) text += (i ? ",\n         " : " ") + items[i];
    return text;
  }

  // A function in a line of another one, further in than that.
  std::string body(const Function& f) const {
    std::string text = Printer(f, locations_, files_).function(), result;
    text = text.substr(text.find(' ') + 1);   // the word `function`
    text.pop_back();
    for (char c : text) result += c == '\n' ? "\n  " : std::string(1, c);
    return result;
  }

  std::string function() const {
    std::string text = fmt::format("function {} {{\n", name_text(f_.name));
    for (uint32_t i = 0; i < f_.size(); ++i) text += "  " + line(Value{i}) + "\n";
    return text + "  " + results() + "\n}\n";
  }

 private:
  const Function& f_;
  bool locations_;
  std::vector<std::string> files_;
  std::vector<std::string> labels_;
};

Printer printer(const Function& f, const PrintOptions& options) {
  return {f, options.locations, options.module ? file_labels(*options.module) : std::vector<std::string>{""}};
}
}  // namespace

std::string print_number(double value) {
  if (!std::isnan(value)) return fmt::format("{}", value);
  constexpr uint64_t quiet = 0x7ff8000000000000;
  uint64_t bits = std::bit_cast<uint64_t>(value);
  return bits == quiet ? "nan" : fmt::format("nan(0x{:x})", bits);
}

std::string print_attributes(const Node& node) { return attributes_text(node, false); }
std::vector<std::string> labels(const Function& f) { return printer(f, {}).labels(); }
std::string label(const Function& f, Value v) { return printer(f, {}).label(v); }
std::string print(const Function& f, Value v, const PrintOptions& options) { return printer(f, options).line(v); }
std::string print(const Function& f, const PrintOptions& options) { return printer(f, options).function(); }

std::string print(const Module& module) {
  const std::vector<std::string> files = file_labels(module);
  std::string text = fmt::format("module {}\n", name_text(module.name));
  if (files.size() > 1) text += "\n";
  for (size_t i = 1; i < files.size(); ++i) text += fmt::format("file {} = {}\n", name_text(files[i]), quoted(module.files[i]));
  if (!module.variables.empty()) text += "\n";
  const Function nothing;
  const Printer places(nothing, true, files);
  for (const Variable& v : module.variables)
    text += fmt::format("{} @{} : {}{}{}\n", kind_name(v.kind), name_text(v.name), to_string(v.type), v.frozen ? " frozen" : "", places.location(v.loc));
  for (const Function& f : module.functions) text += "\n" + Printer(f, true, files).function();
  return text;
}
}  // namespace gradc::ir
