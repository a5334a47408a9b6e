// Gradients against finite differences, in f64: `gradc check` and the tests of the gradient rules.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "ir/evaluate.h"

namespace gradc::passes {

struct CheckOptions {
  double tolerance = 1e-6;          // relative error that is still right
  int64_t most_coordinates = 16;    // of a tensor; larger ones are sampled
  uint64_t seed = 1;
};

/// The worst coordinate of one input or variable.
struct CheckedGradient {
  std::string name;                 // "image" or "@net.w"
  ir::Loc loc;
  int64_t checked = 0, coordinate = 0;
  double analytic = 0, numeric = 0, error = 0;   // error: relative to the larger of both, to a thousandth of the tensor's largest
                                                 // derivative and to what rounding of the function leaves visible
  bool right = true;
};

/// Checks the derivatives of one scalar result by every floating-point input and variable that it depends on, near `at` (values of any
/// floating-point type, taken to f64). grad nodes may stand in the function: then second derivatives are checked. What stop_gradient protects is held fixed.
std::vector<CheckedGradient> check_gradients(const ir::Function&, const std::string& result, const ir::Bindings& at, const CheckOptions& = {});

struct Range {
  double low = 0, high = 1;
};
/// Values for a check: inputs from the given ranges [low, high) (others: floats normal, integers 0 or 1), variables as function `init` of the module
/// leaves them, moved a little so that zeros are none, or normal if there is no init.
ir::Bindings check_point(const ir::Module&, const ir::Function&, const std::map<std::string, Range>& ranges, uint64_t seed = 1);

struct CheckedFunction {
  std::string function, result;
  std::vector<CheckedGradient> gradients;
};
/// What `gradc check` does: the result "loss" of every function that has one, or else (IR files) every scalar result that is a float and
/// not written, each different computation once, for functions in which gradients still stand as grad nodes or have none.
std::vector<CheckedFunction> check_module(const ir::Module&, const std::map<std::string, Range>& ranges, const CheckOptions& = {});

}  // namespace gradc::passes
