// Whether an entry is worth several threads, decided from how long its runs take. Nobody can know that beforehand: a message between two cores costs
// 130 ns or 360, as they lie, another program may have one of them, and a virtual machine's cores move while a training runs. Results do not
// depend on the number of threads, so a run may be tried either way.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>

namespace gradc::runtime {

class Pace {
 public:
  /// Whether the next run is one for all threads.
  bool together() const { return trial() ? trial_together() : together_; }

  /// How long the run took that together() was asked for.
  void took(int64_t nanoseconds) {
    if (trial()) return try_run(nanoseconds);
    late_ = together_ && nanoseconds > alone_ ? late_ + 1 : 0;
    since_ += nanoseconds;
    if (++run_ >= period_ || late_ >= runs || (!together_ && since_ >= patience)) begin_trial();
  }

  /// A trial is so many runs together and so many alone. The first ones of each do not count: what the threads hold in their caches changes hands.
  static constexpr int runs = 6, uncounted = 2;
  /// From one trial to the next it is so many runs at first, and twice as many whenever a trial confirms the one before.
  static constexpr int64_t shortest = 128, longest = 4096;
  /// Nanoseconds. A run that takes so long is one for all threads: what they lose at barriers is little beside it, and trying it alone costs much.
  static constexpr int64_t is_long = 4'000'000;
  /// Nanoseconds after which runs alone are doubted: something else may have had the other cores during the trial.
  static constexpr int64_t patience = 1'000'000'000;

 private:
  bool trial() const { return tried_ < 2 * runs; }
  bool trial_together() const { return tried_ < runs; }

  void begin_trial() { tried_ = late_ = 0, sum_[0] = sum_[1] = worst_[0] = worst_[1] = 0; }

  void try_run(int64_t nanoseconds) {
    int way = tried_ / runs;   // 0: together
    if (tried_++ % runs >= uncounted) sum_[way] += nanoseconds, worst_[way] = std::max(worst_[way], nanoseconds);
    if (tried_ == runs && (sum_[0] - worst_[0]) / (runs - uncounted - 1) >= is_long) return settle(true, std::numeric_limits<int64_t>::max());
    if (trial()) return;
    // Without the slowest of each: something else may have run meanwhile.
    int64_t together = sum_[0] - worst_[0], alone = sum_[1] - worst_[1];
    settle(together < alone, alone / (runs - uncounted - 1));
  }

  void settle(bool together, int64_t alone) {
    period_ = together == together_ && period_ > 0 ? std::min(2 * period_, longest) : shortest;
    together_ = together;
    alone_ = alone;
    tried_ = 2 * runs;
    run_ = since_ = 0;
  }

  bool together_ = true;
  int tried_ = 0, late_ = 0;
  int64_t run_ = 0, since_ = 0, period_ = 0, alone_ = 0;
  int64_t sum_[2] = {}, worst_[2] = {};
};

}  // namespace gradc::runtime
