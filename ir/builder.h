// Builds nodes: types come from the shape rules, a mistake in them is ours (CHECK). It neither folds nor merges: what is
// built is what stands in the graph.
#pragma once
#include <span>

#include "ir/graph.h"
#include "ir/infer.h"

namespace gradc::ir {

class Builder {
 public:
  explicit Builder(Function& function) : function(function) {}

  Function& function;
  Loc loc;   // given to every node built from now on

  const Type& type(Value v) const { return function.type(v); }
  Value make(Op, std::span<const Value> operands, Attrs attrs = {});
  Value make(Op op, std::initializer_list<Value> operands, Attrs attrs = {}) { return make(op, std::span(operands.begin(), operands.size()), std::move(attrs)); }

  // Maps: make(Op::add, {a, b}) for same shapes. `map` broadcasts first: scalars and extents of 1, aligned at the last axis.
  Value map(Op, std::initializer_list<Value> operands);
  Value cast(Value, ElementType);                    // nothing if it is of that type
  // Views that are the identity build nothing.
  Value reshape(Value, Shape);
  Value transpose(Value, std::vector<int64_t> axes);
  Value broadcast(Value, Shape, std::vector<int64_t> axes);
  Value broadcast_to(Value, const Shape&);           // as map does
  Value slice(Value, std::vector<int64_t> start, std::vector<int64_t> limit, std::vector<int64_t> stride);
  Value contract(std::string spec, Value a, Value b, Precision = Precision::f32);
  Value reduce(Op, Value, std::vector<int64_t> axes);   // nothing for no axes
  // Sources.
  Value constant(double, Type);
  Value scalar(double, ElementType);
  Value like(double, Value);                         // a constant of that value's type
  Value literal(std::vector<double>, Type);
  Value iota(Type, int64_t axis);
  Value input(std::string name, Type);
  Value variable(std::string name, Type);
};

/// The shape that operands of these shapes broadcast to (scalars and extents of 1, aligned at the last axis); nothing if they do not.
std::optional<Shape> broadcast_shapes(std::span<const Shape>);

}  // namespace gradc::ir
