// One function per shape rule named in ops.def.
#include "ir/infer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "ir/graph.h"

namespace gradc::ir {

Shape gathered_shape(const Shape& from, const Shape& index, const Attrs& attrs) {
  const int64_t axis = attrs.integer(Attr::axis);
  Shape shape(from.begin(), from.begin() + axis);
  shape.insert(shape.end(), index.begin() + attrs.integer(Attr::batch), index.end());
  shape.insert(shape.end(), from.begin() + axis + 1, from.end());
  return shape;
}

namespace {
using Operands = std::span<const Type>;

template <typename... Args>
Inferred wrong(fmt::format_string<Args...> format, Args&&... args) {
  return fmt::format(format, std::forward<Args>(args)...);
}
Type with_shape(const Type& type, Shape shape) { return {type.element, std::move(shape)}; }

// ---- maps

Inferred same(Operands x, bool (*accepts)(ElementType), const char* wanted) {
  for (const Type& t : x) {
    if (!accepts(t.element)) return wrong("needs {}, got {}", wanted, to_string(t));
    if (t != x[0]) return wrong("operands differ: {} and {}", to_string(x[0]), to_string(t));
  }
  return x[0];
}
bool numeric(ElementType t) { return is_float(t) || is_integer(t); }
bool boolean(ElementType t) { return t == ElementType::boolean; }
bool any(ElementType) { return true; }

Inferred same_numeric(Operands x, const Attrs&) { return same(x, numeric, "numbers"); }
Inferred same_float(Operands x, const Attrs&) { return same(x, is_float, "floating-point numbers"); }
Inferred same_integer(Operands x, const Attrs&) { return same(x, is_integer, "integers"); }
Inferred same_bool(Operands x, const Attrs&) { return same(x, boolean, "bools"); }
Inferred same_any(Operands x, const Attrs&) { return x[0]; }

Inferred as_bool(Inferred operands) {
  if (auto* type = std::get_if<Type>(&operands)) type->element = ElementType::boolean;
  return operands;
}
Inferred to_bool(Operands x, const Attrs&) { return as_bool(same(x, is_float, "floating-point numbers")); }
Inferred compare(Operands x, const Attrs&) { return as_bool(same(x, numeric, "numbers")); }
Inferred compare_any(Operands x, const Attrs&) { return as_bool(same(x, any, "")); }
Inferred cast(Operands x, const Attrs& attrs) { return Type{attrs.element(Attr::element), x[0].shape}; }
Inferred select(Operands x, const Attrs&) {
  if (x[0].element != ElementType::boolean) return wrong("the condition is {}, not bool", to_string(x[0]));
  if (x[1] != x[2]) return wrong("the choices differ: {} and {}", to_string(x[1]), to_string(x[2]));
  if (x[0].shape != x[1].shape) return wrong("condition {} and choices {} differ in shape", to_string(x[0]), to_string(x[1]));
  return x[1];
}

// ---- views

Inferred reshape(Operands x, const Attrs& attrs) {
  const Shape& shape = attrs.integers(Attr::shape);
  if (shape_size(shape) != x[0].size()) return wrong("cannot reshape {} to {}: {} and {} elements", to_string(x[0]), to_string(shape), x[0].size(), shape_size(shape));
  return with_shape(x[0], shape);
}

Inferred transpose(Operands x, const Attrs& attrs) {
  const auto& axes = attrs.integers(Attr::axes);
  Shape shape;
  std::vector<bool> seen(x[0].rank());
  for (int64_t axis : axes) {
    if (axis < 0 || axis >= x[0].rank() || seen[axis]) return wrong("axes {} are no permutation for {}", to_string(axes), to_string(x[0]));
    seen[axis] = true;
    shape.push_back(x[0].shape[axis]);
  }
  if (static_cast<int64_t>(axes.size()) != x[0].rank()) return wrong("axes {} are no permutation for {}", to_string(axes), to_string(x[0]));
  return with_shape(x[0], shape);
}

// Checks that axes are increasing and inside the rank.
std::string axes_error(const std::vector<int64_t>& axes, int64_t rank) {
  for (size_t i = 0; i < axes.size(); ++i)
    if (axes[i] < 0 || axes[i] >= rank || (i > 0 && axes[i] <= axes[i - 1]))
      return fmt::format("axes {} are not increasing positions below {}", to_string(axes), rank);
  return "";
}

Inferred broadcast(Operands x, const Attrs& attrs) {
  const Shape& shape = attrs.integers(Attr::shape);
  const auto& axes = attrs.integers(Attr::axes);
  if (auto error = axes_error(axes, shape.size()); !error.empty()) return error;
  if (static_cast<int64_t>(axes.size()) != x[0].rank()) return wrong("{} axes for {}", axes.size(), to_string(x[0]));
  for (size_t i = 0; i < axes.size(); ++i)
    if (shape[axes[i]] != x[0].shape[i]) return wrong("cannot broadcast {} to {}: axis {} is {} there", to_string(x[0]), to_string(shape), axes[i], shape[axes[i]]);
  return with_shape(x[0], shape);
}

// The named per-axis lists must have one entry per axis.
std::string list_error(const Attrs& attrs, std::initializer_list<Attr> names, size_t count) {
  for (Attr name : names)
    if (attrs.integers(name).size() != count) return fmt::format("{} has {} entries, needs {}", attr_name(name), attrs.integers(name).size(), count);
  return "";
}

Inferred slice(Operands x, const Attrs& attrs) {
  if (auto error = list_error(attrs, {Attr::start, Attr::limit, Attr::stride}, x[0].rank()); !error.empty()) return error;
  Shape shape;
  for (int64_t i = 0; i < x[0].rank(); ++i) {
    int64_t start = attrs.integers(Attr::start)[i], limit = attrs.integers(Attr::limit)[i], stride = attrs.integers(Attr::stride)[i];
    if (start < 0 || limit < start || limit > x[0].shape[i] || stride < 1)
      return wrong("slice {}:{}:{} does not fit axis {} of {}", start, limit, stride, i, to_string(x[0]));
    shape.push_back((limit - start + stride - 1) / stride);
  }
  return with_shape(x[0], shape);
}

Inferred pad(Operands x, const Attrs& attrs) {
  if (auto error = list_error(attrs, {Attr::low, Attr::high, Attr::interior}, x[0].rank()); !error.empty()) return error;
  Shape shape;
  for (int64_t i = 0; i < x[0].rank(); ++i) {
    int64_t low = attrs.integers(Attr::low)[i], high = attrs.integers(Attr::high)[i], interior = attrs.integers(Attr::interior)[i];
    if (low < 0 || high < 0 || interior < 0) return wrong("padding {}, {}, {} of axis {} is negative", low, high, interior, i);
    int64_t extent = x[0].shape[i];
    shape.push_back(low + extent + std::max<int64_t>(extent - 1, 0) * interior + high);
  }
  return with_shape(x[0], shape);
}

Inferred reverse(Operands x, const Attrs& attrs) {
  if (auto error = axes_error(attrs.integers(Attr::axes), x[0].rank()); !error.empty()) return error;
  return x[0];
}

// The shape that windows gives for an operand of `shape`, or why not.
std::variant<Shape, std::string> windows_shape(const Shape& shape, const Attrs& attrs) {
  const auto& axes = attrs.integers(Attr::axes);
  if (auto error = axes_error(axes, shape.size()); !error.empty()) return error;
  if (axes.empty() || axes.back() - axes.front() + 1 != static_cast<int64_t>(axes.size())) return std::string("window axes must be consecutive");
  if (auto error = list_error(attrs, {Attr::size, Attr::stride, Attr::dilation, Attr::low, Attr::high}, axes.size()); !error.empty()) return error;
  Shape result(shape.begin(), shape.begin() + axes.front());
  for (size_t i = 0; i < axes.size(); ++i) {
    int64_t size = attrs.integers(Attr::size)[i], stride = attrs.integers(Attr::stride)[i], dilation = attrs.integers(Attr::dilation)[i];
    int64_t low = attrs.integers(Attr::low)[i], high = attrs.integers(Attr::high)[i];
    if (size < 1 || stride < 1 || dilation < 1 || low < 0 || high < 0) return fmt::format("window of size {}, stride {}, dilation {}, padding {}, {} makes no sense", size, stride, dilation, low, high);
    int64_t positions = window_positions(shape[axes[i]], size, stride, dilation, low, high);
    if (positions < 1) return fmt::format("a window of {} does not fit {} elements padded by {} and {}", dilation * (size - 1) + 1, shape[axes[i]], low, high);
    result.push_back(positions);
  }
  result.insert(result.end(), attrs.integers(Attr::size).begin(), attrs.integers(Attr::size).end());
  result.insert(result.end(), shape.begin() + axes.back() + 1, shape.end());
  return result;
}

Inferred windows(Operands x, const Attrs& attrs) {
  auto shape = windows_shape(x[0].shape, attrs);
  if (auto* error = std::get_if<std::string>(&shape)) return *error;
  return with_shape(x[0], std::get<Shape>(shape));
}

Inferred fold(Operands x, const Attrs& attrs) {
  auto shape = windows_shape(attrs.integers(Attr::shape), attrs);
  if (auto* error = std::get_if<std::string>(&shape)) return *error;
  if (std::get<Shape>(shape) != x[0].shape) return wrong("fold to {} needs {}, got {}", to_string(attrs.integers(Attr::shape)), to_string(std::get<Shape>(shape)), to_string(x[0]));
  if (!numeric(x[0].element)) return wrong("needs numbers, got {}", to_string(x[0]));
  return with_shape(x[0], attrs.integers(Attr::shape));
}

// ---- contract and reductions

Inferred contract(Operands x, const Attrs& attrs) {
  auto parsed = ContractSpec::parse(attrs.text(Attr::spec));
  if (auto* error = std::get_if<std::string>(&parsed)) return *error;
  const auto& spec = std::get<ContractSpec>(parsed);
  ElementType element = x[0].element;
  if (attrs.has(Attr::precision)) {
    auto precision = precision_from_name(attrs.text(Attr::precision));
    if (!precision || precision == Precision::f32) return wrong("precision is \"bf16\" or \"bf16x3\", or left out for f32; not \"{}\"", attrs.text(Attr::precision));
    for (const Type& operand : {x[0], x[1]})   // what is rounded already may also be stored so
      if (operand.element != ElementType::f32 && !(operand.element == ElementType::bf16 && precision == Precision::bf16))
        return wrong("operands of precision {} are f32, not {}", attrs.text(Attr::precision), element_name(operand.element));
    element = ElementType::f32;
  } else if (x[0].element != x[1].element || !is_float(element)) {
    return wrong("contracts {} with {}", to_string(x[0]), to_string(x[1]));
  }
  int64_t extents[128];
  std::fill(std::begin(extents), std::end(extents), -1);
  auto take = [&](const std::string& indices, const Type& type) -> std::string {
    if (static_cast<int64_t>(indices.size()) != type.rank()) return fmt::format("\"{}\" names {} indices of {}", indices, indices.size(), to_string(type));
    for (size_t i = 0; i < indices.size(); ++i) {
      int64_t& extent = extents[static_cast<unsigned char>(indices[i])];
      if (extent != -1 && extent != type.shape[i]) return fmt::format("index {} is {} and {} (contracting {} with {} by {})", indices[i], extent, type.shape[i], to_string(x[0]), to_string(x[1]), spec.text());
      extent = type.shape[i];
    }
    return "";
  };
  if (auto error = take(spec.a, x[0]); !error.empty()) return error;
  if (auto error = take(spec.b, x[1]); !error.empty()) return error;
  Shape shape;
  for (char c : spec.result) shape.push_back(extents[static_cast<unsigned char>(c)]);
  return Type{element, shape};
}

Inferred reduce_any(Operands x, const Attrs& attrs) {
  const auto& axes = attrs.integers(Attr::axes);
  if (auto error = axes_error(axes, x[0].rank()); !error.empty()) return error;
  Shape shape;
  for (int64_t i = 0; i < x[0].rank(); ++i)
    if (!std::binary_search(axes.begin(), axes.end(), i)) shape.push_back(x[0].shape[i]);
  return with_shape(x[0], shape);
}
Inferred reduce_numeric(Operands x, const Attrs& attrs) {
  if (!numeric(x[0].element)) return wrong("needs numbers, got {}", to_string(x[0]));
  return reduce_any(x, attrs);
}
Inferred reduce_float(Operands x, const Attrs& attrs) {
  if (!is_float(x[0].element)) return wrong("needs floating-point numbers, got {}", to_string(x[0]));
  return reduce_any(x, attrs);
}
Inferred reduce_index(Operands x, const Attrs& attrs) {
  int64_t axis = attrs.integer(Attr::axis);
  if (axis < 0 || axis >= x[0].rank()) return wrong("axis {} of {}", axis, to_string(x[0]));
  if (!numeric(x[0].element)) return wrong("needs numbers, got {}", to_string(x[0]));
  Shape shape = x[0].shape;
  shape.erase(shape.begin() + axis);
  return Type{ElementType::i32, shape};
}

// ---- index

// What is wrong with the axes of a gather from a tensor of shape `from` by an index; "" if nothing.
std::string index_error(const Shape& from, const Type& index, const Attrs& attrs) {
  const int64_t axis = attrs.integer(Attr::axis), batch = attrs.integer(Attr::batch), rank = static_cast<int64_t>(from.size());
  if (!is_integer(index.element)) return fmt::format("the index is {}, not of integers", to_string(index));
  if (axis < 0 || axis >= rank) return fmt::format("axis {} of {}", axis, to_string(from));
  if (batch < 0 || batch > axis || batch > index.rank()) return fmt::format("{} batch axes, with axis {} and the index {}", batch, axis, to_string(index));
  for (int64_t i = 0; i < batch; ++i)
    if (from[i] != index.shape[i]) return fmt::format("batch axis {} is {} and {}", i, from[i], index.shape[i]);
  return "";
}

Inferred gather(Operands x, const Attrs& attrs) {
  if (auto error = index_error(x[0].shape, x[1], attrs); !error.empty()) return error;
  return with_shape(x[0], gathered_shape(x[0].shape, x[1].shape, attrs));
}

Inferred scatter_add(Operands x, const Attrs& attrs) {
  const int64_t axis = attrs.integer(Attr::axis), batch = attrs.integer(Attr::batch), indices = x[0].rank() - batch;
  if (!numeric(x[1].element) || x[1].element == ElementType::bf16) return wrong("adds numbers of 32 bits and more, and bytes, not {}", to_string(x[1]));
  if (batch < 0 || indices < 0 || axis < batch || axis + indices > x[1].rank()) return wrong("axis {} with {} batch axes of index {} and updates {}", axis, batch, to_string(x[0]), to_string(x[1]));
  Shape shape = x[1].shape;
  shape.erase(shape.begin() + axis, shape.begin() + axis + indices);
  shape.insert(shape.begin() + axis, attrs.integer(Attr::extent));
  if (auto error = index_error(shape, x[0], attrs); !error.empty()) return error;
  if (Shape needed = gathered_shape(shape, x[0].shape, attrs); needed != x[1].shape) return wrong("index {} needs updates {}, got {}", to_string(x[0]), to_string(with_shape(x[1], needed)), to_string(x[1]));
  return with_shape(x[1], shape);
}

// ---- sources

Inferred constant(Operands, const Attrs& attrs) {
  Type type{attrs.element(Attr::element), attrs.integers(Attr::shape)};
  if (attrs.has(Attr::data) && static_cast<int64_t>(attrs.dense(Attr::data).size()) != type.size()) return wrong("{} elements given for {}", attrs.dense(Attr::data).size(), to_string(type));
  if (attrs.has(Attr::axis) && (attrs.integer(Attr::axis) < 0 || attrs.integer(Attr::axis) >= type.rank())) return wrong("axis {} of {}", attrs.integer(Attr::axis), to_string(type));
  return type;
}

Inferred random(Operands x, const Attrs& attrs) {
  for (const Type& t : x)
    if (t != Type{ElementType::i64, {}}) return wrong("seed, step and row are i64 scalars, got {}", to_string(t));
  const std::string& distribution = attrs.text(Attr::distribution);
  if (distribution != "uniform" && distribution != "normal") return wrong("no distribution \"{}\"", distribution);
  if (!is_float(attrs.element(Attr::element))) return wrong("random numbers are floating-point, not {}", element_name(attrs.element(Attr::element)));
  return constant({}, attrs);
}

// ---- loops

Inferred scan(Operands x, const Attrs& attrs) {
  const Function& body = *attrs.function(Attr::body);
  const int64_t length = attrs.integer(Attr::length), carries = attrs.integer(Attr::carries), slices = attrs.integer(Attr::slices);
  const std::vector<Value> inputs = body.inputs();
  const int64_t operands = static_cast<int64_t>(x.size()), results = static_cast<int64_t>(body.results.size());
  if (length < 1) return wrong("{} rounds", length);
  if (carries < 0 || slices < 0 || carries + slices > operands || static_cast<int64_t>(inputs.size()) != operands)
    return wrong("{} carries and {} slices among {} operands, of a body with {} inputs", carries, slices, operands, inputs.size());
  if (results < carries) return wrong("{} carries, but the body has {} results", carries, results);
  for (int64_t i = 0; i < operands; ++i) {
    Type expected = x[i];
    const bool slice = i >= carries && i < carries + slices;
    if (slice) {
      if (expected.rank() == 0 || expected.shape[0] != length) return wrong("{} is no stack of {} slices", to_string(expected), length);
      expected.shape.erase(expected.shape.begin());
    }
    if (body.type(inputs[i]) != expected) return wrong("input {} of the body is {}, but the operand gives {}", i, to_string(body.type(inputs[i])), to_string(expected));
    if (i < carries && body.type(body.results[i].value) != expected) return wrong("a carry is {}, but {} after a round", to_string(expected), to_string(body.type(body.results[i].value)));
  }
  for (const Node& node : body.nodes)
    if (node.op == Op::variable) return wrong("the body reads a variable: captures do that");
  for (const Result& r : body.results)
    if (r.write) return wrong("the body writes a variable");
  return Type{ElementType::boolean, {0}};
}
// What it is of is the verifier's to check: the operand's type says nothing.
Inferred item(Operands, const Attrs& attrs) { return Type{attrs.element(Attr::element), attrs.integers(Attr::shape)}; }

Inferred grad(Operands x, const Attrs&) {
  if (x[0].rank() != 0 || !is_float(x[0].element)) return wrong("only a floating-point scalar can be differentiated, not {}", to_string(x[0]));
  if (!is_float(x[1].element)) return wrong("there is no derivative by {}", to_string(x[1]));
  return x[1];
}

using Rule = Inferred (*)(Operands, const Attrs&);
constexpr Rule rules[] = {
#define OP(name, kind, operands, attributes, rule, traits, doc) &rule,
#include "ir/ops.def"
};
}  // namespace

int64_t window_positions(int64_t extent, int64_t size, int64_t stride, int64_t dilation, int64_t low, int64_t high) {
  int64_t room = extent + low + high - dilation * (size - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

std::variant<ContractSpec, std::string> ContractSpec::parse(std::string_view text) {
  size_t comma = text.find(','), arrow = text.find("->");
  if (comma == text.npos || arrow == text.npos || arrow < comma) return fmt::format("\"{}\" is not of the form \"ab,bc->ac\"", text);
  ContractSpec spec{std::string(text.substr(0, comma)), std::string(text.substr(comma + 1, arrow - comma - 1)), std::string(text.substr(arrow + 2))};
  for (const std::string* list : {&spec.a, &spec.b, &spec.result})
    for (size_t i = 0; i < list->size(); ++i) {
      char c = (*list)[i];
      if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) return fmt::format("index '{}' is not a letter", c);
      if (list->find(c, i + 1) != list->npos) return fmt::format("index {} occurs twice in \"{}\"", c, *list);
    }
  auto in = [](const std::string& list, char c) { return list.find(c) != list.npos; };
  for (char c : spec.result)
    if (!in(spec.a, c) && !in(spec.b, c)) return fmt::format("index {} of the result is in neither operand", c);
  for (char c : spec.a + spec.b)
    if (!in(spec.result, c) && !(in(spec.a, c) && in(spec.b, c))) return fmt::format("index {} is in one operand alone", c);
  return spec;
}

Precision contract_precision(const Attrs& attrs) { return attrs.has(Attr::precision) ? *precision_from_name(attrs.text(Attr::precision)) : Precision::f32; }
Attrs contract_attrs(std::string spec, Precision precision) {
  Attrs attrs = {{Attr::spec, std::move(spec)}};
  if (precision != Precision::f32) attrs.set(Attr::precision, std::string(precision_name(precision)));
  return attrs;
}

Inferred infer_type(Op op, std::span<const Type> operands, const Attrs& attrs) {
  const OpInfo& row = info(op);
  if (row.operands >= 0 && static_cast<int>(operands.size()) != row.operands) return wrong("{} takes {} operand{}, got {}", row.name, row.operands, row.operands == 1 ? "" : "s", operands.size());
  for (Attr attr : row.attributes)
    if (!attrs.has(attr) && !is_optional(attr)) return wrong("{} lacks attribute {}", row.name, attr_name(attr));
  Inferred result = rules[static_cast<size_t>(op)](operands, attrs);
  if (auto* error = std::get_if<std::string>(&result)) return fmt::format("{}: {}", row.name, *error);
  const Type& type = std::get<Type>(result);
  double size = 1;
  for (int64_t extent : type.shape) {
    if (extent < 0) return wrong("{}: negative extent in {}", row.name, to_string(type));
    size *= static_cast<double>(extent);
  }
  if (size > largest_size) return wrong("{}: {} has more than 2^48 elements", row.name, to_string(type));
  return result;
}
}  // namespace gradc::ir
