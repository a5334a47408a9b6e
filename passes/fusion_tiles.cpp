// A small transform, y[.., i, ..] = sum over j of literal[i, j] x[.., j, ..], knows its factors where i is known while code is emitted: along the axes of the
// domain that i follows, whole tiles are computed at once. i is an axis of the domain itself, or a place within the windows that a fold puts next to
// each other (size = stride): element h of the result is place h % size of window h / size. Likewise what is reduced from a window and read by each place in it,
// as in the gradient of pooling, is computed once if the places of a window are a tile.
#include "passes/fusion_tiles.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "ir/infer.h"
#include "ir/reshape_runs.h"

namespace gradc::passes {
using namespace ir;

namespace {
// What an axis of some value in the body is: index % extent along an axis of the domain, or several such, the last one moving fastest; empty if it is something else.
struct Origin {
  int64_t axis, extent;
};
using Origins = std::vector<std::vector<Origin>>;

class Tiles {
 public:
  explicit Tiles(const Kernel& kernel) : body_(kernel.body), domain_(kernel.domain), tile_(kernel.domain.size(), 1) {}

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
        take(at[i]);
      }
      visit(node.operands[1 - *literal], from);
    } else if (node.op == Op::fold) {
      visit(node.operands[0], through_fold(node, at));
    } else if (is_view(node.op) && node.op != Op::after) {
      if (node.op == Op::broadcast) share(node, at);
      visit(node.operands[0], through_view(node, at));
    }
  }

  Shape result() const { return found_ && shape_size(tile_) <= most && tile_.back() == 1 ? tile_ : Shape(); }

 private:
  static constexpr int64_t most = 64;   // elements at once
  const Function& body_;
  const Shape& domain_;
  Shape tile_;
  bool found_ = false;

  void take(const std::vector<Origin>& origins) {
    found_ = true;
    for (const Origin& origin : origins) tile_[origin.axis] = std::max(tile_[origin.axis], origin.extent);
  }

  // Places of windows that lie next to each other read the same reduction.
  void share(const Node& broadcast, const Origins& at) {
    Value source = broadcast.operands[0];
    while (is_view(body_[source].op)) source = body_[source].operands[0];
    if (!is_reduce(body_[source].op)) return;
    const auto& kept = broadcast.attrs.integers(Attr::axes);
    for (size_t i = 0; i < at.size(); ++i) {
      if (std::find(kept.begin(), kept.end(), static_cast<int64_t>(i)) != kept.end()) continue;
      const bool within = !at[i].empty() && std::all_of(at[i].begin(), at[i].end(), [&](const Origin& o) { return o.extent < domain_[o.axis]; });
      if (within) take(at[i]);
    }
  }

  Origins through_fold(const Node& fold, const Origins& at) const {
    Origins from(body_.type(fold.operands[0]).rank());
    const auto &axes = fold.attrs.integers(Attr::axes), &size = fold.attrs.integers(Attr::size);
    size_t first = axes[0], count = axes.size();
    for (size_t i = 0; i < at.size(); ++i) {
      if (i < first) from[i] = at[i];
      else if (i >= first + count) from[i + count] = at[i];
      else if (size_t k = i - first; size[k] == fold.attrs.integers(Attr::stride)[k] && fold.attrs.integers(Attr::low)[k] == 0 && fold.attrs.integers(Attr::dilation)[k] == 1 && at[i].size() == 1 &&
                                     at[i][0].extent == fold.type.shape[i])
        from[i + count] = {{at[i][0].axis, size[k]}};
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
    } else if (view.op == Op::pad) {   // behind the end alone: what is inside keeps its place
      for (size_t i = 0; i < from.size(); ++i)
        if (at[i].size() == 1 && view.attrs.integers(Attr::low)[i] == 0 && view.attrs.integers(Attr::interior)[i] == 0 && source[i] <= at[i][0].extent) from[i] = {{at[i][0].axis, source[i]}};
    } else if (view.op == Op::reshape) {
      // Runs of axes with as many elements on both sides: an axis that is split is h = index / extent, index % extent; axes that are merged are all of them.
      for (auto [first, last, source_first, source_last] : reshape_runs(to, source)) {
        std::vector<Origin> all;
        bool known = true;
        for (size_t axis = first; axis < last; ++axis) {
          if (to[axis] == 1) continue;
          known = known && !at[axis].empty();
          all.insert(all.end(), at[axis].begin(), at[axis].end());
        }
        if (!known) continue;
        size_t inner = source_last;
        while (inner > source_first + 1 && source[inner - 1] == 1) --inner;
        if (inner == source_first + 1) from[source_first] = all;
        else if (all.size() == 1) from[inner - 1] = {{all[0].axis, source[inner - 1]}};
      }
    }
    return from;
  }
};
}  // namespace

Shape choose_tile(const Kernel& kernel) {
  if (kernel.form != Form::map || kernel.domain.size() < 2 || shape_size(kernel.domain) == 0) return {};
  Tiles tiles(kernel);
  for (const Result& r : kernel.body.results) {
    if (kernel.body.type(r.value).shape != kernel.domain) return {};
    Origins at;
    for (size_t i = 0; i < kernel.domain.size(); ++i) at.push_back({Origin{static_cast<int64_t>(i), kernel.domain[i]}});
    tiles.visit(r.value, at);
  }
  return tiles.result();
}

}  // namespace gradc::passes
