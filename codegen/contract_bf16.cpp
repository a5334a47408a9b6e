// Precisions below f32. Both operands are packed as pairs of bf16 that follow each other along the reduction; a pair is as large as an f32,
// so tiles, panels and loops are those of f32 with half the depth, and vdpbf16ps takes the place of the multiplication:
//
//   b: [pairs][lanes of the panel]      a: [rows][pairs], or [pairs][rows] where its rows lie next to each other
//
// bf16x3 writes x = high + low: two copies, and three products (high*high, high*low, low*high) into one sum. An odd depth's last pair ends
// with a zero. vdpbf16ps adds a pair's two products one after the other, each rounded to nearest even, and flushes denormals to zero.
#include <llvm/IR/IntrinsicsX86.h>

#include <numeric>

#include "codegen/contract_emitter.h"

namespace gradc::codegen {

LlvmValue ContractEmitter::multiply_pairs(LlvmValue x, LlvmValue y, LlvmValue sum) {
  auto* pairs = llvm::FixedVectorType::get(b_.getBFloatTy(), 2 * plan_.width);
  return b_.CreateIntrinsic(llvm::Intrinsic::x86_avx512bf16_dpbf16ps_512, {}, {sum, b_.CreateBitCast(x, pairs), b_.CreateBitCast(y, pairs)});
}

// Two vectors as one of pairs: element i of each is a pair (interleaved), or neighbouring elements are, those of `first` before those of `second`.
ContractEmitter::Term ContractEmitter::to_pairs(LlvmValue first, LlvmValue second, bool interleaved) {
  int width = plan_.width;
  auto* words = llvm::FixedVectorType::get(b_.getInt16Ty(), 2 * width);
  auto rounded = [&](LlvmValue x, LlvmValue y) { return b_.CreateBitCast(b_.CreateIntrinsic(llvm::Intrinsic::x86_avx512bf16_cvtne2ps2bf16_512, {}, {y, x}), words); };
  auto placed = [&](LlvmValue halves) {
    if (interleaved) {
      llvm::SmallVector<int> order;
      for (int i = 0; i < width; ++i) order.push_back(i), order.push_back(width + i);
      halves = b_.CreateShuffleVector(halves, order);
    }
    return b_.CreateBitCast(halves, vector_);
  };
  LlvmValue high = rounded(first, second);
  if (plan_.precision != ir::Precision::bf16x3) return {placed(high), nullptr};
  // What the high halves leave; 0 where they are not finite.
  auto rest = [&](LlvmValue x, int from) {
    llvm::SmallVector<int> part(width);
    std::iota(part.begin(), part.end(), from);
    LlvmValue bits = b_.CreateShl(b_.CreateZExt(b_.CreateShuffleVector(high, part), llvm::FixedVectorType::get(b_.getInt32Ty(), width)), uint64_t{16});
    LlvmValue value = b_.CreateBitCast(bits, vector_);
    LlvmValue finite = b_.CreateFCmpOLT(b_.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, value), llvm::ConstantFP::getInfinity(vector_));
    return b_.CreateSelect(finite, b_.CreateFSub(x, value), llvm::Constant::getNullValue(vector_));
  };
  return {placed(high), placed(rounded(rest(first, 0), rest(second, width)))};
}

// As ContractPlan::places.
LlvmValue ContractEmitter::places(LlvmValue depth) {
  if (plan_.amx) return b_.CreateShl(b_.CreateLShr(add(depth, number(31)), 5), 4);
  return plan_.pairs() ? b_.CreateLShr(add(depth, number(1)), 1) : depth;
}

void ContractEmitter::store_pairs(const Term& pairs, LlvmValue place, int64_t low) {
  store(frame_.scratch, pairs.high, place, bytes_);
  if (pairs.low) store(frame_.scratch, pairs.low, at(place, low), bytes_);
}

void ContractEmitter::pack_pairs(const Panel& panel, LlvmValue first_depth, LlvmValue depth) {
  if (plan_.b_access) {
    const auto& strides = plan_.b_access->strides;
    if (strides[strides.size() - 2] == 1 && strides.back() != 1) return pack_pairs_transposed(panel, first_depth, depth);
  }
  int width = plan_.width, row_size = panel.vectors * width;
  LlvmValue to = scratch_at(plan_.b_offset), zero = llvm::Constant::getNullValue(vector_);
  auto pair = [&](LlvmValue k, bool whole) {
    for (int v = 0; v < panel.vectors; ++v) {
      LlvmValue lane = add(panel.lane, number(v * width)), mask = v == panel.vectors - 1 ? panel.mask : nullptr;
      auto element = [&](int i) { return operand_vector(Side::b, nullptr, add(first_depth, add(k, number(i))), lane, mask); };
      LlvmValue first = element(0), second = whole ? element(1) : zero;
      store_pairs(to_pairs(first, second, true), at(to, add(times(b_.CreateLShr(k, 1), row_size), number(v * width))), plan_.b_low);
    }
  };
  LlvmValue even = b_.CreateAnd(depth, number(-2));
  loop(number(0), even, 2, [&](LlvmValue k) { pair(k, true); });
  if (plan_.depth % 2) loop(even, depth, 2, [&](LlvmValue k) { pair(k, false); });
  LlvmValue written = times(b_.CreateLShr(add(depth, number(1)), 1), row_size), end = times(places(depth), row_size);
  if (plan_.amx) loop(written, end, width, [&](LlvmValue i) { store_pairs({zero, plan_.b_low ? zero : nullptr}, at(to, i), plan_.b_low); });
}

