// Element types, shapes and tensor types. Every shape in the IR is known.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gradc::ir {

enum class ElementType : uint8_t { f32, f64, bf16, i32, i64, u8, boolean };

using Shape = std::vector<int64_t>;

struct Type {
  ElementType element = ElementType::f32;
  Shape shape;

  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  int64_t size() const;    // number of elements; 1 for a scalar
  int64_t bytes() const;   // in row-major storage, one byte per boolean
  bool operator==(const Type&) const = default;
};

int64_t element_bytes(ElementType);
bool is_float(ElementType);     // f32, f64, bf16
bool is_integer(ElementType);   // i32, i64, u8
std::string_view element_name(ElementType);                        // "f32", ..., "bool"
std::optional<ElementType> element_from_name(std::string_view);

/// How exactly a contract of f32 operands is computed: see its row in ops.def.
enum class Precision : uint8_t { f32, bf16, bf16x3 };
std::string_view precision_name(Precision);
std::optional<Precision> precision_from_name(std::string_view);

int64_t shape_size(const Shape&);
std::string to_string(const Shape&);   // "[128, 10]"
std::string to_string(const Type&);    // "f32[128, 10]"

/// Row-major strides in elements.
std::vector<int64_t> row_major_strides(const Shape&);

}  // namespace gradc::ir
