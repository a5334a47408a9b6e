// Recomputation of activations (Griewank 1992; Chen et al. 2016, "Training deep nets with sublinear memory cost").
//
// Forward is what the loss needs; everything else is backward: cotangents, gradients, updates. The forward nodes, in their order, are cut into segments.
// A value of one segment that a later one reads is a checkpoint and stays. What else the backward pass reads is inner; that of the first segments is cloned, with the
// part of the segment that it needs. Small values and results of reductions (statistics) are never computed twice. Without clones, too, segments save memory: cotangents live
// for one segment instead of for the whole step, for the price of a few barriers.
//
// Each backward node has a stage: the lowest segment that it reads something inner of, directly or through other backward nodes; a variable in a product counts as what
// reads it in the forward pass, so that cotangents which read no activation (linear layers) have their place, too. Stages run from the last segment to
// the first: all that a stage takes from later ones, and what its clones start from, goes through `after` the ends of the stage before: gradients of parameters,
// the last readers of that stage's activations and cotangents. So memory holds the checkpoints, and one stage's activations and cotangents:
//
//   forward of all segments, cotangents of the last | its gradients | the segment before again, its cotangents | their gradients | ...
//
// The cuts: each segment is to hold an equal part of the bytes that the backward pass reads; within half a segment of there, the place counts where least
// lives that would not live anyway.
#include "passes/recompute.h"

#include <algorithm>
#include <map>

#include "ir/builder.h"
#include "ir/check.h"
#include "ir/reduced_axes.h"

namespace gradc::passes {
using namespace ir;

namespace {
constexpr int64_t small_part = 256;   // of all bytes that the backward pass reads: what is smaller is kept

class Recomputation {
 public:
  explicit Recomputation(const Function& f) : f_(f), builder_(out_) {}

  Segments run(Segments wanted) {
    const Result* loss = f_.result("loss");
    if (!loss || loss->write || wanted.all < 2) return {};
    mark_forward(loss->value);
    find_saved();
    if (saved_bytes_ == 0) return {};
    cut(wanted);
    if (last_ == 0) return {};
    find_stages();
    rebuild();
    return {last_ + 1, again_};
  }
  Function result() { return std::move(out_); }

 private:
  const Function& f_;
  Function out_;
  Builder builder_;
  std::vector<bool> forward_, saved_;     // saved: forward values that backward nodes read
  int64_t saved_bytes_ = 0, small_ = 0;
  std::vector<int> segment_, stage_;      // of forward nodes; of backward nodes
  std::vector<bool> inner_, kept_;        // forward values: of one segment alone; not computed again
  int last_ = 0, again_ = 0;              // the last segment; segments that are computed again
  std::vector<Value> map_;                // per node: itself in the new function
  std::vector<std::map<Value, Value>> clones_;                    // per segment
  std::vector<std::map<Value, Value>> late_;                      // per stage: values of other stages as that stage reads them
  std::vector<Value> ends_;                                       // per stage: what waits for its gradients; invalid if there are none

  Value base(Value v) const {
    while (is_view(f_[v].op)) v = f_[v].operands[0];
    return v;
  }
  bool computed(Value v) const { return !is_source(f_[v].op) || f_[v].op == Op::random; }
  int64_t bytes(Value v) const { return f_.type(v).bytes(); }

  void mark_forward(Value loss) {
    forward_.resize(f_.size());
    forward_[loss.id] = true;
    for (size_t i = f_.size(); i-- > 0;)
      if (forward_[i])
        for (Value operand : f_.nodes[i].operands) forward_[operand.id] = true;
  }

  void find_saved() {
    saved_.resize(f_.size());
    for (size_t i = 0; i < f_.size(); ++i) {
      if (forward_[i] || is_view(f_.nodes[i].op)) continue;
      for (Value operand : f_.nodes[i].operands)
        if (Value v = base(operand); forward_[v.id] && computed(v)) saved_[v.id] = true;
    }
    for (uint32_t i = 0; i < f_.size(); ++i)
      if (saved_[i]) saved_bytes_ += bytes(Value{i});
    small_ = saved_bytes_ / small_part;
  }

  // Statistics: much smaller than what they are made of.
  bool statistic(Value v) const { return is_reduce(f_[v].op) && f_.type(v).size() * 8 <= f_.type(f_[v].operands[0]).size(); }

