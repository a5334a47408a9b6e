// The row form: one row after another, in one visit. Reductions are taken in sweeps over the row: those of a sweep need only
// results of earlier sweeps. Full-size results ride in the first sweep that knows all they need. Short rows have no sweeps in the code:
// their vectors stay in registers from one to the next. In long ones values that are dear and needed again go to scratch.
#include <algorithm>
#include <set>

#include "codegen/emit.h"
#include "codegen/nest.h"
#include "ir/check.h"
#include "ir/reduced_axes.h"

namespace gradc::codegen {
namespace {
using ir::Op;

struct Sweep {
  std::vector<ir::Value> reductions;
  std::vector<int> results;           // full-size ones stored
  std::vector<ir::Value> keep;        // to scratch
  std::vector<ir::Value> kept;        // from scratch
};

struct RowPlan {
  int64_t rows, length;
  std::vector<Sweep> sweeps;
  std::vector<int> row_results;                 // one element a row
  std::vector<ir::Value> reductions;            // all
  std::vector<int64_t> scratch;                 // per node: offset, or -1
  int64_t scratch_bytes = 0;
};

class Planner {
 public:
  explicit Planner(const ir::Kernel& kernel) : kernel_(kernel), body_(kernel.body), level_(body_.size(), 0) {
    plan_.rows = kernel.units;
    plan_.length = ir::shape_size(ir::Shape(kernel.domain.begin() + kernel.outer, kernel.domain.end()));
    plan_.scratch.assign(body_.size(), -1);
  }

  RowPlan run(bool straight) {
    size_t last = 0;
    for (uint32_t i = 0; i < body_.size(); ++i) {
      for (ir::Value operand : body_.nodes[i].operands) level_[i] = std::max(level_[i], level_[operand.id]);
      if (!is_row_reduction(body_.nodes[i])) continue;
      sweep(level_[i]).reductions.push_back(ir::Value{i});
      plan_.reductions.push_back(ir::Value{i});
      last = std::max(last, ++level_[i] - 1);
    }
    for (size_t r = 0; r < body_.results.size(); ++r) {
      ir::Value v = body_.results[r].value;
      if (body_.type(v).size() == plan_.rows) plan_.row_results.push_back(static_cast<int>(r));
      else sweep(level_[v.id]).results.push_back(static_cast<int>(r));
    }
    delay_stores();
    if (!straight) keep_values();
    return plan_;
  }

 private:
  bool is_row_reduction(const ir::Node& node) const {
    return ir::is_reduce(node.op) && node.op != Op::fold && node.type.size() == plan_.rows && body_.type(node.operands[0]).size() == plan_.rows * plan_.length;
  }
  Sweep& sweep(size_t i) {
    if (plan_.sweeps.size() <= i) plan_.sweeps.resize(i + 1);
    return plan_.sweeps[i];
  }

  // What a sweep computes at full size, walking no further than reductions and values from scratch.
  std::set<uint32_t> computed(const Sweep& sweep) const {
    std::set<uint32_t> seen;
    std::vector<ir::Value> stack;
    auto push = [&](ir::Value v) {
      if (std::find(sweep.kept.begin(), sweep.kept.end(), v) == sweep.kept.end() && !is_row_reduction(body_[v]) && seen.insert(v.id).second) stack.push_back(v);
    };
    for (ir::Value reduction : sweep.reductions) push(body_[reduction].operands[0]);
    for (int r : sweep.results) push(body_.results[r].value);
    while (!stack.empty()) {
      ir::Value v = stack.back();
      stack.pop_back();
      for (ir::Value operand : body_[v].operands) push(operand);
    }
    return seen;
  }

  // A result in the place of an input must not be stored before the last sweep that reads that input.
  void delay_stores() {
    for (size_t s = 0; s < plan_.sweeps.size(); ++s) {
      std::vector<int> here;
      for (int r : plan_.sweeps[s].results) {
        int place = kernel_.in_place.empty() ? -1 : kernel_.in_place[r];
        size_t at = s;
        if (place >= 0) {
          ir::Value input = body_.input(fmt::format("a{}", place));
          for (size_t later = s + 1; later < plan_.sweeps.size(); ++later)
            if (computed(plan_.sweeps[later]).count(input.id)) at = later;
        }
        (at == s ? here : plan_.sweeps[at].results).push_back(r);
      }
      plan_.sweeps[s].results = here;
    }
  }

