// Compiled map, row and column kernels against the reference evaluation, on sizes that leave tails, on every target that this machine runs.
#include <catch2/catch.hpp>

#include "kernel_harness.h"
#include "passes/fusion_tiles.h"

using namespace gradc;
using namespace gradc::ir;
using namespace gradc::codegen::test;

namespace {
std::vector<int64_t> list(std::initializer_list<int64_t> x) { return x; }
const ElementType elements[] = {ElementType::f32, ElementType::f64, ElementType::bf16, ElementType::i32, ElementType::i64, ElementType::u8, ElementType::boolean};

// Every map that takes operands of this element type, each as one value.
std::vector<Value> all_maps(Builder& b, ElementType element, const Shape& shape) {
  Type type{element, shape};
  Value inputs[] = {b.input("a0", type), b.input("a1", type), b.input("a2", {ElementType::boolean, shape})};
  std::vector<Value> results;
  for (Op op : all_ops()) {
    if (!is_map(op)) continue;
    std::vector<Value> operands;
    if (op == Op::select) operands = {inputs[2], inputs[0], inputs[1]};
    else operands.assign(inputs, inputs + info(op).operands);
    if (op == Op::cast) {
      for (ElementType to : elements) results.push_back(b.make(op, operands, {{Attr::element, to}}));
      continue;
    }
    std::vector<Type> types;
    for (Value v : operands) types.push_back(b.type(v));
    if (std::holds_alternative<Type>(infer_type(op, types, {}))) results.push_back(b.make(op, operands));
  }
  return results;
}

Value softmax(Builder& b, Value x) {
  Shape shape = b.type(x).shape;
  int64_t last = static_cast<int64_t>(shape.size()) - 1;
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < last; ++i) rows.push_back(i);
  auto back = [&](Value v) { return b.broadcast(v, shape, rows); };
  Value e = b.make(Op::exp, {b.make(Op::sub, {x, back(b.reduce(Op::reduce_max, x, {last}))})});
  return b.make(Op::div, {e, back(b.reduce(Op::reduce_sum, e, {last}))});
}
}  // namespace

TEST_CASE("every map in every form", "[kernel]") {
  for (ElementType element : elements) {
    INFO(element_name(element));
    for (auto [low, high] : {std::pair(0.1, 3.0), std::pair(-30.0, 30.0)}) {
      {
        Function f;
        Builder b(f);
        auto results = all_maps(b, element, {1111});
        CHECK(difference(finish(Form::map, f, {1111}, 0, results), low, high) == "");
      }
      {
        Function f;
        Builder b(f);
        auto results = all_maps(b, element, {5, 37});
        CHECK(difference(finish(Form::map, f, {5, 37}, 1, results), low, high) == "");
      }
    }
    if (element != ElementType::f32 && element != ElementType::i32) continue;   // the other forms share all of that
    for (Shape domain : {Shape{7, 10}, Shape{3, 150}}) {
      Function f;
      Builder b(f);
      auto results = all_maps(b, element, domain);
      std::vector<Value> rows;
      for (Value v : results) rows.push_back(b.reduce(Op::reduce_sum, b.type(v).element == ElementType::boolean ? b.cast(v, ElementType::i32) : v, {1}));
      rows.insert(rows.end(), results.begin(), results.end());
      CHECK(difference(finish(Form::row, f, domain, 1, rows), 0.1, 3) == "");
    }
    {
      Shape domain = {9, 83};
      Function f;
      Builder b(f);
      std::vector<Value> columns;
      for (Value v : all_maps(b, element, domain)) columns.push_back(b.reduce(Op::reduce_sum, b.type(v).element == ElementType::boolean ? b.cast(v, ElementType::i32) : v, {0}));
      CHECK(difference(finish(Form::column, f, domain, 1, columns), 0.1, 3) == "");
    }
  }
}

TEST_CASE("every reduction over rows and over columns", "[kernel]") {
  for (ElementType element : {ElementType::f32, ElementType::f64, ElementType::i32, ElementType::u8}) {
    INFO(element_name(element));
    for (int64_t n : {1, 3, 10, 16, 17, 33, 64, 65, 128, 1000}) {
      for (int64_t axis : {1, 0}) {
        Shape shape = axis == 1 ? Shape{5, n} : Shape{n, 37};
        Function f;
        Builder b(f);
        Value x = b.input("a0", {element, shape});
        std::vector<Value> results;
        for (Op op : {Op::reduce_sum, Op::reduce_max, Op::reduce_min}) results.push_back(b.reduce(op, x, {axis}));
        if (element == ElementType::f32 || element == ElementType::f64) results.push_back(b.reduce(Op::reduce_mean, x, {axis}));
        if (n < 20) results.push_back(b.reduce(Op::reduce_prod, x, {axis}));
        results.push_back(b.make(Op::argmax, {x}, {{Attr::axis, axis}}));
        Kernel kernel = finish(axis == 1 ? Form::row : Form::column, f, shape, 1, results);
        INFO(n << " along axis " << axis);
        CHECK(difference(kernel, 0.5, 1.5) == "");
      }
    }
  }
}

