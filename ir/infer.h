// Shape rules: the only place that knows what type an operation's result has. The builder asks it for the type, the
// verifier asks again and compares.
#pragma once
#include <span>
#include <string>
#include <variant>

#include "ir/attrs.h"
#include "ir/types.h"

namespace gradc::ir {

/// No tensor has more elements, so that sizes and strides fit in 64 bits.
constexpr double largest_size = 1ll << 48;

/// The result's type, or in words why operands and attributes do not fit.
using Inferred = std::variant<Type, std::string>;
Inferred infer_type(Op, std::span<const Type> operands, const Attrs&);

/// The einsum of a contract, taken apart: "bmk,kn->bmn" gives a = "bmk", b = "kn", result = "bmn".
struct ContractSpec {
  std::string a, b, result;
  static std::variant<ContractSpec, std::string> parse(std::string_view);
  std::string text() const { return a + "," + b + "->" + result; }
};

/// The shape of what gather takes from a tensor of shape `from` at an index of shape `index`.
Shape gathered_shape(const Shape& from, const Shape& index, const Attrs&);

/// What a contract's attributes say of its precision.
Precision contract_precision(const Attrs&);
Attrs contract_attrs(std::string spec, Precision);

/// Number of window positions along an axis: floor((extent + low + high - dilation * (size - 1) - 1) / stride) + 1; 0 if none fits.
int64_t window_positions(int64_t extent, int64_t size, int64_t stride, int64_t dilation, int64_t low, int64_t high);

}  // namespace gradc::ir
