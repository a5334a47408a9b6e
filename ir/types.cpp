#include "ir/types.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

namespace gradc::ir {
namespace {
struct ElementRow {
  std::string_view name;
  int64_t bytes;
  bool floating, integer;
};
constexpr std::array<ElementRow, 7> rows = {{{"f32", 4, true, false},
                                             {"f64", 8, true, false},
                                             {"bf16", 2, true, false},
                                             {"i32", 4, false, true},
                                             {"i64", 8, false, true},
                                             {"u8", 1, false, true},
                                             {"bool", 1, false, false}}};
const ElementRow& row(ElementType type) { return rows[static_cast<size_t>(type)]; }
}  // namespace

int64_t element_bytes(ElementType type) { return row(type).bytes; }
bool is_float(ElementType type) { return row(type).floating; }
bool is_integer(ElementType type) { return row(type).integer; }
std::string_view element_name(ElementType type) { return row(type).name; }

std::optional<ElementType> element_from_name(std::string_view name) {
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i].name == name) return static_cast<ElementType>(i);
  return std::nullopt;
}

constexpr std::string_view precisions[] = {"f32", "bf16", "bf16x3"};
std::string_view precision_name(Precision precision) { return precisions[static_cast<size_t>(precision)]; }
std::optional<Precision> precision_from_name(std::string_view name) {
  for (size_t i = 0; i < std::size(precisions); ++i)
    if (precisions[i] == name) return static_cast<Precision>(i);
  return std::nullopt;
}

int64_t shape_size(const Shape& shape) {
  int64_t size = 1;
  for (int64_t extent : shape) size *= extent;
  return size;
}

int64_t Type::size() const { return shape_size(shape); }
int64_t Type::bytes() const { return size() * element_bytes(element); }

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }
std::string to_string(const Type& type) { return fmt::format("{}{}", element_name(type.element), to_string(type.shape)); }

std::vector<int64_t> row_major_strides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}
}  // namespace gradc::ir
