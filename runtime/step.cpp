// Running an entry. A granule runs through all calls of its strand on one thread; contiguous ranges of granules belong to the same thread in
// every run, so that what it wrote is in its cache. A thread without granules takes some from the end of the others' ranges: who computes a
// granule never changes its bits, because granules depend on shapes alone. A phase with too little work for several threads is run by whoever
// finishes the one before it, the first and the last ones by the host without the others.
#include "runtime/step.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "runtime/layout.h"
#include "runtime/machine.h"

namespace gradc::runtime {

// Takes one granule of `owner`'s share of the phase that was opened as `epoch`, or gives -1. front: as the owner does. A thread may be so late that
// the phase is over: then its share is empty, or of a later epoch. What is there to take belongs to the phase that is open.
static int64_t take(const ResolvedStrand& strand, uint32_t epoch, int owner, int threads, bool front) {
  constexpr uint64_t field = (uint64_t(1) << Share::bits) - 1;
  std::atomic<uint64_t>& packed = strand.shares[owner].packed;
  uint64_t seen = packed.load(std::memory_order_relaxed);
  while (true) {
    uint64_t begin = (seen >> Share::bits) & field, end = seen & field;
    uint32_t behind = (epoch - uint32_t(seen >> 2 * Share::bits)) % Share::epochs;
    if (behind == 1) begin = uint64_t(strand.granules * owner / threads), end = uint64_t(strand.granules * (owner + 1) / threads);
    if (behind > 1 || begin >= end) return -1;
    uint64_t next = uint64_t(epoch) << 2 * Share::bits | (front ? begin + 1 : begin) << Share::bits | (front ? end : end - 1);
    // Relaxed: a granule's data is ordered by the opening of its phase and by the report that it is finished, not by this exchange.
    if (packed.compare_exchange_weak(seen, next, std::memory_order_relaxed)) return int64_t(front ? begin : end - 1);
  }
}

static bool loss_is_finite(const Port& loss) { return std::isfinite(read_number(loss.type.element, loss.data)); }

void Invoke::operator()(const ResolvedCall& call, int64_t begin, int64_t end) const {
  char* const* args = call.args;
  char* moved[most_arguments];
  if (!call.unit_bytes.empty()) {   // a local value begins with the first unit of the call
    for (size_t a = 0; a < call.unit_bytes.size(); ++a)
      moved[a] = call.unit_bytes[a] ? scratch + reinterpret_cast<uintptr_t>(args[a]) - uint64_t(begin) * call.unit_bytes[a] : args[a];
    args = moved;
  }
  char* own = scratch + call.local_bytes;
  if (!times) return call.run(args, begin, end, own);
  auto start = std::chrono::steady_clock::now();
  call.run(args, begin, end, own);
  times->nanoseconds[call.index] += uint64_t(std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
  ++times->granules[call.index];
}

static void run_granules(const ResolvedStrand& strand, int64_t first, int64_t count, const Invoke& invoke) {
  if (strand.block > 0) {
    const ResolvedCall& front = strand.calls.front();
    const int64_t last = std::min((first + count) * front.grain, front.units);
    for (int64_t begin = first * front.grain; begin < last; begin += strand.block) {
      const int64_t end = std::min(begin + strand.block, last);
      for (const ResolvedCall& call : strand.calls) invoke(call, begin * call.units / front.units, end * call.units / front.units);   // runs of units: granules are as many
    }
    return;
  }
  for (const ResolvedCall& call : strand.calls) {
    int64_t begin = first * call.grain, end = begin + count * call.grain;
    if (begin < call.units) invoke(call, begin, end < call.units ? end : call.units);
  }
}

// How many granules one thread that is alone takes at a time: kernels pack an operand once a call, so few long calls are better than many. A chain of
// calls is cut so that what they hand to each other stays in cache. Bits do not depend on it: no reduction crosses units.
static int64_t granules_at_once(const ResolvedStrand& strand) {
  constexpr int64_t chain_units = 128;
  if (strand.calls.size() == 1) return strand.granules;
  return chain_units > strand.calls.front().grain ? chain_units / strand.calls.front().grain : 1;
}

static void run_phase_alone(const ResolvedPhase& phase, const Invoke& invoke) {
  for (const ResolvedStrand& strand : phase.strands)
    for (int64_t first = 0, count = granules_at_once(strand); first < strand.granules; first += count)
      run_granules(strand, first, count < strand.granules - first ? count : strand.granules - first, invoke);
}

void run_alone(const Entry& entry, char* scratch) {
  FloatControl control;
  for (size_t i = 0; i < entry.phases.size(); i = entry.next(i)) run_phase_alone(entry.phases[i], {scratch, nullptr});
}

void StepRunner::add(ResolvedPhase& phase) {
  phase.number = uint32_t(phases_.size());
  phases_.push_back(&phase);
}

// With the number goes the epoch: a thread that reads them is late or not, but never has one of now and one of before.
void StepRunner::open(size_t index) {
  const ResolvedPhase& phase = entry_->phases[index];
  phase_ = index;
  phase.epoch = (phase.epoch + 1) % Share::epochs;
  open_.store(uint64_t(phase.epoch) << 32 | phase.number, std::memory_order_release);
}

int64_t StepRunner::take_part(int thread) {
  uint64_t open = open_.load(std::memory_order_acquire);
  const ResolvedPhase& phase = *phases_[uint32_t(open)];
  uint32_t epoch = uint32_t(open >> 32);
  int64_t taken = 0;
  for (int other = 0; other < threads(); ++other)
    for (const ResolvedStrand& strand : phase.strands)
      for (int64_t granule; (granule = take(strand, epoch, (thread + other) % threads(), threads(), other == 0)) >= 0; ++taken)
        run_granules(strand, granule, 1, invoke(thread));
  return taken;
}

// Phases from `first` on, on one thread: all of them, or up to one for several threads, which is returned. finite_ is false if the loss turns out not to be
// before one of them: then it ends there. (Loops hold no updates: it ends in none.)
size_t StepRunner::run_alone(int thread, size_t first, bool all) {
  for (size_t i = first;; i = entry_->next(i)) {
    if (i == entry_->first_update && entry_->guarded) finite_ = loss_is_finite(*entry_->loss);
    if (!finite_ || i == entry_->phases.size() || (!all && (i >= entry_->alone_from || !entry_->phases[i].serial))) return i;
    run_phase_alone(entry_->phases[i], invoke(thread));
  }
}

bool StepRunner::next(int thread) {
  next_ = run_alone(thread, phase_ == size_t(-1) ? 0 : entry_->next(phase_), false);
  if (!finite_ || next_ >= entry_->alone_from) return false;
  open(next_);
  return true;
}

bool StepRunner::run(const Entry& entry, CallTimes* times) {
  using Clock = std::chrono::steady_clock;
  bool choose = entry.parallel && threads() > 1;
  Clock::time_point start = choose || times ? Clock::now() : Clock::time_point();
  FloatControl control;
  entry_ = &entry;
  times_ = times;
  finite_ = true;
  phase_ = size_t(-1);
  next_ = 0;
  if (choose && entry.pace.together()) team_.run();
  if (finite_) run_alone(0, next_, true);
  if (choose || times) {
    int64_t nanoseconds = std::chrono::nanoseconds(Clock::now() - start).count();
    if (choose) entry.pace.took(nanoseconds);
    if (times) ++times->runs, times->wall_nanoseconds += uint64_t(nanoseconds);
  }
  return !entry.loss || loss_is_finite(*entry.loss);
}

bool all_finite(ElementType element, const char* data, int64_t count) {
  if (!info(element).is_float) return true;
  size_t bytes = info(element).bytes;
  for (int64_t i = 0; i < count; ++i)
    if (!std::isfinite(read_number(element, data + size_t(i) * bytes))) return false;
  return true;
}

const ResolvedCall* find_not_finite(const Entry& entry, char* scratch) {
  FloatControl control;
  const Invoke invoke{scratch, nullptr};
  for (size_t i = 0; i < entry.first_update; i = entry.next(i))
    for (const ResolvedStrand& strand : entry.phases[i].strands) {
      if (strand.block > 0) run_granules(strand, 0, strand.granules, invoke);   // what its calls hand to each other lives for a block alone
      for (const ResolvedCall& call : strand.calls) {
        for (int64_t begin = 0; strand.block == 0 && begin < call.units; begin += call.grain) invoke(call, begin, std::min(begin + call.grain, call.units));
        uint32_t outputs = call.source->outputs(), first = call.source->args()->size() - outputs;
        for (uint32_t o = 0; o < outputs && call.source->output_types() && o < call.source->output_types()->size(); ++o) {
          Type type = to_type(call.source->output_types()->Get(o));
          bool finite = true;
          if (!call.unit_bytes.empty() && call.unit_bytes[first + o] > 0) continue;
          for_runs(to_layout(call.source->output_types()->Get(o)), type.shape, [&](int64_t, int64_t stored, int64_t count) {
            finite = finite && all_finite(type.element, call.args[first + o] + size_t(stored) * info(type.element).bytes, count);
          });
          if (!finite) {
            entry.rewind();
            return &call;
          }
        }
      }
    }
  return nullptr;
}

void CallTimes::prepare(int thread_count, uint32_t calls) {
  threads.resize(size_t(thread_count));
  for (PerThread& thread : threads) thread.nanoseconds.assign(calls, 0), thread.granules.assign(calls, 0);
  runs = wall_nanoseconds = 0;
}

}  // namespace gradc::runtime
