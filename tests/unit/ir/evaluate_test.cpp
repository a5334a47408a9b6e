// Reference evaluation: each operation on values worked out by hand or with plain loops.
#include <catch2/catch.hpp>

#include <chrono>
#include <cmath>
#include <limits>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/philox.h"
#include "ir/text.h"

using namespace gradc;
using namespace gradc::ir;
using enum ElementType;

namespace {
constexpr double inf = std::numeric_limits<double>::infinity();
const double nan_value = std::numeric_limits<double>::quiet_NaN();

// One operation applied to tensors.
Tensor apply(Op op, std::vector<Tensor> operands, Attrs attrs = {}) {
  std::vector<Type> types;
  std::vector<const Tensor*> pointers;
  for (const Tensor& t : operands) types.push_back(t.type), pointers.push_back(&t);
  Inferred type = infer_type(op, types, attrs);
  if (auto* error = std::get_if<std::string>(&type)) FAIL(*error);
  return evaluate_node({op, std::get<Type>(type), {}, attrs, {}}, pointers);
}

Tensor vec(std::vector<double> values, ElementType element = f32) { return Tensor::of({element, {static_cast<int64_t>(values.size())}}, values); }

// Equal, where two NaNs are.
void same(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    INFO("element " << i << ": " << a[i] << " and " << b[i]);
    CHECK(((std::isnan(a[i]) && std::isnan(b[i])) || a[i] == b[i]));
  }
}

std::vector<double> unary(Op op, std::vector<double> x, ElementType element = f32) { return apply(op, {vec(x, element)}).numbers(); }
std::vector<double> binary(Op op, std::vector<double> x, std::vector<double> y, ElementType element = f32) { return apply(op, {vec(x, element), vec(y, element)}).numbers(); }

Tensor counted(Type type) {
  Tensor t(std::move(type));
  for (int64_t i = 0; i < t.size(); ++i) t.set(i, static_cast<double>(i));
  return t;
}
}  // namespace

TEST_CASE("tensors hold every element type") {
  for (ElementType element : {f32, f64, bf16, i32, i64, u8, boolean}) {
    Tensor t({element, {3}});
    CHECK(t.numbers() == std::vector<double>{0, 0, 0});
    t.set(1, 1);
    CHECK(t.numbers() == std::vector<double>{0, 1, 0});
    CHECK(static_cast<int64_t>(t.bytes().size()) == t.type.bytes());
    CHECK(t == Tensor::of({element, {3}}, {0, 1, 0}));
    CHECK(!(t == Tensor::filled({element, {3}}, 1)));
  }
  CHECK(Tensor::of({f32, {}}, {0.1}).at(0) == 0.1f);
}

TEST_CASE("conversions truncate, saturate, wrap and round") {
  auto cast = [](std::vector<double> x, ElementType from, ElementType to) { return apply(Op::cast, {vec(x, from)}, {{Attr::element, to}}).numbers(); };
  CHECK(cast({1.9, -1.9, 3e9, -3e9, inf, -inf, nan_value}, f32, i32) == std::vector<double>{1, -1, 2147483647, -2147483648.0, 2147483647, -2147483648.0, 0});
  CHECK(cast({255.9, 256, -1, nan_value}, f64, u8) == std::vector<double>{255, 255, 0, 0});
  CHECK(apply(Op::cast, {vec({1e300, -1e300}, f64)}, {{Attr::element, i64}}) .as<int64_t>()[0] == std::numeric_limits<int64_t>::max());
  CHECK(cast({257, -1, 3}, i32, u8) == std::vector<double>{1, 255, 3});
  CHECK(cast({0, 0.5, nan_value, -0.0}, f32, boolean) == std::vector<double>{0, 1, 1, 0});
  CHECK(cast({0, 1}, boolean, f32) == std::vector<double>{0, 1});
  CHECK(cast({1, 1.00390625, 1.01171875, 3.4e38}, f32, bf16) == std::vector<double>{1, 1, 1.015625, inf});   // ties to even
  CHECK(cast({16777217}, i32, f32) == std::vector<double>{16777216});
  CHECK(cast({0.1}, f64, f32) == std::vector<double>{0.1f});
}

