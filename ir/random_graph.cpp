#include "ir/random_graph.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "ir/builder.h"

namespace gradc::ir {
namespace {
// splitmix64 (Steele, Lea, Flood 2014): the same numbers everywhere, which the standard library's distributions do not promise.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(bits() % static_cast<uint64_t>(n)); }
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool chance(int percent) { return below(100) < percent; }
  double unit() { return static_cast<double>(bits() >> 40) * 0x1p-24; }
  template <typename T>
  const T& one_of(const std::vector<T>& items) { return items[below(static_cast<int64_t>(items.size()))]; }
  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(static_cast<int64_t>(i))]);
  }

 private:
  uint64_t state_;
};

// What is known of a value: it lies in [low, high], rounding has moved it by at most `error`, and if `exact` not at all.
struct Known {
  double low = 0, high = 0, error = 0;
  bool exact = true;
  double magnitude() const { return std::max(std::abs(low), std::abs(high)); }
};

Known hull(const Known& a, const Known& b) { return {std::min(a.low, b.low), std::max(a.high, b.high), std::max(a.error, b.error), a.exact && b.exact}; }
Known with(const Known& a, double value) { return hull(a, {value, value}); }

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
constexpr double most = 1e4;

const std::vector<Unary> unaries = {
    {Op::exp, -20, 4, increasing<std::exp>, [](const Known& x) { return std::exp(x.high); }},
    {Op::log, 0.05, most, increasing<std::log>, [](const Known& x) { return 1 / x.low; }},
    {Op::log1p, -0.9, most, increasing<std::log1p>, [](const Known& x) { return 1 / (1 + x.low); }},
    {Op::sqrt, 0.01, most, increasing<std::sqrt>, [](const Known& x) { return 0.5 / std::sqrt(x.low); }},
    {Op::rsqrt, 0.05, most, [](const Known& x) { return Known{reciprocal_root(x.high), reciprocal_root(x.low)}; }, [](const Known& x) { return 0.5 * std::pow(x.low, -1.5); }},
    {Op::sin, -20, 20, unit_range, one},
    {Op::cos, -20, 20, unit_range, one},
    {Op::tanh, -most, most, increasing<std::tanh>, one},
    {Op::erf, -most, most, increasing<std::erf>, [](const Known&) { return 1.13; }},
    {Op::sigmoid, -most, most, increasing<logistic>, [](const Known&) { return 0.25; }},
};
// Maps that move or choose values and never round: exact operands give an exact result.
const std::vector<Op> choosing_unaries = {Op::neg, Op::abs};
const std::vector<Op> discontinuous_unaries = {Op::sign, Op::floor, Op::ceil, Op::round};
const std::vector<Op> comparisons = {Op::eq, Op::ne, Op::lt, Op::le, Op::gt, Op::ge};
const std::vector<Op> integer_binaries = {Op::add, Op::sub, Op::mul, Op::max, Op::min, Op::idiv, Op::rem};
const std::vector<Op> sums = {Op::reduce_sum, Op::reduce_mean, Op::reduce_max, Op::reduce_min};
const std::vector<ElementType> all_elements = {ElementType::f32, ElementType::f64, ElementType::i32, ElementType::i64, ElementType::u8, ElementType::boolean};

Known input_range(ElementType element) {
  if (is_float(element)) return {-1, 1};
  if (element == ElementType::i32) return {-8, 8};
  return {0, element == ElementType::boolean ? 1.0 : 8.0};
}

class Generator {
 public:
  Generator(uint64_t seed, const RandomGraphOptions& options) : random_(seed), options_(options) {
    f_.name = fmt::format("random.{}", seed);
    std::vector<int64_t> all = {1, 2, 3, 4, 5, 7, 8, 16, 17, 31, 33};
    for (int i = 0; i < 4; ++i) extents_.push_back(random_.one_of(all));
  }

