// Fusion of a function into kernels.
//
// Every node but views and plain sources belongs to one group, a group becomes one kernel:
//   1. Nodes are taken in order (fusion_groups.cpp). A contract, and a reduction that fits no open group, starts a group. A map joins
//      the group of one of its operands if it reads that group's values at its own index (trace) and if nothing else that it reads
//      depends on that group; otherwise it starts a map group. So the bias, the activation, its derivative and the optimizer's
//      update come to ride in the epilogue of the product before them, and softmax, cross-entropy and norms become one visit per
//      row: a reduction along rows also joins a kernel that reads the same rows already, and what rows alone read goes with them.
//   2. Scalar arithmetic on hyperparameters is one kernel of its own, run once a step.
//   3. What only a single group reads, or what is cheap, is computed where it is read (fusion_store.cpp); a map group that is left
//      with no reader vanishes. Operands of a contract are always stored: arithmetic there would be repeated for every tile.
//   4. A gather is an element of map and row kernels, which read what it gathers from at rows that they load (so that has to be complete); a scatter_add is a kernel.
//   5. A reduction whose lanes had better run along what it keeps (pooling, `fold`, means over positions: reduces_in_map) is an element of a map kernel. It is
//      stored if others read it, unless one map kernel reads it about once for each element that it reduces: the gradient of pooling.
//   5. A loop is a group of its own, of which each round is fused like a function.
// Views belong to whoever reads through them; `after` among them keeps the reader out of what it waits for, and becomes an edge between kernels. Each edge between two kernels has a reason, noted where the decision falls.
#include "passes/fusion.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "ir/builder.h"
#include "ir/check.h"
#include "ir/loop.h"
#include "passes/fusion_groups.h"
#include "passes/fusion_tiles.h"

namespace gradc::passes {
using namespace ir;

namespace {
void set_units(Kernel& kernel, const Group& group) {
  auto count = [&](size_t from, size_t to) { return std::accumulate(kernel.domain.begin() + from, kernel.domain.begin() + to, int64_t{1}, std::multiplies<>()); };
  size_t rank = kernel.domain.size();
  switch (kernel.form) {
    case Form::loop: break;
    case Form::row:
    case Form::pairs:
    case Form::contract:
    case Form::scatter:
      kernel.outer = group.outer;
      kernel.units = count(0, group.outer);
      if (group.parts > 0) {
        const Node& hero = kernel.body[kernel.hero];
        const ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(hero.attrs.text(Attr::spec)));
        const size_t summed = spec.a.find_first_not_of(spec.result);
        kernel.outer = group.parts, kernel.parts = count(0, group.parts);
        kernel.units = kernel.parts * kernel.body.type(hero.operands[0]).shape[summed];
      }
      break;
    case Form::column: {
      kernel.outer = group.outer;
      kernel.kept = group.kept;
      kernel.units = group.kept > 0 ? count(0, group.kept) : (count(group.outer, rank) + Kernel::column_block - 1) / Kernel::column_block;
      break;
    }
    case Form::map: {
      kernel.tile = choose_tile(kernel);
      if (!kernel.tile.empty()) {   // a unit: a tile, and everything along the lanes
        kernel.outer = static_cast<int64_t>(rank) - 1;
        for (size_t i = 0; i + 1 < rank; ++i) kernel.units *= (kernel.domain[i] + kernel.tile[i] - 1) / kernel.tile[i];
        break;
      }
      // Rows as units where they are long enough, so that a chain over the rows of a batch needs no barrier.
      int64_t size = count(0, rank);
      kernel.outer = rank >= 2 && size / kernel.domain[0] >= 64 ? 1 : 0;
      kernel.units = kernel.outer ? kernel.domain[0] : (size + Kernel::flat_block - 1) / Kernel::flat_block;
      break;
    }
  }
}

// The body of a group: its own nodes and what is computed where it is read.
class Outline {
 public:
  Outline(const Groups& groups, int g) : g_(groups), f_(groups.f), self_(g), builder_(call_.kernel.body) {}

  std::optional<KernelCall> run() {
    const Group& group = g_.all[self_];
    if (group.form == Form::loop) return loop();
    call_.kernel.form = group.form;
    call_.kernel.domain = group.domain;
    Function& body = call_.kernel.body;
    body.name = "kernel";
    for (Value v : group.nodes)
      if (g_.stored[v.id]) call_.results.push_back(v);
    if (call_.results.empty()) return std::nullopt;
    for (size_t i = 0; i < call_.results.size(); ++i) body.results.push_back({fmt::format("r{}", i), clone(call_.results[i]), false});
    for (Value v : call_.arguments) call_.cuts.push_back(cut(v));
    if (group.hero.valid()) call_.kernel.hero = done_.at(group.hero);
    if (group.form == Form::pairs) call_.kernel.result_layouts = {paired(group.domain, group.paired)};
    set_units(call_.kernel, group);
    return std::move(call_);
  }

