#include "ir/tensor.h"

#include <algorithm>

#include "ir/check.h"

namespace gradc::ir {

Tensor::Tensor(Type t) : type(std::move(t)), bytes_(type.bytes()) {}

Tensor Tensor::filled(Type type, double value) {
  Tensor result(std::move(type));
  with_element(result.type.element, [&]<typename T>() { std::ranges::fill(result.as<T>(), convert<T>(value)); });
  return result;
}

Tensor Tensor::of(Type type, std::span<const double> values) {
  Tensor result(std::move(type));
  CHECK(static_cast<int64_t>(values.size()) == result.size(), "{} values for {}", values.size(), to_string(result.type));
  with_element(result.type.element, [&]<typename T>() { std::ranges::transform(values, result.as<T>().begin(), convert<T, double>); });
  return result;
}

double Tensor::at(int64_t index) const {
  return with_element(type.element, [&]<typename T>() { return static_cast<double>(as<T>()[index]); });
}

void Tensor::set(int64_t index, double value) {
  with_element(type.element, [&]<typename T>() { as<T>()[index] = convert<T>(value); });
}

std::vector<double> Tensor::numbers() const {
  std::vector<double> result(size());
  with_element(type.element, [&]<typename T>() { std::ranges::transform(as<T>(), result.begin(), [](T v) { return static_cast<double>(v); }); });
  return result;
}
}  // namespace gradc::ir
