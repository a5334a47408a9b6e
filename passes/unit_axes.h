// Axes of extent 1 leave the arithmetic.
#pragma once
#include "ir/graph.h"

namespace gradc::passes {

/// Computes maps, reductions, broadcasts and transpositions without axes of extent 1; reshapes stand where others need them. So values that differ in such axes alone
/// have one shape, and share kernels.
void drop_unit_axes(ir::Function&);

}  // namespace gradc::passes
