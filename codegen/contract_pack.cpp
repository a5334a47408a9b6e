// Copies of operands into the thread's scratch, in the order in which tiles read them:
//   b: [reduced][lanes of the panel], lanes that do not exist are zero
//   a: [rows][reduced], each row padded so that rows do not fall on the same cache sets
// Contiguous lanes are copied by vectors; a reduced index that is contiguous is transposed in registers; anything else (guards,
// casts, quotients) is computed element by element through the index maps of its views.
#include <numeric>

#include "codegen/contract_emitter.h"

#include "ir/check.h"

namespace gradc::codegen {

Values ContractEmitter::operand_index(Side side, LlvmValue row, LlvmValue k, LlvmValue lane) const {
    Values index;
  for (size_t i = 0; i < plan_.axes.size(); ++i) {
    const ContractAxis& axis = plan_.axes[i];
    if (axis.role == AxisRole::lanes || !(side == Side::a ? axis.in_a : axis.in_b)) continue;
    index.push_back(axis.role == AxisRole::rows ? row : index_[i]);
  }
  index.push_back(k);
  if (lane_last(side)) index.push_back(lane);
  return index;
}

bool ContractEmitter::lane_last(Side side) const {
  return plan_.lane_axis >= 0 && (side == Side::a ? plan_.axes[plan_.lane_axis].in_a : plan_.axes[plan_.lane_axis].in_b);
}

ContractEmitter::Operand ContractEmitter::in_place(Side side) {
  const LinearAccess& access = side == Side::a ? *plan_.a_access : *plan_.b_access;
  auto index = operand_index(side, nullptr, nullptr, nullptr);
  Operand result;
  result.block = access.block, result.block_stride = access.block_stride;
  size_t depth_axis = index.size() - 1 - (lane_last(side) ? 1 : 0);
  LlvmValue place = number(access.offset);
  for (size_t i = 0; i < index.size(); ++i) {
    int64_t stride = access.strides[i];
    bool loop_axis = i < depth_axis && index[i], blocked = access.blocked == static_cast<int>(i);
    Along along = i > depth_axis ? Along::lanes : i == depth_axis ? Along::depth : Along::rows;
    if (along == Along::lanes) result.lane_stride = stride;
    else if (along == Along::depth) result.depth_stride = stride;
    else if (!loop_axis) result.row_stride = stride;
    else if (blocked) place = add(place, add(times(b_.CreateUDiv(index[i], number(access.block)), access.block_stride), times(b_.CreateURem(index[i], number(access.block)), stride)));
    else place = add(place, times(index[i], stride));
    if (blocked && !loop_axis) result.blocked = along;
  }
  result.buffer = frame_.input(access.input);
  result.base = at(result.buffer.pointer, place);
  return result;
}

LlvmValue ContractEmitter::offset(const Operand& operand, Along along, LlvmValue index) {
  if (operand.blocked != along) return times(index, operand.stride(along));
  return add(times(b_.CreateUDiv(index, number(operand.block)), operand.block_stride), times(b_.CreateURem(index, number(operand.block)), operand.stride(along)));
}

// From the first lane of a panel and the first element of a block of the reduction on.
ContractEmitter::Operand ContractEmitter::in_place(Side side, const Panel& panel, LlvmValue first_depth) {
  Operand result = in_place(side);
  if (result.blocked == Along::depth) result.first_depth = first_depth;
  else result.base = at(result.base, times(first_depth, result.depth_stride));
  if (!lane_last(side)) return result;
  bool together = plan_.width % result.block == 0 || (plan_.panel() % result.block == 0 && !plan_.dynamic_lanes);
  if (result.blocked == Along::lanes && !together) {
    for (int v = 0; v < panel.vectors; ++v) result.lane_offsets.push_back(offset(result, Along::lanes, add(panel.lane, number(v * plan_.width))));
  } else {
    result.base = at(result.base, offset(result, Along::lanes, panel.lane));
  }
  return result;
}

void ContractEmitter::pack_panel(const Panel& panel, LlvmValue first_depth, LlvmValue depth) {
  if (plan_.pairs()) return pack_pairs(panel, first_depth, depth);
  if (plan_.b_access && panel.whole_lanes >= 0) {
    const auto& strides = plan_.b_access->strides;
    bool lanes_blocked = plan_.b_access->blocked == static_cast<int>(strides.size()) - 1;
    if (strides[strides.size() - 2] == 1 && strides.back() != 1 && !lanes_blocked) return pack_transposed(panel, first_depth, depth);
  }
  pack_by_elements(panel, first_depth, number(0), depth);
}

// The reduced elements from `begin` to `end` of a block, one after the other.
void ContractEmitter::pack_by_elements(const Panel& panel, LlvmValue first_depth, LlvmValue begin, LlvmValue end) {
  int width = plan_.width, row_size = panel.vectors * width;
  LlvmValue to = scratch_at(plan_.b_offset);
  loop(begin, end, 1, [&](LlvmValue k) {
    for (int v = 0; v < panel.vectors; ++v) {
      LlvmValue x = operand_vector(Side::b, nullptr, add(first_depth, k), add(panel.lane, number(v * width)), v == panel.vectors - 1 ? panel.mask : nullptr);
      store(frame_.scratch, x, at(to, add(times(k, row_size), number(v * width))), vector_align_);
    }
  });
}

// A width x width block, transposed: its first `depth` columns as vectors. Rows are `row_stride` elements apart; the lanes from `rows` on
// are zero. Quarters of registers (128 bits) are loaded to where they belong, so that only exchanges within quarters are left.
Values ContractEmitter::transposed_block(const Buffer& from, LlvmValue place, int64_t row_stride, int64_t rows, int64_t depth) {
  int width = plan_.width, quarter = static_cast<int>(16 / bytes_);
  auto* quarter_type = llvm::FixedVectorType::get(scalar_, quarter);
  auto piece = [&](int64_t row, int q) -> LlvmValue {
    if (row >= rows) return llvm::Constant::getNullValue(quarter_type);
    LlvmValue source = at(place, row * row_stride + q * quarter);
    llvm::SmallVector<llvm::Constant*> exists;
    for (int i = 0; i < quarter; ++i) exists.push_back(b_.getInt1(q * quarter + i < depth));
    llvm::Instruction* made = depth >= (q + 1) * quarter ? static_cast<llvm::Instruction*>(b_.CreateAlignedLoad(quarter_type, source, llvm::Align(bytes_)))
                                                         : b_.CreateMaskedLoad(quarter_type, source, llvm::Align(bytes_), llvm::ConstantVector::get(exists), llvm::Constant::getNullValue(quarter_type));
    describe_access(made, from);
    return made;
  };
  auto joined = [&](Values parts) {
    while (parts.size() > 1) {
      Values halves;
      for (size_t i = 0; i < parts.size(); i += 2) {
        llvm::SmallVector<int> all(2 * llvm::cast<llvm::FixedVectorType>(parts[i]->getType())->getNumElements());
        std::iota(all.begin(), all.end(), 0);
        halves.push_back(b_.CreateShuffleVector(parts[i], parts[i + 1], all));
      }
      parts = std::move(halves);
    }
    return parts[0];
  };
  // Within each quarter: blocks of d elements of x alternate with those of y, from the quarter's first or second half.
  auto interleave = [&](LlvmValue x, LlvmValue y, int d, bool second_half) {
    llvm::SmallVector<int> lanes;
    for (int base = 0; base < width; base += quarter)
      for (int i = 0; i < quarter; ++i) {
        int block = i / d, source = base + (second_half ? quarter / 2 : 0) + block / 2 * d + i % d;
        lanes.push_back(block % 2 ? width + source : source);
      }
    return b_.CreateShuffleVector(x, y, lanes);
  };
  Values columns(width);
  for (int q = 0; q * quarter < depth; ++q) {
    Values rows_of(quarter);   // row i holds, quarter by quarter, rows i, i + quarter, i + 2 quarters, ... of the block
    for (int i = 0; i < quarter; ++i) {
      Values parts;
      for (int j = 0; j < width / quarter; ++j) parts.push_back(piece(j * quarter + i, q));
      rows_of[i] = joined(std::move(parts));
    }
    if (quarter == 2) {
      for (int c = 0; c < 2; ++c) columns[2 * q + c] = interleave(rows_of[0], rows_of[1], 1, c);
      continue;
    }
    for (int half = 0; half < 2; ++half) {
      LlvmValue low = interleave(rows_of[0], rows_of[1], 1, half), high = interleave(rows_of[2], rows_of[3], 1, half);
      for (int c = 0; c < 2; ++c) columns[4 * q + 2 * half + c] = interleave(low, high, 2, c);
    }
  }
  columns.resize(depth);
  return columns;
}

void ContractEmitter::pack_transposed(const Panel& panel, LlvmValue first_depth, LlvmValue depth) {
  int width = plan_.width, row_size = panel.vectors * width;
  Operand from = in_place(Side::b);
  LlvmValue base = at(from.base, times(panel.lane, from.lane_stride));
  LlvmValue to = scratch_at(plan_.b_offset);
  LlvmValue whole = b_.CreateAnd(depth, number(-width));
  auto block = [&](LlvmValue k, int64_t columns) {
    auto vector = [&](LlvmValue lane, int64_t rows) {
      Values made = transposed_block(from.buffer, at(base, add(offset(from, Along::depth, add(first_depth, k)), times(lane, from.lane_stride))), from.lane_stride, rows, columns);
      for (int64_t i = 0; i < columns; ++i) store(frame_.scratch, made[i], at(to, add(times(add(k, number(i)), row_size), lane)), vector_align_);
    };
    int64_t lanes = panel.whole_lanes / width * width;
    loop(number(0), number(lanes), width, [&](LlvmValue lane) { vector(lane, width); });
    if (lanes < panel.whole_lanes) vector(number(lanes), panel.whole_lanes - lanes);
  };
  loop(number(0), whole, width, [&](LlvmValue k) { block(k, width); });
  if (auto* known = llvm::dyn_cast<llvm::ConstantInt>(depth)) {
    if (int64_t rest = known->getSExtValue() % width) block(whole, rest);
    return;
  }
  pack_by_elements(panel, first_depth, whole, depth);
}

void ContractEmitter::pack_rows(LlvmValue first_row, LlvmValue last_row, LlvmValue first_depth, LlvmValue depth, int64_t unit) {
  if (plan_.pairs() && plan_.a_rows_adjacent) return plan_.amx ? pack_pairs_of_columns(first_row, last_row) : pack_pairs_by_depth(first_row, last_row);
  LlvmValue to = scratch_at(plan_.a_offset);
  loop(first_row, last_row, 1, [&](LlvmValue row) {
    LlvmValue row_at = at(to, times(b_.CreateSub(row, first_row), plan_.a_row_stride));
    pack_line(Side::a, row, first_depth, depth, unit, row_at);
  });
}

void ContractEmitter::pack_vector(LlvmValue first_depth, LlvmValue depth, int64_t unit) {
  pack_line(Side::b, nullptr, first_depth, depth, unit, scratch_at(plan_.b_offset));
}

// The reduced elements first_depth ... first_depth + depth of one row, zeros up to a multiple of `unit`.
void ContractEmitter::pack_line(Side side, LlvmValue row, LlvmValue first_depth, LlvmValue depth, int64_t unit, LlvmValue to) {
  if (plan_.pairs()) return pack_pairs_line(side, row, first_depth, depth, unit, to);
  int width = plan_.width;
  LlvmValue whole = b_.CreateAnd(depth, number(-width));
  loop(number(0), whole, width, [&](LlvmValue k) { store(frame_.scratch, operand_vector(side, row, add(first_depth, k), nullptr, nullptr), at(to, k), bytes_); });
  loop(whole, depth, width, [&](LlvmValue k) {
    LlvmValue mask = lane_mask(b_.CreateSub(depth, k));
    store(frame_.scratch, operand_vector(side, row, add(first_depth, k), nullptr, mask), at(to, k), bytes_);
  });
  if (unit <= width) return;
  LlvmValue written = b_.CreateAnd(add(depth, number(width - 1)), number(-width));
  LlvmValue end = times(b_.CreateUDiv(add(depth, number(unit - 1)), number(unit)), unit);
  loop(written, end, width, [&](LlvmValue k) { store(frame_.scratch, llvm::Constant::getNullValue(vector_), at(to, k), bytes_); });
}

}  // namespace gradc::codegen
