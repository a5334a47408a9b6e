// Random graphs through fusion, the plan and every emitter: a function's entry is run from its plan as the runtime would, phase by phase,
// but with granules in random order, and compared with the reference evaluation of the function. So buffers that share memory,
// writes in place and granules that are not independent show as wrong values. Then again with values and variables in random layouts: the same bits.
//
// GRADC_FUZZ=first:last codegen_tests "[longfuzz]" runs the seeds of a range.
#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>

#include "codegen/emit.h"
#include "codegen/execute.h"
#include "codegen/plan.h"
#include "ir/kernel.h"
#include "ir/random_graph.h"
#include "ir/text.h"
#include "kernel_harness.h"
#include "passes/fusion.h"
#include "passes/pass.h"
#include "runtime/layout.h"

using namespace gradc;
using namespace gradc::codegen;

namespace {
// 64-byte aligned bytes, first full of NaNs.
class Block {
 public:
  explicit Block(size_t bytes) : data(static_cast<char*>(std::aligned_alloc(64, (bytes + 127) / 64 * 64))) { std::memset(data, 0xff, (bytes + 127) / 64 * 64); }
  Block(const Block&) = delete;
  ~Block() { std::free(data); }
  char* data;
};

ir::Module module_of(const ir::Function& f) {
  ir::Module m;
  m.functions.push_back(f);
  for (const ir::Node& node : f.nodes) m.files.resize(std::max<size_t>(m.files.size(), node.loc.file + 1), "random");
  auto declare = [&](const std::string& name, const ir::Type& type) {
    if (!m.variable(name)) m.variables.push_back({name, type, ir::VariableKind::parameter, false, {}});
  };
  for (const ir::Node& node : f.nodes)
    if (node.op == ir::Op::variable) declare(node.attrs.text(ir::Attr::name), node.type);
  for (const ir::Result& r : f.results)
    if (r.write) declare(r.name, f.type(r.value));
  return m;
}

// Kernels and places, to find what overlaps.
std::string describe(const program::EntryT& entry, const KernelTable& table) {
  std::string text;
  for (uint32_t k = 0; k < table.kernels().size(); ++k) text += fmt::format("kernel {}: {}", k, table.text(k));
  for (size_t p = 0; p < entry.phases.size(); ++p)
    for (const auto& strand : entry.phases[p]->strands) {
      text += fmt::format("phase {}, a strand of {} granules:\n", p, strand->granules);
      for (const auto& call : strand->calls) {
        text += fmt::format("  kernel {}, {} units by {}, {} results:", call->kernel, call->units, call->grain, call->outputs);
        for (const auto& place : call->args) text += fmt::format(" {}+{}", program::EnumNameSpace(place.space()), place.offset());
        text += "\n";
      }
    }
  return text;
}

// Gives values and variables random layouts; callers' buffers stay row-major.
std::map<std::string, ir::Layout> random_layouts(const ir::Function& f, std::vector<ir::KernelCall>& calls, std::mt19937& random) {
  auto pick = [&](const ir::Type& type) {
    if (type.rank() < 2 || type.shape.back() == 1 || random() % 3 == 0) return ir::Layout();
    if (random() % 3 == 0) return ir::pitched(type.shape, type.shape.back() + static_cast<int64_t>(random() % 20));
    return ir::blocked(type.shape, type.rank() - 1, 16);
  };
  std::map<std::string, ir::Layout> variables;
  std::vector<ir::Layout> layouts(f.size());
  for (const ir::KernelCall& call : calls)
    for (ir::Value v : call.results) layouts[v.id] = pick(f.type(v));
  // Rounds of loops are laid out row-major.
  for (const ir::KernelCall& call : calls)
    if (call.loop)
      for (const auto* list : {&call.arguments, &call.results})
        for (ir::Value v : *list) {
          layouts[v.id] = {};
          if (f[v].op == ir::Op::variable) variables[f[v].attrs.text(ir::Attr::name)] = {};
        }
  for (const ir::Result& r : f.results)
    if (!r.write && f[r.value].op == ir::Op::variable) variables[f[r.value].attrs.text(ir::Attr::name)] = {};
  for (const ir::Result& r : f.results) {
    if (r.write) variables.try_emplace(r.name, random() % 2 ? layouts[r.value.id] : pick(f.type(r.value)));
    else layouts[r.value.id] = {};
  }
  for (uint32_t i = 0; i < f.size(); ++i)
    if (f.nodes[i].op == ir::Op::variable) layouts[i] = variables.try_emplace(f.nodes[i].attrs.text(ir::Attr::name), pick(f.nodes[i].type)).first->second;
  // Sums over several axes take them as one where they lie so: their order would depend on it.
  for (const ir::KernelCall& call : calls)
    if (call.kernel.form == ir::Form::row && call.kernel.domain.size() > static_cast<size_t>(call.kernel.outer) + 1)
      for (ir::Value v : call.arguments) {
        layouts[v.id] = {};
        if (f[v].op == ir::Op::variable) variables[f[v].attrs.text(ir::Attr::name)] = {};
      }
  for (uint32_t i = 0; i < f.size(); ++i)
    if (f.nodes[i].op == ir::Op::variable) layouts[i] = variables.at(f.nodes[i].attrs.text(ir::Attr::name));
  for (ir::KernelCall& call : calls) {
    for (ir::Value v : call.arguments) call.kernel.argument_layouts.push_back(layouts[v.id]);
    for (ir::Value v : call.results) call.kernel.result_layouts.push_back(layouts[v.id]);
  }
  return variables;
}

ir::Bindings run_entry(const ir::Module& m, const Target& target, const ir::Bindings& at, std::mt19937& random, std::string& plan, bool laid_out = false) {
  ir::Function f = m.functions[0];
  KernelTable table;
  program::ProgramT program;
  passes::prepare_for_fusion(f);
  std::vector<ir::KernelCall> calls = passes::fuse(f);
  place_variables(m, program, laid_out ? random_layouts(f, calls, random) : std::map<std::string, ir::Layout>());
  plan_entry(m, f, std::move(calls), table, program);
  const program::EntryT& entry = *program.entries.back();

  plan = describe(entry, table);

  INFO(plan);
  LlvmModule code("fuzz", target);
  int64_t scratch_size = 0;
  for (uint32_t k = 0; k < table.kernels().size(); ++k) {
    INFO("kernel " << k);   // shown if emission aborts
    emit_kernel(table.kernels()[k], table.symbol(k), *code, target);
    scratch_size = std::max(scratch_size, scratch_bytes(table.kernels()[k], target));
  }
  optimize(*code, target);
  Jit jit;
  jit.add(emit_object(*code, target));

  Block variables(program.variables_bytes), arena(entry.arena_bytes), constants(program.constants.size()), scratch(scratch_size + static_cast<int64_t>(entry.local_bytes));
  std::memcpy(constants.data, program.constants.data(), program.constants.size());
  auto place = [&](const program::Place& p) {
    Block& block = p.space() == program::Space::local ? scratch : p.space() == program::Space::variables ? variables : p.space() == program::Space::arena ? arena : constants;
    return block.data + p.offset();
  };
  for (const auto& v : program.variables)
    if (auto value = at.find("@" + v->name); value != at.end())
      runtime::arrange({v->type->layout}, v->type->shape, ir::element_bytes(value->second.type.element), value->second.bytes().data(), variables.data + v->offset);
  for (const auto& port : entry.inputs) {
    const ir::Tensor& value = at.at(port->name);
    std::memcpy(place(*port->place), value.bytes().data(), value.bytes().size());
  }
  for (Rounds rounds(entry); !rounds.done(); rounds.next()) {
    const auto& phase = entry.phases[rounds.phase()];
    std::vector<std::pair<const program::StrandT*, int64_t>> granules;
    for (const auto& strand : phase->strands)
      for (int64_t g = 0; g < strand->granules; ++g) granules.push_back({strand.get(), g});
    std::shuffle(granules.begin(), granules.end(), random);
    for (auto [strand, g] : granules) {   // in blocks, whose local values begin with the first unit of a call
      const auto units = static_cast<int64_t>(strand->calls.front()->units), grain = static_cast<int64_t>(strand->calls.front()->grain);
      const int64_t limit = std::min((g + 1) * grain, units), step = strand->block > 0 ? static_cast<int64_t>(strand->block) : grain;
      for (int64_t first = g * grain; first < limit; first += step)
        for (const auto& call : strand->calls) {
          const int64_t of = static_cast<int64_t>(call->units), begin = first * of / units, end = std::min(first + step, limit) * of / units;
          std::vector<char*> args;
          for (size_t a = 0; a < call->args.size(); ++a)
            args.push_back(place(call->args[a]) + rounds.offset(*call, a) - (call->unit_bytes.empty() ? 0 : begin * static_cast<int64_t>(call->unit_bytes[a])));
          jit.lookup<gradc_kernel>(table.symbol(call->kernel))(args.data(), begin, end, scratch.data + entry.local_bytes);
        }
    }
  }
  ir::Bindings results;
  auto take = [&](const std::string& name, const ir::Type& type, const char* from, const runtime::Layout& layout = {}) {
    ir::Tensor t(type);
    runtime::restore(layout, type.shape, ir::element_bytes(type.element), from, t.bytes().data());
    results.emplace(name, std::move(t));
  };
  for (const ir::Result& r : m.functions[0].results) {
    const ir::Type& type = m.functions[0].type(r.value);
    if (r.write) {
      for (const auto& v : program.variables)
        if (v->name == r.name) take("@" + r.name, type, variables.data + v->offset, {v->type->layout});
    } else {
      for (const auto& port : entry.outputs)
        if (port->name == r.name) take(r.name, type, place(*port->place));
    }
  }
  return results;
}

// Kernels of a function that are wrong by themselves; otherwise the plan is.
std::string guilty_kernels(ir::Function f) {
  passes::prepare_for_fusion(f);
  std::string text;
  for (const ir::KernelCall& call : passes::fuse(f))
    if (call.loop) continue;
    else if (std::string off = test::difference(call.kernel, -1, 1); !off.empty()) text += fmt::format("by itself wrong: {}\n{}", off, ir::key(call.kernel));
  return text;
}

// What is wrong with the compiled form of a random graph, or "".
std::string wrong(uint64_t seed) {
  // Some with contracts of lower precision, where there is a target for them.
  auto all = test::targets(), low = test::bf16_targets();
  const bool precisions = seed % 5 == 0 && !low.empty();
  if (precisions) all = low;
  std::mt19937 random(static_cast<uint32_t>(seed));
  ir::RandomGraph g = ir::random_graph(seed, {.operations = seed % 3 ? 14 : 30, .largest = seed % 2 ? 4096 : 600, .precisions = precisions});
  ir::Function f = g.function;
  if (seed % 2) passes::optimize(f);
  const Target& target = all[seed / 2 % all.size()];
  ir::Bindings at = ir::random_bindings(g.function, seed);
  INFO("seed " << seed);
  std::string plan;
  ir::Bindings results = run_entry(module_of(f), target, at, random, plan);
  std::string off = ir::difference(ir::evaluate(g.function, at), results, g.tolerance);
  if (off.empty()) {
    // Where elements lie changes no bit.
    ir::Bindings laid_out = run_entry(module_of(f), target, at, random, plan, true);
    if (off = ir::difference(results, laid_out, {}); !off.empty()) off = "with layouts: " + off;
  }
  return off.empty() ? "" : fmt::format("seed {} on {}: {}\n{}{}", seed, target.name, off, ir::print(f), guilty_kernels(f) + plan);
}
}  // namespace

TEST_CASE("random graphs compiled mean the same", "[fuzz]") {
  for (uint64_t seed = 1; seed <= 500; ++seed)
    if (std::string off = wrong(seed); !off.empty()) FAIL_CHECK(off);
}

TEST_CASE("random graphs of a range of seeds", "[.longfuzz]") {
  const char* range = std::getenv("GRADC_FUZZ");
  if (!range) return;   // asked for by everything but [fuzz], say
  char* colon = nullptr;
  uint64_t first = std::strtoull(range, &colon, 10), last = std::strtoull(colon + 1, nullptr, 10);
  for (uint64_t seed = first; seed <= last; ++seed)
    if (std::string off = wrong(seed); !off.empty()) FAIL_CHECK(off);
}