  void cut(Segments wanted) {
    const int segments = wanted.all;
    // After each forward node: bytes saved so far, and bytes that live only because of a cut there.
    std::vector<size_t> last_reader(f_.size());
    std::vector<uint32_t> order;
    for (uint32_t i = 0; i < f_.size(); ++i) {
      if (!forward_[i]) continue;
      order.push_back(i);
      if (!is_view(f_.nodes[i].op))
        for (Value operand : f_.nodes[i].operands) last_reader[base(operand).id] = i;
    }
    struct Place {
      uint32_t node;
      int64_t before, width;
    };
    std::vector<Place> places;
    std::vector<uint32_t> live;
    int64_t before = 0;
    for (uint32_t i : order) {
      if (saved_[i] && bytes(Value{i}) > small_ && !statistic(Value{i})) before += bytes(Value{i});
      if (computed(Value{i}) && !is_view(f_.nodes[i].op)) live.push_back(i);
      std::erase_if(live, [&](uint32_t v) { return last_reader[v] <= i; });
      int64_t width = 0;
      for (uint32_t v : live) width += saved_[v] ? bytes(Value{v}) : 2 * bytes(Value{v});
      places.push_back({i, before, width});
    }
    std::vector<uint32_t> cuts;
    for (int c = 1; c < segments; ++c) {
      double wanted = static_cast<double>(before) * c / segments, reach = static_cast<double>(before) / segments / 2;
      const Place* best = nullptr;
      auto off = [&](const Place& p) { return std::abs(static_cast<double>(p.before) - wanted); };
      for (const Place& p : places)
        if (off(p) < reach && p.before > 0 && p.before < before && (cuts.empty() || p.node > cuts.back()))
          if (!best || std::pair(p.width, off(p)) < std::pair(best->width, off(*best))) best = &p;
      if (best) cuts.push_back(best->node);
    }
    segment_.assign(f_.size(), 0);
    for (uint32_t i : order) segment_[i] = static_cast<int>(std::lower_bound(cuts.begin(), cuts.end(), i) - cuts.begin());
    last_ = static_cast<int>(cuts.size());
    again_ = std::min(wanted.again, last_);
    inner_.assign(f_.size(), false);
    for (uint32_t i : order) {
      Value v{i};
      inner_[i] = computed(v) && bytes(v) > small_ && !statistic(v);
      if (!is_view(f_.nodes[i].op))
        for (Value operand : f_.nodes[i].operands)
          if (Value b = base(operand); segment_[b.id] < segment_[i]) inner_[b.id] = false;   // a checkpoint
    }
    kept_.resize(f_.size());
    for (uint32_t i : order) kept_[i] = !inner_[i] || segment_[i] >= again_;
  }

  void find_stages() {
    std::map<std::string, int> read_in;   // variables: the last segment that reads them
    for (uint32_t i = 0; i < f_.size(); ++i) {
      if (!forward_[i] || is_view(f_.nodes[i].op)) continue;
      for (Value operand : f_.nodes[i].operands)
        if (const Node& source = f_[base(operand)]; source.op == Op::variable) {
          int& at = read_in[source.attrs.text(Attr::name)];
          at = std::max(at, segment_[i]);
        }
    }
    stage_.assign(f_.size(), last_);
    for (uint32_t i = 0; i < f_.size(); ++i) {
      if (forward_[i]) continue;
      const Node& node = f_.nodes[i];
      for (Value operand : node.operands) {
        Value b = base(operand);
        int at = last_;
        if (!forward_[operand.id]) at = stage_[operand.id];
        else if (inner_[b.id]) at = segment_[b.id];
        // Cotangents on their way down, not updates: those belong to their gradients.
        if (auto read = f_[b].op == Op::variable && node.op == Op::contract ? read_in.find(f_[b].attrs.text(Attr::name)) : read_in.end(); read != read_in.end()) at = std::min(at, read->second);
        stage_[i] = std::min(stage_[i], at);
      }
    }
    // A product that one sum alone reads is fused with it, and rounded once: it stays with the sum.
    std::vector<std::vector<Value>> users = f_.users();
    for (uint32_t i = static_cast<uint32_t>(f_.size()); i-- > 0;) {
      if (forward_[i]) continue;
      // Small arithmetic on small values (norms, biases) holds no memory: it comes where it is needed, and keeps its order, on which the choice of kernels depends.
      const std::vector<Value>& operands = f_.nodes[i].operands;
      if (bytes(Value{i}) <= small_ && std::all_of(operands.begin(), operands.end(), [&](Value v) { return bytes(v) <= small_; })) {
        stage_[i] = 0;
        for (Value user : users[i]) stage_[i] = std::max(stage_[i], stage_[user.id]);
      }
      if (f_.nodes[i].op != Op::mul || users[i].size() != 1) continue;
      Value user = users[i][0];
      if (f_[user].op == Op::add || f_[user].op == Op::sub || f_[user].op == Op::reduce_sum) stage_[i] = std::min(stage_[i], stage_[user.id]);
    }
  }

