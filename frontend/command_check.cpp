// gradc check: everything that can be known about a model file without training it: types, shapes, and each derivative against
// finite differences in double precision.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "frontend/command.h"
#include "frontend/elaborate.h"
#include "ir/diagnostics.h"
#include "ir/text.h"
#include "passes/check.h"

namespace gradc::command {
namespace {

struct Options {
  std::string file;
  std::vector<std::string> set;
  bool verbose = false;
  passes::CheckOptions check;
};

/// What the data declares about its fields: values that a model is made for.
std::map<std::string, passes::Range> declared_ranges(const program::ProgramT& image) {
  std::map<std::string, passes::Range> ranges;
  for (const auto& data : image.data)
    for (const auto& field : data->fields) {
      if (field->has_range)
        ranges[field->name] = {field->low, field->high};
      else if (field->type->element == program::ElementType::u8)
        ranges[field->name] = {0, 256};
    }
  return ranges;
}

Span span_of(const Sources& sources, const ir::Loc& loc) {
  if (!loc.known() || loc.file >= sources.paths().size()) return {};
  std::string_view line = sources.line(loc.file, loc.line);
  if (line.empty()) return {};
  uint32_t begin = static_cast<uint32_t>(line.data() - sources.text(loc.file).data());
  return {loc.file, begin, begin + static_cast<uint32_t>(line.size())};
}

/// Settings (t, learning rates): schedules may have kinks by them, and no program uses those derivatives.
bool is_setting(const ir::Function* function, const std::string& input) {
  if (!function) return false;
  ir::Value value = function->input(input);
  return value.valid() && function->type(value) == ir::Type{ir::ElementType::f64, {}};
}

/// Prints a line per function; wrong derivatives become diagnostics.
void check_gradients(const ir::Module& module, const std::map<std::string, passes::Range>& ranges, const Options& options, const Sources& sources,
                     Diagnostics& diagnostics) {
  auto functions = passes::check_module(module, ranges, options.check);
  if (functions.empty()) fmt::print("gradients: no function has one\n");
  for (passes::CheckedFunction& checked : functions) {
    std::erase_if(checked.gradients, [&](const passes::CheckedGradient& gradient) { return is_setting(module.function(checked.function), gradient.name); });
    int64_t elements = 0, wrong = 0;
    double worst = 0;
    for (const passes::CheckedGradient& gradient : checked.gradients) {
      elements += gradient.checked;
      worst = std::max(worst, gradient.error);
      wrong += !gradient.right;
      if (options.verbose)
        fmt::print("  {:<24} {:3} elements, worst {:.1e}: {:.6g}, by differences {:.6g}\n", gradient.name, gradient.checked, gradient.error, gradient.analytic, gradient.numeric);
      if (gradient.right) continue;
      Diagnostic& diagnostic = diagnostics.add(DiagnosticId::wrong_gradient, span_of(sources, gradient.loc),
                                               fmt::format("the derivative of {} by {} in {} is {:.6g}, but by finite differences {:.6g} (element {})", checked.result,
                                                           gradient.name, checked.function, gradient.analytic, gradient.numeric, gradient.coordinate));
      diagnostic.hints.push_back("a kink or a jump near the point of the check looks like this, too: try another --seed");
    }
    fmt::print("gradients of {} in {}: {} tensors, {} elements, largest relative error {:.1e}{}\n", checked.result, checked.function, checked.gradients.size(), elements, worst,
               wrong ? " (WRONG)" : "");
  }
}

int check(const Options& options) {
  Sources sources;
  Diagnostics diagnostics(sources);
  std::optional<std::string> text = read_file(options.file, diagnostics);
  if (!text) return report(diagnostics);
  FileId file = sources.add(options.file, *text);
  if (options.file.ends_with(".gir")) {
    if (std::optional<ir::Module> module = ir::parse_module(file, sources, diagnostics)) {
      fmt::print("types and shapes: right ({} function{})\n", module->functions.size(), module->functions.size() == 1 ? "" : "s");
      check_gradients(*module, {}, options, sources, diagnostics);
    }
    return report(diagnostics);
  }
  ElaborateOptions elaborate_options;
  if (auto settings = parse_settings(options.set)) {
    elaborate_options.set = *settings;
  } else {
    return Exit::usage;
  }
  if (std::optional<Program> program = elaborate(file, sources, diagnostics, elaborate_options)) {
    fmt::print("types and shapes: right\n");
    check_gradients(program->module, declared_ranges(program->image), options, sources, diagnostics);
  }
  return report(diagnostics);
}

}  // namespace

void add_check(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("check", "check types, shapes, and every gradient against finite differences in double precision");
  command->add_option("file", options->file, "a model file (.grad) or the text of a graph (.gir)")->required();
  command->add_option("--set", options->set, "NAME=VALUE: a config value of the model file")->type_name("NAME=VALUE")->allow_extra_args(false);
  command->add_option("--tolerance", options->check.tolerance, "largest relative error that is still right");
  command->add_option("--elements", options->check.most_coordinates, "elements to check in each tensor");
  command->add_option("--seed", options->check.seed, "for the point where gradients are checked");
  command->add_flag("-v,--verbose", options->verbose, "a line per parameter");
  command->callback([options, &exit_code] { exit_code = check(*options); });
}

}  // namespace gradc::command
