// Arithmetic on graph values that reads as mathematics, so that gradient and rewrite rules look like the identities that they
// implement. A Term is a value and the builder that makes its users; it folds nothing.
#pragma once
#include "ir/builder.h"

namespace gradc::passes {

struct Term {
  ir::Builder* b = nullptr;
  ir::Value v;
  operator ir::Value() const { return v; }
  const ir::Type& type() const { return b->type(v); }
  const ir::Shape& shape() const { return type().shape; }
  ir::ElementType element() const { return type().element; }
  int64_t rank() const { return type().rank(); }
  // References into the node are valid until the next node is built.
  const ir::Node& node() const { return b->function[v]; }
  ir::Op op() const { return node().op; }
  bool is(ir::Op o) const { return op() == o; }
  Term x(size_t i) const { return {b, node().operands[i]}; }
  size_t operands() const { return node().operands.size(); }
  std::vector<int64_t> list(ir::Attr a) const { return node().attrs.integers(a); }
  bool same(Term other) const { return v == other.v; }
};

inline Term apply(ir::Op op, Term x) { return {x.b, x.b->make(op, {x.v})}; }
inline Term apply(ir::Op op, Term x, Term y) { return {x.b, x.b->make(op, {x.v, y.v})}; }

/// A number of a term's type and shape.
inline Term like(double number, Term x) { return {x.b, x.b->like(number, x.v)}; }
inline Term zeros_like(Term x) { return like(0, x); }

inline Term operator-(Term x) { return apply(ir::Op::neg, x); }
inline Term operator+(Term x, Term y) { return apply(ir::Op::add, x, y); }
inline Term operator-(Term x, Term y) { return apply(ir::Op::sub, x, y); }
inline Term operator*(Term x, Term y) { return apply(ir::Op::mul, x, y); }
inline Term operator/(Term x, Term y) { return apply(ir::Op::div, x, y); }
inline Term operator+(Term x, double n) { return x + like(n, x); }
inline Term operator-(Term x, double n) { return x - like(n, x); }
inline Term operator*(Term x, double n) { return x * like(n, x); }
inline Term operator/(Term x, double n) { return x / like(n, x); }
inline Term operator+(double n, Term x) { return like(n, x) + x; }
inline Term operator-(double n, Term x) { return like(n, x) - x; }
inline Term operator*(double n, Term x) { return like(n, x) * x; }
inline Term operator==(Term x, Term y) { return apply(ir::Op::eq, x, y); }
inline Term operator>=(Term x, Term y) { return apply(ir::Op::ge, x, y); }
inline Term operator<=(Term x, Term y) { return apply(ir::Op::le, x, y); }
inline Term operator>(Term x, Term y) { return apply(ir::Op::gt, x, y); }

inline Term select(Term condition, Term yes, Term no) { return {yes.b, yes.b->make(ir::Op::select, {condition.v, yes.v, no.v})}; }
inline Term reshape(Term x, ir::Shape shape) { return {x.b, x.b->reshape(x.v, std::move(shape))}; }
inline Term transpose(Term x, std::vector<int64_t> axes) { return {x.b, x.b->transpose(x.v, std::move(axes))}; }
inline Term broadcast(Term x, ir::Shape shape, std::vector<int64_t> axes) { return {x.b, x.b->broadcast(x.v, std::move(shape), std::move(axes))}; }
inline Term reduce(ir::Op op, Term x, std::vector<int64_t> axes) { return {x.b, x.b->reduce(op, x.v, std::move(axes))}; }
inline Term contract(std::string spec, Term x, Term y, ir::Precision precision = ir::Precision::f32) { return {x.b, x.b->contract(std::move(spec), x.v, y.v, precision)}; }
inline Term iota(Term like, ir::ElementType element, int64_t axis) { return {like.b, like.b->iota({element, like.shape()}, axis)}; }

/// The axes of 0..rank that are not in `axes` (increasing).
inline std::vector<int64_t> other_axes(const std::vector<int64_t>& axes, int64_t rank) {
  std::vector<int64_t> others;
  size_t next = 0;
  for (int64_t axis = 0; axis < rank; ++axis)
    if (next < axes.size() && axes[next] == axis)
      ++next;
    else
      others.push_back(axis);
  return others;
}

inline std::vector<int64_t> inverse_permutation(const std::vector<int64_t>& axes) {
  std::vector<int64_t> inverse(axes.size());
  for (size_t i = 0; i < axes.size(); ++i) inverse[axes[i]] = static_cast<int64_t>(i);
  return inverse;
}

}  // namespace gradc::passes
