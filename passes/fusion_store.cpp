// Which values get buffers. A map group whose values are computed by their readers vanishes.
#include <algorithm>

#include "ir/loop.h"
#include "passes/filters.h"
#include "passes/fusion_groups.h"

namespace gradc::passes {
using namespace ir;

namespace {
// Why a value is stored although a map could be computed by whoever reads it: what follows its name in a dump.
namespace because {
constexpr std::string_view every_tile = "would be computed again for every tile of the product";
constexpr std::string_view every_element = "is dear, and would be computed again for every element of a larger kernel";
constexpr std::string_view every_reader = "is dear, and several kernels read it";
constexpr std::string_view scalars = "is a scalar, computed once a step";
constexpr std::string_view together = "reads many places, once";
constexpr std::string_view result = "is stored anyway: it is a result";
constexpr std::string_view awaited = "is what other kernels wait for";
constexpr std::string_view hero = "is what its kernel is for";
constexpr std::string_view loop = "is read in each round of a loop";
constexpr std::string_view lines = "turns filters round once, not for every line that they are applied to";
}  // namespace because

class Buffers {
 public:
  explicit Buffers(Groups& groups) : g_(groups), f_(groups.f) {}

  void run() {
    for (size_t g = 0; g < g_.all.size(); ++g)
      for (Value v : g_.all[g].nodes)
        for (Value operand : f_[v].operands)
          if (Value b = is_scan(f_[v]) ? operand : g_.base(operand); g_.of[b.id] >= 0 && g_.of[b.id] != static_cast<int>(g)) g_.readers[b.id].insert(static_cast<int>(g));
    for (const Node& node : f_.nodes)
      if (node.op == Op::after)
        if (Value token = g_.base(node.operands[1]); g_.of[token.id] >= 0 && g_.all[g_.of[token.id]].form == Form::map) keep(token, because::awaited);
    for (const Result& r : f_.results) {
      if (g_.of[r.value.id] >= 0) keep(r.value, because::result);
      else if (storable_result(r.value)) store_copy(r.value);
    }
    for (size_t g = 0, count = g_.all.size(); g < count; ++g) {
      if (g_.all[g].form != Form::loop) continue;
      const std::vector<Value> nodes = g_.all[g].nodes;
      for (Value v : nodes) {
        if (is_item(f_[v])) g_.stored[v.id] = true;
        else
          for (Value operand : f_[v].operands) {
            if (computes(f_[operand])) keep(operand, because::loop);
            else if (storable_result(operand)) copy_for(static_cast<int>(g), operand, because::loop);
          }
      }
    }
    for (size_t g = 0, count = g_.all.size(); g < count; ++g) {
      if (g_.all[g].form != Form::contract || g_.all[g].nodes.empty()) continue;
      for (Value operand : f_[g_.all[g].hero].operands)
        if (turned_filters(f_, f_[g_.all[g].hero], operand)) copy_for(static_cast<int>(g), operand, because::lines);
    }
    // From the last group to the first: a value that is computed by its readers makes what it reads theirs to read.
    std::vector<int> order = g_.sorted();
    for (size_t i = order.size(); i-- > 0;) {
      int g = order[i];
      std::vector<Value> nodes = g_.all[g].nodes;
      for (size_t k = nodes.size(); k-- > 0;) {
        Value v = nodes[k];
        if (g_.stored[v.id] || g_.readers[v.id].empty()) continue;
        if (std::string_view why = keep_apart(v, g); !why.empty()) keep(v, why);
        else inline_into_readers(v);
      }
    }
  }

 private:
  Groups& g_;
  const Function& f_;

  void keep(Value v, std::string_view why) {
    g_.stored[v.id] = true;
    if (g_.all[g_.of[v.id]].form == Form::map) g_.kept[v] = why;
  }

  bool is_contract_operand(Value v, int g) const {
    if (g_.all[g].form != Form::contract) return false;
    const Node& hero = f_[g_.all[g].hero];
    return g_.base(hero.operands[0]) == v || g_.base(hero.operands[1]) == v;
  }

  bool storable_result(Value v) const { return computes(f_[v]) || is_view(f_[v].op) || f_[v].op == Op::constant || f_[v].op == Op::iota; }

