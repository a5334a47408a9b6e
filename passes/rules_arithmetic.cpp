// Rewrites of arithmetic. Numbers are constants of any shape. The float contract decides what is left out: x * 0 and x - x stay (NaN,
// infinities), products of numbers are merged only where scaling is exact.
#include <algorithm>

#include "passes/rules.h"

namespace gradc::passes {
namespace {
using ir::Op;
using ir::Value;
constexpr Value no;

bool real(Term t) { return ir::is_float(t.element()); }

// c + x => x + c, for every commutative operation
Value number_right(Term t) {
  if (!(ir::info(t.op()).traits & ir::commutative) || !number(t.x(0)) || number(t.x(1))) return no;
  return apply(t.op(), t.x(1), t.x(0));
}
// x + 0 => x
Value add_zero(Term t) { return is_number(t.x(1), 0) ? t.x(0).v : no; }
// x + x => x * 2
Value add_self(Term t) { return t.x(0).same(t.x(1)) ? (t.x(0) * 2).v : no; }
// broadcast(-x) as broadcast(x): for sums, where it costs nothing. Invalid for anything else.
Value negative_broadcast(Term t) {
  if (!t.is(Op::broadcast) || !t.x(0).is(Op::neg)) return no;
  return broadcast(t.x(0).x(0), t.shape(), t.list(ir::Attr::axes));
}
// x + broadcast(-y) => x - broadcast(y);  broadcast(-x) + y => y - broadcast(x)
Value add_negative_broadcast(Term t) {
  for (int i : {1, 0})
    if (Value y = negative_broadcast(t.x(i)); y.valid()) return t.x(1 - i) - Term{t.b, y};
  return no;
}
// x - broadcast(-y) => x + broadcast(y)
Value sub_negative_broadcast(Term t) {
  Value y = negative_broadcast(t.x(1));
  return y.valid() ? (t.x(0) + Term{t.b, y}).v : no;
}
// x + -y => x - y;  -x + y => y - x
Value add_negative(Term t) {
  if (t.x(1).is(Op::neg)) return t.x(0) - t.x(1).x(0);
  if (t.x(0).is(Op::neg)) return t.x(1) - t.x(0).x(0);
  return no;
}
// x + y * -c => x - y * c
Value add_negative_multiple(Term t) {
  for (int i : {1, 0})
    if (Term y = t.x(i); y.is(Op::mul))
      if (auto c = number(y.x(1)); c && *c < 0) return t.x(1 - i) - y.x(0) * -*c;
  return no;
}
// x - 0 => x
Value sub_zero(Term t) { return is_number(t.x(1), 0) ? t.x(0).v : no; }
// 0 - x => -x
Value zero_sub(Term t) { return is_number(t.x(0), 0) ? (-t.x(1)).v : no; }
// x - -y => x + y
Value sub_negative(Term t) { return t.x(1).is(Op::neg) ? (t.x(0) + t.x(1).x(0)).v : no; }
// x - y * -c => x + y * c
Value sub_negative_multiple(Term t) {
  if (Term y = t.x(1); y.is(Op::mul))
    if (auto c = number(y.x(1)); c && *c < 0) return t.x(0) + y.x(0) * -*c;
  return no;
}
// -(-x) => x
Value neg_neg(Term t) { return t.x(0).is(Op::neg) ? t.x(0).x(0).v : no; }
// -(x - y) => y - x
Value neg_sub(Term t) { return t.x(0).is(Op::sub) ? (t.x(0).x(1) - t.x(0).x(0)).v : no; }
// -(x * c) => x * -c
Value neg_multiple(Term t) {
  if (Term x = t.x(0); x.is(Op::mul) && real(t))
    if (auto c = number(x.x(1))) return x.x(0) * -*c;
  return no;
}
// x * 1 => x
Value mul_one(Term t) { return is_number(t.x(1), 1) ? t.x(0).v : no; }
// x * -1 => -x
Value mul_minus_one(Term t) { return is_number(t.x(1), -1) ? (-t.x(0)).v : no; }
// -x * c => x * -c;  -x * y => -(x * y);  x * -y => -(x * y)
Value mul_negative(Term t) {
  Term x = t.x(0), y = t.x(1);
  if (x.is(Op::neg)) {
    if (auto c = number(y); c && real(t)) return x.x(0) * -*c;
    return -(x.x(0) * y);
  }
  return y.is(Op::neg) ? (-(x * y.x(0))).v : no;
}
// (x * c) * d => x * (c d), where c or d is a power of two: scaling by it is exact
Value mul_multiple(Term t) {
  Term x = t.x(0);
  auto d = number(t.x(1));
  if (!d || !x.is(Op::mul) || !real(t)) return no;
  auto c = number(x.x(1));
  if (!c || !(is_power_of_two(*c) || is_power_of_two(*d)) || !std::isnormal(*c * *d)) return no;
  return x.x(0) * (*c * *d);
}
// (x * c) * y => (x * y) * c and x * (y * c) => (x * y) * c, where c is a power of two: so that numbers meet
Value mul_factor_out(Term t) {
  for (int i : {0, 1})
    if (Term x = t.x(i); x.is(Op::mul) && real(t) && !number(t.x(1 - i)))
      if (auto c = number(x.x(1)); c && is_power_of_two(*c)) return (i == 0 ? x.x(0) * t.x(1) : t.x(0) * x.x(0)) * *c;
  return no;
}
// (broadcast(x) * y) * c => broadcast(x * c) * y, where c is a power of two: scaled before it is repeated
Value mul_into_broadcast(Term t) {
  Term y = t.x(0);
  auto c = number(t.x(1));
  if (!c || !is_power_of_two(*c) || !y.is(Op::mul) || !real(t)) return no;
  for (int i : {0, 1})
    if (Term x = y.x(i); x.is(Op::broadcast)) return broadcast(x.x(0) * *c, t.shape(), x.list(ir::Attr::axes)) * y.x(1 - i);
  return no;
}
// x / 1 => x
Value div_one(Term t) { return is_number(t.x(1), 1) ? t.x(0).v : no; }
// -x / y => -(x / y);  x / -y => -(x / y)
Value div_negative(Term t) {
  if (t.x(0).is(Op::neg)) return -(t.x(0).x(0) / t.x(1));
  return t.x(1).is(Op::neg) ? (-(t.x(0) / t.x(1).x(0))).v : no;
}
// x / c => x * (1 / c), where 1 / c is exact, or for tensors (see the float contract) where 1 / c is an ordinary number
Value div_number(Term t) {
  auto c = number(t.x(1));
  if (!c) return no;
  if (t.element() == ir::ElementType::f32) c = static_cast<float>(*c);   // what is divided by is the rounded number
  double reciprocal = 1 / *c;
  bool ordinary = std::isnormal(static_cast<float>(reciprocal)) && std::isnormal(static_cast<float>(*c));
  if (!ordinary || !(is_power_of_two(*c) || t.rank() > 0) || number(t.x(0))) return no;
  return t.x(0) * reciprocal;
}
// x / broadcast(s) => x * broadcast(1 / s) for a scalar s: one division instead of one an element (see the float contract). A scalar that was cast
// is inverted before the cast, in its own precision.
Value div_scalar(Term t) {
  Term y = t.x(1);
  if (!y.is(Op::broadcast) || y.x(0).rank() != 0 || t.type().size() < 2) return no;
  if (number(t.x(0)) || t.x(0).is(Op::broadcast)) return no;   // computed once anyway
  Term s = y.x(0);
  bool widened = s.is(Op::cast) && s.x(0).element() == ir::ElementType::f64;
  Term exact = widened ? s.x(0) : s;
  Term inverse{t.b, t.b->cast(like(1, exact) / exact, t.element())};
  return t.x(0) * broadcast(inverse, t.shape(), {});
}
// c / (d / x) and (x / y) / z stay: each would round differently.

// x^0 => 1
Value pow_zero(Term t) { return is_number(t.x(1), 0) ? like(1, t).v : no; }
// x^1 => x
Value pow_one(Term t) { return is_number(t.x(1), 1) ? t.x(0).v : no; }
// x^2 => x x
Value pow_two(Term t) { return is_number(t.x(1), 2) ? (t.x(0) * t.x(0)).v : no; }
// x^3 => x x x
Value pow_three(Term t) { return is_number(t.x(1), 3) ? (t.x(0) * t.x(0) * t.x(0)).v : no; }
// x^4 => (x x) (x x)
Value pow_four(Term t) {
  if (!is_number(t.x(1), 4)) return no;
  Term square = t.x(0) * t.x(0);
  return square * square;
}
// x^-1 => 1 / x
Value pow_minus_one(Term t) { return is_number(t.x(1), -1) ? (like(1, t) / t.x(0)).v : no; }
// x^-2 => 1 / (x x)
Value pow_minus_two(Term t) { return is_number(t.x(1), -2) ? (like(1, t) / (t.x(0) * t.x(0))).v : no; }
// x^0.5 => sqrt x (but for x = -inf, where pow gives inf)
Value pow_half(Term t) { return is_number(t.x(1), 0.5) ? apply(Op::sqrt, t.x(0)).v : no; }
// x^-0.5 => rsqrt x
Value pow_minus_half(Term t) { return is_number(t.x(1), -0.5) ? apply(Op::rsqrt, t.x(0)).v : no; }
// 1 / sqrt x => rsqrt x
Value inverse_sqrt(Term t) { return is_number(t.x(0), 1) && t.x(1).is(Op::sqrt) ? apply(Op::rsqrt, t.x(1).x(0)).v : no; }
// |x| |x| => x x;  |-x| => |x|;  ||x|| => |x|
Value abs_squared(Term t) { return t.x(0).same(t.x(1)) && t.x(0).is(Op::abs) ? (t.x(0).x(0) * t.x(0).x(0)).v : no; }
Value abs_of_sign(Term t) {
  const bool wraps = t.element() == ir::ElementType::u8;   // -1 is 255 there
  return (t.x(0).is(Op::neg) && !wraps) || t.x(0).is(Op::abs) ? apply(Op::abs, t.x(0).x(0)).v : no;
}
// max(x, x) => x;  min(x, x) => x
Value extremum_self(Term t) { return t.x(0).same(t.x(1)) ? t.x(0).v : no; }
// max(max(x, c), d) => max(x, max(c, d)), and min likewise
Value extremum_of_numbers(Term t) {
  auto d = number(t.x(1));
  if (!d || t.x(0).op() != t.op()) return no;
  auto c = number(t.x(0).x(1));
  if (!c || std::isnan(*c) || std::isnan(*d)) return no;
  return apply(t.op(), t.x(0).x(0), like(t.is(Op::max) ? std::max(*c, *d) : std::min(*c, *d), t));
}

constexpr Rule table[] = {
    {"number-right", Heads::maps(), number_right},
    {"add-zero", Op::add, add_zero},
    {"add-self", Op::add, add_self},
    {"add-negative", Op::add, add_negative},
    {"add-negative-multiple", Op::add, add_negative_multiple},
    {"add-negative-broadcast", Op::add, add_negative_broadcast},
    {"sub-zero", Op::sub, sub_zero},
    {"zero-sub", Op::sub, zero_sub},
    {"sub-negative", Op::sub, sub_negative},
    {"sub-negative-broadcast", Op::sub, sub_negative_broadcast},
    {"sub-negative-multiple", Op::sub, sub_negative_multiple},
    {"neg-neg", Op::neg, neg_neg},
    {"neg-sub", Op::neg, neg_sub},
    {"neg-multiple", Op::neg, neg_multiple},
    {"mul-one", Op::mul, mul_one},
    {"mul-minus-one", Op::mul, mul_minus_one},
    {"mul-negative", Op::mul, mul_negative},
    {"mul-multiple", Op::mul, mul_multiple},
    {"mul-factor-out", Op::mul, mul_factor_out},
    {"mul-into-broadcast", Op::mul, mul_into_broadcast},
    {"div-one", Op::div, div_one},
    {"div-negative", Op::div, div_negative},
    {"div-number", Op::div, div_number},
    {"div-scalar", Op::div, div_scalar},
    {"pow-zero", Op::pow, pow_zero},
    {"pow-one", Op::pow, pow_one},
    {"pow-two", Op::pow, pow_two},
    {"pow-three", Op::pow, pow_three},
    {"pow-four", Op::pow, pow_four},
    {"pow-minus-one", Op::pow, pow_minus_one},
    {"pow-minus-two", Op::pow, pow_minus_two},
    {"pow-half", Op::pow, pow_half},
    {"pow-minus-half", Op::pow, pow_minus_half},
    {"inverse-sqrt", Op::div, inverse_sqrt},
    {"abs-squared", Op::mul, abs_squared},
    {"abs-of-sign", Op::abs, abs_of_sign},
    {"extremum-self", {Op::max, Op::min}, extremum_self},
    {"extremum-of-numbers", {Op::max, Op::min}, extremum_of_numbers},
};
}  // namespace

std::span<const Rule> arithmetic_rules() { return table; }
}  // namespace gradc::passes
