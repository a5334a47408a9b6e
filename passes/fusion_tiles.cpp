// A small transform, y[.., i, ..] = sum over j of literal[i, j] x[.., j, ..], knows its factors where i is known while code is emitted: along the axes of the
// domain that i follows, whole tiles are computed at once. i is an axis of the domain itself, or a place within the windows that a fold puts next to
// each other (size = stride): element h of the result is place h % size of window h / size.
#include "passes/fusion_tiles.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "ir/infer.h"

namespace gradc::passes {
using namespace ir;

namespace {
// What an axis of some value in the body is: index % extent along an axis of the domain.
struct Origin {
  int64_t axis, extent;
};
using Origins = std::vector<std::optional<Origin>>;

class Tiles {
 public:
  explicit Tiles(const Kernel& kernel) : body_(kernel.body), tile_(kernel.domain.size(), 1) {}

  void visit(Value v, Origins at) {
    const Node& node = body_[v];
    if (is_map(node.op)) {
      for (Value operand : node.operands) visit(operand, at);
    } else if (std::optional<size_t> literal = small_transform(body_, node)) {
      ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(node.attrs.text(Attr::spec)));
      const std::string &known = *literal == 0 ? spec.a : spec.b, &rest = *literal == 0 ? spec.b : spec.a;
      Origins from(rest.size());
      for (size_t i = 0; i < spec.result.size(); ++i) {
        if (size_t k = rest.find(spec.result[i]); k != rest.npos) from[k] = at[i];
        if (known.find(spec.result[i]) == known.npos) continue;
        found_ = true;
        if (at[i]) tile_[at[i]->axis] = std::max(tile_[at[i]->axis], at[i]->extent);
      }
      visit(node.operands[1 - *literal], from);
    } else if (node.op == Op::fold) {
      visit(node.operands[0], through_fold(node, at));
    } else if (is_view(node.op) && node.op != Op::after) {
      visit(node.operands[0], through_view(node, at));
    }
  }

  Shape result() const { return found_ && shape_size(tile_) <= most && tile_.back() == 1 ? tile_ : Shape(); }

 private:
  static constexpr int64_t most = 64;   // elements at once
  const Function& body_;
  Shape tile_;
  bool found_ = false;

  Origins through_fold(const Node& fold, const Origins& at) const {
    Origins from(body_.type(fold.operands[0]).rank());
    const auto &axes = fold.attrs.integers(Attr::axes), &size = fold.attrs.integers(Attr::size);
    size_t first = axes[0], count = axes.size();
    for (size_t i = 0; i < at.size(); ++i) {
      if (i < first) from[i] = at[i];
      else if (i >= first + count) from[i + count] = at[i];
      else if (size_t k = i - first; size[k] == fold.attrs.integers(Attr::stride)[k] && fold.attrs.integers(Attr::low)[k] == 0 && fold.attrs.integers(Attr::dilation)[k] == 1 && at[i] &&
                                     at[i]->extent == fold.type.shape[i])
        from[i + count] = Origin{at[i]->axis, size[k]};
    }
    return from;
  }

  Origins through_view(const Node& view, const Origins& at) const {
    const Shape &to = view.type.shape, &source = body_.type(view.operands[0]).shape;
    Origins from(source.size());
    if (view.op == Op::transpose) {
      for (size_t i = 0; i < at.size(); ++i) from[view.attrs.integers(Attr::axes)[i]] = at[i];
    } else if (view.op == Op::broadcast) {
      for (size_t i = 0; i < from.size(); ++i) from[i] = at[view.attrs.integers(Attr::axes)[i]];
    } else if (view.op == Op::reshape) {
      // Axes that have as many elements before them and are as long.
      int64_t before = 1;
      for (size_t i = 0, k = 0, seen = 1; k < source.size(); before *= source[k], ++k) {
        while (i < to.size() && static_cast<int64_t>(seen) < before) seen *= to[i++];
        while (i < to.size() && to[i] == 1 && source[k] != 1) ++i;
        if (i < to.size() && static_cast<int64_t>(seen) == before && to[i] == source[k]) from[k] = at[i];
      }
    }
    return from;
  }
};
}  // namespace

Shape choose_tile(const Kernel& kernel) {
  if (kernel.form != Form::map || kernel.domain.size() < 2) return {};
  Tiles tiles(kernel);
  for (const Result& r : kernel.body.results) {
    if (kernel.body.type(r.value).shape != kernel.domain) return {};
    Origins at;
    for (size_t i = 0; i < kernel.domain.size(); ++i) at.push_back(Origin{static_cast<int64_t>(i), kernel.domain[i]});
    tiles.visit(r.value, at);
  }
  return tiles.result();
}

}  // namespace gradc::passes
