// Quasi-affine index expressions: sums of coefficient * atom + constant, where an atom is a loop variable or the quotient
// or remainder of such a sum by a constant. Every view is a map of indices (architecture: "every operation is an index map"), so
// chains of views compose into one expression, and its shape tells how to load: the stride along the variable that runs
// in the vector lanes is 0 (splat), 1 (contiguous) or else (gather).
//
// Quotients round towards minus infinity, remainders are never negative. Expressions are kept simplified with the variables' ranges, so
// that equal places usually have equal expressions: splitting what was merged gives back what it was.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"
#include "ir/layout.h"

namespace gradc::codegen {

using Atom = int32_t;   // within an IndexSpace

struct Index {
  std::vector<std::pair<Atom, int64_t>> terms;   // by atom, coefficients not zero
  int64_t constant = 0;

  Index() = default;
  Index(int64_t value) : constant(value) {}
  bool is_constant() const { return terms.empty(); }
  auto operator<=>(const Index&) const = default;
};
using IndexVector = std::vector<Index>;   // one per axis

struct Range {
  int64_t low, high;   // both included
  bool within(int64_t extent) const { return low >= 0 && high < extent; }
};

/// The condition 0 <= place < extent.
struct Guard {
  Index place;
  int64_t extent;
  auto operator<=>(const Guard&) const = default;
};

/// Where a view's element comes from: an element of the operand where all guards hold, else the fill value.
struct Access {
  IndexVector at;
  std::vector<Guard> guards;   // those that are not always true
  double fill = 0;
};

class IndexSpace {
 public:
  struct Definition {
    enum class Kind : uint8_t { variable, quotient, remainder } kind;
    Index of;            // quotient, remainder
    int64_t by = 1;      // quotient, remainder: divisor; variable: a number that divides each value that the emitter binds it to
    Range range;
  };

  /// A variable that takes values 0 ... extent - 1 (or low ... high); if that is a single value, the value. `step`: its first lane is always a multiple
  /// of that.
  Index variable(int64_t extent, int64_t step = 1) { return variable(Range{0, extent - 1}, step); }
  Index variable(Range, int64_t step = 1);

  Index add(const Index&, const Index&);
  Index sub(const Index& a, const Index& b) { return add(a, scale(b, -1)); }
  Index scale(const Index&, int64_t);
  Index div(const Index&, int64_t);
  Index mod(const Index&, int64_t);

  /// Row-major position of an element in a tensor of this shape, and back.
  Index linear(std::span<const Index>, const ir::Shape&);
  IndexVector split(const Index&, const ir::Shape&);
  /// The place of an element in memory of this layout.
  Index place(std::span<const Index>, const ir::Shape&, const ir::Layout&);

  Range range(const Index&) const;
  bool depends(const Index&, Atom) const;
  /// How much the expression grows when the variable grows by one, as long as it stays inside one block of `step` values; nothing if that is not constant.
  std::optional<int64_t> stride(const Index&, Atom variable) const;
  /// The expression with the variable replaced.
  Index substitute(const Index&, Atom variable, const Index& by);

  const Definition& operator[](Atom atom) const { return definitions_[atom]; }
  Atom atoms() const { return static_cast<Atom>(definitions_.size()); }   // so far
  std::string text(const Index&) const;

 private:
  Index divide(const Index&, int64_t by, bool remainder);
  Index atom(Definition);
  int64_t multiple(const Index&) const;
  void merge_remainders(Index&);
  std::vector<Definition> definitions_;
};

/// The atom of an index that is a bare variable; -1 if it is a constant.
inline Atom variable_of(const Index& index) { return index.is_constant() ? -1 : index.terms[0].first; }

/// Where element `at` of a view's result (an operation of kind view) lies in its operand, which has this shape.
Access access(const ir::Node& view, const ir::Shape& operand, std::span<const Index> at, IndexSpace&);
/// Where element `at` of a gather's result has its index, of a tensor of that rank, and where it lies in the operand if the index is `row`.
IndexVector gather_index(const ir::Node& gather, int64_t rank, std::span<const Index> at);
IndexVector gather_access(const ir::Node& gather, int64_t rank, std::span<const Index> at, const Index& row);
/// The element of the operand that window offset `offset` adds to element `at` of a fold's result; guards say whether there is one.
Access fold_access(const ir::Node& fold, std::span<const Index> at, std::span<const Index> offset, IndexSpace&);

}  // namespace gradc::codegen