// The reduced index is contiguous, the lanes are not: each lane's elements are rounded in their order, then pairs are transposed.
void ContractEmitter::pack_pairs_transposed(const Panel& panel, LlvmValue first_depth, LlvmValue depth) {
  int width = plan_.width, row_size = panel.vectors * width;
  int64_t low = width * width;
  Operand from = in_place(Side::b);
  LlvmValue base = at(from.base, add(times(panel.lane, from.lane_stride), times(first_depth, from.depth_stride)));
  LlvmValue to = scratch_at(plan_.b_offset), lines = scratch_at(plan_.turn_offset);
  // Pairs from element k on, `columns` of them, of the lanes of vector v. `rest` elements are left of k, if that is less than 2 * width.
  auto block = [&](LlvmValue k, LlvmValue rest, int64_t columns, int v) {
    LlvmValue count = panel.mask && v == panel.vectors - 1 ? minimum(b_.CreateSub(lane_last_, add(panel.lane, number(v * width))), number(width)) : number(width);
    LlvmValue zero = llvm::Constant::getNullValue(vector_);
    loop(number(0), count, 1, [&](LlvmValue i) {
      LlvmValue place = at(base, add(k, times(add(i, number(v * width)), from.lane_stride)));
      auto half = [&](int64_t h) { return load(from.buffer, at(place, h * width), rest ? lane_mask(b_.CreateSub(rest, number(h * width))) : nullptr, bytes_); };
      store_pairs(to_pairs(half(0), half(1), false), at(lines, times(i, width)), low);
    });
    if (panel.mask && v == panel.vectors - 1)
      loop(count, number(width), 1, [&](LlvmValue i) { store_pairs({zero, plan_.b_low ? zero : nullptr}, at(lines, times(i, width)), low); });
    for (int64_t part = 0; part < (plan_.b_low ? 2 : 1); ++part) {
      Values made = transposed_block(frame_.scratch, at(lines, part * low), width, width, columns);
      for (int64_t i = 0; i < columns; ++i) {
        LlvmValue place = at(to, add(times(add(b_.CreateLShr(k, 1), number(i)), row_size), number(v * width + part * plan_.b_low)));
        store(frame_.scratch, made[i], place, vector_align_);
      }
    }
  };
  LlvmValue whole = b_.CreateAnd(depth, number(-2 * width));
  loop(number(0), whole, 2 * width, [&](LlvmValue k) {
    for (int v = 0; v < panel.vectors; ++v) block(k, nullptr, width, v);
  });
  // Blocks but the last are multiples of 32 deep: what is left over is known.
  if (int64_t rest = plan_.depth % (2 * width))
    loop(whole, depth, 2 * width, [&](LlvmValue k) {
      for (int v = 0; v < panel.vectors; ++v) block(k, number(rest), plan_.amx ? width : (rest + 1) / 2, v);
    });
}

// Rows of a lie next to each other: vectors of rows, two reduced elements at a time.
void ContractEmitter::pack_pairs_by_depth(LlvmValue first_row, LlvmValue last_row) {
  int width = plan_.width;
  Operand from = in_place(Side::a);
  LlvmValue to = scratch_at(plan_.a_offset);
  auto pair = [&](LlvmValue k, bool whole) {
    auto vector = [&](LlvmValue row, LlvmValue mask) {
      LlvmValue place = at(from.base, add(row, times(k, from.depth_stride)));
      LlvmValue first = load(from.buffer, place, mask, bytes_), second = whole ? load(from.buffer, at(place, from.depth_stride), mask, bytes_) : llvm::Constant::getNullValue(vector_);
      store_pairs(to_pairs(first, second, true), at(to, add(b_.CreateSub(row, first_row), times(b_.CreateLShr(k, 1), plan_.a_depth_stride))), plan_.a_low);
    };
    LlvmValue rows = add(first_row, b_.CreateAnd(b_.CreateSub(last_row, first_row), number(-width)));
    loop(first_row, rows, width, [&](LlvmValue row) { vector(row, nullptr); });
    loop(rows, last_row, width, [&](LlvmValue row) { vector(row, lane_mask(b_.CreateSub(last_row, row))); });
  };
  int64_t even = plan_.depth & -2;
  loop(number(0), number(even), 2, [&](LlvmValue k) { pair(k, true); });
  if (even < plan_.depth) pair(number(even), false);
}

