// How vector lanes run over the inner axes of a map or row kernel: trailing axes are merged into one lane axis as long as every
// access stays contiguous or constant along it, the axes before it are scalar loops.
#pragma once
#include <functional>
#include <vector>

#include "codegen/expression.h"

namespace gradc::codegen {

/// Vector width for a kernel whose lane axis has this extent: 64-bit elements halve it, short axes need less.
int lanes_for(const ir::Kernel&, const Target&, int64_t extent);

/// How many vectors a loop takes at a time: several hide the latency of short chains, long chains have enough to do and would only run out of registers.
int unroll_for(const ir::Kernel&, const Target&);
/// Functions that cost ten operations and more.
bool dear(ir::Op);

/// A root of a kernel and the place at which it is read.
struct Root {
  ir::Value value;
  IndexVector at;
  const ir::Layout* stored = nullptr;   // of the result that is stored there as well, if one is
};
/// Whether all that the roots read and what is stored lies contiguous or constant along the variable. Nodes in `known` are not looked into.
bool contiguous_along(const ir::Kernel&, std::vector<Root> roots, IndexSpace&, Atom variable, const std::vector<ir::Value>& known);

/// How one of the loops takes its positions: `together` neighbours at a time, which share what they read (the elements of a window), and those before `low` and from
/// `high` on in code of their own, so that conditions at borders are decided there and need not be asked in between.
struct Split {
  int64_t together = 1, low = 0, high = 0;   // high: where they begin
};
/// How to take the axes `loops` of which an element of all roots is at places(indices of the axes), with a lane variable in it.
std::vector<Split> splits_for(const ir::Kernel&, IndexSpace&, const ir::Shape& loops, const std::function<std::vector<Root>(const IndexVector&)>& roots);

/// Where the conditions of pads change along the lane axis at whole vectors, at 128, 256 and 384 of the four gates of an LSTM, whose gradients are padded and added up: in the pieces
/// in between they are decided, so that only what is there is computed. roots: as above; the end is the last.
std::vector<int64_t> pieces_for(const ir::Kernel&, IndexSpace&, const Index& lane, const std::vector<Root>& roots);

/// One vector of lanes: where its first lane is, flattened over the inner axes, and which lanes exist.
struct Chunk {
  Index position;
  LlvmValue mask;
};

class Nest {
 public:
  /// inner: the axes; those before `merged` become loops, taken as `splits` say if there are any. Up to `unroll` chunks at a time, unless more are together. Where
  /// the lane axis has no more than `straight` chunks there is no loop over them; if there are no loops at all, the body gets all of them at once. `pieces`: ends of parts of
  /// the lane axis that have loops of their own.
  Nest(Expression&, ir::Shape inner, size_t merged, int unroll, int64_t straight = 4, std::vector<Split> splits = {}, std::vector<int64_t> pieces = {});

  /// Whether all chunks are known at compile time and few: the body sees the same ones in each run, so values survive from run to run.
  bool straight() const { return straight_; }
  /// Chunks that the body gets at most.
  int unroll() const { return unroll_; }

  using Body = std::function<void(const std::vector<Chunk>&, std::vector<LlvmValue>& carried)>;
  void run(std::vector<LlvmValue>& carried, const Body&);
  /// Over positions [first, limit) of the merged axes alone, when there are no others. `first` is a multiple of unroll * lanes, so is `limit` unless it is
  /// the extent.
  void run(LlvmValue first, LlvmValue limit, std::vector<LlvmValue>& carried, const Body&);

 private:
  void add_chunks(std::vector<Chunk>&, const Index& lane, LlvmValue mask);
  void run_loops(size_t depth, std::vector<LlvmValue>& carried, const Body&);
  void run_places(size_t depth, IndexVector places, std::vector<LlvmValue>& carried, const Body&);
  void run_lanes(std::vector<LlvmValue>& carried, const Body&);
  int vectors_at_a_time() const;
  void run_piece(Range piece, LlvmValue first, LlvmValue groups, LlvmValue whole, LlvmValue limit, std::vector<LlvmValue>& carried, const Body&);

  Expression& e_;
  ir::Shape loops_;
  std::vector<Split> splits_;      // per loop
  std::vector<int64_t> pieces_;    // of the lane axis: where each ends
  int64_t extent_;   // of the lane axis
  int unroll_;
  bool straight_;
  std::vector<IndexVector> places_;   // per loop: where the body is now
  std::vector<Chunk> lanes_;       // all vectors of the lane axis, if they are few
};

}  // namespace gradc::codegen
