// gradc dump: what a model file is at each stage of its way to code.
#include <CLI/CLI.hpp>

#include "frontend/command.h"
#include "frontend/command_driver.h"

namespace gradc::command {
namespace {

constexpr const char* stages =
    "ast: the syntax tree\n"
    "graph: elaborated; gradients are still asked for by `grad`\n"
    "gradient: derivatives in full\n"
    "optimized: after rewriting, folding and merging\n"
    "kernels: what is fused into what, and the plan of each entry: phases, granules, memory\n"
    "llvm, asm: the code of every kernel";

struct Options {
  std::string file, stage = "graph", function, format = "text", output;
  DriverFlags flags;
};

int dump(const Options& options) {
  std::optional<Driver> driver = make_driver(options.flags);
  if (!driver) return Exit::usage;
  Diagnostics& diagnostics = driver->diagnostics();
  std::optional<std::string> text = read_file(options.file, diagnostics);
  if (!text) return report(diagnostics);
  Stage stage = *stage_from_name(options.stage);
  // A file with mistakes in what it means still has a syntax tree.
  bool loaded = stage == Stage::ast ? driver->read(options.file, *text) : driver->load(options.file, *text);
  if (!loaded) return report(diagnostics);
  DumpFormat format = options.format == "dot" ? DumpFormat::dot : options.format == "svg" ? DumpFormat::svg : DumpFormat::text;
  std::optional<std::string> dumped = driver->dump(stage, format, options.function);
  if (dumped) write_file(options.output, *dumped, diagnostics);
  return report(diagnostics);
}
}  // namespace

void add_dump(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("dump", "print what a model file is at a stage of its way to code");
  command->add_option("file", options->file, "a model file (.grad); `-` is standard input")->required();
  command->add_option("--stage", options->stage, stages)->check(CLI::IsMember({"ast", "graph", "gradient", "optimized", "kernels", "llvm", "asm"}))->capture_default_str();
  command->add_option("--function", options->function, "one function alone, e.g. train.adam (of stages with functions)");
  command->add_option("--format", options->format, "of graphs and kernels: text, dot or svg")->check(CLI::IsMember({"text", "dot", "svg"}))->capture_default_str();
  command->add_option("-o,--output", options->output, "file to write (default: standard output)");
  add_driver_flags(*command, options->flags);
  command->callback([options, &exit_code] { exit_code = dump(*options); });
}

}  // namespace gradc::command
