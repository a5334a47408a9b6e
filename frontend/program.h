// What elaboration gives: the graph, and everything else that the model file says, in the form that the runtime reads.
#pragma once
#include "ir/graph.h"
#include "runtime/program_generated.h"

namespace gradc {

/// Functions of the module, by name:
///   init                    writes every parameter and state
///   init.OPT                writes optimizer OPT's slots (after init; may read parameters)
///   train.OPT               one step: reads the batch's fields as inputs [rows, ...] and scalars; results "loss" and writes
///                           with several steps: train.STEP.OPT
///   accumulate.OPT, apply.OPT   instead of train.OPT for `batch all` and `accumulate K`
///   validate                loss and reports with training = false; passes turn it into validate + validate.finish
///   export.NAME.ROWS        an export for a chunk of ROWS samples
/// Gradients are still `grad` nodes.
struct Program {
  ir::Module module;
  program::ProgramT image;   // data, trains, exports, hyperparameters; no entries yet
};

}  // namespace gradc
