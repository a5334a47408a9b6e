#include "ir/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "ir/infer.h"
#include "ir/loop.h"
#include "ir/text.h"

namespace gradc::ir {
namespace {
class Verifier {
 public:
  Verifier(const Function& f, const Module* module) : f_(f), module_(module) {}

  std::string run() {
    for (uint32_t i = 0; i < f_.size(); ++i) node(Value{i});
    for (const Result& r : f_.results) result(r);
    return std::move(findings_);
  }

 private:
  template <typename... Args>
  void find(Value v, fmt::format_string<Args...> format, Args&&... args) {
    std::string where = v.valid() ? print(f_, v, {.locations = true, .module = module_}) : "return";
    findings_ += fmt::format("function {}: {}\n    {}\n", f_.name, where, fmt::format(format, std::forward<Args>(args)...));
  }

  void node(Value v) {
    const Node& node = f_[v];
    const OpInfo& row = info(node.op);
    std::vector<Type> types;
    for (Value operand : node.operands) {
      if (operand.id >= v.id) return find(v, "operand {} does not come before its user", label(f_, operand));
      types.push_back(f_.type(operand));
    }
    for (const auto& [attr, value] : node.attrs)
      if (std::find(row.attributes.begin(), row.attributes.end(), attr) == row.attributes.end()) return find(v, "{} has no attribute {}", row.name, attr_name(attr));
    Inferred inferred = infer_type(node.op, types, node.attrs);
    if (auto* error = std::get_if<std::string>(&inferred)) return find(v, "{}", *error);
    if (std::get<Type>(inferred) != node.type) return find(v, "the type is {}, but the shape rule gives {}", to_string(node.type), to_string(std::get<Type>(inferred)));
    if (node.op == Op::input) input(v);
    if (node.op == Op::variable) variable(v);
    if (is_scan(node)) loop(v);
    for (Value operand : node.operands)
      if (is_scan(f_[operand]) != is_item(node)) return find(v, "a loop, and loops alone, are read by item");
    if (is_item(node)) item(v);
  }

  void loop(Value v) {
    for (const Result& r : f_.results)
      if (r.value == v) find(v, "a loop is read by item alone");
    Verifier body(*f_[v].attrs.function(Attr::body), module_);
    if (std::string findings = body.run(); !findings.empty()) findings_ += findings;
  }

  void item(Value v) {
    const Loop loop(f_[f_[v].operands[0]]);
    const int64_t index = f_[v].attrs.integer(Attr::index), results = static_cast<int64_t>(loop.body().results.size());
    if (index < 0 || index >= results) return find(v, "the loop has {} results", results);
    if (loop.result_type(index) != f_.type(v)) find(v, "the loop gives {}", to_string(loop.result_type(index)));
  }

  void input(Value v) {
    const std::string& name = f_[v].attrs.text(Attr::name);
    if (name.empty()) find(v, "an input without a name");
    if (!inputs_.insert(name).second) find(v, "a second input of that name");
  }

  void variable(Value v) {
    const std::string& name = f_[v].attrs.text(Attr::name);
    if (name.empty()) find(v, "a variable without a name");
    if (auto error = variable_error(name, f_.type(v)); !error.empty()) find(v, "{}", error);
  }

  void result(const Result& r) {
    const char* sign = r.write ? "@" : "";
    if (r.name.empty()) find({}, "a result without a name");
    if (!results_.emplace(r.name, r.write).second) find({}, "two results {}{}", sign, r.name);
    if (r.value.id >= f_.size()) return find({}, "result {}{} is no node of the function", sign, r.name);
    if (!r.write) return;
    if (auto error = variable_error(r.name, f_.type(r.value)); !error.empty()) find(r.value, "{}", error);
  }

  // A variable has the module's type, or without a module one type in all of the function.
  std::string variable_error(const std::string& name, const Type& type) {
    const Type* expected = &variables_.emplace(name, type).first->second;
    if (module_) {
      const Variable* variable = module_->variable(name);
      if (!variable) return fmt::format("the module has no variable @{}", name);
      expected = &variable->type;
    }
    return *expected == type ? "" : fmt::format("variable @{} is {}, not {}", name, to_string(*expected), to_string(type));
  }

  const Function& f_;
  const Module* module_;
  std::set<std::string> inputs_;
  std::set<std::pair<std::string, bool>> results_;
  std::map<std::string, Type> variables_;
  std::string findings_;
};

template <typename Items>
std::string duplicates(const Items& items, std::string_view what) {
  std::set<std::string> names;
  std::string findings;
  for (const auto& item : items) {
    if (item.name.empty()) findings += fmt::format("a {} without a name\n", what);
    if (!names.insert(item.name).second) findings += fmt::format("two {}s {}\n", what, item.name);
  }
  return findings;
}
}  // namespace

std::string verify(const Function& f) { return Verifier(f, nullptr).run(); }

std::string verify(const Module& module) {
  std::string findings = duplicates(module.variables, "variable") + duplicates(module.functions, "function");
  for (const Function& f : module.functions) findings += Verifier(f, &module).run();
  return findings;
}
}  // namespace gradc::ir
