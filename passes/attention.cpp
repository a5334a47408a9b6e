// Attention in memory that is linear in the length of the sequence (Dao et al. 2022, "FlashAttention"; Rabe and Staats 2021).
//
// No operation stands for attention: it is found by its shape. Scores are a product [batch..., q, k] of what has q and what has k, whose maps (scale, mask,
// exponentials) are reduced along k and multiplied by something that has k again. All values of that shape, `squares`, are as long as the square of the sequence. Two
// things keep them out of memory:
//
// Order. Products that read squares are written batch first, then q or k: "nhqk,nkhe->nqhe" becomes a transposition of "nhqk,nkhe->nhqe". So the units of all kernels
//   from scores to weighted sum are the rows (batch, q), one strand takes a block of rows through all of them, and squares that nobody else reads are local to a thread
//   (codegen/plan_places.cpp). Sums over q, the gradients of keys and values, add up block by block (Kernel::parts).
// Recomputation. The backward pass reads squares of the forward pass: the weights, in the gradients of values and of scores. It computes them again, from queries,
//   keys and the statistics of each row, in the strand that reads them; `after` keeps the two apart. Where squares are smaller than what they are made of they are kept.
#include "passes/attention.h"

#include <algorithm>
#include <map>
#include <set>

#include "ir/builder.h"
#include "ir/infer.h"
#include "ir/reduced_axes.h"
#include "passes/unit_axes.h"

namespace gradc::passes {
using namespace ir;

namespace {
bool has(const std::string& letters, char c) { return letters.find(c) != letters.npos; }
ContractSpec spec_of(const Node& contract) { return std::get<ContractSpec>(ContractSpec::parse(contract.attrs.text(Attr::spec))); }

// Whether a contract is of the form of scores: [batch..., q, k], of operands that have one of q and k each. Without a batch, matrices: logits and what follows them.
bool like_scores(const Node& node) {
  if (node.op != Op::contract || node.type.rank() < 3) return false;
  const ContractSpec spec = spec_of(node);
  const size_t batch = spec.result.size() - 2;
  const char q = spec.result[batch], k = spec.result[batch + 1];
  for (size_t i = 0; i < batch; ++i)
    if (!has(spec.a, spec.result[i]) || !has(spec.b, spec.result[i])) return false;
  return has(spec.a, q) != has(spec.b, q) && has(spec.a, k) != has(spec.b, k) && has(spec.a, q) != has(spec.a, k);
}

// Whether maps see a product through a reshape that adds axes of extent 1.
bool seen_with_ones(const Function& f, const Node& product) {
  const Value v{static_cast<uint32_t>(&product - f.nodes.data())};
  std::vector<bool> from(f.size());
  from[v.id] = true;
  for (uint32_t i = v.id + 1; i < f.size(); ++i) {
    const Node& node = f.nodes[i];
    const bool reads = std::any_of(node.operands.begin(), node.operands.end(), [&](Value operand) { return from[operand.id]; });
    if (!reads || node.type.size() != product.type.size()) continue;
    if (node.op == Op::reshape && std::find(node.type.shape.begin(), node.type.shape.end(), 1) != node.type.shape.end()) return true;
    from[i] = is_map(node.op);
  }
  return false;
}

// The squares around some scores, and the products that read them.
struct Squares {
  std::set<Value> all;
  std::set<Value> readers;   // contracts with an operand among them
  std::vector<bool> later;   // per node: it depends on a reader, or sums squares over q; the rest, with all that weighted sums need, can be done row by row
  bool first(Value v) const { return all.count(v) && !later[v.id]; }
};

class Attention {
 public:
  explicit Attention(const Function& f) : f_(f), users_(f.users()), b_(out_), map_(f.size()) {}

  int run() {
    for (uint32_t i = 0; i < f_.size(); ++i)
      if (like_scores(f_.nodes[i]) && std::none_of(found_.begin(), found_.end(), [&](const Squares& known) { return known.all.count(Value{i}); }))
        if (Squares squares = around(Value{i}); !squares.all.empty()) found_.push_back(std::move(squares));
    if (!found_.empty()) rebuild();
    return static_cast<int>(found_.size());
  }
  Function result() { return std::move(out_); }

 private:
  const Function& f_;
  std::vector<std::vector<Value>> users_;
  std::vector<Squares> found_;
  Function out_;
  Builder b_;
  std::vector<Value> map_;                 // per node: itself in the new function
  std::vector<std::map<Value, Value>> again_;   // per squares: those that are computed again

  // No squares if these are not the scores of an attention.
  Squares around(Value scores) const {
    Squares squares;
    const Shape& shape = f_.type(scores).shape;
    auto square = [&](Value v) { return f_.type(v).shape == shape && (is_map(f_[v].op) || f_[v].op == Op::contract || f_[v].op == Op::random); };
    std::vector<Value> stack = {scores};
    while (!stack.empty()) {
      Value at = stack.back();
      stack.pop_back();
      if (!squares.all.insert(at).second) continue;
      for (Value user : users_[at.id])
        if (is_map(f_[user].op) && square(user)) stack.push_back(user);
      if (is_map(f_[at].op))
        for (Value operand : f_[at].operands)
          if (square(operand)) stack.push_back(operand);
    }
    bool along_rows = false;
    for (Value v : squares.all)
      for (Value user : users_[v.id]) {
        const Node& node = f_[user];
        if (node.op == Op::contract) squares.readers.insert(user);
        along_rows = along_rows || (is_reduce(node.op) && reduced_axes(node) == std::vector<int64_t>{static_cast<int64_t>(shape.size()) - 1});
      }
    if (!along_rows || squares.readers.empty()) return {};
    squares.later.resize(f_.size());
    for (uint32_t i = 0; i < f_.size(); ++i) {
      if (squares.readers.count(Value{i})) squares.later[i] = sums_over_q(squares, f_.nodes[i]);
      for (Value operand : f_.nodes[i].operands)
        if (squares.later[operand.id] || squares.readers.count(operand)) squares.later[i] = true;
    }
    return squares;
  }

