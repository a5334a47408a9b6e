// Weights by name in safetensors files (https://github.com/huggingface/safetensors): a length, a JSON header, the tensors' bytes.
#pragma once
#include <string>

#include "runtime/model.h"

namespace gradc::runtime {

/// All parameters and states.
Status save_weights(const std::string& path, Model& model);
/// Every parameter must be there, in its shape; states may be missing and then keep their values. What the model has no use for is an error. f64 and bf16 are
/// converted where the model holds f32. Nothing is changed if there is an error.
Status load_weights(const std::string& path, Model& model);

}  // namespace gradc::runtime
