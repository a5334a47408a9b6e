// gradc build: a model file becomes an executable or a library. gradc run: the same program, compiled in memory.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>

#include "frontend/command.h"
#include "frontend/command_driver.h"

namespace gradc::command {
namespace {

namespace fs = std::filesystem;

struct BuildOptions {
  std::string file, output, emit = "exe";
  bool verbose = false;
  DriverFlags flags;
};

std::string size_text(uintmax_t bytes) { return bytes < 1000000 ? fmt::format("{} kB", (bytes + 999) / 1000) : fmt::format("{:.1f} MB", static_cast<double>(bytes) * 1e-6); }

// What --tune brought: a line for each kernel that is not computed as the model of a processor would have it.
void print_tuned(const std::vector<TunedKernel>& kernels) {
  auto count = [&](auto is) { return std::count_if(kernels.begin(), kernels.end(), is); };
  auto faster = [](const TunedKernel& k) { return k.choice != k.model; };
  auto measured = count([](const TunedKernel& k) { return k.measured; });
  fmt::print("tuned {} products ({} measured now): {} faster otherwise than the model of a processor would have them\n", kernels.size(), measured, count(faster));
  for (const TunedKernel& k : kernels)
    if (faster(k)) fmt::print("  {:.2f} x  {}\n          {}, not {}\n", k.gain, k.kernel, k.choice, k.model);
}

int build(const BuildOptions& options) {
  auto start = std::chrono::steady_clock::now();
  std::optional<Driver> driver = make_driver(options.flags);
  if (!driver) return Exit::usage;
  if (!driver->load(options.file)) return report(driver->diagnostics());
  bool library = options.emit == "lib";
  std::string output = options.output;
  if (output.empty()) output = fs::path(options.file).stem().string() + (library ? "_lib" : "");
  bool done = library ? driver->build_library(output) : driver->build_executable(output);
  int exit_code = report(driver->diagnostics());
  if (!done || exit_code != Exit::ok) return Exit::failed;
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (options.verbose) {
    for (auto& [stage, time] : driver->times()) fmt::print("{:<20} {:7.3f} s\n", stage, time);
    auto [kernels, cached] = driver->kernels();
    fmt::print("{} kernels, {} of them from the cache\n", kernels, cached);
  }
  if (options.flags.tune) print_tuned(driver->tuned());
  std::error_code ignored;
  if (library) {
    fmt::print("made the library {}/ in {:.1f} s:", output, seconds);
    for (auto& entry : fs::directory_iterator(output, ignored)) fmt::print(" {}", entry.path().filename().string());
    fmt::print("\n");
  } else {
    std::string shown = output.find('/') == std::string::npos ? "./" + output : output;
    fmt::print("made {} ({}) in {:.1f} s; try: {} train\n", output, size_text(fs::file_size(output, ignored)), seconds, shown);
  }
  return Exit::ok;
}

struct RunOptions {
  std::string file;
  DriverFlags flags;
};

int run(const RunOptions& options, std::vector<std::string> arguments) {
  std::optional<Driver> driver = make_driver(options.flags);
  if (!driver) return Exit::usage;
  if (!driver->load(options.file)) return report(driver->diagnostics());
  if (report(driver->diagnostics()) != Exit::ok) return Exit::failed;   // warnings are shown before the program starts
  size_t shown = driver->diagnostics().all().size();
  arguments.insert(arguments.begin(), fs::path(options.file).stem().string());
  int exit_code = driver->run(arguments);
  if (driver->diagnostics().all().size() > shown) return report(driver->diagnostics());
  return exit_code;
}

}  // namespace

void add_build(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<BuildOptions>();
  CLI::App* command = app.add_subcommand("build", "compile a model file to an executable or a library");
  command->add_option("file", options->file, "a model file (.grad)")->required();
  command->add_option("-o,--output", options->output, "what to make: a file for exe, a folder for lib (default: the model file's name)");
  command->add_option("--emit", options->emit, "exe: a program that trains, evaluates and predicts; lib: a C header, a static and a shared library")
      ->check(CLI::IsMember({"exe", "lib"}));
  add_driver_flags(*command, options->flags);
  command->add_flag("-v,--verbose", options->verbose, "print the time of each stage");
  command->callback([options, &exit_code] { exit_code = build(*options); });
}

void add_run(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "compile in memory and run: `gradc run models/xor.grad train --epochs 5`");
  command->add_option("file", options->file, "a model file (.grad); what follows it are the program's own arguments")->required();
  add_driver_flags(*command, options->flags);
  command->prefix_command();
  command->callback([options, command, &exit_code] { exit_code = run(*options, command->remaining()); });
}

}  // namespace gradc::command
