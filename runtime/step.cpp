// The step function. A granule runs through all calls of its strand on one thread; contiguous ranges of granules belong to the same thread in
// every run, so that what it wrote is in its cache. A thread without granules takes some from the end of the others' ranges: who computes a
// granule never changes its bits, because granules depend on shapes alone. Barriers stand between phases. A phase with too little work for several
// threads is run by whoever arrives last at the barrier before it, the first and the last ones by the host without the others.
#include "runtime/step.h"

#include <chrono>
#include <cmath>

#include "runtime/layout.h"
#include "runtime/machine.h"

namespace gradc::runtime {

static constexpr uint64_t field_mask = (1u << 24) - 1;
static uint64_t pack(uint64_t epoch, uint64_t begin, uint64_t end) { return epoch << 48 | begin << 24 | end; }

// Takes one granule of `owner`'s share, or gives -1. front: as the owner does.
static int64_t take(const ResolvedStrand& strand, uint64_t epoch, int owner, int threads, bool front) {
  std::atomic<uint64_t>& packed = strand.shares[owner].packed;
  uint64_t seen = packed.load(std::memory_order_relaxed);
  while (true) {
    uint64_t begin = (seen >> 24) & field_mask, end = seen & field_mask;
    if (seen >> 48 != epoch) begin = uint64_t(strand.granules * owner / threads), end = uint64_t(strand.granules * (owner + 1) / threads);
    if (begin >= end) return -1;
    uint64_t next = front ? pack(epoch, begin + 1, end) : pack(epoch, begin, end - 1);
    // Relaxed: a granule's data is ordered by the barriers around the phase, not by this exchange.
    if (packed.compare_exchange_weak(seen, next, std::memory_order_relaxed)) return int64_t(front ? begin : end - 1);
  }
}

static bool loss_is_finite(const Port& loss) { return std::isfinite(read_number(loss.type.element, loss.data)); }

namespace {
struct Context {
  const Entry& entry;
  char* const* scratch;
  CallTimes* times;
  int threads;
  uint64_t epoch;
  size_t begin, end;   // phases
};

struct Plain {
  char* scratch;
  void operator()(const ResolvedCall& call, int64_t begin, int64_t end) const { call.run(call.args, begin, end, scratch); }
};

struct Timed {
  char* scratch;
  CallTimes::PerThread& times;
  void operator()(const ResolvedCall& call, int64_t begin, int64_t end) const {
    auto start = std::chrono::steady_clock::now();
    call.run(call.args, begin, end, scratch);
    times.nanoseconds[call.index] += uint64_t(std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
    ++times.granules[call.index];
  }
};
}  // namespace

template <class Invoke>
static void run_granules(const ResolvedStrand& strand, int64_t first, int64_t count, Invoke invoke) {
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

template <class Invoke>
static void run_phase_alone(const ResolvedPhase& phase, Invoke invoke) {
  for (const ResolvedStrand& strand : phase.strands)
    for (int64_t first = 0, count = granules_at_once(strand); first < strand.granules; first += count)
      run_granules(strand, first, count < strand.granules - first ? count : strand.granules - first, invoke);
}

// Phases [first, last) on one thread; false if the loss turns out not to be finite on the way.
template <class Invoke>
static bool run_alone(const Entry& entry, size_t first, size_t last, Invoke invoke) {
  for (size_t i = first; i < last; ++i) {
    if (i == entry.first_update && entry.guarded && !loss_is_finite(*entry.loss)) return false;
    run_phase_alone(entry.phases[i], invoke);
  }
  return true;
}

// Phases [begin, end), of which the first and the last are shared.
template <class Invoke>
static void run_together(const Context& context, int thread, Barrier& barrier, Invoke invoke) {
  const Entry& entry = context.entry;
  for (size_t i = context.begin;;) {
    for (const ResolvedStrand& strand : entry.phases[i].strands)
      for (int64_t granule; (granule = take(strand, context.epoch, thread, context.threads, true)) >= 0;) run_granules(strand, granule, 1, invoke);
    for (int other = 1; other < context.threads; ++other)
      for (const ResolvedStrand& strand : entry.phases[i].strands)
        for (int64_t granule; (granule = take(strand, context.epoch, (thread + other) % context.threads, context.threads, false)) >= 0;)
          run_granules(strand, granule, 1, invoke);
    size_t next = i + 1;
    while (next < context.end && entry.phases[next].serial) ++next;
    if (next >= context.end) return;
    if (barrier.arrive()) {
      run_alone(entry, i + 1, next, invoke);
      barrier.open();
    }
    // Every thread reads the same number.
    if (entry.guarded && entry.first_update > i && entry.first_update <= next && !loss_is_finite(*entry.loss)) return;
    i = next;
  }
}

static void step(void* opaque, int thread, Barrier& barrier) {
  const Context& context = *static_cast<Context*>(opaque);
  if (context.times) return run_together(context, thread, barrier, Timed{context.scratch[thread], context.times->threads[size_t(thread)]});
  run_together(context, thread, barrier, Plain{context.scratch[thread]});
}

template <class Invoke>
static void run_entry(const Entry& entry, Team& team, char* const* scratch, CallTimes* times, Invoke invoke) {
  size_t begin = 0, end = entry.phases.size();
  FloatControl control;
  if (!entry.parallel || team.threads() == 1) {
    run_alone(entry, begin, end, invoke);
    return;
  }
  while (begin < end && entry.phases[begin].serial) ++begin;
  while (end > begin && entry.phases[end - 1].serial) --end;
  if (!run_alone(entry, 0, begin, invoke)) return;
  if (begin < end) {
    if (begin == entry.first_update && entry.guarded && !loss_is_finite(*entry.loss)) return;
    entry.epoch = (entry.epoch + 1) & 0xffff;
    Context context{entry, scratch, times, team.threads(), entry.epoch, begin, end};
    team.run(step, &context);
    // Left early: nothing after the look at the loss may run.
    if (entry.guarded && entry.first_update < end && !loss_is_finite(*entry.loss)) return;
  }
  run_alone(entry, end, entry.phases.size(), invoke);
}

bool run_entry(const Entry& entry, Team& team, char* const* scratch, CallTimes* times) {
  if (!times) {
    run_entry(entry, team, scratch, times, Plain{scratch[0]});
  } else {
    auto start = std::chrono::steady_clock::now();
    run_entry(entry, team, scratch, times, Timed{scratch[0], times->threads[0]});
    ++times->runs;
    times->wall_nanoseconds += uint64_t(std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
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
  for (size_t i = 0; i < entry.first_update; ++i)
    for (const ResolvedStrand& strand : entry.phases[i].strands)
      for (const ResolvedCall& call : strand.calls) {
        for (int64_t begin = 0; begin < call.units; begin += call.grain)
          call.run(call.args, begin, begin + call.grain < call.units ? begin + call.grain : call.units, scratch);
        uint32_t outputs = call.source->outputs(), first = call.source->args()->size() - outputs;
        for (uint32_t o = 0; o < outputs && call.source->output_types() && o < call.source->output_types()->size(); ++o) {
          Type type = to_type(call.source->output_types()->Get(o));
          bool finite = true;
          for_runs(to_layout(call.source->output_types()->Get(o)), type.shape, [&](int64_t, int64_t stored, int64_t count) {
            finite = finite && all_finite(type.element, call.args[first + o] + size_t(stored) * info(type.element).bytes, count);
          });
          if (!finite) return &call;
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
