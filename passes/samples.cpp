// Masks and cuts at the reductions over samples that sample_axis.cpp finds.
#include "passes/samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "ir/check.h"
#include "passes/autodiff.h"
#include "passes/pass.h"
#include "passes/sample_axis.h"

namespace gradc::passes {
namespace {
using ir::Attr;
using ir::Builder;
using ir::ElementType;
using ir::Function;
using ir::Node;
using ir::Op;
using ir::Value;

constexpr double infinity = std::numeric_limits<double>::infinity();

// What a reduction makes of rows that are no samples, and how its values for two chunks become one.
struct ReduceRow {
  Op op;
  double neutral;
  std::optional<Combine> combine;
};
constexpr ReduceRow reductions[] = {
    {Op::reduce_sum, 0, Combine::add}, {Op::reduce_mean, 0, std::nullopt},         {Op::reduce_max, -infinity, Combine::max},
    {Op::reduce_min, infinity, Combine::min}, {Op::reduce_prod, 1, std::nullopt}, {Op::contract, 0, Combine::add},
    {Op::scatter_add, 0, Combine::add},
};
const ReduceRow& row_of(Op op) {
  auto row = std::find_if(std::begin(reductions), std::end(reductions), [&](const ReduceRow& r) { return r.op == op; });
  CHECK(row != std::end(reductions), "{} reduces samples in an unknown way", ir::info(op).name);
  return *row;
}

// Infinities of integer types are their ends.
double as_element(double value, ElementType element) {
  if (std::abs(value) != infinity || ir::is_float(element)) return value;
  if (element == ElementType::u8) return value < 0 ? 0 : 255;
  if (element == ElementType::i32) return value < 0 ? std::numeric_limits<int32_t>::min() : std::numeric_limits<int32_t>::max();
  // The largest i64 is no double: as near as doubles come.
  return value < 0 ? -0x1p63 : 0x1p63 - 1024;
}

class Masker {
 public:
  Masker(Builder& b, Value valid, int64_t rows) : b_(b), valid_(valid), rows_(rows) {}

  // x where its row is a sample, else neutral.
  Value masked(Value x, SampleAxis axis, double neutral) {
    const ir::Type type = b_.type(x);
    return b_.make(Op::select, {mask(type.shape, axis), x, b_.like(as_element(neutral, type.element), x)});
  }

 private:
  Value mask(const ir::Shape& shape, SampleAxis axis) {
    Value& row = rows_of_[{shape[axis.axis], axis.outer, axis.inner}];
    if (!row.valid()) {
      Term i{&b_, b_.iota({ElementType::i64, {shape[axis.axis]}}, 0)};
      if (axis.inner != 1) i = apply(Op::idiv, i, like(static_cast<double>(axis.inner), i));
      if (axis.outer != 1) i = apply(Op::rem, i, like(static_cast<double>(rows_), i));
      row = b_.make(Op::lt, {i.v, b_.broadcast(valid_, i.shape(), {})});
    }
    return b_.broadcast(row, shape, {axis.axis});
  }