  void keep_values() {
    for (size_t s = 1; s < plan_.sweeps.size(); ++s) {
      for (;;) {
        // The outermost dear value that an earlier sweep computes as well.
        std::set<uint32_t> now = computed(plan_.sweeps[s]);
        auto repeated = std::find_if(now.rbegin(), now.rend(), [&](uint32_t id) { return dear(body_.nodes[id].op) && body_.nodes[id].type.size() == plan_.rows * plan_.length && first_sweep(id) < s; });
        if (repeated == now.rend()) break;
        ir::Value v{*repeated};
        plan_.sweeps[s].kept.push_back(v);
        if (plan_.scratch[v.id] >= 0) continue;
        plan_.sweeps[first_sweep(v.id)].keep.push_back(v);
        plan_.scratch[v.id] = plan_.scratch_bytes;
        plan_.scratch_bytes += (plan_.length * 8 + 63) / 64 * 64;
      }
    }
  }
  size_t first_sweep(uint32_t id) const {
    size_t s = 0;
    while (!computed(plan_.sweeps[s]).count(id)) ++s;
    return s;
  }

  const ir::Kernel& kernel_;
  const ir::Function& body_;
  std::vector<size_t> level_;   // sweeps that must be over before the value is known
  RowPlan plan_;
};

class RowEmitter {
 public:
  RowEmitter(Frame& frame) : frame_(frame), kernel_(frame.kernel), body_(kernel_.body), unit_(space_.variable(kernel_.units)) {}

  void run() {
    ir::Shape inner(kernel_.domain.begin() + kernel_.outer, kernel_.domain.end());
    plan_ = Planner(kernel_).run(true);
    size_t merged = merged_axes(inner);
    int lanes = lanes_for(kernel_, frame_.target, ir::shape_size(ir::Shape(inner.begin() + merged, inner.end())));
    Expression e(frame_, space_, lanes);
    Nest nest(e, inner, merged, unroll_for(kernel_, frame_.target));
    plan_ = Planner(kernel_).run(nest.straight());
    frame_.loop(frame_.begin, frame_.end, 1, [&](LlvmValue u) {
      ScopeGuard scope(e);
      e.bind(unit_, u);
      for (const Sweep& sweep : plan_.sweeps) run_sweep(e, nest, sweep);
      std::vector<LlvmValue> values;
      for (int r : plan_.row_results) values.push_back(e.emit(body_.results[r].value, row_place(body_.results[r].value)));
      for (size_t i = 0; i < values.size(); ++i) e.store(frame_.results[plan_.row_results[i]], row_place(body_.results[plan_.row_results[i]].value), values[i]);
    });
  }

 private:
  IndexVector row_place(ir::Value v) { return space_.split(unit_, body_.type(v).shape); }
  IndexVector full_place(ir::Value v, const Index& position) { return space_.split(space_.add(space_.scale(unit_, plan_.length), position), body_.type(v).shape); }

  // Where the operand of a reduction stands at a position within the row.
  IndexVector operand_place(ir::Value reduction, const Index& position) {
    const ir::Node& node = body_[reduction];
    const ir::Shape& shape = body_.type(node.operands[0]).shape;
    const std::vector<int64_t> axes = ir::reduced_axes(node);
    ir::Shape extents;
    for (int64_t axis : axes) extents.push_back(shape[axis]);
    IndexVector place = row_place(reduction), reduced = space_.split(position, extents);
    for (size_t i = 0; i < axes.size(); ++i) place.insert(place.begin() + axes[i], reduced[i]);
    return place;
  }

  size_t merged_axes(const ir::Shape& inner) {
    size_t merged = 0;
    for (; merged + 1 < inner.size(); ++merged) {
      int64_t extent = ir::shape_size(ir::Shape(inner.begin() + merged, inner.end()));
      Index outer = space_.variable(plan_.length / extent), lane = space_.variable(extent, lanes_for(kernel_, frame_.target, extent));
      Index position = space_.add(space_.scale(outer, extent), lane);
      std::vector<Root> roots;
      for (const Sweep& sweep : plan_.sweeps) {
        for (ir::Value reduction : sweep.reductions) roots.push_back({body_[reduction].operands[0], operand_place(reduction, position)});
        for (int r : sweep.results) roots.push_back({body_.results[r].value, full_place(body_.results[r].value, position), &kernel_.result_layout(r)});
      }
      if (contiguous_along(kernel_, roots, space_, variable_of(lane), plan_.reductions)) break;
    }
    return merged;
  }