TEST_CASE("ties go to the first, NaN goes through", "[kernel]") {
  const double nan = std::nan(""), inf = INFINITY;
  for (int64_t n : {10, 150}) {
    for (int64_t axis : {1, 0}) {
      Shape shape = axis == 1 ? Shape{6, n} : Shape{n, 6};
      Function f;
      Builder b(f);
      Value x = b.input("a0", {ElementType::f32, shape});
      std::vector<Value> results;
      for (Op op : {Op::reduce_sum, Op::reduce_max, Op::reduce_min}) results.push_back(b.reduce(op, x, {axis}));
      results.push_back(b.make(Op::argmax, {x}, {{Attr::axis, axis}}));
      Tensor in(b.type(x));
      for (int64_t row = 0; row < 6; ++row)
        for (int64_t i = 0; i < n; ++i) {
          double value = row == 0 ? 1 : row == 1 ? (i == 7 ? nan : i) : row == 2 ? -inf : row == 3 ? (i % 4 == 3 ? 5 : -1) : row == 4 ? (i > 3 ? nan : inf) : (i == n - 1 ? inf : 0);
          in.set(axis == 1 ? row * n + i : i * 6 + row, value);
        }
      CHECK(difference(finish(axis == 1 ? Form::row : Form::column, f, shape, 1, results), {in}) == "");
    }
  }
}

TEST_CASE("softmax and cross-entropy in one visit", "[kernel]") {
  for (int64_t n : {10, 16, 100, 1000}) {
    Function f;
    Builder b(f);
    Value x = b.input("a0", {ElementType::f32, {9, n}}), labels = b.input("a1", {ElementType::i32, {9}});
    Value p = softmax(b, x);
    Value hot = b.make(Op::eq, {b.broadcast(labels, {9, n}, {0}), b.iota({ElementType::i32, {9, n}}, 1)});
    Value y = b.cast(hot, ElementType::f32);
    Value loss = b.reduce(Op::reduce_sum, b.make(Op::mul, {y, b.make(Op::neg, {b.make(Op::log, {p})})}), {1});
    Value gradient = b.make(Op::sub, {p, y});
    CHECK(difference(finish(Form::row, f, {9, n}, 1, {loss, gradient, p})) == "");
    CHECK(difference(finish(Form::row, f, {9, n}, 1, {loss, gradient, p}, {-1, 0, -1})) == "");
  }
}

TEST_CASE("layer norm with row values stored, over two inner axes", "[kernel]") {
  for (Shape shape : {Shape{5, 4, 8}, Shape{5, 7, 30}}) {
    Function f;
    Builder b(f);
    Value x = b.input("a0", {ElementType::f32, shape}), gain = b.input("a1", {ElementType::f32, {shape[1], shape[2]}}), bias = b.input("a2", {ElementType::f32, {shape[2]}});
    auto back = [&](Value v) { return b.broadcast(v, shape, {0}); };
    Value mean = b.reduce(Op::reduce_mean, x, {1, 2});
    Value centred = b.make(Op::sub, {x, back(mean)});
    Value variance = b.reduce(Op::reduce_mean, b.make(Op::mul, {centred, centred}), {1, 2});
    Value scale = b.make(Op::rsqrt, {b.map(Op::add, {variance, b.scalar(1e-5, ElementType::f32)})});
    Value y = b.make(Op::mul, {centred, back(scale)});
    y = b.map(Op::add, {b.map(Op::mul, {y, gain}), bias});
    CHECK(difference(finish(Form::row, f, shape, 1, {mean, scale, y})) == "");
    CHECK(difference(finish(Form::row, f, shape, 1, {mean, scale, y}, {-1, -1, 0})) == "");
  }
}

