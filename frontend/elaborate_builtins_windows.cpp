// `windows` and its adjoint `fold`: sliding windows over the axes after the first. Both speak of the same geometry (size, stride, padding,
// dilation, as a convolution has them), so that `fold` undoes exactly the reading that `windows` does.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "frontend/elaborate_builtins.h"
#include "ir/infer.h"

namespace gradc::front {
using ir::Attr;
using ir::Op;

namespace {
using Integers = std::vector<int64_t>;

/// A number for all axes of the window, or one for each.
std::optional<Integers> each_axis(BuiltinCall& c, size_t i, size_t axes, int64_t otherwise, const char* what) {
  if (!c.given(i)) return Integers(axes, otherwise);
  auto numbers = c.e.fix_integers(c[i], c.spans[i], what);
  if (numbers && numbers->size() == 1) numbers->assign(axes, (*numbers)[0]);
  if (numbers && numbers->size() != axes) {
    c.e.fail(DiagnosticId::wrong_arguments, c.spans[i], fmt::format("{} needs {} numbers, not {}", what, axes, numbers->size()));
    return std::nullopt;
  }
  return numbers;
}

/// Where the windows' parameters stand among the arguments.
struct Places {
  size_t stride, padding, dilation;
};

/// The attributes that windows and fold share, for windows of `size` over `extents`. "same" gives ceil(extent / stride) positions; what
/// cannot be split in halves goes behind.
std::optional<ir::Attrs> geometry(BuiltinCall& c, const Integers& size, const Integers& extents, const Places& at) {
  size_t n = size.size();
  auto stride = each_axis(c, at.stride, n, 1, "the stride"), dilation = each_axis(c, at.dilation, n, 1, "the dilation");
  if (!stride || !dilation) return std::nullopt;
  auto wrong = [&](const Span& span, const std::string& message) { return c.e.fail(DiagnosticId::wrong_arguments, span, message), std::nullopt; };
  auto positive = [](const Integers& list) { return *std::min_element(list.begin(), list.end()) >= 1; };
  if (!positive(size) || !positive(*stride) || !positive(*dilation)) return wrong(c.at, "size, stride and dilation of windows are positive");
  Integers axes(n), low(n, 0), high(n, 0);
  std::iota(axes.begin(), axes.end(), 1);
  auto* mode = c[at.padding].get<Text>();
  if (mode && mode->text == "same") {
    for (size_t i = 0; i < n; ++i) {
      int64_t positions = (extents[i] + (*stride)[i] - 1) / (*stride)[i];
      int64_t total = std::max<int64_t>((positions - 1) * (*stride)[i] + (*dilation)[i] * (size[i] - 1) + 1 - extents[i], 0);
      low[i] = total / 2;
      high[i] = total - low[i];
    }
  } else if (mode && mode->text != "valid") {
    return wrong(c.spans[at.padding], fmt::format("padding is \"same\", \"valid\" or numbers, not \"{}\"", mode->text));
  } else if (!mode && c.given(at.padding)) {
    auto both = each_axis(c, at.padding, n, 0, "the padding");
    if (!both) return std::nullopt;
    if (*std::min_element(both->begin(), both->end()) < 0) return wrong(c.spans[at.padding], "padding is not negative");
    low = high = *both;
  }
  return ir::Attrs{{Attr::axes, axes}, {Attr::size, size}, {Attr::stride, *stride}, {Attr::dilation, *dilation}, {Attr::low, low}, {Attr::high, high}};
}

/// The extents of the positions, or a diagnostic that says which axis is too small.
std::optional<ir::Shape> positions(BuiltinCall& c, const ir::Attrs& attrs, const Integers& extents, const std::string& over) {
  ir::Shape result;
  for (size_t i = 0; i < extents.size(); ++i) {
    int64_t size = attrs.integers(Attr::size)[i], dilation = attrs.integers(Attr::dilation)[i], low = attrs.integers(Attr::low)[i], high = attrs.integers(Attr::high)[i];
    result.push_back(ir::window_positions(extents[i], size, attrs.integers(Attr::stride)[i], dilation, low, high));
    if (result.back() >= 1) continue;
    std::string kernel = ir::to_string(attrs.integers(Attr::size));
    if (dilation > 1) kernel += fmt::format(", which with dilation {} spans {},", dilation, dilation * (size - 1) + 1);
    std::string padded = low + high > 0 ? fmt::format("{} padded to {}", extents[i], extents[i] + low + high) : fmt::format("{}", extents[i]);
    c.e.fail(DiagnosticId::shape_mismatch, c.at, fmt::format("a window of {} does not fit {}: dimension {} is {}", kernel, over, i + 1, padded), "", {},
             {"padding = \"same\" keeps the extents"});
    return std::nullopt;
  }
  return result;
}

Value windows(BuiltinCall& c) {
  ir::Value v = c.e.node(c[0], c.spans[0]);
  auto size = c.e.fix_integers(c[1], c.spans[1], "a window's size");
  if (!v.valid() || !size) return Poison{};
  const ir::Type t = c.e.type(v);
  size_t n = size->size();
  if (n < 1 || t.rank() < static_cast<int64_t>(n) + 1) return c.e.fail(DiagnosticId::bad_axis, c.at, fmt::format("windows over {} dimensions after the first need more than {}", n, ir::to_string(t)));
  std::optional<double> value = c.given(5) ? c.e.fix(c[5], c.spans[5], "the value outside") : 0.0;
  Integers extents(t.shape.begin() + 1, t.shape.begin() + 1 + static_cast<int64_t>(n));
  auto attrs = geometry(c, *size, extents, {2, 3, 4});
  if (!attrs || !value || !positions(c, *attrs, extents, ir::to_string(t))) return Poison{};
  attrs->set(Attr::value, *value);
  return c.e.tensor(c.e.builder().make(Op::windows, {v}, *attrs));
}

// The window's size is read off the operand: [n, positions..., size..., rest...].
Value fold(BuiltinCall& c) {
  ir::Value v = c.e.node(c[0], c.spans[0]);
  auto extents = c.e.fix_shape(c[1], c.spans[1], "the extents");
  if (!v.valid() || !extents) return Poison{};
  const ir::Type t = c.e.type(v);
  auto n = static_cast<int64_t>(extents->size());
  if (n < 1 || t.rank() < 2 * n + 1)
    return c.e.fail(DiagnosticId::bad_axis, c.at, fmt::format("`fold` over {0} dimensions needs {0} of positions and {0} of the window after the first, this is {1}", n, ir::to_string(t)));
  if (!ir::is_float(t.element) && !ir::is_integer(t.element)) return c.e.fail(DiagnosticId::wrong_element_type, c.spans[0], fmt::format("`fold` sums numbers, this is {}", ir::to_string(t)));
  Integers given(t.shape.begin() + 1, t.shape.begin() + 1 + n), size(t.shape.begin() + 1 + n, t.shape.begin() + 1 + 2 * n);
  auto attrs = geometry(c, size, *extents, {2, 3, 4});
  if (!attrs) return Poison{};
  auto wanted = positions(c, *attrs, *extents, ir::to_string(*extents));
  if (!wanted) return Poison{};
  if (*wanted != given)
    return c.e.fail(DiagnosticId::shape_mismatch, c.at, fmt::format("windows of {} over {} have {} positions, but {} has {}", ir::to_string(size), ir::to_string(*extents), ir::to_string(*wanted), ir::to_string(t), ir::to_string(given)));
  ir::Shape shape = {t.shape[0]};
  shape.insert(shape.end(), extents->begin(), extents->end());
  shape.insert(shape.end(), t.shape.begin() + 1 + 2 * n, t.shape.end());
  attrs->set(Attr::shape, shape);
  return c.e.tensor(c.e.builder().make(Op::fold, {v}, *attrs));
}

constexpr Builtin table[] = {
  {"windows", "x size stride? padding? dilation? value?", windows},
  {"fold", "x extents stride? padding? dilation?", fold},
};
}  // namespace

std::span<const Builtin> window_builtins() { return table; }

}  // namespace gradc::front
