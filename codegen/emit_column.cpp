// The column form: reductions over leading axes. A block of columns is held in registers while the rows go by.
#include <algorithm>

#include "codegen/emit.h"
#include "codegen/nest.h"
#include "ir/check.h"
#include "ir/reduced_axes.h"

namespace gradc::codegen {
namespace {
using ir::Op;

class ColumnEmitter {
 public:
  ColumnEmitter(Frame& frame) : frame_(frame), kernel_(frame.kernel), body_(kernel_.body) {
    kept_ = ir::Shape(kernel_.domain.begin(), kernel_.domain.begin() + kernel_.kept);
    rows_ = ir::shape_size(ir::Shape(kernel_.domain.begin() + kernel_.kept, kernel_.domain.begin() + kernel_.outer));
    columns_ = ir::shape_size(ir::Shape(kernel_.domain.begin() + kernel_.outer, kernel_.domain.end()));
    const int64_t size = ir::shape_size(kept_) * columns_;
    // Sweeps as in the row form: a reduction may need the result of another one (a variance its mean).
    std::vector<size_t> level(body_.size(), 0);
    for (uint32_t i = 0; i < body_.size(); ++i) {
      const ir::Node& node = body_.nodes[i];
      for (ir::Value operand : node.operands) level[i] = std::max(level[i], level[operand.id]);
      if (!ir::is_reduce(node.op) || node.op == Op::fold || node.type.size() != size || body_.type(node.operands[0]).size() != rows_ * size) continue;
      if (sweeps_.size() <= level[i]) sweeps_.resize(level[i] + 1);
      sweeps_[level[i]++].push_back(ir::Value{i});
    }
    for (const ir::Result& result : body_.results) CHECK(body_.type(result.value).size() == size, "result {} of a column kernel", result.name);
  }

  void run() {
    constexpr int64_t block = ir::Kernel::column_block;
    int lanes = lanes_for(kernel_, frame_.target, columns_);
    Expression e(frame_, space_, lanes);
    size_t states = 1;
    for (const auto& sweep : sweeps_) states = std::max(states, sweep.size());
    int64_t room = std::max<int64_t>(1, frame_.target.registers / 2 / static_cast<int64_t>(states));
    int64_t vectors = std::min<int64_t>({room, block / lanes, (columns_ + lanes - 1) / lanes});   // at a time
    row_unroll_ = static_cast<int>(std::clamp<int64_t>(room / vectors, 1, std::min<int64_t>(4, std::max<int64_t>(1, rows_))));

    int64_t whole = columns_ / block;
    LlvmBuilder& b = frame_.builder;
    auto run_block = [&](LlvmValue unit, int64_t width) {
      LlvmValue first = b.CreateMul(unit, frame_.number(block));
      for (int64_t done = 0; done < width; done += vectors * lanes) {
        ScopeGuard scope(e);
        std::vector<Chunk> chunks;
        for (int64_t v = 0; v < vectors && done + v * lanes < width; ++v) {
          Index column = lanes == 1 ? space_.variable(columns_) : space_.variable(columns_, lanes);
          e.bind_lanes(column, b.CreateAdd(first, frame_.number(done + v * lanes)));
          chunks.push_back({column, e.first_lanes(width - done - v * lanes)});
        }
        run_columns(e, chunks);
      }
    };
    auto run_blocks = [&](LlvmValue begin, LlvmValue end) {
      if (whole > 0) frame_.loop(begin, b.CreateBinaryIntrinsic(llvm::Intrinsic::smin, end, frame_.number(whole)), 1, [&](LlvmValue unit) { run_block(unit, block); });
      if (columns_ % block == 0) return;
      LlvmValue rest = b.CreateBinaryIntrinsic(llvm::Intrinsic::smax, begin, frame_.number(whole));
      frame_.loop(rest, end, 1, [&](LlvmValue unit) { run_block(unit, columns_ % block); });
    };
    if (kept_.empty()) return run_blocks(frame_.begin, frame_.end);
    frame_.loop(frame_.begin, frame_.end, 1, [&](LlvmValue unit) {
      ScopeGuard scope(e);
      Index first = space_.variable(kernel_.units);
      e.bind(first, unit);
      unit_ = space_.split(first, kept_);
      run_blocks(frame_.number(0), frame_.number((columns_ + block - 1) / block));
    });
  }

