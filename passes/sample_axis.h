// Where samples run in each value of a function: the analysis behind samples.h.
#pragma once
#include <optional>
#include <vector>

#include "passes/samples.h"

namespace gradc::passes {

/// Along `axis`, of extent outer * rows * inner, the sample of position i is (i / inner) % rows. axis -1: the same for all samples.
struct SampleAxis {
  int64_t axis = -1, outer = 1, inner = 1;
  bool runs() const { return axis >= 0; }
  bool operator==(const SampleAxis&) const = default;
};

struct SampleAxes {
  std::vector<SampleAxis> of;                // by node
  std::vector<bool> reduces;                 // by node: sums, or the like, over samples
  std::optional<SampleError> mixed;          // the first node that mixes samples in another way
};
SampleAxes find_sample_axes(const ir::Function&, const Samples&);

}  // namespace gradc::passes
