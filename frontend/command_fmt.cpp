// gradc fmt: one layout for all model files.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "frontend/command.h"
#include "frontend/format.h"
#include "ir/diagnostics.h"

namespace gradc::command {
namespace {

/// `differs` is set when the file is not in the layout.
int format_file(const std::string& path, bool check, bool& differs) {
  Sources sources;
  Diagnostics diagnostics(sources);
  std::optional<std::string> text = read_file(path, diagnostics);
  if (!text) return report(diagnostics);
  std::optional<std::string> formatted = gradc::format(sources.add(path == "-" ? "stdin" : path, *text), sources, diagnostics);
  if (!formatted) return report(diagnostics);
  bool changed = *formatted != *text;
  differs |= changed;
  if (check) {
    if (changed) fmt::print("{} is not formatted\n", path);
  } else if (path == "-") {
    write_file("-", *formatted, diagnostics);
  } else if (changed && write_file(path, *formatted, diagnostics)) {
    fmt::print("formatted {}\n", path);
  }
  return report(diagnostics);
}

}  // namespace

void add_fmt(CLI::App& app, int& exit_code) {
  struct Options {
    std::vector<std::string> files;
    bool check = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("fmt", "put model files into the usual layout");
  command->add_option("files", options->files, "model files (.grad), rewritten in place; `-` reads standard input and prints")->required();
  command->add_flag("--check", options->check, "change nothing; name the files that would change, and exit with 1");
  command->callback([options, &exit_code] {
    bool differs = false;
    for (const std::string& file : options->files) exit_code = std::max(exit_code, format_file(file, options->check, differs));
    if (options->check && differs) exit_code = std::max<int>(exit_code, Exit::failed);
  });
}

}  // namespace gradc::command
