// Compiles one function in memory and runs it on given values, on one thread: the compiled side of every comparison with the
// reference evaluator (tests, fuzzing, `gradc opt --run --compiled`).
#pragma once
#include <map>
#include <string>
#include <vector>

#include "codegen/target.h"
#include "ir/evaluate.h"
#include "ir/kernel.h"
#include "runtime/program_generated.h"

namespace gradc::codegen {

/// Which phase of an entry is run next, and what a loop around it adds to a place: as the runtime does it.
class Rounds {
 public:
  explicit Rounds(const program::EntryT& entry) : entry_(entry), round_(entry.loops.size()) {}
  size_t phase() const { return phase_; }
  bool done() const { return phase_ == entry_.phases.size(); }
  void next();
  int64_t offset(const program::CallT&, size_t argument) const;

 private:
  const program::EntryT& entry_;
  std::vector<int64_t> round_;   // per loop
  size_t phase_ = 0;
};

/// Results as ir::evaluate gives them. `function` is what `calls` were fused from. `grain` > 0 forces granules of so many units. `layouts`: of variables
/// that are not row-major.
ir::Bindings execute(const ir::Function& function, std::vector<ir::KernelCall> calls, const ir::Bindings&, const Target&, int64_t grain = 0,
                     const std::map<std::string, ir::Layout>& layouts = {});

}  // namespace gradc::codegen
