// Which operations share a kernel. Nodes are taken in order; each refusal is noted with its reason, so that a dump can say why an edge was cut.
#include "passes/fusion_groups.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "ir/check.h"
#include "ir/infer.h"
#include "ir/loop.h"
#include "ir/reduced_axes.h"
#include "passes/pairs.h"

namespace gradc::passes {
using namespace ir;

namespace {
// Why a node does not join the group of an operand: what follows its name in a dump.
namespace because {
constexpr std::string_view another_hero = "starts a kernel of its own, as every product does";
constexpr std::string_view pairs = "writes pairs, of two rows perhaps, in the order of products";
constexpr std::string_view sums_rows = "reduces across rows of the product, which different units compute";
constexpr std::string_view sums_columns = "reduces along a row, of which a tile of the product holds a part";
constexpr std::string_view reduces = "reduces other axes than that kernel";
constexpr std::string_view reduces_map = "reduces: maps join it, not it a map";
constexpr std::string_view shape = "has another shape";
constexpr std::string_view index = "reads at another index";
constexpr std::string_view several = "reads several elements for each of its own";
constexpr std::string_view circle = "also needs what later kernels make of it";
constexpr std::string_view waits = "waits for other kernels, so that their memory can be used again";
constexpr std::string_view rows_only = "is for reductions along rows alone, and goes with them";
constexpr std::string_view other_group = "rides in the kernel of another operand";
constexpr std::string_view transform = "with constants reads what it sums at other places";
constexpr std::string_view scatters = "starts a kernel of its own, in which who computes a row adds up what belongs to it";
constexpr std::string_view scattered = "reads rows whose sums are known when all indices have been seen";
constexpr std::string_view no_map = "is no map of it";
constexpr std::string_view loop = "is apart from loops, which run kernels of their own";
}  // namespace because

// An axis list without unit extents, for comparing shapes across reshapes that only add or drop them.
std::vector<int> long_axes(const Shape& shape) {
  std::vector<int> axes;
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1) axes.push_back(static_cast<int>(i));
  return axes;
}

class Former {
 public:
  explicit Former(Groups& groups) : g_(groups), f_(groups.f), users_(f_.users()), result_(f_.size()), for_rows_(f_.size()) {
    for (uint32_t i = 0; i < f_.size(); ++i)   // being waited for is no use
      if (f_.nodes[i].op == Op::after) std::erase(users_[f_.nodes[i].operands[1].id], Value{i});
    for (const Result& r : f_.results) result_[r.value.id] = true;
    for (size_t i = f_.size(); i-- > 0;) for_rows_[i] = read_by_rows_alone(Value{static_cast<uint32_t>(i)});
  }

  void run() {
    for (uint32_t i = 0; i < f_.size(); ++i)
      if (computes(f_.nodes[i])) assign(Value{i});
    merge_scalars();
  }

 private:
  Groups& g_;
  const Function& f_;
  std::vector<std::vector<Value>> users_;
  std::vector<bool> result_;     // per node: it is a result of the function
  std::vector<bool> for_rows_;   // per node: in the end reductions along rows read it, and nobody else

  std::optional<int64_t> paired(Value v) const { return result_[v.id] ? std::nullopt : paired_axis(f_, v, users_[v.id]); }

  bool in_map(const Node& node) const { return is_reduce(node.op) && reduces_in_map(f_, node); }
  bool row_reduction(const Node& node) const { return is_reduce(node.op) && !in_map(node) && trailing(node); }

  bool column_reduction(const Node& node) const { return is_reduce(node.op) && !in_map(node) && !trailing(node); }

  bool read_by_rows_alone(Value v) const {
    if (result_[v.id] || users_[v.id].empty()) return false;
    return std::all_of(users_[v.id].begin(), users_[v.id].end(),
                       [&](Value user) { return row_reduction(f_[user]) || ((is_map(f_[user].op) || is_view(f_[user].op)) && for_rows_[user.id]); });
  }

