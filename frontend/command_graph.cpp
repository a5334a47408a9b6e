// Modules on the command line: choosing, showing and running functions.
#include "frontend/command_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "frontend/command.h"
#include "ir/diagnostics.h"
#include "ir/dot.h"
#include "ir/text.h"

namespace gradc::command {

bool keep_only(ir::Module& module, const std::string& name, Diagnostics& diagnostics) {
  if (name.empty()) return true;
  std::vector<std::string> names;
  for (const ir::Function& function : module.functions) names.push_back(function.name);
  auto wanted = std::find(names.begin(), names.end(), name);
  if (wanted == names.end()) {
    Diagnostic& diagnostic = diagnostics.add(DiagnosticId::unknown_function, {}, fmt::format("there is no function `{}`", name));
    std::string other = nearest(name, names);
    diagnostic.hints.push_back(other.empty() ? fmt::format("the functions are {}", fmt::join(names, ", ")) : fmt::format("did you mean `{}`?", other));
    return false;
  }
  ir::Function kept = std::move(module.functions[wanted - names.begin()]);
  std::set<std::string> touched;
  for (const ir::Node& node : kept.nodes)
    if (node.op == ir::Op::variable) touched.insert(node.attrs.text(ir::Attr::name));
  for (const ir::Result& result : kept.results)
    if (result.write) touched.insert(result.name);
  std::erase_if(module.variables, [&](const ir::Variable& variable) { return !touched.contains(variable.name); });
  module.functions.clear();
  module.functions.push_back(std::move(kept));
  return true;
}

std::optional<std::string> show(const ir::Module& module, const std::string& format, Diagnostics& diagnostics) {
  if (format == "text") return ir::print(module);
  if (format == "dot") return ir::dot(module);
  ir::Svg drawing = ir::svg(ir::dot(module));
  if (drawing.error.empty()) return std::move(drawing.text);
  diagnostics.add(DiagnosticId::no_drawing, {}, drawing.error);
  return std::nullopt;
}

}  // namespace gradc::command
