// The graph: functions of nodes in SSA form. Operands come before their users; every node has one result.
//
// A function reads inputs and variables (parameters, states, optimizer slots) through source nodes and returns named
// results. A result may be written to a variable: there is no write operation, the new value is simply a result, and all
// reads of a variable inside a function mean its value at the start.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "ir/attrs.h"
#include "ir/ops.h"
#include "ir/types.h"

namespace gradc::ir {

/// A node of a function, by index.
struct Value {
  static constexpr uint32_t none = ~0u;
  uint32_t id = none;
  bool valid() const { return id != none; }
  auto operator<=>(const Value&) const = default;
};

/// Where a node comes from. Nodes made by a pass keep the location of what they were made from and say what they are.
struct Loc {
  enum class Role : uint8_t { source, gradient, update, recomputation };
  uint16_t file = 0;     // index into Module::files; 0 is "" (unknown)
  uint32_t line = 0;     // from 1; 0 is unknown
  uint16_t column = 0;   // from 1
  Role role = Role::source;
  bool known() const { return line != 0; }
  auto operator<=>(const Loc&) const = default;
};

struct Node {
  Op op;
  Type type;
  std::vector<Value> operands;
  Attrs attrs;
  Loc loc;
};

struct Result {
  std::string name;     // "loss"; for a write the variable's name
  Value value;
  bool write = false;   // the function's last act: variable `name` takes this value
};

class Function {
 public:
  std::string name;
  std::vector<Node> nodes;
  std::vector<Result> results;

  const Node& operator[](Value v) const { return nodes[v.id]; }
  const Type& type(Value v) const { return nodes[v.id].type; }
  size_t size() const { return nodes.size(); }

  Value append(Node node) {
    nodes.push_back(std::move(node));
    return Value{static_cast<uint32_t>(nodes.size() - 1)};
  }

  const Result* result(std::string_view result_name) const;
  /// The input node of this name; invalid if there is none.
  Value input(std::string_view input_name) const;
  /// For each node, the nodes that use it as an operand (once per use), in order.
  std::vector<std::vector<Value>> users() const;
  /// The same graph: names of results, but not of the function, and no locations.
  bool operator==(const Function&) const;
  /// The input nodes, in order.
  std::vector<Value> inputs() const;
  /// Removes what no result needs. Inputs stay, they are the signature. Keeps order.
  void prune();
};

enum class VariableKind : uint8_t { parameter, state, slot, accumulator, session };

/// A tensor that lives from one call to the next: a parameter, a state (`state mu`), an optimizer's slot ("adam/m/net.w"), an accumulator over chunks of a
/// large batch, or what an incremental export remembers (`session keys`).
struct Variable {
  std::string name;
  Type type;
  VariableKind kind = VariableKind::parameter;
  bool frozen = false;
  Loc loc;
};

struct Module {
  std::string name;
  std::vector<std::string> files = {""};   // what Loc::file indexes
  std::vector<Variable> variables;
  std::vector<Function> functions;

  const Function* function(std::string_view function_name) const;
  const Variable* variable(std::string_view variable_name) const;
  std::string describe(Loc) const;   // "fashion.grad:12", "gradient of fashion.grad:12"
};

std::string_view kind_name(VariableKind);   // "parameter", ...
std::string_view role_name(Loc::Role);      // "source", "gradient", "update"

/// Copies nodes of one function into another one, each once, replacing what `replace` already maps.
class Copier {
 public:
  Copier(const Function& from, Function& to) : from_(from), to_(to), map_(from.size()) {}
  void replace(Value old_value, Value new_value) { map_[old_value.id] = new_value; }
  /// The copy of a value, made with everything that it needs.
  Value operator()(Value);

 private:
  const Function& from_;
  Function& to_;
  std::vector<Value> map_;
};

}  // namespace gradc::ir
