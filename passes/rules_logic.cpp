// Rewrites of select, comparisons, casts and bools. Comparisons with NaN are false, so only eq and ne have complements.
#include "passes/rules.h"

namespace gradc::passes {
namespace {
using ir::ElementType;
using ir::Op;
using ir::Value;
constexpr Value no;

// select(c, x, x) => x
Value select_same(Term t) { return t.x(1).same(t.x(2)) ? t.x(1).v : no; }
// select(true, x, y) => x;  select(false, x, y) => y
Value select_known(Term t) {
  auto c = number(t.x(0));
  return c ? t.x(*c != 0 ? 1 : 2).v : no;
}
// select(not c, x, y) => select(c, y, x)
Value select_not(Term t) { return t.x(0).is(Op::not_) ? select(t.x(0).x(0), t.x(2), t.x(1)).v : no; }
// select(c, select(c, x, y), z) => select(c, x, z);  select(c, x, select(c, y, z)) => select(c, x, z)
Value select_again(Term t) {
  Term c = t.x(0), x = t.x(1), y = t.x(2);
  if (x.is(Op::select) && x.x(0).same(c)) return select(c, x.x(1), y);
  if (y.is(Op::select) && y.x(0).same(c)) return select(c, x, y.x(2));
  return no;
}
// select(c, -x, 0) => -select(c, x, 0);  select(c, 0, -x) => -select(c, 0, x)
Value select_negative(Term t) {
  Term x = t.x(1), y = t.x(2);
  if (x.is(Op::neg) && is_number(y, 0)) return -select(t.x(0), x.x(0), y);
  if (y.is(Op::neg) && is_number(x, 0)) return -select(t.x(0), x, y.x(0));
  return no;
}

// A choice between two numbers: select(c, a, b), or the cast of a bool, which is select(c, 1, 0).
struct Choice {
  Term condition;
  double yes, no;
};
std::optional<Choice> choice(Term t) {
  if (t.is(Op::select) && number(t.x(1)) && number(t.x(2))) return Choice{t.x(0), *number(t.x(1)), *number(t.x(2))};
  if (t.is(Op::cast) && t.x(0).element() == ElementType::boolean) return Choice{t.x(0), 1, 0};
  return std::nullopt;
}
// select(c, a, b) op d => select(c, a op d, b op d), for numbers a, b, d: what is left is folded
Value map_of_choice(Term t) {
  if (t.is(Op::cast) && t.x(0).element() == ElementType::boolean) return no;
  if (t.operands() == 1) {
    auto x = choice(t.x(0));
    if (!x || !ir::is_float(t.x(0).element()) || t.x(0).is(Op::cast)) return no;
    Term yes = like(x->yes, t.x(0)), other = like(x->no, t.x(0));
    ir::Attrs attrs = t.node().attrs;
    return select(x->condition, {t.b, t.b->make(t.op(), {yes.v}, attrs)}, {t.b, t.b->make(t.op(), {other.v}, attrs)});
  }
  if (t.operands() != 2) return no;
  for (int i : {0, 1}) {
    auto x = choice(t.x(i));
    Term d = t.x(1 - i);
    if (!x || !number(d) || !ir::is_float(d.element())) continue;
    Term yes = like(x->yes, d), other = like(x->no, d);
    return i == 0 ? select(x->condition, apply(t.op(), yes, d), apply(t.op(), other, d)) : select(x->condition, apply(t.op(), d, yes), apply(t.op(), d, other));
  }
  return no;
}
// select(c, true, false) => c;  select(c, false, true) => not c
Value select_bools(Term t) {
  if (t.element() != ElementType::boolean || !number(t.x(1)) || !number(t.x(2)) || number(t.x(1)) == number(t.x(2))) return no;
  return *number(t.x(1)) != 0 ? t.x(0).v : apply(Op::not_, t.x(0)).v;
}

// c < x => x > c, and so on: numbers to the right
Value compare_number_right(Term t) {
  if (!number(t.x(0)) || number(t.x(1))) return no;
  constexpr std::pair<Op, Op> mirrored[] = {{Op::lt, Op::gt}, {Op::le, Op::ge}, {Op::gt, Op::lt}, {Op::ge, Op::le}};
  for (auto [op, mirror] : mirrored)
    if (t.is(op)) return apply(mirror, t.x(1), t.x(0));
  return no;
}
// -x < c => x > -c, and so on
Value compare_negative(Term t) {
  auto c = number(t.x(1));
  if (!c || !t.x(0).is(Op::neg) || !ir::is_float(t.x(0).element())) return no;
  constexpr std::pair<Op, Op> mirrored[] = {{Op::lt, Op::gt}, {Op::le, Op::ge}, {Op::gt, Op::lt}, {Op::ge, Op::le}};
  for (auto [op, mirror] : mirrored)
    if (t.is(op)) return apply(mirror, t.x(0).x(0), like(-*c, t.x(0)));
  return no;
}
// not (x == y) => x != y;  not (x != y) => x == y
Value not_equal(Term t) {
  if (t.x(0).is(Op::eq)) return apply(Op::ne, t.x(0).x(0), t.x(0).x(1));
  if (t.x(0).is(Op::ne)) return apply(Op::eq, t.x(0).x(0), t.x(0).x(1));
  return no;
}
// not not x => x
Value not_not(Term t) { return t.x(0).is(Op::not_) ? t.x(0).x(0).v : no; }
// x and true => x;  x and false => false;  x and x => x
Value and_known(Term t) {
  if (t.x(0).same(t.x(1))) return t.x(0);
  auto c = number(t.x(1));
  return c ? t.x(*c != 0 ? 0 : 1).v : no;
}
// x or true => true;  x or false => x;  x or x => x
Value or_known(Term t) {
  if (t.x(0).same(t.x(1))) return t.x(0);
  auto c = number(t.x(1));
  return c ? t.x(*c != 0 ? 1 : 0).v : no;
}
// max(x, 0) <= 0 stands for x <= 0 elsewhere (see reuse.cpp), so the comparison of an extremum with its own number stays.

// The element types whose values another one holds exactly.
bool holds(ElementType wide, ElementType narrow) {
  using enum ElementType;
  if (wide == narrow) return true;
  switch (narrow) {
    case boolean: return true;
    case u8: return wide != boolean;
    case bf16: return wide == f32 || wide == f64;
    case f32: return wide == f64;
    case i32: return wide == f64 || wide == i64;
    default: return false;
  }
}
// cast(x, its own type) => x
Value cast_same(Term t) { return t.x(0).element() == t.element() ? t.x(0).v : no; }
// cast(cast(x, b), c) => cast(x, c), where b holds every value of x
Value cast_cast(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::cast) || !holds(y.element(), y.x(0).element())) return no;
  return t.b->cast(y.x(0), t.element());
}

constexpr Rule table[] = {
    {"select-same", Op::select, select_same},
    {"select-known", Op::select, select_known},
    {"select-not", Op::select, select_not},
    {"select-again", Op::select, select_again},
    {"select-negative", Op::select, select_negative},
    {"select-bools", Op::select, select_bools},
    {"map-of-choice", Heads::maps(), map_of_choice},
    {"compare-number-right", {Op::lt, Op::le, Op::gt, Op::ge}, compare_number_right},
    {"compare-negative", {Op::lt, Op::le, Op::gt, Op::ge}, compare_negative},
    {"not-equal", Op::not_, not_equal},
    {"not-not", Op::not_, not_not},
    {"and-known", Op::and_, and_known},
    {"or-known", Op::or_, or_known},
    {"cast-same", Op::cast, cast_same},
    {"cast-cast", Op::cast, cast_cast},
};
}  // namespace

std::span<const Rule> logic_rules() { return table; }
}  // namespace gradc::passes
