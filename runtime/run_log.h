// What `train --log` has written, read back: for plots.
#pragma once
#include <string>
#include <vector>

#include "runtime/error.h"

namespace gradc::runtime {

struct Point {
  double x, y;
};

/// A figure over the steps of a run. Steps of a later train block go on where the block before it ended.
struct Series {
  std::string name;             // as in the log: "loss", "lr", "val_accuracy", "critic.loss"; a layer's name in `norms`
  std::vector<Point> points;    // of what is finite
};

/// What was said of a layer's gradient. norm: not finite where that is what was said.
struct LoggedWarning {
  std::string kind, layer;      // "vanishing gradient", "net.dense1"
  double step, norm;
};

struct RunLog {
  std::string name;             // of the file, without folder and ending
  std::vector<Series> steps;    // figures of each step
  std::vector<Series> epochs;   // figures at the ends of epochs
  std::vector<Series> norms;    // by layer, in the order of the network
  std::vector<LoggedWarning> warnings;
  std::vector<double> blocks;   // steps after which another train block begins
};

Result<RunLog> read_run_log(const std::string& path);

}  // namespace gradc::runtime
