// Rewrites of contracts: views that only permute or repeat go into the index lists, and what is no sum of products is none.
#include <algorithm>

#include "ir/infer.h"
#include "passes/rules.h"

namespace gradc::passes {
namespace {
using ir::Attr;
using ir::ContractSpec;
using ir::Op;
using ir::Shape;
using ir::Value;
using Axes = std::vector<int64_t>;
constexpr Value no;

ContractSpec spec_of(Term t) { return std::get<ContractSpec>(ContractSpec::parse(t.node().attrs.text(Attr::spec))); }
ir::Precision precision_of(Term t) { return ir::contract_precision(t.node().attrs); }
bool in(const std::string& list, char c) { return list.find(c) != list.npos; }
std::string permuted(const std::string& list, const Axes& axes) {
  std::string result;
  for (int64_t axis : axes) result += list[axis];
  return result;
}

// contract(transpose(x), y) and contract(x, transpose(y)): permute the index list
Value contract_of_transpose(Term t) {
  ContractSpec spec = spec_of(t);
  for (int i : {0, 1})
    if (Term y = t.x(i); y.is(Op::transpose)) {
      std::string& list = i == 0 ? spec.a : spec.b;
      list = permuted(list, inverse_permutation(y.list(Attr::axes)));
      return contract(spec.text(), i == 0 ? y.x(0) : t.x(0), i == 1 ? y.x(0) : t.x(1), precision_of(t));
    }
  return no;
}
// transpose(contract(x, y)): permute the result's index list
Value transpose_of_contract(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::contract)) return no;
  ContractSpec spec = spec_of(y);
  spec.result = permuted(spec.result, t.list(Attr::axes));
  return contract(spec.text(), y.x(0), y.x(1), precision_of(y));
}
// An index of extent 1 leaves the lists; the result is reshaped to have it again.
Value contract_of_ones(Term t) {
  ContractSpec spec = spec_of(t);
  Term operands[] = {t.x(0), t.x(1)};
  std::string ones;
  for (int i : {0, 1})
    for (size_t k = 0; k < (i == 0 ? spec.a : spec.b).size(); ++k)
      if (operands[i].shape()[k] == 1 && !in(ones, (i == 0 ? spec.a : spec.b)[k])) ones += (i == 0 ? spec.a : spec.b)[k];
  if (ones.empty()) return no;
  auto drop = [&](std::string& list) { std::erase_if(list, [&](char c) { return in(ones, c); }); };
  drop(spec.a), drop(spec.b), drop(spec.result);
  return reshape(contract(spec.text(), reshape(operands[0], without_ones(operands[0].shape())), reshape(operands[1], without_ones(operands[1].shape())), precision_of(t)), t.shape());
}
// contract(broadcast(x), y): an index that x does not vary along is summed over y alone, or repeated in the result, or y's own
Value contract_of_broadcast(Term t) {
  ContractSpec spec = spec_of(t);
  for (int i : {0, 1}) {
    Term x = t.x(i), y = t.x(1 - i);
    auto c = number(x);
    if (!c && !x.is(Op::broadcast)) continue;
    std::string list = i == 0 ? spec.a : spec.b, other = i == 0 ? spec.b : spec.a, kept, result;
    Term source = c ? Term{t.b, t.b->scalar(*c, t.element())} : x.x(0);
    if (!c) kept = permuted(list, x.list(Attr::axes));
    if (kept.size() == list.size()) continue;
    // Sum y over the indices that the result lacks and x does not vary along.
    Axes summed;
    std::string rest;
    for (size_t k = 0; k < other.size(); ++k)
      if (!in(spec.result, other[k]) && !in(kept, other[k]))
        summed.push_back(static_cast<int64_t>(k));
      else
        rest += other[k];
    y = reduce(Op::reduce_sum, y, summed);
    Axes axes;
    Shape inner_shape;
    for (size_t k = 0; k < spec.result.size(); ++k)
      if (in(kept, spec.result[k]) || in(rest, spec.result[k])) result += spec.result[k], axes.push_back(static_cast<int64_t>(k));
    Term inner = i == 0 ? contract(kept + "," + rest + "->" + result, source, y, precision_of(t)) : contract(rest + "," + kept + "->" + result, y, source, precision_of(t));
    return broadcast(inner, t.shape(), axes);
  }
  return no;
}
// contract without a summed index => product of broadcasts
Value contract_to_product(Term t) {
  ContractSpec spec = spec_of(t);
  for (char c : spec.a + spec.b)
    if (!in(spec.result, c)) return no;
  Value sides[2];
  for (int i : {0, 1}) {
    const std::string& list = i == 0 ? spec.a : spec.b;
    Axes order, axes;   // the operand's axes in the order of the result
    for (size_t k = 0; k < spec.result.size(); ++k)
      if (size_t at = list.find(spec.result[k]); at != list.npos) order.push_back(static_cast<int64_t>(at)), axes.push_back(static_cast<int64_t>(k));
    sides[i] = broadcast(transpose(t.x(i), order), t.shape(), axes);
  }
  return Term{t.b, sides[0]} * Term{t.b, sides[1]};
}
// contract(-x, y) => -contract(x, y);  contract(x, -y) => -contract(x, y)
Value contract_of_negative(Term t) {
  std::string spec = t.node().attrs.text(Attr::spec);
  if (t.x(0).is(Op::neg)) return -contract(spec, t.x(0).x(0), t.x(1), precision_of(t));
  return t.x(1).is(Op::neg) ? (-contract(spec, t.x(0), t.x(1).x(0), precision_of(t))).v : no;
}
// contract(x * c, y) => contract(x, y) * c, where c is a power of two
Value contract_of_multiple(Term t) {
  std::string spec = t.node().attrs.text(Attr::spec);
  for (int i : {0, 1})
    if (Term x = t.x(i); x.is(Op::mul))
      if (auto c = number(x.x(1)); c && is_power_of_two(*c)) return (i == 0 ? contract(spec, x.x(0), t.x(1), precision_of(t)) : contract(spec, t.x(0), x.x(0), precision_of(t))) * *c;
  return no;
}

