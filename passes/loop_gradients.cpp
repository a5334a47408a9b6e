// The gradient of a loop: a loop that runs the other way.
//
// A round of it takes the cotangents of the round's results (its own carries are the cotangents of the carries; those of outputs come in slices) to those of the
// body's inputs. What it needs of the forward round:
//   - slices and captures, which it reads as the forward loop did;
//   - the carries that the round began with: outputs of the forward loop (the plan gives carries and their stack one memory);
//   - results of products, reductions and dear maps: outputs, too. Cheap maps and views of all these are computed again. A loop that says `recompute` computes
//     everything again: its rounds are chunks of many steps (`checkpoint` in the language), and memory holds the carries between chunks, and one chunk.
// So the forward loop gets more outputs behind those it has. It is changed where it stands.
//
// The cotangent of a capture is a sum over rounds. Where a round's term is a product, such as the gradient of weights h^T dz, the factors are stacked and the
// sum is one product over rounds and batch, behind the loop; a sum (of a bias) likewise. Other terms are added up in a carry; so are all of a loop that says
// `recompute`: stacks would hold what it saves.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "ir/check.h"
#include "ir/loop.h"
#include "passes/autodiff.h"
#include "passes/fusion_groups.h"

namespace gradc::passes {
namespace {
using ir::Attr;
using ir::Builder;
using ir::Function;
using ir::Loop;
using ir::Node;
using ir::Op;
using ir::Value;

class LoopGradient {
 public:
  explicit LoopGradient(const Primal& p) : p_(p), loop_(p.node), round_(loop_.body()), inside_(round_), forward_count_(static_cast<uint32_t>(round_.size())), used_(loop_.inputs.size()) {}

  Cotangents run() {
    find_carries();
    differentiate_round();
    find_variation();
    for (size_t k = loop_.carries + loop_.slices; k < loop_.inputs.size(); ++k)
      if (cotangent_[k].valid()) split(k, cotangent_[k]);
    for (size_t k = 0; k < loop_.inputs.size(); ++k)
      if ((loop_.is_carry(k) || loop_.is_slice(k)) && cotangent_[k].valid()) need(cotangent_[k]);
    for (const auto& [capture, terms] : added_)
      for (Value term : terms) need(term);
    for (Value v : stacks_) {
      if (is_saved(v)) save(v);
      else need(v);
    }
    change_forward();
    return reverse();
  }

 private:
  const Primal& p_;
  const Loop loop_;
  Function round_;               // the body, and behind it the cotangents of a round
  Builder inside_;
  const uint32_t forward_count_;
  std::vector<bool> reached_;    // per input of the body: derivatives by a wanted operand go through it
  std::vector<bool> carried_;    // per carry: the reverse loop has its cotangent
  std::map<int64_t, Value> cotangent_in_;   // per result of the body: its cotangent, an input of the round
  std::vector<Value> cotangent_;            // per input of the body
  std::vector<bool> varies_;                // per value of the round: not the same in all rounds

  // Per capture: terms that are summed in a carry, and terms of which the sum is one expression over stacks.
  std::map<size_t, std::vector<Value>> added_, behind_;
  std::vector<Value> stacks_;         // values of a round that are wanted outside, stacked
  std::map<Value, int64_t> saved_;    // values of the forward round: which result of the forward loop holds them
  std::vector<Value> saved_order_;    // those that it did not give before
  std::set<Value> read_;              // of the saved ones: by the reverse round
  std::vector<bool> used_;            // inputs of the body that the reverse round reads
  std::set<Value> seen_;

  Value scan_;                        // the reverse loop
  std::map<Value, int64_t> stack_result_;
  std::map<int64_t, Value> forward_items_;

  const Node& node(Value v) const { return round_[v]; }
  // Of the body; or a result that the gradient of a loop inside has added to that.
  bool is_forward(Value v) const { return v.id < forward_count_ || (ir::is_item(node(v)) && node(v).operands[0].id < forward_count_); }
  Value part(int64_t index) const { return index < static_cast<int64_t>(p_.parts.size()) ? p_.parts[index] : Value{}; }
  int64_t results() const { return static_cast<int64_t>(loop_.body().results.size()); }
  Value result(int64_t k) const { return loop_.body().results[k].value; }
  // The input of the body that a value is.
  std::optional<size_t> input_of(Value v) const {
    auto in = std::find(loop_.inputs.begin(), loop_.inputs.end(), v);
    return in == loop_.inputs.end() ? std::nullopt : std::optional<size_t>(in - loop_.inputs.begin());
  }

