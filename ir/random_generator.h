// The generator of random functions, in pieces: random_graph.cpp (values and results), random_maps.cpp, random_shapes.cpp (views, contracts,
// reductions, sources) and random_networks.cpp. For these files alone.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "ir/builder.h"
#include "ir/random_graph.h"

namespace gradc::ir::random_graphs {

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

inline Known hull(const Known& a, const Known& b) { return {std::min(a.low, b.low), std::max(a.high, b.high), std::max(a.error, b.error), a.exact && b.exact}; }
inline Known with(const Known& a, double value) { return hull(a, {value, value}); }

/// What random_bindings gives inputs of this type.
Known input_range(ElementType);

constexpr double largest_number = 1e4;   // of any value
extern const std::vector<ElementType> all_elements;

class Generator {
 public:
  Generator(uint64_t seed, const RandomGraphOptions&);
  RandomGraph run();

 private:
  // ---- values
  // Adds a node, if its operands are there and what is known of it stays within bounds; else gives no value.
  Value node(Op op, std::vector<Value> operands, Known known, Attrs attrs = {});
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
  Shape shape();
  // A new input or variable.
  Value fresh(const Type& t);
  Value constant(double value, const Type& t);
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
  Value of_type(const Type& t, bool exact = false);
  // v, or something made of it that lies in [low, high].
  Value within(Value v, double low, double high);
  template <typename Make>
  Value with_operand(Value x, Make make) { return x.valid() ? make(x) : Value{}; }

  // ---- makers: each gives a value, or none if nothing fits
  Value map(Op op, Value x);
  Value unary();
  Value choosing_unary();
  Value discontinuous_unary();
  Value arithmetic(Op op, Value x, Value y);
  Value binary();
  Value choice();
  Value compare();
  Value logic();
  Value integer();
  Value cast();

  Value reshape();
  Value pick_ranked(int64_t rank) {
    return pick([&](Value v) { return type(v).rank() >= rank; });
  }
  Value transpose();
  Value broadcast();
  Value slice();
  Value pad();
  Value reverse();
  Value after();
  // Windows over one or two axes of a shape.
  Attrs random_windows(const Shape& shape);
  Value windows();
  // Folds what windows of some value would have the shape of.
  Value fold();

  // What is known of a sum of n numbers: lanes add up n / 16 terms one after another, then a few more.
  Known total(const Known& term, int64_t n, Value like) const;
  Value contract();
  Value reduced(Op op, Value x, const std::vector<int64_t>& axes);
  Value reduce();
  Value product();
  Value argmax();

  // Indices for gather and scatter_add: what counts as an integer and may be out of range.
  Value index(Shape batch);
  Value gather();
  Value scatter_add();

  Value source();
  Value random();

  // Repeats v over the last axis of `like`, which v lacks.
  Value spread(Value v, Value like);
  Value softmax();
  Value normalise();
  Value dense();
  Value loop();

  RandomGraph finish();

  Random random_;
  RandomGraphOptions options_;
  Function f_;
  Builder b_{f_};
  std::vector<Known> known_;   // of each node
  std::vector<Value> pool_;    // what may be an operand
  std::vector<int64_t> extents_;
  int inputs_ = 0, variables_ = 0;
};

}  // namespace gradc::ir::random_graphs
