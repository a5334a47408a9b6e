#include "codegen/emit.h"

#include "codegen/contract.h"

namespace gradc::codegen {
namespace {
int64_t no_scratch(const ir::Kernel&, const Target&) { return 0; }

struct Emitter {
  llvm::Function* (*emit)(const ir::Kernel&, const std::string& symbol, llvm::Module&, const Target&);
  int64_t (*scratch_bytes)(const ir::Kernel&, const Target&);
};
constexpr Emitter emitters[] = {   // in the order of ir::Form
    {emit_map, no_scratch},
    {emit_row, row_scratch_bytes},
    {emit_column, no_scratch},
    {emit_pairs, no_scratch},
    {emit_contract, contract_scratch_bytes},
};
const Emitter& emitter(const ir::Kernel& kernel) { return emitters[static_cast<size_t>(kernel.form)]; }
}  // namespace

llvm::Function* emit_kernel(const ir::Kernel& kernel, const std::string& symbol, llvm::Module& module, const Target& target) {
  return emitter(kernel).emit(kernel, symbol, module, target);
}
int64_t scratch_bytes(const ir::Kernel& kernel, const Target& target) { return emitter(kernel).scratch_bytes(kernel, target); }
}  // namespace gradc::codegen