TEST_CASE("maps of one operand") {
  same(unary(Op::neg, {1, -2, inf, nan_value}), {-1, 2, -inf, nan_value});
  same(unary(Op::neg, {1, -2147483648.0}, i32), {-1, -2147483648.0});
  same(unary(Op::neg, {1, 0}, u8), {255, 0});
  same(unary(Op::abs, {1, -2, -inf}), {1, 2, inf});
  same(unary(Op::abs, {5, -5}, i64), {5, 5});
  same(unary(Op::sign, {3, -0.5, 0, nan_value}), {1, -1, 0, nan_value});
  same(unary(Op::sign, {3, -5, 0}, i32), {1, -1, 0});
  same(unary(Op::exp, {0, 1, -inf, 100}), {1, static_cast<float>(std::exp(1.0)), 0, inf});
  same(unary(Op::exp, {100}, f64), {std::exp(100.0)});
  same(unary(Op::log, {1, 0, -1}), {0, -inf, nan_value});
  same(unary(Op::log1p, {0, 1e-20, -1}, f64), {0, 1e-20, -inf});
  same(unary(Op::sqrt, {4, 2, -1}), {2, std::sqrt(2.0f), nan_value});
  same(unary(Op::rsqrt, {4, 0}), {0.5, inf});
  same(unary(Op::sin, {0, 1}, f64), {0, std::sin(1.0)});
  same(unary(Op::cos, {0, 1}, f64), {1, std::cos(1.0)});
  same(unary(Op::tanh, {0, inf, -inf}), {0, 1, -1});
  same(unary(Op::erf, {0, inf, 1}, f64), {0, 1, std::erf(1.0)});
  same(unary(Op::sigmoid, {0, inf, -inf, -1000}), {0.5, 1, 0, 0});
  same(unary(Op::floor, {1.5, -1.5, 2}), {1, -2, 2});
  same(unary(Op::ceil, {1.5, -1.5, 2}), {2, -1, 2});
  same(unary(Op::round, {0.5, 1.5, 2.5, -0.5, -1.5, 1.2}), {0, 2, 2, 0, -2, 1});
  same(unary(Op::not_, {0, 1}, boolean), {1, 0});
  same(unary(Op::is_finite, {0, inf, -inf, nan_value}), {1, 0, 0, 0});
  same(unary(Op::mark, {1, 2}), {1, 2});
  same(unary(Op::stop_gradient, {1, 2}), {1, 2});
}

