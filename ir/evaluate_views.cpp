// Reference evaluation of views, and of fold, the adjoint of windows.
#include <numeric>

#include "ir/evaluate_rules.h"
#include "ir/infer.h"

namespace gradc::ir::reference {
namespace {
// A view that walks its operand from `base` with a stride per axis of the result.
Tensor strided(const Call& c, int64_t base, const std::vector<int64_t>& strides) {
  Tensor result(c.type());
  const std::vector<int64_t> from = offsets(c.type().shape, strides);
  with_element(c.type().element, [&]<typename T>() {
    auto in = c[0].as<T>();
    auto out = result.as<T>();
    for (size_t i = 0; i < out.size(); ++i) out[i] = in[base + from[i]];
  });
  return result;
}

// For each (position..., offset in the window...) of windows over `axes` of a tensor of this shape: where it reads within those
// axes, or -1 outside. Row-major, as in the result of windows.
std::vector<int64_t> window_reads(const Shape& shape, const Attrs& attrs) {
  const auto &axes = attrs.integers(Attr::axes), &size = attrs.integers(Attr::size), &stride = attrs.integers(Attr::stride);
  const auto &dilation = attrs.integers(Attr::dilation), &low = attrs.integers(Attr::low), &high = attrs.integers(Attr::high);
  const Shape extents = pick(shape, axes);
  const std::vector<int64_t> strides = row_major_strides(extents);
  // Positions and window offsets are walked as one box; the places per axis are kept apart to see what is outside.
  Shape box;
  for (size_t i = 0; i < axes.size(); ++i) box.push_back(window_positions(extents[i], size[i], stride[i], dilation[i], low[i], high[i]));
  box.insert(box.end(), size.begin(), size.end());
  std::vector<int64_t> reads(shape_size(box), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    std::vector<int64_t> steps(box.size(), 0);
    steps[i] = stride[i];
    steps[axes.size() + i] = dilation[i];
    std::vector<int64_t> places = offsets(box, steps);
    for (size_t j = 0; j < reads.size(); ++j) {
      int64_t place = places[j] - low[i];
      bool inside = place >= 0 && place < extents[i];
      reads[j] = inside && reads[j] >= 0 ? reads[j] + place * strides[i] : -1;
    }
  }
  return reads;
}

// The walk of windows over a tensor of this shape: visit(place in the windows, place in the tensor or -1).
template <typename Visit>
void for_each_read(const Shape& shape, const Attrs& attrs, Visit visit) {
  const auto& axes = attrs.integers(Attr::axes);
  const std::vector<int64_t> reads = window_reads(shape, attrs);
  const int64_t outer = shape_size({shape.begin(), shape.begin() + axes.front()}), inner = shape_size({shape.begin() + axes.back() + 1, shape.end()});
  const int64_t middle = shape_size(pick(shape, axes));
  int64_t place = 0;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t read : reads)
      for (int64_t i = 0; i < inner; ++i) visit(place++, read < 0 ? -1 : (o * middle + read) * inner + i);
}
}  // namespace

Tensor reshape(const Call& c) {
  Tensor result = c[0];
  result.type = c.type();
  return result;
}

Tensor transpose(const Call& c) { return strided(c, 0, pick(row_major_strides(c[0].type.shape), c.integers(Attr::axes))); }

Tensor broadcast(const Call& c) {
  std::vector<int64_t> strides(c.type().rank(), 0), from = row_major_strides(c[0].type.shape);
  for (size_t i = 0; i < from.size(); ++i) strides[c.integers(Attr::axes)[i]] = from[i];
  return strided(c, 0, strides);
}

Tensor slice(const Call& c) {
  std::vector<int64_t> strides = row_major_strides(c[0].type.shape);
  const auto& start = c.integers(Attr::start);
  int64_t base = std::inner_product(start.begin(), start.end(), strides.begin(), int64_t{0});
  for (size_t i = 0; i < strides.size(); ++i) strides[i] *= c.integers(Attr::stride)[i];
  return strided(c, base, strides);
}

Tensor reverse(const Call& c) {
  std::vector<int64_t> strides = row_major_strides(c[0].type.shape);
  int64_t base = 0;
  for (int64_t axis : c.integers(Attr::axes)) {
    base += strides[axis] * (c[0].type.shape[axis] - 1);
    strides[axis] = -strides[axis];
  }
  return strided(c, base, strides);
}

Tensor pad(const Call& c) {
  Tensor result = Tensor::filled(c.type(), c.node.attrs.number(Attr::value));
  std::vector<int64_t> strides = row_major_strides(c.type().shape);
  const auto& low = c.integers(Attr::low);
  const int64_t base = std::inner_product(low.begin(), low.end(), strides.begin(), int64_t{0});
  for (size_t i = 0; i < strides.size(); ++i) strides[i] *= c.integers(Attr::interior)[i] + 1;
  const std::vector<int64_t> to = offsets(c[0].type.shape, strides);
  with_element(c.type().element, [&]<typename T>() {
    auto in = c[0].as<T>();
    auto out = result.as<T>();
    for (size_t i = 0; i < in.size(); ++i) out[base + to[i]] = in[i];
  });
  return result;
}

Tensor windows(const Call& c) {
  Tensor result = Tensor::filled(c.type(), c.node.attrs.number(Attr::value));
  with_element(c.type().element, [&]<typename T>() {
    auto in = c[0].as<T>();
    auto out = result.as<T>();
    for_each_read(c[0].type.shape, c.node.attrs, [&](int64_t to, int64_t from) {
      if (from >= 0) out[to] = in[from];
    });
  });
  return result;
}

Tensor after(const Call& c) { return c[0]; }

Tensor fold(const Call& c) {
  Tensor result(c.type());
  with_element(c.type().element, [&]<typename T>() {
    using Sum = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;
    std::vector<Sum> sums(result.size());
    auto in = c[0].as<T>();
    for_each_read(c.type().shape, c.node.attrs, [&](int64_t from, int64_t to) {
      if (to >= 0) sums[to] += static_cast<Sum>(in[from]);
    });
    auto out = result.as<T>();
    for (size_t i = 0; i < sums.size(); ++i) out[i] = convert<T>(sums[i]);
  });
  return result;
}
}  // namespace gradc::ir::reference
