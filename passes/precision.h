// How exactly a whole function computes.
#pragma once
#include "ir/graph.h"

namespace gradc::passes {

/// Every floating-point type becomes f64: inputs, variables, constants and what follows from them. Integers and bools stay. Used
/// by the gradient check and by references that compiled code is compared with.
void to_f64(ir::Function&);

/// Gives contracts a precision, before gradients are expanded (those of a contract inherit it): f32 contracts that sum 64 terms or more and that a
/// later contract depends on. So the products inside a network are cheap, while the last ones (logits, critics' scores), all sums and statistics
/// and what an optimizer carries stay in f32. The rule looks at no number of rows: a sample has the same bits alone and in a batch.
void set_precision(ir::Function&, ir::Precision);

}  // namespace gradc::passes
