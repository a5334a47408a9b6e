// Rewrites of reductions: what does not vary is not reduced, reductions of reductions become one.
#include <algorithm>

#include "passes/rules.h"

namespace gradc::passes {
namespace {
using ir::Attr;
using ir::Op;
using ir::Shape;
using ir::Value;
using Axes = std::vector<int64_t>;
constexpr Value no;

bool contains(const Axes& axes, int64_t axis) { return std::binary_search(axes.begin(), axes.end(), axis); }

// reduce over no axes => x
Value reduce_nothing(Term t) { return t.list(Attr::axes).empty() ? t.x(0).v : no; }
// A reduction over axes of extent 1 => reshape
Value reduce_of_ones(Term t) { return t.type().size() == t.x(0).type().size() && t.type().size() > 0 ? reshape(t.x(0), t.shape()).v : no; }
// mean(x) => sum(x) / count. The sample-axis passes, which tell means from sums, have run by then.
Value mean_to_sum(Term t) {
  double count = static_cast<double>(t.x(0).type().size()) / static_cast<double>(t.type().size());
  return reduce(Op::reduce_sum, t.x(0), t.list(Attr::axes)) / count;
}
// sum(broadcast(x)) over broadcast axes => x * count;  max, min likewise => x; other axes stay
Value reduce_of_broadcast(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::broadcast)) return no;
  Axes reduced = t.list(Attr::axes), from = y.list(Attr::axes), still, inside;
  double count = 1;
  for (int64_t axis : reduced)
    if (contains(from, axis))
      still.push_back(axis);
    else
      count *= static_cast<double>(y.shape()[axis]);
  if (still.size() == reduced.size()) return no;
  // Reduce x over what it varies along, then broadcast what is left of the repeated axes.
  for (int64_t axis : still) inside.push_back(std::lower_bound(from.begin(), from.end(), axis) - from.begin());
  Term x = reduce(t.op(), y.x(0), inside);
  Axes kept = other_axes(reduced, y.rank()), axes;
  for (size_t i = 0; i < kept.size(); ++i)
    if (contains(from, kept[i])) axes.push_back(static_cast<int64_t>(i));
  Shape shape = t.shape();
  if (t.is(Op::reduce_sum)) x = x * count;
  return broadcast(x, shape, axes);
}
// sum of a number => number * count
Value reduce_of_number(Term t) {
  auto c = number(t.x(0));
  if (!c || t.type().size() == 0) return no;
  if (!t.is(Op::reduce_sum)) return like(*c, t);
  double count = static_cast<double>(t.x(0).type().size()) / static_cast<double>(t.type().size());
  return like(*c, t) * count;
}
// sum(sum(x)) => sum(x) over the union of axes; mean, max, min and prod likewise
Value reduce_reduce(Term t) {
  Term y = t.x(0);
  if (y.op() != t.op()) return no;
  Axes inner = y.list(Attr::axes), kept = other_axes(inner, y.x(0).rank()), axes = inner;
  for (int64_t axis : t.list(Attr::axes)) axes.push_back(kept[axis]);
  std::sort(axes.begin(), axes.end());
  return reduce(t.op(), y.x(0), axes);
}
// sum(reshape(x)) over all axes => sum(x); mean, max, min and prod likewise
Value reduce_all_of_reshape(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::reshape) || t.rank() != 0) return no;
  Axes all(y.x(0).rank());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  return reduce(t.op(), y.x(0), all);
}
// reduce(reshape(x)) => reshape(reduce(x)), where the reshape adds and drops axes of extent 1 alone
Value reduce_of_unit_reshape(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::reshape) || without_ones(y.shape()) != without_ones(y.x(0).shape())) return no;
  Axes axes, reduced = t.list(Attr::axes);
  int64_t next = 0;
  for (int64_t axis = 0; axis < y.rank(); ++axis) {
    if (y.shape()[axis] == 1) continue;
    while (y.x(0).shape()[next] == 1) ++next;
    if (contains(reduced, axis)) axes.push_back(next);
    ++next;
  }
  return reshape(reduce(t.op(), y.x(0), axes), t.shape());
}
// reduce(transpose(x)) => transpose(reduce(x))
Value reduce_of_transpose(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::transpose)) return no;
  Axes order = y.list(Attr::axes), axes, kept;
  for (int64_t axis : t.list(Attr::axes)) axes.push_back(order[axis]);
  std::sort(axes.begin(), axes.end());
  Axes remaining = other_axes(axes, y.rank());
  for (int64_t axis : other_axes(t.list(Attr::axes), y.rank())) kept.push_back(std::lower_bound(remaining.begin(), remaining.end(), order[axis]) - remaining.begin());
  return transpose(reduce(t.op(), y.x(0), axes), kept);
}
// sum(-x) => -sum(x);  max(-x) => -min(x);  min(-x) => -max(x)
Value reduce_of_negative(Term t) {
  if (!t.x(0).is(Op::neg) || !ir::is_float(t.element())) return no;
  Op op = t.is(Op::reduce_max) ? Op::reduce_min : t.is(Op::reduce_min) ? Op::reduce_max : t.op();
  return -reduce(op, t.x(0).x(0), t.list(Attr::axes));
}
// sum(x * y * z) => sum(x * z) * y, where y is a number or does not vary along the reduced axes: so that sums over a batch which differ in a factor are one
Value sum_of_shared_factor(Term t) {
  if (!ir::is_float(t.element())) return no;
  Axes reduced = t.list(Attr::axes), kept = other_axes(reduced, t.x(0).rank());
  std::vector<Term> inside, outside, stack = {t.x(0)};
  while (!stack.empty()) {
    Term x = stack.back();
    stack.pop_back();
    if (x.is(Op::mul)) {
      stack.push_back(x.x(1)), stack.push_back(x.x(0));
      continue;
    }
    Axes at = x.is(Op::broadcast) ? x.list(Attr::axes) : Axes();
    bool shared = number(x) || (x.is(Op::broadcast) && std::none_of(at.begin(), at.end(), [&](int64_t axis) { return contains(reduced, axis); }));
    (shared ? outside : inside).push_back(x);
  }
  if (outside.empty() || inside.empty()) return no;
  Term product = inside[0];
  for (size_t i = 1; i < inside.size(); ++i) product = product * inside[i];
  Term sum = reduce(t.op(), product, reduced);
  for (Term y : outside) {
    if (auto c = number(y)) {
      sum = sum * *c;
      continue;
    }
    Axes axes;
    for (int64_t axis : y.list(Attr::axes)) axes.push_back(std::lower_bound(kept.begin(), kept.end(), axis) - kept.begin());
    sum = sum * broadcast(y.x(0), sum.shape(), axes);
  }
  return sum;
}
// sum(x - broadcast(sum(x) / n)) => sum(x) - (sum(x) / n) * count: what is known already, but for NaN and infinities it is 0
Value sum_of_centred(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::sub) || !y.x(1).is(Op::broadcast) || !ir::is_float(t.element())) return no;
  Axes reduced = t.list(Attr::axes);
  Term mean = y.x(1).x(0);
  if (y.x(1).list(Attr::axes) != other_axes(reduced, y.rank()) || (!mean.is(Op::div) && !mean.is(Op::mul)) || !number(mean.x(1))) return no;
  Term sum = mean.x(0);
  if (!sum.is(Op::reduce_sum) || !sum.x(0).same(y.x(0)) || sum.list(Attr::axes) != reduced) return no;
  double count = static_cast<double>(y.type().size()) / static_cast<double>(t.type().size());
  return sum - mean * count;
}

