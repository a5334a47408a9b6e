// Fusion of a function into kernels.
//
// Every node but views and plain sources belongs to one group, a group becomes one kernel:
//   1. Nodes are taken in order. A contract, and a reduction that fits no open group, starts a group. A map joins the group of
//      one of its operands if it reads that group's values at its own index (trace) and if nothing else that it reads depends
//      on that group; otherwise it starts a map group. So the bias, the activation, its derivative and the optimizer's update
//      come to ride in the epilogue of the product before them, and softmax, cross-entropy and norms become one visit per row.
//   2. Scalar arithmetic on hyperparameters is one kernel of its own, run once a step.
//   3. What only a single group reads, or what is cheap, is computed where it is read; a map group that is left with no reader
//      vanishes. Operands of a contract are always stored: arithmetic there would be repeated for every tile.
// Views belong to whoever reads through them.
#include "passes/fusion.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "ir/builder.h"
#include "ir/check.h"
#include "ir/reduced_axes.h"

namespace gradc::passes {
using namespace ir;

namespace {

// An axis list without unit extents, for comparing shapes across reshapes that only add or drop them.
std::vector<int> long_axes(const Shape& shape) {
  std::vector<int> axes;
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1) axes.push_back(static_cast<int>(i));
  return axes;
}

bool computes(const Node& node) { return !is_view(node.op) && (!is_source(node.op) || node.op == Op::random); }

// Maps that cost more than the memory traffic of storing their result would.
bool expensive(const Node& node) {
  static const std::set<Op> ops = {Op::exp, Op::log, Op::log1p, Op::sin, Op::cos, Op::tanh, Op::erf,
                                   Op::sigmoid, Op::pow, Op::random, Op::div, Op::sqrt, Op::rsqrt};
  return !is_map(node.op) ? true : ops.count(node.op) > 0;
}

struct Group {
  Form form = Form::map;
  Shape domain;
  int64_t outer = 0;              // row: leading axes that count rows; column: leading axes that are summed
  Value hero;
  std::vector<Value> nodes;
  std::set<int> needs;            // groups that it reads from directly
  Shape outer_shape() const { return {domain.begin(), domain.begin() + outer}; }
};

class Fusion {
 public:
  explicit Fusion(const Function& f) : f_(f), group_of_(f.size(), -1) {}

  std::vector<KernelCall> run() {
    for (uint32_t i = 0; i < f_.size(); ++i)
      if (computes(f_.nodes[i])) assign(Value{i});
    merge_scalars();
    find_readers();
    std::vector<int> order = sorted_groups();
    std::vector<KernelCall> calls;
    for (int g : order)
      if (std::optional<KernelCall> call = outline(g)) calls.push_back(std::move(*call));
    return calls;
  }

 private:
  const Function& f_;
  std::vector<int> group_of_;
  std::vector<Group> groups_;
  std::vector<std::set<int>> readers_;   // per node: groups that read it, from outside its own
  std::vector<bool> stored_;             // per node: it has a buffer
  std::vector<Value> copies_;            // results that are views: stored by a map group of their own

  const Shape& shape(Value v) const { return f_.type(v).shape; }

  bool depends(int g, int on) const {
    std::vector<int> stack = {g};
    std::set<int> seen;
    while (!stack.empty()) {
      int at = stack.back();
      stack.pop_back();
      if (at == on) return true;
      if (!seen.insert(at).second) continue;
      stack.insert(stack.end(), groups_[at].needs.begin(), groups_[at].needs.end());
    }
    return false;
  }

  // Whether a node of shape `reader` may read `access.base`, a value of the group, inside it.
  bool readable(const Group& group, const Access& access, const Shape& reader) const {
    if (!access.exact) return false;
    const Shape& base = shape(access.base);
    auto identity = [&](size_t count) {
      for (size_t i = 0; i < count; ++i)
        if (access.axes[i] != static_cast<int>(i) && !(access.axes[i] == -1 && base[i] == 1)) return false;
      return true;
    };
    switch (group.form) {
      case Form::map:
      case Form::contract: return base == group.domain && reader == base && identity(base.size());
      case Form::column: return reader == base && identity(base.size());
      case Form::row:
        if (base == group.domain && reader == base) return identity(base.size());
        return base == group.outer_shape() && (reader == base || reader == group.domain) && identity(base.size());
    }
    return false;
  }

