// The native function of a kernel while it is being written: its arguments as buffers that do not alias, and loops.
#pragma once
#include <llvm/IR/IRBuilder.h>

#include <functional>
#include <string>
#include <vector>

#include "codegen/target.h"
#include "ir/kernel.h"

namespace gradc::codegen {

using LlvmValue = llvm::Value*;
using LlvmBuilder = llvm::IRBuilder<>;

/// Memory of a tensor (or a part of scratch), with metadata that says what else it does not overlap.
struct Buffer {
  LlvmValue pointer = nullptr;
  ir::Type type;
  ir::Layout layout;
  llvm::MDNode* scope = nullptr;
  llvm::MDNode* others = nullptr;
  bool written = false;   // loads from buffers that nothing writes may move freely
};

class Frame {
 public:
  Frame(const ir::Kernel&, const std::string& symbol, llvm::Module&, const Target&);

  const ir::Kernel& kernel;
  const Target& target;
  llvm::Module& module;
  llvm::Function* function;
  LlvmBuilder builder;
  LlvmValue begin, end;         // units, i64
  Buffer scratch;               // bytes
  std::vector<Buffer> inputs;   // by number: body input "a3" is inputs[3]
  std::vector<Buffer> results;

  const Buffer& input(ir::Value node) const;
  /// A piece of scratch as a buffer.
  Buffer scratch_at(int64_t offset, ir::Type);

  LlvmValue number(int64_t value) { return builder.getInt64(value); }
  /// for (i = first; i < limit; i += step) body(i, carried). `carried` holds values before the loop, then those after it; body replaces them.
  /// Loops that run once by what is known become straight code.
  using Body = std::function<void(LlvmValue i, std::vector<LlvmValue>& carried)>;
  void loop(LlvmValue first, LlvmValue limit, int64_t step, std::vector<LlvmValue>& carried, const Body&);
  void loop(LlvmValue first, LlvmValue limit, int64_t step, const std::function<void(LlvmValue i)>& body);
  /// Code for where a condition holds.
  void when(LlvmValue condition, const std::function<void()>& body);
  /// Ends the function.
  llvm::Function* finish();
};

/// Adds what is known about aliasing to a load or a store of a buffer.
void describe_access(llvm::Instruction*, const Buffer&);

}  // namespace gradc::codegen
