// A pass over one function: a plain function with a name and a reason. pipeline.cpp is the only place that orders them.
#pragma once
#include <span>
#include <string_view>

#include "ir/graph.h"

namespace gradc::passes {

struct Pass {
  std::string_view name;
  void (*run)(ir::Function&);
  std::string_view why;   // why it stands here in the pipeline
};

/// Every pass, by name, for `gradc opt --passes`.
std::span<const Pass> all_passes();

/// Replaces grad nodes by the nodes that compute the derivatives (innermost first), then removes mark and stop_gradient.
/// Stage "gradient" of `gradc dump`.
void expand_gradients(ir::Function&);

/// Rewrites, folding, CSE, DCE until nothing changes. Stage "optimized".
void optimize(ir::Function&);

}  // namespace gradc::passes