  // Whether a node of this shape could be computed in the group at all.
  bool fits(const Group& group, const Node& node) const {
    const Shape& s = node.type.shape;
    switch (group.form) {
      case Form::map: return is_map(node.op) && s == group.domain;
      case Form::contract: return is_map(node.op) && s == group.domain;
      case Form::column: return is_map(node.op) && s == Shape(group.domain.begin() + group.outer, group.domain.end());
      case Form::row:
        if (is_map(node.op)) return s == group.domain || s == group.outer_shape();
        if (is_reduce(node.op) && node.op != Op::fold) return shape(node.operands[0]) == group.domain && s == group.outer_shape() && trailing(node);
        return false;
    }
    return false;
  }

  bool trailing(const Node& node) const {
    auto axes = reduced_axes(node);
    return axes.front() == f_.type(node.operands[0]).rank() - static_cast<int64_t>(axes.size());
  }

  void assign(Value v) {
    const Node& node = f_[v];
    std::vector<Access> reads;
    std::set<int> from;
    for (Value operand : node.operands) {
      reads.push_back(trace(f_, operand));
      if (int g = group_of_[reads.back().base.id]; g >= 0) from.insert(g);
    }
    // Groups with a hero first: a map group beside them can be computed where it is read.
    std::vector<int> candidates(from.rbegin(), from.rend());
    std::stable_partition(candidates.begin(), candidates.end(), [&](int g) { return groups_[g].form != Form::map; });
    for (int g : candidates) {
      bool joins = fits(groups_[g], node);
      for (const Access& read : reads)
        if (group_of_[read.base.id] == g) joins = joins && readable(groups_[g], read, is_reduce(node.op) ? groups_[g].domain : node.type.shape);
      for (int other : from)
        if (other != g) joins = joins && !depends(other, g);
      if (!joins) continue;
      add(v, g, from);
      return;
    }
    groups_.push_back(fresh(v));
    add(v, static_cast<int>(groups_.size()) - 1, from);
  }

  void add(Value v, int g, const std::set<int>& from) {
    group_of_[v.id] = g;
    groups_[g].nodes.push_back(v);
    for (int other : from)
      if (other != g) groups_[g].needs.insert(other);
  }

  Group fresh(Value v) const {
    const Node& node = f_[v];
    Group group;
    group.domain = node.type.shape;
    if (node.op == Op::contract) {
      group.form = Form::contract;
      group.hero = v;
      group.outer = std::max<int64_t>(node.type.rank() - 1, 0);
    } else if (is_reduce(node.op) && node.op != Op::fold) {
      group.domain = shape(node.operands[0]);
      group.form = trailing(node) ? Form::row : Form::column;
      int64_t reduced = static_cast<int64_t>(reduced_axes(node).size());
      group.outer = group.form == Form::row ? static_cast<int64_t>(group.domain.size()) - reduced : reduced;
    }
    return group;
  }

  // All scalar groups that wait for no tensor become one.
  void merge_scalars() {
    std::vector<bool> scalar(groups_.size());
    int first = -1;
    for (size_t g = 0; g < groups_.size(); ++g) {   // groups that a scalar group needs and that are scalar come first
      scalar[g] = groups_[g].form == Form::map && groups_[g].domain.empty() &&
                  std::all_of(groups_[g].needs.begin(), groups_[g].needs.end(), [&](int n) { return n < static_cast<int>(g) && scalar[n]; });
      if (!scalar[g]) continue;
      if (first < 0) {
        first = static_cast<int>(g);
        continue;
      }
      for (Value v : groups_[g].nodes) group_of_[v.id] = first, groups_[first].nodes.push_back(v);
      groups_[g].nodes.clear();
    }
    if (first < 0) return;
    std::sort(groups_[first].nodes.begin(), groups_[first].nodes.end());
    groups_[first].needs.clear();
    for (Group& group : groups_) {
      std::set<int> needs;
      for (int n : group.needs) needs.insert(scalar[n] ? first : n);
      group.needs = needs;
      if (&group == &groups_[first]) group.needs.clear();
    }
  }

