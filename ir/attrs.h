// Attribute values of a node: a small list sorted by attribute, each of the kind that ops.def gives it.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ir/ops.h"
#include "ir/types.h"

namespace gradc::ir {

/// Elements of a literal, row-major, each as a double (exact for every element type that literals have but large i64).
using Dense = std::vector<double>;
using DensePtr = std::shared_ptr<const Dense>;

class Function;
/// The body of a loop. Equal if the graphs are.
using FunctionPtr = std::shared_ptr<const Function>;

// The alternatives stand in the order of AttrKind.
using AttrValue = std::variant<int64_t, double, std::string, std::vector<int64_t>, ElementType, DensePtr, FunctionPtr>;

class Attrs {
 public:
  Attrs() = default;
  Attrs(std::initializer_list<std::pair<Attr, AttrValue>> items);

  void set(Attr, AttrValue);
  bool has(Attr) const;
  const AttrValue& at(Attr) const;   // CHECKs that it is there

  int64_t integer(Attr a) const { return std::get<int64_t>(at(a)); }
  double number(Attr a) const { return std::get<double>(at(a)); }
  const std::string& text(Attr a) const { return std::get<std::string>(at(a)); }
  const std::vector<int64_t>& integers(Attr a) const { return std::get<std::vector<int64_t>>(at(a)); }
  ElementType element(Attr a) const { return std::get<ElementType>(at(a)); }
  const Dense& dense(Attr a) const { return *std::get<DensePtr>(at(a)); }
  const FunctionPtr& function(Attr a) const { return std::get<FunctionPtr>(at(a)); }
  bool flag(Attr a) const { return has(a) && integer(a) != 0; }   // optional ones

  bool operator==(const Attrs&) const;   // numbers by bits, dense data by contents
  size_t hash() const;
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

 private:
  std::vector<std::pair<Attr, AttrValue>> items_;
};

}  // namespace gradc::ir
