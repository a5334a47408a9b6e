// Weights by name, in safetensors files and in checkpoints: one mechanism for `train --init`, for `load` in train blocks and for the C interface.
#pragma once
#include <string>
#include <vector>

#include "runtime/file.h"
#include "runtime/model.h"

namespace gradc::runtime {

struct StoredTensor {
  std::string name;
  Type type;
  const uint8_t* data;        // null: outside of the file
  std::string unknown_type;   // if this program has no such type
};
/// What a file holds; the tensors point into it.
struct StoredWeights {
  Bytes file;
  std::vector<StoredTensor> tensors;
};
Result<StoredWeights> read_safetensors(const std::string& path, Bytes file);
/// Parameters and states, the best ones if the checkpoint has them.
Result<StoredWeights> read_checkpoint_weights(const std::string& path, Bytes file);

/// All parameters and states, as a safetensors file.
Status save_weights(const std::string& path, Model& model);

/// Which weights are meant: FROM.rest in the file is INTO.rest in the model; "" stands for everything.
struct WeightMap {
  std::string into, from;
  bool partial = false;   // what is missing or of no use is told, not refused
};
/// Weights by name from a file of either form. Every parameter must be there, in its shape; states may be missing and then keep their values. What the model
/// has no use for is an error. f64 and bf16 are converted where the model holds f32. Nothing is changed if there is an error, or with `write` false.
/// The result says what a partial map left out, or is empty.
Result<std::string> load_mapped(const std::string& path, Model& model, const WeightMap& map, bool write = true);
Status load_weights(const std::string& path, Model& model);

}  // namespace gradc::runtime
