// Attention, softmax(q k^T / sqrt(d)) v, without a matrix of scores in memory. See attention.cpp.
#pragma once
#include "ir/graph.h"

namespace gradc::passes {

/// Brings the products around scores into an order in which one kernel follows another row by row, and has the backward pass compute scores again where
/// they are larger than what they are made of. After `optimize`, which would merge the two. Returns how many scores it found.
int use_attention(ir::Function&);

}  // namespace gradc::passes
