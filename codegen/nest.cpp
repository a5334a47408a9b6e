#include "codegen/nest.h"

#include <algorithm>
#include <bit>
#include <set>

#include "ir/check.h"
#include "ir/infer.h"

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
      Access from = access(node, body_.type(node.operands[0]).shape, at, space_);
      return visit(node.operands[0], from.at);
    }
    if (node.op == Op::fold) {
      IndexVector offset;
      for (int64_t size : node.attrs.integers(ir::Attr::size)) offset.push_back(space_.variable(size));
      return visit(node.operands[0], fold_access(node, at, offset, space_).at);
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
    if (ir::is_reduce(node.op)) {
      std::vector<int64_t> axes;
      if (node.op == Op::argmax) axes = {node.attrs.integer(ir::Attr::axis)};
      else axes = node.attrs.integers(ir::Attr::axes);
      IndexVector from = at;
      for (int64_t axis : axes) from.insert(from.begin() + axis, space_.variable(body_.type(node.operands[0]).shape[axis]));
      return visit(node.operands[0], from);
    }
    if (node.op == Op::constant || node.op == Op::iota) return true;
    bool buffer = node.op == Op::input;
    return contiguous(at, node.type.shape, buffer ? kernel_.argument_layout(ir::argument_number(node)) : ir::Layout());
  }
  bool contiguous(const IndexVector& at, const ir::Shape& shape, const ir::Layout& layout) {
    std::optional<int64_t> stride = space_.stride(space_.place(at, shape, layout), variable_);
    return stride == 0 || stride == 1;
  }

 private:
  const ir::Kernel& kernel_;
  const ir::Function& body_;
  IndexSpace& space_;
  Atom variable_;
  const std::vector<ir::Value>& known_;
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

Nest::Nest(Expression& e, ir::Shape inner, size_t merged, int unroll, int64_t straight) : e_(e), loops_(inner.begin(), inner.begin() + merged), unroll_(unroll) {
  extent_ = ir::shape_size(ir::Shape(inner.begin() + merged, inner.end()));
  int64_t count = (extent_ + e.lanes - 1) / e.lanes;
  straight_ = loops_.empty() && count <= straight;
  for (int64_t extent : loops_) variables_.push_back(e.space.variable(extent));
  if (!straight_) return;
  unroll_ = static_cast<int>(count);
  for (int64_t i = 0; i < count; ++i) {
    int64_t first = i * e.lanes, last = std::min(extent_, first + e.lanes) - 1;
    Index position = e.lanes == 1 ? Index(first) : e.space.variable(Range{first, last}, e.lanes);
    if (e.lanes > 1) e.bind_lanes(position, e.frame.number(first));
    chunks_.push_back({position, e.first_lanes(last - first + 1)});
  }
}

Index Nest::position(const Index& lane) {
  Index outer = e_.space.linear(variables_, loops_);
  return e_.space.add(e_.space.scale(outer, extent_), lane);
}

void Nest::run(std::vector<LlvmValue>& carried, const Body& body) {
  if (straight_) return body(chunks_, carried);
  run_loops(0, carried, body);
}

void Nest::run_loops(size_t depth, std::vector<LlvmValue>& carried, const Body& body) {
  if (depth == loops_.size()) return run(e_.frame.number(0), e_.frame.number(extent_), carried, body);
  e_.frame.loop(e_.frame.number(0), e_.frame.number(loops_[depth]), 1, carried, [&](LlvmValue i, std::vector<LlvmValue>& inside) {
    ScopeGuard scope(e_);
    e_.bind(variables_[depth], i);
    run_loops(depth + 1, inside, body);
  });
}

void Nest::run(LlvmValue first, LlvmValue limit, std::vector<LlvmValue>& carried, const Body& body) {
  LlvmBuilder& b = e_.b;
  const int lanes = e_.lanes;
  auto down_to = [&](LlvmValue value, int64_t multiple) { return b.CreateAnd(value, b.getInt64(-multiple)); };
  auto step = [&](LlvmValue from, LlvmValue to, int count, LlvmValue mask) {
    e_.frame.loop(from, to, int64_t{count} * lanes, carried, [&](LlvmValue i, std::vector<LlvmValue>& inside) {
      ScopeGuard scope(e_);
      std::vector<Chunk> chunks;
      for (int k = 0; k < count; ++k) {
        Index lane = e_.space.variable(extent_, lanes);
        e_.bind_lanes(lane, b.CreateAdd(i, b.getInt64(int64_t{k} * lanes)));
        chunks.push_back({position(lane), mask});
      }
      body(chunks, inside);
    });
  };
  int64_t group = int64_t{unroll_} * lanes;
  CHECK(std::has_single_bit(static_cast<uint64_t>(group)));
  LlvmValue groups = extent_ % group == 0 ? limit : down_to(limit, group), whole = extent_ % lanes == 0 ? limit : down_to(limit, lanes);
  step(first, groups, unroll_, nullptr);
  if (unroll_ > 1 && extent_ % group >= lanes) step(groups, whole, 1, nullptr);
  if (extent_ % lanes != 0) step(whole, limit, 1, e_.first_lanes(extent_ % lanes));
}
}  // namespace gradc::codegen
