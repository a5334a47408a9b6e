// How `gradc dump` shows a stage.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "frontend/driver_lower.h"
#include "ir/dot.h"
#include "ir/text.h"

namespace gradc {
namespace {

std::string place_text(const program::Place& place) {
  return fmt::format("{}+{}", program::EnumNameSpace(place.space()), place.offset());
}

// The plan of an entry: phases, strands and calls with what they compute, where and from which lines.
std::string entry_text(const program::EntryT& entry) {
  std::string text = fmt::format("entry {}  arena {} bytes", entry.name, entry.arena_bytes);
  if (entry.first_update < entry.phases.size()) text += fmt::format(", variables are written from phase {} on", entry.first_update);
  text += "\n";
  for (size_t p = 0; p < entry.phases.size(); ++p) {
    text += fmt::format("  phase {}\n", p);
    for (const auto& strand : entry.phases[p]->strands) {
      text += fmt::format("    strand of {} granules\n", strand->granules);
      for (const auto& call : strand->calls) {
        text += fmt::format("      kernel {}: {}  ({} units by {})  {}\n", call->kernel, call->name, call->units, call->grain, fmt::join(call->lines, ", "));
        std::vector<std::string> in, out;
        for (size_t a = 0; a < call->args.size(); ++a) (a + call->outputs < call->args.size() ? in : out).push_back(place_text(call->args[a]));
        text += fmt::format("        reads {}; writes {}\n", fmt::join(in, ", "), fmt::join(out, ", "));
      }
    }
  }
  return text;
}
}  // namespace

std::optional<std::string> dump_stage(const DumpRequest& request, Diagnostics& diagnostics) {
  std::string text;
  if (request.stage == Stage::kernels) {
    for (size_t i = 0; i < request.kernels.kernels().size(); ++i)
      if (request.function.empty()) text += fmt::format("# kernel {}: {}\n{}\n", i, ir::describe(request.kernels.kernels()[i]), request.kernels.text(static_cast<uint32_t>(i)));
    for (const auto& entry : request.image.entries)
      if (request.function.empty() || entry->name == request.function) text += entry_text(*entry) + "\n";
    return text;
  }
  if (request.stage == Stage::llvm || request.stage == Stage::assembly) {
    for (size_t i = 0; i < request.objects.size(); ++i) {
      text += fmt::format("{} kernel {}: {}\n", request.stage == Stage::llvm ? ";" : "#", i, ir::describe(request.kernels.kernels()[i]));
      text += request.stage == Stage::llvm ? request.objects[i].llvm : request.objects[i].assembly;
    }
    return text;
  }
  if (!request.function.empty() && !request.module.function(request.function)) {
    std::vector<std::string> names;
    for (const ir::Function& f : request.module.functions) names.push_back(f.name);
    diagnostics.add(DiagnosticId::unknown_function, {}, fmt::format("there is no function `{}`", request.function)).hints = {fmt::format("functions: {}", fmt::join(names, ", "))};
    return std::nullopt;
  }
  ir::Module chosen = request.module;
  if (!request.function.empty()) chosen.functions = {*request.module.function(request.function)};
  if (request.format == DumpFormat::text) return ir::print(chosen);
  for (const ir::Function& f : chosen.functions) text += ir::dot(chosen, f);
  if (request.format == DumpFormat::dot) return text;
  if (chosen.functions.size() != 1) {
    diagnostics.add(DiagnosticId::unknown_function, {}, "svg shows one function at a time").hints = {"choose one with --function"};
    return std::nullopt;
  }
  std::string error;
  std::optional<std::string> svg = ir::svg(text, error);
  if (!svg) diagnostics.add(DiagnosticId::no_graphviz, {}, error);
  return svg;
}
}  // namespace gradc
