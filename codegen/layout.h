// The layouts of a program's buffers, chosen once, after fusion and before the plan.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "codegen/target.h"
#include "ir/kernel.h"

namespace gradc::codegen {

/// An entry: a function prepared for fusion, and its kernels.
struct FusedEntry {
  const ir::Function* function;
  std::vector<ir::KernelCall>* calls;
};

/// Gives every argument and result of all kernels its layout. A variable has the same one in all entries; the result says which are not row-major.
std::map<std::string, ir::Layout> choose_layouts(const std::vector<FusedEntry>&, const Target&);

}  // namespace gradc::codegen
