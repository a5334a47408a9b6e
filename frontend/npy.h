// NPY files, NumPy's arrays on disk, for values on gradc's command line. (Compiled programs have a reader of their own in runtime/.)
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "ir/tensor.h"

namespace gradc {
/// The array, of its own element type; nothing, and why in words, if the bytes are not one that gradc can hold.
std::optional<ir::Tensor> read_npy(std::string_view bytes, std::string& why);
}  // namespace gradc
