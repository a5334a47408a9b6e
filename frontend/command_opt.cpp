// gradc opt: passes over IR text. Any dump of a graph can be fed back: changed by passes or single rules, verified, drawn,
// or run by the reference evaluator.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "frontend/command.h"
#include "frontend/command_graph.h"
#include "ir/check.h"
#include "ir/diagnostics.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "passes/pass.h"
#include "passes/rules.h"

namespace gradc::command {
namespace {

struct Options {
  std::string file, passes, rules, output, format = "text", only;
  std::vector<std::string> inputs;
  int64_t seed = 0;
  bool list = false, verify = false, evaluate = false;
};

int list() {
  fmt::print("passes, in the order of the pipeline:\n");
  for (const passes::Pass& pass : passes::all_passes()) fmt::print("  {:<18} {}\n", pass.name, pass.why);
  fmt::print("\nrewrite rules, in the order in which they are tried:\n");
  for (const passes::Rule& rule : passes::all_rules()) fmt::print("  {}\n", rule.name);
  return Exit::ok;
}

/// The table's rows of these names, in the order of the names; a diagnostic for each that does not exist.
template <class Row>
std::vector<const Row*> choose(const std::string& names, std::span<const Row> table, std::string_view what, Diagnostics& diagnostics) {
  std::vector<const Row*> chosen;
  for (const std::string& name : split_list(names)) {
    std::vector<std::string> known;
    const Row* found = nullptr;
    for (const Row& row : table) {
      if (row.name == name) found = &row;
      known.emplace_back(row.name);
    }
    if (found) {
      chosen.push_back(found);
    } else {
      Diagnostic& diagnostic = diagnostics.add(DiagnosticId::unknown_pass, {}, fmt::format("there is no {} `{}`", what, name));
      std::string other = nearest(name, known);
      diagnostic.hints.push_back(other.empty() ? "`gradc opt --list` prints all of them" : fmt::format("did you mean `{}`?", other));
    }
  }
  return chosen;
}

int opt(const Options& options) {
  if (options.list) return list();
  if (options.file.empty()) {
    fmt::print(stderr, "gradc opt: no file; `-` reads standard input\n");
    return Exit::usage;
  }
  Sources sources;
  Diagnostics diagnostics(sources);
  std::optional<std::string> text = read_file(options.file, diagnostics);
  auto chosen_passes = choose(options.passes, passes::all_passes(), "pass", diagnostics);
  auto chosen_rules = choose(options.rules, passes::all_rules(), "rule", diagnostics);
  if (!text || diagnostics.failed()) return report(diagnostics);

  std::optional<ir::Module> module = ir::parse_module(sources.add(options.file == "-" ? "stdin" : options.file, *text), sources, diagnostics);
  if (!module || !keep_only(*module, options.only, diagnostics)) return report(diagnostics);

  std::string notes;   // comments at the head of the output: how often each rule was applied
  for (const passes::Rule* rule : chosen_rules) {
    int count = 0;
    for (ir::Function& function : module->functions) {
      Doing doing(fmt::format("rule {} on function {}", rule->name, function.name));
      count += passes::apply_rules(function, std::span(rule, 1));
      function.prune();
    }
    notes += fmt::format("# rule {}: applied {} time{}\n", rule->name, count, count == 1 ? "" : "s");
  }
  for (const passes::Pass* pass : chosen_passes) {
    for (ir::Function& function : module->functions) {
      Doing doing(fmt::format("pass {} on function {}", pass->name, function.name));
      pass->run(function);
      if (!options.verify) continue;
      std::string problem = ir::verify(function);
      CHECK(problem.empty(), "{}", problem);
    }
  }
  if (options.evaluate) {
    run_functions(*module, options.inputs, options.seed, diagnostics);
    return report(diagnostics);
  }
  if (std::optional<std::string> shown = show(*module, options.format, diagnostics))
    write_file(options.output, (options.format == "text" ? notes : "") + *shown, diagnostics);
  return report(diagnostics);
}

}  // namespace

void add_opt(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("opt", "run passes over the text of a graph (.gir), as `gradc dump` prints it");
  command->add_option("file", options->file, "a .gir file; `-` is standard input");
  command->add_option("-p,--passes", options->passes, "passes by name, in order: a,b,c");
  command->add_option("--rules", options->rules, "single rewrite rules by name, before the passes");
  command->add_flag("--list", options->list, "print the names of passes and rules");
  command->add_flag("--verify", options->verify, "verify the graph after each pass");
  command->add_option("--function", options->only, "keep this function alone");
  command->add_flag("--run", options->evaluate, "evaluate the functions and print their results");
  command->add_option("--input", options->inputs, "NAME=FILE.npy or NAME=NUMBER: a value for --run; what is not given is drawn at random");
  command->add_option("--seed", options->seed, "for the values that --run draws");
  command->add_option("--format", options->format, "text, dot or svg")->check(CLI::IsMember({"text", "dot", "svg"}));
  command->add_option("-o,--output", options->output, "file to write (default: standard output)");
  command->callback([options, &exit_code] { exit_code = opt(*options); });
}

}  // namespace gradc::command