  // Which values of the body depend on these inputs along a path with a derivative.
  std::vector<bool> depends(const std::vector<bool>& inputs) const {
    std::vector<bool> on(forward_count_);
    for (size_t k = 0; k < inputs.size(); ++k) on[loop_.inputs[k].id] = inputs[k];
    for (uint32_t i = 0; i < forward_count_; ++i) {
      const Node& n = round_.nodes[i];
      if (!ir::is_scan(n) && !ir::is_float(n.type.element)) continue;
      for (Value operand : n.operands) on[i] = on[i] || on[operand.id];
    }
    return on;
  }

  // Carries through which derivatives come from a wanted operand and go to a result with a cotangent.
  void find_carries() {
    reached_.resize(loop_.inputs.size());
    for (size_t k = 0; k < reached_.size(); ++k) reached_[k] = p_.wanted[k] && ir::is_float(round_.type(loop_.inputs[k]).element);
    for (bool grew = true; grew;) {
      grew = false;
      std::vector<bool> on = depends(reached_);
      for (int64_t c = 0; c < loop_.carries; ++c)
        if (!reached_[c] && on[result(c).id]) reached_[c] = grew = true;
    }
    carried_.resize(loop_.carries);
    for (int64_t c = 0; c < loop_.carries; ++c) carried_[c] = reached_[c] && part(c).valid();
    for (bool grew = true; grew;) {
      grew = false;
      for (int64_t c = 0; c < loop_.carries; ++c) {
        if (!reached_[c] || carried_[c]) continue;
        std::vector<bool> only(loop_.inputs.size());
        only[c] = true;
        std::vector<bool> on = depends(only);
        for (int64_t k = 0; k < results() && !carried_[c]; ++k)
          if (on[result(k).id] && (k < loop_.carries ? carried_[k] : part(k).valid())) carried_[c] = grew = true;
      }
    }
  }

  void differentiate_round() {
    std::vector<Seed> seeds;
    std::vector<bool> on = depends(reached_);
    inside_.loc = p_.b.loc;
    for (int64_t k = 0; k < results(); ++k) {
      if (!on[result(k).id] || (k < loop_.carries ? !carried_[k] : !part(k).valid())) continue;
      cotangent_in_[k] = inside_.input(fmt::format("d{}", k), round_.type(result(k)));
      seeds.push_back({result(k), cotangent_in_[k]});
    }
    std::vector<Value> targets;
    std::vector<size_t> of;
    for (size_t k = 0; k < loop_.inputs.size(); ++k)
      if (loop_.is_carry(k) ? carried_[k] : reached_[k]) targets.push_back(loop_.inputs[k]), of.push_back(k);
    std::vector<Value> made = pull_back(inside_, seeds, targets);
    cotangent_.resize(loop_.inputs.size());
    for (size_t i = 0; i < of.size(); ++i) cotangent_[of[i]] = made[i];
  }

  void find_variation() {
    varies_.resize(round_.size());
    for (uint32_t i = 0; i < round_.size(); ++i) {
      const Node& n = round_.nodes[i];
      std::optional<size_t> in = input_of(Value{i});
      varies_[i] = n.op == Op::input ? !in || loop_.is_carry(*in) || loop_.is_slice(*in) : n.op == Op::random;
      for (Value operand : n.operands) varies_[i] = varies_[i] || varies_[operand.id];
    }
  }

  // ---- captures

  // Whether the sum over rounds of v is one expression over stacks.
  bool sums_behind(Value v) const {
    const Node& n = node(v);
    if (is_forward(v) || loop_.recompute) return false;
    if (n.op == Op::contract || n.op == Op::reduce_sum) return true;
    return (is_view_of_stacks(n) || n.op == Op::neg) && sums_behind(n.operands[0]);
  }
  // Views that are taken of stacks.
  static bool is_view_of_stacks(const Node& n) { return n.op == Op::transpose || n.op == Op::reshape; }

  void split(size_t capture, Value v) {
    const Node& n = node(v);
    if (!loop_.recompute && n.op == Op::add && !is_forward(v)) {
      split(capture, n.operands[0]);
      split(capture, n.operands[1]);
    } else if (sums_behind(v)) {
      behind_[capture].push_back(v);
      want_stacks(v);
    } else {
      added_[capture].push_back(v);
    }
  }
  void want_stacks(Value v) {
    if (node(v).op != Op::contract && node(v).op != Op::reduce_sum) return want_stacks(node(v).operands[0]);
    for (Value operand : node(v).operands) want_stack(operand);
  }
  void want_stack(Value v) {
    std::optional<size_t> in = input_of(v);
    if (!varies_[v.id] || (in && loop_.is_slice(*in))) return;
    if (is_view_of_stacks(node(v))) return want_stack(node(v).operands[0]);
    if (std::find(stacks_.begin(), stacks_.end(), v) == stacks_.end()) stacks_.push_back(v);
  }

