// What a function does with the samples of a batch. A batch's fields are inputs whose axis 0 runs over samples; the analysis follows that
// axis through the graph: through permutations, reshapes that merge it with others, maps and contracts, to where it is reduced.
//
// Three uses: chunks that are not full (mask_samples), figures over a data set that is read in chunks (split_samples), and
// exports, where no sample may see another one (check_rows).
#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ir/graph.h"

namespace gradc::passes {

/// Inputs of these names have `rows` samples along axis 0; so have random sources that are keyed by the row.
struct Samples {
  std::vector<std::string> inputs;
  int64_t rows = 0;
};

/// A user's mistake, for a diagnostic.
struct SampleError {
  ir::Loc loc;
  std::string message;
};

/// Adds the input `valid` (i64 scalar: rows from there on are no samples) and makes reductions over samples leave those rows out: means divide by
/// `valid`, sums add 0, extrema take the other infinity. Nothing changes where valid = rows. Runs before gradients are expanded, so
/// that cotangents of those rows are zero. An error if samples are mixed in a way that has no such meaning.
std::optional<SampleError> mask_samples(ir::Function&, const Samples&);

enum class Combine : uint8_t { add, max, min };   // as in runtime/program.fbs

/// A function of scalar figures over all samples, cut at its reductions over samples.
struct Split {
  ir::Function accumulate;         // a chunk's inputs and `valid` -> r0, r1, ...: f64, or i64 for integers
  std::vector<Combine> combine;    // how each r is combined over chunks
  ir::Function finish;             // r0, r1, ... and `count` (f64: samples in all) -> the results; named "NAME.finish"
};
/// Masks, expands gradients and cuts. What does not depend on samples (penalties on weights) is computed in finish.
std::variant<Split, SampleError> split_samples(const ir::Function&, const Samples&);

/// For exports and augmentation: every result has its samples along axis 0 and depends, row by row, on the same row of the inputs alone.
/// place: "an export", for the message.
std::optional<SampleError> check_rows(const ir::Function&, const Samples&, std::string_view place);

}  // namespace gradc::passes