  // Whether a value of a product's group is stored whoever joins: someone reads it who never joins an epilogue.
  bool stored_anyway(Value v) const {
    return result_[v.id] || std::any_of(users_[v.id].begin(), users_[v.id].end(), [&](Value user) { return !is_map(f_[user].op) && !is_view(f_[user].op); });
  }

  // How a node reads its operand k: a gather finds its index at axes of its own and the row that this is of anywhere.
  Access read_of(const Node& node, size_t k) const {
    Access read = trace(f_, node.operands[k]);
    if (node.op != Op::gather) return read;
    if (k == 0) read.exact = false;
    const int64_t axis = node.attrs.integer(Attr::axis), batch = node.attrs.integer(Attr::batch);
    for (int& at : read.axes)
      if (at >= batch) at += static_cast<int>(axis - batch);
    return read;
  }

  // Whether a node of shape `reader` may read `access.base`, a value of the group, inside it.
  bool readable(const Group& group, const Access& access, const Shape& reader) const {
    if (!access.exact) return false;
    const Shape& base = g_.shape(access.base);
    auto identity = [&](size_t count) {
      for (size_t i = 0; i < count; ++i)
        if (access.axes[i] != static_cast<int>(i) && !(access.axes[i] == -1 && base[i] == 1)) return false;
      return true;
    };
    switch (group.form) {
      case Form::map:
      case Form::contract: return base == group.domain && reader == base && identity(base.size());
      case Form::column: return reader == base && identity(base.size());
      case Form::pairs:
      case Form::scatter:
      case Form::loop: return false;
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
      case Form::map: return (by_elements(node) || in_map(node)) && s == group.domain;
      case Form::contract: return is_map(node.op) && s == group.domain && group.parts == 0;
      case Form::pairs:
      case Form::scatter:
      case Form::loop: return false;
      case Form::column: {
        if (s != group.column_shape()) return false;
        return is_map(node.op) || (column_reduction(node) && g_.shape(node.operands[0]) == group.domain && reduced_axes(node).front() == group.kept);
      }
      case Form::row:
        if (by_elements(node)) return s == group.domain || s == group.outer_shape();
        if (is_reduce(node.op) && !in_map(node)) return g_.shape(node.operands[0]) == group.domain && s == group.outer_shape() && trailing(node);
        return false;
    }
    return false;
  }

  bool trailing(const Node& node) const {
    auto axes = reduced_axes(node);
    return axes.front() == f_.type(node.operands[0]).rank() - static_cast<int64_t>(axes.size());
  }

  // Why a node cannot be computed in a group at all; "" if it can.
  std::string_view misfit(const Group& group, const Node& node) const {
    if (fits(group, node)) return "";
    if (node.op == Op::scatter_add) return because::scatters;
    if (group.form == Form::scatter) return because::scattered;
    if (group.form == Form::loop || is_scan(node)) return because::loop;
    if (node.op == Op::contract) return small_transform(f_, node) ? because::transform : because::another_hero;
    if (is_reduce(node.op)) {
      if (in_map(node)) return because::several;
      if (group.form == Form::contract) return row_reduction(node) ? because::sums_columns : because::sums_rows;
      return group.form == Form::map ? because::reduces_map : because::reduces;
    }
    return by_elements(node) && (group.form != Form::contract || is_map(node.op)) ? because::shape : because::no_map;
  }

  // Why node v, which reads `reads` of the groups `from` and waits for the groups `awaited`, cannot join group g; "" if it can.
  std::string_view obstacle(int g, Value v, const std::vector<Access>& reads, const std::set<int>& from, const std::set<int>& awaited) const {
    const Node& node = f_[v];
    const Group& group = g_.all[g];
    if (paired(v)) return because::pairs;
    if (std::string_view why = misfit(group, node); !why.empty()) return why;
    for (const Access& read : reads) {
      if (g_.of[read.base.id] != g) continue;
      if (in_map(node)) return because::several;
      if (!readable(group, read, is_reduce(node.op) ? group.domain : node.type.shape)) return because::index;
      // A second result of a product would have to be stored for a row kernel that reads the first one, too.
      if (group.form == Form::contract && for_rows_[v.id] && stored_anyway(read.base)) return because::rows_only;
    }
    for (int other : from)
      if (other != g && g_.depends(other, g) && !serves_alone(other, g, v)) return because::circle;
    for (int other : awaited)
      if (g_.depends(other, g)) return because::waits;
    return "";
  }