  // ---- what the reverse round needs of the forward one

  // Whether it is an output of the forward loop rather than computed again.
  bool is_saved(Value v) const {
    const Node& n = node(v);
    if (auto in = input_of(v)) return loop_.is_carry(*in);
    if (!is_forward(v) || loop_.recompute || !varies_[v.id]) return false;
    if (n.op == Op::random || ir::is_item(n)) return true;
    return !ir::is_view(n.op) && n.op != Op::mark && n.op != Op::stop_gradient && (!ir::is_map(n.op) || expensive(n));
  }

  void need(Value root) {
    std::vector<Value> stack = {root};
    while (!stack.empty()) {
      Value v = stack.back();
      stack.pop_back();
      if (!seen_.insert(v).second) continue;
      if (is_saved(v)) save(v), read_.insert(v);
      else if (auto in = input_of(v)) used_[*in] = true;
      else stack.insert(stack.end(), node(v).operands.begin(), node(v).operands.end());
    }
  }

  void save(Value v) {
    if (saved_.contains(v)) return;
    for (int64_t k = loop_.carries; k < results(); ++k)
      if (result(k) == v) {
        saved_[v] = k;
        return;
      }
    saved_[v] = results() + static_cast<int64_t>(saved_order_.size());
    saved_order_.push_back(v);
  }

  // The forward loop with more outputs. Its round is taken from where loops inside may have been changed as this one is.
  void change_forward() {
    Function body;
    body.name = loop_.body().name;
    ir::Copier copy(round_, body);
    for (Value in : loop_.inputs) copy(in);
    body.results = loop_.body().results;
    for (ir::Result& r : body.results) r.value = copy(r.value);
    for (Value v : saved_order_) body.results.push_back({fmt::format("saved{}", body.results.size()), copy(v), false});
    p_.b.function.nodes[p_.y.v.id].attrs.set(Attr::body, std::make_shared<const Function>(std::move(body)));
  }

  // ---- the reverse loop

  Cotangents reverse() {
    Function body;
    body.name = loop_.body().name + ".back";
    Builder b(body);
    b.loc = p_.b.loc;
    ir::Copier copy(round_, body);
    std::vector<Value> carries, slices, captures;   // operands
    int count = 0;
    auto input = [&](const char* kind, const ir::Type& type) { return b.input(fmt::format("{}{}", kind, count++), type); };
    auto stands_for = [&](Value inside, const char* kind) { copy.replace(inside, input(kind, round_.type(inside))); };
    for (int64_t c = 0; c < loop_.carries; ++c) {
      if (!carried_[c]) continue;
      const ir::Type& type = round_.type(loop_.inputs[c]);
      carries.push_back(part(c).valid() ? part(c) : p_.b.constant(0, type));
      if (auto d = cotangent_in_.find(c); d != cotangent_in_.end()) stands_for(d->second, "d");
      else input("d", type);   // the round replaces it without a look
    }
    std::map<size_t, Value> sums;   // per capture
    for (const auto& [capture, terms] : added_) {
      carries.push_back(p_.b.constant(0, round_.type(loop_.inputs[capture])));
      sums[capture] = input("sum", round_.type(loop_.inputs[capture]));
    }
    for (const auto& [k, d] : cotangent_in_)
      if (k >= loop_.carries) slices.push_back(part(k)), stands_for(d, "d");
    for (size_t k = 0; k < loop_.inputs.size(); ++k)
      if (loop_.is_slice(k) && used_[k]) slices.push_back(p_.node.operands[k]), stands_for(loop_.inputs[k], "x");
    for (Value v : read_) slices.push_back(forward(saved_.at(v))), stands_for(v, "saved");
    for (size_t k = loop_.carries + loop_.slices; k < loop_.inputs.size(); ++k)
      if (used_[k]) captures.push_back(p_.node.operands[k]), stands_for(loop_.inputs[k], "k");

    auto give = [&](Value v) {
      body.results.push_back({fmt::format("r{}", body.results.size()), v, false});
      return static_cast<int64_t>(body.results.size()) - 1;
    };
    std::map<size_t, int64_t> results;   // per operand
    for (int64_t c = 0; c < loop_.carries; ++c)
      if (carried_[c]) results[c] = give(cotangent_[c].valid() ? copy(cotangent_[c]) : b.constant(0, round_.type(loop_.inputs[c])));
    for (const auto& [capture, terms] : added_) {
      Value sum = sums[capture];
      for (Value term : terms) {
        Value more = copy(term);
        sum = b.make(Op::add, {sum, more});
      }
      results[capture] = give(sum);
    }
    auto output = [&](Value v) {
      auto [known, fresh] = stack_result_.try_emplace(v, 0);
      if (fresh) known->second = give(copy(v));
      return known->second;
    };
    for (size_t k = 0; k < loop_.inputs.size(); ++k)
      if (loop_.is_slice(k) && cotangent_[k].valid()) results[k] = output(cotangent_[k]);
    for (Value v : stacks_)
      if (!saved_.contains(v)) output(v);

    Cotangents cotangents(loop_.inputs.size());
    if (!body.results.empty()) {
      ir::LoopSpec spec{std::move(body), loop_.length, static_cast<int64_t>(carries.size()), static_cast<int64_t>(slices.size()), !loop_.backward, loop_.recompute, carries};
      spec.operands.insert(spec.operands.end(), slices.begin(), slices.end());
      spec.operands.insert(spec.operands.end(), captures.begin(), captures.end());
      scan_ = ir::make_scan(p_.b, std::move(spec));
    }
    for (const auto& [k, r] : results) cotangents[k] = ir::make_item(p_.b, scan_, r);
    for (const auto& [capture, terms] : behind_)
      for (Value term : terms) {
        Value whole = sum_of(term);
        Value& sum = cotangents[capture];
        sum = sum.valid() ? p_.b.make(Op::add, {sum, whole}) : whole;
      }
    return cotangents;
  }

