// Compiles one function in memory and runs it on given values, on one thread: the compiled side of every comparison with the
// reference evaluator (tests, fuzzing, `gradc opt --run --compiled`).
#pragma once
#include <map>
#include <string>
#include <vector>

#include "codegen/target.h"
#include "ir/evaluate.h"
#include "ir/kernel.h"

namespace gradc::codegen {

/// Results as ir::evaluate gives them. `function` is what `calls` were fused from. `grain` > 0 forces granules of so many units. `layouts`: of variables
/// that are not row-major.
ir::Bindings execute(const ir::Function& function, std::vector<ir::KernelCall> calls, const ir::Bindings&, const Target&, int64_t grain = 0,
                     const std::map<std::string, ir::Layout>& layouts = {});

}  // namespace gradc::codegen
