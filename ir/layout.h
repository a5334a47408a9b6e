// How a buffer's elements lie in memory, whatever its logical type says: in rows further apart than they are long (pitched), or in blocks.
//
// A layout is a list of digits, outermost first. Each takes a part of one index, (index[axis] / divisor) % extent, and together they
// are the place of an element, as the digits of a number in a mixed radix are its value. So a blocked tensor [j/16, i, j%16]
// has the digits (j, 16, J/16), (i, 1, I), (j, 1, 16): element (i, j) lies at (j / 16 * I + i) * 16 + j % 16. No digits at all: row-major.
//
// Values, kernels' bodies and files know nothing of this; memory alone does. Where the last block is not full, places are left
// over (padding): nobody reads them, nobody writes them.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ir/types.h"

namespace gradc::ir {

struct LayoutDigit {
  int64_t axis, divisor, extent;
  auto operator<=>(const LayoutDigit&) const = default;
};

struct Layout {
  std::vector<LayoutDigit> digits;
  bool row_major() const { return digits.empty(); }
  auto operator<=>(const Layout&) const = default;
};

/// Blocks of `block` elements along an axis, each block of all other indices in their order: [j/16, i, j%16]. Row-major if that is the same.
Layout blocked(const Shape&, int64_t axis, int64_t block);

/// Row-major in another order of the axes, which are listed from the outermost on. Row-major if that is the same.
Layout turned(const Shape&, const std::vector<int64_t>& axes);

/// Row-major with so many places for each row.
Layout pitched(const Shape&, int64_t pitch);

/// A matrix whose elements are multiplied two by two along one axis, by vectors along the other: with n that other one, [n/16, k/2, n%16, k%2]. Its
/// extents are multiples of 16 and 2.
Layout paired(const Shape&, int64_t axis);

/// Elements in memory, padding included.
int64_t stored_size(const Layout&, const Shape&);
/// The place of an element, counted in elements.
int64_t place(const Layout&, const Shape&, std::span<const int64_t> index);
/// "[j/16, i, j%16]", "[i, j:1040]", with i for the first axis; "row-major".
std::string to_string(const Layout&, const Shape&);

}  // namespace gradc::ir
