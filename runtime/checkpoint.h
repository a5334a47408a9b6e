// Checkpoints: all that training needs to go on to the same bits, in one file that is whole at every moment.
#pragma once
#include <limits>
#include <string>
#include <vector>

#include "runtime/model.h"

namespace gradc::runtime {

/// Where training stands.
struct TrainState {
  struct Step {
    std::string name, optimizer;
    int64_t executions = 0, updates = 0;
    double loss_sum = 0;            // of the epoch so far
  };
  int64_t stage = 0, epoch = 0, cycle = 0, cycles = 0;
  std::vector<Step> steps;          // of the current block
  int64_t epochs = 0, step_limit = 0;
  bool shuffle = true;
  double val_loss = std::numeric_limits<double>::infinity(), best_loss = std::numeric_limits<double>::infinity();
  int64_t epochs_without_better = 0;
  int64_t loss_count = 0;           // of losses in each loss_sum
  std::vector<char> best;           // copy of all parameters and states in order; empty: none
};

/// The variables that belong in a checkpoint: parameters, states, and what the chosen optimizers write.
std::vector<const Variable*> saved_variables(Model& model, const std::vector<const program::Optimizer*>& chosen);

Status save_checkpoint(const std::string& path, Model& model, const TrainState& state, const std::vector<const program::Optimizer*>& chosen);

enum class Purpose { resume, inference };
/// Loads variables, hyperparameters and seed into the model. Nothing is changed if there is an error. inference: the best weights if the checkpoint has
/// them; resume: the last ones and the optimizers' slots.
Result<TrainState> load_checkpoint(const std::string& path, Model& model, Purpose purpose);

/// Parameters and states as one run of bytes, and back.
std::vector<char> copy_weights(Model& model);
void restore_weights(Model& model, const std::vector<char>& weights);

}  // namespace gradc::runtime
