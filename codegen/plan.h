// The plan of an entry: kernels in phases and granules, and a place in memory for every value. See plan.cpp for the rules.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "codegen/contract_choice.h"
#include "codegen/memory_plan.h"
#include "ir/kernel.h"
#include "runtime/program_generated.h"

namespace gradc::codegen {

/// The distinct kernels of a program: kernels that are equal up to the buffers they touch are compiled once.
class KernelTable {
 public:
  uint32_t add(const ir::Kernel&);
  const std::vector<ir::Kernel>& kernels() const { return kernels_; }
  const std::string& text(uint32_t index) const { return texts_[index]; }
  /// Made from the text: a kernel has the same name in every program, and so the same code.
  std::string symbol(uint32_t index) const;
  /// How a contract is emitted if not as the model chooses.
  void choose(uint32_t index, const ContractChoice& choice) { choices_[index] = choice; }
  const ContractChoice* choice(uint32_t index) const;

 private:
  std::vector<ir::Kernel> kernels_;
  std::vector<std::string> texts_;
  std::map<std::string, uint32_t> index_;
  std::map<uint32_t, ContractChoice> choices_;
};

/// Gives every variable of the module its place in the variables block. `layouts`: of those that are not row-major.
void place_variables(const ir::Module&, program::ProgramT&, const std::map<std::string, ir::Layout>& layouts = {});

/// What a plan decided, for dumps: the runtime is told the outcome alone.
struct EntryNotes {
  struct Call {
    ir::KernelCall call;
    std::vector<int> from;      // per argument: the call that computes it, or -1
    std::shared_ptr<const ir::Function> function;   // whose values these are: a loop's body; null: the entry's
  };
  struct Barrier {
    int later, earlier;         // calls
    std::string why;            // "reads all of its rows"
  };
  struct Buffer {
    ir::Value value;
    Lifetime life;
    uint64_t offset;
  };
  std::vector<Buffer> buffers;  // what lies in the arena
  std::vector<Call> calls;      // numbered phase by phase, strand by strand, as the entry lists them
  std::vector<std::vector<Barrier>> barriers;   // per phase: why it is not part of the one before
};

/// Plans one fused function and appends it to the program's entries. Variables must have been placed. Literals go to the
/// program's constants. Scratch is the caller's to fill in: emission knows it.
EntryNotes plan_entry(const ir::Module&, const ir::Function&, std::vector<ir::KernelCall>, KernelTable&, program::ProgramT&);

/// Units per granule: depends on the number of units alone, never on threads, so that bits do not.
int64_t grain(int64_t units);
int64_t grain(const ir::Kernel&);
/// Units of a call, if there are as many.
int64_t units_at_once(const ir::Kernel&);

}  // namespace gradc::codegen
