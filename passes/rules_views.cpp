// Rewrites of views: compositions become one view, reshapes, transposes and broadcasts move behind the maps that read them, so that maps
// work on the smallest shape and contracts can absorb what remains.
#include <algorithm>
#include <numeric>

#include "passes/rules.h"

namespace gradc::passes {
namespace {
using ir::Attr;
using ir::Op;
using ir::Shape;
using ir::Value;
using Axes = std::vector<int64_t>;
constexpr Value no;

// A view of a constant is a constant.
Value view_of_number(Term t) {
  auto c = number(t.x(0));
  return c ? like(*c, t).v : no;
}

// ---- reshape and transpose

// reshape(x, its own shape) => x
Value reshape_same(Term t) { return t.shape() == t.x(0).shape() ? t.x(0).v : no; }
// reshape(reshape(x, a), b) => reshape(x, b)
Value reshape_reshape(Term t) { return t.x(0).is(Op::reshape) ? reshape(t.x(0).x(0), t.shape()).v : no; }
// transpose by the identity => x
Value transpose_same(Term t) {
  Axes axes = t.list(Attr::axes);
  return std::is_sorted(axes.begin(), axes.end()) ? t.x(0).v : no;
}
// transpose(transpose(x, p), q) => transpose(x, p[q])
Value transpose_transpose(Term t) {
  if (!t.x(0).is(Op::transpose)) return no;
  Axes inner = t.x(0).list(Attr::axes), axes;
  for (int64_t axis : t.list(Attr::axes)) axes.push_back(inner[axis]);
  return transpose(t.x(0).x(0), axes);
}
// A transpose that moves axes of extent 1 alone => reshape
Value transpose_of_ones(Term t) {
  int64_t last = -1;
  for (int64_t axis : t.list(Attr::axes)) {
    if (t.x(0).shape()[axis] == 1) continue;
    if (axis < last) return no;
    last = axis;
  }
  return reshape(t.x(0), t.shape());
}
// transpose(reshape(x)) => reshape(transpose(x)), where the reshape adds and drops axes of extent 1 alone
Value transpose_of_reshape(Term t) {
  Term r = t.x(0);
  if (!r.is(Op::reshape)) return no;
  Term x = r.x(0);
  if (without_ones(x.shape()) != without_ones(r.shape()) || x.rank() >= r.rank()) return no;
  Axes source;   // for each axis of r the axis of x, for extents other than 1
  int64_t next = 0;
  for (int64_t extent : r.shape()) {
    while (extent != 1 && x.shape()[next] == 1) ++next;
    source.push_back(extent == 1 ? -1 : next++);
  }
  Axes axes, ones;
  for (int64_t axis : t.list(Attr::axes))
    if (source[axis] >= 0) axes.push_back(source[axis]);
  Shape core = without_ones(x.shape());
  if (core.size() != x.shape().size()) return no;
  return reshape(transpose(x, axes), t.shape());
}

// ---- broadcast

// A broadcast that adds axes of extent 1 alone => reshape
Value broadcast_of_ones(Term t) { return t.type().size() == t.x(0).type().size() ? reshape(t.x(0), t.shape()).v : no; }
// broadcast(broadcast(x, p), q) => broadcast(x, q[p])
Value broadcast_broadcast(Term t) {
  if (!t.x(0).is(Op::broadcast)) return no;
  Axes outer = t.list(Attr::axes), axes;
  for (int64_t axis : t.x(0).list(Attr::axes)) axes.push_back(outer[axis]);
  return broadcast(t.x(0).x(0), t.shape(), axes);
}
// broadcast(x[n, 1]) => broadcast(reshape(x, [n])): operands of a broadcast have no axes of extent 1
Value broadcast_from_ones(Term t) {
  Shape shape = t.x(0).shape(), kept;
  Axes axes = t.list(Attr::axes), kept_axes;
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1) kept.push_back(shape[i]), kept_axes.push_back(axes[i]);
  if (kept.size() == shape.size()) return no;
  return broadcast(reshape(t.x(0), kept), t.shape(), kept_axes);
}
// reshape(broadcast(x)) => broadcast(reshape(x)), where x is a scalar or the reshape adds and drops axes of extent 1 alone
Value reshape_of_broadcast(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::broadcast)) return no;
  if (y.x(0).rank() == 0) return broadcast(y.x(0), t.shape(), {});
  if (without_ones(y.shape()) != without_ones(t.shape())) return no;
  Axes to(y.rank(), -1);   // axis of y -> axis of the result, for extents other than 1
  int64_t next = 0;
  for (int64_t axis = 0; axis < y.rank(); ++axis) {
    if (y.shape()[axis] == 1) continue;
    while (t.shape()[next] == 1) ++next;
    to[axis] = next++;
  }
  Shape kept;
  Axes axes;
  for (int64_t axis : y.list(Attr::axes))
    if (to[axis] >= 0) kept.push_back(y.shape()[axis]), axes.push_back(to[axis]);
  return broadcast(reshape(y.x(0), kept), t.shape(), axes);
}
// transpose(broadcast(x)) => broadcast(transpose(x))
Value transpose_of_broadcast(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::broadcast)) return no;
  Axes from = y.list(Attr::axes), order, axes;
  Axes moved = t.list(Attr::axes);
  for (int64_t axis = 0; axis < t.rank(); ++axis) {
    auto at = std::find(from.begin(), from.end(), moved[axis]);
    if (at == from.end()) continue;
    order.push_back(at - from.begin());
    axes.push_back(axis);
  }
  return broadcast(transpose(y.x(0), order), t.shape(), axes);
}
// slice(broadcast(x)) => broadcast(slice(x))
Value slice_of_broadcast(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::broadcast)) return no;
  Axes axes = y.list(Attr::axes), start, limit, stride;
  for (int64_t axis : axes) {
    start.push_back(t.list(Attr::start)[axis]);
    limit.push_back(t.list(Attr::limit)[axis]);
    stride.push_back(t.list(Attr::stride)[axis]);
  }
  Value x = t.b->slice(y.x(0), start, limit, stride);
  return t.b->broadcast(x, t.shape(), axes);
}
// reverse(broadcast(x)) => broadcast(reverse(x))
Value reverse_of_broadcast(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::broadcast)) return no;
  Axes axes = y.list(Attr::axes), reversed, flipped = t.list(Attr::axes);
  for (size_t i = 0; i < axes.size(); ++i)
    if (std::binary_search(flipped.begin(), flipped.end(), axes[i])) reversed.push_back(static_cast<int64_t>(i));
  Value x = reversed.empty() ? y.x(0).v : t.b->make(Op::reverse, {y.x(0).v}, {{Attr::axes, reversed}});
  return t.b->broadcast(x, t.shape(), axes);
}

