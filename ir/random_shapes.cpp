// Random views, contracts, reductions and sources.
#include <numeric>

#include "ir/random_generator.h"

namespace gradc::ir::random_graphs {

// ---- views

Value Generator::reshape() {
  Value x = pick([&](Value) { return true; });
  Shape to = type(x).shape;
  int64_t axis = random_.below(std::max<int64_t>(1, type(x).rank()));
  switch (random_.below(4)) {
    case 0: to.insert(to.begin() + random_.below(type(x).rank() + 1), 1); break;
    case 1: to = {type(x).size()}; break;
    case 2:   // merge two neighbours
      if (type(x).rank() < 2) return {};
      axis = random_.below(type(x).rank() - 1);
      to[axis] *= to[axis + 1];
      to.erase(to.begin() + axis + 1);
      break;
    default:   // split an axis
      if (type(x).rank() == 0) return {};
      for (int64_t factor : {4, 3, 2, 5})
        if (to[axis] > factor && to[axis] % factor == 0) {
          to[axis] /= factor;
          to.insert(to.begin() + axis + 1, factor);
          break;
        }
  }
  return to == type(x).shape || to.size() > 6 ? Value{} : node(Op::reshape, {x}, known(x), {{Attr::shape, to}});
}

Value Generator::transpose() {
  return with_operand(pick_ranked(2), [&](Value x) {
    std::vector<int64_t> axes(type(x).rank());
    std::iota(axes.begin(), axes.end(), 0);
    random_.shuffle(axes);
    return node(Op::transpose, {x}, known(x), {{Attr::axes, axes}});
  });
}

Value Generator::broadcast() {
  Value x = pick([&](Value v) { return type(v).rank() < 5; });
  return with_operand(x, [&](Value v) {
    Shape to;
    std::vector<int64_t> axes;
    int64_t place = random_.chance(60) ? 0 : random_.between(0, type(v).rank());
    for (int64_t axis = 0; axis <= type(v).rank(); ++axis) {
      if (axis == place) to.push_back(extent());
      if (axis == type(v).rank()) break;
      axes.push_back(static_cast<int64_t>(to.size()));
      to.push_back(type(v).shape[axis]);
    }
    return node(Op::broadcast, {v}, known(v), {{Attr::shape, to}, {Attr::axes, axes}});
  });
}

Value Generator::slice() {
  return with_operand(pick_ranked(1), [&](Value x) {
    std::vector<int64_t> start, limit, stride;
    for (int64_t n : type(x).shape) {
      bool whole = n == 1 || random_.chance(40);
      start.push_back(whole ? 0 : random_.below((n + 1) / 2));
      limit.push_back(whole ? n : random_.between(start.back() + 1, n));
      stride.push_back(whole || random_.chance(60) ? 1 : random_.between(2, 3));
    }
    return node(Op::slice, {x}, known(x), {{Attr::start, start}, {Attr::limit, limit}, {Attr::stride, stride}});
  });
}

Value Generator::pad() {
  return with_operand(pick_ranked(1), [&](Value x) {
    std::vector<int64_t> low, high, interior;
    for (int64_t axis = 0; axis < type(x).rank(); ++axis) {
      bool none = random_.chance(50);
      low.push_back(none ? 0 : random_.below(3));
      high.push_back(none ? 0 : random_.below(3));
      interior.push_back(none || random_.chance(70) ? 0 : 1);
    }
    double value = static_cast<double>(random_.below(2));
    return node(Op::pad, {x}, with(known(x), value), {{Attr::low, low}, {Attr::high, high}, {Attr::interior, interior}, {Attr::value, value}});
  });
}

Value Generator::reverse() {
  return with_operand(pick_ranked(1), [&](Value x) {
    std::vector<int64_t> axes;
    for (int64_t axis = 0; axis < type(x).rank(); ++axis)
      if (random_.chance(50)) axes.push_back(axis);
    return axes.empty() ? Value{} : node(Op::reverse, {x}, known(x), {{Attr::axes, axes}});
  });
}

Value Generator::after() {
  return with_operand(pick_ranked(0), [&](Value x) { return node(Op::after, {x, pick_ranked(0)}, known(x)); });
}

Attrs Generator::random_windows(const Shape& shape) {
  int64_t count = std::min<int64_t>(shape.size(), random_.between(1, 2)), first = random_.between(0, static_cast<int64_t>(shape.size()) - count);
  std::vector<int64_t> axes, size, stride, dilation, low, high;
  for (int64_t axis = first; axis < first + count; ++axis) {
    axes.push_back(axis);
    size.push_back(random_.between(1, std::min<int64_t>(3, shape[axis])));
    stride.push_back(random_.between(1, 2));
    dilation.push_back(random_.chance(80) ? 1 : 2);
    low.push_back(random_.below(2));
    high.push_back(random_.below(2));
  }
  return {{Attr::axes, axes}, {Attr::size, size}, {Attr::stride, stride}, {Attr::dilation, dilation}, {Attr::low, low}, {Attr::high, high}};
}

Value Generator::windows() {
  return with_operand(pick_ranked(1), [&](Value x) {
    if (type(x).rank() > 4) return Value{};
    Attrs attrs = random_windows(type(x).shape);
    double value = static_cast<double>(random_.below(2));
    attrs.set(Attr::value, value);
    return node(Op::windows, {x}, with(known(x), value), attrs);
  });
}

Value Generator::fold() {
  Value like = pick([&](Value v) { return type(v).rank() >= 1 && type(v).rank() <= 4 && is_float(type(v).element); });
  return with_operand(like, [&](Value v) {
    Attrs attrs = random_windows(type(v).shape);
    Attrs of_windows = attrs;
    of_windows.set(Attr::value, 0.0);
    Inferred shape = infer_type(Op::windows, std::vector{type(v)}, of_windows);
    if (!std::holds_alternative<Type>(shape) || std::get<Type>(shape).size() > options_.largest) return Value{};
    Value x = of_type(std::get<Type>(shape));
    if (!x.valid()) return x;
    double terms = static_cast<double>(shape_size(attrs.integers(Attr::size)));
    attrs.set(Attr::shape, type(v).shape);
    return node(Op::fold, {x}, rounded(with({known(x).low * terms, known(x).high * terms, known(x).error * terms, false}, 0), x), attrs);
  });
}

// ---- contract and reductions

Known Generator::total(const Known& term, int64_t n, Value like) const {
  double count = static_cast<double>(n);
  Known k{std::min(0.0, term.low) * count, std::max(0.0, term.high) * count, term.error * count, false};
  k.error += term.magnitude() * count * rounding(like) * (4 + count / 16);
  return k;
}

Value Generator::contract() {
  return with_operand(pick([&](Value v) { return is_float(type(v).element) && type(v).rank() <= 4; }), [&](Value a) {
    std::string a_list, b_list, result, letters = "mnkbcdefgh";
    Shape b_shape;
    int64_t depth = 1, next = 0, work = 1;
    for (int64_t n : type(a).shape) {
      char letter = letters[next++];
      a_list += letter;
      work *= n;
      int64_t role = random_.below(100);   // row of a, depth, or batch
      if (role >= 45) b_list += letter, b_shape.push_back(n);
      if (role >= 45 && role < 88)
        depth *= n;
      else
        result += letter;
    }
    for (int64_t columns = random_.chance(75) ? 1 : random_.below(3); columns > 0; --columns) {
      char letter = letters[next++];
      b_list += letter, result += letter;
      b_shape.push_back(extent());
      work *= b_shape.back();
    }
    if (work > options_.largest_work) return Value{};
    if (random_.chance(50)) {   // the right operand's indices in another order
      std::vector<int64_t> order(b_list.size());
      std::iota(order.begin(), order.end(), 0);
      random_.shuffle(order);
      std::string list;
      Shape shape;
      for (int64_t i : order) list += b_list[i], shape.push_back(b_shape[i]);
      b_list = list, b_shape = shape;
    }
    if (random_.chance(20)) {
      std::vector<char> order(result.begin(), result.end());
      random_.shuffle(order);
      result.assign(order.begin(), order.end());
    }
    if (shape_size(b_shape) > options_.largest) return Value{};
    Value b = of_type({type(a).element, b_shape});
    if (!b.valid()) return b;
    Attrs attrs = {{Attr::spec, a_list + "," + b_list + "->" + result}};
    if (random_.chance(25)) {
      std::swap(a, b);
      attrs.set(Attr::spec, b_list + "," + a_list + "->" + result);
    }
    Known term = product_of(known(a), known(b));
    if (options_.precisions && type(a).element == ElementType::f32 && random_.chance(60)) {
      // What a rounding error of an operand does when it makes the operand round the other way: one unit of bf16, or of the lower half.
      bool split = random_.chance(40);
      attrs.set(Attr::precision, std::string(precision_name(split ? Precision::bf16x3 : Precision::bf16)));
      double moved = 2 * known(a).magnitude() * known(b).magnitude() * (split ? 0x1p-15 : 0x1p-7);
      term = {term.low - moved, term.high + moved, term.error + moved, false};
    }
    return node(Op::contract, {a, b}, total(term, depth, a), attrs);
  });
}

Value Generator::reduced(Op op, Value x, const std::vector<int64_t>& axes) {
  if (!x.valid()) return x;
  int64_t n = 1;
  for (int64_t axis : axes) n *= type(x).shape[axis];
  Known k = known(x);
  if (op == Op::reduce_sum || op == Op::reduce_mean) k = total(k, n, x);
  if (op == Op::reduce_mean) k = {known(x).low, known(x).high, k.error / static_cast<double>(n), false};
  return node(op, {x}, k, {{Attr::axes, axes}});
}

Value Generator::reduce() {
  static const std::vector<Op> sums = {Op::reduce_sum, Op::reduce_mean, Op::reduce_max, Op::reduce_min};
  return with_operand(pick([&](Value v) { return is_float(type(v).element) && type(v).rank() >= 1; }), [&](Value x) {
    std::vector<int64_t> axes;
    int64_t rank = type(x).rank(), split = random_.between(0, rank);
    int64_t form = random_.below(4);   // trailing, leading, all, any
    for (int64_t axis = 0; axis < rank; ++axis)
      if (form == 2 || (form == 0 && axis >= split) || (form == 1 && axis < split) || (form == 3 && random_.chance(50))) axes.push_back(axis);
    return axes.empty() ? Value{} : reduced(random_.one_of(sums), x, axes);
  });
}

Value Generator::product() {
  return with_operand(pick([&](Value v) { return is_float(type(v).element) && type(v).rank() >= 1; }), [&](Value x) {
    int64_t axis = random_.below(type(x).rank()), n = type(x).shape[axis];
    if (n > 8 || known(x).magnitude() > 2) return Value{};
    double most_of_it = std::pow(std::max(1.0, known(x).magnitude()), n);
    Known k{-most_of_it, most_of_it, known(x).error * most_of_it * static_cast<double>(n), false};
    return node(Op::reduce_prod, {x}, rounded(k, x), {{Attr::axes, Shape{axis}}});
  });
}

Value Generator::argmax() {
  Value x = pick_exact();
  if (!x.valid() || type(x).rank() == 0) return {};
  int64_t axis = random_.below(type(x).rank());
  return node(Op::argmax, {x}, {0, static_cast<double>(type(x).shape[axis] - 1)}, {{Attr::axis, axis}});
}

// ---- index

// One that is there or is an input now and then (most of [-8, 8] or [0, 8] out of range), else the remainder of a division by a small number.
Value Generator::index(Shape batch) {
  Value there = random_.chance(50) ? pick([&](Value v) {
    return is_integer(type(v).element) && type(v).rank() >= static_cast<int64_t>(batch.size()) && type(v).rank() <= 3 && std::equal(batch.begin(), batch.end(), type(v).shape.begin());
  }) : Value{};
  if (there.valid()) return there;
  for (int64_t more = random_.below(3); more > 0; --more) batch.push_back(extent());
  if (shape_size(batch) > options_.largest) return {};
  static const std::vector<ElementType> elements = {ElementType::i32, ElementType::i32, ElementType::i64, ElementType::u8};
  return fresh({random_.one_of(elements), batch});
}

Value Generator::gather() {
  return with_operand(pick_ranked(1), [&](Value x) {
    const int64_t axis = random_.below(type(x).rank()), batch = random_.chance(30) ? random_.between(0, axis) : 0;
    Value at = index(Shape(type(x).shape.begin(), type(x).shape.begin() + batch));
    if (!at.valid() || type(x).rank() + type(at).rank() - batch > 6) return Value{};
    return node(Op::gather, {x, at}, with(known(x), 0), {{Attr::axis, axis}, {Attr::batch, batch}});
  });
}

Value Generator::scatter_add() {
  Value x = pick([&](Value v) { return type(v).rank() >= 1 && type(v).element != ElementType::boolean && type(v).element != ElementType::bf16; });
  return with_operand(x, [&](Value x) {
    const int64_t rank = type(x).rank(), axis = random_.below(rank + 1), batch = random_.chance(30) ? random_.between(0, axis) : 0, count = std::min<int64_t>(random_.below(3), rank - axis);
    Shape shape(type(x).shape.begin(), type(x).shape.begin() + batch);
    shape.insert(shape.end(), type(x).shape.begin() + axis, type(x).shape.begin() + axis + count);
    Value at = of_type({random_.chance(70) ? ElementType::i32 : ElementType::u8, shape});
    if (!at.valid()) return Value{};
    // One after another: any of the additions may round.
    const double terms = static_cast<double>(shape_size(shape));
    Known sum = total(known(x), shape_size(shape), x);
    sum.error += known(x).magnitude() * terms * rounding(x) * terms / 4;
    return node(Op::scatter_add, {at, x}, sum, {{Attr::axis, axis}, {Attr::batch, batch}, {Attr::extent, extent()}});
  });
}

// ---- sources

Value Generator::source() {
  Type t{options_.only_f32 ? ElementType::f32 : random_.one_of(all_elements), shape()};
  if (t.rank() > 0 && t.element != ElementType::boolean && random_.chance(50)) {
    int64_t axis = random_.below(t.rank());
    known_.push_back({0, static_cast<double>(t.shape[axis] - 1)});
    return b_.iota(t, axis);
  }
  if (t.size() > 64) return {};
  Dense data;
  Known range = input_range(t.element);
  for (int64_t i = 0; i < t.size(); ++i) data.push_back(is_float(t.element) ? random_.unit() * 2 - 1 : static_cast<double>(random_.between(static_cast<int64_t>(range.low), static_cast<int64_t>(range.high))));
  known_.push_back(range);
  return b_.literal(std::move(data), t);
}

// Uniform numbers are exact; normal ones go through a logarithm and a cosine.
Value Generator::random() {
  Type scalar{ElementType::i64, {}};
  std::vector<Value> keys;
  for (int i = 0; i < 3; ++i) keys.push_back(of_type(scalar));
  for (Value key : keys)
    if (!key.valid() || known(key).low < 0 || known(key).high > 1e6) return {};
  Type t{float_element(), shape()};
  bool normal = random_.chance(50);
  Known k = normal ? Known{-6, 6, 1e-5, false} : Known{0, 1};
  return node(Op::random, keys, k, {{Attr::distribution, std::string(normal ? "normal" : "uniform")}, {Attr::site, random_.below(5)}, {Attr::element, t.element}, {Attr::shape, t.shape}});
}

}  // namespace gradc::ir::random_graphs
