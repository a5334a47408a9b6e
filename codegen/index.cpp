#include "codegen/index.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "ir/check.h"

namespace gradc::codegen {
namespace {
int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
int64_t floor_mod(int64_t a, int64_t b) { return a - b * floor_div(a, b); }

Index term(Atom atom, int64_t coefficient) {
  Index result;
  if (coefficient != 0) result.terms = {{atom, coefficient}};
  return result;
}

void accumulate(Index& sum, Atom atom, int64_t coefficient) {
  auto place = std::lower_bound(sum.terms.begin(), sum.terms.end(), atom, [](const auto& t, Atom a) { return t.first < a; });
  if (place != sum.terms.end() && place->first == atom) {
    place->second += coefficient;
    if (place->second == 0) sum.terms.erase(place);
  } else if (coefficient != 0) {
    sum.terms.insert(place, {atom, coefficient});
  }
}

int64_t coefficient_of(const Index& e, Atom atom) {
  for (const auto& [a, c] : e.terms)
    if (a == atom) return c;
  return 0;
}
}  // namespace

Index IndexSpace::variable(Range range, int64_t step) {
  if (range.low == range.high) return range.low;
  definitions_.push_back({Definition::Kind::variable, {}, step, range});
  return term(static_cast<Atom>(definitions_.size() - 1), 1);
}

Index IndexSpace::atom(Definition definition) {
  for (size_t i = 0; i < definitions_.size(); ++i) {
    const Definition& d = definitions_[i];
    if (d.kind == definition.kind && d.by == definition.by && d.of == definition.of) return term(static_cast<Atom>(i), 1);
  }
  definitions_.push_back(std::move(definition));
  return term(static_cast<Atom>(definitions_.size() - 1), 1);
}

Index IndexSpace::add(const Index& a, const Index& b) {
  Index sum = a;
  sum.constant += b.constant;
  for (const auto& [atom, coefficient] : b.terms) accumulate(sum, atom, coefficient);
  if (!a.terms.empty() && !b.terms.empty()) merge_remainders(sum);
  return sum;
}

Index IndexSpace::scale(const Index& e, int64_t factor) {
  if (factor == 0) return {};
  Index result = e;
  result.constant *= factor;
  for (auto& [atom, coefficient] : result.terms) coefficient *= factor;
  return result;
}

// k * (e mod m) + k*m * (e div m) = k * e
void IndexSpace::merge_remainders(Index& sum) {
  for (size_t i = 0; i < sum.terms.size();) {
    auto [atom, k] = sum.terms[i++];
    if (definitions_[atom].kind != Definition::Kind::remainder) continue;
    const Definition d = definitions_[atom];
    Index quotient = divide(d.of, d.by, false);
    if (quotient.terms.empty()) continue;
    bool present = std::all_of(quotient.terms.begin(), quotient.terms.end(), [&](const auto& t) { return coefficient_of(sum, t.first) == k * d.by * t.second; });
    if (!present) continue;
    accumulate(sum, atom, -k);
    for (const auto& [a, c] : quotient.terms) accumulate(sum, a, -k * d.by * c);
    for (const auto& [a, c] : d.of.terms) accumulate(sum, a, k * c);
    sum.constant += k * d.of.constant - k * d.by * quotient.constant;
    i = 0;
  }
}

Index IndexSpace::div(const Index& e, int64_t by) { return divide(e, by, false); }
Index IndexSpace::mod(const Index& e, int64_t by) { return divide(e, by, true); }

// e = by * whole + rest, where whole takes every term that `by` divides.
Index IndexSpace::divide(const Index& e, int64_t by, bool remainder) {
  CHECK(by > 0);
  if (by == 1) return remainder ? Index() : e;
  Index whole, rest;
  whole.constant = floor_div(e.constant, by);
  rest.constant = floor_mod(e.constant, by);
  for (const auto& [atom, c] : e.terms) (c % by == 0 ? whole : rest).terms.push_back({atom, c % by == 0 ? c / by : c});
  // Other multiples of `by` inside a coefficient do not matter to the remainder.
  if (remainder)
    for (auto& [atom, c] : rest.terms) c %= by;
  // Shift a rest that lies in one single multiple of `by` into [0, by).
  Range r = range(rest);
  int64_t multiple = floor_div(r.low, by);
  if (multiple == floor_div(r.high, by)) {
    rest.constant -= multiple * by;
    whole.constant += multiple;
    return remainder ? rest : whole;
  }
  // Terms that are multiples of a divisor g of `by`, and small ones that stay inside [0, g): the small ones never carry.
  int64_t best = 1;
  for (const auto& [atom, c] : rest.terms) {
    int64_t g = std::gcd(std::abs(c), by);
    if (g <= best) continue;
    Index small;
    small.constant = floor_mod(rest.constant, g);
    for (const auto& t : rest.terms)
      if (t.second % g != 0) small.terms.push_back(t);
    if (range(small).within(g)) best = g;
  }
  if (best > 1) {
    Index big, small;
    big.constant = floor_div(rest.constant, best);
    small.constant = floor_mod(rest.constant, best);
    for (const auto& [atom, c] : rest.terms) (c % best == 0 ? big : small).terms.push_back({atom, c % best == 0 ? c / best : c});
    Index part = divide(big, by / best, remainder);
    return remainder ? add(scale(part, best), small) : add(whole, part);
  }
  // (e div a) div b = e div (a*b)
  if (!remainder && rest.terms.size() == 1 && rest.terms[0].second == 1 && rest.constant == 0) {
    const Definition d = definitions_[rest.terms[0].first];
    if (d.kind == Definition::Kind::quotient) return add(whole, divide(d.of, d.by * by, false));
  }
  // (e mod a) mod b = e mod b where b divides a
  if (remainder && rest.terms.size() == 1 && rest.terms[0].second == 1 && rest.constant == 0) {
    const Definition d = definitions_[rest.terms[0].first];
    if (d.kind == Definition::Kind::remainder && d.by % by == 0) return divide(d.of, by, true);
  }
  r = range(rest);
  if (remainder) return atom({Definition::Kind::remainder, rest, by, {0, by - 1}});
  return add(whole, atom({Definition::Kind::quotient, rest, by, {floor_div(r.low, by), floor_div(r.high, by)}}));
}

Index IndexSpace::linear(std::span<const Index> at, const ir::Shape& shape) {
  CHECK(at.size() == shape.size(), "{} indices for {}", at.size(), ir::to_string(shape));
  Index position;
  for (size_t i = 0; i < at.size(); ++i) position = add(scale(position, shape[i]), at[i]);
  return position;
}

Index IndexSpace::place(std::span<const Index> at, const ir::Shape& shape, const ir::Layout& layout) {
  if (layout.row_major()) return linear(at, shape);
  Index position;
  for (const ir::LayoutDigit& digit : layout.digits) position = add(scale(position, digit.extent), mod(div(at[digit.axis], digit.divisor), digit.extent));
  return position;
}

IndexVector IndexSpace::split(const Index& position, const ir::Shape& shape) {
  IndexVector at(shape.size());
  Index rest = position;
  for (size_t i = shape.size(); i-- > 0;) {
    if (i == 0 || shape[i] == 0) {
      at[i] = shape[i] == 1 ? Index() : rest;
      rest = Index();
    } else {
      at[i] = mod(rest, shape[i]);
      rest = div(rest, shape[i]);
    }
  }
  return at;
}

Range IndexSpace::range(const Index& e) const {
  Range sum{e.constant, e.constant};
  for (const auto& [atom, c] : e.terms) {
    Range r = definitions_[atom].range;
    sum.low += c > 0 ? c * r.low : c * r.high;
    sum.high += c > 0 ? c * r.high : c * r.low;
  }
  return sum;
}

bool IndexSpace::depends(const Index& e, Atom variable) const {
  return std::any_of(e.terms.begin(), e.terms.end(), [&](const auto& t) { return t.first == variable || depends(definitions_[t.first].of, variable); });
}

// A number that divides the expression wherever all variables are at the start of a block; 0 if it is 0 there.
int64_t IndexSpace::multiple(const Index& e) const {
  int64_t common = e.constant;
  for (const auto& [atom, c] : e.terms) {
    const Definition& d = definitions_[atom];
    int64_t of_atom = d.by;
    if (d.kind != Definition::Kind::variable) {
      int64_t inner = multiple(d.of);
      if (d.kind == Definition::Kind::remainder) of_atom = std::gcd(inner, d.by);
      else of_atom = inner % d.by == 0 ? inner / d.by : 1;
    }
    common = std::gcd(common, c * of_atom);
  }
  return common;
}

std::optional<int64_t> IndexSpace::stride(const Index& e, Atom variable) const {
  int64_t total = 0;
  for (const auto& [atom, c] : e.terms) {
    const Definition& d = definitions_[atom];
    if (atom == variable) {
      total += c;
      continue;
    }
    if (d.kind == Definition::Kind::variable || !depends(d.of, variable)) continue;
    std::optional<int64_t> inner = stride(d.of, variable);
    if (!inner || *inner < 0) return std::nullopt;
    if (*inner == 0) continue;
    // Inside a block the inner sum grows by less than `block` from a multiple of `block` (plus a little); `by` is a multiple of it: no carry.
    int64_t block = *inner * definitions_[variable].by;
    Index terms = d.of;
    terms.constant = 0;
    bool aligned = d.by % block == 0 && floor_mod(d.of.constant, block) < *inner && multiple(terms) % block == 0;
    if (!aligned) return std::nullopt;
    if (d.kind == Definition::Kind::remainder) total += c * *inner;
  }
  return total;
}

Index IndexSpace::substitute(const Index& e, Atom variable, const Index& by) {
  Index result(e.constant);
  for (const auto& [atom, c] : e.terms) {
    const Definition d = definitions_[atom];
    Index replaced = term(atom, 1);
    if (atom == variable) replaced = by;
    else if (d.kind != Definition::Kind::variable && depends(d.of, variable)) replaced = divide(substitute(d.of, variable, by), d.by, d.kind == Definition::Kind::remainder);
    result = add(result, scale(replaced, c));
  }
  return result;
}

std::string IndexSpace::text(const Index& e) const {
  std::string out;
  for (const auto& [atom, c] : e.terms) {
    if (!out.empty()) out += " + ";
    if (c != 1) out += fmt::format("{}*", c);
    const Definition& d = definitions_[atom];
    switch (d.kind) {
      case Definition::Kind::variable: out += fmt::format("v{}", atom); break;
      case Definition::Kind::quotient: out += fmt::format("({} div {})", text(d.of), d.by); break;
      case Definition::Kind::remainder: out += fmt::format("({} mod {})", text(d.of), d.by); break;
    }
  }
  if (out.empty() || e.constant != 0) out += fmt::format("{}{}", out.empty() ? "" : " + ", e.constant);
  return out;
}
}  // namespace gradc::codegen