// fold(contract(g, w)), where g has the positions and w the window => contract(windows(g), reverse(w)): the input gradient of a convolution is a
// convolution of the output's gradient with the flipped kernel. With stride 1: dx[p] = sum_u g[p + low - d u] w[u].
Value fold_of_contract(Term t) {
  Term y = t.x(0);
  if (!y.is(Op::contract)) return no;
  Axes axes = t.list(Attr::axes), size = t.list(Attr::size), dilation = t.list(Attr::dilation), low = t.list(Attr::low), high = t.list(Attr::high);
  for (int64_t stride : t.list(Attr::stride))
    if (stride != 1) return no;
  for (size_t i = 0; i < axes.size(); ++i) {
    int64_t reach = dilation[i] * (size[i] - 1);
    low[i] = reach - low[i], high[i] = reach - high[i];
    if (low[i] < 0 || high[i] < 0) return no;
  }
  ContractSpec spec = spec_of(y);
  std::string positions = spec.result.substr(axes[0], axes.size()), window = spec.result.substr(axes[0] + axes.size(), axes.size());
  auto has_all = [](const std::string& list, const std::string& letters) { return std::all_of(letters.begin(), letters.end(), [&](char c) { return in(list, c); }); };
  auto has_none = [](const std::string& list, const std::string& letters) { return std::none_of(letters.begin(), letters.end(), [&](char c) { return in(list, c); }); };
  for (int i : {0, 1}) {
    std::string g_list = i == 0 ? spec.a : spec.b, w_list = i == 0 ? spec.b : spec.a;
    if (!has_all(g_list, positions) || !has_none(g_list, window) || !has_all(w_list, window) || !has_none(w_list, positions)) continue;
    Term g = y.x(i), w = y.x(1 - i);
    // The positions next to each other and in order, where the first of them stands.
    std::string order;
    for (char c : g_list)
      if (!in(positions, c))
        order += c;
      else if (!in(order, positions[0]))
        order += positions;
    Axes permutation, flipped, moved;
    for (char c : order) permutation.push_back(static_cast<int64_t>(g_list.find(c)));
    for (size_t k = 0; k < axes.size(); ++k) moved.push_back(static_cast<int64_t>(order.find(positions[0]) + k));
    for (size_t k = 0; k < w_list.size(); ++k)
      if (in(window, w_list[k])) flipped.push_back(static_cast<int64_t>(k));
    Term seen{t.b, t.b->make(Op::windows, {transpose(g, permutation).v}, {{Attr::axes, moved}, {Attr::size, size}, {Attr::stride, Axes(axes.size(), 1)}, {Attr::dilation, dilation},
                                                                          {Attr::low, low}, {Attr::high, high}, {Attr::value, 0.0}})};
    Term turned{t.b, t.b->make(Op::reverse, {w.v}, {{Attr::axes, flipped}})};
    order.insert(order.find(positions[0]) + positions.size(), window);
    std::string result = spec.result;
    result.erase(axes[0] + axes.size(), axes.size());
    return i == 0 ? contract(order + "," + w_list + "->" + result, seen, turned, precision_of(y)) : contract(w_list + "," + order + "->" + result, turned, seen, precision_of(y));
  }
  return no;
}

constexpr Rule table[] = {
    {"contract-of-transpose", Op::contract, contract_of_transpose},
    {"transpose-of-contract", Op::transpose, transpose_of_contract},
    {"contract-of-ones", Op::contract, contract_of_ones},
    {"contract-of-broadcast", Op::contract, contract_of_broadcast},
    {"contract-to-product", Op::contract, contract_to_product},
    {"contract-of-negative", Op::contract, contract_of_negative},
    {"contract-of-multiple", Op::contract, contract_of_multiple},
    {"fold-of-contract", Op::fold, fold_of_contract},
};
}  // namespace

std::span<const Rule> contract_rules() { return table; }
}  // namespace gradc::passes
