// Changing the element type of a whole function.
#pragma once
#include "ir/graph.h"

namespace gradc::passes {

/// Every floating-point type becomes f64: inputs, variables, constants and what follows from them. Integers and bools stay. Used
/// by the gradient check and by references that compiled code is compared with.
void to_f64(ir::Function&);

}  // namespace gradc::passes