  // Why `v` of group g is stored rather than computed by its readers; "" if it need not be.
  std::string_view keep_apart(Value v, int g) const {
    const Group& group = g_.all[g];
    if (group.form != Form::map) return follows_stored(v, g) ? "" : because::hero;
    if (group.domain.empty()) return shifts_site(v) ? "" : because::scalars;
    if (is_reduce(f_[v].op)) return serves_its_elements(v) ? "" : because::together;
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
        if (Value b = g_.base(operand); g_.of[b.id] == g) stack.push_back(b);
    }
    for (int reader : g_.readers[v.id]) {
      if (is_contract_operand(v, reader)) return because::every_tile;
      if (costly && shape_size(g_.all[reader].domain) > 2 * size) return because::every_element;
    }
    // Later groups are decided: one that stores nothing has vanished into its own readers.
    auto stays = [&](int reader) { return std::any_of(g_.all[reader].nodes.begin(), g_.all[reader].nodes.end(), [&](Value node) { return g_.stored[node.id]; }); };
    return costly && std::count_if(g_.readers[v.id].begin(), g_.readers[v.id].end(), stays) > 1 ? because::every_reader : "";
  }

  // Whether a small reduction is read by one map kernel alone, about once for each element that it reduces (the gradient of pooling): then those elements
  // are together there.
  bool serves_its_elements(Value v) const {
    constexpr int64_t few = 16;
    const Node& node = f_[v];
    int64_t size = node.type.size(), reduced = f_.type(node.operands[0]).size();
    if (node.op == Op::fold || reduced > few * size) return false;
    const Group* reader = nullptr;
    for (int g : g_.readers[v.id]) {
      const Group& group = g_.all[g];
      if (std::none_of(group.nodes.begin(), group.nodes.end(), [&](Value other) { return g_.stored[other.id]; })) continue;   // it vanishes
      if (reader) return false;
      reader = &group;
    }
    return reader && reader->form == Form::map && shape_size(reader->domain) <= reduced &&
           std::none_of(reader->nodes.begin(), reader->nodes.end(), [&](Value other) { return is_reduce(f_[other].op); });
  }

  // The step of random numbers with their site added: as a value of its own it would have to be waited for.
  bool shifts_site(Value v) const {
    const Node& node = f_[v];
    return node.op == Op::add && std::all_of(node.operands.begin(), node.operands.end(), [&](Value operand) { return g_.of[operand.id] < 0; }) &&
           std::any_of(node.operands.begin(), node.operands.end(), [&](Value operand) { return f_[operand].op == Op::literal && f_.type(v).element == ElementType::i64; });
  }

  // Whether a value that rides with a hero is a cheap map of values that the same kernel stores for others anyway: a mask of a
  // layer's positive results, say, or 1 - y^2. Its readers then read those.
  bool follows_stored(Value v, int g) const {
    for (int reader : g_.readers[v.id])
      if (is_contract_operand(v, reader)) return false;
    return follows(v, g);
  }
  bool follows(Value v, int g) const {
    if (!is_map(f_[v].op) || expensive(f_[v])) return false;
    bool any = false;
    for (Value operand : f_[v].operands) {
      Value b = g_.base(operand);
      if (f_[b].op == Op::constant || f_[b].op == Op::iota) continue;
      if (g_.of[b.id] != g || f_[b].type.size() != f_[v].type.size()) return false;
      if (g_.readers[b.id].empty() && !g_.stored[b.id] && !follows(b, g)) return false;
      any = true;
    }
    return any;
  }

  void inline_into_readers(Value v) {
    std::vector<Value> stack = {v};
    while (!stack.empty()) {
      Value at = stack.back();
      stack.pop_back();
      for (Value operand : f_[at].operands) {
        Value b = g_.base(operand);
        if (g_.of[b.id] < 0) continue;
        g_.readers[b.id].insert(g_.readers[v.id].begin(), g_.readers[v.id].end());
        std::set<int> awaited = g_.awaited(operand);
        for (int reader : g_.readers[v.id]) g_.all[reader].needs.insert(awaited.begin(), awaited.end());
        for (int reader : g_.readers[v.id])
          if (reader != g_.of[b.id] && g_.of[b.id] != g_.of[v.id]) g_.all[reader].needs.insert(g_.of[b.id]);
      }
    }
  }

  void copy_for(int reader, Value view, std::string_view why) {
    store_copy(view);
    g_.copied.insert(view);
    g_.kept[view] = why;
    g_.readers[view.id].insert(reader);
    g_.all[reader].needs.insert(g_.of[view.id]);
  }

  void store_copy(Value v) {
    if (g_.stored[v.id]) return;
    g_.stored[v.id] = true;
    Group group;
    group.domain = g_.shape(v);
    group.nodes = {v};
    group.needs = g_.awaited(v);
    if (Value b = g_.base(v); g_.of[b.id] >= 0) {
      group.needs.insert(g_.of[b.id]);
      g_.readers[b.id].insert(static_cast<int>(g_.all.size()));
    }
    g_.of[v.id] = static_cast<int>(g_.all.size());
    g_.all.push_back(group);
  }

};
}  // namespace

void choose_buffers(Groups& groups) { Buffers(groups).run(); }

}  // namespace gradc::passes
