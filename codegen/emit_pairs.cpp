// The pairs form: a matrix rounded to bf16 in the order in which products of bf16 read it (ir/kernel.h, contract_bf16.cpp), a line of 16 pairs at a
// time. Where pairs are of two rows, lines come from two vectors; where they lie within a row, 16 rows of 16 pairs are transposed in registers.
#include <llvm/IR/IntrinsicsX86.h>

#include <array>

#include "codegen/emit.h"
#include "codegen/expression.h"
#include "ir/check.h"

namespace gradc::codegen {
namespace {
constexpr int64_t width = 16;
using Line = LlvmValue;   // 16 pairs

class PairsEmitter {
 public:
  explicit PairsEmitter(Frame& frame) : frame_(frame), b_(frame.builder), kernel_(frame.kernel), e_(frame, space_, width) {
    CHECK(frame.target.bf16 && kernel_.body.results.size() == 1, "pairs on {}", frame.target.name);
    const ir::Node& cast = kernel_.body[kernel_.body.results[0].value];
    from_ = cast.operands[0];
    rows_ = kernel_.domain[0], columns_ = kernel_.domain[1];
    words_ = llvm::FixedVectorType::get(b_.getInt32Ty(), width);
    column_ = space_.variable(columns_, width);
  }

  void run() {
    const ir::Layout& layout = kernel_.result_layout(0);
    int64_t axis = layout.row_major() ? 0 : layout.digits.back().axis;
    CHECK(layout == ir::paired(kernel_.domain, axis), "pairs stored as {}", to_string(layout, kernel_.domain));
    axis == 0 ? of_two_rows() : within_rows();
  }

 private:
  Frame& frame_;
  LlvmBuilder& b_;
  const ir::Kernel& kernel_;
  IndexSpace space_;
  Expression e_;
  ir::Value from_;
  int64_t rows_, columns_;
  llvm::FixedVectorType* words_;
  Index column_;

  LlvmValue number(int64_t x) { return b_.getInt64(x); }

  // 16 elements of a row; zero outside the mask.
  LlvmValue elements(LlvmValue row, LlvmValue column, LlvmValue mask) {
    ScopeGuard scope(e_);
    Index at_row = space_.variable(rows_);
    e_.bind(at_row, row);
    e_.bind_lanes(column_, column);
    e_.set_mask(mask);
    LlvmValue x = e_.emit_lanes(from_, {at_row, column_});
    e_.set_mask(nullptr);
    return mask ? b_.CreateSelect(mask, x, llvm::Constant::getNullValue(x->getType())) : x;
  }

  // The elements of `low`, then those of `high`, rounded: as pairs of neighbours, or of one of each.
  Line rounded(LlvmValue low, LlvmValue high, bool interleaved) {
    auto* halves = llvm::FixedVectorType::get(b_.getInt16Ty(), 2 * width);
    LlvmValue made = b_.CreateBitCast(b_.CreateIntrinsic(llvm::Intrinsic::x86_avx512bf16_cvtne2ps2bf16_512, {}, {high, low}), halves);
    if (interleaved) {
      llvm::SmallVector<int> order;
      for (int i = 0; i < width; ++i) order.push_back(i), order.push_back(width + i);
      made = b_.CreateShuffleVector(made, order);
    }
    return b_.CreateBitCast(made, words_);
  }

  void store(Line line, LlvmValue number_of_line, LlvmValue mask) {
    const Buffer& to = frame_.results[0];
    LlvmValue place = b_.CreateGEP(words_, to.pointer, number_of_line);
    describe_access(mask ? b_.CreateMaskedStore(line, place, llvm::Align(64), mask) : static_cast<llvm::Instruction*>(b_.CreateAlignedStore(line, place, llvm::Align(64))), to);
  }

  // [n/16, k/2, n%16, k%2], k counting rows. Blocks of columns outside: both sides are then walked line after line.
  void of_two_rows() {
    constexpr int64_t most = 4;   // vectors of columns at a time
    auto columns = [&](LlvmValue column, int64_t vectors) {
      frame_.loop(frame_.begin, frame_.end, 2, [&](LlvmValue row) {
        for (int64_t v = 0; v < vectors; ++v) {
          LlvmValue at = b_.CreateAdd(column, number(v * width));
          LlvmValue first = elements(row, at, nullptr), second = elements(b_.CreateAdd(row, number(1)), at, nullptr);
          LlvmValue line = b_.CreateAdd(b_.CreateMul(b_.CreateLShr(at, 4), number(rows_ / 2)), b_.CreateLShr(row, 1));
          store(rounded(first, second, true), line, nullptr);
        }
      });
    };
    int64_t whole = columns_ / (most * width) * (most * width);
    frame_.loop(number(0), number(whole), most * width, [&](LlvmValue column) { columns(column, most); });
    if (whole < columns_) columns(number(whole), (columns_ - whole) / width);
  }

