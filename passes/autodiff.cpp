// The reverse walk and the expansion of grad nodes. It knows operations only through the table in gradients.cpp.
//
// Expansion rebuilds the function in SSA order, so an inner grad is ordinary nodes by the time that an outer one walks over
// it. All grad nodes of one expression share one walk. Marks stand until the last grad is expanded, then vanish.
#include "passes/autodiff.h"

#include <algorithm>
#include <map>

#include "ir/check.h"
#include "passes/pass.h"

namespace gradc::passes {
using ir::Builder;
using ir::Function;
using ir::Loc;
using ir::Node;
using ir::Op;
using ir::Value;

std::vector<Value> differentiate(Builder& b, Value y, std::span<const Value> targets) {
  Function& f = b.function;
  size_t count = y.id + 1;
  std::vector<bool> active(count);   // depends on a target along a path that has a derivative
  for (Value t : targets) {
    CHECK(t.id < count, "the target of a gradient comes after its expression");
    active[t.id] = true;
  }
  for (uint32_t i = 0; i < count; ++i)
    for (Value operand : f.nodes[i].operands)
      if (active[operand.id] && gradient_rule(f.nodes[i].op) && ir::is_float(f.nodes[i].type.element)) active[i] = true;
  std::vector<Value> cotangent(count);
  Loc loc = b.loc;
  b.loc.role = Loc::Role::gradient;
  if (active[y.id]) cotangent[y.id] = b.like(1, y);
  for (uint32_t i = count; i-- > 0;) {
    if (!active[i] || !cotangent[i].valid()) continue;
    const Node node = f.nodes[i];   // a copy: rules append
    GradientRule rule = gradient_rule(node.op);
    bool flows = false;
    for (Value operand : node.operands) flows = flows || active[operand.id];
    if (!rule || !flows) continue;
    b.loc = node.loc;
    b.loc.role = Loc::Role::gradient;
    Cotangents operands = rule({b, node, {&b, Value{i}}, {&b, cotangent[i]}});
    for (size_t k = 0; k < node.operands.size(); ++k) {
      Value operand = node.operands[k];
      if (!active[operand.id] || !operands[k].valid()) continue;
      CHECK(f.type(operands[k]) == f.type(operand), "the gradient rule of {} gives {} for an operand of {}", ir::info(node.op).name, ir::to_string(f.type(operands[k])), ir::to_string(f.type(operand)));
      Value& sum = cotangent[operand.id];
      sum = sum.valid() ? b.make(Op::add, {sum, operands[k]}) : operands[k];
    }
  }
  b.loc = loc;
  std::vector<Value> derivatives;
  for (Value t : targets) derivatives.push_back(cotangent[t.id].valid() ? cotangent[t.id] : b.like(0, t));
  return derivatives;
}

namespace {
// What remains of mark and stop_gradient when no grad is left: their operand.
void remove_marks(Function& f) {
  std::vector<Value> map(f.size());
  for (uint32_t i = 0; i < f.size(); ++i) {
    for (Value& operand : f.nodes[i].operands) operand = map[operand.id];
    bool identity = f.nodes[i].op == Op::mark || f.nodes[i].op == Op::stop_gradient;
    map[i] = identity ? f.nodes[i].operands[0] : Value{i};
  }
  for (ir::Result& r : f.results) r.value = map[r.value.id];
  f.prune();
}
}  // namespace

void expand_gradients(Function& f) {
  std::map<uint32_t, std::vector<Value>> targets;   // by expression, each target once
  for (const Node& node : f.nodes) {
    if (node.op != Op::grad) continue;
    auto& list = targets[node.operands[0].id];
    if (std::find(list.begin(), list.end(), node.operands[1]) == list.end()) list.push_back(node.operands[1]);
  }
  if (!targets.empty()) {
    Function expanded;
    expanded.name = f.name;
    Builder b(expanded);
    std::vector<Value> map(f.size());
    std::map<uint32_t, std::map<uint32_t, Value>> derivatives;   // by expression and target
    for (uint32_t i = 0; i < f.size(); ++i) {
      Node& node = f.nodes[i];
      if (node.op != Op::grad) {
        for (Value& operand : node.operands) operand = map[operand.id];
        map[i] = expanded.append(std::move(node));
        continue;
      }
      uint32_t expression = node.operands[0].id;
      auto [found, first] = derivatives.try_emplace(expression);
      if (first) {
        std::vector<Value> mapped;
        for (Value t : targets[expression]) mapped.push_back(map[t.id]);
        b.loc = node.loc;
        std::vector<Value> results = differentiate(b, map[expression], mapped);
        for (size_t k = 0; k < results.size(); ++k) found->second[targets[expression][k].id] = results[k];
      }
      map[i] = found->second.at(node.operands[1].id);
    }
    expanded.results = std::move(f.results);
    for (ir::Result& r : expanded.results) r.value = map[r.value.id];
    f = std::move(expanded);
  }
  remove_marks(f);
}
}  // namespace gradc::passes