  // The values that are no views which `v` is computed from through views alone (v itself if it is none).
  Value base(Value v) const {
    while (is_view(f_[v].op)) v = f_[v].operands[0];
    return v;
  }

  bool is_contract_operand(Value v, int g) const {
    if (groups_[g].form != Form::contract) return false;
    const Node& hero = f_[groups_[g].hero];
    return base(hero.operands[0]) == v || base(hero.operands[1]) == v;
  }

  bool storable_result(Value v) const { return computes(f_[v]) || is_view(f_[v].op) || f_[v].op == Op::constant || f_[v].op == Op::iota; }

  // Decides which values get buffers; what does not is computed in every group that reads it.
  void find_readers() {
    readers_.resize(f_.size());
    stored_.assign(f_.size(), false);
    for (size_t g = 0; g < groups_.size(); ++g)
      for (Value v : groups_[g].nodes)
        for (Value operand : f_[v].operands)
          if (Value b = base(operand); group_of_[b.id] >= 0 && group_of_[b.id] != static_cast<int>(g)) readers_[b.id].insert(static_cast<int>(g));
    for (const Result& r : f_.results) {
      if (group_of_[r.value.id] >= 0) stored_[r.value.id] = true;
      else if (storable_result(r.value)) store_copy(r.value);
    }
    // From the last group to the first: a value that is computed by its readers makes what it reads theirs to read.
    std::vector<int> order = sorted_groups();
    for (size_t i = order.size(); i-- > 0;) {
      int g = order[i];
      auto& nodes = groups_[g].nodes;
      for (size_t k = nodes.size(); k-- > 0;) {
        Value v = nodes[k];
        if (stored_[v.id] || readers_[v.id].empty()) continue;
        if (keep_apart(v, g)) {
          stored_[v.id] = true;
          continue;
        }
        inline_into_readers(v);
      }
    }
  }

  bool keep_apart(Value v, int g) const {
    const Group& group = groups_[g];
    if (group.form != Form::map) return true;
    if (group.domain.empty()) return !shifts_site(v);
    if (f_[v].op == Op::fold) return true;
    int64_t size = f_.type(v).size();
    bool costly = false;
    std::vector<Value> stack = {v};
    std::set<Value> seen;
    while (!stack.empty()) {   // everything of its own group that it would take along
      Value at = stack.back();
      stack.pop_back();
      if (!seen.insert(at).second) continue;
      costly = costly || expensive(f_[at]);
      for (Value operand : f_[at].operands)
        if (Value b = base(operand); group_of_[b.id] == g) stack.push_back(b);
    }
    for (int reader : readers_[v.id]) {
      if (is_contract_operand(v, reader)) return true;
      if (costly && shape_size(groups_[reader].domain) > 2 * size) return true;
    }
    return costly && readers_[v.id].size() > 1;
  }

  // The step of random numbers with their site added: as a value of its own it would have to be waited for.
  bool shifts_site(Value v) const {
    const Node& node = f_[v];
    return node.op == Op::add && std::all_of(node.operands.begin(), node.operands.end(), [&](Value operand) { return group_of_[operand.id] < 0; }) &&
           std::any_of(node.operands.begin(), node.operands.end(), [&](Value operand) { return f_[operand].op == Op::literal && f_.type(v).element == ElementType::i64; });
  }

  void inline_into_readers(Value v) {
    std::vector<Value> stack = {v};
    while (!stack.empty()) {
      Value at = stack.back();
      stack.pop_back();
      for (Value operand : f_[at].operands) {
        Value b = base(operand);
        if (group_of_[b.id] < 0) continue;
        readers_[b.id].insert(readers_[v.id].begin(), readers_[v.id].end());
        for (int reader : readers_[v.id])
          if (reader != group_of_[b.id] && group_of_[b.id] != group_of_[v.id]) groups_[reader].needs.insert(group_of_[b.id]);
      }
    }
  }

  void store_copy(Value v) {
    if (stored_[v.id]) return;
    stored_[v.id] = true;
    Group group;
    group.domain = shape(v);
    group.nodes = {v};
    if (Value b = base(v); group_of_[b.id] >= 0) {
      group.needs.insert(group_of_[b.id]);
      readers_[b.id].insert(static_cast<int>(groups_.size()));
    }
    group_of_[v.id] = static_cast<int>(groups_.size());
    groups_.push_back(group);
  }