  Value forward(int64_t result) {
    Value& made = forward_items_[result];
    if (!made.valid()) made = ir::make_item(p_.b, p_.y.v, result);
    return made;
  }

  // ---- expressions behind the loop

  // All rounds' values of v.
  Value stack_of(Value v) {
    if (auto in = input_of(v); in && loop_.is_slice(*in)) return p_.node.operands[*in];
    if (auto at = saved_.find(v); at != saved_.end()) return forward(at->second);
    if (auto at = stack_result_.find(v); at != stack_result_.end()) return ir::make_item(p_.b, scan_, at->second);
    CHECK(is_view_of_stacks(node(v)), "{} has no stack", ir::info(node(v).op).name);
    Value stack = stack_of(node(v).operands[0]);
    if (node(v).op == Op::reshape) return p_.b.reshape(stack, loop_.stacked(node(v).type).shape);
    std::vector<int64_t> axes = {0};
    for (int64_t axis : node(v).attrs.integers(Attr::axes)) axes.push_back(axis + 1);
    return p_.b.transpose(stack, axes);
  }
  // What is the same in all rounds.
  Value constant_of(Value v) {
    if (auto in = input_of(v)) return p_.node.operands[*in];
    Node n = node(v);
    for (Value& operand : n.operands) operand = constant_of(operand);
    return p_.b.function.append(std::move(n));
  }
  Value total(Value v) {
    if (varies_[v.id]) return p_.b.reduce(Op::reduce_sum, stack_of(v), {0});
    Value once = constant_of(v);
    return p_.b.make(Op::mul, {once, p_.b.like(static_cast<double>(loop_.length), once)});
  }

  // The sum over rounds.
  Value sum_of(Value v) {
    const Node& n = node(v);
    if (!varies_[v.id]) return total(v);
    if (n.op == Op::reduce_sum) {
      std::vector<int64_t> axes = {0};
      for (int64_t axis : n.attrs.integers(Attr::axes)) axes.push_back(axis + 1);
      return p_.b.reduce(Op::reduce_sum, stack_of(n.operands[0]), axes);
    }
    if (n.op != Op::contract) {
      Node view = n;
      view.operands = {sum_of(n.operands[0])};
      return p_.b.function.append(std::move(view));
    }
    ir::ContractSpec spec = std::get<ir::ContractSpec>(ir::ContractSpec::parse(n.attrs.text(Attr::spec)));
    const ir::Precision precision = ir::contract_precision(n.attrs);
    const bool a = varies_[n.operands[0].id], b = varies_[n.operands[1].id];
    if (!a || !b) {
      Value left = a ? total(n.operands[0]) : constant_of(n.operands[0]), right = b ? total(n.operands[1]) : constant_of(n.operands[1]);
      return p_.b.contract(spec.text(), left, right, precision);
    }
    char round = 'a';
    while ((spec.a + spec.b + spec.result).find(round) != std::string::npos) round = round == 'z' ? 'A' : static_cast<char>(round + 1);
    spec.a.insert(spec.a.begin(), round);
    spec.b.insert(spec.b.begin(), round);
    Value left = stack_of(n.operands[0]), right = stack_of(n.operands[1]);
    return p_.b.contract(spec.text(), left, right, precision);
  }
};
}  // namespace

Cotangents scan_gradient(const Primal& p) { return LoopGradient(p).run(); }

}  // namespace gradc::passes