TEST_CASE("batch statistics in the column form", "[kernel]") {
  for (int64_t channels : {3, 16, 64, 100, 200}) {
    Function f;
    Builder b(f);
    Shape shape = {3, 5, 7, channels};
    Value x = b.input("a0", {ElementType::f32, shape}), old = b.input("a1", {ElementType::f32, {channels}});
    Value mean = b.reduce(Op::reduce_mean, x, {0, 1, 2});
    Value centred = b.make(Op::sub, {x, b.broadcast(mean, shape, {3})});
    Value variance = b.reduce(Op::reduce_mean, b.make(Op::mul, {centred, centred}), {0, 1, 2});
    Value running = b.map(Op::add, {b.map(Op::mul, {old, b.scalar(0.9, ElementType::f32)}), b.map(Op::mul, {mean, b.scalar(0.1, ElementType::f32)})});
    CHECK(difference(finish(Form::column, f, shape, 3, {mean, b.make(Op::rsqrt, {variance}), running}, {-1, -1, 1})) == "");
  }
}

TEST_CASE("sums of each sample in the column form: moments, in two sweeps", "[kernel]") {
  for (int64_t channels : {5, 16, 33, 64, 100, 200}) {
    Function f;
    Builder b(f);
    Shape shape = {5, 3, 7, channels};
    Value x = b.input("a0", {ElementType::f32, shape}), factor = b.input("a1", {ElementType::f32, {channels}});
    Value mean = b.reduce(Op::reduce_mean, x, {1, 2});
    Value centred = b.make(Op::sub, {x, b.broadcast(mean, shape, {0, 3})});
    Value squares = b.reduce(Op::reduce_sum, b.make(Op::mul, {centred, centred}), {1, 2});
    Kernel kernel = finish(Form::column, f, shape, 3, {mean, b.map(Op::mul, {squares, factor}), b.reduce(Op::reduce_max, x, {1, 2})});
    kernel.kept = 1;
    kernel.units = shape[0];
    CHECK(difference(kernel) == "");
  }
}

TEST_CASE("Adam's update, in place, with scalars in f64", "[kernel]") {
  Function f;
  Builder b(f);
  Type type{ElementType::f32, {37, 53}};
  Value w = b.input("a0", type), m = b.input("a1", type), v = b.input("a2", type), g = b.input("a3", type), t = b.input("a4", {ElementType::f64, {}});
  auto number = [&](double x) { return b.scalar(x, ElementType::f32); };
  auto correction = [&](double beta) {
    Value power = b.make(Op::pow, {b.scalar(beta, ElementType::f64), t});
    return b.cast(b.make(Op::sub, {b.scalar(1, ElementType::f64), power}), ElementType::f32);
  };
  Value m2 = b.map(Op::add, {b.map(Op::mul, {m, number(0.9)}), b.map(Op::mul, {g, number(0.1)})});
  Value v2 = b.map(Op::add, {b.map(Op::mul, {v, number(0.999)}), b.map(Op::mul, {b.make(Op::mul, {g, g}), number(0.001)})});
  Value step = b.map(Op::div, {b.map(Op::div, {m2, correction(0.9)}), b.map(Op::add, {b.make(Op::sqrt, {b.map(Op::div, {v2, correction(0.999)})}), number(1e-8)})});
  Value w2 = b.make(Op::sub, {w, b.map(Op::mul, {step, number(1e-3)})});
  CHECK(difference(finish(Form::map, f, type.shape, 0, {w2, m2, v2}, {0, 1, 2}), 0.5, 7) == "");
}

TEST_CASE("views are index maps", "[kernel]") {
  Function f;
  Builder b(f);
  Value x = b.input("a0", {ElementType::f32, {6, 20}});
  std::vector<Value> results;
  auto full = [&](Value v) { results.push_back(b.make(Op::neg, {b.reshape(v, {20, 6})})); };
  full(b.transpose(x, {1, 0}));
  full(b.reshape(x, {5, 24}));
  full(b.make(Op::reverse, {x}, {{Attr::axes, list({1})}}));
  full(b.make(Op::pad, {b.slice(x, {1, 2}, {5, 19}, {2, 3})}, {{Attr::low, list({1, 1})}, {Attr::high, list({2, 3})}, {Attr::interior, list({1, 2})}, {Attr::value, 0.5}}));
  full(b.make(Op::pad, {b.transpose(b.slice(x, {0, 0}, {6, 16}, {1, 1}), {1, 0})}, {{Attr::low, list({3, 0})}, {Attr::high, list({1, 0})}, {Attr::interior, list({0, 0})}, {Attr::value, 0.0}}));
  Value columns = b.slice(x, {0, 3}, {6, 4}, {1, 1});
  full(b.broadcast(b.reshape(columns, {6}), {20, 6}, {1}));
  full(b.broadcast(b.slice(b.reshape(x, {120}), {7}, {27}, {1}), {20, 6}, {0}));
  for (int64_t outer : {0, 1}) CHECK(difference(finish(Form::map, f, {20, 6}, outer, results)) == "");
}

