// An entry of the program, made ready to run: places resolved to pointers, ports by name, granules with owners. Resolved once when the
// model is created; a run allocates nothing.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "runtime/elements.h"
#include "runtime/image.h"
#include "runtime/pace.h"

namespace gradc::runtime {

struct Port {
  std::string name;
  Type type;
  size_t bytes = 0;
  char* data = nullptr;
};

/// A rank-0 input that the runtime keeps up to date: exactly one of the sources is set.
struct ScalarInput {
  std::string name;
  ElementType element;
  char* target;
  const double* real;
  const int64_t* integer;
};

/// Of a call with local ones.
constexpr size_t most_arguments = 64;

/// Writes a value, or that of its source, where the kernels read it.
void write_scalar(const ScalarInput& scalar, int64_t value);
void write_scalar(const ScalarInput& scalar);

struct ResolvedCall {
  gradc_kernel run;
  char* const* args;
  int64_t units, grain;
  uint32_t index;   // within the entry: the row of a profile
  const program::Call* source;
  uint64_t local_bytes = 0;                // of scratch, before what the kernel itself uses
  std::vector<uint64_t> unit_bytes = {};   // per argument that is local (args holds its offset in scratch): from unit to unit; empty if none is
};

// One thread's share of a strand: [begin, end) not yet taken, and the opening of the phase that it belongs to. The owner takes from the front,
// others from the back. A slot of the opening before means that nothing has been taken in this one, so nobody has to reset slots.
struct alignas(64) Share {
  static constexpr int bits = 22;   // of begin and of end; the rest is the epoch
  static constexpr uint32_t epochs = 1u << (64 - 2 * bits);
  std::atomic<uint64_t> packed{0};   // epoch | begin | end
};

struct ResolvedStrand {
  int64_t granules;
  int64_t block;   // units that go through all calls at a time; 0: a granule, or several
  std::vector<ResolvedCall> calls;
  std::unique_ptr<Share[]> shares;   // one per thread
};

struct ResolvedPhase {
  std::vector<ResolvedStrand> strands;
  bool serial = false;               // too little work, or one granule alone: one thread runs it
  int64_t granules = 0;              // of all strands
  uint32_t number = 0;               // among the phases of all entries
  mutable uint32_t epoch = 0;        // how often it was opened to several threads, modulo Share::epochs
};

// Phases [begin, end), so many times. `shifts`: arguments of their calls that are elsewhere in each round; back at the beginning when the loop is over.
struct ResolvedLoop {
  size_t begin, end;
  int64_t rounds;
  struct Shift {
    char** argument;
    int64_t stride;
    bool alternate;
    int64_t offset(int64_t round) const { return stride * (alternate ? round & 1 : round); }
  };
  std::vector<Shift> shifts = {};
  mutable int64_t round = 0;
};

struct Entry {
  std::string name;
  const program::Entry* source = nullptr;
  std::vector<Port> inputs;          // those that the caller fills: batch fields and such
  std::vector<ScalarInput> scalars;
  std::vector<Port> outputs;
  std::vector<ResolvedPhase> phases;
  std::vector<ResolvedLoop> loops;   // inner ones behind those around them
  size_t first_update = 0;           // = phases.size() where nothing is written
  const Port* loss = nullptr;        // output "loss"
  bool guarded = false;              // it is complete before the first update, which is left out if it is not finite
  bool parallel = false;             // some phase is worth several threads
  size_t alone_from = 0;             // none from here on, nor in a loop that goes back
  mutable Pace pace;                 // if so: whether they paid so far
  uint32_t calls = 0;
  double flops = 0, bytes = 0;
  std::vector<std::unique_ptr<char*[]>> args;   // what ResolvedCall::args points to

  const Port* input(std::string_view port) const;
  /// Rows from `valid` on are no samples to it; without that input every row counts.
  bool takes_fewer_rows() const;
  const Port* output(std::string_view port) const;
  /// The phase that is run after this one. Called when it is finished, by one thread; arguments of loops move on.
  size_t next(size_t phase) const;
  /// Ends all loops: arguments are where they were.
  void rewind() const;
  /// How often a run runs a phase.
  double rounds(size_t phase) const;
};

/// Seconds that a call takes on one core, roughly: for deciding what is worth several threads, not for results.
double estimate(double flops, double bytes);

}  // namespace gradc::runtime
