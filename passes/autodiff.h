// Reverse-mode differentiation. loop_gradients.cpp holds the rule of loops, gradients.cpp the table: one rule per operation, expanded from ops.def, so that an
// operation without one does not compile. autodiff.cpp is the walk, which names no operation.
#pragma once
#include <span>

#include "passes/term.h"

namespace gradc::passes {

/// A node on the way of the reverse walk: what a gradient rule sees.
struct Primal {
  ir::Builder& b;
  const ir::Node& node;
  Term y;    // the node's result
  Term g;    // its cotangent, of the same type; of a tuple none
  std::vector<ir::Value> parts = {};   // of a tuple: the cotangents of its results, by number; invalid where none flows
  std::vector<bool> wanted = {};       // per operand: somebody asks for its cotangent

  Term x(size_t i) const { return {&b, node.operands[i]}; }
  const ir::Attrs& attrs() const { return node.attrs; }
  const std::vector<int64_t>& list(ir::Attr a) const { return node.attrs.integers(a); }
};

/// The cotangent of each operand; invalid, or left out at the end, where none flows (integers, bools, derivatives that are zero everywhere).
using Cotangents = std::vector<ir::Value>;
using GradientRule = Cotangents (*)(const Primal&);

/// The rule of an operation; null if its derivative is zero or does not exist.
GradientRule gradient_rule(ir::Op);

/// What flows into a value that a walk begins at.
struct Seed {
  ir::Value value, cotangent;
};

/// The cotangents of targets, given those of some values; invalid where none flows.
std::vector<ir::Value> pull_back(ir::Builder&, std::span<const Seed>, std::span<const ir::Value> targets);

/// The rule of loops.
Cotangents scan_gradient(const Primal&);

/// Derivatives of the rank-0 value y by the targets, appended to the function in one reverse walk. A target that y does not depend on, or through
/// integers, bools or stop_gradient alone, gets zeros: the elaborator has reported what a user cannot have meant, but only here is it seen that a
/// penalty on an inner gradient has lost the last bias.
std::vector<ir::Value> differentiate(ir::Builder&, ir::Value y, std::span<const ir::Value> targets);

}  // namespace gradc::passes