// The gates of an LSTM and their like: where pads end at whole vectors and where not, under one loop and under two.
TEST_CASE("sums of what is padded to either side along the lanes", "[kernel]") {
  for (int64_t width : {1, 16, 48, 70, 128})
    for (const Shape& outside : {Shape{6}, Shape{3, 5}}) {
      Function f;
      Builder b(f);
      Shape narrow = outside, wide = outside;
      narrow.push_back(width), wide.push_back(4 * width + 32);
      Value x = b.input("a0", {ElementType::f32, narrow}), y = b.input("a1", {ElementType::f32, narrow}), z = b.input("a2", {ElementType::f32, wide});
      auto padded = [&](Value v, int64_t low, double value) {
        std::vector<int64_t> before(wide.size()), after(wide.size());
        before.back() = low, after.back() = wide.back() - low - width;
        return b.make(Op::pad, {v}, {{Attr::low, before}, {Attr::high, after}, {Attr::interior, std::vector<int64_t>(wide.size())}, {Attr::value, value}});
      };
      Value gates = b.make(Op::add, {padded(b.make(Op::mul, {x, y}), 0, 0.0), padded(b.make(Op::neg, {b.make(Op::tanh, {y})}), width, -0.0)});
      gates = b.make(Op::add, {gates, padded(b.make(Op::max, {x, y}), 3 * width + 32, 1.5)});
      Value product = b.make(Op::mul, {gates, z});
      for (int64_t outer : {0, 1}) CHECK(difference(finish(Form::map, f, wide, outer, {gates, product})) == "");
    }
}

TEST_CASE("windows, pooling and fold in the map form", "[kernel]") {
  for (auto [size, stride, dilation, low, high] : {std::array<int64_t, 5>{3, 1, 1, 1, 1}, {2, 2, 1, 0, 0}, {3, 2, 1, 1, 0}, {2, 1, 2, 0, 1}, {5, 3, 1, 2, 2}}) {
    for (int64_t channels : {1, 3, 16, 70}) {
      Function f;
      Builder b(f);
      Shape shape = {2, 9, 8, channels};
      Value x = b.input("a0", {ElementType::f32, shape});
      Attrs attrs = {{Attr::axes, list({1, 2})}, {Attr::size, list({size, size})}, {Attr::stride, list({stride, stride})}, {Attr::dilation, list({dilation, dilation})},
                     {Attr::low, list({low, low})}, {Attr::high, list({high, high})}, {Attr::value, -2.0}};
      Value w = b.make(Op::windows, {x}, attrs);
      std::vector<Value> pooled = {b.reduce(Op::reduce_max, w, {3, 4}), b.reduce(Op::reduce_mean, w, {3, 4})};
      Shape out = b.type(pooled[0]).shape;
      CHECK(difference(finish(Form::map, f, out, 0, pooled)) == "");
      CHECK(difference(finish(Form::map, f, out, 2, pooled)) == "");
      Function g;
      Builder c(g);
      Value y = c.input("a0", {ElementType::f32, b.type(w).shape});
      Attrs fold;
      for (const auto& [attr, value] : attrs)
        if (attr != Attr::value) fold.set(attr, value);
      fold.set(Attr::shape, shape);
      Value folded = c.make(Op::fold, {c.make(Op::mul, {y, y})}, fold);
      CHECK(difference(finish(Form::map, g, shape, 0, {folded})) == "");
      CHECK(difference(finish(Form::map, g, shape, 1, {folded})) == "");
    }
  }
}

