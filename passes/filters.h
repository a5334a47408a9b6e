// Filters that convolutions read along another axis than they lie: turned round once, by a kernel of their own.
#pragma once
#include "ir/graph.h"

namespace gradc::passes {

/// A contract over windows whose other operand has the result's last index, but not as its own last one, as in the gradient of a convolution's input: the same over
/// that operand transposed, so that the lanes of its products are contiguous. Adds the transposition to the function; false if there is nothing to be done.
bool turn_filters(ir::Function&, ir::Node& contract);

/// Whether an operand is such a transposition: then it gets a buffer.
bool turned_filters(const ir::Function&, const ir::Node& contract, ir::Value operand);

}  // namespace gradc::passes
