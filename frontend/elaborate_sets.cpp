// Sets: the parameters of a model as one value. Arithmetic goes parameter by parameter; sums and norms range over all of them.
#include <fmt/format.h>

#include "frontend/elaborator.h"

namespace gradc::front {
using ir::Op;

Value Elaborator::map_set(const Values& operands, const Span& at, const std::function<Value(const Values&)>& f) {
  const SetValue* first = nullptr;
  for (const Value& v : operands) {
    if (v.is<Poison>()) return Poison{};
    auto* set = v.get<Set>();
    if (!set) continue;
    if (!first) first = set->value.get();
    if (set->value->names != first->names)
      return fail(DiagnosticId::shape_mismatch, at, fmt::format("these are sets of different parameters: {} and {} of them", first->names.size(), set->value->names.size()));
  }
  auto result = std::make_shared<SetValue>();
  result->names = first->names;
  for (size_t i = 0; i < first->names.size(); ++i) {
    Values entry;
    for (const Value& v : operands) entry.push_back(v.is<Set>() ? v.get<Set>()->value->entries[i] : v);
    Value mapped = f(entry);
    if (mapped.is<Poison>()) return mapped;
    result->entries.push_back(std::move(mapped));
  }
  return Set{result};
}

Value Elaborator::fold_set(const Set& set, Op op, const Span& at) {
  // A mean over all numbers is a sum divided by how many there are.
  Op each = op == Op::reduce_mean ? Op::reduce_sum : op;
  Op join = op == Op::reduce_max ? Op::max : op == Op::reduce_min ? Op::min : op == Op::reduce_prod ? Op::mul : Op::add;
  if (op == Op::argmax) return fail(DiagnosticId::wrong_kind, at, "a set of parameters has no position");
  if (layerwise) return map_set({set}, at, [&](const Values& v) { return reduce(op, v[0], Nothing{}, false, at); });
  Value total;
  int64_t count = 0;
  bool first = true;
  for (const Value& entry : set.value->entries) {
    Value part = reduce(each, entry, Nothing{}, false, at);
    if (part.is<Poison>()) return part;
    if (auto* t = entry.get<Tensor>()) count += type(*t).size();
    else ++count;
    total = first ? part : map_op(join, total, part, at, at, at);
    first = false;
  }
  if (first) return 0.0;
  return op == Op::reduce_mean ? map_op(Op::div, total, static_cast<double>(count), at, at, at) : total;
}

}  // namespace gradc::front