  // [n/16, k/2, n%16, k%2], n counting rows. A call may begin and end within a block of 16 rows.
  void within_rows() {
    auto block = [&](LlvmValue first_row, LlvmValue mask) {
      auto lines = [&](LlvmValue column, int64_t count) {   // of pairs of columns
        std::array<Line, width> x;
        for (int64_t r = 0; r < width; ++r) {
          LlvmValue row = b_.CreateAdd(first_row, number(r));
          auto half = [&](int64_t h) -> LlvmValue {
            int64_t exist = 2 * count - h * width;
            if (exist <= 0) return llvm::Constant::getNullValue(llvm::FixedVectorType::get(b_.getFloatTy(), width));
            return elements(row, b_.CreateAdd(column, number(h * width)), e_.first_lanes(exist));
          };
          LlvmValue low = half(0);
          x[r] = rounded(low, half(1), false);
        }
        transpose(x);
        LlvmValue line = b_.CreateAdd(b_.CreateMul(b_.CreateLShr(first_row, 4), number(columns_ / 2)), b_.CreateLShr(column, 1));
        for (int64_t i = 0; i < count; ++i) store(x[i], b_.CreateAdd(line, number(i)), mask);
      };
      int64_t whole = columns_ / (2 * width) * (2 * width);
      frame_.loop(number(0), number(whole), 2 * width, [&](LlvmValue column) { lines(column, width); });
      if (whole < columns_) lines(number(whole), (columns_ - whole) / 2);
    };
    LlvmValue start = b_.CreateAnd(frame_.begin, number(-width)), end = b_.CreateAnd(frame_.end, number(-width));
    LlvmValue first_whole = b_.CreateAnd(b_.CreateAdd(frame_.begin, number(width - 1)), number(-width));
    frame_.loop(first_whole, end, width, [&](LlvmValue row) { block(row, nullptr); });
    // The parts of blocks before and after; one and the same if the call lies within a block.
    llvm::SmallVector<llvm::Constant*> lanes;
    for (int64_t i = 0; i < width; ++i) lanes.push_back(number_constant(i));
    auto part = [&](LlvmValue row) {
      LlvmValue lane = b_.CreateAdd(llvm::ConstantVector::get(lanes), b_.CreateVectorSplat(width, row));
      block(row, b_.CreateAnd(b_.CreateICmpSGE(lane, b_.CreateVectorSplat(width, frame_.begin)), b_.CreateICmpSLT(lane, b_.CreateVectorSplat(width, frame_.end))));
    };
    LlvmValue head_end = b_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, first_whole, frame_.end);
    frame_.loop(start, b_.CreateSelect(b_.CreateICmpEQ(start, first_whole), start, head_end), width, part);
    frame_.loop(b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, first_whole, end), frame_.end, width, part);
  }

  llvm::Constant* number_constant(int64_t x) { return b_.getInt64(x); }

  // 16 x 16 words, by exchanging squares of 8, 4, 2 and 1.
  void transpose(std::array<Line, width>& x) {
    for (int64_t size = width / 2; size >= 1; size /= 2)
      for (int64_t r = 0; r < width; ++r) {
        if (r & size) continue;
        llvm::SmallVector<int> upper, lower;
        for (int64_t c = 0; c < width; ++c) {
          upper.push_back(static_cast<int>(c & size ? width + c - size : c));
          lower.push_back(static_cast<int>(c & size ? width + c : c + size));
        }
        Line above = x[r], below = x[r + size];
        x[r] = b_.CreateShuffleVector(above, below, upper);
        x[r + size] = b_.CreateShuffleVector(above, below, lower);
      }
  }
};
}  // namespace

llvm::Function* emit_pairs(const ir::Kernel& kernel, const std::string& symbol, llvm::Module& module, const Target& target) {
  Frame frame(kernel, symbol, module, target);
  PairsEmitter(frame).run();
  return frame.finish();
}
}  // namespace gradc::codegen
