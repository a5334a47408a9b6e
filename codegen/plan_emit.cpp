// Planner: the entry as tables of the program (runtime/program.fbs), and notes for dumps.
#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "codegen/planner.h"
#include "ir/check.h"
#include "ir/infer.h"

namespace gradc::codegen {

uint64_t stored_bytes(const Type& type, const Layout& layout) { return stored_size(layout, type.shape) * element_bytes(type.element); }

std::unique_ptr<program::TensorTypeT> schema_type(const Type& type, const Layout& layout) {
  auto t = std::make_unique<program::TensorTypeT>();
  t->element = static_cast<program::ElementType>(type.element);
  t->shape = type.shape;
  for (const LayoutDigit& digit : layout.digits) t->layout.push_back({digit.axis, digit.divisor, digit.extent});
  return t;
}

std::unique_ptr<program::PortT> Planner::port(const std::string& name, Value v) const {
  CHECK(layout[v.id].row_major(), "{} of {} is {}: callers know row-major buffers alone", name, f.name, to_string(layout[v.id], f.type(v).shape));
  auto p = std::make_unique<program::PortT>();
  p->name = name;
  p->type = schema_type(f.type(v));
  p->place = std::make_unique<program::Place>(place[v.id]);
  return p;
}

std::unique_ptr<program::CallT> Planner::emit_call(int c) {
  KernelCall& call = calls[c];
  auto out = std::make_unique<program::CallT>();
  call.kernel.unaligned.clear();
  for (const std::vector<Value>* list : {&call.arguments, &call.results})
    for (const Value& v : *list) {
      const int number = static_cast<int>((list == &call.results ? call.arguments.size() : 0) + static_cast<size_t>(&v - list->data()));
      bool aligned = !local.count(v) || stored_bytes(f.type(v), {}) / call.kernel.units % alignment == 0;  // a block's values begin `begin` units before its scratch
      if (auto moving = steps.find(v); moving != steps.end())
        for (const Step& step : moving->second) {
          out->moves.push_back(program::Move(static_cast<uint32_t>(number), step.loop, step.stride, step.alternate));
          aligned = aligned && step.stride % static_cast<int64_t>(alignment) == 0;
        }
      if (!aligned) call.kernel.unaligned.push_back(number);
    }
  out->kernel = kernels.add(call.kernel);
  for (Value v : call.arguments) out->args.push_back(place[v.id]), out->bytes += static_cast<double>(f.type(v).bytes());
  for (Value v : call.results) {
    out->args.push_back(place[v.id]);
    out->output_types.push_back(schema_type(f.type(v), layout[v.id]));
    out->bytes += static_cast<double>(f.type(v).bytes());
  }
  if (auto copy = copies_to.find(c); copy != copies_to.end()) {
    out->args.push_back(program::Place(program::Space::variables, copy->second));
    out->output_types.push_back(schema_type(f.type(call.arguments[0]), call.kernel.result_layout(0)));
  }
  out->outputs = static_cast<uint32_t>(out->output_types.size());
  if (std::any_of(out->args.begin(), out->args.end(), [](const program::Place& place) { return place.space() == program::Space::local; })) {
    for (const std::vector<Value>* list : {&call.arguments, &call.results})
      for (Value v : *list) out->unit_bytes.push_back(local.count(v) ? stored_bytes(f.type(v), {}) / call.kernel.units : 0);
    out->unit_bytes.resize(out->args.size());
  }
  out->units = call.kernel.units;
  out->grain = call_grain(c);
  out->name = describe(call.kernel);
  std::set<std::string> lines;
  for (const Node& node : call.kernel.body.nodes) {
    out->flops += work(call.kernel.body, node);
    if (node.op != Op::input && node.loc.known()) lines.insert(module.describe(node.loc));
  }
  for (const std::string& line : lines) {
    auto known = std::find(program.lines.begin(), program.lines.end(), line);
    out->lines.push_back(static_cast<uint32_t>(known - program.lines.begin()));
    if (known == program.lines.end()) program.lines.push_back(line);
  }
  return out;
}

double Planner::work(const Function& body, const Node& node) {
  if (node.op == Op::contract) {
    ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(node.attrs.text(Attr::spec)));
    double flops = 2.0 * static_cast<double>(node.type.size());
    for (size_t i = 0; i < spec.a.size(); ++i)
      if (spec.result.find(spec.a[i]) == std::string::npos) flops *= static_cast<double>(body.type(node.operands[0]).shape[i]);
    return flops;
  }
  if (is_map(node.op)) return static_cast<double>(node.type.size());
  if (is_reduce(node.op)) return static_cast<double>(body.type(node.operands[0]).size());
  if (node.op == Op::scatter_add) return static_cast<double>(body.type(node.operands[1]).size());
  return 0;
}

