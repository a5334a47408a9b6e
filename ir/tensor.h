// A tensor of values in memory, of any element type: for the reference evaluator, for folding, for tests. Compiled programs have none.
#pragma once
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "ir/bf16.h"
#include "ir/types.h"

namespace gradc::ir {

/// An element of type bf16, computed with as a float.
struct Bf16 {
  uint16_t bits = 0;
  Bf16() = default;
  explicit Bf16(float value) : bits(to_bf16(value)) {}
  operator float() const { return from_bf16(bits); }
};

/// Calls body.template operator()<T>() with the C++ type of an element type: float, double, Bf16, int32_t, int64_t, uint8_t, bool.
template <typename Body>
decltype(auto) with_element(ElementType element, Body&& body) {
  switch (element) {
    case ElementType::f32: return body.template operator()<float>();
    case ElementType::f64: return body.template operator()<double>();
    case ElementType::bf16: return body.template operator()<Bf16>();
    case ElementType::i32: return body.template operator()<int32_t>();
    case ElementType::i64: return body.template operator()<int64_t>();
    case ElementType::u8: return body.template operator()<uint8_t>();
    case ElementType::boolean: break;
  }
  return body.template operator()<bool>();
}

/// Converts as the operation `cast` does: float to integer truncates and saturates (NaN gives 0), integer to integer wraps,
/// to bool is "not zero".
template <typename To, typename From>
To convert(From value) {
  if constexpr (std::is_same_v<From, Bf16>) {
    return convert<To>(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, Bf16>) {
    return Bf16(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != From(0);
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    // Both bounds are powers of two, exact in any float.
    constexpr From low = static_cast<From>(std::numeric_limits<To>::min());
    constexpr From above = static_cast<From>(std::numeric_limits<To>::max() / 2 + 1) * 2;
    if (std::isnan(value)) return 0;
    if (value <= low) return std::numeric_limits<To>::min();
    if (value >= above) return std::numeric_limits<To>::max();
    return static_cast<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

class Tensor {
 public:
  Type type;

  Tensor() = default;
  explicit Tensor(Type type);                                  // zeros
  static Tensor filled(Type, double);
  static Tensor of(Type, std::span<const double>);             // row-major, converted as `cast` does
  static Tensor of(Type t, std::initializer_list<double> values) { return of(std::move(t), std::span(values.begin(), values.size())); }

  int64_t size() const { return type.size(); }
  template <typename T>
  std::span<T> as() { return {reinterpret_cast<T*>(bytes_.data()), bytes_.size() / sizeof(T)}; }
  template <typename T>
  std::span<const T> as() const { return {reinterpret_cast<const T*>(bytes_.data()), bytes_.size() / sizeof(T)}; }
  std::span<std::byte> bytes() { return bytes_; }
  std::span<const std::byte> bytes() const { return bytes_; }

  double at(int64_t index) const;          // exact but for large i64
  void set(int64_t index, double value);
  std::vector<double> numbers() const;     // row-major: what a literal holds
  bool operator==(const Tensor&) const = default;   // same type, same bits

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace gradc::ir
