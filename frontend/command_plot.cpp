// gradc plot: what a compiled program's `plot` does, for whoever has only the logs.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

#include "frontend/command.h"
#include "runtime/command.h"

namespace gradc::command {

void add_plot(CLI::App& app, int& exit_code) {
  struct Options {
    std::vector<std::string> logs;
    std::string out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("plot", "draw the logs of `train --log`, several runs in one picture, as SVG");
  command->add_option("logs", options->logs, "files that `train --log` has written")->required();
  command->add_option("-o,--out", options->out, "the picture (default: the first log's name, .svg)");
  command->callback([options, &exit_code] {
    auto status = runtime::plot(options->logs, options->out);
    if (!status) fmt::print(stderr, "error: {}\n", status.error().message);
    exit_code = status ? ok : failed;
  });
}

}  // namespace gradc::command
