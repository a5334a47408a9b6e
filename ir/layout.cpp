#include "ir/layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/check.h"

namespace gradc::ir {

Layout blocked(const Shape& shape, int64_t axis, int64_t block) {
  int64_t rank = static_cast<int64_t>(shape.size());
  CHECK(axis >= 0 && axis < rank && block > 0, "axis {} of {} in blocks of {}", axis, to_string(shape), block);
  int64_t extent = shape[axis], others = 1;
  for (int64_t i = 0; i < rank; ++i)
    if (i != axis) others *= shape[i];
  if (axis == rank - 1 && (others == 1 || extent == block)) return {};
  Layout layout;
  layout.digits.push_back({axis, block, (extent + block - 1) / block});
  for (int64_t i = 0; i < rank; ++i)
    if (i != axis) layout.digits.push_back({i, 1, shape[i]});
  layout.digits.push_back({axis, 1, block});
  return layout;
}

Layout pitched(const Shape& shape, int64_t pitch) {
  CHECK(!shape.empty() && pitch >= shape.back(), "rows of {} every {}", to_string(shape), pitch);
  Layout layout;
  if (pitch == shape.back()) return layout;
  for (size_t i = 0; i < shape.size(); ++i) layout.digits.push_back({static_cast<int64_t>(i), 1, shape[i]});
  layout.digits.back().extent = pitch;
  return layout;
}

Layout turned(const Shape& shape, const std::vector<int64_t>& axes) {
  CHECK(axes.size() == shape.size(), "{} axes of {}", axes.size(), to_string(shape));
  if (std::is_sorted(axes.begin(), axes.end())) return {};
  Layout layout;
  for (int64_t axis : axes) layout.digits.push_back({axis, 1, shape[axis]});
  return layout;
}

Layout paired(const Shape& shape, int64_t axis) {
  int64_t other = 1 - axis;
  CHECK(shape.size() == 2 && shape[axis] % 2 == 0 && shape[other] % 16 == 0, "{} in pairs along axis {}", to_string(shape), axis);
  return {{{other, 16, shape[other] / 16}, {axis, 2, shape[axis] / 2}, {other, 1, 16}, {axis, 1, 2}}};
}

int64_t stored_size(const Layout& layout, const Shape& shape) {
  if (layout.row_major()) return shape_size(shape);
  int64_t size = 1;
  for (const LayoutDigit& digit : layout.digits) size *= digit.extent;
  return size;
}

int64_t place(const Layout& layout, const Shape& shape, std::span<const int64_t> index) {
  int64_t at = 0;
  if (layout.row_major())
    for (size_t i = 0; i < shape.size(); ++i) at = at * shape[i] + index[i];
  for (const LayoutDigit& digit : layout.digits) at = at * digit.extent + index[digit.axis] / digit.divisor % digit.extent;
  return at;
}

std::string to_string(const Layout& layout, const Shape& shape) {
  if (layout.row_major()) return "row-major";
  std::string text;
  for (const LayoutDigit& digit : layout.digits) {
    // Is there a digit of the same axis above this one? Then this one is a remainder.
    bool part = false;
    for (const LayoutDigit& other : layout.digits) part = part || (other.axis == digit.axis && other.divisor > digit.divisor);
    text += fmt::format("{}{}", text.empty() ? "" : ", ", static_cast<char>('i' + digit.axis));
    if (digit.divisor > 1) text += fmt::format("/{}", digit.divisor);
    if (part) text += fmt::format("%{}", digit.extent);
    else if (digit.divisor == 1 && digit.extent != shape[digit.axis]) text += fmt::format(":{}", digit.extent);
  }
  return "[" + text + "]";
}
}  // namespace gradc::ir