// ---- slice, pad, reverse

// slice of everything => x
Value slice_all(Term t) { return t.shape() == t.x(0).shape() ? t.x(0).v : no; }
// slice(slice(x)) => slice(x)
Value slice_slice(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::slice)) return no;
  Axes start = t.list(Attr::start), limit = t.list(Attr::limit), stride = t.list(Attr::stride);
  Axes inner = y.list(Attr::start), step = y.list(Attr::stride);
  for (size_t i = 0; i < start.size(); ++i) {
    int64_t taken = t.shape()[i];
    start[i] = inner[i] + start[i] * step[i];
    stride[i] *= step[i];
    limit[i] = taken == 0 ? start[i] : start[i] + (taken - 1) * stride[i] + 1;
  }
  return t.b->slice(y.x(0), start, limit, stride);
}
// slice(pad(x)) => slice(x), where nothing of the padding is taken
Value slice_of_pad(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::pad)) return no;
  Axes start = t.list(Attr::start), limit = start, stride = t.list(Attr::stride), low = y.list(Attr::low), interior = y.list(Attr::interior);
  for (size_t i = 0; i < start.size(); ++i) {
    int64_t spacing = interior[i] + 1, taken = t.shape()[i], first = start[i] - low[i];
    if (first < 0 || first % spacing != 0 || taken == 0 || (taken > 1 && stride[i] % spacing != 0)) return no;
    start[i] = first / spacing;
    stride[i] = std::max<int64_t>(stride[i] / spacing, 1);
    limit[i] = start[i] + (taken - 1) * stride[i] + 1;
    if (limit[i] > y.x(0).shape()[i]) return no;
  }
  return t.b->slice(y.x(0), start, limit, stride);
}
// pad by nothing => x
Value pad_nothing(Term t) { return t.shape() == t.x(0).shape() ? t.x(0).v : no; }
// pad(pad(x, c), c) => pad(x, c), without interior padding
Value pad_pad(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::pad) || t.node().attrs.at(Attr::value) != y.node().attrs.at(Attr::value)) return no;
  Axes low = t.list(Attr::low), high = t.list(Attr::high), interior = t.list(Attr::interior);
  auto plain = [](const Axes& list) { return std::all_of(list.begin(), list.end(), [](int64_t n) { return n == 0; }); };
  if (!plain(interior) || !plain(y.list(Attr::interior))) return no;
  for (size_t i = 0; i < low.size(); ++i) low[i] += y.list(Attr::low)[i], high[i] += y.list(Attr::high)[i];
  return t.b->make(Op::pad, {y.x(0).v}, {{Attr::low, low}, {Attr::high, high}, {Attr::interior, interior}, {Attr::value, t.node().attrs.number(Attr::value)}});
}
// pad of the number that it pads with => that number
Value pad_of_number(Term t) {
  auto c = number(t.x(0));
  return c && *c == t.node().attrs.number(Attr::value) ? like(*c, t).v : no;
}
// Reversing axes of extent 1 or no axes => x
Value reverse_of_ones(Term t) {
  for (int64_t axis : t.list(Attr::axes))
    if (t.shape()[axis] != 1) return no;
  return t.x(0);
}
// reverse(reverse(x)) over the same axes => x
Value reverse_reverse(Term t) { return t.x(0).is(Op::reverse) && t.x(0).list(Attr::axes) == t.list(Attr::axes) ? t.x(0).x(0).v : no; }

