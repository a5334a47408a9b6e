// Reference evaluation of maps: each rule gives the function of one element.
#include <cmath>
#include <concepts>

#include "ir/check.h"
#include "ir/evaluate_rules.h"

namespace gradc::ir::reference {
namespace {
// What an element is computed with: f32 and bf16 as float, integers as int64_t.
template <typename T>
using Computed = std::conditional_t<std::is_same_v<T, bool>, bool, std::conditional_t<std::is_integral_v<T>, int64_t, std::conditional_t<std::is_same_v<T, double>, double, float>>>;

// Integers wrap: the low bits of a 64-bit result are the result of any narrower type.
int64_t wrapped(uint64_t value) { return static_cast<int64_t>(value); }
template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

template <typename Out, typename R>
Out stored(R value) {
  if constexpr (std::is_same_v<R, int64_t> || std::is_same_v<R, bool>)
    return static_cast<Out>(value);
  else
    return convert<Out>(value);
}

template <typename In, typename Out, typename F>
void fill(const Call& c, Tensor& result, F f) {
  auto out = result.as<Out>();
  using C = Computed<In>;
  if constexpr (std::is_invocable_v<F, C>) {
    auto x = c[0].as<In>();
    for (size_t i = 0; i < out.size(); ++i) out[i] = stored<Out>(f(static_cast<C>(x[i])));
  } else if constexpr (std::is_invocable_v<F, C, C>) {
    auto x = c[0].as<In>(), y = c[1].as<In>();
    for (size_t i = 0; i < out.size(); ++i) out[i] = stored<Out>(f(static_cast<C>(x[i]), static_cast<C>(y[i])));
  } else {
    CHECK(false, "{} of {}", info(c.node.op).name, to_string(c[0].type));
  }
}

// f is called for each element with the operands' elements, computed as above; it is defined for the types that the shape rule lets in.
template <typename F>
Tensor map(const Call& c, F f) {
  Tensor result(c.type());
  with_element(c[0].type.element, [&]<typename In>() {
    if (c.type().element == ElementType::boolean)
      fill<In, bool>(c, result, f);
    else
      fill<In, In>(c, result, f);
  });
  return result;
}

// Functions of real numbers, computed in f64 and rounded once.
template <double (*f)(double)>
Tensor real(const Call& c) {
  return map(c, [](std::floating_point auto x) { return f(x); });
}
}  // namespace

Tensor neg(const Call& c) {
  return map(c, Overloaded{[](std::floating_point auto x) { return -x; }, [](int64_t x) { return wrapped(-static_cast<uint64_t>(x)); }});
}
Tensor abs(const Call& c) {
  return map(c, Overloaded{[](std::floating_point auto x) { return std::abs(x); }, [](int64_t x) { return x < 0 ? wrapped(-static_cast<uint64_t>(x)) : x; }});
}
Tensor sign(const Call& c) {
  return map(c, Overloaded{[](std::floating_point auto x) { return x > 0 ? decltype(x)(1) : x < 0 ? decltype(x)(-1) : x; }, [](int64_t x) { return int64_t{(x > 0) - (x < 0)}; }});
}
Tensor exp(const Call& c) { return real<std::exp>(c); }
Tensor log(const Call& c) { return real<std::log>(c); }
Tensor log1p(const Call& c) { return real<std::log1p>(c); }
Tensor sqrt(const Call& c) { return real<std::sqrt>(c); }
Tensor rsqrt(const Call& c) { return map(c, [](std::floating_point auto x) { return 1 / std::sqrt(static_cast<double>(x)); }); }
Tensor sin(const Call& c) { return real<std::sin>(c); }
Tensor cos(const Call& c) { return real<std::cos>(c); }
Tensor tanh(const Call& c) { return real<std::tanh>(c); }
Tensor erf(const Call& c) { return real<std::erf>(c); }
Tensor sigmoid(const Call& c) { return map(c, [](std::floating_point auto x) { return 1 / (1 + std::exp(-static_cast<double>(x))); }); }
Tensor floor(const Call& c) { return real<std::floor>(c); }
Tensor ceil(const Call& c) { return real<std::ceil>(c); }
Tensor round(const Call& c) { return real<std::nearbyint>(c); }
Tensor is_finite(const Call& c) { return map(c, [](std::floating_point auto x) { return std::isfinite(x); }); }
Tensor not_(const Call& c) { return map(c, [](bool x) { return !x; }); }

Tensor cast(const Call& c) {
  Tensor result(c.type());
  with_element(c[0].type.element, [&]<typename From>() {
    with_element(c.type().element, [&]<typename To>() {
      auto from = c[0].as<From>();
      auto to = result.as<To>();
      for (size_t i = 0; i < to.size(); ++i) to[i] = convert<To>(from[i]);
    });
  });
  return result;
}

Tensor add(const Call& c) {
  return map(c, Overloaded{[](std::floating_point auto x, std::floating_point auto y) { return x + y; }, [](int64_t x, int64_t y) { return wrapped(static_cast<uint64_t>(x) + y); }});
}
Tensor sub(const Call& c) {
  return map(c, Overloaded{[](std::floating_point auto x, std::floating_point auto y) { return x - y; }, [](int64_t x, int64_t y) { return wrapped(static_cast<uint64_t>(x) - y); }});
}
Tensor mul(const Call& c) {
  return map(c, Overloaded{[](std::floating_point auto x, std::floating_point auto y) { return x * y; }, [](int64_t x, int64_t y) { return wrapped(static_cast<uint64_t>(x) * y); }});
}
Tensor div(const Call& c) { return map(c, [](std::floating_point auto x, std::floating_point auto y) { return x / y; }); }

namespace {
int64_t floor_quotient(int64_t x, int64_t y) {
  if (y == 0) return 0;
  if (y == -1) return wrapped(-static_cast<uint64_t>(x));   // the smallest integer by -1 overflows
  int64_t quotient = x / y;
  return quotient - (x % y != 0 && (x < 0) != (y < 0));
}
}  // namespace
Tensor idiv(const Call& c) { return map(c, [](int64_t x, int64_t y) { return floor_quotient(x, y); }); }
Tensor rem(const Call& c) {
  return map(c, Overloaded{[](std::floating_point auto x, std::floating_point auto y) { return x - y * std::floor(x / y); },
                           [](int64_t x, int64_t y) { return wrapped(x - static_cast<uint64_t>(y) * floor_quotient(x, y)); }});
}
Tensor pow(const Call& c) {
  return map(c, [](std::floating_point auto x, std::floating_point auto y) { return std::pow(static_cast<double>(x), static_cast<double>(y)); });
}
Tensor max(const Call& c) {
  return map(c, Overloaded{[](std::floating_point auto x, std::floating_point auto y) { return std::isnan(x) || x > y ? x : y; }, [](int64_t x, int64_t y) { return x > y ? x : y; }});
}
Tensor min(const Call& c) {
  return map(c, Overloaded{[](std::floating_point auto x, std::floating_point auto y) { return std::isnan(x) || x < y ? x : y; }, [](int64_t x, int64_t y) { return x < y ? x : y; }});
}
Tensor eq(const Call& c) { return map(c, [](auto x, auto y) { return x == y; }); }
Tensor ne(const Call& c) { return map(c, [](auto x, auto y) { return x != y; }); }
Tensor lt(const Call& c) { return map(c, [](auto x, auto y) { return x < y; }); }
Tensor le(const Call& c) { return map(c, [](auto x, auto y) { return x <= y; }); }
Tensor gt(const Call& c) { return map(c, [](auto x, auto y) { return x > y; }); }
Tensor ge(const Call& c) { return map(c, [](auto x, auto y) { return x >= y; }); }
Tensor and_(const Call& c) { return map(c, [](bool x, bool y) { return x && y; }); }
Tensor or_(const Call& c) { return map(c, [](bool x, bool y) { return x || y; }); }

Tensor select(const Call& c) {
  Tensor result(c.type());
  with_element(c.type().element, [&]<typename T>() {
    auto condition = c[0].as<bool>();
    auto yes = c[1].as<T>(), no = c[2].as<T>();
    auto out = result.as<T>();
    for (size_t i = 0; i < out.size(); ++i) out[i] = condition[i] ? yes[i] : no[i];
  });
  return result;
}
}  // namespace gradc::ir::reference