TEST_CASE("maps of two operands") {
  same(binary(Op::add, {1, 16777216, inf}, {2, 1, -inf}), {3, 16777216, nan_value});   // f32 arithmetic
  same(binary(Op::add, {16777216}, {1}, f64), {16777217});
  same(binary(Op::add, {1}, {0.00390625}, bf16), {1});                                   // bf16 has 8 bits
  same(binary(Op::add, {2147483647, 1}, {1, 2}, i32), {-2147483648.0, 3});
  same(binary(Op::sub, {1, 5}, {2, 3}, u8), {255, 2});
  same(binary(Op::mul, {3, 65536}, {4, 65536}, i32), {12, 0});
  same(binary(Op::mul, {0.1}, {0.1}), {0.1f * 0.1f});
  same(binary(Op::div, {1, 1, 0}, {3, 0, 0}), {1.0f / 3.0f, inf, nan_value});
  same(binary(Op::idiv, {7, -7, 7, -7, 6, -2147483648.0, 5}, {2, 2, -2, -2, 3, -1, 0}, i32), {3, -4, -4, 3, 2, -2147483648.0, 0});
  same(binary(Op::rem, {7, -7, 7, -7, 6, -2147483648.0, 5}, {2, 2, -2, -2, 3, -1, 0}, i32), {1, 1, -1, -1, 0, 0, 5});
  same(binary(Op::rem, {5.5, -5.5, 5.5}, {2, 2, -2}), {1.5, 0.5, -0.5});
  same(binary(Op::pow, {2, 9, -1, 0}, {10, 0.5, 0.5, 0}), {1024, 3, nan_value, 1});
  same(binary(Op::max, {1, nan_value, 1, -inf}, {2, 1, nan_value, -5}), {2, nan_value, nan_value, -5});
  same(binary(Op::min, {1, nan_value, 1, -inf}, {2, 1, nan_value, -5}), {1, nan_value, nan_value, -inf});
  same(binary(Op::max, {1, -2}, {-1, -1}, i64), {1, -1});
  same(binary(Op::min, {1, 200}, {2, 100}, u8), {1, 100});
  same(binary(Op::eq, {1, 2, nan_value}, {1, 3, nan_value}), {1, 0, 0});
  same(binary(Op::ne, {1, 2, nan_value}, {1, 3, nan_value}), {0, 1, 1});
  same(binary(Op::eq, {1, 0}, {1, 1}, boolean), {1, 0});
  same(binary(Op::lt, {1, 2, 3, nan_value}, {2, 2, 2, 1}), {1, 0, 0, 0});
  same(binary(Op::le, {1, 2, 3, nan_value}, {2, 2, 2, 1}), {1, 1, 0, 0});
  same(binary(Op::gt, {1, 2, 3, nan_value}, {2, 2, 2, 1}), {0, 0, 1, 0});
  same(binary(Op::ge, {1, 2, 3, nan_value}, {2, 2, 2, 1}), {0, 1, 1, 0});
  same(binary(Op::gt, {200}, {100}, u8), {1});
  same(binary(Op::and_, {0, 0, 1, 1}, {0, 1, 0, 1}, boolean), {0, 0, 0, 1});
  same(binary(Op::or_, {0, 0, 1, 1}, {0, 1, 0, 1}, boolean), {0, 1, 1, 1});
  same(apply(Op::select, {vec({1, 0}, boolean), vec({1, 2}), vec({3, 4})}).numbers(), {1, 4});
}

TEST_CASE("views") {
  Tensor x = counted({f32, {2, 3}});
  CHECK(apply(Op::reshape, {x}, {{Attr::shape, Shape{3, 2}}}) == counted({f32, {3, 2}}));
  CHECK(apply(Op::transpose, {x}, {{Attr::axes, Shape{1, 0}}}).numbers() == std::vector<double>{0, 3, 1, 4, 2, 5});
  CHECK(apply(Op::transpose, {counted({u8, {2, 1, 3}})}, {{Attr::axes, Shape{2, 0, 1}}}).numbers() == std::vector<double>{0, 3, 1, 4, 2, 5});
  CHECK(apply(Op::broadcast, {vec({1, 2})}, {{Attr::shape, Shape{2, 2, 2}}, {Attr::axes, Shape{1}}}).numbers() == std::vector<double>{1, 1, 2, 2, 1, 1, 2, 2});
  CHECK(apply(Op::broadcast, {Tensor::of({boolean, {}}, {1})}, {{Attr::shape, Shape{2}}, {Attr::axes, Shape{}}}).numbers() == std::vector<double>{1, 1});
  CHECK(apply(Op::slice, {counted({i32, {4, 5}})}, {{Attr::start, Shape{1, 0}}, {Attr::limit, Shape{4, 5}}, {Attr::stride, Shape{2, 3}}}).numbers() == std::vector<double>{5, 8, 15, 18});
  CHECK(apply(Op::reverse, {x}, {{Attr::axes, Shape{1}}}).numbers() == std::vector<double>{2, 1, 0, 5, 4, 3});
  CHECK(apply(Op::after, {x, x}, {}).numbers() == std::vector<double>{0, 1, 2, 3, 4, 5});
  CHECK(apply(Op::reverse, {x}, {{Attr::axes, Shape{0, 1}}}).numbers() == std::vector<double>{5, 4, 3, 2, 1, 0});
  Attrs padding = {{Attr::low, Shape{1, 0}}, {Attr::high, Shape{0, 1}}, {Attr::interior, Shape{0, 1}}, {Attr::value, 9.0}};
  CHECK(apply(Op::pad, {x}, padding).numbers() == std::vector<double>{9, 9, 9, 9, 9, 9, 0, 9, 1, 9, 2, 9, 3, 9, 4, 9, 5, 9});
  CHECK(apply(Op::pad, {Tensor({f32, {0}})}, {{Attr::low, Shape{1}}, {Attr::high, Shape{1}}, {Attr::interior, Shape{3}}, {Attr::value, -inf}}).numbers() == std::vector<double>{-inf, -inf});
}

