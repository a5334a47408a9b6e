// Graphs as drawings: in the language of Graphviz, and as SVG where its program `dot` is installed.
//
// A node says what it computes and from what, its type and its source line; its colour is its kind. Constants, and views of
// them, stand inside their users. Kernels are boxes around what they compute.
#pragma once
#include <span>
#include <string>

#include "ir/graph.h"
#include "ir/kernel.h"

namespace gradc::ir {

/// Without a module, locations are left out.
std::string dot(const Function&, const Module* = nullptr);
/// A box for each function.
std::string dot(const Module&);
/// A function as the kernels that compute it.
std::string dot(const Function&, std::span<const KernelCall>, const Module* = nullptr);

/// A drawing laid out, or in one sentence why not.
struct Svg {
  std::string text, error;
};
Svg svg(const std::string& dot_text);

}  // namespace gradc::ir
