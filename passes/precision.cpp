// to_f64: attributes name element types in sources and casts alone; all other types follow from the shape rules.
#include "passes/precision.h"

#include "ir/builder.h"

namespace gradc::passes {

void to_f64(ir::Function& f) {
  ir::Function wide;
  wide.name = f.name;
  ir::Builder b(wide);
  std::vector<ir::Value> map(f.size());
  for (uint32_t i = 0; i < f.size(); ++i) {
    ir::Node& node = f.nodes[i];
    for (ir::Value& operand : node.operands) operand = map[operand.id];
    if (node.attrs.has(ir::Attr::element) && ir::is_float(node.attrs.element(ir::Attr::element))) node.attrs.set(ir::Attr::element, ir::ElementType::f64);
    b.loc = node.loc;
    bool nothing = node.op == ir::Op::cast && wide.type(node.operands[0]).element == node.attrs.element(ir::Attr::element);
    map[i] = nothing ? node.operands[0] : b.make(node.op, node.operands, node.attrs);
  }
  wide.results = std::move(f.results);
  for (ir::Result& r : wide.results) r.value = map[r.value.id];
  f = std::move(wide);
}
}  // namespace gradc::passes
