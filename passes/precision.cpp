// to_f64: attributes name element types in sources and casts alone; all other types follow from the shape rules.
// set_precision: an attribute of contracts.
#include "passes/precision.h"

#include "ir/builder.h"
#include "ir/loop.h"

#include <algorithm>

namespace gradc::passes {

void to_f64(ir::Function& f) {
  ir::for_bodies(f, to_f64);
  ir::Function wide;
  wide.name = f.name;
  ir::Builder b(wide);
  std::vector<ir::Value> map(f.size());
  for (uint32_t i = 0; i < f.size(); ++i) {
    ir::Node& node = f.nodes[i];
    for (ir::Value& operand : node.operands) operand = map[operand.id];
    if (node.attrs.has(ir::Attr::element) && ir::is_float(node.attrs.element(ir::Attr::element))) node.attrs.set(ir::Attr::element, ir::ElementType::f64);
    if (node.op == ir::Op::contract) node.attrs = ir::contract_attrs(node.attrs.text(ir::Attr::spec), ir::Precision::f32);
    b.loc = node.loc;
    bool nothing = node.op == ir::Op::cast && wide.type(node.operands[0]).element == node.attrs.element(ir::Attr::element);
    map[i] = nothing ? node.operands[0] : b.make(node.op, node.operands, node.attrs);
  }
  wide.results = std::move(f.results);
  for (ir::Result& r : wide.results) r.value = map[r.value.id];
  f = std::move(wide);
}

namespace {
constexpr int64_t shortest_reduction = 64;   // below, rounding the operands costs what the products save

int64_t reduction(const ir::Function& f, const ir::Node& contract) {
  auto spec = std::get<ir::ContractSpec>(ir::ContractSpec::parse(contract.attrs.text(ir::Attr::spec)));
  int64_t terms = 1;
  for (size_t i = 0; i < spec.a.size(); ++i)
    if (spec.result.find(spec.a[i]) == spec.result.npos) terms *= f.type(contract.operands[0]).shape[i];
  return terms;
}
}  // namespace

namespace {
bool has_contract(const ir::Function& f) {
  return std::any_of(f.nodes.begin(), f.nodes.end(), [](const ir::Node& node) { return node.op == ir::Op::contract || (ir::is_scan(node) && has_contract(*node.attrs.function(ir::Attr::body))); });
}

// round: a loop's body, whose results may reach products of the next round.
void set(ir::Function& f, ir::Precision precision, bool round) {
  ir::for_bodies(f, [&](ir::Function& body) { set(body, precision, true); });
  std::vector<bool> feeds(f.size());   // whether a later contract depends on the node
  for (const ir::Result& r : f.results) feeds[r.value.id] = round;
  for (uint32_t i = f.size(); i-- > 0;) {
    ir::Node& node = f.nodes[i];
    bool contract = node.op == ir::Op::contract, loop = ir::is_scan(node) && has_contract(*node.attrs.function(ir::Attr::body));
    if (contract && feeds[i] && node.type.element == ir::ElementType::f32 && reduction(f, node) >= shortest_reduction)
      node.attrs = ir::contract_attrs(node.attrs.text(ir::Attr::spec), precision);
    if (node.op == ir::Op::grad) continue;   // what an update does with a gradient is not part of the network
    for (ir::Value operand : node.operands)
      if (contract || loop || feeds[i]) feeds[operand.id] = true;
  }
}
}  // namespace

void set_precision(ir::Function& f, ir::Precision precision) { set(f, precision, false); }
}  // namespace gradc::passes
