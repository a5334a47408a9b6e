// What networks are made of (softmax, normalisation, dense layers), so that fusion has something to find in random functions.
#include <numeric>

#include "ir/loop.h"
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

// c <- tanh(c * k + x) or tanh(c w / columns + x), with outputs and perhaps a second carry, or without carries: all within [-1, 1], where tanh makes no error larger.
Value Generator::loop() {
  Value start = within(pick([&](Value v) { return is_float(type(v).element) && type(v).rank() >= 1 && type(v).size() <= options_.largest / 8; }), -1, 1);
  if (!start.valid()) return start;
  const Type t = type(start);
  const int64_t rounds = random_.between(1, 5), last = t.rank() - 1, columns = t.shape[last];
  Type sequence = t;
  sequence.shape.insert(sequence.shape.begin(), rounds);
  const bool products = random_.chance(40) && t.size() * columns * rounds <= options_.largest_work && columns * columns <= options_.largest;
  Value xs = within(of_type(sequence), -1, 1), k = within(of_type(products ? Type{t.element, {columns, columns}} : t), -1, 1);
  if (!xs.valid() || !k.valid()) return {};
  const double step = known(xs).error + known(k).error * (products ? static_cast<double>(columns) : 1) + 8 * rounding(start) * static_cast<double>(products ? columns : 1);
  const Known result{-1, 1, known(start).error + static_cast<double>(rounds + 1) * step, false};

  Function body;
  Builder b(body);
  body.name = "round";
  const int carries = random_.chance(20) ? 0 : random_.chance(30) ? 2 : 1;
  std::vector<Value> c;
  for (int i = 0; i < carries; ++i) c.push_back(b.input(std::string("c") + std::to_string(i), t));
  Value x = b.input("x", t), w = b.input("k", type(k));
  Value seen = carries == 0 ? x : c[0], term;
  if (products) {
    std::string letters = std::string("abcdefgh").substr(0, last);
    term = b.contract(letters + "y,yz->" + letters + "z", seen, w);
    term = b.make(Op::mul, {term, b.like(1.0 / static_cast<double>(columns), term)});
  } else {
    term = b.make(Op::mul, {seen, w});
  }
  Value next = b.make(Op::tanh, {b.make(Op::add, {term, x})});
  auto give = [&](Value v) { body.results.push_back({"r" + std::to_string(body.results.size()), v}); };
  if (carries >= 1) give(carries == 2 && random_.chance(50) ? c[1] : next);
  if (carries == 2) give(random_.chance(50) ? next : b.make(Op::mul, {next, c[1]}));
  const bool before = carries > 0 && random_.chance(30);
  if (before) give(c[0]);
  give(random_.chance(50) ? next : b.make(Op::mul, {next, x}));
  const int64_t results = static_cast<int64_t>(body.results.size());
  std::vector<Value> operands;
  for (int i = 0; i < carries; ++i) operands.push_back(start);
  operands.insert(operands.end(), {xs, k});
  known_.push_back({});
  Value scan = make_scan(b_, {std::move(body), rounds, carries, 1, random_.chance(40), false, operands});
  Value made;
  for (int64_t r = 0; r < results; ++r) {
    if (r + 1 < results && random_.chance(30)) continue;
    known_.push_back(result);
    made = make_item(b_, scan, r);
    if (r + 1 < results) pool_.push_back(made);
  }
  return made;
}

}  // namespace gradc::ir::random_graphs
