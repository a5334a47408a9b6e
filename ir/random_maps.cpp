// Random maps: each is taken where it is defined and does not amplify rounding.
#include "ir/random_generator.h"

namespace gradc::ir::random_graphs {
namespace {
// A function of one number: where it may be used, its range and a bound of its derivative there.
struct Unary {
  Op op;
  double low, high;
  Known (*range)(const Known&);
  double (*slope)(const Known&);
};
template <double (*f)(double)>
Known increasing(const Known& x) { return {f(x.low), f(x.high)}; }
Known unit_range(const Known&) { return {-1, 1}; }
double one(const Known&) { return 1; }
double reciprocal_root(double x) { return 1 / std::sqrt(x); }
double logistic(double x) { return 1 / (1 + std::exp(-x)); }

const std::vector<Unary> unaries = {
    {Op::exp, -20, 4, increasing<std::exp>, [](const Known& x) { return std::exp(x.high); }},
    {Op::log, 0.05, largest_number, increasing<std::log>, [](const Known& x) { return 1 / x.low; }},
    {Op::log1p, -0.9, largest_number, increasing<std::log1p>, [](const Known& x) { return 1 / (1 + x.low); }},
    {Op::sqrt, 0.01, largest_number, increasing<std::sqrt>, [](const Known& x) { return 0.5 / std::sqrt(x.low); }},
    {Op::rsqrt, 0.05, largest_number, [](const Known& x) { return Known{reciprocal_root(x.high), reciprocal_root(x.low)}; }, [](const Known& x) { return 0.5 * std::pow(x.low, -1.5); }},
    {Op::sin, -20, 20, unit_range, one},
    {Op::cos, -20, 20, unit_range, one},
    {Op::tanh, -largest_number, largest_number, increasing<std::tanh>, one},
    {Op::erf, -largest_number, largest_number, increasing<std::erf>, [](const Known&) { return 1.13; }},
    {Op::sigmoid, -largest_number, largest_number, increasing<logistic>, [](const Known&) { return 0.25; }},
};

// Maps that move or choose values and never round: exact operands give an exact result.
const std::vector<Op> choosing_unaries = {Op::neg, Op::abs};
const std::vector<Op> discontinuous_unaries = {Op::sign, Op::floor, Op::ceil, Op::round};
const std::vector<Op> comparisons = {Op::eq, Op::ne, Op::lt, Op::le, Op::gt, Op::ge};
const std::vector<Op> integer_binaries = {Op::add, Op::sub, Op::mul, Op::max, Op::min, Op::idiv, Op::rem};
}  // namespace

Value Generator::map(Op op, Value x) {
  for (const Unary& row : unaries) {
    if (row.op != op) continue;
    x = within(x, row.low, row.high);
    if (!x.valid()) return {};
    Known k = row.range(known(x));
    k.error = known(x).error * row.slope(known(x));
    return node(op, {x}, rounded(k, x));
  }
  return {};
}

Value Generator::unary() { return with_operand(pick_float(), [&](Value x) { return map(random_.one_of(unaries).op, x); }); }

Value Generator::choosing_unary() {
  return with_operand(pick_float(), [&](Value x) {
    Op op = random_.one_of(choosing_unaries);
    Known k = known(x);
    if (op == Op::neg) return node(op, {x}, negated(k));
    return node(op, {x}, {k.low <= 0 && k.high >= 0 ? 0 : std::min(std::abs(k.low), std::abs(k.high)), k.magnitude(), k.error, k.exact});
  });
}

Value Generator::discontinuous_unary() {
  Value x = pick([&](Value v) { return known(v).exact && is_float(type(v).element); });
  return with_operand(x, [&](Value v) {
    if (random_.chance(20)) return node(Op::is_finite, {v}, {0, 1});
    Op op = random_.one_of(discontinuous_unaries);
    return node(op, {v}, op == Op::sign ? Known{-1, 1} : Known{std::floor(known(v).low), std::ceil(known(v).high)});
  });
}

Value Generator::arithmetic(Op op, Value x, Value y) {
  if (!x.valid() || !y.valid()) return {};
  if (op == Op::div) {
    y = within(y, 0.2, largest_number);
    if (!y.valid()) return {};
    const Known& d = known(y);
    return node(op, {x, y}, rounded(product_of(known(x), {1 / d.high, 1 / d.low, d.error / (d.low * d.low), false}), x));
  }
  if (op == Op::pow) {
    x = within(x, 0.2, 8), y = within(y, -3, 3);
    if (!x.valid() || !y.valid()) return {};
    const Known &k = known(x), &e = known(y);
    auto [low, high] = std::minmax({std::pow(k.low, e.low), std::pow(k.low, e.high), std::pow(k.high, e.low), std::pow(k.high, e.high)});
    return node(op, {x, y}, rounded({low, high, high * (k.error * e.magnitude() / k.low + e.error * 2.1), false}, x));   // 2.1 > ln 8
  }
  if (op == Op::max) return node(op, {x, y}, {std::max(known(x).low, known(y).low), std::max(known(x).high, known(y).high), std::max(known(x).error, known(y).error), known(x).exact && known(y).exact});
  if (op == Op::min) return node(op, {x, y}, {std::min(known(x).low, known(y).low), std::min(known(x).high, known(y).high), std::max(known(x).error, known(y).error), known(x).exact && known(y).exact});
  if (op == Op::mul) return node(op, {x, y}, rounded(product_of(known(x), known(y)), x));
  return node(op, {x, y}, rounded(sum(known(x), op == Op::sub ? negated(known(y)) : known(y)), x));
}

Value Generator::binary() {
  return with_operand(pick_float(), [&](Value x) {
    static const std::vector<Op> ops = {Op::add, Op::add, Op::sub, Op::mul, Op::mul, Op::div, Op::max, Op::min, Op::pow, Op::rem};
    Op op = random_.one_of(ops);
    if (op == Op::rem) {   // the quotient by a power of two is exact, so its floor is
      if (!known(x).exact) return Value{};
      Value y = constant(random_.chance(50) ? 0.5 : 2, type(x));
      return node(op, {x, y}, {0, 2});
    }
    Value y = of_type(type(x));
    return random_.chance(50) ? arithmetic(op, x, y) : arithmetic(op, y, x);
  });
}

Value Generator::choice() {
  return with_operand(pick_float(), [&](Value x) {
    Value y = of_type(type(x)), c = of_type({ElementType::boolean, type(x).shape});
    return y.valid() && c.valid() ? node(Op::select, {c, x, y}, hull(known(x), known(y))) : Value{};
  });
}

Value Generator::compare() {
  Value x = pick([&](Value v) { return known(v).exact; });
  return with_operand(x, [&](Value v) {
    Value y = of_type(type(v), true);
    Op op = random_.one_of(comparisons);
    return y.valid() ? node(op, {v, y}, {0, 1}) : y;
  });
}

Value Generator::logic() {
  Value x = pick([&](Value v) { return type(v).element == ElementType::boolean; });
  return with_operand(x, [&](Value v) {
    if (random_.chance(33)) return node(Op::not_, {v}, {0, 1});
    Value y = of_type(type(v));
    return y.valid() ? node(random_.chance(50) ? Op::and_ : Op::or_, {v, y}, {0, 1}) : y;
  });
}

Value Generator::integer() {
  if (options_.only_f32) return {};
  Value x = pick([&](Value v) { return is_integer(type(v).element); });
  if (!x.valid()) return fresh({random_.one_of(std::vector{ElementType::i32, ElementType::i64, ElementType::u8}), shape()});
  if (random_.chance(20)) return node(random_.one_of(std::vector{Op::neg, Op::abs, Op::sign}), {x}, {-INFINITY, INFINITY});
  Value y = of_type(type(x));
  if (!y.valid()) return {};
  Op op = random_.one_of(integer_binaries);
  Known k = op == Op::mul ? product_of(known(x), known(y)) : op == Op::sub ? sum(known(x), negated(known(y))) : op == Op::add ? sum(known(x), known(y)) : hull(known(x), known(y));
  if (op == Op::idiv || op == Op::rem) k = hull(hull(k, negated(k)), {0, 0});
  return node(op, {x, y}, k);
}

Value Generator::cast() {
  if (options_.only_f32) return {};
  Value x = pick([](Value) { return true; });
  ElementType from = type(x).element, to = random_.one_of(all_elements);
  if (from == to) return {};
  if (is_float(from) && known(x).exact && random_.chance(40)) {   // a rounding to bf16, and back
    Value half = node(Op::cast, {x}, {known(x).low * 1.01 - 0.01, known(x).high * 1.01 + 0.01, known(x).error, true}, {{Attr::element, ElementType::bf16}});
    return with_operand(half, [&](Value v) { return node(Op::cast, {v}, known(v), {{Attr::element, from}}); });
  }
  if (is_float(from) && is_float(to)) {
    Known k = known(x);
    if (!k.exact) k.error += k.magnitude() * 2.4e-7;
    return node(Op::cast, {x}, k, {{Attr::element, to}});
  }
  if (!known(x).exact) return {};
  return node(Op::cast, {x}, to == ElementType::boolean ? Known{0, 1} : known(x), {{Attr::element, to}});
}

}  // namespace gradc::ir::random_graphs
