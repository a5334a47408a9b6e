// Element types as data: sizes, names, and reading and writing one number of any type.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/program_generated.h"

namespace gradc::runtime {

using program::ElementType;

struct ElementInfo {
  std::string_view name;
  size_t bytes;
  bool is_float;
};
inline constexpr ElementInfo element_infos[] = {
    {"f32", 4, true}, {"f64", 8, true}, {"bf16", 2, true}, {"i32", 4, false}, {"i64", 8, false}, {"u8", 1, false}, {"bool", 1, false}};
inline const ElementInfo& info(ElementType element) { return element_infos[size_t(element)]; }

template <class T>
T load(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline double read_number(ElementType element, const void* from) {
  switch (element) {
    case ElementType::f32: return load<float>(from);
    case ElementType::f64: return load<double>(from);
    case ElementType::bf16: {
      uint32_t bits = uint32_t(load<uint16_t>(from)) << 16;
      return load<float>(&bits);
    }
    case ElementType::i32: return load<int32_t>(from);
    case ElementType::i64: return double(load<int64_t>(from));
    default: return load<uint8_t>(from);
  }
}

template <class T>
void store(void* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

inline void write_number(ElementType element, void* to, double value) {
  switch (element) {
    case ElementType::f32: return store(to, float(value));
    case ElementType::f64: return store(to, value);
    case ElementType::bf16: {   // round to nearest even
      float narrow = float(value);
      uint32_t bits = load<uint32_t>(&narrow);
      if (narrow == narrow) bits += 0x7fff + ((bits >> 16) & 1);
      return store(to, uint16_t(bits >> 16));
    }
    case ElementType::i32: return store(to, int32_t(value));
    case ElementType::i64: return store(to, int64_t(value));
    default: return store(to, uint8_t(value));
  }
}

/// A type of the program: element and shape, as plain values.
struct Type {
  ElementType element = ElementType::f32;
  std::vector<int64_t> shape;

  int64_t elements() const {
    int64_t product = 1;
    for (int64_t extent : shape) product *= extent;
    return product;
  }
  size_t bytes() const { return size_t(elements()) * info(element).bytes; }
  bool operator==(const Type&) const = default;
};
Type to_type(const program::TensorType*);
/// "f32[128, 784]", "f32".
std::string to_string(const Type&);
/// "28x28", "a number".
std::string shape_text(const std::vector<int64_t>&);

/// The name nearest to `name`, or "" if none is near: for "did you mean".
std::string nearest(std::string_view name, const std::vector<std::string>& names);
/// ", did you mean X?" or "; there are: a, b, c".
std::string suggestion(std::string_view name, const std::vector<std::string>& names);

}  // namespace gradc::runtime