 private:
  IndexVector place(ir::Value v, const Index& column) {
    const ir::Shape& shape = body_.type(v).shape;
    IndexVector at = unit_, behind = space_.split(column, ir::Shape(shape.begin() + kernel_.kept, shape.end()));
    at.insert(at.end(), behind.begin(), behind.end());
    return at;
  }
  IndexVector operand_place(ir::Value reduction, const Index& column, const Index& row) {
    const ir::Node& node = body_[reduction];
    const ir::Shape& shape = body_.type(node.operands[0]).shape;
    const std::vector<int64_t> axes = ir::reduced_axes(node);
    ir::Shape extents;
    for (int64_t axis : axes) extents.push_back(shape[axis]);
    IndexVector at = place(reduction, column), reduced = space_.split(row, extents);
    for (size_t i = 0; i < axes.size(); ++i) at.insert(at.begin() + axes[i], reduced[i]);
    return at;
  }

  void run_columns(Expression& e, const std::vector<Chunk>& chunks) {
    for (const std::vector<ir::Value>& sweep : sweeps_) run_sweep(e, chunks, sweep);
    std::vector<LlvmValue> values;
    for (const Chunk& chunk : chunks) {
      e.set_mask(chunk.mask);
      for (const ir::Result& result : body_.results) values.push_back(e.emit(result.value, place(result.value, chunk.position)));
    }
    auto value = values.begin();
    for (const Chunk& chunk : chunks) {
      e.set_mask(chunk.mask);
      for (size_t r = 0; r < body_.results.size(); ++r) e.store(frame_.results[r], place(body_.results[r].value, chunk.position), *value++);
    }
    e.set_mask(nullptr);
  }

  // Rows r, r + row_unroll_, ... have an accumulator of their own.
  void run_sweep(Expression& e, const std::vector<Chunk>& chunks, const std::vector<ir::Value>& sweep) {
    LlvmBuilder& b = frame_.builder;
    struct Part {
      ir::Value value;
      Reduction reduction;
      const Chunk* chunk;
      size_t first;   // in one row's state
    };
    std::vector<Part> parts;
    size_t width = 0;
    for (const Chunk& chunk : chunks)
      for (ir::Value v : sweep) {
        parts.push_back({v, Reduction(body_[v], body_.type(body_[v].operands[0]).element, e.lanes, b, frame_.target), &chunk, width});
        width += parts.back().reduction.width();
      }
    std::vector<LlvmValue> state(width * row_unroll_);
    auto state_of = [&](std::vector<LlvmValue>& all, int row, const Part& part) { return std::span(all).subspan(row * width + part.first, part.reduction.width()); };
    for (int k = 0; k < row_unroll_; ++k)
      for (Part& part : parts) part.reduction.start(state_of(state, k, part));
    auto take_row = [&](std::vector<LlvmValue>& all, int k, const Index& row) {
      for (Part& part : parts) {
        e.set_mask(part.chunk->mask);
        LlvmValue position = b.CreateTrunc(e.number(row), b.getInt32Ty());
        e.take(part.reduction, state_of(all, k, part), body_[part.value].operands[0], operand_place(part.value, part.chunk->position, row), position, nullptr);
      }
      e.set_mask(nullptr);
    };
    int64_t whole = rows_ - rows_ % row_unroll_;
    frame_.loop(frame_.number(0), frame_.number(whole), row_unroll_, state, [&](LlvmValue i, std::vector<LlvmValue>& carried) {
      ScopeGuard scope(e);
      for (int k = 0; k < row_unroll_; ++k) {
        Index row = space_.variable(rows_);
        e.bind(row, b.CreateAdd(i, frame_.number(k)));
        take_row(carried, k, row);
      }
    });
    for (int64_t row = whole; row < rows_; ++row) take_row(state, static_cast<int>(row - whole), Index(row));
    for (Part& part : parts) {
      for (int live = row_unroll_; live > 1; live = (live + 1) / 2)
        for (int k = 0; k + (live + 1) / 2 < live; ++k) part.reduction.merge(state_of(state, k, part), state_of(state, k + (live + 1) / 2, part));
      e.provide(part.value, place(part.value, part.chunk->position), part.reduction.result(state_of(state, 0, part), rows_));
    }
  }

  Frame& frame_;
  const ir::Kernel& kernel_;
  const ir::Function& body_;
  IndexSpace space_;
  ir::Shape kept_;
  IndexVector unit_;   // along the kept axes
  int64_t rows_, columns_;
  int row_unroll_ = 1;
  std::vector<std::vector<ir::Value>> sweeps_;
};
}  // namespace

llvm::Function* emit_column(const ir::Kernel& kernel, const std::string& symbol, llvm::Module& module, const Target& target) {
  Frame frame(kernel, symbol, module, target);
  ColumnEmitter(frame).run();
  return frame.finish();
}
}  // namespace gradc::codegen
