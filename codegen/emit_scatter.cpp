// The scatter form: rows that updates are added to, where indices say.
//
// Who computes a row owns it: a call sets its rows to 0, walks all indices in order and adds the updates of those that are its own. So there are no atomics, an
// element is a sum in rising order of the indices, and its bits do not depend on how units are shared out. What it costs to look at indices of other calls' rows is
// kept down by taking few granules (plan.cpp).
#include "codegen/emit.h"
#include "codegen/nest.h"
#include "ir/check.h"

namespace gradc::codegen {
namespace {
using ir::Attr;

class ScatterEmitter {
 public:
  explicit ScatterEmitter(Frame& frame)
      : frame_(frame), hero_(frame.kernel.body[frame.kernel.hero]), shape_(hero_.type.shape), axis_(hero_.attrs.integer(Attr::axis)), batch_(hero_.attrs.integer(Attr::batch)) {
    CHECK(frame.kernel.body.results.size() == 1 && frame.kernel.body.results[0].value == frame.kernel.hero, "a scatter kernel has one result, the sums");
    const ir::Shape& index = frame.kernel.body.type(hero_.operands[0]).shape;
    leading_ = ir::Shape(shape_.begin(), shape_.begin() + axis_);
    inner_ = ir::Shape(shape_.begin() + axis_ + 1, shape_.end());
    indices_ = ir::Shape(index.begin() + batch_, index.end());
  }

  void run() {
    const size_t merged = merged_axes();
    Expression e(frame_, space_, lanes_for(frame_.kernel, frame_.target, lane_extent(merged)));
    Nest nest(e, inner_, merged, unroll_for(frame_.kernel, frame_.target));
    const int64_t extent = shape_[axis_], groups = ir::shape_size(leading_), count = ir::shape_size(indices_);
    LlvmBuilder& b = frame_.builder;
    clear(e, nest);
    if (extent == 0) return;
    LlvmValue rows = frame_.number(extent);
    LlvmValue last = b.CreateUDiv(b.CreateAdd(frame_.end, frame_.number(extent - 1)), rows);
    frame_.loop(b.CreateUDiv(frame_.begin, rows), last, 1, [&](LlvmValue g) {
      ScopeGuard scope(e);
      Index group = space_.variable(groups);
      e.bind(group, g);
      // The call's own among the rows of this group.
      LlvmValue before = b.CreateMul(g, rows);
      LlvmValue low = b.CreateBinaryIntrinsic(llvm::Intrinsic::smax, b.CreateSub(frame_.begin, before), frame_.number(0));
      LlvmValue own = b.CreateSub(b.CreateBinaryIntrinsic(llvm::Intrinsic::smin, b.CreateSub(frame_.end, before), rows), low);
      frame_.loop(frame_.number(0), frame_.number(count), 1, [&](LlvmValue s) {
        ScopeGuard inside(e);
        Index position = space_.variable(count), row = space_.variable(extent);
        e.bind(position, s);
        const ir::Type& type = frame_.kernel.body.type(hero_.operands[0]);
        LlvmValue number = emit_cast(b, e.emit(hero_.operands[0], index_place(group, position)), type.element, ir::ElementType::i64);
        frame_.when(b.CreateICmpULT(b.CreateSub(number, low), own), [&] {
          ScopeGuard scope(e);
          e.bind(row, number);
          add(e, nest, group, position, row);
        });
      });
    });
  }

 private:
  int64_t lane_extent(size_t merged) const { return ir::shape_size(ir::Shape(inner_.begin() + static_cast<int64_t>(merged), inner_.end())); }

  IndexVector index_place(const Index& group, const Index& position) {
    IndexVector at = space_.split(group, leading_), behind = space_.split(position, indices_);
    at.resize(batch_);
    at.insert(at.end(), behind.begin(), behind.end());
    return at;
  }
  IndexVector update_place(const Index& group, const Index& position, const Index& element) {
    IndexVector at = space_.split(group, leading_), behind = space_.split(position, indices_), inner = space_.split(element, inner_);
    at.insert(at.end(), behind.begin(), behind.end());
    at.insert(at.end(), inner.begin(), inner.end());
    return at;
  }
  IndexVector result_place(IndexVector at, const Index& element) {
    IndexVector inner = space_.split(element, inner_);
    at.insert(at.end(), inner.begin(), inner.end());
    return at;
  }

  // How many inner axes stay loops, so that updates and sums are contiguous along the others.
  size_t merged_axes() {
    size_t merged = 0;
    Index group = space_.variable(ir::shape_size(leading_)), position = space_.variable(ir::shape_size(indices_)), row = space_.variable(shape_[axis_]);
    for (; merged + 1 < inner_.size(); ++merged) {
      const int64_t extent = lane_extent(merged);
      Index outer = space_.variable(ir::shape_size(inner_) / extent), lane = space_.variable(extent, lanes_for(frame_.kernel, frame_.target, extent));
      Index element = space_.add(space_.scale(outer, extent), lane);
      if (contiguous_along(frame_.kernel, {{hero_.operands[1], update_place(group, position, element)}}, space_, variable_of(lane), {})) break;
    }
    return merged;
  }

  void clear(Expression& e, Nest& nest) {
    LlvmValue zero = constant(hero_.type.element, 0, frame_.builder.getContext());
    Index unit = space_.variable(frame_.kernel.units);
    const ir::Shape rows(shape_.begin(), shape_.begin() + axis_ + 1);
    frame_.loop(frame_.begin, frame_.end, 1, [&](LlvmValue u) {
      ScopeGuard scope(e);
      e.bind(unit, u);
      std::vector<LlvmValue> none;
      nest.run(none, [&](const std::vector<Chunk>& chunks, std::vector<LlvmValue>&) {
        for (const Chunk& chunk : chunks) {
          e.set_mask(chunk.mask);
          e.store(frame_.results[0], result_place(space_.split(unit, rows), chunk.position), zero);
        }
        e.set_mask(nullptr);
      });
    });
  }

  void add(Expression& e, Nest& nest, const Index& group, const Index& position, const Index& row) {
    LlvmBuilder& b = frame_.builder;
    IndexVector at = space_.split(group, leading_);
    at.push_back(row);
    std::vector<LlvmValue> none;
    nest.run(none, [&](const std::vector<Chunk>& chunks, std::vector<LlvmValue>&) {
      for (const Chunk& chunk : chunks) {
        e.set_mask(chunk.mask);
        const IndexVector to = result_place(at, chunk.position);
        LlvmValue sum = e.load(frame_.results[0], to), update = e.emit(hero_.operands[1], update_place(group, position, chunk.position));
        if (sum->getType()->isVectorTy()) update = splat(b, update, e.lanes);   // the last chunk may be a single element
        sum = ir::is_float(hero_.type.element) ? b.CreateFAdd(sum, update) : b.CreateAdd(sum, update);
        e.store(frame_.results[0], to, sum);
      }
      e.set_mask(nullptr);
    });
  }

  Frame& frame_;
  const ir::Node& hero_;
  const ir::Shape& shape_;
  const int64_t axis_, batch_;
  ir::Shape leading_, inner_, indices_;   // axes: before the rows', behind it, of indices behind the batch
  IndexSpace space_;
};
}  // namespace

llvm::Function* emit_scatter(const ir::Kernel& kernel, const std::string& symbol, llvm::Module& module, const Target& target) {
  Frame frame(kernel, symbol, module, target);
  ScatterEmitter(frame).run();
  return frame.finish();
}
}  // namespace gradc::codegen
