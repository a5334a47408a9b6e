// The options that every subcommand has which compiles a model file.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "frontend/driver.h"

namespace CLI {
class App;
}

namespace gradc::command {

struct DriverFlags {
  std::vector<std::string> set, optimizers;
  std::string target = "native", precision, memory_limit;
  passes::Winograd winograd = passes::Winograd::automatic;
  bool verify = false, tune = false;
};

/// The flags' help texts stand here alone.
void add_driver_flags(CLI::App&, DriverFlags&);

/// A driver with these options; nothing, after a message, if one of them is malformed.
std::optional<Driver> make_driver(const DriverFlags&);

}  // namespace gradc::command
