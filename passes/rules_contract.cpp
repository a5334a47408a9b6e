// Rewrites of contracts: views that only permute or repeat go into the index lists, and what is no sum of products is none.
#include <algorithm>
#include <numeric>

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

// fold(contract(g, w)), where g has the positions and w the window: the input gradient of a convolution is a convolution of the output's gradient with
// the flipped kernel. With stride 1: dx[p] = sum_u g[p + low - d u] w[u]. With stride s, place q = p + low = s j + a sees those elements u of the kernel alone
// for which s divides a - d u. Let h = gcd(s, d): there are some if h divides a, and they are u = u0 + (s / h) b, with d u0 = a + s c. So
// dx = sum_b g[j - c - (d / h) b] w[u0 + (s / h) b], a convolution for each phase a. Phases are put between each other.
struct FoldedContract {
  Term t, y;
  Axes axes, size, stride, dilation, low;
  ContractSpec spec;
  std::string positions, window, order;   // order: of g, with the positions next to each other and in order, where the first of them stands
  int g_operand = -1;
  Axes first, limit;                       // of j

  explicit FoldedContract(Term fold)
      : t(fold), y(t.x(0)), axes(t.list(Attr::axes)), size(t.list(Attr::size)), stride(t.list(Attr::stride)), dilation(t.list(Attr::dilation)), low(t.list(Attr::low)) {
    if (!y.is(Op::contract)) return;
    spec = spec_of(y);
    positions = spec.result.substr(axes[0], axes.size()), window = spec.result.substr(axes[0] + axes.size(), axes.size());
    auto has_all = [](const std::string& list, const std::string& letters) { return std::all_of(letters.begin(), letters.end(), [&](char c) { return in(list, c); }); };
    auto has_none = [](const std::string& list, const std::string& letters) { return std::none_of(letters.begin(), letters.end(), [&](char c) { return in(list, c); }); };
    for (int i : {0, 1}) {
      const std::string &g_list = i == 0 ? spec.a : spec.b, &w_list = i == 0 ? spec.b : spec.a;
      if (has_all(g_list, positions) && has_none(g_list, window) && has_all(w_list, window) && has_none(w_list, positions)) g_operand = i;
    }
    for (size_t k = 0; k < axes.size(); ++k) {
      first.push_back(low[k] / stride[k]);
      limit.push_back((low[k] + t.shape()[axes[k]] + stride[k] - 1) / stride[k]);
    }
  }

  // Elements of the kernel that a phase sees along an axis: from `first`, every `step`-th; later ones meet an element of g that is `apart` before. That of
  // the first lies `back` before j.
  struct Taps {
    int64_t first = 0, step = 1, count = 0, apart = 1, back = 0;
  };
  Taps taps(size_t k, int64_t phase) const {
    const int64_t s = stride[k], d = dilation[k], h = std::gcd(s, d);
    for (int64_t u = 0; u < std::min(s / h, size[k]); ++u)
      if ((d * u - phase) % s == 0) return {u, s / h, (size[k] - u + s / h - 1) / (s / h), d / h, (d * u - phase) / s};
    return {};
  }

  Value run() {
    constexpr int64_t most_phases = 16;
    int64_t phases = 1;
    for (int64_t s : stride) phases *= s;
    if (g_operand < 0 || phases > most_phases) return no;
    const std::string& g_list = g_operand == 0 ? spec.a : spec.b;
    for (char c : g_list)
      if (!in(positions, c)) order += c;
      else if (!in(order, positions[0])) order += positions;
    Term sum;
    for (int64_t n = 0; n < phases; ++n) {
      Axes phase(axes.size());
      int64_t rest = n;
      for (size_t k = axes.size(); k-- > 0; rest /= stride[k]) phase[k] = rest % stride[k];
      Term part = convolution(phase);
      if (!part.v.valid()) continue;
      if (phases > 1) part = between(part, phase);
      sum = sum.v.valid() ? sum + part : part;
    }
    if (!sum.v.valid() || phases == 1) return sum;
    Axes start(t.rank(), 0), end = t.shape();
    for (size_t k = 0; k < axes.size(); ++k) start[axes[k]] = low[k] - stride[k] * first[k], end[axes[k]] += start[axes[k]];
    return t.b->slice(sum, start, end, Axes(t.rank(), 1));
  }

 private:
  // The elements of dx at one phase; invalid if all are 0.
  Term convolution(const Axes& phase) const {
    const std::string &g_list = g_operand == 0 ? spec.a : spec.b, &w_list = g_operand == 0 ? spec.b : spec.a;
    Term g = y.x(g_operand), w = y.x(1 - g_operand);
    Axes permutation, flipped, moved, before, behind, count, apart;
    for (char c : order) permutation.push_back(static_cast<int64_t>(g_list.find(c)));
    Term seen = transpose(g, permutation);
    Axes start(seen.rank(), 0), end = seen.shape(), w_start(w.rank(), 0), w_end = w.shape(), w_step(w.rank(), 1);
    for (size_t k = 0; k < axes.size(); ++k) {
      int64_t axis = static_cast<int64_t>(order.find(positions[0]) + k), in_w = static_cast<int64_t>(w_list.find(window[k]));
      const Taps seen_by = taps(k, phase[k]);
      // Of g from `low_end` up to `high_end`, zeros where there is nothing.
      const int64_t low_end = first[k] - seen_by.back - seen_by.apart * (seen_by.count - 1), high_end = limit[k] - seen_by.back;
      start[axis] = std::max<int64_t>(0, low_end);
      end[axis] = std::min(end[axis], high_end);
      if (seen_by.count == 0 || start[axis] >= end[axis]) return {};
      before.push_back(start[axis] - low_end);
      behind.push_back(high_end - end[axis]);
      moved.push_back(axis);
      count.push_back(seen_by.count);
      apart.push_back(seen_by.apart);
      w_start[in_w] = seen_by.first;
      w_step[in_w] = seen_by.step;
    }
    for (size_t i = 0; i < w_list.size(); ++i)
      if (in(window, w_list[i])) flipped.push_back(static_cast<int64_t>(i));
    seen = {t.b, t.b->slice(seen, start, end, Axes(seen.rank(), 1))};
    seen = {t.b, t.b->make(Op::windows, {seen.v}, {{Attr::axes, moved}, {Attr::size, count}, {Attr::stride, Axes(axes.size(), 1)}, {Attr::dilation, apart}, {Attr::low, before}, {Attr::high, behind}, {Attr::value, 0.0}})};
    Term turned{t.b, t.b->make(Op::reverse, {t.b->slice(w, w_start, w_end, w_step)}, {{Attr::axes, flipped}})};
    std::string seen_list = order, result = spec.result;
    seen_list.insert(order.find(positions[0]) + positions.size(), window);
    result.erase(axes[0] + axes.size(), axes.size());
    return g_operand == 0 ? contract(seen_list + "," + w_list + "->" + result, seen, turned, precision_of(y)) : contract(w_list + "," + seen_list + "->" + result, turned, seen, precision_of(y));
  }

  // Room for the other phases around each element.
  Term between(Term part, const Axes& phase) const {
    Axes before(part.rank(), 0), behind = before, interior = before;
    for (size_t k = 0; k < axes.size(); ++k) before[axes[k]] = phase[k], behind[axes[k]] = stride[k] - 1 - phase[k], interior[axes[k]] = stride[k] - 1;
    return {t.b, t.b->make(Op::pad, {part.v}, {{Attr::low, before}, {Attr::high, behind}, {Attr::interior, interior}, {Attr::value, 0.0}})};
  }
};
Value fold_of_contract(Term t) { return FoldedContract(t).run(); }

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
