// gradc dump: what a model file is at each stage of its way to code.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "frontend/ast_dump.h"
#include "frontend/command.h"
#include "frontend/command_graph.h"
#include "frontend/parser.h"
#include "ir/diagnostics.h"

namespace gradc::command {
namespace {

struct Options {
  std::string file, stage = "graph", only, format = "text", output;
  std::vector<std::string> set;
};

int dump(const Options& options) {
  Sources sources;
  Diagnostics diagnostics(sources);
  std::optional<std::string> text = read_file(options.file, diagnostics);
  if (!text) return report(diagnostics);
  FileId file = sources.add(options.file == "-" ? "stdin" : options.file, *text);
  ast::File tree = parse(file, sources, diagnostics);
  if (!diagnostics.failed()) write_file(options.output, gradc::dump(tree), diagnostics);
  return report(diagnostics);
}

}  // namespace

void add_dump(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("dump", "print what a model file is at a stage of its way to code");
  command->add_option("file", options->file, "a model file (.grad); `-` is standard input")->required();
  command->add_option("--stage", options->stage, "ast: the syntax tree")->check(CLI::IsMember({"ast"}));
  command->add_option("--function", options->only, "this function of the graph alone");
  command->add_option("--set", options->set, "NAME=VALUE: a config value");
  command->add_option("--format", options->format, "of graphs: text, dot or svg")->check(CLI::IsMember({"text", "dot", "svg"}));
  command->add_option("-o,--output", options->output, "file to write (default: standard output)");
  command->callback([options, &exit_code] { exit_code = dump(*options); });
}

}  // namespace gradc::command
