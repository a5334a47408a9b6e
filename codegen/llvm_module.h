// LLVM as gradc uses it: a module a kernel, a short list of passes (the emitters write the loops and vectors that they
// want; the generic -O2 would undo them), objects, assembly, and a JIT for tests and `gradc run`.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "codegen/target.h"

namespace llvm {
class Function;
class LLVMContext;
class Module;
}  // namespace llvm

namespace gradc::codegen {

/// A module with its own context: different ones may be built and compiled by different threads.
struct LlvmModule {
  LlvmModule(const std::string& name, const Target&);
  LlvmModule(LlvmModule&&) noexcept;
  LlvmModule& operator=(LlvmModule&&) noexcept;
  ~LlvmModule();
  llvm::Module& operator*() const { return *module; }
  llvm::Module* operator->() const { return module.get(); }

  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> module;
};

/// Gives a function of native code the attributes that all need: the target's features, no unwinding, denormals as the thread has them.
void set_attributes(llvm::Function&, const Target&);

/// Verifies (CHECKs), runs the passes.
void optimize(llvm::Module&, const Target&);

/// All that object code depends on, of a module that is not optimized yet: equal contents give equal objects.
std::string object_content(const llvm::Module&, const Target&);

/// Object code (ELF, position independent, small functions apart) of an optimized module.
std::vector<char> emit_object(llvm::Module&, const Target&);
std::string emit_assembly(llvm::Module&, const Target&);
std::string print(const llvm::Module&);

/// Runs object code in this process. What it does not define (libm) is looked up in the process.
class Jit {
 public:
  Jit();
  ~Jit();
  void add(const std::vector<char>& object);
  void* lookup(const std::string& symbol);   // CHECKs that it is there
  template <typename F>
  F lookup(const std::string& symbol) { return reinterpret_cast<F>(lookup(symbol)); }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gradc::codegen
