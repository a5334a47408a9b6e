// For tests of passes: random values for a function's arguments, and whether two functions have the same values.
#pragma once
#include "ir/evaluate.h"

namespace gradc::passes {

/// Values for all inputs and variables: floats in [-2, 2] and not near 0, integers 0 to 3.
ir::Bindings random_arguments(const ir::Function&, uint64_t seed);

/// Both give the same results for the same arguments, up to the relative tolerance (and NaN where the other one has NaN).
void check_same_values(const ir::Function& left, const ir::Function& right, uint64_t seed, double tolerance);

}  // namespace gradc::passes
