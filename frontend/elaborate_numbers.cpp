// Compile-time numbers where the build needs them: dimensions, axes, loop bounds, conditions. A hyperparameter that is used so
// is fixed by it: it cannot be set when the program starts any more.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "frontend/elaborator.h"

namespace gradc::front {

std::optional<double> Elaborator::fix(const Value& value, const Span& span, const std::string& use) {
  if (value.is<Poison>()) return std::nullopt;
  auto* number = value.get<Number>();
  if (!number) {
    fail(DiagnosticId::wrong_kind, span, fmt::format("{} must be a number that is known when compiling, this is {}", use, kind_of(value)));
    return std::nullopt;
  }
  std::vector<std::string> inputs;
  collect_inputs(number->run, inputs);
  if (!number->known) {
    fail(DiagnosticId::not_known_at_build, span, fmt::format("{} must be known when compiling, but this depends on {}", use, fmt::join(inputs, ", ")),
         "changes while the program runs");
    return std::nullopt;
  }
  for (const std::string& name : inputs)
    if (fixed.insert(name).second) fixed_grew = true;
  return number->value;
}

std::optional<int64_t> Elaborator::fix_integer(const Value& value, const Span& span, const std::string& use) {
  std::optional<double> number = fix(value, span, use);
  if (!number) return std::nullopt;
  if (std::floor(*number) != *number || std::fabs(*number) > 9e15) {
    fail(DiagnosticId::not_whole, span, fmt::format("{} must be a whole number, not {}", use, number_text(*number)));
    return std::nullopt;
  }
  return static_cast<int64_t>(*number);
}

std::optional<bool> Elaborator::fix_flag(const Value& value, const Span& span, const std::string& use) {
  if (value.is<Poison>()) return std::nullopt;
  auto* flag = value.get<Flag>();
  if (!flag) {
    std::vector<std::string> hints;
    if (value.is<Tensor>()) hints.push_back("`where(condition, a, b)` chooses element by element");
    fail(DiagnosticId::wrong_kind, span, fmt::format("{} must be true or false when compiling, this is {}", use, kind_of(value)), "", {}, hints);
    return std::nullopt;
  }
  std::vector<std::string> inputs;
  collect_inputs(flag->run, inputs);
  if (!flag->known) {
    fail(DiagnosticId::not_known_at_build, span, fmt::format("{} must be known when compiling, but this depends on {}", use, fmt::join(inputs, ", ")),
         "changes while the program runs", {}, {"`where(condition, a, b)` chooses while the program runs"});
    return std::nullopt;
  }
  for (const std::string& name : inputs)
    if (fixed.insert(name).second) fixed_grew = true;
  return flag->value;
}

std::optional<std::vector<int64_t>> Elaborator::fix_integers(const Value& value, const Span& span, const std::string& use) {
  const Values* items = nullptr;
  if (auto* list = value.get<List>()) items = list->items.get();
  if (auto* tuple = value.get<Tuple>()) items = tuple->items.get();
  std::vector<int64_t> result;
  if (!items) {
    std::optional<int64_t> one = fix_integer(value, span, use);
    if (!one) return std::nullopt;
    return std::vector<int64_t>{*one};
  }
  for (const Value& item : *items) {
    std::optional<int64_t> one = fix_integer(item, span, use);
    if (!one) return std::nullopt;
    result.push_back(*one);
  }
  return result;
}

std::optional<std::vector<int64_t>> Elaborator::fix_shape(const Value& value, const Span& span, const std::string& use) {
  auto shape = fix_integers(value, span, use);
  if (!shape) return std::nullopt;
  for (int64_t extent : *shape)
    if (extent < 1) {
      fail(DiagnosticId::not_whole, span, fmt::format("{} has the dimension {}; dimensions are positive", use, extent));
      return std::nullopt;
    }
  if (!fits_memory(*shape, span)) return std::nullopt;
  return shape;
}

std::optional<int64_t> Elaborator::axis(const Value& value, int64_t rank, const Span& span) {
  std::optional<int64_t> number = fix_integer(value, span, "an axis");
  if (!number) return std::nullopt;
  int64_t axis = *number < 0 ? *number + rank : *number;
  if (axis < 0 || axis >= rank) {
    fail(DiagnosticId::bad_axis, span, fmt::format("there is no axis {} in a tensor of rank {}", *number, rank));
    return std::nullopt;
  }
  return axis;
}

std::optional<std::vector<int64_t>> Elaborator::axes(const Value& value, int64_t rank, const Span& span) {
  std::vector<int64_t> result;
  if (value.is<Poison>()) return std::nullopt;
  if (value.is<Nothing>()) {   // not given: all
    for (int64_t i = 0; i < rank; ++i) result.push_back(i);
    return result;
  }
  if (auto* range = value.get<Range>()) {
    int64_t begin = static_cast<int64_t>(range->begin), end = static_cast<int64_t>(range->end);
    if (begin < 0) begin += rank;
    if (end < 0) end += rank;
    if (begin < 0 || end > rank || begin > end) {
      fail(DiagnosticId::bad_axis, span, fmt::format("axes {}..{} are not in a tensor of rank {}", number_text(range->begin), number_text(range->end), rank));
      return std::nullopt;
    }
    for (int64_t i = begin; i < end; ++i) result.push_back(i);
    return result;
  }
  Values single = {value};
  const Values* items = &single;
  if (auto* list = value.get<List>()) items = list->items.get();
  if (auto* tuple = value.get<Tuple>()) items = tuple->items.get();
  for (const Value& item : *items) {
    std::optional<int64_t> one = axis(item, rank, span);
    if (!one) return std::nullopt;
    result.push_back(*one);
  }
  std::sort(result.begin(), result.end());
  if (std::adjacent_find(result.begin(), result.end()) != result.end()) {
    fail(DiagnosticId::bad_axis, span, "an axis is listed twice");
    return std::nullopt;
  }
  return result;
}

std::optional<std::vector<double>> Elaborator::list_numbers(const Value& value, ir::Shape& shape, const Span& span, bool report) {
  std::vector<double> numbers;
  // Depth first; the first path down decides the shape, every other one must agree.
  bool first = true;
  auto walk = [&](auto&& self, const Value& v, size_t depth) -> bool {
    if (auto* list = v.get<List>()) {
      if (first) shape.push_back(static_cast<int64_t>(list->items->size()));
      if (depth >= shape.size() || shape[depth] != static_cast<int64_t>(list->items->size())) return false;
      for (const Value& item : *list->items)
        if (!self(self, item, depth + 1)) return false;
      return true;
    }
    first = false;
    if (depth != shape.size()) return false;
    if (auto* number = v.get<Number>(); number && number->known) {
      for (std::vector<std::string> inputs; number->run;) {
        collect_inputs(number->run, inputs);
        for (const std::string& name : inputs)
          if (fixed.insert(name).second) fixed_grew = true;
        break;
      }
      numbers.push_back(number->value);
      return true;
    }
    if (auto* flag = v.get<Flag>(); flag && flag->known) {
      numbers.push_back(flag->value);
      return true;
    }
    return false;
  };
  shape.clear();
  if (walk(walk, value, 0)) return numbers;
  if (report) fail(DiagnosticId::wrong_kind, span, "only a rectangular list of numbers can stand for a tensor");
  return std::nullopt;
}

}  // namespace gradc::front
