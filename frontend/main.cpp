// gradc: the command line. Every subcommand stands in a command_*.cpp of its own.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "frontend/command.h"
#include "ir/diagnostics.h"

namespace {

// In the order of --help.
constexpr void (*subcommands[])(CLI::App&, int& exit_code) = {
    gradc::command::add_build,
    gradc::command::add_run,
    gradc::command::add_dump,
    gradc::command::add_check,
    gradc::command::add_opt,
    gradc::command::add_fmt,
    gradc::command::add_plot,
    gradc::command::add_explain,
    gradc::command::add_ops,
};

/// CLI11 would only say that a subcommand is required.
std::string unknown_subcommand(CLI::App& app, const std::string& word) {
  std::vector<std::string> names;
  for (CLI::App* subcommand : app.get_subcommands({})) names.push_back(subcommand->get_name());
  if (word.starts_with("-") || std::find(names.begin(), names.end(), word) != names.end()) return "";
  std::string other = gradc::nearest(word, names);
  return "gradc: there is no command `" + word + "`" + (other.empty() ? "; `gradc --help` lists them" : "; did you mean `" + other + "`?") + "\n";
}

}  // namespace

int main(int count, char** arguments) {
  CLI::App app("gradc compiles a model file, network and training together, into native code.", "gradc");
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer("Start with `gradc build models/xor.grad -o xor`, then `./xor train`. `gradc COMMAND --help` says more.");
  int exit_code = gradc::command::ok;
  for (auto add : subcommands) add(app, exit_code);
  if (count == 1) {
    std::cerr << app.help();
    return gradc::command::usage;
  }
  if (std::string problem = unknown_subcommand(app, arguments[1]); !problem.empty()) {
    std::cerr << problem;
    return gradc::command::usage;
  }
  try {
    app.parse(count, arguments);
  } catch (const CLI::ParseError& error) {   // CLI11 ends --help this way, too
    return app.exit(error) == 0 ? gradc::command::ok : gradc::command::usage;
  }
  return exit_code;
}
