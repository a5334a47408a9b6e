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

/// Calls a kernel on behalf of one thread; counts its time if there is where to.
struct Invoke {
  char* scratch;
  CallTimes::PerThread* times;
  void operator()(const ResolvedCall& call, int64_t begin, int64_t end) const;
};

/// Runs entries on a team of its own.
class StepRunner : Stages {
 public:
  /// scratch: of each thread, as many bytes as the entry that takes most.
  StepRunner(std::vector<char*> scratch) : scratch_(std::move(scratch)), team_(int(scratch_.size()), *this) {}
  int threads() const { return team_.threads(); }
  char* scratch(int thread) const { return scratch_[size_t(thread)]; }
  /// Every phase that will be run gets its number from here, once.
  void add(ResolvedPhase& phase);
  /// Runs the entry. False: its loss is not finite; if the entry is guarded, no phase from first_update on was run. times: null, or where to count.
  bool run(const Entry& entry, CallTimes* times);

 private:
  int64_t take_part(int thread) override;
  int64_t parts() const override { return entry_->phases[phase_].granules; }
  bool next(int thread) override;
  void open(size_t phase);
  size_t run_alone(int thread, size_t first, bool all);
  Invoke invoke(int thread) const { return {scratch(thread), times_ ? &times_->threads[size_t(thread)] : nullptr}; }

  std::vector<char*> scratch_;
  std::vector<const ResolvedPhase*> phases_;   // by number
  alignas(64) std::atomic<uint64_t> open_{0};  // epoch 32 | number 32 of the open phase
  // Of the run; written before a phase is opened, read by who has a granule of it.
  const Entry* entry_ = nullptr;
  CallTimes* times_ = nullptr;
  size_t phase_ = 0;     // the open one, or the one before the first
  size_t next_ = 0;      // after the last phase that the team has run
  bool finite_ = true;   // the loss, as far as it was looked at
  Team team_;
};

/// Runs all phases of an entry that has no loss, on the calling thread, with a scratch of its own.
void run_alone(const Entry& entry, char* scratch);

/// Runs the phases before first_update one call after the other, looking at each call's float results. The first call with one that is not finite, or null.
const ResolvedCall* find_not_finite(const Entry& entry, char* scratch);

/// Whether all of `count` numbers are finite; integers always are.
bool all_finite(ElementType element, const char* data, int64_t count);

}  // namespace gradc::runtime
