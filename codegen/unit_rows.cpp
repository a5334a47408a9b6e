#include "codegen/unit_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/check.h"
#include "ir/infer.h"
#include "ir/reduced_axes.h"

namespace gradc::codegen {
using namespace ir;

namespace {
Value body_input(const Function& body, size_t index) { return body.input(fmt::format("a{}", index)); }

int64_t leading(const Shape& shape, int count) { return shape_size(Shape(shape.begin(), shape.begin() + count)); }

// The rows of a kernel's results: units are all leading axes, or tiles of them. Of tiles those are rows that are as long as the result from where the first
// tiled axis begins.
int rows_of_results(const Kernel& kernel) {
  if (!by_units(kernel) || kernel.parts > 0) return 0;
  if (kernel.tile.empty()) return static_cast<int>(kernel.form == Form::column ? kernel.kept : kernel.outer);
  int rows = 0;
  while (rows < kernel.outer && kernel.tile[rows] == 1) ++rows;
  return leading(kernel.domain, rows) == kernel.units ? rows : 0;
}

// Whether a fold puts the kernel's tiles next to each other: window by window, the operand's leading axes are the units.
bool folds_tiles(const Kernel& kernel, const Node& fold) {
  if (kernel.tile.empty() || fold.type.shape != kernel.domain) return false;
  const auto& axes = fold.attrs.integers(Attr::axes);
  for (int64_t axis = 0; axis < kernel.outer; ++axis) {
    auto k = std::find(axes.begin(), axes.end(), axis) - axes.begin();
    bool folded = k < static_cast<int64_t>(axes.size());
    if (!folded && kernel.tile[axis] != 1) return false;
    if (!folded) continue;
    int64_t size = fold.attrs.integers(Attr::size)[k];
    if (size != kernel.tile[axis] || fold.attrs.integers(Attr::stride)[k] != size || fold.attrs.integers(Attr::low)[k] != 0 || fold.attrs.integers(Attr::dilation)[k] != 1) return false;
  }
  return axes.back() == kernel.outer - 1;
}

// The rows of operand k of a node whose own are `rows`.
int rows_of_operand(const Kernel& kernel, const Node& node, size_t k, int rows) {
  const Shape &to = node.type.shape, &from = kernel.body.type(node.operands[k]).shape;
  auto kept_to = [&](const std::vector<int64_t>& axes) { return std::none_of(axes.begin(), axes.end(), [&](int64_t axis) { return axis < rows; }) ? rows : 0; };
  auto same_extents = [&] { return static_cast<int>(from.size()) >= rows && std::equal(from.begin(), from.begin() + rows, to.begin()) ? rows : 0; };
  auto identity = [&](const std::vector<int64_t>& axes) {
    for (int i = 0; i < rows; ++i)
      if (i >= static_cast<int>(axes.size()) || axes[i] != i) return 0;
    return rows;
  };
  if (is_map(node.op)) return rows;
  if (node.op == Op::contract) {
    ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(node.attrs.text(Attr::spec)));
    const std::string& letters = k == 0 ? spec.a : spec.b;
    if (kernel.parts > 0) {   // the part, and the index that is summed
      const size_t parts = kernel.outer;
      return letters.substr(0, parts) == spec.result.substr(0, parts) && spec.result.find(letters[parts]) == spec.result.npos ? kernel.outer + 1 : 0;
    }
    return letters.substr(0, rows) == spec.result.substr(0, rows) ? rows : 0;
  }
  if (node.op == Op::gather) {   // axes before the gathered one are the operand's, batch axes also the index's
    const int64_t axis = node.attrs.integer(Attr::axis), batch = node.attrs.integer(Attr::batch);
    if (k == 0) return rows <= axis ? rows : 0;
    return rows <= batch || (axis == batch && rows <= static_cast<int64_t>(from.size())) ? rows : 0;
  }
  if (node.op == Op::scatter_add) return 0;
  if (node.op == Op::fold) return kept_to(node.attrs.integers(Attr::axes));
  if (is_reduce(node.op)) return kept_to(reduced_axes(node));
  if (node.op == Op::transpose) return identity(node.attrs.integers(Attr::axes));
  if (node.op == Op::broadcast) {   // its first axes, if they are all of those rows but for extents of 1
    const auto& axes = node.attrs.integers(Attr::axes);
    const int mine = static_cast<int>(std::count_if(axes.begin(), axes.end(), [&](int64_t axis) { return axis < rows; }));
    for (int axis = 0; axis < rows; ++axis)
      if (to[axis] != 1 && std::find(axes.begin(), axes.end(), axis) == axes.end()) return 0;
    return mine;
  }
  if (node.op == Op::reverse || node.op == Op::windows) return kept_to(node.attrs.integers(Attr::axes));
  if (node.op == Op::slice || node.op == Op::pad) return same_extents();
  if (node.op == Op::reshape)
    for (int i = 1; i <= static_cast<int>(from.size()); ++i)
      if (leading(from, i) == leading(to, rows)) return i;
  return 0;
}
}  // namespace