  RandomGraph run() {
    using Make = Value (Generator::*)();
    struct Row {
      int weight;
      Make make;
    };
    static const std::vector<Row> rows = {
        {14, &Generator::unary},   {6, &Generator::choosing_unary}, {2, &Generator::discontinuous_unary}, {30, &Generator::binary}, {5, &Generator::choice},
        {4, &Generator::compare},  {3, &Generator::logic},          {6, &Generator::integer},             {4, &Generator::cast},    {6, &Generator::reshape},
        {7, &Generator::transpose}, {8, &Generator::broadcast},     {5, &Generator::slice},               {4, &Generator::pad},     {3, &Generator::reverse},
        {4, &Generator::windows},  {2, &Generator::fold},           {14, &Generator::contract},           {12, &Generator::reduce}, {2, &Generator::product},
        {2, &Generator::argmax},   {2, &Generator::source},         {1, &Generator::random},              {4, &Generator::softmax}, {4, &Generator::normalise},
        {6, &Generator::dense}};
    int total = 0;
    for (const Row& row : rows) total += row.weight;
    for (int64_t i = random_.between(1, 3); i > 0; --i) fresh({float_element(), shape()});
    int made = 0;
    for (int attempt = 0; made < options_.operations && attempt < 40 * options_.operations; ++attempt) {
      int64_t at = random_.below(total);
      size_t row = 0;
      while (at >= rows[row].weight) at -= rows[row++].weight;
      b_.loc = {1, static_cast<uint32_t>(made + 1), static_cast<uint16_t>(row + 1)};
      Value v = (this->*rows[row].make)();
      if (!v.valid()) continue;
      pool_.push_back(v);
      ++made;
    }
    return finish();
  }

 private:
  // ---- values

  // Adds a node, if its operands are there and what is known of it stays within bounds; else gives no value.
  Value node(Op op, std::vector<Value> operands, Known known, Attrs attrs = {}) {
    std::vector<Type> types;
    for (Value v : operands) {
      if (!v.valid()) return {};
      types.push_back(f_.type(v));
    }
    Inferred type = infer_type(op, types, attrs);
    if (!std::holds_alternative<Type>(type) || std::get<Type>(type).size() > options_.largest) return {};
    if (is_float(std::get<Type>(type).element)) {
      if (!(known.low >= -most && known.high <= most)) return {};
      if (!(known.error <= 1e-4 * std::max(1.0, known.magnitude()))) return {};
    } else {
      known = integer_range(std::get<Type>(type).element, known);
    }
    known_.push_back(known);
    return b_.make(op, operands, std::move(attrs));
  }

  // Integers wrap: what may leave its type's range may be anything in it.
  static Known integer_range(ElementType element, Known known) {
    double low = element == ElementType::i64 ? -0x1p63 : element == ElementType::i32 ? -0x1p31 : 0;
    double high = element == ElementType::i64 ? 0x1p63 : element == ElementType::i32 ? 0x1p31 - 1 : element == ElementType::u8 ? 255 : 1;
    if (!(known.low >= low && known.high <= high)) known = {low, high};
    return {known.low, known.high, 0, true};
  }

  const Type& type(Value v) const { return f_.type(v); }
  const Known& known(Value v) const { return known_[v.id]; }
  double rounding(Value v) const { return type(v).element == ElementType::f64 ? 1e-14 : 2.4e-7; }
  // The result of rounding once more.
  Known rounded(Known k, Value like) const {
    k.error += k.magnitude() * rounding(like);
    k.exact = false;
    return k;
  }
  static Known negated(const Known& x) { return {-x.high, -x.low, x.error, x.exact}; }
  static Known sum(const Known& x, const Known& y) { return {x.low + y.low, x.high + y.high, x.error + y.error, false}; }
  static Known product_of(const Known& x, const Known& y) {
    auto [low, high] = std::minmax({x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high});
    return {low, high, x.magnitude() * y.error + y.magnitude() * x.error, false};
  }

  ElementType float_element() { return !options_.only_f32 && random_.chance(8) ? ElementType::f64 : ElementType::f32; }
  int64_t extent() { return random_.one_of(extents_); }
  Shape shape() {
    Shape shape;
    int64_t rank = random_.chance(60) ? 2 : random_.below(5);
    while (static_cast<int64_t>(shape.size()) < rank) {
      int64_t next = extent();
      if (shape_size(shape) * next > options_.largest) break;
      shape.push_back(next);
    }
    return shape;
  }

  // A new input or variable.
  Value fresh(const Type& t) {
    known_.push_back(input_range(t.element));
    bool variable = random_.chance(30);
    Value v = variable ? b_.variable(fmt::format("v{}", variables_++), t) : b_.input(fmt::format("x{}", inputs_++), t);
    pool_.push_back(v);
    return v;
  }
  Value constant(double value, const Type& t) {
    known_.push_back({value, value});
    Value scalar = b_.scalar(value, t.element);
    if (t.shape.empty()) return scalar;
    known_.push_back({value, value});
    return b_.broadcast(scalar, t.shape, {});
  }

