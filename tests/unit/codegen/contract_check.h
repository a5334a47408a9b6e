// What tests of contract kernels ask of each of them.
#pragma once
#include <random>
#include <vector>

#include "kernel_harness.h"

namespace gradc::codegen::test {

/// The reference evaluation's values on each of these targets, up to a tolerance for rounding, and the same bits however the units are split.
void check(const ir::Kernel&, std::mt19937&, const std::vector<Target>& on = targets(), double tolerance = 1);

/// Adam on the weight gradient: w, m and v (inputs a2 to a4) are read and written at the element that the tile computes.
std::vector<ir::Value> adam(ir::Builder&, ir::Value gradient);

/// Tiles are the innermost loops (between a label and the next jump back to it, without labels between) with at least so many products: they do not touch
/// the stack.
void check_tiles(const ir::Kernel&, const Target&, int products);

}  // namespace gradc::codegen::test
