// Sums of products that share a factor which is known last. See factors.cpp.
#pragma once
#include "ir/graph.h"

namespace gradc::passes {

/// g a + g b becomes g (a + b) where g is computed after a and b. After `optimize`. Returns how many sums changed.
int take_out_late_factors(ir::Function&);

}  // namespace gradc::passes
