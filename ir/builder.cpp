#include "ir/builder.h"

#include <algorithm>
#include <numeric>

#include "ir/check.h"

namespace gradc::ir {

Value Builder::make(Op op, std::span<const Value> operands, Attrs attrs) {
  std::vector<Type> types;
  for (Value v : operands) types.push_back(type(v));
  Inferred inferred = infer_type(op, types, attrs);
  auto* error = std::get_if<std::string>(&inferred);
  CHECK(!error, "{}", *error);
  return function.append({op, std::get<Type>(inferred), {operands.begin(), operands.end()}, std::move(attrs), loc});
}

std::optional<Shape> broadcast_shapes(std::span<const Shape> shapes) {
  size_t rank = 0;
  for (const Shape& s : shapes) rank = std::max(rank, s.size());
  Shape result(rank, 1);
  for (const Shape& s : shapes)
    for (size_t i = 0; i < s.size(); ++i) {
      int64_t& extent = result[rank - s.size() + i];
      if (s[i] == 1) continue;
      if (extent != 1 && extent != s[i]) return std::nullopt;
      extent = s[i];
    }
  return result;
}

Value Builder::map(Op op, std::initializer_list<Value> operands) {
  std::vector<Shape> shapes;
  for (Value v : operands) shapes.push_back(type(v).shape);
  std::optional<Shape> shape = broadcast_shapes(shapes);
  CHECK(shape.has_value(), "{} of shapes that do not broadcast", info(op).name);
  std::vector<Value> same;
  for (Value v : operands) same.push_back(broadcast_to(v, *shape));
  return make(op, same);
}

Value Builder::cast(Value v, ElementType element) {
  if (type(v).element == element) return v;
  return make(Op::cast, {v}, {{Attr::element, element}});
}

Value Builder::reshape(Value v, Shape shape) {
  if (type(v).shape == shape) return v;
  return make(Op::reshape, {v}, {{Attr::shape, std::move(shape)}});
}

Value Builder::transpose(Value v, std::vector<int64_t> axes) {
  if (std::is_sorted(axes.begin(), axes.end())) return v;
  return make(Op::transpose, {v}, {{Attr::axes, std::move(axes)}});
}

Value Builder::broadcast(Value v, Shape shape, std::vector<int64_t> axes) {
  if (type(v).shape == shape) return v;
  return make(Op::broadcast, {v}, {{Attr::shape, std::move(shape)}, {Attr::axes, std::move(axes)}});
}

Value Builder::broadcast_to(Value v, const Shape& shape) {
  const Shape from = type(v).shape;
  if (from == shape) return v;
  Shape kept;
  std::vector<int64_t> axes;
  for (size_t i = 0; i < from.size(); ++i) {
    size_t axis = shape.size() - from.size() + i;
    if (from[i] == 1 && shape[axis] != 1) continue;
    kept.push_back(from[i]);
    axes.push_back(static_cast<int64_t>(axis));
  }
  return broadcast(reshape(v, kept), shape, axes);
}

Value Builder::slice(Value v, std::vector<int64_t> start, std::vector<int64_t> limit, std::vector<int64_t> stride) {
  bool whole = limit == type(v).shape;
  for (size_t i = 0; i < start.size(); ++i) whole = whole && start[i] == 0 && stride[i] == 1;
  if (whole) return v;
  return make(Op::slice, {v}, {{Attr::start, std::move(start)}, {Attr::limit, std::move(limit)}, {Attr::stride, std::move(stride)}});
}

Value Builder::contract(std::string spec, Value a, Value b, Precision precision) { return make(Op::contract, {a, b}, contract_attrs(std::move(spec), precision)); }

Value Builder::reduce(Op op, Value v, std::vector<int64_t> axes) {
  if (axes.empty()) return v;
  return make(op, {v}, {{Attr::axes, std::move(axes)}});
}

Value Builder::constant(double value, Type t) {
  return make(Op::constant, {}, {{Attr::element, t.element}, {Attr::shape, t.shape}, {Attr::value, value}});
}
Value Builder::scalar(double value, ElementType element) { return constant(value, {element, {}}); }
Value Builder::like(double value, Value v) { return constant(value, type(v)); }
Value Builder::literal(std::vector<double> data, Type t) {
  return make(Op::literal, {}, {{Attr::element, t.element}, {Attr::shape, t.shape}, {Attr::data, std::make_shared<const Dense>(std::move(data))}});
}
Value Builder::iota(Type t, int64_t axis) {
  return make(Op::iota, {}, {{Attr::element, t.element}, {Attr::shape, t.shape}, {Attr::axis, axis}});
}
Value Builder::input(std::string name, Type t) {
  return make(Op::input, {}, {{Attr::name, std::move(name)}, {Attr::element, t.element}, {Attr::shape, t.shape}});
}
Value Builder::variable(std::string name, Type t) {
  return make(Op::variable, {}, {{Attr::name, std::move(name)}, {Attr::element, t.element}, {Attr::shape, t.shape}});
}
}  // namespace gradc::ir