  void assign(Value v) {
    const Node& node = f_[v];
    if (is_item(node)) return add(v, g_.of[node.operands[0].id], {}, {});
    std::vector<Access> reads;
    std::set<int> from, awaited;
    for (Value operand : node.operands) {
      awaited.merge(g_.awaited(operand));
      reads.push_back(read_of(node, reads.size()));
      if (int g = g_.of[reads.back().base.id]; g >= 0) from.insert(g);
    }
    // Groups with a hero first: a map group beside them can be computed where it is read.
    std::vector<int> candidates(from.rbegin(), from.rend());
    std::stable_partition(candidates.begin(), candidates.end(), [&](int g) { return g_.all[g].form != Form::map; });
    if (row_reduction(node) || column_reduction(node))
      if (std::optional<int> beside = reduced_beside(v); beside && !from.count(*beside)) candidates.push_back(*beside);
    int joined = -1;
    for (int g : candidates) {
      std::string_view why = joined >= 0 ? because::other_group : obstacle(g, v, reads, from, awaited);
      if (why.empty()) joined = g;
      else g_.refused[{g, v}] = why;
    }
    if (joined < 0) {
      joined = static_cast<int>(g_.all.size());
      g_.all.push_back(fresh(v));
    }
    for (auto it = from.begin(); it != from.end();)
      if (int other = *it++; other != joined && g_.depends(other, joined)) absorb(other, joined), from.erase(other);
    add(v, joined, from, awaited);
    if (g_.all[joined].form == Form::map)
      for (int other : from) join_maps(joined, other);
  }

  // Whether map group `other` is for v alone, a reduction that joins column group g of which the maps read results: deviations from a mean that are squared and
  // summed. They are computed there, in the sweep over the same columns that comes after the mean's.
  bool serves_alone(int other, int g, Value v) const {
    const Group &maps = g_.all[other], &columns = g_.all[g];
    if (columns.form != Form::column || maps.form != Form::map || maps.domain != columns.domain || maps.waits) return false;
    for (int need : maps.needs)
      if (need != g && g_.depends(need, g)) return false;
    std::vector<Value> stack = maps.nodes;
    while (!stack.empty()) {
      Value at = stack.back();
      stack.pop_back();
      if (result_[at.id]) return false;
      for (Value user : users_[at.id]) {
        if (is_view(f_[user].op)) stack.push_back(user);
        else if (user != v && g_.of[user.id] != other) return false;
      }
    }
    return true;
  }

  void absorb(int other, int g) {
    Group gone = std::exchange(g_.all[other], {});
    for (Value node : gone.nodes) g_.of[node.id] = g;
    g_.all[g].nodes.insert(g_.all[g].nodes.end(), gone.nodes.begin(), gone.nodes.end());
    gone.needs.erase(g);
    g_.all[g].needs.merge(gone.needs);
  }

  // A kernel that reduces the same rows or columns and reads a tensor which the reduction's operand is computed from: one visit serves both. Columns: or one
  // whose results that operand is computed from (serves_alone).
  std::optional<int> reduced_beside(Value v) const {
    Group wanted = fresh(v);
    std::set<int> read;
    std::set<Value> roots = full_size_roots(f_[v].operands[0], wanted.domain, &read);
    for (int g = static_cast<int>(g_.all.size()); g-- > 0;) {
      const Group& group = g_.all[g];
      if (group.form != wanted.form || group.domain != wanted.domain || group.outer != wanted.outer || group.kept != wanted.kept) continue;
      if (group.form == Form::column && read.count(g)) return g;
      for (Value node : group.nodes)
        for (Value operand : f_[node].operands)
          for (Value root : full_size_roots(operand, wanted.domain))
            if (roots.count(root)) return g;
    }
    return std::nullopt;
  }

