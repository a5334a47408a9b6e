// The gradient of each operation: one rule per row of ops.def. y is the result, g its cotangent, x the operands; a rule
// returns the cotangents of the operands. Rules build ordinary nodes, so gradients of gradients need nothing more; what
// they build and nobody needs is pruned.
//
// Conventions at kinks, as in semantics.md: max, min and their reductions give everything to the first of equal operands,
// |x| and sign have derivative 0 at 0, floor, ceil and round have 0 everywhere. sqrt is plain: infinite at 0.
#include <numbers>

#include "ir/check.h"
#include "passes/autodiff.h"

namespace gradc::passes {
namespace {
using ir::Attr;
using ir::ElementType;
using ir::Op;
using ir::Shape;
using ir::Value;
using Axes = std::vector<int64_t>;

// The number behind a constant that may have been broadcast or cast.
const double* constant_behind(const Primal& p, Value v) {
  const ir::Node* node = &p.b.function[v];
  while (node->op == Op::broadcast || node->op == Op::cast || node->op == Op::reshape) node = &p.b.function[node->operands[0]];
  return node->op == Op::constant ? &std::get<double>(node->attrs.at(Attr::value)) : nullptr;
}

// A reduction over one axis: the reduced axes merged where the first of them stands, so that those of windows stay before the channels. `back` undoes it.
struct Merged {
  Term x;
  Shape moved_shape;
  Axes order;
  int64_t axis;

