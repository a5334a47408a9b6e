// How `gradc dump` shows a stage.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "frontend/driver_lower.h"
#include "ir/dot.h"
#include "ir/text.h"

namespace gradc {

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
    return kernels_text(request);
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
