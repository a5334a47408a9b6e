#pragma once
#include <vector>

#include "ir/types.h"

namespace gradc::ir {

/// Neighbouring axes of two shapes, as first and behind the last one, that have as many elements and so are each other's reshape.
struct ReshapeRun {
  size_t first, last;              // of one shape
  size_t other_first, other_last;  // of the other
};

/// The shortest such runs of two shapes with the same number of elements, more than none; axes of extent 1 belong to the run before them.
inline std::vector<ReshapeRun> reshape_runs(const Shape& one, const Shape& other) {
  std::vector<ReshapeRun> runs;
  for (size_t i = 0, k = 0; i < one.size() && k < other.size();) {
    ReshapeRun run{i, 0, k, 0};
    int64_t count = one[i++], other_count = other[k++];
    while (count != other_count) {
      if (count < other_count) count *= one[i++];
      else other_count *= other[k++];
    }
    while (i < one.size() && one[i] == 1) ++i;
    while (k < other.size() && other[k] == 1) ++k;
    run.last = i, run.other_last = k;
    runs.push_back(run);
  }
  return runs;
}

}  // namespace gradc::ir
