// The schedule of a kernel in words, for dumps.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "codegen/contract_plan.h"
#include "codegen/emit.h"
#include "codegen/nest.h"

namespace gradc::codegen {
namespace {
using ir::Form;
using ir::Kernel;

std::string units_text(const Kernel& kernel) {
  if (kernel.units == 1) return "one unit";
  switch (kernel.form) {
    case Form::column:
      if (kernel.kept > 0) break;
      return fmt::format("{} units of {} columns", kernel.units, Kernel::column_block);
    case Form::contract:
      if (kernel.parts > 0) return fmt::format("{} units of the sum, {} parts", kernel.units, kernel.parts);
      if (kernel.lane_block > 0) return fmt::format("{} units of {} columns", kernel.units, kernel.lane_block);
      break;
    case Form::map:
      if (!kernel.tile.empty()) return fmt::format("{} units, one a tile", kernel.units);
      if (kernel.outer == 0) return fmt::format("{} units of {} elements", kernel.units, Kernel::flat_block);
      break;
    case Form::row:
    case Form::pairs:
    case Form::scatter:
    case Form::loop: break;
  }
  return fmt::format("{} units, one a row", kernel.units);
}

std::string contract_schedule(const Kernel& kernel, const Target& target, const ContractChoice* choice) {
  ContractPlan plan = plan_contract(kernel, target, choice);
  std::vector<std::string> parts;
  if (plan.form == ContractForm::dot) {
    parts.push_back(fmt::format("{} rows at a time, {} vectors of {} along the reduction", plan.heights[0], plan.vectors, plan.width));
  } else {
    std::vector<int> heights;
    for (int height : plan.heights)
      if (heights.empty() || heights.back() != height) heights.push_back(height);
    parts.push_back(fmt::format("tiles of {} rows x {} vectors of {}{}", fmt::join(heights, ", "), plan.vectors, plan.width, plan.form == ContractForm::batch_lanes ? " along the batch" : ""));
  }
  if (plan.turned) parts.push_back("turned before the epilogue");
  if (plan.lines_of_a && plan.lines_of_a->summed) parts.push_back("lanes along lines that are summed");
  if (plan.lines_of_a) parts.push_back(plan.lines_of_a->across ? "lanes along lines, copied between zeros" : plan.lines_of_a->bordered ? "lines copied between zeros" : "line by line");
  if (plan.pack_a) parts.push_back("rows packed");
  if (plan.pack_b) parts.push_back("columns packed");
  if (plan.paired) parts.push_back("columns in pairs already");
  if (plan.depth_block < plan.depth && plan.form != ContractForm::dot) parts.push_back(fmt::format("the reduction in blocks of {}", plan.depth_block));
  if (choice) parts.push_back("tuned");
  return fmt::format("{}", fmt::join(parts, ", "));
}
}  // namespace

std::string schedule(const Kernel& kernel, const Target& target, const ContractChoice* choice) {
  std::string how;
  switch (kernel.form) {
    case Form::contract: how = contract_schedule(kernel, target, choice); break;
    case Form::loop: break;   // the plan lists its kernels
    case Form::row: how = "row by row, lanes along a row"; break;
    case Form::column: how = "columns in registers, row by row"; break;
    case Form::scatter: how = "indices in order, lanes along a row"; break;
    case Form::pairs: how = fmt::format("rounded to {}", to_string(kernel.result_layout(0), kernel.domain)); break;
    case Form::map: how = kernel.domain.empty() ? "scalars" : kernel.tile.empty() ? "lanes along the last axis" : fmt::format("tiles of {}, lanes along the last axis", fmt::join(kernel.tile, "x")); break;
  }
  return how + "; " + units_text(kernel);
}
}  // namespace gradc::codegen