TEST_CASE("windows by their definition, fold as their adjoint") {
  const Shape shape = {2, 6, 5, 3};
  Attrs attrs = {{Attr::axes, Shape{1, 2}}, {Attr::size, Shape{3, 2}}, {Attr::stride, Shape{2, 1}}, {Attr::dilation, Shape{1, 2}}, {Attr::low, Shape{1, 2}}, {Attr::high, Shape{0, 1}}, {Attr::value, -7.0}};
  Tensor x = counted({f32, shape});
  Tensor y = apply(Op::windows, {x}, attrs);
  REQUIRE(y.type.shape == Shape{2, 3, 6, 3, 2, 3});
  std::vector<double> folded(x.size());
  int64_t at = 0;
  for (int64_t n = 0; n < 2; ++n)
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 6; ++j)
        for (int64_t u = 0; u < 3; ++u)
          for (int64_t v = 0; v < 2; ++v)
            for (int64_t c = 0; c < 3; ++c, ++at) {
              int64_t row = 2 * i + u - 1, column = j + 2 * v - 2;
              bool inside = row >= 0 && row < 6 && column >= 0 && column < 5;
              int64_t from = ((n * 6 + row) * 5 + column) * 3 + c;
              CHECK(y.at(at) == (inside ? x.at(from) : -7));
              if (inside) folded[from] += static_cast<double>(at);
            }
  Attrs adjoint;
  for (const auto& [attr, value] : attrs)
    if (attr != Attr::value) adjoint.set(attr, value);
  adjoint.set(Attr::shape, shape);
  CHECK(apply(Op::fold, {counted(y.type)}, adjoint).numbers() == folded);
}

TEST_CASE("gather and scatter_add by their definition") {
  auto rows = [](int64_t axis, int64_t batch) { return Attrs{{Attr::axis, axis}, {Attr::batch, batch}}; };
  auto sums = [](int64_t axis, int64_t batch, int64_t extent) { return Attrs{{Attr::axis, axis}, {Attr::batch, batch}, {Attr::extent, extent}}; };
  Tensor x = counted({f32, {2, 3, 2}});
  Tensor index = Tensor::of({i32, {2, 2}}, {2, -1, 0, 3});   // two of them out of range
  Tensor y = apply(Op::gather, {x, index}, rows(1, 0));
  REQUIRE(y.type.shape == Shape{2, 2, 2, 2});
  CHECK(y.numbers() == std::vector<double>{4, 5, 0, 0, 0, 1, 0, 0, 10, 11, 0, 0, 6, 7, 0, 0});
  CHECK(apply(Op::gather, {x, index}, rows(1, 1)).numbers() == std::vector<double>{4, 5, 0, 0, 6, 7, 0, 0});
  CHECK(apply(Op::gather, {x, index}, rows(2, 1)).numbers() == std::vector<double>{0, 0, 0, 0, 0, 0, 6, 0, 8, 0, 10, 0});
  CHECK(apply(Op::gather, {counted({u8, {5}}), Tensor::of({ElementType::i64, {}}, {3})}, rows(0, 0)).numbers() == std::vector<double>{3});
  CHECK(apply(Op::gather, {Tensor::of({boolean, {2}}, {1, 1}), Tensor::of({u8, {3}}, {1, 200, 0})}, rows(0, 0)).numbers() == std::vector<double>{1, 0, 1});

  Tensor g = counted(y.type);   // the sums of what came from each element
  CHECK(apply(Op::scatter_add, {index, g}, sums(1, 0, 3)).numbers() == std::vector<double>{4, 5, 0, 0, 0, 1, 12, 13, 0, 0, 8, 9});
  CHECK(apply(Op::scatter_add, {Tensor::of({i32, {4}}, {1, 1, -1, 1}), vec({1, 2, 3, 4})}, sums(0, 0, 2)).numbers() == std::vector<double>{0, 7});
  CHECK(apply(Op::scatter_add, {Tensor::of({i32, {2}}, {1, 0}), counted({f32, {2, 2}})}, sums(1, 1, 2)).numbers() == std::vector<double>{0, 0, 0, 1, 2, 3, 0, 0});
  CHECK(apply(Op::scatter_add, {Tensor::of({u8, {2, 2}}, {1, 1, 0, 1}), counted({i32, {2, 2}})}, sums(1, 1, 2)).numbers() == std::vector<double>{0, 1, 2, 3});
  CHECK(apply(Op::scatter_add, {Tensor::of({u8, {2}}, {0, 0}), vec({200, 100}, u8)}, sums(0, 0, 1)).numbers() == std::vector<double>{44});
}