  // Tensors as large as a kernel's domain that a value reads through views and maps in map groups. `read`: groups of all others.
  std::set<Value> full_size_roots(Value v, const Shape& domain, std::set<int>* read = nullptr) const {
    std::set<Value> roots, seen;
    std::vector<Value> stack = {v};
    while (!stack.empty()) {
      Value at = g_.base(stack.back());
      stack.pop_back();
      if (!seen.insert(at).second) continue;
      const int g = g_.of[at.id];
      if (read && g >= 0) read->insert(g);
      if (g >= 0 && g_.all[g].form == Form::map && is_map(f_[at].op)) stack.insert(stack.end(), f_[at].operands.begin(), f_[at].operands.end());
      else if (f_[at].op != Op::constant && f_[at].op != Op::iota && f_[at].type.size() == shape_size(domain)) roots.insert(at);
    }
    return roots;
  }

  void add(Value v, int g, const std::set<int>& from, const std::set<int>& awaited) {
    g_.of[v.id] = g;
    g_.all[g].waits = g_.all[g].waits || !awaited.empty();
    g_.all[g].needs.insert(awaited.begin(), awaited.end());
    g_.all[g].nodes.push_back(v);
    for (int other : from)
      if (other != g) g_.all[g].needs.insert(other);
  }

  // Two map groups become one where a node of the first reads both in place: one visit to what both read.
  void join_maps(int into, int other) {
    const Group &first = g_.all[into], &second = g_.all[other];
    if (other == into || second.form != Form::map || second.domain != first.domain || first.domain.empty() || g_.depends(other, into)) return;
    for (int need : first.needs)
      if (need != other && g_.depends(need, other)) return;
    for (Value node : first.nodes)
      for (size_t k = 0; k < f_[node].operands.size(); ++k)
        if (Access read = read_of(f_[node], k); g_.of[read.base.id] == other && (in_map(f_[node]) || !readable(second, read, f_[node].type.shape))) return;
    Group gone = std::exchange(g_.all[other], {});
    for (Value node : gone.nodes) g_.of[node.id] = into;
    auto& nodes = g_.all[into].nodes;
    nodes.insert(nodes.end(), gone.nodes.begin(), gone.nodes.end());
    std::sort(nodes.begin(), nodes.end());
    g_.all[into].needs.insert(gone.needs.begin(), gone.needs.end());
    g_.all[into].waits = g_.all[into].waits || gone.waits;
    for (Group& group : g_.all)
      if (group.needs.erase(other)) group.needs.insert(into);
    g_.all[into].needs.erase(into);
    std::map<std::pair<int, Value>, std::string_view> refused;
    for (const auto& [edge, why] : g_.refused) refused[{edge.first == other ? into : edge.first, edge.second}] = why;
    g_.refused = std::move(refused);
  }

  Group fresh(Value v) const {
    const Node& node = f_[v];
    Group group;
    group.domain = node.type.shape;
    if (is_scan(node)) {
      group.form = Form::loop;
      group.domain = {node.attrs.integer(Attr::length)};
    } else if (small_transform(f_, node)) {
    } else if (node.op == Op::contract) {
      group.form = Form::contract;
      group.hero = v;
      group.outer = product_units(node);
      group.parts = result_[v.id] ? 0 : parts_of_sum(g_, users_[v.id], v);
    } else if (node.op == Op::scatter_add) {
      group.form = Form::scatter;
      group.hero = v;
      group.outer = node.attrs.integer(Attr::axis) + 1;
    } else if (std::optional<int64_t> axis = paired(v)) {
      group.form = Form::pairs;
      group.paired = *axis;
      group.outer = 1;
    } else if (is_reduce(node.op) && !in_map(node)) {
      group.domain = g_.shape(node.operands[0]);
      group.form = trailing(node) ? Form::row : Form::column;
      int64_t reduced = static_cast<int64_t>(reduced_axes(node).size());
      group.kept = group.form == Form::row ? 0 : reduced_axes(node).front();
      group.outer = group.form == Form::row ? static_cast<int64_t>(group.domain.size()) - reduced : group.kept + reduced;
    }
    return group;
  }