// Windows that do not overlap, with a row left over: which of its elements is the first largest is found once for all of them.
TEST_CASE("the gradient of pooling in the map form", "[kernel]") {
  for (int64_t size : {2, 3})
    for (int64_t channels : {1, 6, 40}) {
      Function f;
      Builder b(f);
      int64_t h = 3 * size + 1, w = 4 * size;
      Shape shape = {2, h, w, channels};
      Value x = b.input("a0", {ElementType::f32, shape}), g = b.input("a1", {ElementType::f32, {2, 3, 4, channels}});
      Value windows = b.make(Op::windows, {b.make(Op::round, {x})}, {{Attr::axes, list({1, 2})}, {Attr::size, list({size, size})}, {Attr::stride, list({size, size})}, {Attr::dilation, list({1, 1})},
                                                                     {Attr::low, list({0, 0})}, {Attr::high, list({0, 0})}, {Attr::value, 0.0}});
      Shape merged = {2, 3, 4, size * size, channels};
      Value first = b.make(Op::argmax, {b.reshape(windows, merged)}, {{Attr::axis, int64_t{3}}});
      Value mine = b.make(Op::eq, {b.iota({ElementType::i32, merged}, 3), b.broadcast(first, merged, {0, 1, 2, 4})});
      Value spread = b.make(Op::select, {mine, b.broadcast(g, merged, {0, 1, 2, 4}), b.constant(0, {ElementType::f32, merged})});
      Value back = b.reshape(b.transpose(b.reshape(spread, {2, 3, 4, size, size, channels}), {0, 1, 3, 2, 4, 5}), {2, 3 * size, w, channels});
      back = b.make(Op::pad, {back}, {{Attr::low, list({0, 0, 0, 0})}, {Attr::high, list({0, 1, 0, 0})}, {Attr::interior, list({0, 0, 0, 0})}, {Attr::value, 0.0}});
      Function body = f;
      for (int64_t outer : {0, 1}) CHECK(difference(finish(Form::map, f, shape, outer, {b.make(Op::neg, {back})})) == "");
      Kernel kernel = finish(Form::map, body, shape, 1, {back});
      kernel.tile = passes::choose_tile(kernel);
      CHECK(kernel.tile == Shape{1, size, size, 1});
      kernel.outer = 3, kernel.units = 2 * 4 * 4;
      CHECK(difference(kernel) == "");
    }
}

TEST_CASE("random numbers are Philox's, whatever the form", "[kernel]") {
  for (const char* distribution : {"uniform", "normal"})
    for (Shape shape : {Shape{}, Shape{5}, Shape{7, 33}, Shape{130, 17}}) {
      Function f;
      Builder b(f);
      Type scalar{ElementType::i64, {}};
      Value seed = b.input("a0", scalar), step = b.input("a1", scalar), row = b.input("a2", scalar);
      Value r = b.make(Op::random, {seed, step, row}, {{Attr::distribution, std::string(distribution)}, {Attr::site, int64_t{12}}, {Attr::element, ElementType::f32}, {Attr::shape, shape}});
      std::vector<Tensor> inputs;
      for (int64_t value : {int64_t{0x123456789abc}, int64_t{77}, int64_t{1} << 34}) {
        inputs.emplace_back(scalar);
        inputs.back().as<int64_t>()[0] = value;
      }
      CHECK(difference(finish(Form::map, f, shape, 0, {r}), inputs) == "");
      if (shape.size() == 2) CHECK(difference(finish(Form::map, f, shape, 1, {r}), inputs) == "");
    }
}

TEST_CASE("literals, iota and scalars", "[kernel]") {
  Function f;
  Builder b(f);
  Value x = b.input("a0", {ElementType::f32, {4, 5}});
  std::vector<double> data;
  for (int i = 0; i < 20; ++i) data.push_back(i * 1.5);
  Value y = b.make(Op::add, {x, b.literal(data, {ElementType::f32, {4, 5}})});
  Value z = b.make(Op::mul, {y, b.iota({ElementType::f32, {4, 5}}, 1)});
  CHECK(difference(finish(Form::map, f, {4, 5}, 0, {y, z, b.map(Op::lt, {z, b.scalar(8, ElementType::f32)})})) == "");
  Function g;
  Builder c(g);
  Value s = c.input("a0", {ElementType::f64, {}});
  CHECK(difference(finish(Form::map, g, {}, 0, {c.make(Op::exp, {s}), c.cast(c.make(Op::sin, {s}), ElementType::f32)})) == "");
}

TEST_CASE("a flat map with values of rows and of columns", "[kernel]") {
  for (Shape shape : {Shape{700, 10}, Shape{9, 33, 5}, Shape{3, 3}, Shape{1500, 1}, Shape{1, 1500}}) {
    int64_t last = static_cast<int64_t>(shape.size()) - 1;
    Function f;
    Builder b(f);
    Value x = b.input("a0", {ElementType::f32, shape}), column = b.input("a1", {ElementType::f32, {shape[last]}}), row = b.input("a2", {ElementType::f32, {shape[0]}});
    Value y = b.make(Op::mul, {b.map(Op::add, {x, column}), b.broadcast(row, shape, {0})});
    CHECK(difference(finish(Form::map, f, shape, 0, {y}, {0})) == "");
  }
}
