// Running an entry: step(context, thread, threads), the same code on every thread.
#pragma once
#include <vector>

#include "runtime/entry.h"
#include "runtime/team.h"

namespace gradc::runtime {

/// Time per call of an entry, summed over threads; filled while a profile is taken.
struct CallTimes {
  struct alignas(64) PerThread {
    std::vector<uint64_t> nanoseconds, granules;
  };
  std::vector<PerThread> threads;
  uint64_t runs = 0, wall_nanoseconds = 0;
  void prepare(int thread_count, uint32_t calls);
};

/// Runs the entry. False: its loss is not finite; if the entry is guarded, no phase from first_update on was run. times: null, or where to count.
bool run_entry(const Entry& entry, Team& team, char* const* scratch, CallTimes* times);

/// Runs the phases before first_update one call after the other, looking at each call's float results. The first call with one that is not finite, or null.
const ResolvedCall* find_not_finite(const Entry& entry, char* scratch);

/// Whether all of `count` numbers are finite; integers always are.
bool all_finite(ElementType element, const char* data, int64_t count);

}  // namespace gradc::runtime
