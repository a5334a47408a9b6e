// The reverse walk and the expansion of grad nodes. It knows operations only through the table in gradients.cpp.
//
// Expansion rebuilds the function in SSA order, so an inner grad is ordinary nodes by the time that an outer one walks over
// it. All grad nodes of one expression share one walk. Marks stand until the last grad is expanded, then vanish.
#include "passes/autodiff.h"

#include <algorithm>
#include <map>

#include "ir/check.h"
#include "ir/loop.h"
#include "passes/pass.h"

namespace gradc::passes {
using ir::Builder;
using ir::Function;
using ir::Loc;
using ir::Node;
using ir::Op;
using ir::Value;

std::vector<Value> pull_back(Builder& b, std::span<const Seed> seeds, std::span<const Value> targets) {
  Function& f = b.function;
  uint32_t count = 0;
  for (const Seed& seed : seeds) count = std::max(count, seed.value.id + 1);
  for (Value t : targets) count = std::max(count, t.id + 1);
  auto has = [](Op op, ir::Traits trait) { return (ir::info(op).traits & trait) != 0; };
  std::vector<bool> active(count);   // depends on a target along a path that has a derivative
  for (Value t : targets) active[t.id] = true;
  for (uint32_t i = 0; i < count; ++i) {
    const Node& node = f.nodes[i];
    bool passes = has(node.op, ir::tuple) || (ir::is_float(node.type.element) && (has(node.op, ir::part) || gradient_rule(node.op)));
    for (Value operand : node.operands)
      if (passes && active[operand.id]) active[i] = true;
  }
  std::vector<Value> cotangent(count);
  std::map<uint32_t, std::vector<Value>> parts;   // of tuples
  auto flow = [&](Value& sum, Value more) { sum = sum.valid() ? b.make(Op::add, {sum, more}) : more; };
  Loc loc = b.loc;
  b.loc.role = Loc::Role::gradient;
  for (const Seed& seed : seeds)
    if (active[seed.value.id]) flow(cotangent[seed.value.id], seed.cotangent);
  for (uint32_t i = count; i-- > 0;) {
    const Op op = f.nodes[i].op;
    if (!active[i] || (has(op, ir::tuple) ? !parts.contains(i) : !cotangent[i].valid())) continue;
    b.loc = f.nodes[i].loc;
    b.loc.role = Loc::Role::gradient;
    if (has(op, ir::part)) {
      std::vector<Value>& of = parts[f.nodes[i].operands[0].id];
      size_t index = static_cast<size_t>(f.nodes[i].attrs.integer(ir::Attr::index));
      if (of.size() <= index) of.resize(index + 1);
      flow(of[index], cotangent[i]);
      continue;
    }
    const Node node = f.nodes[i];   // a copy: rules append
    GradientRule rule = gradient_rule(op);
    std::vector<bool> wanted;
    for (Value operand : node.operands) wanted.push_back(active[operand.id]);
    if (!rule || std::find(wanted.begin(), wanted.end(), true) == wanted.end()) continue;
    auto part = parts.find(i);
    Cotangents operands = rule({b, node, {&b, Value{i}}, {&b, cotangent[i]}, part == parts.end() ? std::vector<Value>() : part->second, wanted});
    for (size_t k = 0; k < operands.size(); ++k) {
      Value operand = node.operands[k];
      if (!active[operand.id] || !operands[k].valid()) continue;
      CHECK(f.type(operands[k]) == f.type(operand), "the gradient rule of {} gives {} for an operand of {}", ir::info(node.op).name, ir::to_string(f.type(operands[k])), ir::to_string(f.type(operand)));
      flow(cotangent[operand.id], operands[k]);
    }
  }
  b.loc = loc;
  std::vector<Value> results;
  for (Value t : targets) results.push_back(cotangent[t.id]);
  return results;
}

std::vector<Value> differentiate(Builder& b, Value y, std::span<const Value> targets) {
  for (Value t : targets) CHECK(t.id <= y.id, "the target of a gradient comes after its expression");
  Loc loc = b.loc;
  b.loc.role = Loc::Role::gradient;
  const Seed seed{y, b.like(1, y)};
  b.loc = loc;
  std::vector<Value> derivatives = pull_back(b, std::span(&seed, 1), targets);
  for (size_t i = 0; i < targets.size(); ++i)
    if (!derivatives[i].valid()) derivatives[i] = b.like(0, targets[i]);
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
  ir::for_bodies(f, remove_marks);
}

// Inside of loops first. Marks and stop_gradient stay: a derivative by something outside goes through them.
void expand(Function& f) {
  ir::for_bodies(f, expand);
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
}
}  // namespace

void expand_gradients(Function& f) {
  expand(f);
  remove_marks(f);
}
}  // namespace gradc::passes