 private:
  const Groups& g_;
  const Function& f_;
  int self_;
  KernelCall call_;
  Builder builder_;
  std::map<Value, Value> done_;

  Value clone(Value v) {
    if (auto it = done_.find(v); it != done_.end()) return it->second;
    const Node& node = f_[v];
    int owner = g_.of[v.id];
    // A stored view is a copy for its readers outside: in here it is a view of its base, which is what the groups' order knows about.
    bool buffer = node.op == Op::input || node.op == Op::variable || node.op == Op::literal || ((computes(node) || g_.copied.count(v)) && owner >= 0 && owner != self_ && g_.stored[v.id]);
    Value made;
    if (node.op == Op::after && !buffer) {
      wait_for(node.operands[1]);
      made = clone(node.operands[0]);
    } else if (buffer) {
      builder_.loc = node.loc;
      made = builder_.input(fmt::format("a{}", call_.arguments.size()), node.type);
      call_.arguments.push_back(v);
    } else {
      Node copy = node;
      std::optional<size_t> known = small_transform(f_, node);
      for (size_t i = 0; i < copy.operands.size(); ++i) copy.operands[i] = known == i ? call_.kernel.body.append(f_[node.operands[i]]) : clone(node.operands[i]);
      made = call_.kernel.body.append(std::move(copy));
    }
    done_[v] = made;
    return made;
  }

  // The body's kernels, and whose results of the loop are read.
  std::optional<KernelCall> loop() {
    const Group& group = g_.all[self_];
    const Node& scan = f_[group.nodes[0]];
    const Loop loop(scan);
    call_.kernel.form = Form::loop;
    call_.kernel.domain = group.domain;
    call_.kernel.body.name = loop.body().name;
    call_.arguments = scan.operands;
    call_.loop = std::make_shared<LoopCall>(LoopCall{loop.body(), fuse(loop.body()), {}, loop.length, loop.carries, loop.slices, loop.backward});
    for (size_t i = 1; i < group.nodes.size(); ++i) {
      call_.results.push_back(group.nodes[i]);
      call_.loop->results.push_back(f_[group.nodes[i]].attrs.integer(Attr::index));
    }
    call_.cuts.insert(call_.cuts.end(), call_.arguments.size(), "is read in each round");
    return std::move(call_);
  }

  // Any result of the kernel that computes a value stands for it.
  void wait_for(Value token) {
    for (; is_view(f_[token].op); token = f_[token].operands[0])
      if (f_[token].op == Op::after) wait_for(f_[token].operands[1]);
    int owner = g_.of[token.id];
    if (owner < 0 || owner == self_) return;
    for (Value v : g_.all[owner].nodes)
      if (g_.stored[v.id]) {
        if (std::find(call_.waits.begin(), call_.waits.end(), v) == call_.waits.end()) call_.waits.push_back(v);
        return;
      }
  }

  // Why `v`, a value of another group, is not computed in this kernel, or this kernel not in that one: what its first reader met.
  std::string cut(Value v) const {
    int owner = g_.of[v.id];
    if (owner < 0) return "";
    if (auto kept = g_.kept.find(v); kept != g_.kept.end()) return fmt::format("{} {}", info(f_[v].op).name, kept->second);
    std::string any;
    for (const auto& [node, made] : done_) {
      auto refused = g_.refused.find({owner, node});
      if (refused == g_.refused.end()) continue;
      std::string why = fmt::format("{} {}", info(f_[node].op).name, refused->second);
      for (Value operand : f_[node].operands)
        if (g_.base(operand) == v) return why;
      if (any.empty()) any = why;
    }
    return any.empty() ? "a result that is a view of another is copied" : any;
  }
};
}  // namespace

std::vector<KernelCall> fuse(const Function& f) {
  Doing doing(fmt::format("fusing {}", f.name));
  Groups groups(f);
  form_groups(groups);
  choose_buffers(groups);
  std::vector<KernelCall> calls;
  for (int g : groups.sorted())
    if (std::optional<KernelCall> call = Outline(groups, g).run()) calls.push_back(std::move(*call));
  return calls;
}

}  // namespace gradc::passes
