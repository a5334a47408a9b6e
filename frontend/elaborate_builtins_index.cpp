// Built-in functions that read and add at numbers which are only known at run time: gather and scatter_add. `x[index]` with a tensor among the subscripts is a gather, too.
#include <fmt/format.h>

#include "frontend/elaborate_builtins.h"

namespace gradc::front {
using ir::Attr;
using ir::ElementType;
using ir::Op;

namespace {
// A tensor of integers, or a list of them; invalid after an error.
ir::Value integers(BuiltinCall& c, size_t i) {
  ir::Value v = c.e.node(c[i], c.spans[i], ElementType::i32);
  if (v.valid() && !ir::is_integer(c.e.type(v).element)) {
    c.e.fail(DiagnosticId::wrong_element_type, c.spans[i], fmt::format("an index is of integers, this is {}", ir::to_string(c.e.type(v))), "", {}, {"`i32(x)` truncates"});
    return {};
  }
  return v;
}

std::optional<int64_t> whole(BuiltinCall& c, size_t i, int64_t otherwise, const char* name) {
  return c.given(i) ? c.e.fix_integer(c[i], c.spans[i], fmt::format("`{}`", name)) : otherwise;
}

// What is wrong is said by the shape rule.
Value make(BuiltinCall& c, Op op, std::initializer_list<ir::Value> operands, const ir::Attrs& attrs) {
  std::vector<ir::Type> types;
  for (ir::Value v : operands) types.push_back(c.e.type(v));
  ir::Inferred type = ir::infer_type(op, types, attrs);
  if (auto* error = std::get_if<std::string>(&type)) return c.e.fail(DiagnosticId::shape_mismatch, c.at, *error);
  return c.e.tensor(c.e.builder().make(op, operands, attrs));
}

Value gather(BuiltinCall& c) {
  ir::Value x = c.e.node(c[0], c.spans[0]), index = integers(c, 1);
  if (!x.valid() || !index.valid()) return Poison{};
  auto axis = c.given(2) ? c.e.axis(c[2], c.e.type(x).rank(), c.spans[2]) : std::optional<int64_t>(0), batch = whole(c, 3, 0, "batch");
  if (!axis || !batch) return Poison{};
  return make(c, Op::gather, {x, index}, {{Attr::axis, *axis}, {Attr::batch, *batch}});
}

Value scatter_add(BuiltinCall& c) {
  ir::Value index = integers(c, 0), updates = c.e.node(c[1], c.spans[1]);
  if (!index.valid() || !updates.valid()) return Poison{};
  auto extent = c.e.fix_shape(c[2], c.spans[2], "`extent`");
  auto axis = whole(c, 3, 0, "axis"), batch = whole(c, 4, 0, "batch");
  if (!extent || !axis || !batch) return Poison{};
  if (extent->size() != 1) return c.e.fail(DiagnosticId::wrong_arguments, c.spans[2], "`extent` is one number: how many rows there are to add to");
  const ElementType element = c.e.type(updates).element;
  updates = c.e.builder().cast(updates, element == ElementType::bf16 ? ElementType::f32 : element);
  return make(c, Op::scatter_add, {index, updates}, {{Attr::axis, *axis}, {Attr::batch, *batch}, {Attr::extent, (*extent)[0]}});
}

constexpr Builtin table[] = {
  {"gather", "x index axis? batch?", gather},
  {"scatter_add", "index updates extent axis? batch?", scatter_add},
};
}  // namespace

std::span<const Builtin> index_builtins() { return table; }

}  // namespace gradc::front