TEST_CASE("reductions") {
  Tensor x = counted({f32, {2, 3, 2}});
  auto reduce = [&](Op op, const Tensor& t, Shape axes) { return apply(op, {t}, {{Attr::axes, axes}}).numbers(); };
  CHECK(reduce(Op::reduce_sum, x, {1}) == std::vector<double>{6, 9, 24, 27});
  CHECK(reduce(Op::reduce_sum, x, {0, 2}) == std::vector<double>{14, 22, 30});
  CHECK(reduce(Op::reduce_sum, x, {0, 1, 2}) == std::vector<double>{66});
  CHECK(reduce(Op::reduce_sum, x, {}) == x.numbers());
  CHECK(reduce(Op::reduce_sum, vec({200, 100}, u8), {0}) == std::vector<double>{44});
  CHECK(reduce(Op::reduce_sum, vec({1e8, 1, -1e8}), {0}) == std::vector<double>{1});   // accumulated in f64
  CHECK(reduce(Op::reduce_mean, x, {1, 2}) == std::vector<double>{2.5, 8.5});
  CHECK(reduce(Op::reduce_max, x, {0}) == std::vector<double>{6, 7, 8, 9, 10, 11});
  CHECK(reduce(Op::reduce_min, x, {0}) == std::vector<double>{0, 1, 2, 3, 4, 5});
  CHECK(reduce(Op::reduce_prod, vec({2, 3, 4}), {0}) == std::vector<double>{24});
  CHECK(reduce(Op::reduce_prod, vec({2, 3, 4}, i32), {0}) == std::vector<double>{24});
  same(reduce(Op::reduce_max, vec({1, nan_value, 3}), {0}), {nan_value});
  same(reduce(Op::reduce_min, vec({1, nan_value, 3}), {0}), {nan_value});
  same(reduce(Op::reduce_max, vec({-inf, -inf}), {0}), {-inf});
  CHECK(reduce(Op::reduce_max, vec({3, 200, 7}, u8), {0}) == std::vector<double>{200});
  same(reduce(Op::reduce_max, Tensor({f32, {0}}), {0}), {-inf});
  CHECK(reduce(Op::reduce_min, Tensor({i32, {0}}), {0}) == std::vector<double>{2147483647});
  same(reduce(Op::reduce_mean, Tensor({f32, {0}}), {0}), {nan_value});
  CHECK(reduce(Op::reduce_prod, Tensor({f32, {0}}), {0}) == std::vector<double>{1});

  auto argmax = [](const Tensor& t, int64_t axis) { return apply(Op::argmax, {t}, {{Attr::axis, axis}}); };
  CHECK(argmax(Tensor::of({f32, {2, 3}}, {1, 5, 5, 7, 2, 1}), 1) == vec({1, 0}, i32));
  CHECK(argmax(Tensor::of({f32, {2, 3}}, {1, 5, 5, 7, 2, 1}), 0) == vec({1, 0, 0}, i32));
  CHECK(argmax(vec({1, nan_value, 9, nan_value}), 0).numbers() == std::vector<double>{1});
  CHECK(argmax(vec({3, 200, 7}, u8), 0).numbers() == std::vector<double>{1});
}

