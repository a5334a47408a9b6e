// Reference evaluation of gather and scatter_add.
#include "ir/evaluate_rules.h"

namespace gradc::ir::reference {
namespace {
// The numbers that an index tensor holds.
std::vector<int64_t> indices(const Tensor& index) {
  std::vector<int64_t> numbers;
  with_element(index.type.element, [&]<typename T>() {
    for (T number : index.as<T>()) numbers.push_back(static_cast<int64_t>(number));
  });
  return numbers;
}

// Visits (flat element of the gathered tensor, flat element of the one that has rows) where the index is in range, in row-major order of the former. `shape`: of the latter.
template <typename Visit>
void for_each_pair(const Shape& shape, const Tensor& index, const Attrs& attrs, Visit visit) {
  const int64_t axis = attrs.integer(Attr::axis), batch_axes = attrs.integer(Attr::batch);
  auto part = [](const Shape& of, int64_t first, int64_t last) { return shape_size(Shape(of.begin() + first, of.begin() + last)); };
  const int64_t batch = part(shape, 0, batch_axes), outer = part(shape, batch_axes, axis), extent = shape[axis], inner = part(shape, axis + 1, static_cast<int64_t>(shape.size()));
  const int64_t count = part(index.type.shape, batch_axes, index.type.rank());
  const std::vector<int64_t> numbers = indices(index);
  int64_t element = 0;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t s = 0; s < count; ++s) {
        const int64_t row = numbers[b * count + s];
        for (int64_t i = 0; i < inner; ++i, ++element)
          if (row >= 0 && row < extent) visit(element, ((b * outer + o) * extent + row) * inner + i);
      }
}
}  // namespace

Tensor gather(const Call& c) {
  Tensor result(c.type());
  with_element(c.type().element, [&]<typename T>() {
    auto in = c[0].as<T>();
    auto out = result.as<T>();
    for_each_pair(c[0].type.shape, c[1], c.node.attrs, [&](int64_t to, int64_t from) { out[to] = in[from]; });
  });
  return result;
}

Tensor scatter_add(const Call& c) {
  Tensor result(c.type());
  with_element(c.type().element, [&]<typename T>() {
    using Sum = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;
    std::vector<Sum> sums(result.size());
    auto in = c[1].as<T>();
    for_each_pair(c.type().shape, c[0], c.node.attrs, [&](int64_t from, int64_t to) { sums[to] += static_cast<Sum>(in[from]); });
    auto out = result.as<T>();
    for (size_t i = 0; i < sums.size(); ++i) out[i] = convert<T>(sums[i]);
  });
  return result;
}
}  // namespace gradc::ir::reference
