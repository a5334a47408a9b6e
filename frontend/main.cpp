// gradc: the command line. Every subcommand stands in a command_*.cpp of its own.
#include <CLI/CLI.hpp>
#include <iostream>

#include "frontend/command.h"

namespace {

// In the order of --help.
constexpr void (*subcommands[])(CLI::App&, int& exit_code) = {
    gradc::command::add_dump,
    gradc::command::add_opt,
    gradc::command::add_explain,
    gradc::command::add_ops,
};

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
  try {
    app.parse(count, arguments);
  } catch (const CLI::ParseError& error) {   // CLI11 ends --help this way, too
    return app.exit(error) == 0 ? gradc::command::ok : gradc::command::usage;
  }
  return exit_code;
}
