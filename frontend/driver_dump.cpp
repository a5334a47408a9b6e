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
  auto chosen = [&](const std::string& name) { return request.function.empty() || name == request.function; };
  if (!request.function.empty() && !request.module.function(request.function)) {
    std::vector<std::string> names;
    for (const ir::Function& f : request.module.functions) names.push_back(f.name);
    diagnostics.add(DiagnosticId::unknown_function, {}, fmt::format("there is no function `{}`", request.function)).hints = {fmt::format("functions: {}", fmt::join(names, ", "))};
    return std::nullopt;
  }
  std::string text;
  if (request.stage == Stage::llvm || request.stage == Stage::assembly) {
    for (size_t i = 0; i < request.objects.size(); ++i) {
      text += fmt::format("{} kernel {}: {}\n", request.stage == Stage::llvm ? ";" : "#", i, ir::describe(request.kernels.kernels()[i]));
      text += request.stage == Stage::llvm ? request.objects[i].llvm : request.objects[i].assembly;
    }
    return text;
  }
  bool kernels = request.stage == Stage::kernels;
  if (request.format == DumpFormat::text) {
    if (!kernels) {
      ir::Module module = request.module;
      std::erase_if(module.functions, [&](const ir::Function& f) { return !chosen(f.name); });
      return ir::print(module);
    }
    std::vector<bool> used(request.kernels.kernels().size(), request.function.empty());
    std::string entries;
    for (const auto& entry : request.image.entries) {
      if (!chosen(entry->name)) continue;
      entries += entry_text(*entry) + "\n";
      for (const auto& phase : entry->phases)
        for (const auto& strand : phase->strands)
          for (const auto& call : strand->calls) used[call->kernel] = true;
    }
    for (size_t i = 0; i < used.size(); ++i)
      if (used[i]) text += fmt::format("# kernel {}: {}\n{}\n", i, ir::describe(request.kernels.kernels()[i]), request.kernels.text(static_cast<uint32_t>(i)));
    return text + entries;
  }
  ir::Module module = request.module;
  std::erase_if(module.functions, [&](const ir::Function& f) { return !chosen(f.name); });
  if (kernels) {
    for (const FusedFunction& f : request.fused)
      if (chosen(f.function.name)) text += ir::dot(f.function, f.calls, &request.module);
  } else {
    text = ir::dot(module);
  }
  if (request.format == DumpFormat::dot) return text;
  if (kernels && module.functions.size() != 1) {
    diagnostics.add(DiagnosticId::unknown_function, {}, "a drawing of kernels shows one function at a time").hints = {"choose one with --function"};
    return std::nullopt;
  }
  ir::Svg svg = ir::svg(text);
  if (!svg.error.empty()) {
    diagnostics.add(DiagnosticId::no_drawing, {}, svg.error);
    return std::nullopt;
  }
  return svg.text;
}
}  // namespace gradc
