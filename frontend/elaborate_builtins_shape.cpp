// Built-in functions about shapes: views, joins, and what is known of a shape at compile time.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "frontend/elaborate_builtins.h"

namespace gradc::front {
using ir::Attr;
using ir::ElementType;
using ir::Op;

namespace {
Value reshape(BuiltinCall& c) {
  ir::Value v = c.e.node(c[0], c.spans[0]);
  auto shape = c.e.fix_integers(c[1], c.spans[1], "a shape");
  if (!v.valid() || !shape) return Poison{};
  const ir::Type t = c.e.type(v);
  int64_t known = 1, open = -1;
  for (size_t i = 0; i < shape->size(); ++i) {
    int64_t extent = (*shape)[i];
    if (extent == -1 && open < 0) open = static_cast<int64_t>(i);
    else if (extent < 1) return c.e.fail(DiagnosticId::not_whole, c.spans[1], fmt::format("dimension {} of the new shape is {}", i, extent), "", {}, {"one dimension may be -1: what remains"});
    else known *= extent;
  }
  if (open >= 0 && known > 0 && t.size() % known == 0) (*shape)[open] = t.size() / known;
  if (open >= 0 ? t.size() % known != 0 : known != t.size())
    return c.e.fail(DiagnosticId::shape_mismatch, c.at, fmt::format("{} has {} elements and cannot become {}", ir::to_string(t), t.size(), ir::to_string(*shape)), "",
                    {{c.spans[0], fmt::format("this is {}", ir::to_string(t))}});
  return c.e.tensor(c.e.builder().reshape(v, *shape));
}

Value transpose(BuiltinCall& c) {
  ir::Value v = c.e.node(c[0], c.spans[0]);
  if (!v.valid()) return Poison{};
  int64_t rank = c.e.type(v).rank();
  std::vector<int64_t> axes(rank);
  for (int64_t i = 0; i < rank; ++i) axes[i] = rank - 1 - i;
  if (c.given(1)) {
    auto given = c.e.fix_integers(c[1], c.spans[1], "the axes");
    if (!given) return Poison{};
    for (int64_t& a : *given)
      if (a < 0) a += rank;
    auto sorted = *given;
    std::sort(sorted.begin(), sorted.end());
    std::iota(axes.begin(), axes.end(), 0);
    if (sorted != axes) return c.e.fail(DiagnosticId::bad_axis, c.spans[1], fmt::format("{} is no order of the {} dimensions of {}", ir::to_string(*given), rank, ir::to_string(c.e.type(v))));
    axes = *given;
  }
  return c.e.tensor(c.e.builder().transpose(v, axes));
}

Value broadcast(BuiltinCall& c) {
  auto shape = c.e.fix_shape(c[1], c.spans[1], "a shape");
  if (!shape) return Poison{};
  if (c[0].is<Number>()) return c.e.tensor(c.e.number_like(c[0], {ElementType::f32, *shape}));
  ir::Value v = c.e.node(c[0], c.spans[0]);
  if (!v.valid()) return Poison{};
  const ir::Type t = c.e.type(v);
  bool fits = t.shape.size() <= shape->size();
  for (size_t i = 0; fits && i < t.shape.size(); ++i) fits = t.shape[i] == 1 || t.shape[i] == (*shape)[shape->size() - t.shape.size() + i];
  if (!fits) return c.e.fail(DiagnosticId::shape_mismatch, c.at, fmt::format("{} does not broadcast to {}", ir::to_string(t), ir::to_string(*shape)));
  return c.e.tensor(c.e.builder().broadcast_to(v, *shape));
}

Value fill(BuiltinCall& c) {
  auto shape = c.e.fix_shape(c[1], c.spans[1], "a shape");
  if (!shape) return Poison{};
  if (!c[0].is<Number>()) return broadcast(c);
  return c.e.tensor(c.e.number_like(c[0], {ElementType::f32, *shape}));
}

Value concat(BuiltinCall& c) {
  if (c[0].is<List>() && c[1].is<List>()) {   // of lists
    Values items = *c[0].get<List>()->items;
    items.insert(items.end(), c[1].get<List>()->items->begin(), c[1].get<List>()->items->end());
    return make_list(std::move(items));
  }
  const Values* items = c[0].get<List>() ? c[0].get<List>()->items.get() : c[0].get<Tuple>() ? c[0].get<Tuple>()->items.get() : nullptr;
  if (!items || items->empty()) return c.e.fail(DiagnosticId::wrong_kind, c.spans[0], "`concat` joins a list of tensors");
  std::vector<ir::Value> parts;
  ElementType element = ElementType::u8;
  for (const Value& item : *items) {
    ir::Value v = c.e.node(item, c.spans[0]);
    if (!v.valid()) return Poison{};
    parts.push_back(v);
    element = parts.size() == 1 ? c.e.type(v).element : c.e.promote(element, c.e.type(v).element);
  }
  if (element == ElementType::boolean) return c.e.fail(DiagnosticId::wrong_element_type, c.spans[0], "`concat` joins numbers, not bools");
  int64_t rank = c.e.type(parts[0]).rank();
  auto axis = c.e.axis(c.given(1) ? c[1] : Value(-1.0), rank, c.spans[1]);
  if (!axis) return Poison{};
  int64_t total = 0;
  for (ir::Value v : parts) {
    ir::Shape a = c.e.type(v).shape, b = c.e.type(parts[0]).shape;
    bool same = a.size() == b.size();
    if (same) total += a[*axis], a[*axis] = b[*axis] = 0;
    if (!same || a != b)
      return c.e.fail(DiagnosticId::shape_mismatch, c.at, fmt::format("shapes do not fit for `concat` along dimension {}: {} and {}", *axis, ir::to_string(c.e.type(parts[0])), ir::to_string(c.e.type(v))));
  }
  // Padded with zeros to the whole and added: a join is a sum of disjoint pieces.
  ir::Builder& b = c.e.builder();
  ir::Value result;
  int64_t at = 0;
  for (ir::Value v : parts) {
    v = b.cast(v, element);
    std::vector<int64_t> low(rank, 0), high(rank, 0), interior(rank, 0);
    int64_t extent = b.type(v).shape[*axis];
    low[*axis] = at;
    high[*axis] = total - at - extent;
    at += extent;
    ir::Value piece = parts.size() == 1 ? v : b.make(Op::pad, {v}, {{Attr::low, low}, {Attr::high, high}, {Attr::interior, interior}, {Attr::value, 0.0}});
    result = result.valid() ? b.make(Op::add, {result, piece}) : piece;
  }
  return c.e.tensor(result);
}

Value stack(BuiltinCall& c) {
  const Values* items = c[0].get<List>() ? c[0].get<List>()->items.get() : c[0].get<Tuple>() ? c[0].get<Tuple>()->items.get() : nullptr;
  if (!items || items->empty()) return c.e.fail(DiagnosticId::wrong_kind, c.spans[0], "`stack` joins a list of tensors");
  Values raised;
  Value axis_value = c.given(1) ? c[1] : Value(0.0);
  for (const Value& item : *items) {
    ir::Value v = c.e.node(item, c.spans[0]);
    if (!v.valid()) return Poison{};
    ir::Shape shape = c.e.type(v).shape;
    auto axis = c.e.axis(axis_value, static_cast<int64_t>(shape.size()) + 1, c.spans[1]);
    if (!axis) return Poison{};
    shape.insert(shape.begin() + *axis, 1);
    raised.push_back(c.e.tensor(c.e.builder().reshape(v, shape)));
  }
  c.values = {make_list(std::move(raised)), axis_value};
  return concat(c);
}

Value pad(BuiltinCall& c) {
  ir::Value v = c.e.node(c[0], c.spans[0]);
  auto low = c.e.fix_integers(c[1], c.spans[1], "padding"), high = c.e.fix_integers(c[2], c.spans[2], "padding");
  std::optional<double> value = c.given(3) ? c.e.fix(c[3], c.spans[3], "the padding's value") : 0.0;
  if (!v.valid() || !low || !high || !value) return Poison{};
  size_t rank = c.e.type(v).shape.size();
  for (auto [list, span] : {std::pair(&*low, c.spans[1]), std::pair(&*high, c.spans[2])}) {
    if (list->size() == 1 && rank != 1) list->assign(rank, (*list)[0]);
    if (list->size() != rank || *std::min_element(list->begin(), list->end()) < 0)
      return c.e.fail(DiagnosticId::wrong_arguments, span, fmt::format("padding needs {} numbers that are not negative", rank));
  }
  return c.e.tensor(c.e.builder().make(Op::pad, {v}, {{Attr::low, *low}, {Attr::high, *high}, {Attr::interior, std::vector<int64_t>(rank, 0)}, {Attr::value, *value}}));
}

Value reverse(BuiltinCall& c) {
  ir::Value v = c.e.node(c[0], c.spans[0]);
  if (!v.valid()) return Poison{};
  auto axes = c.e.axes(c[1], c.e.type(v).rank(), c.spans[1]);
  if (!axes) return Poison{};
  return axes->empty() ? c[0] : c.e.tensor(c.e.builder().make(Op::reverse, {v}, {{Attr::axes, *axes}}));
}

Value iota(BuiltinCall& c) {
  auto shape = c.e.fix_shape(c[0], c.spans[0], "a length");
  if (!shape) return Poison{};
  std::optional<int64_t> axis = c.given(1) ? c.e.axis(c[1], static_cast<int64_t>(shape->size()), c.spans[1]) : static_cast<int64_t>(shape->size()) - 1;
  if (!axis) return Poison{};
  return c.e.tensor(c.e.builder().iota({ElementType::i32, *shape}, *axis));
}

Value shape_of(BuiltinCall& c) {
  if (c[0].is<Number>()) return make_list(Values{});
  if (c[0].is<List>()) {
    ir::Shape shape;
    if (!c.e.list_numbers(c[0], shape, c.spans[0])) return Poison{};
    return make_list(shape);
  }
  if (auto* t = c[0].get<Tensor>()) return make_list(c.e.type(*t).shape);
  return c.e.fail(DiagnosticId::wrong_kind, c.spans[0], fmt::format("a tensor has a shape, this is {}", kind_of(c[0])));
}

Value rank_of(BuiltinCall& c) {
  Value shape = shape_of(c);
  return shape.is<List>() ? Value(static_cast<double>(shape.get<List>()->items->size())) : shape;
}

Value length(BuiltinCall& c) {
  if (auto* list = c[0].get<List>()) return static_cast<double>(list->items->size());
  if (auto* tuple = c[0].get<Tuple>()) return static_cast<double>(tuple->items->size());
  if (auto* t = c[0].get<Tensor>(); t && c.e.type(*t).rank() > 0) return static_cast<double>(c.e.type(*t).shape[0]);
  return c.e.fail(DiagnosticId::wrong_kind, c.spans[0], fmt::format("a list has a length, this is {}", kind_of(c[0])));
}

constexpr Builtin table[] = {
  {"reshape", "x shape", reshape}, {"transpose", "x axes?", transpose}, {"broadcast", "x shape", broadcast},
  {"fill", "value shape", fill}, {"concat", "list axis?", concat}, {"stack", "list axis?", stack}, {"pad", "x low high value?", pad}, {"reverse", "x axes", reverse},
  {"iota", "n axis?", iota},
  {"shape", "x", shape_of}, {"rank", "x", rank_of}, {"len", "x", length},
};
}  // namespace

std::span<const Builtin> shape_builtins() { return table; }

}  // namespace gradc::front