// ---- maps of views

Value map_like(Term t, const std::vector<Value>& operands) { return t.b->make(t.op(), operands, ir::Attrs(t.node().attrs)); }
// A number or a broadcast scalar, in another shape; invalid for anything else.
Value scalar_as(Term x, const Shape& shape) {
  if (auto c = number(x)) return x.b->constant(*c, {x.element(), shape});
  if (x.is(Op::broadcast) && x.x(0).rank() == 0) return x.b->broadcast(x.x(0), shape, {});
  return no;
}

// f(broadcast(x), broadcast(y), c) => broadcast(f(x, y, c)): over axes that no operand varies along, computed once
Value map_of_broadcasts(Term t) {
  Axes axes;   // the axes that operands vary along
  for (size_t i = 0; i < t.operands(); ++i) {
    if (number(t.x(i))) continue;
    if (!t.x(i).is(Op::broadcast)) return no;
    for (int64_t axis : t.x(i).list(Attr::axes)) axes.push_back(axis);
  }
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  Shape shape;
  for (int64_t axis : axes) shape.push_back(t.shape()[axis]);
  if (ir::shape_size(shape) == t.type().size() || t.type().size() == 0) return no;
  std::vector<Value> operands;
  for (size_t i = 0; i < t.operands(); ++i) {
    Term x = t.x(i);
    if (auto c = number(x)) {
      operands.push_back(t.b->constant(*c, {x.element(), shape}));
      continue;
    }
    Axes inside;
    for (int64_t axis : x.list(Attr::axes)) inside.push_back(std::lower_bound(axes.begin(), axes.end(), axis) - axes.begin());
    operands.push_back(t.b->broadcast(x.x(0), shape, inside));
  }
  return t.b->broadcast(map_like(t, operands), t.shape(), axes);
}
// f(reshape(x), reshape(y), c) => reshape(f(x, y, c)), for x and y of one shape
Value map_of_reshapes(Term t) {
  const Shape* from = nullptr;
  Shape shape;
  for (size_t i = 0; i < t.operands(); ++i)
    if (t.x(i).is(Op::reshape) && !from) shape = t.x(i).x(0).shape(), from = &shape;
  if (!from) return no;
  std::vector<Value> operands;
  for (size_t i = 0; i < t.operands(); ++i) {
    Value x = t.x(i).is(Op::reshape) && t.x(i).x(0).shape() == shape ? t.x(i).x(0).v : scalar_as(t.x(i), shape);
    if (!x.valid()) return no;
    operands.push_back(x);
  }
  return t.b->reshape(map_like(t, operands), t.shape());
}
// f(transpose(x), transpose(y), c) => transpose(f(x, y, c)), for one permutation
Value map_of_transposes(Term t) {
  Axes axes;
  Shape shape;
  bool found = false;
  for (size_t i = 0; i < t.operands(); ++i)
    if (t.x(i).is(Op::transpose) && !found) found = true, axes = t.x(i).list(Attr::axes), shape = t.x(i).x(0).shape();
  if (!found) return no;
  std::vector<Value> operands;
  for (size_t i = 0; i < t.operands(); ++i) {
    Value x = t.x(i).is(Op::transpose) && t.x(i).list(Attr::axes) == axes ? t.x(i).x(0).v : scalar_as(t.x(i), shape);
    if (!x.valid()) return no;
    operands.push_back(x);
  }
  return t.b->transpose(map_like(t, operands), axes);
}

