// Runs a kernel's compiled code on tensors, and compares with the reference evaluation of its body.
#pragma once
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "codegen/contract_choice.h"
#include "codegen/llvm_module.h"
#include "codegen/target.h"
#include "ir/builder.h"
#include "ir/kernel.h"
#include "ir/tensor.h"
#include "runtime/image.h"

namespace gradc::codegen::test {

/// The targets that this machine runs.
std::vector<Target> targets();
/// Those that multiply in bf16; there may be none.
std::vector<Target> bf16_targets();

/// A kernel's native code.
class Compiled {
 public:
  Compiled(const ir::Kernel&, const Target&, const ContractChoice* = nullptr);
  /// The body's results, computed in calls for the units up to the first cut, up to the second, ..., up to the last unit. Buffers end
  /// (up to their 64-byte padding) at a page that must not be touched.
  std::vector<ir::Tensor> run(const std::vector<ir::Tensor>& inputs, std::vector<int64_t> cuts = {}) const;

 private:
  ir::Kernel kernel_;
  Jit jit_;
  gradc_kernel function_;
  int64_t scratch_bytes_;
};
/// Compiles and runs in two calls.
std::vector<ir::Tensor> run(const ir::Kernel&, const std::vector<ir::Tensor>& inputs, const Target&);
std::string assembly(const ir::Kernel&, const Target&);

/// Inputs of the kernel: floats uniform in [low, high], integers and bools small.
std::vector<ir::Tensor> random_inputs(const ir::Kernel&, uint32_t seed, double low, double high);
/// Where compiled code and reference evaluation differ on any target, or "".
std::string difference(const ir::Kernel&, const std::vector<ir::Tensor>& inputs);
/// The same for random inputs.
std::string difference(const ir::Kernel&, double low = -3, double high = 3);

/// Completes a kernel whose body, form, domain and outer are set: units, result names.
/// The largest difference, relative to the largest element of `wanted`; infinite where something is not a number.
double relative_error(const ir::Tensor& is, const ir::Tensor& wanted);

ir::Kernel finish(ir::Form, ir::Function body, ir::Shape domain, int64_t outer, const std::vector<ir::Value>& results, std::vector<int> in_place = {});
ir::Kernel finish_contract(ir::Function body, ir::Value hero, int64_t outer, const std::vector<ir::Value>& results, std::vector<int> in_place = {});

using Epilogue = std::function<std::vector<ir::Value>(ir::Builder&, ir::Value hero)>;
using OperandViews = std::function<std::pair<ir::Value, ir::Value>(ir::Builder&, ir::Value a, ir::Value b)>;
/// The kernel of an einsum whose indices have these extents. Results: what the epilogue makes of the hero, or the hero. With `views` operands are what that makes of
/// inputs whose indices are `letters`.
ir::Kernel contract_kernel(const std::string& spec, const std::map<char, int64_t>& extents, int64_t outer, ir::ElementType element = ir::ElementType::f32, const Epilogue& epilogue = {},
                           std::vector<int> in_place = {}, ir::Precision precision = ir::Precision::f32, const OperandViews& views = {}, std::pair<std::string, std::string> letters = {});

}  // namespace gradc::codegen::test
