// Reference evaluation: what a graph means, computed one operation at a time and as simply as possible. It is the oracle that
// passes and compiled code are compared with.
//
// Maps compute in the element type (bf16: in f32, then rounded), transcendental functions in f64 and then rounded. Contracts
// and reductions accumulate in f64 and round once. Integers wrap.
#pragma once
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/tensor.h"

namespace gradc::ir {

/// Values by name: inputs and results plainly, variables as "@name".
using Bindings = std::map<std::string, Tensor>;

/// The function's results, written variables under "@name". Needs every input and variable that it reads (see binding_error).
/// `grad` has no meaning here: expand gradients first.
Bindings evaluate(const Function&, const Bindings&);
/// The value of every node.
std::vector<Tensor> evaluate_nodes(const Function&, const Bindings&);
/// One operation that is no input or variable: for folding.
Tensor evaluate_node(const Node&, std::span<const Tensor* const> operands);
/// Which input or variable is missing or has another type, in words; "" if all are there.
std::string binding_error(const Function&, const Bindings&);

}  // namespace gradc::ir
