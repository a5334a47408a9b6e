// What `gradc opt` and `gradc dump` share: choosing functions of a module, showing it, running it with the reference evaluator.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace gradc {
class Diagnostics;
namespace command {

/// Drops all functions but this one and the variables that it does not touch; "" keeps everything. A diagnostic if there is none.
bool keep_only(ir::Module&, const std::string& function, Diagnostics&);

/// The module as text, or as a drawing: "text", "dot", "svg". Nothing after a diagnostic.
std::optional<std::string> show(const ir::Module&, const std::string& format, Diagnostics&);

/// Evaluates every function and prints its results. A value comes from `inputs` ("name=file.npy", "name=3.5", "@variable=..."), else from
/// an `init` function before, else it is drawn from `seed` and the name. Scalars that the runtime fills in have their usual first values.
/// False after a diagnostic.
bool run_functions(const ir::Module&, const std::vector<std::string>& inputs, int64_t seed, Diagnostics&);

}  // namespace command
}  // namespace gradc
