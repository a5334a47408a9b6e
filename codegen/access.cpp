// The views of ops.def as index maps: from an element of the result to an element of the operand, a guard where there may be none.
#include "codegen/index.h"
#include "ir/check.h"
#include "ir/infer.h"
#include "ir/reshape_runs.h"

namespace gradc::codegen {
namespace {
using ir::Attr;
using At = std::span<const Index>;

// A guarded place: the guard is left out where it always holds.
void place(Access& access, IndexSpace& space, Index index, int64_t extent) {
  if (!space.range(index).within(extent)) access.guards.push_back({index, extent});
  access.at.push_back(std::move(index));
}
// index * by = numerator must have a solution.
void place_quotient(Access& access, IndexSpace& space, const Index& numerator, int64_t by, int64_t extent) {
  Index remainder = space.mod(numerator, by);
  if (!space.range(remainder).within(1)) access.guards.push_back({remainder, 1});
  place(access, space, space.div(numerator, by), extent);
}

// Runs of axes with as many elements on both sides go by themselves: places outside, which guards keep away, then stay outside along their own axis.
Access reshape(const ir::Node& view, const ir::Shape& operand, At at, IndexSpace& space) {
  const ir::Shape& shape = view.type.shape;
  Access result{IndexVector(operand.size()), {}};
  if (view.type.size() == 0) return {space.split(space.linear(at, shape), operand), {}};
  auto part = [](const ir::Shape& of, size_t first, size_t last) { return ir::Shape(of.begin() + static_cast<int64_t>(first), of.begin() + static_cast<int64_t>(last)); };
  for (const ir::ReshapeRun& run : ir::reshape_runs(shape, operand)) {
    Index place = space.linear(at.subspan(run.first, run.last - run.first), part(shape, run.first, run.last));
    IndexVector made = space.split(place, part(operand, run.other_first, run.other_last));
    std::copy(made.begin(), made.end(), result.at.begin() + static_cast<int64_t>(run.other_first));
  }
  return result;
}

Access transpose(const ir::Node& view, const ir::Shape& operand, At at, IndexSpace&) {
  Access result{IndexVector(at.size()), {}};
  const auto& axes = view.attrs.integers(Attr::axes);
  for (size_t i = 0; i < axes.size(); ++i) result.at[axes[i]] = at[i];
  return result;
}

Access broadcast(const ir::Node& view, const ir::Shape&, At at, IndexSpace&) {
  Access result;
  for (int64_t axis : view.attrs.integers(Attr::axes)) result.at.push_back(at[axis]);
  return result;
}

Access slice(const ir::Node& view, const ir::Shape&, At at, IndexSpace& space) {
  Access result;
  for (size_t i = 0; i < at.size(); ++i) result.at.push_back(space.add(space.scale(at[i], view.attrs.integers(Attr::stride)[i]), view.attrs.integers(Attr::start)[i]));
  return result;
}

Access pad(const ir::Node& view, const ir::Shape& operand, At at, IndexSpace& space) {
  Access result;
  result.fill = view.attrs.number(Attr::value);
  for (size_t i = 0; i < at.size(); ++i)
    place_quotient(result, space, space.sub(at[i], view.attrs.integers(Attr::low)[i]), view.attrs.integers(Attr::interior)[i] + 1, operand[i]);
  return result;
}

Access reverse(const ir::Node& view, const ir::Shape& operand, At at, IndexSpace& space) {
  Access result{{at.begin(), at.end()}, {}};
  for (int64_t axis : view.attrs.integers(Attr::axes)) result.at[axis] = space.sub(operand[axis] - 1, at[axis]);
  return result;
}

Access windows(const ir::Node& view, const ir::Shape& operand, At at, IndexSpace& space) {
  const auto& axes = view.attrs.integers(Attr::axes);
  Access result;
  result.fill = view.attrs.number(Attr::value);
  size_t first = axes.front(), count = axes.size();
  for (size_t i = 0; i < operand.size(); ++i) {
    if (i < first) result.at.push_back(at[i]);
    else if (i >= first + count) result.at.push_back(at[i + count]);
    else {
      size_t k = i - first;
      Index position = space.scale(at[i], view.attrs.integers(Attr::stride)[k]);
      Index offset = space.scale(at[i + count], view.attrs.integers(Attr::dilation)[k]);
      place(result, space, space.add(space.add(position, offset), -view.attrs.integers(Attr::low)[k]), operand[i]);
    }
  }
  return result;
}

// Kernels never have it: fusion makes it an edge between them (ir/kernel.h).
Access after(const ir::Node&, const ir::Shape&, At at, IndexSpace&) { return {{at.begin(), at.end()}, {}}; }

using Rule = Access (*)(const ir::Node&, const ir::Shape&, At, IndexSpace&);
#define RULE_map(name) nullptr
#define RULE_contract(name) nullptr
#define RULE_reduce(name) nullptr
#define RULE_index(name) nullptr
#define RULE_source(name) nullptr
#define RULE_gradient(name) nullptr
#define RULE_loop(name) nullptr
#define RULE_view(name) &name
constexpr Rule rules[] = {
#define OP(name, kind, operands, attributes, rule, traits, doc) RULE_##kind(name),
#include "ir/ops.def"
};
}  // namespace

Access access(const ir::Node& view, const ir::Shape& operand, At at, IndexSpace& space) {
  Rule rule = rules[static_cast<size_t>(view.op)];
  CHECK(rule, "{} is no view", ir::info(view.op).name);
  CHECK(at.size() == view.type.shape.size());
  return rule(view, operand, at, space);
}

IndexVector gather_index(const ir::Node& gather, int64_t rank, At at) {
  const int64_t axis = gather.attrs.integer(Attr::axis), batch = gather.attrs.integer(Attr::batch);
  IndexVector index(at.begin(), at.begin() + batch);
  index.insert(index.end(), at.begin() + axis, at.begin() + axis + rank - batch);
  return index;
}

IndexVector gather_access(const ir::Node& gather, int64_t rank, At at, const Index& row) {
  const int64_t axis = gather.attrs.integer(Attr::axis), batch = gather.attrs.integer(Attr::batch);
  IndexVector from(at.begin(), at.begin() + axis);
  from.push_back(row);
  from.insert(from.end(), at.begin() + axis + rank - batch, at.end());
  return from;
}

Access fold_access(const ir::Node& fold, At at, At offset, IndexSpace& space) {
  const auto& axes = fold.attrs.integers(Attr::axes);
  const ir::Shape& shape = fold.type.shape;
  size_t first = axes.front(), count = axes.size();
  auto number = [&](Attr attr, size_t k) { return fold.attrs.integers(attr)[k]; };
  Access result;
  for (size_t i = 0; i < first; ++i) result.at.push_back(at[i]);
  for (size_t k = 0; k < count; ++k) {
    int64_t positions = ir::window_positions(shape[first + k], number(Attr::size, k), number(Attr::stride, k), number(Attr::dilation, k), number(Attr::low, k), number(Attr::high, k));
    Index numerator = space.sub(space.add(at[first + k], number(Attr::low, k)), space.scale(offset[k], number(Attr::dilation, k)));
    place_quotient(result, space, numerator, number(Attr::stride, k), positions);
  }
  result.at.insert(result.at.end(), offset.begin(), offset.end());
  result.at.insert(result.at.end(), at.begin() + first + count, at.end());
  return result;
}
}  // namespace gradc::codegen