  // A reader's letters of the square.
  std::string square_of(const Squares& squares, const Node& reader) const {
    const ContractSpec spec = spec_of(reader);
    return squares.all.count(reader.operands[0]) ? spec.a : spec.b;
  }
  bool sums_over_q(const Squares& squares, const Node& reader) const {
    const std::string square = square_of(squares, reader);
    return !has(spec_of(reader).result, square[square.size() - 2]);
  }

  // Whether scores take more memory than what they are made of.
  bool large(const Squares& squares) const {
    return std::any_of(squares.all.begin(), squares.all.end(), [&](Value v) {
      const Node& node = f_[v];
      return squares.first(v) && node.op == Op::contract && node.type.size() > f_.type(node.operands[0]).size() + f_.type(node.operands[1]).size();
    });
  }

  void rebuild() {
    again_.resize(found_.size());
    std::vector<bool> recomputed;
    for (const Squares& squares : found_) recomputed.push_back(large(squares));
    for (uint32_t i = 0; i < f_.size(); ++i) {
      const Value v{i};
      Node node = f_.nodes[i];
      std::string order;
      for (size_t s = 0; s < found_.size(); ++s) {
        const Squares& squares = found_[s];
        if (squares.readers.count(v)) order = batch_first(squares, node);
        if (!recomputed[s] || !squares.later[i]) continue;
        for (Value& operand : node.operands)
          if (squares.first(operand)) again(s, operand, v);
      }
      for (Value& operand : node.operands) operand = seen_by(v, operand);
      map_[i] = order.empty() ? out_.append(std::move(node)) : in_order(node, order);
    }
    out_.name = f_.name;
    out_.results = f_.results;
    for (Result& r : out_.results) r.value = map_[r.value.id];
  }

  // The result's letters in the order: batch as the square has it, its q or k, others. "" if that is their order.
  std::string batch_first(const Squares& squares, const Node& reader) const {
    const ContractSpec spec = spec_of(reader);
    std::string order;
    for (const std::string& letters : {square_of(squares, reader), spec.result})
      for (char c : letters)
        if (has(spec.result, c) && !has(order, c)) order += c;
    return order == spec.result ? "" : order;
  }

  Value in_order(const Node& node, const std::string& order) {
    ContractSpec spec = spec_of(node);
    std::vector<int64_t> axes;
    for (char c : spec.result) axes.push_back(static_cast<int64_t>(order.find(c)));
    spec.result = order;
    b_.loc = node.loc;
    return b_.transpose(b_.contract(spec.text(), node.operands[0], node.operands[1], contract_precision(node.attrs)), axes);
  }

  // An operand in the new function.
  Value seen_by(Value reader, Value operand) const {
    for (size_t s = 0; s < found_.size(); ++s)
      if (found_[s].later[reader.id])
        if (auto clone = again_[s].find(operand); clone != again_[s].end()) return clone->second;
    return map_[operand.id];
  }

  // Computes a square of the forward pass once more, for `reader`, behind what comes back to the weighted sum.
  void again(size_t s, Value v, Value reader) {
    if (again_[s].empty()) token_ = comes_back(found_[s], reader);
    if (token_.valid()) clone(s, v, map_[token_.id]);
  }
  Value token_;

  Value clone(size_t s, Value v, Value token) {
    if (auto known = again_[s].find(v); known != again_[s].end()) return known->second;
    Node copy = f_[v];
    for (Value& operand : copy.operands) {
      if (found_[s].first(operand)) operand = clone(s, operand, token);
      else operand = copy.op == Op::contract ? b_.make(Op::after, {map_[operand.id], token}) : map_[operand.id];
    }
    copy.loc.role = Loc::Role::recomputation;
    return again_[s][v] = out_.append(std::move(copy));
  }

  // What the squares of the forward pass are computed again behind: the cotangent of what the attention gives, which the first later product beside them reads; where
  // that depends on nothing of the forward pass, the weighted sum.
  Value comes_back(const Squares& squares, Value reader) const {
    for (Value product = reader;;) {
      for (Value operand : f_[product].operands)
        if (squares.later[operand.id] && !squares.all.count(operand)) return operand;
      auto next = std::find_if(f_[product].operands.begin(), f_[product].operands.end(), [&](Value v) { return squares.later[v.id]; });
      if (next == f_[product].operands.end()) break;
      product = *next;
    }
    auto sum = std::find_if(squares.readers.begin(), squares.readers.end(), [&](Value v) { return !squares.later[v.id] && v < reader; });
    return sum == squares.readers.end() ? Value() : *sum;
  }
};
}  // namespace

int use_attention(Function& f) {
  // One sample, or one head: an axis of extent 1, which the scores have lost and softmax still has.
  if (std::any_of(f.nodes.begin(), f.nodes.end(), [&](const Node& node) { return like_scores(node) && seen_with_ones(f, node); })) drop_unit_axes(f);
  Attention attention(f);
  const int count = attention.run();
  if (count > 0) {
    f = attention.result();
    f.prune();
  }
  return count;
}

}  // namespace gradc::passes
