// A kernel: one function of native code that computes a fused piece of the graph over a range of units.
//
// Its meaning is a small graph of its own (`body`): inputs a0, a1, ... are buffers, results r0, r1, ... are stored. So a
// kernel prints, parses, verifies and evaluates like any graph, and two kernels with the same body and schedule are one.
// How its buffers lie in memory is beside the body: each argument and result has a layout, row-major unless said otherwise.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/layout.h"

namespace gradc::ir {

/// How a body becomes loops.
enum class Form : uint8_t {
  // map: every result has the shape `domain` (a reshape of the domain at most). Vector lanes along the last axis. With `tile`, so many neighbours at once:
  // what they read together is loaded once, and sums with constant factors know theirs (contracts with a small literal, `small_transform`).
  map,
  // row: `domain` = outer axes, then inner axes. Reductions are over all inner axes; results have the shape of the outer axes
  // (row values, perhaps with axes of extent 1 or a reshape between) or of the whole domain. One row after another, in one visit: reductions in
  // dependency order, then full-size results. Lanes along the inner axes.
  row,
  // column: reductions over the axes from `kept` to `outer`; results have the shape of the others. Lanes along the last axis. With kept = 0 a unit is a block of
  // columns; else units are the kept axes, so that such a sum follows whoever computes its operand through a granule.
  column,
  // pairs: the one result is a matrix rounded to bf16 as contracts multiply it: its layout puts neighbours along one axis next to each other and
  // blocks of 16 of the other axis side by side (`paired` in layout.h). Units are rows.
  pairs,
  // contract: the hero is a contract. Its operands are inputs seen through views and casts; results are maps of the hero and of
  // other inputs, with the hero's shape.
  contract,
  // scatter: the hero is a scatter_add, the one result. Units are its rows, the axes up to the one that indices count: a call walks all indices and adds the updates
  // of its own rows.
  scatter,
  // loop: no kernel at all, but a loop over kernels (LoopCall). `domain` is the number of rounds.
  loop,
};

struct Kernel {
  Form form = Form::map;
  Function body;
  Value hero;              // contract, scatter: that node; else invalid
  Shape domain;            // map, row, column: as above; contract: the hero's result shape
  int64_t outer = 0;            // row, column: number of leading axes (of column: with the kept ones); map, scatter: number of leading axes that units count; contract: axes
                                // of the result that units count (batch indices and the row index)
  int64_t units = 1;            // extent of the partition index: a kernel call computes units [begin, end)
                                //   map, row, pairs, contract, scatter: the leading `outer` axes, flattened; if map has outer = 0: blocks of
                                //   `flat_block` elements of the flattened domain, or the rows that start there if an access is not flat
                                //   contract with lane_block > 0: blocks of that many elements of the result's last axis; outer = 0 then
                                //   column: blocks of `column_block` columns of the flattened axes behind the summed ones; the `kept` axes, flattened, if there are any
                                //   map with a tile: the leading `outer` axes' tiles, flattened
  int64_t kept = 0;             // column: leading axes that are not summed
  int64_t lane_block = 0;       // contract
  int64_t parts = 0;            // contract: units count the summed index; the result's `outer` first indices say in which of so many equal parts of it a sum is.
                                //   The first call of a part writes, later ones, for what follows, add
  int64_t block = 0;            // units that a strand takes through all its calls at a time; 0: a granule
  Shape tile = {};              // map: neighbours along each axis of the domain that are computed at once; empty: one of each
  std::vector<int> in_place;    // per result: the input that shares its buffer, or -1. That input is read at the place that is written alone
  // Layouts of buffers a0, a1, ... and r0, r1, ..., in the shapes of the body; row-major from where the lists end.
  std::vector<Layout> argument_layouts, result_layouts;
  std::vector<int> unaligned = {};   // of arguments and then results: those that begin anywhere, not at a multiple of 64 bytes (slices of a loop, odd rows of a block)
  const Layout& argument_layout(size_t) const;
  const Layout& result_layout(size_t) const;

  static constexpr int64_t flat_block = 1024;
  static constexpr int64_t column_block = 64;
  static constexpr int64_t unit_alignment = 8;   // every call begins at a multiple of that: where blocks of rows may be cut
};

/// A kernel and the values of a function that it reads and computes. Values that no call computes are inputs, variables
/// and literals.
struct LoopCall;

struct KernelCall {
  Kernel kernel;
  std::vector<Value> arguments;   // of body inputs a0, a1, ...
  std::vector<Value> results;     // of body results r0, r1, ...
  std::vector<Value> waits = {};   // results of other calls that must be complete before this one begins, though it does not read them (`after`)
  std::vector<std::string> cuts = {};   // per argument: if another call computes it, why the two are not one kernel ("reduce_max reduces along a row, ...")
  std::shared_ptr<LoopCall> loop = {};      // form loop: `arguments` are the operands of a scan, `results` those of its results that somebody reads
};

/// The kernels of a loop's round. First values of carries, and new ones, are computed into places of their own: each is the result of one call, which nobody
/// else reads by that name; only an output may be a carry itself, as the round begins or as it ends.
struct LoopCall {
  Function body;                      // as fusion has prepared it
  std::vector<KernelCall> calls;
  std::vector<int64_t> results;       // per result of the call: which result of the body
  int64_t length, carries, slices;
  bool backward;
};

/// A contract with a literal of few elements: a short sum with known factors for each element, computed like a map where it is read. Zero factors are
/// left out. Says which operand the literal is.
std::optional<size_t> small_transform(const Function&, const Node&);

/// The number of an input of a body: "a12" is 12.
size_t argument_number(const Node& input);

/// "contract 128x256x784 + add + max": for profiles and dumps.
std::string describe(const Kernel&);
/// The kernel as text: schedule in a comment, then the body. Equal texts are equal kernels (locations are left out).
std::string key(const Kernel&);

}  // namespace gradc::ir
