#include "passes/unit_axes.h"

#include <algorithm>
#include <numeric>

#include "ir/builder.h"
#include "ir/reduced_axes.h"
#include "passes/rules.h"

namespace gradc::passes {
using namespace ir;

namespace {
// Where each axis is among those that are longer than 1; -1 for others.
std::vector<int64_t> places(const Shape& shape) {
  std::vector<int64_t> place(shape.size(), -1);
  int64_t next = 0;
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1) place[i] = next++;
  return place;
}
Shape without_ones(Shape shape) {
  std::erase(shape, 1);
  return shape;
}

class Squeezer {
 public:
  explicit Squeezer(const Function& f) : f_(f), b_(out_), small_(f.size()), whole_(f.size()) {}

  Function run() {
    for (uint32_t i = 0; i < f_.size(); ++i) {
      b_.loc = f_.nodes[i].loc;
      if (Value made = squeezed(f_.nodes[i]); made.valid()) small_[i] = made;
      else whole_[i] = as_it_is(f_.nodes[i]);
    }
    out_.name = f_.name;
    for (const Result& r : f_.results) out_.results.push_back({r.name, whole(r.value), r.write});
    return std::move(out_);
  }

 private:
  const Function& f_;
  Function out_;
  Builder b_;
  std::vector<Value> small_, whole_;   // per node: without axes of extent 1, and with them; at least one of the two

  Value small(Value v) {
    if (!small_[v.id].valid()) small_[v.id] = b_.reshape(whole_[v.id], without_ones(f_.type(v).shape));
    return small_[v.id];
  }
  Value whole(Value v) {
    if (!whole_[v.id].valid()) whole_[v.id] = b_.reshape(small_[v.id], f_.type(v).shape);
    return whole_[v.id];
  }

  Value as_it_is(Node node) {
    for (Value& operand : node.operands) operand = whole(operand);
    return out_.append(std::move(node));
  }

  // Invalid if the operation knows its axes otherwise.
  Value squeezed(Node node) {
    const Shape full = node.type.shape, shape = without_ones(full);
    if (is_map(node.op)) {
      for (Value& operand : node.operands) operand = small(operand);
    } else if (node.op == Op::random && !full.empty() && full[0] == 1) {
      return {};   // numbers are counted from row * elements per row: the first axis tells how many those are
    } else if (node.op == Op::random || node.op == Op::constant) {
      for (Value& operand : node.operands) operand = whole(operand);
      node.attrs.set(Attr::shape, shape);
    } else if (node.op == Op::reshape) {
      return b_.reshape(small(node.operands[0]), shape);
    } else if (node.op == Op::broadcast) {
      const std::vector<int64_t> place = places(full);
      const Shape& from = f_.type(node.operands[0]).shape;
      std::vector<int64_t> axes;
      for (size_t i = 0; i < from.size(); ++i)
        if (from[i] != 1) axes.push_back(place[node.attrs.integers(Attr::axes)[i]]);
      return b_.broadcast(small(node.operands[0]), shape, axes);
    } else if (node.op == Op::transpose) {
      const std::vector<int64_t> place = places(f_.type(node.operands[0]).shape);
      std::vector<int64_t> axes;
      for (int64_t axis : node.attrs.integers(Attr::axes))
        if (place[axis] >= 0) axes.push_back(place[axis]);
      return b_.transpose(small(node.operands[0]), axes);
    } else if (is_reduce(node.op) && node.op != Op::fold && node.op != Op::argmax) {
      const std::vector<int64_t> place = places(f_.type(node.operands[0]).shape);
      std::vector<int64_t> axes;
      for (int64_t axis : reduced_axes(node))
        if (place[axis] >= 0) axes.push_back(place[axis]);
      return axes.empty() ? small(node.operands[0]) : b_.reduce(node.op, small(node.operands[0]), axes);
    } else if (node.op == Op::windows || node.op == Op::fold) {
      // Axes beside those that windows slide along: [n, h, w, 1].
      const Shape& image = node.op == Op::fold ? full : f_.type(node.operands[0]).shape;
      const std::vector<int64_t> place = places(image);
      std::vector<int64_t> axes = node.attrs.integers(Attr::axes);
      for (int64_t& axis : axes) axis = place[axis];
      if (std::find(axes.begin(), axes.end(), -1) != axes.end()) return {};
      const Shape& seen = node.op == Op::fold ? f_.type(node.operands[0]).shape : full;   // [..., positions, window, ...]
      const auto first = static_cast<size_t>(node.attrs.integers(Attr::axes).front()), count = axes.size();
      Shape kept;
      for (size_t i = 0; i < seen.size(); ++i)
        if ((i >= first && i < first + 2 * count) || seen[i] != 1) kept.push_back(seen[i]);
      node.attrs.set(Attr::axes, axes);
      if (node.op == Op::fold) {
        node.operands[0] = b_.reshape(small(node.operands[0]), kept);
        node.attrs.set(Attr::shape, shape);
      } else {
        node.operands[0] = small(node.operands[0]);
        node.type.shape = kept;
        return b_.reshape(out_.append(std::move(node)), shape);
      }
    } else {
      return {};
    }
    node.type.shape = shape;
    return out_.append(std::move(node));
  }
};
}  // namespace

void drop_unit_axes(Function& f) {
  f = Squeezer(f).run();
  apply_rules(f, view_rules());
  f.prune();
}

void spread_single_channels(Function& f) {
  auto single = [](const Node& node) { return node.op == Op::fold && node.type.shape.back() == 1; };
  if (std::any_of(f.nodes.begin(), f.nodes.end(), single)) drop_unit_axes(f);
}

}  // namespace gradc::passes
