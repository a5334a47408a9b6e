// Tiles of map kernels that contain small transforms.
#pragma once
#include "ir/kernel.h"

namespace gradc::passes {

/// How many neighbours of each axis of the domain a map kernel computes at once, so that every small transform in it (ir/kernel.h) knows its factors
/// and what the elements of a tile share is computed once. Empty if there is none in it.
ir::Shape choose_tile(const ir::Kernel&);

}  // namespace gradc::passes