// gather(x, iota + c) => slice(x, c, c + n): rows one after another, as of positions that a table has vectors for
Value gather_of_iota(Term t) {
  Term index = t.x(1);
  double first = 0;
  if (index.is(Op::add) && number(index.x(1))) first = *number(index.x(1)), index = index.x(0);
  if (!index.is(Op::iota) || index.rank() != 1) return no;
  const int64_t axis = t.node().attrs.integer(Attr::axis), count = index.shape()[0];
  if (first < 0 || static_cast<int64_t>(first) + count > t.x(0).shape()[axis]) return no;
  Axes start(t.x(0).rank(), 0), limit = t.x(0).shape(), stride(t.x(0).rank(), 1);
  start[axis] = static_cast<int64_t>(first), limit[axis] = start[axis] + count;
  return t.b->slice(t.x(0), start, limit, stride);
}

constexpr Rule table[] = {
    {"view-of-number", {Op::reshape, Op::transpose, Op::broadcast, Op::slice, Op::reverse}, view_of_number},
    {"reshape-same", Op::reshape, reshape_same},
    {"reshape-reshape", Op::reshape, reshape_reshape},
    {"transpose-same", Op::transpose, transpose_same},
    {"transpose-transpose", Op::transpose, transpose_transpose},
    {"transpose-of-ones", Op::transpose, transpose_of_ones},
    {"transpose-of-reshape", Op::transpose, transpose_of_reshape},
    {"broadcast-of-ones", Op::broadcast, broadcast_of_ones},
    {"broadcast-broadcast", Op::broadcast, broadcast_broadcast},
    {"broadcast-from-ones", Op::broadcast, broadcast_from_ones},
    {"reshape-of-broadcast", Op::reshape, reshape_of_broadcast},
    {"transpose-of-broadcast", Op::transpose, transpose_of_broadcast},
    {"slice-of-broadcast", Op::slice, slice_of_broadcast},
    {"reverse-of-broadcast", Op::reverse, reverse_of_broadcast},
    {"slice-all", Op::slice, slice_all},
    {"slice-slice", Op::slice, slice_slice},
    {"slice-of-pad", Op::slice, slice_of_pad},
    {"pad-nothing", Op::pad, pad_nothing},
    {"pad-pad", Op::pad, pad_pad},
    {"pad-of-number", Op::pad, pad_of_number},
    {"reverse-of-ones", Op::reverse, reverse_of_ones},
    {"reverse-reverse", Op::reverse, reverse_reverse},
    {"gather-of-iota", Op::gather, gather_of_iota},
    {"map-of-broadcasts", Heads::maps(), map_of_broadcasts},
    {"map-of-reshapes", Heads::maps(), map_of_reshapes},
    {"map-of-transposes", Heads::maps(), map_of_transposes},
};
}  // namespace

std::span<const Rule> view_rules() { return table; }
}  // namespace gradc::passes
