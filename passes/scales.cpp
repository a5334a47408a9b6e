// The whole function is looked at, not a node and its operands alone, as rules do: whether a product is read by anything else decides (the
// derivative by the scale reads it in training), and whether a value is the same for all samples.
//
// A scaled weight costs a pass over the weight in each run; it is worth it where the weight is small beside the result, which is then one
// product with a bias. For a single sample and a large weight the scale stays in the product's epilogue, one multiplication an element.
#include "passes/scales.h"

#include <optional>

#include "ir/builder.h"
#include "ir/infer.h"
#include "passes/term.h"

namespace gradc::passes {
using ir::Attr;
using ir::Function;
using ir::Node;
using ir::Op;
using ir::Value;

namespace {
constexpr int64_t smaller = 4;   // a weight is small if it has at most this part of the result's elements

/// A function as it was, with what is known of its nodes; and the one that is built.
struct Scales {
  const Function& f;
  ir::Builder& b;
  std::vector<Value>& map;            // old value to new one
  std::vector<bool> same;             // for all samples and runs with these variables
  std::vector<int> reads;

  Scales(const Function& f, ir::Builder& b, std::vector<Value>& map) : f(f), b(b), map(map), same(f.size()), reads(f.size()) {
    for (uint32_t i = 0; i < f.size(); ++i) {
      const Node& node = f.nodes[i];
      same[i] = node.operands.empty() ? node.op == Op::variable || node.op == Op::constant || node.op == Op::literal || node.op == Op::iota : true;
      for (Value operand : node.operands) same[i] = same[i] && same[operand.id], ++reads[operand.id];
    }
    for (const ir::Result& r : f.results) ++reads[r.value.id];
  }
  const Node& node(Value v) const { return f[v]; }
  bool alone(Value v) const { return reads[v.id] == 1; }

  /// The axis along which a repeated vector lies that is the same for all samples.
  std::optional<int64_t> axis_of(Value v) const {
    const Node& n = node(v);
    if (n.op != Op::broadcast || !same[v.id] || f.type(n.operands[0]).rank() != 1) return std::nullopt;
    return n.attrs.integers(Attr::axes)[0];
  }
  Value vector(Value v) const { return map[node(v).operands[0].id]; }

  /// contract(x, w) * s as one contract of new values, or invalid.
  Value scaled(Value product, Value s, int64_t axis) {
    const Node& n = node(product);
    if (n.op != Op::contract || !alone(product)) return {};
    auto spec = std::get<ir::ContractSpec>(ir::ContractSpec::parse(n.attrs.text(Attr::spec)));
    char letter = spec.result[static_cast<size_t>(axis)];
    bool first = spec.a.find(letter) != std::string::npos, second = spec.b.find(letter) != std::string::npos;
    if (first == second) return {};
    const std::string& list = first ? spec.a : spec.b;
    Value w = n.operands[first ? 0 : 1];
    if (!same[w.id] || same[n.operands[first ? 1 : 0].id] || f.type(w).size() * smaller > f.type(product).size()) return {};
    Term weight{&b, map[w.id]}, scale{&b, vector(s)};
    if (weight.element() != scale.element()) return {};
    weight = weight * broadcast(scale, weight.shape(), {static_cast<int64_t>(list.find(letter))});
    Term other{&b, map[n.operands[first ? 1 : 0].id]};
    return first ? contract(spec.text(), weight, other, ir::contract_precision(n.attrs)) : contract(spec.text(), other, weight, ir::contract_precision(n.attrs));
  }

  Value rewrite(const Node& n) {
    if (n.op != Op::mul && n.op != Op::add) return {};
    for (int i : {0, 1}) {
      Value y = n.operands[i], s = n.operands[1 - i];
      auto axis = axis_of(s);
      if (!axis || same[y.id]) continue;
      if (n.op == Op::mul)
        if (Value product = scaled(y, s, *axis); product.valid()) return product;
      const Node& sum = node(y);
      if (sum.op != Op::add || !alone(y)) continue;
      for (int k : {0, 1}) {
        Value inner = sum.operands[k], bias = sum.operands[1 - k];
        if (axis_of(bias) != axis || same[inner.id]) continue;
        Term b0{&b, vector(bias)}, s0{&b, vector(s)};
        if (n.op == Op::add) return (Term{&b, map[inner.id]} + broadcast(b0 + s0, n.type.shape, {*axis})).v;
        if (Value product = scaled(inner, s, *axis); product.valid()) return (Term{&b, product} + broadcast(b0 * s0, n.type.shape, {*axis})).v;
      }
    }
    return {};
  }
};
}  // namespace

int fold_scales(Function& f) {
  Function to;
  to.name = f.name;
  ir::Builder b(to);
  std::vector<Value> map(f.size());
  Scales scales(f, b, map);
  int count = 0;
  for (uint32_t i = 0; i < f.size(); ++i) {
    b.loc = f.nodes[i].loc;
    Value better = scales.rewrite(f.nodes[i]);
    if (better.valid()) {
      map[i] = better;
      ++count;
      continue;
    }
    Node node = f.nodes[i];
    for (Value& operand : node.operands) operand = map[operand.id];
    map[i] = to.append(std::move(node));
  }
  if (count == 0) return 0;
  to.results = f.results;
  for (ir::Result& r : to.results) r.value = map[r.value.id];
  f = std::move(to);
  f.prune();
  return count;
}
}  // namespace gradc::passes
