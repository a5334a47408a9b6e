#include "ir/kernel.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>

#include "ir/check.h"
#include "ir/infer.h"
#include "ir/text.h"

namespace gradc::ir {
namespace {
std::string_view form_name(Form form) {
  constexpr std::string_view names[] = {"map", "row", "column", "pairs", "contract", "scatter", "loop"};
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
  if (!kernel.tile.empty()) text += fmt::format(" in tiles of {}", fmt::join(kernel.tile, "x"));
  std::string reductions;
  for (const Node& node : kernel.body.nodes)
    if (is_reduce(node.op)) reductions += fmt::format("{}{}", reductions.empty() ? "" : ", ", info(node.op).name);
  return reductions.empty() ? text : fmt::format("{} ({})", text, reductions);
}
}  // namespace

namespace {
const Layout& layout_in(const std::vector<Layout>& list, size_t i) {
  static const Layout row_major;
  return i < list.size() ? list[i] : row_major;
}

// ", layouts a1 [j/16, i, j%16], r0 [j/16, i, j%16]"; nothing if all are row-major.
std::string layouts_text(const Kernel& kernel) {
  std::string text;
  auto add = [&](char letter, size_t i, const Layout& layout, Value v) {
    if (!layout.row_major()) text += fmt::format("{}{}{} {}", text.empty() ? " layouts " : ", ", letter, i, to_string(layout, kernel.body.type(v).shape));
  };
  for (uint32_t i = 0; i < kernel.body.size(); ++i)
    if (kernel.body.nodes[i].op == Op::input) add('a', argument_number(kernel.body.nodes[i]), kernel.argument_layout(argument_number(kernel.body.nodes[i])), Value{i});
  for (size_t i = 0; i < kernel.body.results.size(); ++i) add('r', i, kernel.result_layout(i), kernel.body.results[i].value);
  return text;
}
}  // namespace

const Layout& Kernel::argument_layout(size_t i) const { return layout_in(argument_layouts, i); }
const Layout& Kernel::result_layout(size_t i) const { return layout_in(result_layouts, i); }

std::optional<size_t> small_transform(const Function& f, const Node& node) {
  constexpr int64_t most = 64;
  if (node.op != Op::contract || contract_precision(node.attrs) != Precision::f32) return std::nullopt;
  for (size_t i : {1, 0})
    if (const Node& operand = f[node.operands[i]]; operand.op == Op::literal && operand.type.size() <= most) return i;
  return std::nullopt;
}

size_t argument_number(const Node& input) {
  const std::string& name = input.attrs.text(Attr::name);
  size_t number = 0;
  auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), number);
  CHECK(name[0] == 'a' && error == std::errc(), "kernel input {}", name);
  return number;
}

std::string describe(const Kernel& kernel) {
  constexpr int shown = 6;
  std::string text = hero_text(kernel);
  int maps = 0;
  for (const Node& node : kernel.body.nodes)
    if ((is_map(node.op) || node.op == Op::gather) && ++maps <= shown) text += fmt::format("{}{}", maps == 1 && kernel.form == Form::map ? ": " : " + ", info(node.op).name);
  if (maps > shown) text += fmt::format(" + {} more", maps - shown);
  return text;
}

std::string key(const Kernel& kernel) {
  std::string text = fmt::format("# {} domain {} outer {}{} units {}{}{}{} hero {} in_place [{}]{}\n", form_name(kernel.form), to_string(kernel.domain), kernel.outer, kernel.kept ? fmt::format(" kept {}", kernel.kept) : "", kernel.units,
                                 kernel.parts ? fmt::format(" in {} parts", kernel.parts) : "", kernel.block ? fmt::format(" in blocks of {}", kernel.block) : "",
                                 kernel.lane_block ? fmt::format(" of {} columns", kernel.lane_block) : kernel.tile.empty() ? "" : fmt::format(" of tiles {}", to_string(kernel.tile)),
                                 kernel.hero.valid() ? static_cast<int>(kernel.hero.id) : -1, fmt::join(kernel.in_place, ", "), layouts_text(kernel) + (kernel.unaligned.empty() ? "" : fmt::format(" unaligned [{}]", fmt::join(kernel.unaligned, ", "))));
  return text + print(kernel.body, {.locations = false});
}
}  // namespace gradc::ir
