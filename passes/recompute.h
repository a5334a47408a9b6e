// Memory for time: activations that the backward pass computes again instead of reading them. See recompute.cpp for the rules.
#pragma once
#include "ir/graph.h"

namespace gradc::passes {

struct Segments {
  int all = 1, again = 0;   // the first `again` of them are computed again; less than all
  bool operator==(const Segments&) const = default;
};

/// Cuts the forward pass of a training step (what its result "loss" needs) into segments that hold about equally many bytes for the backward pass. The backward
/// pass goes through them one by one, from the last to the first, and computes the first `again` of them again where it comes to them. Values keep their bits as
/// far as fusion cuts kernels as before: a product and its sum in one kernel are rounded once, in two kernels twice (a last bit in networks with layer norms).
/// Runs on optimized functions, last: nothing may merge a value with its second computation. Gives the segments that there are places for: one (and the function as
/// it was) where there is nothing to cut.
Segments recompute(ir::Function&, Segments wanted);

}  // namespace gradc::passes