  // How many leading indices of a product units count: all but the last ones, which one operand has, or those before a batch index that follows others. So a row that is
  // multiplied by many matrices, one for each place of a Winograd tile, is one unit; and so is a long line of windows, which does not go on
  // in the next line.
  int64_t product_units(const Node& node) const {
    ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(node.attrs.text(Attr::spec)));
    auto batch = [&](char c) { return spec.a.find(c) != spec.a.npos && spec.b.find(c) != spec.b.npos; };
    int64_t most = std::max<int64_t>(node.type.rank() - 1, 0);
    auto beside_last = [&](char c) { return !batch(c) && (spec.a.find(c) != spec.a.npos) == (spec.a.find(spec.result.back()) != spec.a.npos); };
    if (!spec.result.empty() && !batch(spec.result.back()) && !std::all_of(spec.result.begin(), spec.result.end(), beside_last))
      while (most > 1 && beside_last(spec.result[most - 1])) --most;
    for (int64_t i = 1; i < most; ++i)
      if (batch(spec.result[i]) && !batch(spec.result[i - 1])) return i;
    constexpr int64_t long_line = 12;
    if (most >= 2 && spec.b.find(spec.result[most - 1]) == spec.b.npos && node.type.shape[most - 1] >= long_line && in_lines(node.operands[0], spec.a.find(spec.result[most - 1]))) return most - 1;
    return most;
  }

  // Whether that axis or the one before runs over windows that overlap, leave out or are padded.
  bool in_lines(Value v, size_t axis) const {
    while (f_[v].op == Op::reshape && f_[v].type.rank() <= f_.type(f_[v].operands[0]).rank()) v = f_[v].operands[0];
    if (f_[v].op != Op::windows) return false;
    auto of = [&](Attr attribute, size_t i) { return f_[v].attrs.integers(attribute)[i]; };
    const auto& axes = f_[v].attrs.integers(Attr::axes);
    for (size_t i = 0; i < axes.size(); ++i)
      if ((axes[i] == static_cast<int64_t>(axis) || axes[i] + 1 == static_cast<int64_t>(axis)) &&
          (of(Attr::size, i) > 1 || of(Attr::stride, i) > 1 || of(Attr::low, i) > 0 || of(Attr::high, i) > 0))
        return true;
    return false;
  }

  // All scalar groups that wait for no tensor become one.
  void merge_scalars() {
    std::vector<bool> scalar(g_.all.size());
    int first = -1;
    for (size_t g = 0; g < g_.all.size(); ++g) {   // groups that a scalar group needs and that are scalar come first
      scalar[g] = g_.all[g].form == Form::map && g_.all[g].domain.empty() && !g_.all[g].waits &&
                  std::all_of(g_.all[g].needs.begin(), g_.all[g].needs.end(), [&](int n) { return n < static_cast<int>(g) && scalar[n]; });
      if (!scalar[g]) continue;
      if (first < 0) {
        first = static_cast<int>(g);
        continue;
      }
      for (Value v : g_.all[g].nodes) g_.of[v.id] = first, g_.all[first].nodes.push_back(v);
      g_.all[g].nodes.clear();
    }
    if (first < 0) return;
    std::sort(g_.all[first].nodes.begin(), g_.all[first].nodes.end());
    g_.all[first].needs.clear();
    for (Group& group : g_.all) {
      std::set<int> needs;
      for (int n : group.needs) needs.insert(scalar[n] ? first : n);
      group.needs = needs;
      if (&group == &g_.all[first]) group.needs.clear();
    }
  }

};
}  // namespace

