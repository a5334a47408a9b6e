// A kernel by itself: its arguments and results in memory of its own, lying as the kernel expects them, and its code run granule by granule as a program's
// thread would run it. For measuring.
#pragma once
#include <memory>
#include <vector>

#include "codegen/contract_choice.h"
#include "codegen/llvm_module.h"
#include "codegen/target.h"
#include "ir/kernel.h"
#include "ir/tensor.h"
#include "runtime/image.h"

namespace gradc::codegen {

/// Memory for the buffers of a kernel, one after the other as in a program and in huge pages like there; all zero at first. Results that are written in
/// place share that of their argument.
class KernelMemory {
 public:
  explicit KernelMemory(const ir::Kernel&);
  void set(size_t argument, const ir::Tensor&);
  ir::Tensor result(size_t number) const;
  /// What a kernel is called with.
  char* const* places() const { return places_.data(); }

 private:
  struct Free {
    void operator()(char* p) const;
  };
  ir::Kernel kernel_;
  std::unique_ptr<char, Free> block_;
  std::vector<char*> places_;
};

/// The native code of a kernel, with scratch.
class NativeKernel {
 public:
  NativeKernel(const ir::Kernel&, const Target&, const ContractChoice* = nullptr);
  /// Computes all units.
  void run(const KernelMemory&) const;

 private:
  Jit jit_;
  gradc_kernel function_;
  int64_t units_, granule_;
  std::vector<char> scratch_;
  char* scratch_at_;
};

}  // namespace gradc::codegen