  void run_sweep(Expression& e, Nest& nest, const Sweep& sweep) {
    LlvmBuilder& b = frame_.builder;
    std::vector<Reduction> reductions;
    for (ir::Value v : sweep.reductions) reductions.emplace_back(body_[v], body_.type(body_[v].operands[0]).element, e.lanes, b, frame_.target);
    size_t width = 0;
    for (const Reduction& r : reductions) width += r.width();
    // One accumulator for each vector of an unrolled loop, for each reduction, one after the other.
    int sums = nest.unroll();
    std::vector<LlvmValue> state(sums * width);
    auto part = [&](std::vector<LlvmValue>& all, int sum, size_t reduction) {
      size_t first = sum * width;
      for (size_t i = 0; i < reduction; ++i) first += reductions[i].width();
      return std::span(all).subspan(first, reductions[reduction].width());
    };
    for (int s = 0; s < sums; ++s)
      for (size_t i = 0; i < reductions.size(); ++i) reductions[i].start(part(state, s, i));

    nest.run(state, [&](const std::vector<Chunk>& chunks, std::vector<LlvmValue>& carried) {
      for (size_t c = 0; c < chunks.size(); ++c) {
        const Chunk& chunk = chunks[c];
        e.set_mask(chunk.mask);
        for (ir::Value v : sweep.kept) e.provide(v, full_place(v, chunk.position), e.load(row_scratch_of(v), {chunk.position}));
        for (ir::Value v : sweep.keep) e.emit(v, full_place(v, chunk.position));
        for (size_t i = 0; i < reductions.size(); ++i) {
          LlvmValue position = body_[sweep.reductions[i]].op != Op::argmax ? nullptr : e.varies(chunk.position) ? e.lane_numbers(chunk.position) : b.CreateTrunc(e.number(chunk.position), b.getInt32Ty());
          e.take(reductions[i], part(carried, static_cast<int>(c), i), body_[sweep.reductions[i]].operands[0], operand_place(sweep.reductions[i], chunk.position), position, chunk.mask);
        }
        for (int r : sweep.results) e.emit(body_.results[r].value, full_place(body_.results[r].value, chunk.position));
      }
      for (const Chunk& chunk : chunks) {
        e.set_mask(chunk.mask);
        for (ir::Value v : sweep.keep) e.store(row_scratch_of(v), {chunk.position}, e.emit(v, full_place(v, chunk.position)));
        for (int r : sweep.results) {
          IndexVector at = full_place(body_.results[r].value, chunk.position);
          e.store(frame_.results[r], at, e.emit(body_.results[r].value, at));
        }
      }
      e.set_mask(nullptr);
    });

    for (size_t i = 0; i < reductions.size(); ++i) {
      for (int live = sums; live > 1; live = (live + 1) / 2)
        for (int s = 0; s + (live + 1) / 2 < live; ++s) reductions[i].merge(part(state, s, i), part(state, s + (live + 1) / 2, i));
      reductions[i].across_lanes(part(state, 0, i));
      e.provide(sweep.reductions[i], row_place(sweep.reductions[i]), reductions[i].result(part(state, 0, i), plan_.length));
    }
  }

  Buffer row_scratch_of(ir::Value v) {
    ir::ElementType element = body_.type(v).element;
    if (element == ir::ElementType::bf16) element = ir::ElementType::f32;
    return frame_.scratch_at(plan_.scratch[v.id], {element, {plan_.length}});
  }

  Frame& frame_;
  const ir::Kernel& kernel_;
  const ir::Function& body_;
  IndexSpace space_;
  Index unit_;
  RowPlan plan_;
};
}  // namespace

llvm::Function* emit_row(const ir::Kernel& kernel, const std::string& symbol, llvm::Module& module, const Target& target) {
  Frame frame(kernel, symbol, module, target);
  RowEmitter(frame).run();
  return frame.finish();
}

int64_t row_scratch_bytes(const ir::Kernel& kernel, const Target&) { return Planner(kernel).run(false).scratch_bytes; }
}  // namespace gradc::codegen
