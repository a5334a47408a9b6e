// Sums over all places of all samples, such as the statistics of a batch: first within each sample, by whoever has computed the sample just now (the kernel that sums
// is in its strand), then over the samples, a small kernel.
#pragma once
#include "ir/builder.h"

namespace gradc::passes {

/// A reduce_sum whose operand is the builder's already, over leading axes of which the first counts samples, in two sums, where that is worth it; else invalid.
/// Squared deviations from a mean that is itself such a sum become deviations from each sample's mean and those of these means (Chan, Golub and LeVeque,
/// "Updating formulae and a pairwise algorithm for computing sample variances", 1979): one visit to memory, and no cancellation.
ir::Value sum_by_samples(ir::Builder&, const ir::Node&);

}  // namespace gradc::passes
