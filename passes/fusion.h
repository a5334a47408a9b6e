// Fusion: a function becomes a list of kernels. See fusion.cpp for the rules.
#pragma once
#include <vector>

#include "ir/kernel.h"

namespace gradc::passes {

/// Rewrites reductions into the forms that kernels have: over trailing axes (rows) or over leading axes (columns), and sums
/// over everything in two steps when they are large, so that threads can share them. Makes sites of random numbers data. Gives every written result a value of
/// its own (a copy is an identity reshape).
void prepare_for_fusion(ir::Function&);

/// Kernels in an order in which operands come first. Every function result that is not an input or a variable itself is a
/// result of some call. `function` must have gone through prepare_for_fusion.
std::vector<ir::KernelCall> fuse(const ir::Function& function);

/// How an operand reads a value that is not a view: for each axis of `base`, the axis of the reader it follows, or -1 for an
/// extent of 1. `exact` is false if some view on the way is more than a permutation, a broadcast or a change of unit extents.
struct Access {
  ir::Value base;
  bool exact = true;
  std::vector<int> axes;
};
Access trace(const ir::Function&, ir::Value operand);

}  // namespace gradc::passes
