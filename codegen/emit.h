// Kernels to LLVM functions: one emitter a form (ir/kernel.h).
#pragma once
#include <cstdint>
#include <string>

#include "codegen/target.h"
#include "ir/kernel.h"

namespace llvm {
class Function;
class Module;
}  // namespace llvm

namespace gradc::codegen {
struct ContractChoice;
class Frame;
class IndexSpace;

/// Adds the kernel's native function (gradc_kernel of runtime/image.h) to a module. A choice is for contracts, which take the model's without one.
llvm::Function* emit_kernel(const ir::Kernel&, const std::string& symbol, llvm::Module&, const Target&, const ContractChoice* = nullptr);
/// Bytes of private scratch that a thread needs to run it.
int64_t scratch_bytes(const ir::Kernel&, const Target&, const ContractChoice* = nullptr);

/// How its loops run, for dumps: "tiles of 14 rows x 2 vectors of 16, units are rows".
std::string schedule(const ir::Kernel&, const Target&, const ContractChoice* = nullptr);

// The emitters behind them; contract.h has that of contracts.
llvm::Function* emit_map(const ir::Kernel&, const std::string& symbol, llvm::Module&, const Target&);
llvm::Function* emit_row(const ir::Kernel&, const std::string& symbol, llvm::Module&, const Target&);
llvm::Function* emit_column(const ir::Kernel&, const std::string& symbol, llvm::Module&, const Target&);
llvm::Function* emit_pairs(const ir::Kernel&, const std::string& symbol, llvm::Module&, const Target&);
llvm::Function* emit_scatter(const ir::Kernel&, const std::string& symbol, llvm::Module&, const Target&);
/// The body of emit_map for kernels with a tile.
void emit_tiles(Frame&, IndexSpace&);
int64_t row_scratch_bytes(const ir::Kernel&, const Target&);

}  // namespace gradc::codegen