  void rebuild() {
    out_.name = f_.name;
    map_.resize(f_.size());
    clones_.resize(last_ + 1);
    late_.resize(last_ + 1);
    ends_.resize(last_ + 2);
    for (uint32_t i = 0; i < f_.size(); ++i)
      if (forward_[i] || is_source(f_.nodes[i].op)) {
        Node node = f_.nodes[i];
        for (Value& operand : node.operands) operand = map_[operand.id];
        map_[i] = out_.append(std::move(node));
      }
    for (int s = last_; s >= 0; --s) {
      for (uint32_t i = 0; i < f_.size(); ++i) {
        if (forward_[i] || is_source(f_.nodes[i].op) || stage_[i] != s) continue;
        Node node = f_.nodes[i];
        for (Value& operand : node.operands) operand = read(operand, s);
        map_[i] = out_.append(std::move(node));
      }
      ends_[s] = gather(s);
      if (!ends_[s].valid()) ends_[s] = ends_[s + 1];
    }
    for (const Result& r : f_.results) out_.results.push_back({r.name, map_[r.value.id], r.write});
  }

  // An operand of a backward node of stage s.
  Value read(Value v, int s) {
    if (forward_[v.id]) return kept_[base(v).id] ? map_[v.id] : clone(v, segment_[base(v).id]);
    return is_source(f_[v].op) || stage_[v.id] == s ? map_[v.id] : wait(v, s);
  }

  // A value that is there when stage s begins, as what is to run within that stage reads it.
  Value wait(Value v, int s) {
    if (s == last_ || !ends_[s + 1].valid() || bytes(v) <= small_) return map_[v.id];
    Value& made = late_[s][v];
    if (!made.valid()) made = after(map_[v.id], s);
    return made;
  }
  Value after(Value x, int s) {
    builder_.loc = out_[x].loc;
    return builder_.make(Op::after, {x, ends_[s + 1]});
  }

  // A forward value of segment s, computed once more.
  Value clone(Value v, int s) {
    auto found = clones_[s].find(v);
    if (found != clones_[s].end()) return found->second;
    Node node = f_[v];
    bool changed = false;
    for (Value& operand : node.operands) {
      Value b = base(operand), was = map_[operand.id];
      if (!computed(b)) operand = f_[b].op == Op::input ? view_of(operand, s) : was;
      else if (kept_[b.id]) operand = view_of(operand, s);
      else operand = clone(operand, s);
      changed = changed || operand != was;
    }
    // What reads nothing that waits (random numbers) would run ahead.
    if (!changed && ends_[s + 1].valid() && s < last_ && !node.operands.empty()) node.operands[0] = after(node.operands[0], s), changed = true;
    node.loc.role = node.loc.known() ? Loc::Role::recomputation : node.loc.role;
    Value made = out_.append(std::move(node));
    clones_[s][v] = made;
    return made;
  }
  // A view of a value that waits.
  Value view_of(Value v, int s) {
    if (!is_view(f_[v].op)) return wait(v, s);
    Value from = view_of(f_[v].operands[0], s);
    if (from == map_[f_[v].operands[0].id]) return map_[v.id];
    Node node = f_[v];
    node.operands[0] = from;
    return out_.append(std::move(node));
  }

  // The products and sums of stage s that nothing else of it is computed from but maps: when they are done, its activations and cotangents are not needed any more.
  Value gather(int s) {
    std::vector<bool> inner(f_.size());   // another end is computed from it
    Value ends;
    for (uint32_t i = static_cast<uint32_t>(f_.size()); i-- > 0;) {
      if (forward_[i] || stage_[i] != s || is_source(f_.nodes[i].op)) continue;
      const Node& node = f_.nodes[i];
      bool sums = node.op == Op::contract || is_reduce(node.op);
      bool end = sums && !inner[i] && std::any_of(node.operands.begin(), node.operands.end(), [&](Value v) { return bytes(v) > small_; });
      if (end) ends = ends.valid() ? builder_.make(Op::after, {map_[i], ends}) : map_[i];
      if (end || inner[i])
        for (Value operand : node.operands) inner[operand.id] = true;
    }
    return ends;
  }
};
}  // namespace

Segments recompute(Function& f, Segments wanted) {
  Doing doing(fmt::format("cutting {} into {} segments", f.name, wanted.all));
  Recomputation recomputation(f);
  Segments made = recomputation.run(wanted);
  if (made.all == 1) return made;
  f = recomputation.result();
  f.prune();
  return made;
}

}  // namespace gradc::passes
