#include "codegen/emit.h"

#include "codegen/contract.h"

namespace gradc::codegen {
namespace {
template <auto emit>
llvm::Function* without_choice(const ir::Kernel& kernel, const std::string& symbol, llvm::Module& module, const Target& target, const ContractChoice*) {
  return emit(kernel, symbol, module, target);
}
int64_t no_scratch(const ir::Kernel&, const Target&, const ContractChoice*) { return 0; }
int64_t row_scratch(const ir::Kernel& kernel, const Target& target, const ContractChoice*) { return row_scratch_bytes(kernel, target); }

struct Emitter {
  llvm::Function* (*emit)(const ir::Kernel&, const std::string& symbol, llvm::Module&, const Target&, const ContractChoice*);
  int64_t (*scratch_bytes)(const ir::Kernel&, const Target&, const ContractChoice*);
};
constexpr Emitter emitters[] = {   // in the order of ir::Form
    {without_choice<emit_map>, no_scratch},
    {without_choice<emit_row>, row_scratch},
    {without_choice<emit_column>, no_scratch},
    {without_choice<emit_pairs>, no_scratch},
    {emit_contract, contract_scratch_bytes},
    {without_choice<emit_scatter>, no_scratch},
};
const Emitter& emitter(const ir::Kernel& kernel) { return emitters[static_cast<size_t>(kernel.form)]; }
}  // namespace

llvm::Function* emit_kernel(const ir::Kernel& kernel, const std::string& symbol, llvm::Module& module, const Target& target, const ContractChoice* choice) {
  return emitter(kernel).emit(kernel, symbol, module, target, choice);
}
int64_t scratch_bytes(const ir::Kernel& kernel, const Target& target, const ContractChoice* choice) { return emitter(kernel).scratch_bytes(kernel, target, choice); }
}  // namespace gradc::codegen
