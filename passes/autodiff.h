// Reverse-mode differentiation. gradients.cpp holds the table: one rule per operation, expanded from ops.def, so that an
// operation without one does not compile. autodiff.cpp is the walk, which names no operation.
#pragma once
#include <array>
#include <span>

#include "passes/term.h"

namespace gradc::passes {

/// A node on the way of the reverse walk: what a gradient rule sees.
struct Primal {
  ir::Builder& b;
  const ir::Node& node;
  Term y;    // the node's result
  Term g;    // its cotangent, of the same type

  Term x(size_t i) const { return {&b, node.operands[i]}; }
  const ir::Attrs& attrs() const { return node.attrs; }
  const std::vector<int64_t>& list(ir::Attr a) const { return node.attrs.integers(a); }
};

/// The cotangent of each operand; invalid where none flows (integers, bools, derivatives that are zero everywhere).
using Cotangents = std::array<ir::Value, 3>;
using GradientRule = Cotangents (*)(const Primal&);

/// The rule of an operation; null if its derivative is zero or does not exist.
GradientRule gradient_rule(ir::Op);

/// Derivatives of the rank-0 value y by the targets, appended to the function in one reverse walk. A target that y does not depend on, or through
/// integers, bools or stop_gradient alone, gets zeros: the elaborator has reported what a user cannot have meant, but only here is it seen that a
/// penalty on an inner gradient has lost the last bias.
std::vector<ir::Value> differentiate(ir::Builder&, ir::Value y, std::span<const ir::Value> targets);

}  // namespace gradc::passes
