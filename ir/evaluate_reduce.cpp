// Reference evaluation of reductions and of contract.
#include <Eigen/Core>

#include "ir/bf16.h"
#include "ir/check.h"
#include "ir/evaluate_rules.h"
#include "ir/infer.h"

namespace gradc::ir::reference {
namespace {
// What reductions accumulate in: floats in f64, integers in 64 bits that wrap.
template <typename T>
using Accumulator = std::conditional_t<std::is_integral_v<T>, int64_t, double>;

// reduce(row) gives one element of the result; row(j) is the jth reduced element, row.size() how many there are.
template <typename T>
struct Row {
  std::span<const T> values;
  int64_t base;
  const std::vector<int64_t>& reduced;
  size_t size() const { return reduced.size(); }
  Accumulator<T> operator()(size_t j) const { return static_cast<Accumulator<T>>(values[base + reduced[j]]); }
};

template <typename Out, typename T, typename Reduce>
void fill(const Call& c, const std::vector<int64_t>& axes, Tensor& result, Reduce reduce) {
  const Shape& shape = c[0].type.shape;
  const std::vector<int64_t> strides = row_major_strides(shape), others = other_axes(axes, c[0].type.rank());
  const std::vector<int64_t> kept = offsets(pick(shape, others), pick(strides, others)), reduced = offsets(pick(shape, axes), pick(strides, axes));
  auto out = result.as<Out>();
  for (size_t i = 0; i < out.size(); ++i) out[i] = convert<Out>(reduce(Row<T>{c[0].as<T>(), kept[i], reduced}));
}

template <typename Reduce>
Tensor reduce_numbers(const Call& c, Reduce reduce) {
  Tensor result(c.type());
  with_element(c.type().element, [&]<typename T>() { fill<T, T>(c, c.integers(Attr::axes), result, reduce); });
  return result;
}

template <typename A>
A plus(A a, A b) {
  if constexpr (std::is_integral_v<A>)
    return static_cast<A>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  else
    return a + b;
}
template <typename A>
A times(A a, A b) {
  if constexpr (std::is_integral_v<A>)
    return static_cast<A>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  else
    return a * b;
}
template <typename A>
bool is_nan(A a) { return a != a; }

// max and min of no elements are the identities of max and min.
template <typename T>
Accumulator<T> lowest(const Row<T>&) {
  if constexpr (std::is_integral_v<T>) return std::numeric_limits<T>::lowest();
  else return -std::numeric_limits<double>::infinity();
}
template <typename T>
Accumulator<T> highest(const Row<T>&) {
  if constexpr (std::is_integral_v<T>) return std::numeric_limits<T>::max();
  else return std::numeric_limits<double>::infinity();
}

auto sum_of(const auto& row) {
  decltype(row(0)) sum = 0;
  for (size_t j = 0; j < row.size(); ++j) sum = plus(sum, row(j));
  return sum;
}
}  // namespace

Tensor reduce_sum(const Call& c) {
  return reduce_numbers(c, [](const auto& row) { return sum_of(row); });
}
Tensor reduce_mean(const Call& c) {
  return reduce_numbers(c, [](const auto& row) { return static_cast<double>(sum_of(row)) / static_cast<double>(row.size()); });
}
Tensor reduce_max(const Call& c) {
  return reduce_numbers(c, [](const auto& row) {
    auto best = lowest(row);
    for (size_t j = 0; j < row.size(); ++j)
      if (row(j) > best || is_nan(row(j))) best = row(j);
    return best;
  });
}
Tensor reduce_min(const Call& c) {
  return reduce_numbers(c, [](const auto& row) {
    auto best = highest(row);
    for (size_t j = 0; j < row.size(); ++j)
      if (row(j) < best || is_nan(row(j))) best = row(j);
    return best;
  });
}
Tensor reduce_prod(const Call& c) {
  return reduce_numbers(c, [](const auto& row) {
    decltype(row(0)) product = 1;
    for (size_t j = 0; j < row.size(); ++j) product = times(product, row(j));
    return product;
  });
}

Tensor argmax(const Call& c) {
  Tensor result(c.type());
  with_element(c[0].type.element, [&]<typename T>() {
    fill<int32_t, T>(c, {c.node.attrs.integer(Attr::axis)}, result, [](const auto& row) {
      int64_t best = 0;
      for (size_t j = 1; j < row.size() && !is_nan(row(best)); ++j)
        if (row(j) > row(best) || is_nan(row(j))) best = static_cast<int64_t>(j);
      return best;
    });
  });
  return result;
}

// Indices by where they occur: batch in all three lists, rows in a and the result, columns in b and the result, depth in a and
// b. Then it is a product of matrices for each batch index.
Tensor contract(const Call& c) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(c.node.attrs.text(Attr::spec)));
  auto in = [](const std::string& list, char index) { return list.find(index) != list.npos; };
  std::string batch, rows, columns, depth;
  for (char index : spec.a) (in(spec.b, index) ? in(spec.result, index) ? batch : depth : rows) += index;
  for (char index : spec.b)
    if (!in(spec.a, index)) columns += index;

  auto offsets_of = [&](const std::string& indices, const std::string& list, const Type& type) {
    std::vector<int64_t> axes;
    for (char index : indices) axes.push_back(static_cast<int64_t>(list.find(index)));
    return offsets(pick(type.shape, axes), pick(row_major_strides(type.shape), axes));
  };
  const auto a_batch = offsets_of(batch, spec.a, c[0].type), a_rows = offsets_of(rows, spec.a, c[0].type), a_depth = offsets_of(depth, spec.a, c[0].type);
  const auto b_batch = offsets_of(batch, spec.b, c[1].type), b_depth = offsets_of(depth, spec.b, c[1].type), b_columns = offsets_of(columns, spec.b, c[1].type);
  const auto r_batch = offsets_of(batch, spec.result, c.type()), r_rows = offsets_of(rows, spec.result, c.type()), r_columns = offsets_of(columns, spec.result, c.type());

  // What each precision multiplies: x, the nearest bf16, or that and what it leaves.
  const Precision precision = contract_precision(c.node.attrs);
  auto high = [](double x) -> double { return split_bf16(static_cast<float>(x)).high; };
  auto low = [](double x) -> double { return split_bf16(static_cast<float>(x)).low; };

  Tensor result(c.type());
  with_element(c.type().element, [&]<typename T>() {
    auto out = result.as<T>();
    Matrix left(a_rows.size(), a_depth.size()), right(b_depth.size(), b_columns.size()), product;
    for (size_t n = 0; n < r_batch.size(); ++n) {
      for (size_t i = 0; i < a_rows.size(); ++i)
        for (size_t k = 0; k < a_depth.size(); ++k) left(i, k) = c[0].at(a_batch[n] + a_rows[i] + a_depth[k]);
      for (size_t k = 0; k < b_depth.size(); ++k)
        for (size_t j = 0; j < b_columns.size(); ++j) right(k, j) = c[1].at(b_batch[n] + b_depth[k] + b_columns[j]);
      if (precision == Precision::bf16x3) product = left.unaryExpr(high) * right.unaryExpr(low) + left.unaryExpr(low) * right.unaryExpr(high) + left.unaryExpr(high) * right.unaryExpr(high);
      else if (precision == Precision::bf16) product.noalias() = left.unaryExpr(high) * right.unaryExpr(high);
      else product.noalias() = left * right;
      for (size_t i = 0; i < r_rows.size(); ++i)
        for (size_t j = 0; j < r_columns.size(); ++j) out[r_batch[n] + r_rows[i] + r_columns[j]] = convert<T>(product(i, j));
    }
  });
  return result;
}
}  // namespace gradc::ir::reference
