// The reference evaluator's rules: one function per row of ops.def, declared by expanding it. A row without a rule does not link.
// For evaluate*.cpp alone.
#pragma once
#include "ir/evaluate.h"

namespace gradc::ir::reference {

struct Call {
  const Node& node;
  std::span<const Tensor* const> operands;
  const Bindings& bindings;
  std::vector<Tensor>& parts;   // of a loop: its results, to be filled in; of `item`: the loop's

  const Tensor& operator[](size_t i) const { return *operands[i]; }
  const Type& type() const { return node.type; }
  const std::vector<int64_t>& integers(Attr attr) const { return node.attrs.integers(attr); }
};

#define OP(name, ...) Tensor name(const Call&);
#include "ir/ops.def"

/// Positions of all elements of a box of these extents, in row-major order, in a tensor with these strides: how views,
/// reductions and contracts walk.
std::vector<int64_t> offsets(const Shape& extents, const std::vector<int64_t>& strides);
/// The chosen items of a list: extents or strides of some axes.
std::vector<int64_t> pick(const std::vector<int64_t>& items, const std::vector<int64_t>& positions);
/// The axes below rank that are not in the increasing list.
std::vector<int64_t> other_axes(const std::vector<int64_t>& axes, int64_t rank);

}  // namespace gradc::ir::reference
