#include "codegen/nest.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <set>

#include "ir/check.h"
#include "ir/infer.h"
#include "ir/reduced_axes.h"

namespace gradc::codegen {
namespace {
using ir::Op;

// Walks what a root reads, without emitting anything.
class Survey {
 public:
  Survey(const ir::Kernel& kernel, IndexSpace& space, Atom variable, const std::vector<ir::Value>& known) : kernel_(kernel), body_(kernel.body), space_(space), variable_(variable), known_(known) {}

  bool visit(ir::Value v, const IndexVector& at) {
    if (!seen_.insert({v.id, at}).second || std::find(known_.begin(), known_.end(), v) != known_.end()) return true;
    const ir::Node& node = body_[v];
    if (ir::is_map(node.op)) return std::all_of(node.operands.begin(), node.operands.end(), [&](ir::Value operand) { return visit(operand, at); });
    if (ir::is_view(node.op)) {
      return visit(node.operands[0], access(node, body_.type(node.operands[0]).shape, at, space_));
    }
    if (std::optional<size_t> literal = ir::small_transform(body_, node)) {
      ir::ContractSpec spec = std::get<ir::ContractSpec>(ir::ContractSpec::parse(node.attrs.text(ir::Attr::spec)));
      const std::string& rest = *literal == 0 ? spec.b : spec.a;
      IndexVector from;
      for (size_t i = 0; i < rest.size(); ++i) {
        size_t k = spec.result.find(rest[i]);
        from.push_back(k == spec.result.npos ? space_.variable(body_.type(node.operands[1 - *literal]).shape[i]) : at[k]);
      }
      return visit(node.operands[1 - *literal], from);
    }
    if (ir::is_reduce(node.op)) return visit_reduce(node, at);
    if (node.op == Op::gather) {   // any row; along lanes that hold indices nothing is contiguous
      const int64_t rank = body_.type(node.operands[1]).rank();
      const IndexVector index = gather_index(node, rank, at);
      if (std::any_of(index.begin(), index.end(), [&](const Index& i) { return variable_ >= 0 && space_.depends(i, variable_); })) return false;
      const Index row = space_.variable(body_.type(node.operands[0]).shape[node.attrs.integer(ir::Attr::axis)]);
      return visit(node.operands[1], index) && visit(node.operands[0], gather_access(node, rank, at, row));
    }
    if (node.op == Op::constant || node.op == Op::iota) return true;
    bool buffer = node.op == Op::input;
    return contiguous(at, node.type.shape, buffer ? kernel_.argument_layout(ir::argument_number(node)) : ir::Layout());
  }
  bool contiguous(const IndexVector& at, const ir::Shape& shape, const ir::Layout& layout) {
    std::optional<int64_t> stride = space_.stride(space_.place(at, shape, layout), variable_);
    return stride == 0 || stride == 1;
  }

  /// The conditions that were met, and how many values at how many places.
  std::vector<Guard> guards;
  int64_t visits() const { return static_cast<int64_t>(seen_.size()); }

 private:
  bool visit(ir::Value operand, const Access& from) {
    guards.insert(guards.end(), from.guards.begin(), from.guards.end());
    return visit(operand, from.at);
  }
  bool visit_reduce(const ir::Node& node, const IndexVector& at) {
    const ir::Shape& shape = body_.type(node.operands[0]).shape;
    std::vector<int64_t> axes = ir::reduced_axes(node);
    if (node.op == Op::fold)
      for (int64_t& axis : axes) axis += static_cast<int64_t>(axes.size());
    ir::Shape extents;
    for (int64_t axis : axes) extents.push_back(shape[axis]);
    auto visit_offset = [&](const IndexVector& offset) {
      if (node.op == Op::fold) return visit(node.operands[0], fold_access(node, at, offset, space_));
      IndexVector from = at;
      for (size_t i = 0; i < axes.size(); ++i) from.insert(from.begin() + axes[i], offset[i]);
      return visit(node.operands[0], from);
    };
    if (int64_t count = ir::shape_size(extents); count <= straight_reduction) {
      for (int64_t i = 0; i < count; ++i)
        if (!visit_offset(space_.split(Index(i), extents))) return false;
      return true;
    }
    IndexVector offset;
    for (int64_t extent : extents) offset.push_back(space_.variable(extent));
    return visit_offset(offset);
  }

