// Tensor arithmetic: values become nodes, element types are promoted, shapes that may broadcast silently do. What may is
// narrow on purpose: scalars, extents of 1 at equal rank, and an operand whose whole shape is the end of the other one's. So
// f32[n, 1] - f32[n] is a mistake and not an f32[n, n].
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "frontend/elaborator.h"

namespace gradc::front {
using ir::ElementType;
using ir::Op;

// ---- values as nodes

ir::Value Elaborator::materialise(const ScalarPtr& scalar) {
  if (auto it = out->scalars.find(scalar.get()); it != out->scalars.end()) return it->second;
  ir::Value result;
  if (scalar->op == Op::constant) {
    result = builder().scalar(scalar->value, scalar->flag ? ElementType::boolean : ElementType::f64);
  } else if (scalar->op == Op::input) {
    result = input(scalar->input, {ElementType::f64, {}});
  } else {
    std::vector<ir::Value> operands;
    for (const ScalarPtr& operand : scalar->operands) operands.push_back(materialise(operand));
    result = builder().make(scalar->op, operands);
  }
  out->scalars[scalar.get()] = result;
  out->kept.push_back(scalar);
  return result;
}

ir::Value Elaborator::input(const std::string& name, const ir::Type& type) {
  auto [it, fresh] = out->inputs.try_emplace(name);
  if (fresh) it->second = builder().input(name, type);
  return it->second;
}

ir::Value Elaborator::variable(const std::string& name) {
  auto [it, fresh] = out->variables.try_emplace(name);
  if (fresh) it->second = builder().variable(name, program.module.variable(name)->type);
  return it->second;
}

bool Elaborator::is_tensor_like(const Value& value) const {
  return value.is<Tensor>() || value.is<List>();
}

namespace {
// A value that depends on nothing but constants can be rebuilt in another function.
bool closed(const ir::Function& function, ir::Value root) {
  std::vector<ir::Value> stack = {root};
  while (!stack.empty()) {
    const ir::Node& node = function[stack.back()];
    stack.pop_back();
    if (node.op == Op::input || node.op == Op::variable || node.op == Op::random) return false;
    stack.insert(stack.end(), node.operands.begin(), node.operands.end());
  }
  return true;
}
}  // namespace

ir::Value Elaborator::node(const Value& value, const Span& span, ElementType preferred) {
  if (value.is<Poison>()) return {};
  if (auto* t = value.get<Tensor>()) {
    if (t->emission == out->id) return t->node;
    const ir::Function& from = emissions_[t->emission].function;
    if (closed(from, t->node)) return ir::Copier(from, out->function)(t->node);
    fail(DiagnosticId::tensor_elsewhere, span, out->initial ? "a first value cannot depend on data or on other parameters" : "this tensor belongs to another function of the program");
    return {};
  }
  if (auto* number = value.get<Number>()) return number_like(*number, {preferred, {}});
  if (auto* flag = value.get<Flag>()) return flag->run ? materialise(flag->run) : builder().scalar(flag->value, ElementType::boolean);
  if (auto* list = value.get<List>()) {
    ir::Shape shape;
    auto numbers = list_numbers(*list, shape, span);
    if (!numbers) return {};
    return builder().literal(std::move(*numbers), {preferred, shape});
  }
  fail(DiagnosticId::wrong_kind, span, fmt::format("a tensor is needed here, this is {}", kind_of(value)));
  return {};
}

ir::Value Elaborator::float_node(const Value& value, const Span& span) {
  ir::Value v = node(value, span);
  if (v.valid() && !ir::is_float(type(v).element)) v = builder().cast(v, ElementType::f32);
  return v;
}

ir::Value Elaborator::number_like(const Value& value, ir::Type wanted) {
  auto* number = value.get<Number>();
  auto* flag = value.get<Flag>();
  const ScalarPtr& run = number ? number->run : flag->run;
  if (!run) return builder().constant(number ? number->value : flag->value, wanted);
  return builder().broadcast_to(builder().cast(materialise(run), wanted.element), wanted.shape);
}

ir::Value Elaborator::coerce(const Value& value, const ir::Type& wanted, const Span& span, const std::string& what) {
  if (value.is<Poison>()) return {};
  if (value.is<Number>() || (value.is<Flag>() && wanted.element == ElementType::boolean)) return number_like(value, wanted);
  ir::Value v = node(value, span, wanted.element);
  if (!v.valid()) return {};
  ir::Type given = type(v);
  if (given.element != wanted.element) {
    fail(DiagnosticId::wrong_element_type, span, fmt::format("{} is {}, but this is {}", what, ir::to_string(wanted), ir::to_string(given)));
    return {};
  }
  if (given.rank() == 0) return builder().broadcast_to(v, wanted.shape);
  if (given.shape != wanted.shape) {
    fail(DiagnosticId::shape_mismatch, span, fmt::format("{} is {}, but this is {}", what, ir::to_string(wanted), ir::to_string(given)));
    return {};
  }
  return v;
}

// ---- promotion and broadcasting

ElementType Elaborator::promote(ElementType a, ElementType b) const {
  // u8 < i32 < i64 < bf16 < f32 < f64; arithmetic on u8 alone gives i32.
  auto rank = [](ElementType t) {
    switch (t) {
      case ElementType::boolean: return 0;
      case ElementType::u8: return 1;
      case ElementType::i32: return 2;
      case ElementType::i64: return 3;
      case ElementType::bf16: return 4;
      case ElementType::f32: return 5;
      case ElementType::f64: return 6;
    }
    return 0;
  };
  ElementType higher = rank(a) >= rank(b) ? a : b;
  return higher == ElementType::u8 ? ElementType::i32 : higher;
}

std::optional<ir::Shape> Elaborator::common_shape(const std::vector<std::pair<ir::Type, Span>>& operands, const std::vector<Value>& origins, const Span& at,
                                                  const std::string& what) {
  size_t rank = 0;
  for (const auto& [type, span] : operands) rank = std::max(rank, type.shape.size());
  ir::Shape result(rank, 1);
  bool fits = true;
  for (const auto& [type, span] : operands) {
    if (type.shape.size() != rank) continue;
    for (size_t i = 0; i < rank; ++i) {
      if (type.shape[i] == 1) continue;
      if (result[i] != 1 && result[i] != type.shape[i]) fits = false;
      result[i] = type.shape[i];
    }
  }
  for (const auto& [type, span] : operands)
    for (size_t i = 0; i < type.shape.size(); ++i) {
      int64_t extent = type.shape[i], there = result[rank - type.shape.size() + i];
      if (extent != there && extent != 1) fits = false;
    }
  if (fits) return result;

  std::vector<std::string> texts;
  std::vector<Label> labels;
  for (size_t i = 0; i < operands.size(); ++i) {
    const auto& [type, span] = operands[i];
    if (type.shape.empty()) continue;
    texts.push_back(ir::to_string(type));
    labels.push_back({span, fmt::format("this is {}", ir::to_string(type))});
    Span from = origin(origins[i]);
    if (from.known() && (from.file != span.file || sources.position(from.file, from.begin).line != sources.position(span.file, span.begin).line))
      labels.push_back({from, fmt::format("{} comes from here", ir::to_string(type))});
  }
  std::vector<std::string> hints;
  std::vector<ir::Shape> shapes;
  for (const auto& [type, span] : operands) shapes.push_back(type.shape);
  if (ir::broadcast_shapes(shapes)) hints.push_back("extents of 1 repeat silently only between tensors of the same rank; `reshape` says what is meant");
  std::string list;
  for (size_t i = 0; i < texts.size(); ++i) list += (i == 0 ? "" : i + 1 == texts.size() ? " and " : ", ") + texts[i];
  fail(DiagnosticId::shape_mismatch, at, fmt::format("shapes do not fit for {}: {}", what, list), "", labels, hints);
  return std::nullopt;
}

// ---- maps

Value Elaborator::map_unary(Op op, const Value& value, const Span& span) {
  if (value.is<Poison>()) return Poison{};
  if (value.is<Set>()) return map_set({value}, span, [&](const Values& v) { return map_unary(op, v[0], span); });
  if (value.is<Number>() || (op == Op::not_ && value.is<Flag>())) return scalar_map(op, {value});
  if (auto* list = value.get<List>(); list && op != Op::not_) {   // number by number, as long as it is a list of them
    Values items;
    for (const Value& item : *list->items) items.push_back(map_unary(op, item, span));
    return make_list(std::move(items));
  }
  if (!value.is<Tensor>()) return fail(DiagnosticId::wrong_kind, span, fmt::format("`{}` needs a number or a tensor, this is {}", ir::info(op).name, kind_of(value)));
  ir::Value v = node(value, span);
  if (!v.valid()) return Poison{};
  ElementType element = type(v).element;
  bool any_number = op == Op::neg || op == Op::abs || op == Op::sign;
  if (op == Op::not_ ? element != ElementType::boolean : element == ElementType::boolean)
    return fail(DiagnosticId::wrong_element_type, span, fmt::format("`{}` of {}", ir::info(op).name, ir::to_string(type(v))), "",
                {}, {op == Op::not_ ? "compare first: `x != 0`" : "`f32(x)` makes numbers of bools"});
  if (op != Op::not_ && !ir::is_float(element)) v = builder().cast(v, any_number ? promote(element, element) : ElementType::f32);
  return tensor(builder().make(op, {v}));
}

namespace {
bool is_logic(Op op) { return op == Op::and_ || op == Op::or_; }
bool is_scalar(const Value& v) { return v.is<Number>() || v.is<Flag>(); }
bool whole(const Value& v) {
  auto* number = v.get<Number>();
  return number && !number->run && std::floor(number->value) == number->value && std::fabs(number->value) < 2147483648.0;
}
std::string_view sign_of(Op op) {
  switch (op) {
    case Op::add: return "+";
    case Op::sub: return "-";
    case Op::mul: return "*";
    case Op::div: return "/";
    case Op::rem: return "%";
    case Op::pow: return "^";
    case Op::eq: return "==";
    case Op::ne: return "!=";
    case Op::lt: return "<";
    case Op::le: return "<=";
    case Op::gt: return ">";
    case Op::ge: return ">=";
    case Op::and_: return "and";
    case Op::or_: return "or";
    default: return ir::info(op).name;
  }
}
}  // namespace

namespace {
// Two lists of dimensions are equal or not as wholes; anything else is none of both.
std::optional<bool> same_lists(Elaborator& e, const Value& left, const Value& right, const Span& left_span, const Span& right_span) {
  auto* a = left.get<List>();
  auto* b = right.get<List>();
  auto known = [](const List* list) {
    return list && std::all_of(list->items->begin(), list->items->end(), [](const Value& v) { auto* n = v.get<Number>(); return n && n->known; });
  };
  if (!known(a) || !known(b)) return std::nullopt;
  bool same = a->items->size() == b->items->size();
  for (size_t i = 0; same && i < a->items->size(); ++i) same = e.fix((*a->items)[i], left_span, "an element") == e.fix((*b->items)[i], right_span, "an element");
  return same;
}
}  // namespace

Value Elaborator::map_op(Op op, const Value& left, const Value& right, const Span& sign, const Span& left_span, const Span& right_span) {
  if (left.is<Poison>() || right.is<Poison>()) return Poison{};
  if (left.is<Set>() || right.is<Set>())
    return map_set({left, right}, sign, [&](const Values& v) { return map_op(op, v[0], v[1], sign, left_span, right_span); });
  std::string what = fmt::format("`{}`", sign_of(op));
  auto* left_flag = left.get<Flag>();
  auto* right_flag = right.get<Flag>();
  if (is_scalar(left) && is_scalar(right)) {
    bool flags = left_flag && right_flag, equality = op == Op::eq || op == Op::ne;
    if ((left_flag != nullptr) != (right_flag != nullptr) || (is_logic(op) ? !flags : flags && !equality))
      return fail(DiagnosticId::wrong_kind, sign, fmt::format("{} of {} and {}", what, kind_of(left), kind_of(right)));
    return scalar_map(op, {left, right});
  }
  if (op == Op::eq || op == Op::ne) {
    auto* a = left.get<Text>();
    auto* b = right.get<Text>();
    if (a && b) return Flag{(a->text == b->text) == (op == Op::eq), nullptr, true};
    if (left.is<Text>() || right.is<Text>()) return Flag{op == Op::ne, nullptr, true};
    if (auto same = same_lists(*this, left, right, left_span, right_span)) return Flag{*same == (op == Op::eq), nullptr, true};
  }
  for (auto [value, span] : {std::pair(&left, &left_span), std::pair(&right, &right_span)})
    if (!is_tensor_like(*value) && !is_scalar(*value))
      return fail(DiagnosticId::wrong_kind, *span, fmt::format("{} needs numbers or tensors, this is {}", what, kind_of(*value)));
  if (op == Op::add && left.is<List>() && right.is<List>()) {   // lists of dimensions are joined
    Values items = *left.get<List>()->items;
    items.insert(items.end(), right.get<List>()->items->begin(), right.get<List>()->items->end());
    return make_list(std::move(items));
  }

  // A list takes the other side's element type; a plain number is weak.
  auto list_type = [&](const Value& other) {
    return other.is<Tensor>() && type(*other.get<Tensor>()).element != ElementType::boolean ? type(*other.get<Tensor>()).element : ElementType::f32;
  };
  ir::Value a, b;
  if (!is_scalar(left)) a = node(left, left_span, list_type(right));
  if (!is_scalar(right)) b = node(right, right_span, list_type(left));
  if ((!is_scalar(left) && !a.valid()) || (!is_scalar(right) && !b.valid())) return Poison{};
  ElementType element;
  if (a.valid() && b.valid()) {
    ElementType x = type(a).element, y = type(b).element;
    bool bools = x == ElementType::boolean && y == ElementType::boolean;
    bool mixed = (x == ElementType::boolean) != (y == ElementType::boolean);
    if (mixed || (is_logic(op) && !bools) || (bools && !is_logic(op) && op != Op::eq && op != Op::ne))
      return fail(DiagnosticId::wrong_element_type, sign, fmt::format("{} of {} and {}", what, ir::to_string(type(a)), ir::to_string(type(b))), "",
                  {{left_span, ir::to_string(type(a))}, {right_span, ir::to_string(type(b))}}, {"`where(condition, a, b)` chooses by bools, `f32(x)` makes numbers of them"});
    element = bools ? x : promote(x, y);
  } else {
    ir::Value t = a.valid() ? a : b;
    const Value& scalar = a.valid() ? right : left;
    ElementType x = type(t).element;
    bool is_bool = x == ElementType::boolean;
    if (is_bool != scalar.is<Flag>() || (is_logic(op) && !is_bool) || (is_bool && !is_logic(op) && op != Op::eq && op != Op::ne))
      return fail(DiagnosticId::wrong_element_type, sign, fmt::format("{} of {} and {}", what, ir::to_string(type(t)), kind_of(scalar)), "",
                  {}, {"`f32(x)` makes numbers of bools, `x != 0` makes bools of numbers"});
    element = is_bool ? x : promote(x, x);
    if (!is_bool && !ir::is_float(element) && !whole(scalar)) element = ElementType::f32;
  }
  if ((op == Op::div || op == Op::pow) && !ir::is_float(element)) element = ElementType::f32;
  if (a.valid()) a = builder().cast(a, element);
  if (b.valid()) b = builder().cast(b, element);
  if (a.valid() && b.valid()) {
    auto shape = common_shape({{type(a), left_span}, {type(b), right_span}}, {left, right}, sign, what);
    if (!shape) return Poison{};
    a = builder().broadcast_to(a, *shape);
    b = builder().broadcast_to(b, *shape);
  } else if (a.valid()) {
    b = number_like(right, type(a));
  } else {
    a = number_like(left, type(b));
  }
  return tensor(builder().make(op, {a, b}));
}

Value Elaborator::map_binary(ast::BinaryOp op, const Value& left, const Value& right, const Span& sign, const Span& left_span, const Span& right_span) {
  // In the order of ast::BinaryOp; matmul and power have rules of their own.
  static constexpr Op ops[] = {Op::add, Op::sub, Op::mul, Op::div, Op::rem, Op::contract, Op::pow, Op::eq, Op::ne, Op::lt, Op::le, Op::gt, Op::ge, Op::and_, Op::or_};
  if (op == ast::BinaryOp::matmul) return matmul(left, right, sign, left_span, right_span);
  if (op == ast::BinaryOp::power) return power(left, right, sign, left_span, right_span);
  return map_op(ops[static_cast<size_t>(op)], left, right, sign, left_span, right_span);
}

Value Elaborator::power(const Value& base, const Value& exponent, const Span& sign, const Span& left, const Span& right) {
  if (base.is<Set>()) return map_set({base, exponent}, sign, [&](const Values& v) { return power(v[0], v[1], sign, left, right); });
  auto* number = exponent.get<Number>();
  if (!number || number->run || !base.is<Tensor>()) return map_op(Op::pow, base, exponent, sign, left, right);
  // Small powers as products: exact for negative bases, and their gradients have no logarithms.
  if (number->value == 1) return base;
  if (number->value == 2) return map_op(Op::mul, base, base, sign, left, left);
  if (number->value == 3) return map_op(Op::mul, map_op(Op::mul, base, base, sign, left, left), base, sign, left, left);
  if (number->value == 0.5) return map_unary(Op::sqrt, base, sign);
  if (number->value == -0.5) return map_unary(Op::rsqrt, base, sign);
  if (number->value == -1) return map_op(Op::div, 1.0, base, sign, right, left);
  return map_op(Op::pow, base, exponent, sign, left, right);
}

Value Elaborator::where(const Value& condition, const Value& yes, const Value& no, const Span& at, const std::vector<Span>& spans) {
  if (condition.is<Poison>() || yes.is<Poison>() || no.is<Poison>()) return Poison{};
  if (condition.is<Set>() || yes.is<Set>() || no.is<Set>())
    return map_set({condition, yes, no}, at, [&](const Values& v) { return where(v[0], v[1], v[2], at, spans); });
  if (condition.is<Flag>() && is_scalar(yes) && is_scalar(no)) return scalar_map(Op::select, {condition, yes, no});
  if (condition.is<Number>()) return fail(DiagnosticId::wrong_kind, spans[0], "the condition of `where` is a number, not true or false");
  ir::Value c = node(condition, spans[0]);
  if (!c.valid()) return Poison{};
  if (type(c).element != ElementType::boolean)
    return fail(DiagnosticId::wrong_element_type, spans[0], fmt::format("the condition of `where` is {}, not bool", ir::to_string(type(c))), "", {}, {"compare: `x != 0`"});
  ElementType element = ElementType::f32;
  std::vector<ElementType> given;
  for (const Value* v : {&yes, &no})
    if (auto* t = v->get<Tensor>()) given.push_back(type(*t).element);
  if (given.size() == 1) element = given[0];
  if (given.size() == 2) element = given[0] == given[1] ? given[0] : promote(given[0], given[1]);
  if (given.empty() && yes.is<Flag>() && no.is<Flag>()) element = ElementType::boolean;
  for (const Value* v : {&yes, &no})
    if (v->is<Number>() && !ir::is_float(element) && !whole(*v)) element = ElementType::f32;
  std::vector<std::pair<ir::Type, Span>> types = {{type(c), spans[0]}};
  std::vector<ir::Value> choices(2);
  for (int i = 0; i < 2; ++i) {
    const Value& v = i == 0 ? yes : no;
    if (is_scalar(v)) continue;
    choices[i] = node(v, spans[i + 1], element);
    if (!choices[i].valid()) return Poison{};
    choices[i] = builder().cast(choices[i], element);
    types.emplace_back(type(choices[i]), spans[i + 1]);
  }
  std::vector<Value> origins = {condition};
  if (choices[0].valid()) origins.push_back(yes);
  if (choices[1].valid()) origins.push_back(no);
  auto shape = common_shape(types, origins, at, "`where`");
  if (!shape) return Poison{};
  for (int i = 0; i < 2; ++i)
    choices[i] = choices[i].valid() ? builder().broadcast_to(choices[i], *shape) : number_like(i == 0 ? yes : no, {element, *shape});
  return tensor(builder().make(Op::select, {builder().broadcast_to(c, *shape), choices[0], choices[1]}));
}

}  // namespace gradc::front
