// Constant folding, by the reference evaluator: there is no second copy of what operations compute.
#pragma once
#include "ir/graph.h"

namespace gradc::passes {

/// Nodes whose operands are all numbers or literals become numbers or literals: maps of numbers at any size (one element is computed), anything else up to 4096
/// elements. iota stays an index: it costs less than the memory of its literal. Says how many nodes.
int fold_constants(ir::Function&);

}  // namespace gradc::passes
