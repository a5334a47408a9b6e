// The contract kernel: Form::contract to native code. See contract.cpp for its loops and contract_plan.h for its decisions.
#pragma once
#include <cstdint>
#include <string>

#include "ir/kernel.h"

namespace llvm {
class Function;
class Module;
}  // namespace llvm

namespace gradc::codegen {
struct ContractChoice;
struct Target;

/// A function of type gradc_kernel (runtime/image.h) in the module. Without a choice the model's.
llvm::Function* emit_contract(const ir::Kernel&, const std::string& symbol, llvm::Module&, const Target&, const ContractChoice* = nullptr);
/// Private scratch that each thread gives it.
int64_t contract_scratch_bytes(const ir::Kernel&, const Target&, const ContractChoice* = nullptr);

}  // namespace gradc::codegen