TEST_CASE("contract sums what the result lacks") {
  auto contract = [](std::string spec, const Tensor& a, const Tensor& b) { return apply(Op::contract, {a, b}, {{Attr::spec, spec}}); };
  CHECK(contract("mk,kn->mn", counted({f32, {2, 3}}), counted({f32, {3, 2}})).numbers() == std::vector<double>{10, 13, 28, 40});
  CHECK(contract("km,nk->nm", counted({f32, {3, 2}}), counted({f32, {2, 3}})).numbers() == std::vector<double>{10, 13, 28, 40});
  CHECK(contract("i,j->ji", vec({1, 2}), vec({3, 4})).numbers() == std::vector<double>{3, 6, 4, 8});
  CHECK(contract("i,i->", vec({1, 2}), vec({3, 4})).numbers() == std::vector<double>{11});
  CHECK(contract("i,i->i", vec({1, 2}), vec({3, 4})).numbers() == std::vector<double>{3, 8});
  CHECK(contract(",->", Tensor::of({f64, {}}, {3}), Tensor::of({f64, {}}, {4})).numbers() == std::vector<double>{12});
  CHECK(contract("mk,kn->mn", Tensor({f32, {2, 0}}), Tensor({f32, {0, 3}})).numbers() == std::vector<double>(6));
  CHECK(contract("k,k->", vec({1e8, 1, -1e8}), vec({1, 1, 1})).numbers() == std::vector<double>{1});   // accumulated in f64
  CHECK(contract("k,k->", vec({1, 0.00390625}, bf16), vec({1, 1}, bf16)).numbers() == std::vector<double>{1});   // rounded once
  same(contract("k,k->", vec({0, inf}), vec({nan_value, 1})).numbers(), {nan_value});
  // With a precision below f32: 1 + 2^-9 is 1 in bf16, and 1 and 2^-9 in two of them; of 2^-9 * 2^-9 the low halves' product is left out.
  auto rounded = [](std::string precision, const Tensor& a, const Tensor& b) { return apply(Op::contract, {a, b}, {{Attr::spec, std::string("k,k->")}, {Attr::precision, precision}}).numbers(); };
  const double near = 1 + 0x1p-9;
  CHECK(rounded("bf16", vec({near, 3}), vec({near, 0.5})) == std::vector<double>{2.5});
  CHECK(rounded("bf16x3", vec({near, 3}), vec({near, 0.5})) == std::vector<double>{2.5 + 0x1p-8});
  for (const char* precision : {"bf16", "bf16x3"}) {
    same(rounded(precision, vec({nan_value, 1}), vec({0, 1})), {nan_value});
    same(rounded(precision, vec({3.4e38, 1}), vec({1, 1})), {std::string(precision) == "bf16" ? inf : nan_value});   // infinite in bf16; times a low half of 0
  }

  // Against plain loops: batch b and h, rows i, columns j, depth k and l, in mixed orders.
  Tensor x = counted({f64, {2, 3, 4, 2, 5}}), y = counted({f64, {5, 3, 2, 2, 3}});   // x[b,h,i,k,l], y[l,j,b,k,h]
  Tensor z = contract("bhikl,ljbkh->jhib", x, y);
  REQUIRE(z.type.shape == Shape{3, 3, 4, 2});
  int64_t at = 0;
  for (int64_t j = 0; j < 3; ++j)
    for (int64_t h = 0; h < 3; ++h)
      for (int64_t i = 0; i < 4; ++i)
        for (int64_t b = 0; b < 2; ++b, ++at) {
          double sum = 0;
          for (int64_t k = 0; k < 2; ++k)
            for (int64_t l = 0; l < 5; ++l) sum += x.at((((b * 3 + h) * 4 + i) * 2 + k) * 5 + l) * y.at((((l * 3 + j) * 2 + b) * 2 + k) * 3 + h);
          CHECK(z.at(at) == sum);
        }
}