bool by_units(const Kernel& kernel) { return (kernel.form == Form::column ? kernel.kept : kernel.outer) > 0 && kernel.lane_block == 0; }

std::vector<int> rows_by_unit(const Kernel& kernel) {
  const Function& body = kernel.body;
  std::vector<bool> seen(body.size());
  std::vector<int> rows(body.size());
  auto reach = [&](Value v, int count) {
    rows[v.id] = seen[v.id] && rows[v.id] != count ? 0 : count;
    seen[v.id] = true;
  };
  for (const Result& r : body.results) {
    int count = rows_of_results(kernel);
    reach(r.value, count > 0 && body.type(r.value).rank() >= count && leading(body.type(r.value).shape, count) == kernel.units ? count : 0);
  }
  for (size_t i = body.size(); i-- > 0;) {
    const Node& node = body.nodes[i];
    if (!seen[i]) continue;
    const bool tiles = node.op == Op::fold && folds_tiles(kernel, node);
    for (size_t k = 0; k < node.operands.size(); ++k) reach(node.operands[k], tiles ? static_cast<int>(kernel.outer) : rows[i] > 0 || (kernel.parts > 0 && Value{static_cast<uint32_t>(i)} == kernel.hero) ? rows_of_operand(kernel, node, k, rows[i]) : 0);
  }
  return rows;
}

int argument_rows(const Kernel& kernel, size_t index) { return rows_by_unit(kernel)[body_input(kernel.body, index).id]; }
int result_rows(const Kernel& kernel, size_t index) {
  int rows = rows_of_results(kernel);
  const Type& type = kernel.body.type(kernel.body.results[index].value);
  return rows > 0 && type.rank() >= rows && leading(type.shape, rows) == kernel.units ? rows : 0;
}

bool reads_in_place(const Kernel& kernel, size_t index) {
  const Function& body = kernel.body;
  Value in = body_input(body, index);
  if (kernel.form == Form::contract) {
    // Not through the hero.
    std::vector<bool> under(body.size());
    under[kernel.hero.id] = true;
    for (size_t i = kernel.hero.id + 1; i-- > 0;)
      if (under[i])
        for (Value operand : body.nodes[i].operands) under[operand.id] = true;
    if (under[in.id]) return false;
  }
  if (kernel.form == Form::row || kernel.form == Form::column) {
    // Reductions read ahead of what is written.
    std::vector<bool> under(body.size());
    for (size_t i = body.size(); i-- > 0;) {
      if (is_reduce(body.nodes[i].op)) under[i] = true;
      if (under[i])
        for (Value operand : body.nodes[i].operands) under[operand.id] = true;
    }
    if (under[in.id]) return false;
  }
  // Maps alone between the input and the results.
  std::vector<bool> from(body.size());
  from[in.id] = true;
  for (size_t i = in.id + 1; i < body.size(); ++i)
    for (Value operand : body.nodes[i].operands)
      if (from[operand.id]) {
        if (!is_map(body.nodes[i].op)) return false;
        from[i] = true;
      }
  return true;
}

}  // namespace gradc::codegen