void Planner::emit() {
  auto entry = std::make_unique<program::EntryT>();
  entry->name = f.name;
  for (uint32_t i = 0; i < f.size(); ++i)
    if (f.nodes[i].op == Op::input) entry->inputs.push_back(port(f.nodes[i].attrs.text(Attr::name), Value{i}));
  for (const Result& r : f.results) {
    if (r.write) entry->writes.push_back(r.name);
    else entry->outputs.push_back(port(r.name, r.value));
  }
  entry->first_update = std::numeric_limits<uint32_t>::max();
  emit_phases(*entry);
  entry->first_update = std::min<uint32_t>(entry->first_update, static_cast<uint32_t>(entry->phases.size()));
  entry->arena_bytes = arena.bytes;
  entry->local_bytes = aligned(entry->local_bytes);
  program.entries.push_back(std::move(entry));
}

void Planner::emit_phases(program::EntryT& entry) {
  // Long strands first: whoever is done early finds short ones to take.
  std::vector<std::unique_ptr<program::StrandT>> made(strands.size());
  std::vector<size_t> order;
  std::vector<double> weight(strands.size(), 0);
  for (size_t i = 0; i < strands.size(); ++i) {
    const Strand& s = strands[i];
    if (s.calls.empty()) continue;
    order.push_back(i);
    made[i] = std::make_unique<program::StrandT>();
    if (calls[s.calls.front()].loop) continue;
    int64_t g = strand_grain(s);
    made[i]->block = static_cast<uint64_t>(calls[order_of(s).front()].kernel.block);
    made[i]->granules = static_cast<uint32_t>((s.units + g - 1) / g);
    for (int c : order_of(s)) {
      made[i]->calls.push_back(emit_call(c));
      for (const Node& node : calls[c].kernel.body.nodes)
        if (node.loc.role == Loc::Role::recomputation) entry.recomputed += work(calls[c].kernel.body, node);
      auto call = made[i]->calls.back().get();
      weight[i] += call->flops + call->bytes;
    }
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::tuple(strands[a].phase, -weight[a]) < std::tuple(strands[b].phase, -weight[b]);
  });
  std::vector<int> number(calls.size(), -1);                 // as the entry lists them; of a loop its first one
  std::vector<std::pair<size_t, std::vector<EntryNotes::Barrier>>> barriers;
  int current = -1;
  for (size_t i : order) {
    const Strand& s = strands[i];
    const int loop = calls[s.calls.front()].loop ? s.calls.front() : -1;
    if (s.phase != std::exchange(current, s.phase)) {
      if (static_cast<size_t>(s.phase) < notes.barriers.size()) barriers.emplace_back(entry.phases.size(), notes.barriers[s.phase]);
      if (loop < 0) entry.phases.push_back(std::make_unique<program::PhaseT>());
    }
    if (loop >= 0) {
      number[loop] = static_cast<int>(listing->calls.size());
      emit_rounds(loop, entry);
      continue;
    }
    for (int c : order_of(s)) {
      number[c] = static_cast<int>(listing->calls.size());
      listing->calls.push_back({calls[c], {}, body_of ? std::shared_ptr<const Function>(body_of, &f) : nullptr});
      for (Value v : calls[c].arguments) listing->calls.back().from.push_back(producer[v.id] < 0 ? -1 : number[producer[v.id]]);
    }
    for (const auto& call : made[i]->calls)
      for (size_t a = call->args.size() - call->outputs; a < call->args.size(); ++a)
        if (call->args[a].space() == program::Space::variables) entry.first_update = std::min(entry.first_update, static_cast<uint32_t>(entry.phases.size() - 1));
    entry.phases.back()->strands.push_back(std::move(made[i]));
  }
  entry.local_bytes = std::max(entry.local_bytes, local_bytes);
  listing->barriers.resize(entry.phases.size());
  for (auto& [phase, of] : barriers)
    for (EntryNotes::Barrier& barrier : of) listing->barriers[phase].push_back({number[barrier.later], number[barrier.earlier], barrier.why});
}

std::vector<int> Planner::order_of(const Strand& s) const {
  std::vector<int> order;
  std::set<int> members(s.calls.begin(), s.calls.end()), done;
  auto visit = [&](auto&& self, int c) -> void {
    if (!members.count(c) || !done.insert(c).second) return;
    for (int before : after[c]) self(self, before);
    order.push_back(c);
  };
  for (int c : s.calls) visit(visit, c);
  return order;
}

}  // namespace gradc::codegen