  std::vector<int> sorted_groups() const {
    std::vector<int> order, state(groups_.size(), 0);
    auto visit = [&](auto&& self, int g) -> void {
      if (state[g] == 2) return;
      CHECK(state[g] == 0, "kernels of {} depend on each other in a circle", f_.name);
      state[g] = 1;
      for (int n : groups_[g].needs) self(self, n);
      state[g] = 2;
      order.push_back(g);
    };
    for (size_t g = 0; g < groups_.size(); ++g)
      if (!groups_[g].nodes.empty()) visit(visit, static_cast<int>(g));
    return order;
  }

  std::optional<KernelCall> outline(int g) {
    const Group& group = groups_[g];
    KernelCall call;
    call.kernel.form = group.form;
    call.kernel.domain = group.domain;
    Function& body = call.kernel.body;
    body.name = "kernel";
    for (Value v : group.nodes)
      if (stored_[v.id]) call.results.push_back(v);
    if (call.results.empty()) return std::nullopt;

    Builder b(body);
    std::map<Value, Value> done;
    auto clone = [&](auto&& self, Value v) -> Value {
      if (auto it = done.find(v); it != done.end()) return it->second;
      const Node& node = f_[v];
      int owner = group_of_[v.id];
      // A stored view is a copy for its readers outside: in here it is a view of its base, which is what the groups' order knows about.
      bool buffer = node.op == Op::input || node.op == Op::variable || node.op == Op::literal || (computes(node) && owner >= 0 && owner != g && stored_[v.id]);
      Value made;
      if (buffer) {
        b.loc = node.loc;
        made = b.input(fmt::format("a{}", call.arguments.size()), node.type);
        call.arguments.push_back(v);
      } else {
        Node copy = node;
        for (Value& operand : copy.operands) operand = self(self, operand);
        made = body.append(std::move(copy));
      }
      done[v] = made;
      return made;
    };
    for (size_t i = 0; i < call.results.size(); ++i) body.results.push_back({fmt::format("r{}", i), clone(clone, call.results[i]), false});
    if (group.hero.valid()) call.kernel.hero = done.at(group.hero);
    set_units(call.kernel, group);
    return call;
  }

  static void set_units(Kernel& kernel, const Group& group) {
    auto count = [&](size_t from, size_t to) { return std::accumulate(kernel.domain.begin() + from, kernel.domain.begin() + to, int64_t{1}, std::multiplies<>()); };
    size_t rank = kernel.domain.size();
    switch (kernel.form) {
      case Form::row:
      case Form::contract:
        kernel.outer = group.outer;
        kernel.units = count(0, group.outer);
        break;
      case Form::column: {
        kernel.outer = group.outer;
        kernel.units = (count(group.outer, rank) + Kernel::column_block - 1) / Kernel::column_block;
        break;
      }
      case Form::map: {
        // Rows as units where they are long enough, so that a chain over the rows of a batch needs no barrier.
        int64_t size = count(0, rank);
        kernel.outer = rank >= 2 && size / kernel.domain[0] >= 64 ? 1 : 0;
        kernel.units = kernel.outer ? kernel.domain[0] : (size + Kernel::flat_block - 1) / Kernel::flat_block;
        break;
      }
    }
  }
};
}  // namespace

std::vector<KernelCall> fuse(const Function& f) {
  Doing doing(fmt::format("fusing {}", f.name));
  return Fusion(f).run();
}

