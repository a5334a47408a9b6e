// Types as text, and the nearest of several names.
#include "runtime/elements.h"

#include <algorithm>
#include <fmt/format.h>

namespace gradc::runtime {

Type to_type(const program::TensorType* type) {
  Type result;
  if (!type) return result;
  result.element = type->element();
  if (type->shape()) result.shape.assign(type->shape()->begin(), type->shape()->end());
  return result;
}

std::string to_string(const Type& type) {
  std::string text(info(type.element).name);
  for (size_t i = 0; i < type.shape.size(); ++i) text += fmt::format("{}{}", i ? ", " : "[", type.shape[i]);
  return type.shape.empty() ? text : text + "]";
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (int64_t extent : shape) text += fmt::format("{}{}", text.empty() ? "" : "x", extent);
  return text.empty() ? "a number" : text;
}

// Levenshtein's distance, one row at a time.
static size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row.back();
}

std::string nearest(std::string_view name, const std::vector<std::string>& names) {
  std::string best;
  size_t least = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : names) {
    size_t d = distance(name, candidate);
    if (d < least) least = d, best = candidate;
  }
  return best;
}

std::string suggestion(std::string_view name, const std::vector<std::string>& names) {
  if (names.empty()) return "; there are none";
  if (std::string near = nearest(name, names); !near.empty()) return fmt::format(", did you mean '{}'?", near);
  std::string list;
  for (size_t i = 0; i < names.size() && i < 12; ++i) list += (i ? ", " : "") + names[i];
  if (names.size() > 12) list += ", ...";
  return "; there are: " + list;
}

}  // namespace gradc::runtime
