// The axes that a reduction sums over: `argmax` names one, the others a list.
#pragma once
#include <vector>

#include "ir/graph.h"

namespace gradc::ir {
inline std::vector<int64_t> reduced_axes(const Node& node) {
  return node.op == Op::argmax ? std::vector<int64_t>{node.attrs.integer(Attr::axis)} : node.attrs.integers(Attr::axes);
}
}  // namespace gradc::ir
