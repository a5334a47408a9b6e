// One rule per operation, expanded from ops.def: where the samples of the operands run in the result.
#include "passes/sample_axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "ir/infer.h"
#include "ir/loop.h"

namespace gradc::passes {
namespace {
using ir::Attr;
using ir::Node;
using ir::Op;
using ir::Shape;
using Axes = std::vector<int64_t>;

// Per loop: where its results have their samples, or what is wrong in it.
struct LoopAxes {
  std::map<uint32_t, std::vector<SampleAxis>> of;
  std::optional<SampleError> mixed;
};
SampleAxes find(const ir::Function&, const Samples&, const std::vector<SampleAxis>* inputs);

struct Query {
  const ir::Function& f;
  const Node& node;
  const Samples& samples;
  const std::vector<SampleAxis>& of;
  const SampleAxis* given;   // of an input of a loop's body; else null
  LoopAxes& loops;
  uint32_t id;               // of the node

  SampleAxis x(size_t i) const { return of[node.operands[i].id]; }
  const Shape& shape(size_t i) const { return f.type(node.operands[i]).shape; }
  const Axes& list(Attr a) const { return node.attrs.integers(a); }
};

struct Outcome {
  SampleAxis axis;
  bool reduces = false;
  const char* mixes = nullptr;   // what is wrong, as the rest of a sentence that starts with "this"
};
Outcome at(SampleAxis axis) { return {axis}; }
Outcome moved(SampleAxis axis, int64_t to) { return {{to, axis.outer, axis.inner}}; }
Outcome mixes(const char* how) { return {{}, false, how}; }
constexpr Outcome reduced = {{}, true, nullptr};

namespace rules {
using Rule = Outcome (*)(const Query&);
#define RULE(name) Outcome name([[maybe_unused]] const Query& q)

// ---- maps: all operands that have samples have them at the same place
RULE(map) {
  SampleAxis axis;
  for (size_t i = 0; i < q.node.operands.size(); ++i) {
    if (!q.x(i).runs()) continue;
    if (axis.runs() && axis != q.x(i)) return mixes("combines samples with one another");
    axis = q.x(i);
  }
  return at(axis);
}
constexpr Rule neg = map, abs = map, sign = map, exp = map, log = map, log1p = map, sqrt = map, rsqrt = map, sin = map, cos = map, tanh = map, erf = map, sigmoid = map,
               floor = map, ceil = map, round = map, not_ = map, is_finite = map, cast = map, add = map, sub = map, mul = map, div = map, idiv = map, rem = map, pow = map, max = map, min = map,
               eq = map, ne = map, lt = map, le = map, gt = map, ge = map, and_ = map, or_ = map, select = map, mark = map, stop_gradient = map;

// ---- views
// In the flat index samples are a digit of weight `below`: the result axis that holds that digit whole has them.
RULE(reshape) {
  SampleAxis x = q.x(0);
  if (!x.runs()) return at(x);
  int64_t below = x.inner, rows = q.samples.rows;
  for (size_t i = x.axis + 1; i < q.shape(0).size(); ++i) below *= q.shape(0)[i];
  int64_t stride = 1;
  SampleAxis found;   // one alone, or with a single row the first
  for (int64_t axis = q.node.type.rank(); axis-- > 0;) {
    int64_t extent = q.node.type.shape[axis];
    if (stride <= below && below % stride == 0 && (stride * extent) % (below * rows) == 0) found = {axis, stride * extent / (below * rows), below / stride};
    stride *= extent;
  }
  return found.runs() ? at(found) : mixes("splits the sample axis");
}
RULE(transpose) {
  SampleAxis x = q.x(0);
  const Axes& axes = q.list(Attr::axes);
  return x.runs() ? moved(x, std::find(axes.begin(), axes.end(), x.axis) - axes.begin()) : at(x);
}
RULE(broadcast) {
  SampleAxis x = q.x(0);
  return x.runs() ? moved(x, q.list(Attr::axes)[x.axis]) : at(x);
}
RULE(slice) {
  SampleAxis x = q.x(0);
  if (x.runs() && q.node.type.shape[x.axis] != q.shape(0)[x.axis]) return mixes("takes some of the samples");
  return at(x);
}
RULE(pad) {
  SampleAxis x = q.x(0);
  if (x.runs() && q.node.type.shape[x.axis] != q.shape(0)[x.axis]) return mixes("pads the sample axis");
  return at(x);
}
RULE(reverse) {
  SampleAxis x = q.x(0);
  if (x.runs() && std::binary_search(q.list(Attr::axes).begin(), q.list(Attr::axes).end(), x.axis)) return mixes("reverses the sample axis");
  return at(x);
}
RULE(windows) {
  SampleAxis x = q.x(0);
  const Axes& axes = q.list(Attr::axes);
  if (!x.runs() || x.axis < axes.front()) return at(x);
  if (x.axis <= axes.back()) return mixes("slides a window over the sample axis");
  return moved(x, x.axis + static_cast<int64_t>(axes.size()));
}
RULE(after) { return at(q.x(0)); }
RULE(fold) {
  SampleAxis x = q.x(0);
  const Axes& axes = q.list(Attr::axes);
  if (!x.runs() || x.axis < axes.front()) return at(x);
  if (x.axis <= axes.back() + static_cast<int64_t>(axes.size())) return mixes("slides a window over the sample axis");
  return moved(x, x.axis - static_cast<int64_t>(axes.size()));
}

// ---- contract and reductions
RULE(contract) {
  auto spec = std::get<ir::ContractSpec>(ir::ContractSpec::parse(q.node.attrs.text(Attr::spec)));
  SampleAxis a = q.x(0), b = q.x(1);
  if (!a.runs() && !b.runs()) return at({});
  char index = a.runs() ? spec.a[a.axis] : spec.b[b.axis];
  SampleAxis axis = a.runs() ? a : b;
  if (a.runs() && b.runs() && (spec.b[b.axis] != index || a.outer != b.outer || a.inner != b.inner)) return mixes("multiplies samples with one another");
  size_t position = spec.result.find(index);
  return position == spec.result.npos ? reduced : moved(axis, static_cast<int64_t>(position));
}
RULE(reduce) {
  SampleAxis x = q.x(0);
  if (!x.runs()) return at(x);
  const Axes& axes = q.list(Attr::axes);
  auto behind = std::lower_bound(axes.begin(), axes.end(), x.axis);
  if (behind != axes.end() && *behind == x.axis) return reduced;
  return moved(x, x.axis - (behind - axes.begin()));
}
constexpr Rule reduce_sum = reduce, reduce_mean = reduce, reduce_max = reduce, reduce_min = reduce, reduce_prod = reduce;
RULE(argmax) {
  SampleAxis x = q.x(0);
  int64_t axis = q.node.attrs.integer(Attr::axis);
  if (x.axis == axis) return mixes("takes the position of the largest sample");
  return x.runs() ? moved(x, x.axis - (axis < x.axis)) : at(x);
}

// ---- index: samples of both operands are a batch axis, or those of one of them stay apart
RULE(gather) {
  const int64_t axis = q.node.attrs.integer(Attr::axis), batch = q.node.attrs.integer(Attr::batch), indices = static_cast<int64_t>(q.shape(1).size()) - batch;
  SampleAxis x = q.x(0), index = q.x(1);
  if (x.runs() && index.runs() && (x != index || x.axis >= batch)) return mixes("reads other samples by their numbers");
  if (x.axis == axis) return mixes("reads samples by their numbers");
  if (index.runs()) return index.axis < batch ? at(index) : moved(index, index.axis - batch + axis);
  return !x.runs() || x.axis < axis ? at(x) : moved(x, x.axis - 1 + indices);
}
RULE(scatter_add) {
  const int64_t axis = q.node.attrs.integer(Attr::axis), batch = q.node.attrs.integer(Attr::batch), indices = static_cast<int64_t>(q.shape(0).size()) - batch;
  SampleAxis index = q.x(0), x = q.x(1);
  if (index.runs() && index.axis >= batch) index.axis += axis - batch;   // where the updates have it
  if (index.runs() && x.runs() && index != x) return mixes("adds up values of one sample at the indices of another");
  SampleAxis samples = x.runs() ? x : index;
  if (!samples.runs() || samples.axis < axis) return at(samples);
  return samples.axis < axis + indices ? reduced : moved(samples, samples.axis - indices + 1);
}
// ---- loops: a carry has its samples where its first value or what becomes of it has them
RULE(scan) {
  const ir::Loop loop(q.node);
  std::vector<SampleAxis> inputs;
  for (size_t k = 0; k < loop.inputs.size(); ++k) {
    SampleAxis x = q.x(k);
    if (loop.is_slice(k) && x.runs() && x.axis-- == 0) return mixes("goes from sample to sample");
    inputs.push_back(x);
  }
  for (bool again = true; again;) {
    again = false;
    SampleAxes inside = find(loop.body(), q.samples, &inputs);
    if (inside.mixed) q.loops.mixed = inside.mixed;
    if (std::find(inside.reduces.begin(), inside.reduces.end(), true) != inside.reduces.end()) return mixes("takes sums over samples in its rounds");
    std::vector<SampleAxis>& results = q.loops.of[q.id];
    results.clear();
    for (size_t k = 0; k < loop.body().results.size(); ++k) {
      SampleAxis x = inside.of[loop.body().results[k].value.id];
      if (loop.is_carry(k) && x.runs() && inputs[k] != x) {
        if (inputs[k].runs()) return mixes("moves the samples of a carry to another axis");
        inputs[k] = x, again = true;
      }
      if (loop.is_carry(k)) x = inputs[k];
      else if (x.runs()) ++x.axis;
      results.push_back(x);
    }
  }
  return at({});
}
RULE(item) { return at(q.loops.of.at(q.node.operands[0].id)[q.node.attrs.integer(Attr::index)]); }

// ---- sources
RULE(independent) { return at({}); }
constexpr Rule constant = independent, literal = independent, iota = independent, variable = independent;
RULE(input) {
  if (q.given) return at(*q.given);
  const auto& names = q.samples.inputs;
  return at({std::find(names.begin(), names.end(), q.node.attrs.text(Attr::name)) == names.end() ? -1 : 0});
}
// Keyed by the row of the sample, unless that is a number.
RULE(random) { return at({q.f[q.node.operands[2]].op == Op::constant || q.node.type.rank() == 0 || q.node.type.shape[0] != q.samples.rows ? -1 : 0}); }
// The derivative by something has its samples where that has them.
RULE(grad) { return at(q.x(1)); }
#undef RULE

constexpr Rule table[] = {
#define OP(name, ...) name,
#include "ir/ops.def"
};
}  // namespace rules

SampleAxes find(const ir::Function& f, const Samples& samples, const std::vector<SampleAxis>* inputs) {
  SampleAxes axes;
  LoopAxes loops;
  size_t next = 0;
  for (uint32_t i = 0; i < f.size(); ++i) {
    const Node& node = f.nodes[i];
    const SampleAxis* given = inputs && node.op == Op::input ? &(*inputs)[next++] : nullptr;
    Outcome outcome = rules::table[static_cast<size_t>(node.op)]({f, node, samples, axes.of, given, loops, i});
    if (outcome.mixes && !loops.mixed) loops.mixed = {node.loc, fmt::format("this {}", outcome.mixes)};
    if (outcome.mixes && ir::is_scan(node)) loops.of[i].resize(node.attrs.function(Attr::body)->results.size());
    axes.of.push_back(outcome.axis);
    axes.reduces.push_back(outcome.reduces);
  }
  axes.mixed = loops.mixed;
  return axes;
}
}  // namespace

SampleAxes find_sample_axes(const ir::Function& f, const Samples& samples) { return find(f, samples, nullptr); }
}  // namespace gradc::passes
