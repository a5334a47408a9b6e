// How a kernel's units and its buffers' rows go together: what decides whether kernels share a strand, and what may lie in whose place.
#pragma once
#include <vector>

#include "ir/kernel.h"

namespace gradc::codegen {

/// Whether a call computes elements unit by unit at all.
bool by_units(const ir::Kernel&);

/// For each node of the body how many of its leading axes, flattened, are the unit wherever it is read: computing unit u takes row u of it alone. 0: none.
std::vector<int> rows_by_unit(const ir::Kernel&);
/// The same of argument and result number `index`.
int argument_rows(const ir::Kernel&, size_t index);
int result_rows(const ir::Kernel&, size_t index);

/// Whether the kernel reads argument `index` only at the element that it is about to write to a result of the same shape.
bool reads_in_place(const ir::Kernel&, size_t index);

}  // namespace gradc::codegen
