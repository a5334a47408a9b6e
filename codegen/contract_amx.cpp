// Tiles of AMX for precisions below f32: an accumulator is 16 rows x 16 lanes of f32 in a tile register, a step of it takes 16 pairs of the reduction
// (32 elements). Two by two accumulators share what is loaded, which leaves four of the eight tile registers for operands; more would spill, and
// fewer wait for loads. Operands are packed as for vdpbf16ps (contract_bf16.cpp), with depths up to multiples of 32 filled with zeros; rows beyond
// the last are whatever scratch holds: they only reach sums that nobody reads. Sums go to scratch, and from there through the epilogue.
//
// The configuration of the tile registers is loaded once, by LLVM, where the function starts to use them: so the whole loop nest stands in one function.
#include <llvm/IR/IntrinsicsX86.h>

#include "codegen/contract_emitter.h"

namespace gradc::codegen {
namespace {
constexpr int64_t side = 16;   // rows, pairs, and lanes of a tile
}

// Rows from `first` on: sums of the panel's products over `depth` reduced elements, added to those at place(row) or (fresh) to nothing, stored at place(row)
// as [rows][lanes of the panel]; then done(row, count) for each block of rows.
void ContractEmitter::amx_rows(const Panel& panel, LlvmValue first, LlvmValue last, const Operand& a, const Operand& b, LlvmValue depth, bool fresh,
                               llvm::function_ref<LlvmValue(LlvmValue row)> place, llvm::function_ref<void(LlvmValue row, LlvmValue count)> done) {
  LlvmValue rows = b_.getInt16(side), bytes = b_.getInt16(side * 4);
  auto load_tile = [&](LlvmValue from, int64_t stride) { return b_.CreateIntrinsic(llvm::Intrinsic::x86_tileloadd64_internal, {}, {rows, bytes, from, number(stride * bytes_)}); };
  int64_t row_size = panel.vectors * side;
  // `count` tiles one below the other.
  auto block = [&](LlvmValue row, int count) {
    LlvmValue sums_at = place(row);
    Values state;
    for (int i = 0; i < count; ++i)
      for (int v = 0; v < panel.vectors; ++v)
        state.push_back(fresh ? b_.CreateIntrinsic(llvm::Intrinsic::x86_tilezero_internal, {}, {rows, bytes}) : load_tile(at(sums_at, i * side * row_size + v * side), row_size));
    LlvmValue a_at = at(a.base, times(row, a.row_stride));
    state = loop(number(0), places(depth), side, std::move(state), [&](LlvmValue k, Values sums) {
      auto a_tiles = [&](int64_t low) {
        Values tiles;
        for (int i = 0; i < count; ++i) tiles.push_back(load_tile(at(at(a_at, k), i * side * a.row_stride + low), a.row_stride));
        return tiles;
      };
      auto b_tiles = [&](int64_t low) {
        Values tiles;
        for (int v = 0; v < panel.vectors; ++v) tiles.push_back(load_tile(at(at(b.base, times(k, row_size)), v * side + low), row_size));
        return tiles;
      };
      auto multiply = [&](const Values& x, const Values& y) {
        for (int i = 0; i < count; ++i)
          for (int v = 0; v < panel.vectors; ++v) {
            LlvmValue& sum = sums[i * panel.vectors + v];
            sum = b_.CreateIntrinsic(llvm::Intrinsic::x86_tdpbf16ps_internal, {}, {rows, bytes, bytes, sum, x[i], y[v]});
          }
      };
      // The order keeps one part of each operand at a time: eight registers in all.
      Values high_a = a_tiles(0);
      if (b.low) multiply(high_a, b_tiles(b.low));
      Values high_b = b_tiles(0);
      multiply(high_a, high_b);
      if (a.low) multiply(a_tiles(a.low), high_b);
      return sums;
    });
    for (int i = 0; i < count; ++i)
      for (int v = 0; v < panel.vectors; ++v)
        b_.CreateIntrinsic(llvm::Intrinsic::x86_tilestored64_internal, {}, {rows, bytes, at(sums_at, i * side * row_size + v * side), number(row_size * bytes_), state[i * panel.vectors + v]});
    done(row, minimum(b_.CreateSub(last, row), number(count * side)));
  };
  // A block of two unless at most one is left.
  LlvmValue count = b_.CreateSub(last, first);
  LlvmValue pairs = add(first, times(b_.CreateSDiv(add(count, number(side - 1)), number(2 * side)), 2 * side));
  loop(first, pairs, 2 * side, [&](LlvmValue row) { block(row, 2); });
  loop(pairs, last, side, [&](LlvmValue row) { block(row, 1); });
}

}  // namespace gradc::codegen