Access trace(const Function& f, Value operand) {
  Access access{operand, true, {}};
  access.axes.resize(f.type(operand).rank());
  std::iota(access.axes.begin(), access.axes.end(), 0);
  while (is_view(f[access.base].op)) {
    const Node& view = f[access.base];
    Value source = view.operands[0];
    const Shape &to = view.type.shape, &from = f.type(source).shape;
    std::vector<int> axes(from.size(), -1);
    if (view.op == Op::transpose) {
      const auto& permutation = view.attrs.integers(Attr::axes);
      for (size_t i = 0; i < to.size(); ++i) axes[permutation[i]] = access.axes[i];
    } else if (view.op == Op::broadcast) {
      const auto& placed = view.attrs.integers(Attr::axes);
      for (size_t i = 0; i < from.size(); ++i) axes[i] = access.axes[placed[i]];
    } else if (view.op == Op::reshape && long_axes(to).size() == long_axes(from).size()) {
      std::vector<int> a = long_axes(to), b = long_axes(from);
      for (size_t i = 0; i < a.size(); ++i) {
        if (to[a[i]] != from[b[i]]) access.exact = false;
        axes[b[i]] = access.axes[a[i]];
      }
    } else {
      access.exact = false;
    }
    access.axes = axes;
    access.base = source;
  }
  return access;
}

void prepare_for_fusion(Function& f) {
  constexpr int64_t large = 1 << 14;   // elements from which a sum over everything is worth sharing
  constexpr int64_t narrow = 4;        // kept columns up to which lanes along the reduction are better
  Function out;
  out.name = f.name;
  Builder b(out);
  std::vector<Value> map(f.size());
  for (uint32_t i = 0; i < f.size(); ++i) {
    Node node = f.nodes[i];
    for (Value& operand : node.operands) operand = map[operand.id];
    b.loc = node.loc;
    if (node.op == Op::random) {   // the site as data (ir/philox.h): the same layer elsewhere has the same kernels
      int64_t site = node.attrs.integer(Attr::site);
      Value shift = b.literal({std::ldexp(static_cast<double>(site), 32)}, {ElementType::i64, {}});
      const Node& step = out[node.operands[1]];
      bool none = step.op == Op::constant && step.attrs.number(Attr::value) == 0;
      node.operands[1] = none ? shift : b.map(Op::add, {node.operands[1], shift});
      node.attrs.set(Attr::site, int64_t{0});
    }
    if (!is_reduce(node.op) || node.op == Op::fold) {
      map[i] = out.append(std::move(node));
      continue;
    }
    Value x = node.operands[0];
    const Shape shape = b.type(x).shape;
    int64_t rank = b.type(x).rank();
    std::vector<int64_t> axes = reduced_axes(node);
    int64_t count = static_cast<int64_t>(axes.size());
    if (count == 0) {
      map[i] = x;
      continue;
    }
    bool trailing = axes.front() == rank - count, leading = axes.back() == count - 1;
    if (trailing && count == rank && rank >= 2 && b.type(x).size() >= large) {
      std::vector<int64_t> inner(rank - 1);
      std::iota(inner.begin(), inner.end(), 1);
      map[i] = b.reduce(node.op, b.reduce(node.op, x, inner), {0});
      continue;
    }
    if (trailing || (leading && node.op != Op::argmax && node.op != Op::reduce_prod && node.type.size() > narrow)) {
      map[i] = out.append(std::move(node));
      continue;
    }
    std::vector<int64_t> order, last(count);
    for (int64_t axis = 0; axis < rank; ++axis)
      if (std::find(axes.begin(), axes.end(), axis) == axes.end()) order.push_back(axis);
    order.insert(order.end(), axes.begin(), axes.end());
    std::iota(last.begin(), last.end(), rank - count);
    x = b.transpose(x, order);
    map[i] = node.op == Op::argmax ? b.make(Op::argmax, {x}, {{Attr::axis, rank - 1}}) : b.reduce(node.op, x, last);
  }
  // One buffer, one value: what is written from a source, or is the value of two results, is copied; so is the old value of a
  // variable that is written.
  auto written = [&](const Node& node) {
    return node.op == Op::variable && std::any_of(f.results.begin(), f.results.end(), [&](const Result& r) { return r.write && r.name == node.attrs.text(Attr::name); });
  };
  std::set<Value> taken;
  for (const Result& r : f.results) {
    Value v = map[r.value.id];
    const Node source = out[v];
    bool plain = is_source(source.op) && source.op != Op::random;
    if (!taken.insert(v).second || (r.write && plain) || (!r.write && written(source))) {
      b.loc = source.loc;
      v = b.make(Op::reshape, {v}, {{Attr::shape, source.type.shape}});
    }
    out.results.push_back({r.name, v, r.write});
  }
  f = std::move(out);
}

}  // namespace gradc::passes
