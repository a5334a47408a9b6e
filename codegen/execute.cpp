#include "codegen/execute.h"

#include <cstring>
#include <memory>
#include <new>

#include "codegen/compile.h"
#include "codegen/llvm_module.h"
#include "ir/check.h"
#include "runtime/image.h"
#include "runtime/layout.h"

namespace gradc::codegen {
namespace {
struct Free {
  void operator()(char* p) const { ::operator delete(p, std::align_val_t(64)); }
};
using Block = std::unique_ptr<char, Free>;

// Filled with a pattern that is NaN in every float type: a read of what nobody wrote shows.
Block block(size_t bytes) {
  Block memory(static_cast<char*>(::operator new(std::max<size_t>(bytes, 64), std::align_val_t(64))));
  std::memset(memory.get(), 0xff, std::max<size_t>(bytes, 64));
  return memory;
}
}  // namespace

void Rounds::next() {
  ++phase_;
  for (size_t l = entry_.loops.size(); l-- > 0;) {   // inner loops first
    const program::LoopT& loop = *entry_.loops[l];
    if (loop.end != phase_) continue;
    if (static_cast<uint64_t>(++round_[l]) < loop.rounds) {
      phase_ = loop.begin;
      return;
    }
    round_[l] = 0;
  }
}

int64_t Rounds::offset(const program::CallT& call, size_t argument) const {
  int64_t bytes = 0;
  for (const program::Move& move : call.moves)
    if (move.arg() == argument) bytes += move.stride() * (move.alternate() ? round_[move.loop()] % 2 : round_[move.loop()]);
  return bytes;
}

ir::Bindings execute(const ir::Function& function, std::vector<ir::KernelCall> calls, const ir::Bindings& bindings, const Target& target, int64_t grain,
                     const std::map<std::string, ir::Layout>& layouts) {
  ir::Module module;
  for (const ir::Node& node : function.nodes)
    if (node.op == ir::Op::variable && !module.variable(node.attrs.text(ir::Attr::name))) module.variables.push_back({node.attrs.text(ir::Attr::name), node.type, ir::VariableKind::state, false, {}});
  for (const ir::Result& r : function.results)
    if (r.write && !module.variable(r.name)) module.variables.push_back({r.name, function.type(r.value), ir::VariableKind::state, false, {}});

  program::ProgramT program;
  KernelTable kernels;
  place_variables(module, program, layouts);
  plan_entry(module, function, std::move(calls), kernels, program);
  std::vector<Object> objects = compile(kernels, {target, 1, false, false});
  finish_program(kernels, objects, target, program);
  const program::EntryT& entry = *program.entries.front();

  Jit jit;
  for (const Object& object : objects) jit.add(object.code);
  Block variables = block(program.variables_bytes), arena = block(entry.arena_bytes), scratch = block(entry.scratch_bytes), constants = block(program.constants.size());
  std::memcpy(constants.get(), program.constants.data(), program.constants.size());
  auto at = [&](const program::Place& place) {
    char* base = place.space() == program::Space::local ? scratch.get() : place.space() == program::Space::variables ? variables.get() : place.space() == program::Space::arena ? arena.get() : constants.get();
    return base + place.offset();
  };
  auto load = [&](const ir::Tensor& tensor, char* to) { std::memcpy(to, tensor.bytes().data(), tensor.bytes().size()); };
  for (const auto& v : program.variables)
    if (auto it = bindings.find("@" + v->name); it != bindings.end()) runtime::arrange({v->type->layout}, v->type->shape, ir::element_bytes(it->second.type.element), it->second.bytes().data(), variables.get() + v->offset);
  for (const auto& port : entry.inputs) load(bindings.at(port->name), at(*port->place));

  for (Rounds rounds(entry); !rounds.done(); rounds.next())
    for (const auto& strand : entry.phases[rounds.phase()]->strands) {
      const uint64_t units = strand->calls.front()->units;
      const bool same = std::all_of(strand->calls.begin(), strand->calls.end(), [&](const auto& call) { return call->units == units; });
      uint64_t step = strand->block > 0 ? strand->block : grain > 0 && same ? static_cast<uint64_t>(grain) : strand->calls.front()->grain;
      for (uint64_t first = 0; first < units; first += step)
        for (const auto& call : strand->calls) {
          const uint64_t begin = first * call->units / units, end = std::min(first + step, units) * call->units / units;
          std::vector<char*> args;
          for (size_t a = 0; a < call->args.size(); ++a) args.push_back(at(call->args[a]) + rounds.offset(*call, a) - (call->unit_bytes.empty() ? 0 : begin * call->unit_bytes[a]));
          jit.lookup<gradc_kernel>(kernels.symbol(call->kernel))(args.data(), static_cast<int64_t>(begin), static_cast<int64_t>(end), scratch.get() + entry.local_bytes);
        }
    }

  ir::Bindings results;
  auto store = [&](const std::string& name, const ir::Type& type, const char* from) {
    ir::Tensor tensor(type);
    std::memcpy(tensor.bytes().data(), from, tensor.bytes().size());
    results.emplace(name, std::move(tensor));
  };
  for (const ir::Result& r : function.results) {
    if (!r.write) continue;
    for (const auto& v : program.variables)
      if (v->name == r.name) {
        ir::Tensor tensor(function.type(r.value));
        runtime::restore({v->type->layout}, v->type->shape, ir::element_bytes(tensor.type.element), variables.get() + v->offset, tensor.bytes().data());
        results.emplace("@" + r.name, std::move(tensor));
      }
  }
  for (const auto& port : entry.outputs) store(port->name, function.type(function.result(port->name)->value), at(*port->place));
  return results;
}
}  // namespace gradc::codegen