  Builder& b_;
  Value valid_;
  int64_t rows_;
  std::map<std::tuple<int64_t, int64_t, int64_t>, Value> rows_of_;
};
}  // namespace

std::optional<SampleError> mask_samples(Function& f, const Samples& samples) {
  SampleAxes axes = find_sample_axes(f, samples);
  if (axes.mixed) return axes.mixed;
  Function to;
  to.name = f.name;
  Builder b(to);
  Value valid = b.input("valid", {ElementType::i64, {}});
  Masker masker(b, valid, samples.rows);
  std::vector<Value> map(f.size());
  for (uint32_t i = 0; i < f.size(); ++i) {
    Node node = f.nodes[i];
    b.loc = node.loc;
    std::vector<Value> operands;
    for (size_t k = 0; k < node.operands.size(); ++k) {
      Value x = map[node.operands[k].id];
      SampleAxis axis = axes.of[node.operands[k].id];
      if (axes.reduces[i] && axis.runs() && node.op == Op::scatter_add && k == 0) {   // an index that is none
        if (b.type(x).element == ElementType::u8) x = b.cast(x, ElementType::i32);
        operands.push_back(masker.masked(x, axis, -1));
        continue;
      }
      // Both operands of a contract are masked: 0 times a NaN of a row that is no sample would not be 0.
      operands.push_back(axes.reduces[i] && axis.runs() ? masker.masked(x, axis, row_of(node.op).neutral) : x);
    }
    if (axes.reduces[i] && node.op == Op::reduce_mean) {
      double others = static_cast<double>(f.type(node.operands[0]).size()) / static_cast<double>(node.type.size()) / static_cast<double>(samples.rows);
      Value sum = b.make(Op::reduce_sum, operands, node.attrs);
      Term count{&b, b.cast(valid, node.type.element)};
      if (others != 1) count = count * others;
      map[i] = b.make(Op::div, {sum, b.broadcast(count, node.type.shape, {})});
      continue;
    }
    if (node.op == Op::input && node.attrs.text(Attr::name) == "valid") {
      map[i] = valid;
      continue;
    }
    node.operands = operands;
    map[i] = to.append(std::move(node));
  }
  to.results = f.results;
  for (ir::Result& r : to.results) r.value = map[r.value.id];
  f = std::move(to);
  return std::nullopt;
}

std::variant<Split, SampleError> split_samples(const Function& whole, const Samples& samples) {
  Function f = whole;
  if (auto error = mask_samples(f, samples)) return *error;
  expand_gradients(f);
  SampleAxes axes = find_sample_axes(f, samples);
  if (axes.mixed) return *axes.mixed;

  // The cut: reductions over samples that the results need, not looking below them.
  std::vector<bool> needed(f.size()), cut(f.size()), below(f.size());
  for (const ir::Result& r : f.results) {
    if (axes.of[r.value.id].runs()) return SampleError{f[r.value].loc, fmt::format("\"{}\" has a value per sample: take their mean or sum", r.name)};
    needed[r.value.id] = true;
  }
  for (uint32_t i = f.size(); i-- > 0;) {
    const Node& node = f.nodes[i];
    if (needed[i] && axes.reduces[i]) cut[i] = true;
    for (Value operand : node.operands) {
      if (needed[i] && !cut[i]) needed[operand.id] = true;
      if (cut[i] || below[i]) below[operand.id] = true;
    }
  }
  // A chunk cannot know what comes of the others.
  for (uint32_t i = 0; i < f.size(); ++i) {
    if (below[i] && axes.reduces[i]) return SampleError{f.nodes[i].loc, "this is taken over all samples and then used for each of them: it cannot be computed in chunks"};
    if (cut[i] && !row_of(f.nodes[i].op).combine) return SampleError{f.nodes[i].loc, fmt::format("{} over samples cannot be computed in chunks", ir::info(f.nodes[i].op).name)};
  }

  Split split;
  split.accumulate.name = f.name;
  split.finish.name = f.name + ".finish";
  ir::Copier chunk(f, split.accumulate), end(f, split.finish);
  Builder accumulate(split.accumulate), finish(split.finish);
  // Inputs are the signature: the chunk keeps all of them, in order.
  for (uint32_t i = 0; i < f.size(); ++i)
    if (f.nodes[i].op == Op::input) chunk(Value{i});
  Value count = finish.input("count", {ElementType::f64, {}});
  if (Value valid = f.input("valid"); valid.valid()) end.replace(valid, finish.cast(count, ElementType::i64));
  for (uint32_t i = 0; i < f.size(); ++i) {
    if (!cut[i]) continue;
    const Node& node = f.nodes[i];
    accumulate.loc = finish.loc = node.loc;
    // Chunks are added in double precision: the number of samples is large.
    ElementType element = ir::is_float(node.type.element) ? ElementType::f64 : ElementType::i64;
    std::string name = fmt::format("r{}", split.combine.size());
    split.accumulate.results.push_back({name, accumulate.cast(chunk(Value{i}), element)});
    end.replace(Value{i}, finish.cast(finish.input(name, {element, node.type.shape}), node.type.element));
    split.combine.push_back(*row_of(node.op).combine);
  }
  for (const ir::Result& r : f.results) split.finish.results.push_back({r.name, end(r.value), r.write});
  return split;
}

std::optional<SampleError> check_rows(const Function& f, const Samples& samples, std::string_view place) {
  SampleAxes axes = find_sample_axes(f, samples);
  if (axes.mixed) return axes.mixed;
  std::vector<bool> needed(f.size());
  for (const ir::Result& r : f.results) needed[r.value.id] = true;
  for (uint32_t i = f.size(); i-- > 0;)
    if (needed[i])
      for (Value operand : f.nodes[i].operands) needed[operand.id] = true;
  for (uint32_t i = 0; i < f.size(); ++i)
    if (needed[i] && axes.reduces[i]) return SampleError{f.nodes[i].loc, fmt::format("this is taken over all samples: in {} each sample must be computed from itself alone", place)};
  for (const ir::Result& r : f.results)
    if (axes.of[r.value.id] != SampleAxis{0}) return SampleError{f[r.value].loc, fmt::format("\"{}\" does not have its samples along its first axis", r.name)};
  return std::nullopt;
}
}  // namespace gradc::passes