  const ir::Kernel& kernel_;
  const ir::Function& body_;
  IndexSpace& space_;
  Atom variable_;
  const std::vector<ir::Value> known_;   // a copy: callers give what lives no longer than the constructor
  std::set<std::pair<uint32_t, IndexVector>> seen_;
};
}  // namespace

int lanes_for(const ir::Kernel& kernel, const Target& target, int64_t extent) {
  bool wide = std::any_of(kernel.body.nodes.begin(), kernel.body.nodes.end(), [](const ir::Node& n) { return n.type.rank() > 0 && ir::element_bytes(n.type.element) == 8; });
  int lanes = wide ? target.f64_lanes() : target.lanes;
  return static_cast<int>(std::min<uint64_t>(lanes, std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(extent, 1)))));
}

bool dear(Op op) {
  static const std::set<Op> ops = {Op::exp, Op::log, Op::log1p, Op::sin, Op::cos, Op::tanh, Op::erf, Op::sigmoid, Op::pow, Op::random};
  return ops.count(op) > 0;
}

int unroll_for(const ir::Kernel& kernel, const Target& target) {
  int work = 1;
  for (const ir::Node& node : kernel.body.nodes)
    if (node.type.rank() > 0 && (ir::is_map(node.op) || ir::is_reduce(node.op) || dear(node.op))) work += node.op == Op::random ? 40 : dear(node.op) ? 8 : 1;
  int room = 2 * target.registers;
  return work * 4 <= room ? 4 : work * 2 <= room ? 2 : 1;
}

bool contiguous_along(const ir::Kernel& kernel, std::vector<Root> roots, IndexSpace& space, Atom variable, const std::vector<ir::Value>& known) {
  Survey survey(kernel, space, variable, known);
  return std::all_of(roots.begin(), roots.end(), [&](const Root& root) {
    if (root.stored && !root.stored->row_major() && !survey.contiguous(root.at, kernel.body.type(root.value).shape, *root.stored)) return false;
    return survey.visit(root.value, root.at);
  });
}

std::vector<Split> splits_for(const ir::Kernel& kernel, IndexSpace& space, const ir::Shape& loops, const std::function<std::vector<Root>(const IndexVector&)>& roots) {
  constexpr int64_t most_together = 4, widest_border = 2, most_code = 2048;
  std::vector<Split> splits;
  auto survey = [&](const IndexVector& at) {
    Survey survey(kernel, space, -1, {});
    for (const Root& root : roots(at)) survey.visit(root.value, root.at);
    return survey;
  };
  // Together: neighbours that differ in the remainder of an index alone.
  IndexVector axes;
  for (int64_t extent : loops) axes.push_back(space.variable(extent)), splits.push_back({1, 0, extent});
  int64_t cost = survey(axes).visits();
  for (Atom atom = 0; atom < space.atoms(); ++atom) {
    const IndexSpace::Definition& d = space[atom];
    if (d.kind == IndexSpace::Definition::Kind::variable || d.of.terms.size() != 1) continue;
    auto axis = std::find_if(axes.begin(), axes.end(), [&](const Index& i) { return variable_of(i) == d.of.terms[0].first; });
    if (axis == axes.end()) continue;
    Split& split = splits[axis - axes.begin()];
    int64_t together = std::lcm(split.together, d.by / std::gcd(std::abs(d.of.terms[0].second), d.by));
    if (together <= std::min(most_together, loops[axis - axes.begin()])) split.together = together;
  }
  // Borders: where the conditions that depend on one axis alone do not all hold.
  IndexVector steps;
  std::vector<IndexVector> places = {{}};
  for (size_t a = 0; a < loops.size(); ++a) {
    Split& split = splits[a];
    steps.push_back(space.variable(loops[a] / split.together));
    std::vector<IndexVector> longer;
    for (const IndexVector& place : places)
      for (int64_t k = 0; k < split.together; ++k) {
        longer.push_back(place);
        longer.back().push_back(space.add(space.scale(steps[a], split.together), k));
      }
    places = std::move(longer);
  }
  std::vector<Range> inside;
  for (const Index& step : steps) inside.push_back(space.range(step));
  if (static_cast<int64_t>(places.size()) * cost <= most_code)
    for (const IndexVector& place : places)
      for (const Guard& guard : survey(place).guards) {
        if (guard.place.terms.size() != 1) continue;
        auto [atom, by] = guard.place.terms[0];
        auto step = std::find_if(steps.begin(), steps.end(), [&](const Index& i) { return variable_of(i) == atom; });
        if (step == steps.end()) continue;
        Range& range = inside[step - steps.begin()];
        for (; range.low <= range.high && !space.range(space.substitute(guard.place, atom, range.low)).within(guard.extent);) ++range.low;
        for (; range.low <= range.high && !space.range(space.substitute(guard.place, atom, range.high)).within(guard.extent);) --range.high;
      }
  auto code = [&] {
    int64_t bodies = cost;
    for (size_t a = 0; a < loops.size(); ++a) bodies *= splits[a].low + splits[a].together + loops[a] - splits[a].high;
    return bodies;
  };
  std::vector<Split> plain = splits;
  for (size_t a = 0; a < loops.size(); ++a) {
    int64_t together = splits[a].together, count = loops[a] / together;
    bool borders = inside[a].low <= inside[a].high && inside[a].low <= widest_border && count - 1 - inside[a].high <= widest_border;
    plain[a].high = count * together;
    splits[a].low = borders ? inside[a].low * together : 0;
    splits[a].high = borders ? (inside[a].high + 1) * together : count * together;
  }
  if (code() > most_code) splits = plain;
  if (code() > most_code)
    for (size_t a = 0; a < loops.size(); ++a) splits[a] = {1, 0, loops[a]};
  return splits;
}

