#include "ir/kernel.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ir/infer.h"
#include "ir/text.h"

namespace gradc::ir {
namespace {
std::string_view form_name(Form form) {
  constexpr std::string_view names[] = {"map", "row", "column", "contract"};
  return names[static_cast<size_t>(form)];
}

// What the kernel is about, before the maps that ride along: "contract 128x256x784", "row 128|10 (reduce_max, reduce_sum)".
std::string hero_text(const Kernel& kernel) {
  if (kernel.form == Form::contract) {
    const Node& hero = kernel.body[kernel.hero];
    ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(hero.attrs.text(Attr::spec)));
    std::vector<int64_t> extents = hero.type.shape;
    for (size_t i = 0; i < spec.a.size(); ++i)
      if (spec.result.find(spec.a[i]) == spec.result.npos) extents.push_back(kernel.body.type(hero.operands[0]).shape[i]);
    return fmt::format("contract {}", fmt::join(extents, "x"));
  }
  std::string text = fmt::format("{} {}", form_name(kernel.form), fmt::join(kernel.domain, "x"));
  std::string reductions;
  for (const Node& node : kernel.body.nodes)
    if (is_reduce(node.op)) reductions += fmt::format("{}{}", reductions.empty() ? "" : ", ", info(node.op).name);
  return reductions.empty() ? text : fmt::format("{} ({})", text, reductions);
}
}  // namespace

std::string describe(const Kernel& kernel) {
  constexpr int shown = 6;
  std::string text = hero_text(kernel);
  int maps = 0;
  for (const Node& node : kernel.body.nodes)
    if (is_map(node.op) && ++maps <= shown) text += fmt::format("{}{}", maps == 1 && kernel.form == Form::map ? ": " : " + ", info(node.op).name);
  if (maps > shown) text += fmt::format(" + {} more", maps - shown);
  return text;
}

std::string key(const Kernel& kernel) {
  std::string text = fmt::format("# {} domain {} outer {} units {}{} hero {} in_place [{}]\n", form_name(kernel.form), to_string(kernel.domain), kernel.outer, kernel.units,
                                 kernel.lane_block ? fmt::format(" of {} columns", kernel.lane_block) : "",
                                 kernel.hero.valid() ? static_cast<int>(kernel.hero.id) : -1, fmt::join(kernel.in_place, ", "));
  return text + print(kernel.body, {.locations = false});
}
}  // namespace gradc::ir