bool computes(const Node& node) { return !is_view(node.op) && (!is_source(node.op) || node.op == Op::random); }

bool by_elements(const Node& node) { return is_map(node.op) || node.op == Op::gather; }

bool expensive(const Node& node) {
  static const std::set<Op> ops = {Op::exp, Op::log, Op::log1p, Op::sin, Op::cos, Op::tanh, Op::erf,
                                   Op::sigmoid, Op::pow, Op::random, Op::div, Op::sqrt, Op::rsqrt};
  return !is_map(node.op) ? true : ops.count(node.op) > 0;
}

namespace {
constexpr int64_t narrow = 4;    // kept columns up to which lanes along a long reduction are better
constexpr int64_t few = 16;
int64_t product(const Shape& shape, int64_t first, int64_t limit) { return std::accumulate(shape.begin() + first, shape.begin() + limit, int64_t{1}, std::multiplies<>()); }
}  // namespace

bool sums_columns(const Function& f, const Node& node) {
  if (node.op != Op::reduce_sum) return false;
  for (Value v = node.operands[0]; is_view(f[v].op); v = f[v].operands[0])
    if (f[v].op == Op::windows) return false;
  const std::vector<int64_t> axes = reduced_axes(node);
  const Shape& from = f.type(node.operands[0]).shape;
  const bool neighbours = !axes.empty() && axes.back() - axes.front() + 1 == static_cast<int64_t>(axes.size());
  return neighbours && axes.front() > 0 && product(from, axes.front(), axes.back() + 1) > few && product(from, axes.back() + 1, static_cast<int64_t>(from.size())) > narrow;
}

bool reduces_in_map(const Function& f, const Node& node) {
  if (node.op == Op::fold) return true;
  const std::vector<int64_t> axes = reduced_axes(node);
  if (axes.empty()) return false;
  const Shape& from = f.type(node.operands[0]).shape;
  int64_t count = 1;
  for (int64_t axis : axes) count *= from[axis];
  for (Value v = node.operands[0]; is_view(f[v].op); v = f[v].operands[0])
    if (f[v].op == Op::windows && count <= few) return true;
  if (product(from, 0, axes.front()) == 1 || sums_columns(f, node)) return false;
  int64_t kept = product(from, axes.back() + 1, static_cast<int64_t>(from.size()));
  return kept > narrow || (kept > 1 && count <= few);
}

Value Groups::base(Value v) const {
  while (is_view(f[v].op)) v = f[v].operands[0];
  return v;
}

std::set<int> Groups::awaited(Value v) const {
  std::set<int> groups;
  for (; is_view(f[v].op); v = f[v].operands[0]) {
    if (f[v].op != Op::after) continue;
    Value token = f[v].operands[1];
    groups.merge(awaited(token));
    if (int g = of[base(token).id]; g >= 0) groups.insert(g);
  }
  return groups;
}

bool Groups::depends(int g, int on) const {
  std::vector<int> stack = {g};
  std::set<int> seen;
  while (!stack.empty()) {
    int at = stack.back();
    stack.pop_back();
    if (at == on) return true;
    if (!seen.insert(at).second) continue;
    stack.insert(stack.end(), all[at].needs.begin(), all[at].needs.end());
  }
  return false;
}

std::vector<int> Groups::sorted() const {
  std::vector<int> order, state(all.size(), 0);
  auto visit = [&](auto&& self, int g) -> void {
    if (state[g] == 2) return;
    CHECK(state[g] == 0, "kernels of {} depend on each other in a circle", f.name);
    state[g] = 1;
    for (int n : all[g].needs) self(self, n);
    state[g] = 2;
    order.push_back(g);
  };
  for (size_t g = 0; g < all.size(); ++g)
    if (!all[g].nodes.empty()) visit(visit, static_cast<int>(g));
  return order;
}

void form_groups(Groups& groups) { Former(groups).run(); }

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
    } else if (view.op == Op::after) {
      axes = access.axes;
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

}  // namespace gradc::passes