std::vector<int64_t> pieces_for(const ir::Kernel& kernel, IndexSpace& space, const Index& lane, const std::vector<Root>& roots) {
  constexpr size_t most_pieces = 8;
  if (lane.is_constant()) return {};
  const Range all = space.range(lane);
  const int64_t step = space[variable_of(lane)].by;
  Survey survey(kernel, space, -1, {});
  for (const Root& root : roots) survey.visit(root.value, root.at);
  std::set<int64_t> ends = {all.high + 1};
  for (const Guard& guard : survey.guards) {
    if (guard.place.terms.size() != 1 || guard.place.terms[0] != std::pair<Atom, int64_t>(variable_of(lane), 1)) continue;
    for (int64_t end : {-guard.place.constant, guard.extent - guard.place.constant})
      if (end > all.low && end < all.high && end % step == 0) ends.insert(end);
  }
  if (ends.size() > most_pieces) return {};
  return {ends.begin(), ends.end()};
}

Nest::Nest(Expression& e, ir::Shape inner, size_t merged, int unroll, int64_t straight, std::vector<Split> splits, std::vector<int64_t> pieces)
    : e_(e), loops_(inner.begin(), inner.begin() + merged), splits_(std::move(splits)), pieces_(std::move(pieces)), unroll_(unroll), places_(merged) {
  extent_ = ir::shape_size(ir::Shape(inner.begin() + merged, inner.end()));
  if (pieces_.empty()) pieces_ = {extent_};
  if (splits_.empty())
    for (int64_t extent : loops_) splits_.push_back({1, 0, extent});
  int64_t count = (extent_ + e.lanes - 1) / e.lanes;
  straight_ = loops_.empty() && count <= straight;
  if (count > straight) return;
  if (straight_) unroll_ = static_cast<int>(count);
  for (int64_t i = 0; i < count; ++i) {
    int64_t first = i * e.lanes, last = std::min(extent_, first + e.lanes) - 1;
    Index position = e.lanes == 1 ? Index(first) : e.space.variable(Range{first, last}, e.lanes);
    if (e.lanes > 1) e.bind_lanes(position, e.frame.number(first));
    lanes_.push_back({position, e.first_lanes(last - first + 1)});
  }
}

// A vector at each of the places where the loops are.
void Nest::add_chunks(std::vector<Chunk>& chunks, const Index& lane, LlvmValue mask) {
  auto add = [&](auto&& self, size_t depth, const Index& outer) -> void {
    if (depth == loops_.size()) {
      chunks.push_back({e_.space.add(e_.space.scale(outer, extent_), lane), mask});
      return;
    }
    for (const Index& place : places_[depth]) self(self, depth + 1, e_.space.add(e_.space.scale(outer, loops_[depth]), place));
  };
  add(add, 0, Index());
}

void Nest::run(std::vector<LlvmValue>& carried, const Body& body) {
  if (straight_) return body(lanes_, carried);
  run_loops(0, carried, body);
}

void Nest::run_places(size_t depth, IndexVector places, std::vector<LlvmValue>& carried, const Body& body) {
  if (places.empty()) return;
  ScopeGuard scope(e_);
  places_[depth] = std::move(places);
  run_loops(depth + 1, carried, body);
}