  // A value that the predicate accepts, later ones more often; none if there is none.
  template <typename Accept>
  Value pick(Accept accept) {
    std::vector<Value> found;
    for (Value v : pool_)
      if (accept(v)) found.push_back(v);
    if (found.empty()) return {};
    size_t back = std::min({random_.below(found.size()), random_.below(found.size()), random_.below(found.size())});
    return found[found.size() - 1 - back];
  }
  Value pick_float() {
    return pick([&](Value v) { return is_float(type(v).element); });
  }
  Value pick_exact() {
    return pick([&](Value v) { return known(v).exact && type(v).element != ElementType::boolean; });
  }

  // A value of this type: one that is there, a constant, a broadcast of something smaller, a new input.
  Value of_type(const Type& t, bool exact = false) {
    if (t.size() > options_.largest) return {};
    Value old = random_.chance(60) ? pick([&](Value v) { return type(v) == t && (known(v).exact || !exact); }) : Value{};
    if (old.valid()) return old;
    if (random_.chance(25)) {
      static const std::vector<double> numbers = {0.5, 1, 2, -1, 0.25, 3};
      double value = random_.one_of(numbers);
      return constant(is_float(t.element) ? value : t.element == ElementType::boolean ? value > 0 : std::floor(std::abs(value)), t);
    }
    if (t.rank() > 0 && random_.chance(50)) {
      Shape small;
      std::vector<int64_t> axes;
      for (int64_t axis = 0; axis < t.rank(); ++axis)
        if (random_.chance(axis + 1 == t.rank() ? 70 : 30)) small.push_back(t.shape[axis]), axes.push_back(axis);
      Value source = pick([&](Value v) { return type(v) == Type{t.element, small} && (known(v).exact || !exact); });
      if (!source.valid()) source = fresh({t.element, small});
      if (small == t.shape) return source;
      return node(Op::broadcast, {source}, known(source), {{Attr::shape, t.shape}, {Attr::axes, axes}});
    }
    return fresh(t);
  }

  // v, or something made of it that lies in [low, high].
  Value within(Value v, double low, double high) {
    if (!v.valid() || (known(v).low >= low && known(v).high <= high)) return v;
    if (high < 1 || (low > 0 && high < 1 + low)) return {};
    if (low <= -1) return map(Op::tanh, v);
    Value s = map(Op::sigmoid, v);
    return low <= 0 ? s : arithmetic(Op::add, s, constant(low, type(v)));
  }

  // ---- maps

