#include "ir/graph.h"

#include <fmt/format.h>

#include <algorithm>

namespace gradc::ir {

const Result* Function::result(std::string_view result_name) const {
  for (const Result& r : results)
    if (r.name == result_name) return &r;
  return nullptr;
}

Value Function::input(std::string_view input_name) const {
  for (uint32_t i = 0; i < nodes.size(); ++i)
    if (nodes[i].op == Op::input && nodes[i].attrs.text(Attr::name) == input_name) return Value{i};
  return {};
}

bool Function::operator==(const Function& other) const {
  auto same_node = [](const Node& a, const Node& b) { return a.op == b.op && a.type == b.type && a.operands == b.operands && a.attrs == b.attrs; };
  auto same_result = [](const Result& a, const Result& b) { return a.name == b.name && a.value == b.value && a.write == b.write; };
  return std::equal(nodes.begin(), nodes.end(), other.nodes.begin(), other.nodes.end(), same_node) &&
         std::equal(results.begin(), results.end(), other.results.begin(), other.results.end(), same_result);
}

std::vector<Value> Function::inputs() const {
  std::vector<Value> list;
  for (uint32_t i = 0; i < nodes.size(); ++i)
    if (nodes[i].op == Op::input) list.push_back(Value{i});
  return list;
}

std::vector<std::vector<Value>> Function::users() const {
  std::vector<std::vector<Value>> users(nodes.size());
  for (uint32_t i = 0; i < nodes.size(); ++i)
    for (Value operand : nodes[i].operands) users[operand.id].push_back(Value{i});
  return users;
}

void Function::prune() {
  std::vector<bool> live(nodes.size());
  for (const Result& r : results) live[r.value.id] = true;
  for (size_t i = nodes.size(); i-- > 0;) {
    if (nodes[i].op == Op::input) live[i] = true;
    if (live[i])
      for (Value operand : nodes[i].operands) live[operand.id] = true;
  }
  std::vector<Value> map(nodes.size());
  std::vector<Node> kept;
  for (uint32_t i = 0; i < nodes.size(); ++i) {
    if (!live[i]) continue;
    for (Value& operand : nodes[i].operands) operand = map[operand.id];
    map[i] = Value{static_cast<uint32_t>(kept.size())};
    kept.push_back(std::move(nodes[i]));
  }
  nodes = std::move(kept);
  for (Result& r : results) r.value = map[r.value.id];
}

const Function* Module::function(std::string_view function_name) const {
  for (const Function& f : functions)
    if (f.name == function_name) return &f;
  return nullptr;
}

const Variable* Module::variable(std::string_view variable_name) const {
  for (const Variable& v : variables)
    if (v.name == variable_name) return &v;
  return nullptr;
}

std::string Module::describe(Loc loc) const {
  if (!loc.known()) return "unknown";
  // A function without its module's files is described as its text form does.
  std::string file = loc.file < files.size() ? files[loc.file] : fmt::format("file{}", loc.file);
  std::string place = fmt::format("{}:{}", file, loc.line);
  return loc.role == Loc::Role::source ? place : fmt::format("{} of {}", role_name(loc.role), place);
}

std::string_view kind_name(VariableKind kind) {
  constexpr std::string_view names[] = {"parameter", "state", "slot", "accumulator", "session"};
  return names[static_cast<size_t>(kind)];
}
std::string_view role_name(Loc::Role role) {
  constexpr std::string_view names[] = {"source", "gradient", "update", "recomputation"};
  return names[static_cast<size_t>(role)];
}

Value Copier::operator()(Value root) {
  // Iterative: graphs of deep networks are deeper than a stack should be.
  std::vector<Value> stack = {root};
  while (!stack.empty()) {
    Value v = stack.back();
    if (map_[v.id].valid()) {
      stack.pop_back();
      continue;
    }
    bool ready = true;
    for (Value operand : from_[v].operands)
      if (!map_[operand.id].valid()) stack.push_back(operand), ready = false;
    if (!ready) continue;
    stack.pop_back();
    Node node = from_[v];
    for (Value& operand : node.operands) operand = map_[operand.id];
    map_[v.id] = to_.append(std::move(node));
  }
  return map_[root.id];
}
}  // namespace gradc::ir
