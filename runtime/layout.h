// Tensors between the order in which kernels keep them (program.fbs, LayoutDigit) and row-major order, which is all that files and callers know.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "runtime/program_generated.h"

namespace gradc::runtime {

/// Where elements of a tensor lie; no digits: row-major.
struct Layout {
  std::vector<program::LayoutDigit> digits;

  /// Whether a tensor of this shape can lie like that in so many elements.
  bool sound(const std::vector<int64_t>& shape, int64_t room) const {
    for (const program::LayoutDigit& digit : digits)
      if (digit.axis() < 0 || size_t(digit.axis()) >= shape.size() || digit.divisor() <= 0 || digit.extent() <= 0 || digit.extent() > room) return false;
    return stored_elements(shape) <= room;
  }
  bool row_major() const { return digits.empty(); }
  /// Elements in memory, padding included.
  int64_t stored_elements(const std::vector<int64_t>& shape) const {
    int64_t size = 1;
    if (row_major())
      for (int64_t extent : shape) size *= extent;
    for (const program::LayoutDigit& digit : digits) size *= digit.extent();
    return size;
  }
};

inline Layout to_layout(const program::TensorType* type) {
  Layout layout;
  if (type && type->layout())
    for (auto* digit : *type->layout()) layout.digits.push_back(*digit);
  return layout;
}

/// Calls visit(logical, stored, count) for all runs of elements that are neighbours in both orders; both are counted in elements.
template <class Visit>
void for_runs(const Layout& layout, const std::vector<int64_t>& shape, Visit visit) {
  int64_t size = 1;
  for (int64_t extent : shape) size *= extent;
  if (layout.row_major() || size == 0) return visit(0, 0, size);
  // Along the last axis as far as the innermost digit goes, if it is one of that axis.
  int64_t last = int64_t(shape.size()) - 1;
  const program::LayoutDigit& inner = layout.digits.back();
  int64_t run = inner.axis() == last && inner.divisor() == 1 ? inner.extent() : 1;
  std::vector<int64_t> index(shape.size(), 0);
  for (int64_t at = 0; at < size;) {
    int64_t stored = 0, count = std::min(run - index[size_t(last)] % run, shape[size_t(last)] - index[size_t(last)]);
    for (const program::LayoutDigit& digit : layout.digits) stored = stored * digit.extent() + index[size_t(digit.axis())] / digit.divisor() % digit.extent();
    visit(at, stored, count);
    at += count;
    index[size_t(last)] += count;
    for (int64_t axis = last; axis > 0 && index[size_t(axis)] == shape[size_t(axis)]; --axis) index[size_t(axis)] = 0, ++index[size_t(axis - 1)];
  }
}

/// Copies row-major elements of `bytes` bytes each to where the layout has them. Padding is left as it is.
inline void arrange(const Layout& layout, const std::vector<int64_t>& shape, size_t bytes, const void* from, char* to) {
  auto* source = static_cast<const char*>(from);
  for_runs(layout, shape, [&](int64_t logical, int64_t stored, int64_t count) { std::memcpy(to + size_t(stored) * bytes, source + size_t(logical) * bytes, size_t(count) * bytes); });
}
/// The other way.
inline void restore(const Layout& layout, const std::vector<int64_t>& shape, size_t bytes, const char* from, void* to) {
  auto* target = static_cast<char*>(to);
  for_runs(layout, shape, [&](int64_t logical, int64_t stored, int64_t count) { std::memcpy(target + size_t(logical) * bytes, from + size_t(stored) * bytes, size_t(count) * bytes); });
}

}  // namespace gradc::runtime
