#include "ir/attrs.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "ir/check.h"
#include "ir/graph.h"

namespace gradc::ir {

Attrs::Attrs(std::initializer_list<std::pair<Attr, AttrValue>> items) {
  for (const auto& [attr, value] : items) set(attr, value);
}

void Attrs::set(Attr attr, AttrValue value) {
  CHECK(value.index() == static_cast<size_t>(attr_kind(attr)), "attribute {} is of another kind", attr_name(attr));
  auto at = std::lower_bound(items_.begin(), items_.end(), attr, [](const auto& item, Attr a) { return item.first < a; });
  if (at != items_.end() && at->first == attr)
    at->second = std::move(value);
  else
    items_.insert(at, {attr, std::move(value)});
}

bool Attrs::has(Attr attr) const {
  return std::any_of(items_.begin(), items_.end(), [&](const auto& item) { return item.first == attr; });
}

const AttrValue& Attrs::at(Attr attr) const {
  for (const auto& [name, value] : items_)
    if (name == attr) return value;
  CHECK(false, "no attribute {}", attr_name(attr));
}

namespace {
bool same(const AttrValue& a, const AttrValue& b) {
  if (a.index() != b.index()) return false;
  if (auto x = std::get_if<double>(&a)) return std::bit_cast<uint64_t>(*x) == std::bit_cast<uint64_t>(std::get<double>(b));
  if (auto x = std::get_if<DensePtr>(&a)) {
    const Dense &l = **x, &r = *std::get<DensePtr>(b);
    return l.size() == r.size() && std::equal(l.begin(), l.end(), r.begin(), [](double p, double q) {
             return std::bit_cast<uint64_t>(p) == std::bit_cast<uint64_t>(q);
           });
  }
  if (auto x = std::get_if<FunctionPtr>(&a)) return *x == std::get<FunctionPtr>(b) || **x == *std::get<FunctionPtr>(b);
  return a == b;
}
size_t mix(size_t seed, size_t value) { return seed ^ (value + 0x9e3779b97f4a7c15ull + (seed << 6) + (seed >> 2)); }
size_t hash_of(const AttrValue& value) {
  struct Visitor {
    size_t operator()(int64_t v) const { return std::hash<int64_t>()(v); }
    size_t operator()(double v) const { return std::hash<uint64_t>()(std::bit_cast<uint64_t>(v)); }
    size_t operator()(const std::string& v) const { return std::hash<std::string>()(v); }
    size_t operator()(ElementType v) const { return static_cast<size_t>(v); }
    size_t operator()(const std::vector<int64_t>& v) const {
      size_t h = v.size();
      for (int64_t x : v) h = mix(h, std::hash<int64_t>()(x));
      return h;
    }
    size_t operator()(const FunctionPtr& v) const {   // of what tells most functions apart
      size_t h = v->size();
      for (const Node& node : v->nodes) h = mix(h, static_cast<size_t>(node.op));
      return h;
    }
    size_t operator()(const DensePtr& v) const {
      size_t h = v->size();
      for (double x : *v) h = mix(h, (*this)(x));
      return h;
    }
  };
  return std::visit(Visitor{}, value);
}
}  // namespace

bool Attrs::operator==(const Attrs& other) const {
  return std::equal(items_.begin(), items_.end(), other.items_.begin(), other.items_.end(),
                    [](const auto& a, const auto& b) { return a.first == b.first && same(a.second, b.second); });
}

size_t Attrs::hash() const {
  size_t h = items_.size();
  for (const auto& [attr, value] : items_) h = mix(mix(h, static_cast<size_t>(attr)), hash_of(value));
  return h;
}
}  // namespace gradc::ir
