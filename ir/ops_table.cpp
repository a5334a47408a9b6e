// The operations as a document, for readers who have no C++ at hand.
#include <fmt/format.h>

#include "ir/ops.h"

namespace gradc::ir {
namespace {
struct Section {
  OpKind kind;
  std::string_view text;
};
constexpr Section sections[] = {
    {OpKind::map, "elementwise. All operands have one shape; broadcasting is a view of its own."},
    {OpKind::view, "the same elements elsewhere. Never a copy unless a pass decides so."},
    {OpKind::contract, "products summed over what the result lacks."},
    {OpKind::reduce, "many elements become one. The listed axes vanish."},
    {OpKind::index, "by numbers that are only known at run time. Axes: b are the first `batch` ones, o those before `axis`, s those of index behind b, i the rest."},
    {OpKind::source, "values from outside, constants, random numbers."},
    {OpKind::loop, "a graph that runs again and again."},
    {OpKind::gradient, "gone once gradients are expanded."},
};

std::string cell(std::string_view text) {   // a bar would end the cell
  std::string result;
  for (char c : text) result += c == '|' ? "\\|" : std::string(1, c);
  return result;
}

std::string traits_text(uint32_t traits) {
  std::string text;
  if (traits & commutative) text += "commutative";
  if (traits & associative) text += text.empty() ? "associative" : ", associative";
  return text;
}
}  // namespace

std::string_view kind_name(OpKind kind) {
  constexpr std::string_view names[] = {"map", "view", "contract", "reduce", "index", "source", "gradient", "loop"};
  return names[static_cast<size_t>(kind)];
}
std::string_view attr_kind_name(AttrKind kind) {
  constexpr std::string_view names[] = {"integer", "number", "text", "integers", "element", "dense", "function"};
  return names[static_cast<size_t>(kind)];
}

std::string operations_table() {
  std::string text = "# Operations\n\nGenerated from `ops.def` by `gradc ops --markdown`; do not edit.\n";
  for (const Section& section : sections) {
    text += fmt::format("\n## {}: {}\n\n| operation | operands | attributes | meaning | traits |\n|---|---|---|---|---|\n", kind_name(section.kind), section.text);
    for (Op op : all_ops()) {
      const OpInfo& row = info(op);
      if (row.kind != section.kind) continue;
      std::string attributes;
      for (Attr attr : row.attributes) attributes += fmt::format("{}{}: {}{}", attributes.empty() ? "" : ", ", attr_name(attr), is_optional(attr) ? "optional " : "", attr_kind_name(attr_kind(attr)));
      text += fmt::format("| `{}` | {} | {} | {} | {} |\n", row.name, row.operands < 0 ? "any" : fmt::format("{}", row.operands), attributes, cell(row.doc), traits_text(row.traits));
    }
  }
  return text;
}
}  // namespace gradc::ir
