// A scan (ops.def) taken apart, and work on the bodies of loops.
//
// A scan node owns its body: passes see one function at a time and go into bodies by themselves. A node has one result, a scan has several: its own is
// empty (bool[0]) and read by `item` alone, which gives the value of one of them.
#pragma once
#include <utility>

#include "ir/builder.h"

namespace gradc::ir {

struct Loop {
  FunctionPtr function;
  int64_t length, carries, slices;
  bool backward, recompute;
  std::vector<Value> inputs;   // of the body, one for each operand: carries, slices, captures

  explicit Loop(const Node& scan);
  const Function& body() const { return *function; }
  int64_t outputs() const { return static_cast<int64_t>(function->results.size()) - carries; }
  bool is_carry(size_t operand) const { return static_cast<int64_t>(operand) < carries; }
  bool is_slice(size_t operand) const { return !is_carry(operand) && static_cast<int64_t>(operand) < carries + slices; }
  /// Type of a result of the scan: a last carry, or a stack.
  Type result_type(int64_t index) const;
  /// What type the elements of a stack have when they are stacked.
  Type stacked(Type type) const;
};

inline bool is_scan(const Node& node) { return info(node.op).traits & tuple; }
inline bool is_item(const Node& node) { return info(node.op).traits & part; }

struct LoopSpec {
  Function body;
  int64_t length, carries, slices;
  bool backward = false, recompute = false;
  std::vector<Value> operands;
};
Attrs scan_attrs(Function body, int64_t length, int64_t carries, int64_t slices, bool backward, bool recompute);
Value make_scan(Builder&, LoopSpec);
Value make_item(Builder&, Value scan, int64_t index);

/// Changes the body of every loop in a function; change(body) may be a pass.
template <class Change>
void for_bodies(Function& f, Change change) {
  for (Node& node : f.nodes) {
    if (!node.attrs.has(Attr::body)) continue;
    Function body = *node.attrs.function(Attr::body);
    change(body);
    node.attrs.set(Attr::body, std::make_shared<const Function>(std::move(body)));
  }
}

}  // namespace gradc::ir
