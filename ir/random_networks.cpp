// What networks are made of (softmax, normalisation, dense layers), so that fusion has something to find in random functions.
#include <numeric>

#include "ir/random_generator.h"

namespace gradc::ir::random_graphs {

Value Generator::spread(Value v, Value like) {
  if (!v.valid()) return v;
  std::vector<int64_t> axes(type(v).rank());
  std::iota(axes.begin(), axes.end(), 0);
  return node(Op::broadcast, {v}, known(v), {{Attr::shape, type(like).shape}, {Attr::axes, axes}});
}

Value Generator::softmax() {
  return with_operand(pick([&](Value v) { return is_float(type(v).element) && type(v).rank() >= 1; }), [&](Value x) {
    int64_t last = type(x).rank() - 1, n = type(x).shape[last];
    x = within(x, -20, 20);
    if (!x.valid()) return x;
    Value top = spread(reduced(Op::reduce_max, x, {last}), x);
    if (!top.valid()) return top;
    double error = known(x).error + known(top).error + 40 * rounding(x);
    Value moved = node(Op::sub, {x, top}, {-40, 0, error, false});   // a difference with its maximum
    if (!moved.valid()) return moved;
    Value e = node(Op::exp, {moved}, rounded({0, 1, error, false}, x));
    if (!e.valid()) return e;
    // The largest term is 1, so the sum is at least 1.
    Value all = reduced(Op::reduce_sum, e, {last});
    if (!all.valid()) return all;
    known_[all.id].low = 1, known_[all.id].high = static_cast<double>(n);
    Value wide = spread(all, x);
    if (!wide.valid()) return wide;
    if (random_.chance(30)) return node(Op::sub, {moved, map(Op::log, wide)}, {-50, 0, error + known(wide).error + 1e-6, false});
    return node(Op::div, {e, wide}, {0, 1, known(e).error + known(wide).error + 1e-6, false});
  });
}

Value Generator::normalise() {
  return with_operand(pick([&](Value v) { return is_float(type(v).element) && type(v).rank() >= 1 && known(v).magnitude() <= 30; }), [&](Value x) {
    int64_t last = type(x).rank() - 1;
    Value centred = arithmetic(Op::sub, x, spread(reduced(Op::reduce_mean, x, {last}), x));
    if (!centred.valid()) return centred;
    Value variance = reduced(Op::reduce_mean, arithmetic(Op::mul, centred, centred), {last});
    if (!variance.valid()) return variance;
    known_[variance.id].low = 0;   // of squares
    Value scale = map(Op::rsqrt, arithmetic(Op::add, variance, constant(0.125, type(variance))));
    return arithmetic(Op::mul, centred, spread(scale, centred));
  });
}

Value Generator::dense() {
  return with_operand(pick([&](Value v) { return is_float(type(v).element) && type(v).rank() == 2; }), [&](Value x) {
    int64_t units = extent();
    Value w = of_type({type(x).element, {type(x).shape[1], units}});
    if (!w.valid() || type(x).size() * units > options_.largest_work) return Value{};
    Value y = node(Op::contract, {x, w}, total(product_of(known(x), known(w)), type(x).shape[1], x), {{Attr::spec, std::string("mk,kn->mn")}});
    if (!y.valid()) return y;
    Value bias = fresh({type(x).element, {units}});
    y = arithmetic(Op::add, y, node(Op::broadcast, {bias}, known(bias), {{Attr::shape, type(y).shape}, {Attr::axes, Shape{1}}}));
    if (!y.valid()) return y;
    return random_.chance(60) ? arithmetic(Op::max, y, constant(0, type(y))) : map(Op::tanh, y);
  });
}

}  // namespace gradc::ir::random_graphs
