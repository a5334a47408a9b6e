// From command-line options to the driver's.
#include "frontend/command_driver.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "frontend/command.h"
#include "runtime/file.h"

namespace gradc::command {

void add_driver_flags(CLI::App& command, DriverFlags& flags) {
  command.add_option("--set", flags.set, "NAME=VALUE: a config value of the model file, fixed at build")->type_name("NAME=VALUE")->allow_extra_args(false);
  command.add_option("--optimizer", flags.optimizers, "an optimizer to choose from at start, beside the file's own: \"sgd(lr = 0.1)\"")
      ->type_name("CALL")
      ->allow_extra_args(false);
  command.add_option("--target", flags.target, "the processor to compile for (default: this one)");
  command.add_option("--precision", flags.precision, "of the products inside networks: f32, bf16 or bf16x3 (default: what the file says, else f32)");
  command.add_option("--winograd", flags.winograd, "3x3 convolutions by Winograd's algorithm: never, tile2 (errs as little as sums), tile4 (by some 1e-6), automatic")
      ->transform(CLI::CheckedTransformer(std::map<std::string, passes::Winograd>{
          {"never", passes::Winograd::never}, {"tile2", passes::Winograd::tile2}, {"tile4", passes::Winograd::tile4}, {"automatic", passes::Winograd::automatic}}))
      ->type_name("HOW");
  command.add_flag("--tune", flags.tune, "measure how products are computed fastest on this processor; what is found is remembered for later builds");
  command.add_option("--memory-limit", flags.memory_limit, "of the program's parameters, optimizer slots and activations: steps compute activations again to fit (64MB, 1.5GB)")
      ->type_name("SIZE");
  command.add_flag("--verify", flags.verify, "verify the graph after each pass");
}

std::optional<Driver> make_driver(const DriverFlags& flags) {
  std::optional<std::map<std::string, double>> set = parse_settings(flags.set);
  if (!set) return std::nullopt;
  DriverOptions options;
  options.set = *set;
  options.optimizers = flags.optimizers;
  options.target = flags.target;
  options.precision = flags.precision;
  options.winograd = flags.winograd;
  options.memory_limit = flags.memory_limit;
  options.verify = flags.verify;
  options.cache = runtime::cache_folder("kernels");
  options.tune = flags.tune;
  if (const char* choice = std::getenv("GRADC_TUNED_CHOICE")) options.tuned_choice = std::strtoul(choice, nullptr, 10);
  return std::optional<Driver>(std::in_place, std::move(options));
}

}  // namespace gradc::command