// fold of windows that do not overlap => reshape(transpose(x)), with zeros where no window is
Value fold_apart(Term t) {
  Term x = t.x(0);
  Axes axes = t.list(Attr::axes), size = t.list(Attr::size), stride = t.list(Attr::stride), dilation = t.list(Attr::dilation), low = t.list(Attr::low);
  size_t first = axes[0], count = axes.size();
  Axes order, none(x.rank(), 0), gap = none;
  Shape merged;
  Axes start(t.rank(), 0), limit = t.shape(), step(t.rank(), 1), before(t.rank(), 0), behind = before;
  for (size_t axis = 0; axis < first; ++axis) order.push_back(static_cast<int64_t>(axis));
  merged.assign(t.shape().begin(), t.shape().end());
  for (size_t k = 0; k < count; ++k) {
    int64_t axis = axes[k], covered = x.shape()[axis] * stride[k], extent = t.shape()[axis];
    if (dilation[k] != 1 || size[k] > stride[k] || low[k] >= covered || covered == 0) return no;
    gap[axis + count] = stride[k] - size[k];
    order.push_back(axis), order.push_back(axis + static_cast<int64_t>(count));
    merged[axis] = covered;
    start[axis] = low[k];
    limit[axis] = std::min(covered, low[k] + extent);
    behind[axis] = extent - (limit[axis] - low[k]);
  }
  for (size_t axis = first + 2 * count; axis < static_cast<size_t>(x.rank()); ++axis) order.push_back(static_cast<int64_t>(axis));
  auto pad = [&](Term v, const Axes& high) { return Term{t.b, t.b->make(Op::pad, {v.v}, {{Attr::low, Axes(high.size(), 0)}, {Attr::high, high}, {Attr::interior, Axes(high.size(), 0)}, {Attr::value, 0.0}})}; };
  Term spread = reshape(transpose(pad(x, gap), order), merged);
  return pad({t.b, t.b->slice(spread, start, limit, step)}, behind);
}

constexpr Heads sums = {Op::reduce_sum, Op::reduce_mean};
constexpr Heads extrema = {Op::reduce_sum, Op::reduce_mean, Op::reduce_max, Op::reduce_min};
constexpr Heads all = {Op::reduce_sum, Op::reduce_mean, Op::reduce_max, Op::reduce_min, Op::reduce_prod};

constexpr Rule table[] = {
    {"reduce-nothing", all, reduce_nothing},
    {"reduce-of-ones", all, reduce_of_ones},
    {"reduce-of-number", extrema, reduce_of_number},
    {"reduce-of-broadcast", extrema, reduce_of_broadcast},
    {"reduce-reduce", all, reduce_reduce},
    {"reduce-all-of-reshape", all, reduce_all_of_reshape},
    {"reduce-of-unit-reshape", all, reduce_of_unit_reshape},
    {"reduce-of-transpose", all, reduce_of_transpose},
    {"reduce-of-negative", extrema, reduce_of_negative},
    {"sum-of-shared-factor", sums, sum_of_shared_factor},
    {"sum-of-centred", Op::reduce_sum, sum_of_centred},
    {"mean-to-sum", Op::reduce_mean, mean_to_sum},
    {"fold-apart", Op::fold, fold_apart},
};
}  // namespace

std::span<const Rule> reduce_rules() { return table; }
}  // namespace gradc::passes
