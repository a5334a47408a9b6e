// Before fusion: reductions in the forms that kernels have, and a value of its own for every result.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>

#include "ir/loop.h"
#include "ir/reduced_axes.h"
#include "passes/filters.h"
#include "passes/fusion.h"
#include "passes/fusion_groups.h"
#include "passes/sums.h"

namespace gradc::passes {
using namespace ir;

namespace {
// loop: f is its body; else null.
void prepare(Function& f, const Loop* loop);

// Loops give carries, and what they stack of them, one place in memory: with outputs that begin at a multiple of this.
constexpr int64_t alignment = 64;

void prepare_bodies(Function& f) {
  for (Node& node : f.nodes) {
    if (!is_scan(node)) continue;
    Function body = *node.attrs.function(Attr::body);
    const Loop loop(node);
    prepare(body, &loop);
    node.attrs.set(Attr::body, std::make_shared<const Function>(std::move(body)));
  }
}

void prepare(Function& f, const Loop* loop) {
  prepare_bodies(f);
  constexpr int64_t large = 1 << 14;   // elements from which a sum over everything is worth sharing
  constexpr int64_t narrow = 4;        // kept columns up to which lanes along the reduction are better
  Function out;
  out.name = f.name;
  Builder b(out);
  std::vector<Value> map(f.size());
  std::vector<int> uses(f.size());
  for (const Result& r : f.results) ++uses[r.value.id];
  for (const Node& node : f.nodes)
    for (Value operand : node.operands) ++uses[operand.id];
  for (uint32_t i = 0; i < f.size(); ++i) {
    Node node = f.nodes[i];
    for (Value& operand : node.operands) operand = map[operand.id];
    b.loc = node.loc;
    if (is_scan(node)) {
      // Each first value of a carry is one of its own, where the loop goes on. What is a number elsewhere is a buffer for the loop alone.
      for (size_t k = 0; k < node.operands.size(); ++k) {
        const Value v = f.nodes[i].operands[k], made = node.operands[k];
        const Node& source = out[made];
        const bool number = source.op == Op::constant || source.op == Op::iota;
        const bool own = computes(source) && !is_item(source) && uses[v.id] == 1 && std::count(node.operands.begin(), node.operands.end(), made) == 1;
        if (k < static_cast<size_t>(node.attrs.integer(Attr::carries)) ? !own : number) node.operands[k] = b.make(Op::reshape, {made}, {{Attr::shape, b.type(made).shape}});
      }
    }
    if (node.op == Op::random) {   // the site as data (ir/philox.h): the same layer elsewhere has the same kernels
      int64_t site = node.attrs.integer(Attr::site);
      Value shift = b.literal({std::ldexp(static_cast<double>(site), 32)}, {ElementType::i64, {}});
      const Node& step = out[node.operands[1]];
      bool none = step.op == Op::constant && step.attrs.number(Attr::value) == 0;
      node.operands[1] = none ? shift : b.map(Op::add, {node.operands[1], shift});
      node.attrs.set(Attr::site, int64_t{0});
    }
    if (node.op == Op::contract) turn_filters(out, node);
    if (!is_reduce(node.op) || reduces_in_map(out, node)) {
      map[i] = out.append(std::move(node));
      continue;
    }
    Value x = node.operands[0];
    const Shape shape = b.type(x).shape;
    int64_t rank = b.type(x).rank();
    std::vector<int64_t> axes = reduced_axes(node);
    int64_t count = static_cast<int64_t>(axes.size());
    if (count == 0) {
      map[i] = x;
      continue;
    }
    bool trailing = axes.front() == rank - count, leading = axes.back() == count - 1;
    if (trailing && count == rank && rank >= 2 && b.type(x).size() >= large) {
      std::vector<int64_t> inner(rank - 1);
      std::iota(inner.begin(), inner.end(), 1);
      map[i] = b.reduce(node.op, b.reduce(node.op, x, inner), {0});
      continue;
    }
    if (leading && node.op == Op::reduce_sum) {
      if (Value total = sum_by_samples(b, node); total.valid()) {
        map[i] = total;
        continue;
      }
    }
    if (trailing || sums_columns(out, node) || (leading && node.op != Op::argmax && node.op != Op::reduce_prod && node.type.size() > narrow)) {
      map[i] = out.append(std::move(node));
      continue;
    }
    std::vector<int64_t> order, last(count);
    for (int64_t axis = 0; axis < rank; ++axis)
      if (std::find(axes.begin(), axes.end(), axis) == axes.end()) order.push_back(axis);
    order.insert(order.end(), axes.begin(), axes.end());
    std::iota(last.begin(), last.end(), rank - count);
    x = b.transpose(x, order);
    map[i] = node.op == Op::argmax ? b.make(Op::argmax, {x}, {{Attr::axis, rank - 1}}) : b.reduce(node.op, x, last);
  }
  // One buffer, one value: what is written from a source, or is the value of two results, is copied; so is the old value of a
  // variable that is written.
  auto written = [&](const Node& node) {
    return node.op == Op::variable && std::any_of(f.results.begin(), f.results.end(), [&](const Result& r) { return r.write && r.name == node.attrs.text(Attr::name); });
  };
  const std::vector<Value> inputs = out.inputs();
  // Whether an output is a carry, which the loop stacks where it lies.
  auto carry_as = [&](const Result& r) -> std::optional<Value> {
    if (!loop || out.type(map[r.value.id]).bytes() % alignment != 0) return std::nullopt;
    for (int64_t c = 0; c < loop->carries; ++c) {
      if (map[r.value.id] == inputs[c]) return inputs[c];
      if (r.value == f.results[c].value) return out.results[c].value;
    }
    return std::nullopt;
  };
  std::set<Value> taken;
  for (size_t i = 0; i < f.results.size(); ++i) {
    const Result& r = f.results[i];
    Value v = map[r.value.id];
    const Node source = out[v];
    bool plain = is_source(source.op) && source.op != Op::random;
    if (auto carry = loop && static_cast<int64_t>(i) >= loop->carries ? carry_as(r) : std::nullopt) {
      v = *carry;
    } else if (!taken.insert(v).second || ((r.write || loop) && plain) || (!r.write && written(source)) || is_item(source)) {
      b.loc = source.loc;
      v = b.make(Op::reshape, {v}, {{Attr::shape, source.type.shape}});
    }
    out.results.push_back({r.name, v, r.write});
  }
  f = std::move(out);
}
}  // namespace

void prepare_for_fusion(Function& f) { prepare(f, nullptr); }

}  // namespace gradc::passes
