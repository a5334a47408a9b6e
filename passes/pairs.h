// Operands of contracts that are rounded to bf16 once instead of in each kernel, for each block of rows.
#pragma once
#include <optional>

#include "ir/graph.h"

namespace gradc::passes {

/// The matrix that a contract multiplies by vectors along the last index of its result: which operand, and which of its axes is summed. Nothing if that
/// operand has other indices, too.
struct LaneMatrix {
  size_t operand;
  int64_t summed;
};
std::optional<LaneMatrix> lane_matrix(const ir::Function&, const ir::Node& contract);

/// The axis along which a matrix that is cast to bf16 is stored in pairs: the one that all its readers, which are contracts by its rows or columns, sum
/// over. Nothing if it has other readers or is no such matrix.
std::optional<int64_t> paired_axis(const ir::Function&, ir::Value cast, const std::vector<ir::Value>& users);

/// Casts the lane matrices of contracts of precision bf16 explicitly, where at least `least_rows` rows are multiplied by them: each contract rounds what
/// it multiplies, so nothing changes but who does it. The casts become kernels of their own (Form::pairs).
void share_roundings(ir::Function&, int64_t least_rows = 128);

}  // namespace gradc::passes
