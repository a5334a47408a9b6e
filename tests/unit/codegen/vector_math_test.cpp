// Errors of the inline elementary functions over the whole range of f32, against libm in f64.
#include <catch2/catch.hpp>

#include <bit>
#include <cmath>
#include <limits>

#include "ir/builder.h"
#include "kernel_harness.h"

using namespace gradc;
using namespace gradc::ir;
using namespace gradc::codegen::test;

namespace {
// In units of the last place of the exact result; 0 for equal specials, infinite for unequal ones.
double error(float got, double want) {
  float rounded = static_cast<float>(want);
  if (std::isnan(want)) return std::isnan(got) ? 0 : INFINITY;
  if (std::isinf(rounded)) return got == rounded || std::abs(got) > 3.4e38f ? 0 : INFINITY;
  if (!std::isfinite(got)) return std::abs(want) > 3.4e38 ? 0 : INFINITY;
  int exponent = 0;
  std::frexp(want, &exponent);
  double unit = std::ldexp(1.0, std::max(exponent - 24, -149));
  return std::abs(got - want) / unit;
}

std::vector<Tensor> compute(Op op, const std::vector<Tensor>& inputs, const codegen::Target& target) {
  Function f;
  Builder b(f);
  std::vector<Value> operands;
  for (size_t i = 0; i < inputs.size(); ++i) operands.push_back(b.input("a" + std::to_string(i), inputs[i].type));
  Value y = b.make(op, operands);
  return run(finish(Form::map, f, inputs[0].type.shape, 0, {y}), inputs, target);
}

struct Row {
  Op op;
  double (*exact)(double);
  double limit;
};
}  // namespace

TEST_CASE("functions of one f32 over the whole range", "[math]") {
  std::vector<float> points;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 9973) points.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  // Densely where the branches are, and specials.
  for (float around : {0.0f, 0.625f, 1.0f, 4.1f, 0.70710678f, 1.41421356f, 88.72f, -87.33f, -103.97f, 0.78539816f, 1e6f})
    for (int i = -2000; i < 2000; ++i) points.push_back(around * (1 + i * 1e-5f)), points.push_back(-around * (1 + i * 1e-5f));
  for (float special : {0.0f, -0.0f, INFINITY, -INFINITY, NAN, std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::min(), std::numeric_limits<float>::max(), -1.0f}) points.push_back(special);
  Tensor input({ElementType::f32, {static_cast<int64_t>(points.size())}});
  std::copy(points.begin(), points.end(), input.as<float>().begin());
  const Row rows[] = {
      {Op::exp, [](double x) { return std::exp(x); }, 1},
      {Op::log, [](double x) { return std::log(x); }, 1},
      {Op::log1p, [](double x) { return std::log1p(x); }, 2.5},
      {Op::sqrt, [](double x) { return std::sqrt(x); }, 0.5},
      {Op::rsqrt, [](double x) { return 1 / std::sqrt(x); }, 1.5},
      {Op::sin, [](double x) { return std::sin(x); }, 1.5},
      {Op::cos, [](double x) { return std::cos(x); }, 1.5},
      {Op::tanh, [](double x) { return std::tanh(x); }, 2},
      {Op::erf, [](double x) { return std::erf(x); }, 2.5},
      {Op::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, 2.5},
  };
  for (const codegen::Target& target : targets())
    for (const Row& row : rows) {
      Tensor result = compute(row.op, {input}, target)[0];
      double worst = 0;
      float where = 0;
      for (size_t i = 0; i < points.size(); ++i) {
        double e = error(result.as<float>()[i], row.exact(points[i]));
        if (e > worst) worst = e, where = points[i];
      }
      INFO(info(row.op).name << " on " << target.name << " at " << where);
      CHECK(worst <= row.limit);
    }
}

TEST_CASE("the end of a row has the bits of a lane", "[math]") {
  for (const codegen::Target& target : targets())
    for (Op op : {Op::exp, Op::log, Op::log1p, Op::sqrt, Op::rsqrt, Op::sin, Op::cos, Op::tanh, Op::erf, Op::sigmoid})
      for (float x : {0.007f, 0.03f, 0.3f, 0.77f, 1.62f, 2.4f, 3.9f, 9.3f, 31.7f, 75.0f, 4321.0f}) {
        Tensor input({ElementType::f32, {33}});   // lanes, and one alone
        std::fill(input.as<float>().begin(), input.as<float>().end(), x);
        Tensor result = compute(op, {input}, target)[0];
        INFO(info(op).name << " of " << x << " on " << target.name);
        CHECK(result.as<float>()[32] == result.as<float>()[0]);
      }
}

TEST_CASE("powers of f32", "[math]") {
  std::vector<float> values = {0.0f, 1.0f, -1.0f, 2.0f, -2.0f, 3.0f, -3.0f, 0.5f, -0.5f, 1e-40f, 1e30f, -1e30f, 16777216.0f, 16777217.0f, INFINITY, -INFINITY, NAN, 0.999999f, 1.000001f, 127.5f, -150.0f};
  std::vector<float> x, y;
  for (float a : values)
    for (float c : values) x.push_back(a), y.push_back(c);
  for (uint64_t bits = 0; bits < (uint64_t{1} << 31); bits += 40009)
    for (float power : {0.1f, 2.0f, 3.0f, -1.5f, 0.9999f, 11.0f}) x.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits))), y.push_back(power);
  for (int i = 1; i < 4000; ++i) x.push_back(1 + (i - 2000) * 2e-4f), y.push_back(i * 0.05f - 100);
  Tensor first({ElementType::f32, {static_cast<int64_t>(x.size())}}), second(first.type);
  std::copy(x.begin(), x.end(), first.as<float>().begin());
  std::copy(y.begin(), y.end(), second.as<float>().begin());
  for (const codegen::Target& target : targets()) {
    Tensor result = compute(Op::pow, {first, second}, target)[0];
    double worst = 0;
    size_t where = 0;
    for (size_t i = 0; i < x.size(); ++i)
      if (double e = error(result.as<float>()[i], std::pow(static_cast<double>(x[i]), static_cast<double>(y[i]))); e > worst) worst = e, where = i;
    INFO(x[where] << " ^ " << y[where] << " = " << result.as<float>()[where] << " on " << target.name);
    CHECK(worst <= 1);
  }
}