  Value map(Op op, Value x) {
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
  Value unary() { return with_operand(pick_float(), [&](Value x) { return map(random_.one_of(unaries).op, x); }); }

  template <typename Make>
  Value with_operand(Value x, Make make) { return x.valid() ? make(x) : Value{}; }

  Value choosing_unary() {
    return with_operand(pick_float(), [&](Value x) {
      Op op = random_.one_of(choosing_unaries);
      Known k = known(x);
      if (op == Op::neg) return node(op, {x}, negated(k));
      return node(op, {x}, {k.low <= 0 && k.high >= 0 ? 0 : std::min(std::abs(k.low), std::abs(k.high)), k.magnitude(), k.error, k.exact});
    });
  }

  Value discontinuous_unary() {
    Value x = pick([&](Value v) { return known(v).exact && is_float(type(v).element); });
    return with_operand(x, [&](Value v) {
      if (random_.chance(20)) return node(Op::is_finite, {v}, {0, 1});
      Op op = random_.one_of(discontinuous_unaries);
      return node(op, {v}, op == Op::sign ? Known{-1, 1} : Known{std::floor(known(v).low), std::ceil(known(v).high)});
    });
  }

  Value arithmetic(Op op, Value x, Value y) {
    if (!x.valid() || !y.valid()) return {};
    if (op == Op::div) {
      y = within(y, 0.2, most);
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

  Value binary() {
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

  Value choice() {
    return with_operand(pick_float(), [&](Value x) {
      Value y = of_type(type(x)), c = of_type({ElementType::boolean, type(x).shape});
      return y.valid() && c.valid() ? node(Op::select, {c, x, y}, hull(known(x), known(y))) : Value{};
    });
  }

  Value compare() {
    Value x = pick([&](Value v) { return known(v).exact; });
    return with_operand(x, [&](Value v) {
      Value y = of_type(type(v), true);
      Op op = random_.one_of(comparisons);
      return y.valid() ? node(op, {v, y}, {0, 1}) : y;
    });
  }

  Value logic() {
    Value x = pick([&](Value v) { return type(v).element == ElementType::boolean; });
    return with_operand(x, [&](Value v) {
      if (random_.chance(33)) return node(Op::not_, {v}, {0, 1});
      Value y = of_type(type(v));
      return y.valid() ? node(random_.chance(50) ? Op::and_ : Op::or_, {v, y}, {0, 1}) : y;
    });
  }

  Value integer() {
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

  Value cast() {
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

  // ---- views

  Value reshape() {
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

  Value pick_ranked(int64_t rank) {
    return pick([&](Value v) { return type(v).rank() >= rank; });
  }

  Value transpose() {
    return with_operand(pick_ranked(2), [&](Value x) {
      std::vector<int64_t> axes(type(x).rank());
      std::iota(axes.begin(), axes.end(), 0);
      random_.shuffle(axes);
      return node(Op::transpose, {x}, known(x), {{Attr::axes, axes}});
    });
  }

  Value broadcast() {
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

  Value slice() {
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

  Value pad() {
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

  Value reverse() {
    return with_operand(pick_ranked(1), [&](Value x) {
      std::vector<int64_t> axes;
      for (int64_t axis = 0; axis < type(x).rank(); ++axis)
        if (random_.chance(50)) axes.push_back(axis);
      return axes.empty() ? Value{} : node(Op::reverse, {x}, known(x), {{Attr::axes, axes}});
    });
  }

  // Windows over one or two axes of a shape; without axes if it has none.
  Attrs random_windows(const Shape& shape) {
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

  Value windows() {
    return with_operand(pick_ranked(1), [&](Value x) {
      if (type(x).rank() > 4) return Value{};
      Attrs attrs = random_windows(type(x).shape);
      double value = static_cast<double>(random_.below(2));
      attrs.set(Attr::value, value);
      return node(Op::windows, {x}, with(known(x), value), attrs);
    });
  }

  // Folds what windows of some value would have the shape of.
  Value fold() {
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

  // What is known of a sum of n numbers: lanes add up n / 16 terms one after another, then a few more.
  Known total(const Known& term, int64_t n, Value like) const {
    double count = static_cast<double>(n);
    Known k{std::min(0.0, term.low) * count, std::max(0.0, term.high) * count, term.error * count, false};
    k.error += term.magnitude() * count * rounding(like) * (4 + count / 16);
    return k;
  }

  Value contract() {
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
      return node(Op::contract, {a, b}, total(product_of(known(a), known(b)), depth, a), attrs);
    });
  }

  Value reduced(Op op, Value x, const std::vector<int64_t>& axes) {
    if (!x.valid()) return x;
    int64_t n = 1;
    for (int64_t axis : axes) n *= type(x).shape[axis];
    Known k = known(x);
    if (op == Op::reduce_sum || op == Op::reduce_mean) k = total(k, n, x);
    if (op == Op::reduce_mean) k = {known(x).low, known(x).high, k.error / static_cast<double>(n), false};
    return node(op, {x}, k, {{Attr::axes, axes}});
  }

  Value reduce() {
    return with_operand(pick([&](Value v) { return is_float(type(v).element) && type(v).rank() >= 1; }), [&](Value x) {
      std::vector<int64_t> axes;
      int64_t rank = type(x).rank(), split = random_.between(0, rank);
      int64_t form = random_.below(4);   // trailing, leading, all, any
      for (int64_t axis = 0; axis < rank; ++axis)
        if (form == 2 || (form == 0 && axis >= split) || (form == 1 && axis < split) || (form == 3 && random_.chance(50))) axes.push_back(axis);
      return axes.empty() ? Value{} : reduced(random_.one_of(sums), x, axes);
    });
  }

  Value product() {
    return with_operand(pick([&](Value v) { return is_float(type(v).element) && type(v).rank() >= 1; }), [&](Value x) {
      int64_t axis = random_.below(type(x).rank()), n = type(x).shape[axis];
      if (n > 8 || known(x).magnitude() > 2) return Value{};
      double most_of_it = std::pow(std::max(1.0, known(x).magnitude()), n);
      Known k{-most_of_it, most_of_it, known(x).error * most_of_it * static_cast<double>(n), false};
      return node(Op::reduce_prod, {x}, rounded(k, x), {{Attr::axes, Shape{axis}}});
    });
  }

  Value argmax() {
    Value x = pick_exact();
    if (!x.valid() || type(x).rank() == 0) return {};
    int64_t axis = random_.below(type(x).rank());
    return node(Op::argmax, {x}, {0, static_cast<double>(type(x).shape[axis] - 1)}, {{Attr::axis, axis}});
  }

  // ---- sources

  Value source() {
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
  Value random() {
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

  // ---- what networks are made of, so that fusion has something to find

  Value spread(Value v, Value like) {   // over the last axis, which v lacks
    if (!v.valid()) return v;
    std::vector<int64_t> axes(type(v).rank());
    std::iota(axes.begin(), axes.end(), 0);
    return node(Op::broadcast, {v}, known(v), {{Attr::shape, type(like).shape}, {Attr::axes, axes}});
  }

  Value softmax() {
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

  Value normalise() {
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

  Value dense() {
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

  // ---- results

  RandomGraph finish() {
    RandomGraph graph;
    std::vector<size_t> uses(f_.size());
    for (const Node& n : f_.nodes)
      for (Value v : n.operands) ++uses[v.id];
    std::vector<Value> candidates;   // what nobody uses, and now and then something in the middle
    for (Value v : pool_)
      if (!is_source(f_[v].op) && (uses[v.id] == 0 || random_.chance(10))) candidates.push_back(v);
    if (candidates.empty()) candidates.push_back(pool_.back());
    random_.shuffle(candidates);
    candidates.resize(std::min<size_t>(candidates.size(), static_cast<size_t>(random_.between(2, 8))));
    for (Value v : candidates) {
      std::string name = fmt::format("r{}", f_.results.size());
      graph.tolerance[name] = known(v).error;
      f_.results.push_back({name, v});
    }
    for (uint32_t i = 0; i < f_.size(); ++i) {
      if (f_.nodes[i].op != Op::variable || random_.chance(60)) continue;
      Value v = pick([&](Value v) { return type(v) == f_.nodes[i].type && !is_source(f_[v].op); });
      const std::string& name = f_.nodes[i].attrs.text(Attr::name);
      if (!v.valid()) continue;
      graph.tolerance["@" + name] = known(v).error;
      f_.results.push_back({name, v, true});
    }
    graph.function = std::move(f_);
    graph.function.prune();
    return graph;
  }

  Random random_;
  RandomGraphOptions options_;
  Function f_;
  Builder b_{f_};
  std::vector<Known> known_;   // of each node
  std::vector<Value> pool_;    // what may be an operand
  std::vector<int64_t> extents_;
  int inputs_ = 0, variables_ = 0;
};
}  // namespace

RandomGraph random_graph(uint64_t seed, const RandomGraphOptions& options) { return Generator(seed, options).run(); }

Bindings random_bindings(const Function& f, uint64_t seed) {
  Random random(seed ^ 0x5DEECE66D);
  Bindings bindings;
  for (const Node& node : f.nodes) {
    if (node.op != Op::input && node.op != Op::variable) continue;
    std::string name = (node.op == Op::variable ? "@" : "") + node.attrs.text(Attr::name);
    if (bindings.contains(name)) continue;
    Tensor& t = bindings[name] = Tensor(node.type);
    bool coarse = random.chance(25);
    Known range = input_range(node.type.element);
    for (int64_t i = 0; i < t.size(); ++i) {
      if (!is_float(node.type.element))
        t.set(i, static_cast<double>(random.between(static_cast<int64_t>(range.low), static_cast<int64_t>(range.high))));
      else
        t.set(i, coarse ? static_cast<double>(random.between(-4, 4)) / 4 : random.unit() * 2 - 1);
    }
  }
  return bindings;
}

std::string difference(const Bindings& expected, const Bindings& actual, const std::map<std::string, double>& tolerance) {
  for (const auto& [name, a] : expected) {
    auto other = actual.find(name);
    if (other == actual.end()) return fmt::format("{} is missing", name);
    const Tensor& b = other->second;
    if (a.type != b.type) return fmt::format("{} is {} and {}", name, to_string(a.type), to_string(b.type));
    auto allowed = tolerance.find(name);
    double most = allowed == tolerance.end() ? 0 : allowed->second;
    for (int64_t i = 0; i < a.size(); ++i) {
      double x = a.at(i), y = b.at(i);
      if (x == y || (std::isnan(x) && std::isnan(y)) || std::abs(x - y) <= most) continue;
      std::vector<int64_t> place;
      for (int64_t stride : row_major_strides(a.type.shape)) place.push_back(i / stride % a.type.shape[place.size()]);
      return fmt::format("{}[{}]: {} and {} differ by more than {}", name, fmt::join(place, ", "), x, y, most);
    }
  }
  return "";
}
}  // namespace gradc::ir