TEST_CASE("sources") {
  CHECK(apply(Op::constant, {}, {{Attr::element, f32}, {Attr::shape, Shape{2}}, {Attr::value, 0.1}}).numbers() == std::vector<double>(2, 0.1f));
  CHECK(apply(Op::literal, {}, {{Attr::element, i32}, {Attr::shape, Shape{2}}, {Attr::data, std::make_shared<const Dense>(Dense{4, 5})}}).numbers() == std::vector<double>{4, 5});
  CHECK(apply(Op::iota, {}, {{Attr::element, i32}, {Attr::shape, Shape{2, 3}}, {Attr::axis, int64_t{1}}}).numbers() == std::vector<double>{0, 1, 2, 0, 1, 2});
  CHECK(apply(Op::iota, {}, {{Attr::element, f32}, {Attr::shape, Shape{2, 3}}, {Attr::axis, int64_t{0}}}).numbers() == std::vector<double>{0, 0, 0, 1, 1, 1});
}

TEST_CASE("random numbers are keyed by seed, step, site and the element's number from row") {
  auto draw = [](std::string distribution, int64_t seed, int64_t step, int64_t row, int64_t site, Type type) {
    auto scalar = [](int64_t v) { return Tensor::of({i64, {}}, {static_cast<double>(v)}); };
    return apply(Op::random, {scalar(seed), scalar(step), scalar(row)}, {{Attr::distribution, distribution}, {Attr::site, site}, {Attr::element, type.element}, {Attr::shape, type.shape}});
  };
  Tensor all = draw("uniform", 7, 3, 0, 1, {f32, {10, 4}});
  Tensor tail = draw("uniform", 7, 3, 6, 1, {f32, {4, 4}});
  for (int64_t i = 0; i < 16; ++i) CHECK(tail.at(i) == all.at(24 + i));   // chunks change nothing
  CHECK(all.at(5) == uniform_number(philox({5, 0, 3, 1}, {7, 0})));
  CHECK(draw("normal", 7, 3, 2, 1, {f64, {}}).at(0) == normal_number(philox({2, 0, 3, 1}, {7, 0})));
  CHECK(draw("uniform", 7, 3, 0, 1, {f64, {10, 4}}).numbers() == all.numbers());
  for (const Tensor& other : {draw("uniform", 8, 3, 0, 1, all.type), draw("uniform", 7, 4, 0, 1, all.type), draw("uniform", 7, 3, 0, 2, all.type)}) CHECK(!(other == all));

  Tensor many = draw("normal", 1, 0, 0, 0, {f32, {100000}});
  double mean = 0, square = 0;
  for (double x : many.numbers()) mean += x / 1e5, square += x * x / 1e5;
  CHECK(std::abs(mean) < 0.02);
  CHECK(std::abs(square - 1) < 0.02);
}

TEST_CASE("a function reads bindings and gives results and writes") {
  Function f;
  f.name = "f";
  Builder b(f);
  Value x = b.input("x", {f32, {2}}), w = b.variable("w", {f32, {2}});
  Value y = b.make(Op::add, {x, w});
  f.results = {{"y", y}, {"w", y, true}, {"x", x}};
  Bindings bindings = {{"x", vec({1, 2})}, {"@w", vec({10, 20})}};
  Bindings results = evaluate(f, bindings);
  CHECK(results.size() == 3);
  CHECK(results.at("y") == vec({11, 22}));
  CHECK(results.at("@w") == vec({11, 22}));
  CHECK(results.at("x") == vec({1, 2}));
  CHECK(evaluate_nodes(f, bindings).size() == 3);
  CHECK(evaluate_nodes(f, bindings)[1] == vec({10, 20}));
  CHECK(binding_error(f, bindings) == "");
  bindings.erase("@w");
  CHECK(binding_error(f, bindings) == "function f reads @w, which has no value");
  bindings["@w"] = vec({1, 2, 3});
  CHECK(binding_error(f, bindings) == "function f reads @w as f32[2], but it is f32[3]");
}