  Merged(Term operand, const Axes& axes) : axis(axes.empty() ? operand.rank() : axes[0]) {
    order = other_axes(axes, operand.rank());
    Shape shape;
    for (int64_t kept : order) shape.push_back(operand.shape()[kept]);
    int64_t reduced = 1;
    for (int64_t merged : axes) reduced *= operand.shape()[merged];
    order.insert(order.begin() + axis, axes.begin(), axes.end());
    shape.insert(shape.begin() + axis, reduced);
    Term moved = transpose(operand, order);
    moved_shape = moved.shape();
    x = reshape(moved, shape);
  }
  /// A value of the reduction's result repeated along the merged axis.
  Term repeat(Term result) const { return broadcast(result, x.shape(), other_axes({axis}, x.rank())); }
  Term back(Term merged) const { return transpose(reshape(merged, moved_shape), inverse_permutation(order)); }
};

// The cotangent of an extremum goes to the first element that reaches it.
Term to_first_largest(const Primal& p, Term x, const Axes& axes) {
  Merged m(x, axes);
  Term first{&p.b, p.b.make(Op::argmax, {m.x.v}, {{Attr::axis, m.axis}})};
  Term mask = iota(m.x, ElementType::i32, m.axis) == Term{&p.b, m.repeat(first)};
  Term g = m.repeat(p.g);
  return m.back(select(mask, g, zeros_like(g)));
}

// A value of a reduction's result, repeated over the reduced axes of its operand.
Term over_reduced(const Primal& p, Term result) {
  return broadcast(result, p.x(0).shape(), other_axes(p.list(Attr::axes), p.x(0).type().rank()));
}

namespace rules {
constexpr GradientRule none = nullptr;
#define RULE(name) Cotangents name([[maybe_unused]] const Primal& p)

// ---- maps of one operand
RULE(neg) { return {-p.g}; }
RULE(abs) { return {p.g * apply(Op::sign, p.x(0))}; }
constexpr GradientRule sign = none;
RULE(exp) { return {p.g * p.y}; }
RULE(log) { return {p.g / p.x(0)}; }
RULE(log1p) { return {p.g / (1 + p.x(0))}; }
RULE(sqrt) { return {p.g * 0.5 / p.y}; }
RULE(rsqrt) { return {p.g * -0.5 * (p.y * (p.y * p.y))}; }
RULE(sin) { return {p.g * apply(Op::cos, p.x(0))}; }
RULE(cos) { return {-(p.g * apply(Op::sin, p.x(0)))}; }
RULE(tanh) { return {p.g * (1 - p.y * p.y)}; }
RULE(erf) { return {p.g * (2 * std::numbers::inv_sqrtpi) * apply(Op::exp, -(p.x(0) * p.x(0)))}; }
RULE(sigmoid) { return {p.g * (p.y * (1 - p.y))}; }
constexpr GradientRule floor = none, ceil = none, round = none, not_ = none, is_finite = none;
RULE(cast) { return {p.b.cast(p.g, p.x(0).type().element)}; }

// ---- maps of two and three
RULE(add) { return {p.g, p.g}; }
RULE(sub) { return {p.g, -p.g}; }
RULE(mul) { return {p.g * p.x(1), p.g * p.x(0)}; }
RULE(div) {
  Term t = p.g / p.x(1);
  return {t, -(t * p.y)};
}
constexpr GradientRule idiv = none;
RULE(rem) { return {p.g, -(p.g * apply(Op::floor, p.x(0) / p.x(1)))}; }
// With a constant exponent c: c x^(c-1), written so that x = 0 gives no 0 * inf. Otherwise the exponent 0 is masked, and
// the derivative by the exponent, y log x, is 0 where x <= 0.
RULE(pow) {
  Term x = p.x(0), e = p.x(1);
  if (const double* constant = constant_behind(p, e)) {
    double c = *constant;
    if (c == 0) return {};
    if (c == 1) return {p.g};
    if (c == 2) return {p.g * (2 * x)};
    return {p.g * (c * apply(Op::pow, x, like(c - 1, x)))};
  }
  Term zero = zeros_like(e), is_zero = e == zero, positive = x > zero;
  Term by_x = select(is_zero, zero, e * apply(Op::pow, x, select(is_zero, zero, e - 1)));
  Term by_e = select(positive, p.y * apply(Op::log, select(positive, x, like(1, x))), zero);
  return {p.g * by_x, p.g * by_e};
}
RULE(max) {
  Term first = p.x(0) >= p.x(1), zero = zeros_like(p.g);
  return {select(first, p.g, zero), select(first, zero, p.g)};
}
RULE(min) {
  Term first = p.x(0) <= p.x(1), zero = zeros_like(p.g);
  return {select(first, p.g, zero), select(first, zero, p.g)};
}
constexpr GradientRule eq = none, ne = none, lt = none, le = none, gt = none, ge = none, and_ = none, or_ = none;
RULE(select) {
  Term zero = zeros_like(p.g);
  return {Value{}, passes::select(p.x(0), p.g, zero), passes::select(p.x(0), zero, p.g)};
}

// ---- views: their adjoints
RULE(reshape) { return {passes::reshape(p.g, p.x(0).shape())}; }
RULE(transpose) { return {passes::transpose(p.g, inverse_permutation(p.list(Attr::axes)))}; }
RULE(broadcast) { return {reduce(Op::reduce_sum, p.g, other_axes(p.list(Attr::axes), p.y.type().rank()))}; }
RULE(slice) {
  const Axes &start = p.list(Attr::start), &stride = p.list(Attr::stride);
  Axes high, interior;
  for (size_t i = 0; i < start.size(); ++i) {
    int64_t taken = p.y.shape()[i], covered = taken == 0 ? 0 : (taken - 1) * stride[i] + 1;
    interior.push_back(stride[i] - 1);
    high.push_back(p.x(0).shape()[i] - start[i] - covered);
  }
  return {p.b.make(Op::pad, {p.g.v}, {{Attr::low, start}, {Attr::high, high}, {Attr::interior, interior}, {Attr::value, 0.0}})};
}
RULE(pad) {
  const Axes &low = p.list(Attr::low), &interior = p.list(Attr::interior);
  Axes limit, stride;
  for (size_t i = 0; i < low.size(); ++i) {
    int64_t extent = p.x(0).shape()[i];
    stride.push_back(interior[i] + 1);
    limit.push_back(low[i] + (extent == 0 ? 0 : (extent - 1) * (interior[i] + 1) + 1));
  }
  return {p.b.slice(p.g, low, limit, stride)};
}
RULE(reverse) { return {p.b.make(Op::reverse, {p.g.v}, p.attrs())}; }
// The fill value of windows is a number and takes no cotangent.
RULE(windows) {
  return {p.b.make(Op::fold, {p.g.v}, {{Attr::shape, p.x(0).shape()}, {Attr::axes, p.list(Attr::axes)}, {Attr::size, p.list(Attr::size)}, {Attr::stride, p.list(Attr::stride)},
                                       {Attr::dilation, p.list(Attr::dilation)}, {Attr::low, p.list(Attr::low)}, {Attr::high, p.list(Attr::high)}})};
}
// When the cotangent is computed is for others to say.
RULE(after) { return {p.g}; }
RULE(fold) {
  return {p.b.make(Op::windows, {p.g.v}, {{Attr::axes, p.list(Attr::axes)}, {Attr::size, p.list(Attr::size)}, {Attr::stride, p.list(Attr::stride)}, {Attr::dilation, p.list(Attr::dilation)},
                                          {Attr::low, p.list(Attr::low)}, {Attr::high, p.list(Attr::high)}, {Attr::value, 0.0}})};
}

// ---- contract: permute the three index lists. For a layer y = x w: dx = g w^T, dw = x^T g, in the same precision.
RULE(contract) {
  auto spec = std::get<ir::ContractSpec>(ir::ContractSpec::parse(p.attrs().text(Attr::spec)));
  ir::Precision precision = ir::contract_precision(p.attrs());
  return {p.b.contract(spec.result + "," + spec.b + "->" + spec.a, p.g, p.x(1), precision),
          p.b.contract(spec.a + "," + spec.result + "->" + spec.b, p.x(0), p.g, precision)};
}

// ---- loops
constexpr GradientRule scan = scan_gradient;
constexpr GradientRule item = none;   // the walk puts its cotangent beside those of the loop's other results

// ---- reductions
RULE(reduce_sum) { return {over_reduced(p, p.g)}; }
RULE(reduce_mean) {
  double count = static_cast<double>(p.x(0).type().size()) / static_cast<double>(p.y.type().size());
  return {over_reduced(p, p.g / count)};
}
RULE(reduce_max) { return {to_first_largest(p, p.x(0), p.list(Attr::axes))}; }
RULE(reduce_min) { return {to_first_largest(p, -p.x(0), p.list(Attr::axes))}; }
// dy/dx_i is the product of the others, also where some x are 0: the square [i, j] of x_j with ones on the diagonal,
// multiplied over j. Quadratic in the length, and differentiable again.
RULE(reduce_prod) {
  Merged m(p.x(0), p.list(Attr::axes));
  int64_t i = m.axis, j = m.axis + 1;
  Shape square = m.x.shape();
  square.insert(square.begin() + j, square[i]);
  Axes along_j = other_axes({i}, m.x.rank() + 1);
  Term x = passes::broadcast(m.x, square, along_j);
  Term diagonal = iota(x, ElementType::i32, i) == iota(x, ElementType::i32, j);
  Term others = reduce(Op::reduce_prod, passes::select(diagonal, like(1, x), x), {j});
  return {m.back(m.repeat(p.g) * others)};
}
constexpr GradientRule argmax = none;

// ---- index: each is the other's adjoint
RULE(gather) {
  ir::Attrs attrs = p.attrs();
  attrs.set(Attr::extent, p.x(0).shape()[attrs.integer(Attr::axis)]);
  const ElementType element = p.x(0).element(), sums = element == ElementType::bf16 ? ElementType::f32 : element;
  return {p.b.cast(p.b.make(Op::scatter_add, {p.x(1), p.b.cast(p.g, sums)}, attrs), element)};
}
RULE(scatter_add) {
  return {Value{}, p.b.make(Op::gather, {p.g.v, p.x(0).v}, {{Attr::axis, p.attrs().integer(Attr::axis)}, {Attr::batch, p.attrs().integer(Attr::batch)}})};
}

// ---- sources and marks
constexpr GradientRule constant = none, literal = none, iota = none, input = none, variable = none, random = none;
RULE(grad) { CHECK(false, "grad nodes are expanded from the inside out"); }
RULE(mark) { return {p.g}; }
constexpr GradientRule stop_gradient = none;
#undef RULE
}  // namespace rules

constexpr GradientRule table[] = {
#define OP(name, ...) rules::name,
#include "ir/ops.def"
};
}  // namespace

GradientRule gradient_rule(Op op) { return table[static_cast<size_t>(op)]; }
}  // namespace gradc::passes