void Nest::run_loops(size_t depth, std::vector<LlvmValue>& carried, const Body& body) {
  if (depth == loops_.size()) return run_lanes(carried, body);
  const Split& split = splits_[depth];
  auto constants = [](int64_t first, int64_t limit) {
    IndexVector places;
    for (int64_t place = first; place < limit; ++place) places.push_back(Index(place));
    return places;
  };
  run_places(depth, constants(0, split.low), carried, body);
  int64_t steps = (split.high - split.low) / split.together, first = split.low / split.together;
  Index step = e_.space.variable(Range{first, first + steps - 1});
  e_.frame.loop(e_.frame.number(first), e_.frame.number(first + steps), 1, carried, [&](LlvmValue i, std::vector<LlvmValue>& inside) {
    e_.bind(step, i);
    IndexVector places;
    for (int64_t k = 0; k < split.together; ++k) places.push_back(e_.space.add(e_.space.scale(step, split.together), k));
    run_places(depth, places, inside, body);
  });
  run_places(depth, constants(split.high, loops_[depth]), carried, body);
}

void Nest::run_lanes(std::vector<LlvmValue>& carried, const Body& body) {
  if (lanes_.empty()) {
    int64_t first = 0;
    for (int64_t limit : pieces_) {
      auto end = [&](int64_t multiple) { return e_.frame.number(limit - (limit - first) % multiple); };
      run_piece({first, limit - 1}, e_.frame.number(first), end(int64_t{vectors_at_a_time()} * e_.lanes), end(e_.lanes), e_.frame.number(limit), carried, body);
      first = limit;
    }
    return;
  }
  // As many vectors at a time as there is room for: at least all that are together.
  size_t together = 1;
  for (const IndexVector& places : places_) together *= places.size();
  size_t vectors = std::max<size_t>(1, static_cast<size_t>(unroll_) / together);
  for (size_t first = 0; first < lanes_.size(); first += vectors) {
    ScopeGuard scope(e_);
    std::vector<Chunk> chunks;
    for (size_t i = first; i < std::min(lanes_.size(), first + vectors); ++i) add_chunks(chunks, lanes_[i].position, lanes_[i].mask);
    body(chunks, carried);
  }
}

void Nest::run(LlvmValue first, LlvmValue limit, std::vector<LlvmValue>& carried, const Body& body) {
  auto down_to = [&](int64_t multiple) { return extent_ % multiple == 0 ? limit : e_.b.CreateAnd(limit, e_.b.getInt64(-multiple)); };
  run_piece({0, extent_ - 1}, first, down_to(int64_t{vectors_at_a_time()} * e_.lanes), down_to(e_.lanes), limit, carried, body);
}

int Nest::vectors_at_a_time() const {
  int together = 1;
  for (const IndexVector& places : places_) together *= static_cast<int>(places.size());
  return std::max(1, static_cast<int>(std::bit_floor(static_cast<unsigned>(unroll_ / together))));
}

// Positions of a piece from `first` on: groups of vectors up to `groups`, single ones up to `whole`, a part of one up to `limit`.
void Nest::run_piece(Range piece, LlvmValue first, LlvmValue groups, LlvmValue whole, LlvmValue limit, std::vector<LlvmValue>& carried, const Body& body) {
  LlvmBuilder& b = e_.b;
  const int lanes = e_.lanes, unroll = vectors_at_a_time();
  auto step = [&](LlvmValue from, LlvmValue to, int count, LlvmValue mask) {
    e_.frame.loop(from, to, int64_t{count} * lanes, carried, [&](LlvmValue i, std::vector<LlvmValue>& inside) {
      ScopeGuard scope(e_);
      std::vector<Chunk> chunks;
      for (int k = 0; k < count; ++k) {
        Index lane = e_.space.variable(piece, lanes);
        e_.bind_lanes(lane, b.CreateAdd(i, b.getInt64(int64_t{k} * lanes)));
        add_chunks(chunks, lane, mask);
      }
      body(chunks, inside);
    });
  };
  const int64_t group = int64_t{unroll} * lanes, extent = piece.high + 1 - piece.low;
  CHECK(std::has_single_bit(static_cast<uint64_t>(group)));
  step(first, groups, unroll, nullptr);
  if (unroll > 1 && extent % group >= lanes) step(groups, whole, 1, nullptr);
  if (extent % lanes != 0) step(whole, limit, 1, e_.first_lanes(extent % lanes));
}
}  // namespace gradc::codegen