// The same for tiles of AMX, which want each row's pairs next to each other: pairs of vectors of rows, transposed.
void ContractEmitter::pack_pairs_of_columns(LlvmValue first_row, LlvmValue last_row) {
  int width = plan_.width;
  int64_t low = width * width;
  Operand from = in_place(Side::a);
  LlvmValue to = scratch_at(plan_.a_offset), lines = scratch_at(plan_.turn_offset), zero = llvm::Constant::getNullValue(vector_);
  auto block = [&](LlvmValue row, LlvmValue k, LlvmValue mask, int64_t depth) {
    auto pair = [&](LlvmValue i, bool first_there, bool second_there) {
      LlvmValue place = at(from.base, add(row, times(add(k, i), from.depth_stride)));
      LlvmValue first = first_there ? load(from.buffer, place, mask, bytes_) : zero, second = second_there ? load(from.buffer, at(place, from.depth_stride), mask, bytes_) : zero;
      store_pairs(to_pairs(first, second, true), at(lines, times(i, width / 2)), low);
    };
    loop(number(0), number(depth & -2), 2, [&](LlvmValue i) { pair(i, true, true); });
    for (int64_t i = depth & -2; i < 2 * width; i += 2) pair(number(i), i < depth, false);
    for (int64_t part = 0; part < (plan_.a_low ? 2 : 1); ++part) {
      Values made = transposed_block(frame_.scratch, at(lines, part * low), width, width, width);
      for (int64_t i = 0; i < width; ++i) {
        LlvmValue place = add(times(add(b_.CreateSub(row, first_row), number(i)), plan_.a_row_stride), add(b_.CreateLShr(k, 1), number(part * plan_.a_low)));
        store(frame_.scratch, made[i], at(to, place), vector_align_);
      }
    }
  };
  int64_t whole = plan_.depth / (2 * width) * (2 * width);
  auto vector = [&](LlvmValue row, LlvmValue mask) {
    loop(number(0), number(whole), 2 * width, [&](LlvmValue k) { block(row, k, mask, 2 * width); });
    if (whole < plan_.depth) block(row, number(whole), mask, plan_.depth - whole);
  };
  LlvmValue rows = add(first_row, b_.CreateAnd(b_.CreateSub(last_row, first_row), number(-width)));
  loop(first_row, rows, width, [&](LlvmValue row) { vector(row, nullptr); });
  loop(rows, last_row, width, [&](LlvmValue row) { vector(row, lane_mask(b_.CreateSub(last_row, row))); });
}

// The reduced elements of one row, zeros up to a multiple of `unit`.
void ContractEmitter::pack_pairs_line(Side side, LlvmValue row, LlvmValue first_depth, LlvmValue depth, int64_t unit, LlvmValue to) {
  int width = plan_.width;
  int64_t low = side == Side::a ? plan_.a_low : plan_.b_low;
  auto pairs = [&](LlvmValue k, bool whole) {
    auto half = [&](int64_t h) {
      LlvmValue from = add(k, number(h * width)), mask = whole ? nullptr : lane_mask(b_.CreateSub(depth, from));
      return operand_vector(side, row, add(first_depth, from), nullptr, mask);
    };
    LlvmValue first = half(0);
    store_pairs(to_pairs(first, half(1), false), at(to, b_.CreateLShr(k, 1)), low);
  };
  LlvmValue whole = b_.CreateAnd(depth, number(-2 * width));
  loop(number(0), whole, 2 * width, [&](LlvmValue k) { pairs(k, true); });
  if (plan_.depth % (2 * width)) loop(whole, depth, 2 * width, [&](LlvmValue k) { pairs(k, false); });
  if (unit <= 2 * width) return;
  LlvmValue written = b_.CreateAnd(add(depth, number(2 * width - 1)), number(-2 * width));
  LlvmValue end = times(b_.CreateUDiv(add(depth, number(unit - 1)), number(unit)), unit), zero = llvm::Constant::getNullValue(vector_);
  loop(written, end, 2 * width, [&](LlvmValue k) { store_pairs({zero, low ? zero : nullptr}, at(to, b_.CreateLShr(k, 1)), low); });
}

}  // namespace gradc::codegen
