// Random well-typed functions, for fuzzing passes and code generation against the reference evaluator.
//
// A function that amplifies rounding would tell nothing, so the generator knows for each value an interval that holds it and a
// first-order bound of what rounding may have done to it. It takes an operation only where it is defined and well conditioned:
// logarithms of what is surely positive, and discontinuous operations (comparisons, floor, argmax, casts to integers) only of
// values that every correct compiler computes to the same bits. The bounds at the results are the tolerances of a comparison.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "ir/evaluate.h"
#include "ir/graph.h"

namespace gradc::ir {

struct RandomGraphOptions {
  int operations = 14;            // about so many besides sources
  int64_t largest = 4096;         // elements of a tensor
  int64_t largest_work = 1 << 16;  // multiplications of a contract
  bool only_f32 = false;          // else now and then f64, integers, bools and a rounding to bf16
  bool precisions = false;        // contracts of precision bf16 and bf16x3, too
};

struct RandomGraph {
  Function function;                        // inputs x0, x1, ..., variables v0, ..., results r0, ... and perhaps writes
  std::map<std::string, double> tolerance;  // per result ("r0", "@v0"): bound of |difference| between two correct evaluations
};

/// The same seed and options give the same function, on every machine. Operations of kind gradient do not occur.
RandomGraph random_graph(uint64_t seed, const RandomGraphOptions& = {});

/// Values for all inputs and variables of a function: floats in [-1, 1], now and then multiples of 1/4 so that ties occur, i32 in
/// [-8, 8], i64 and u8 in [0, 8], bools. So many percent of the floats are NaN, which must reach the same elements of the results in
/// every correct evaluation.
Bindings random_bindings(const Function&, uint64_t seed, int nan_percent = 0);

/// Where two results differ by more than the tolerance (0 for those that have none), in words: "r0[3, 17]: 0.25 and 0.5 differ by
/// more than 1e-06"; "" if nowhere. Equal infinities and two NaNs do not differ.
std::string difference(const Bindings& expected, const Bindings& actual, const std::map<std::string, double>& tolerance);

}  // namespace gradc::ir
