// Copies of operands into the thread's scratch, in the order in which tiles read them:
//   b: [reduced][lanes of the panel], lanes that do not exist are zero
//   a: [rows][reduced], each row padded so that rows do not fall on the same cache sets
// Contiguous lanes are copied by vectors; a reduced index that is contiguous is transposed in registers; anything else (guards,
// casts, quotients) is computed element by element through the index maps of its views.
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
  size_t depth_axis = index.size() - 1 - (lane_last(side) ? 1 : 0);
  LlvmValue place = number(access.offset);
  for (size_t i = 0; i < index.size(); ++i) {
    int64_t stride = access.strides[i];
    if (i > depth_axis) result.lane_stride = stride;
    else if (i == depth_axis) result.depth_stride = stride;
    else if (!index[i]) result.row_stride = stride;
    else place = add(place, times(index[i], stride));
  }
  result.buffer = frame_.input(access.input);
  result.base = at(result.buffer.pointer, place);
  return result;
}

void ContractEmitter::pack_panel(const Panel& panel, LlvmValue first_depth, LlvmValue depth) {
  int width = plan_.width, row_size = panel.vectors * width;
  LlvmValue to = scratch_at(plan_.b_offset);
  if (plan_.b_access && panel.whole_lanes >= 0) {
    const auto& strides = plan_.b_access->strides;
    if (strides[strides.size() - 2] == 1 && strides.back() != 1) return pack_transposed(panel, first_depth, depth);
  }
  loop(number(0), depth, 1, [&](LlvmValue k) {
    for (int v = 0; v < panel.vectors; ++v) {
      LlvmValue x = operand_vector(Side::b, nullptr, add(first_depth, k), add(panel.lane, number(v * width)), v == panel.vectors - 1 ? panel.mask : nullptr);
      store(frame_.scratch, x, at(to, add(times(k, row_size), number(v * width))), vector_align_);
    }
  });
}

Values ContractEmitter::transpose(Values rows) {
  // log2(width) rounds; each exchanges blocks of d x d between rows i and i + d.
  int width = plan_.width;
  for (int d = width / 2; d >= 1; d /= 2) {
    llvm::SmallVector<int> low, high;
    for (int lane = 0; lane < width; ++lane) {
      bool second = lane & d;
      low.push_back(second ? width + lane - d : lane);
      high.push_back(second ? width + lane : lane + d);
    }
    for (int i = 0; i < width; ++i) {
      if (i & d) continue;
      llvm::Value *x = rows[i], *y = rows[i + d];
      rows[i] = b_.CreateShuffleVector(x, y, low);
      rows[i + d] = b_.CreateShuffleVector(x, y, high);
    }
  }
  return rows;
}

void ContractEmitter::pack_transposed(const Panel& panel, LlvmValue first_depth, LlvmValue depth) {
  int width = plan_.width, row_size = panel.vectors * width;
  Operand from = in_place(Side::b);
  LlvmValue base = at(from.base, add(times(panel.lane, from.lane_stride), times(first_depth, from.depth_stride)));
  LlvmValue to = scratch_at(plan_.b_offset);
  auto blocks = [&](LlvmValue first, LlvmValue last, bool whole) {
    loop(first, last, width, [&](LlvmValue k) {
      LlvmValue mask = whole ? nullptr : lane_mask(b_.CreateSub(last, k));
      for (int v = 0; v < panel.vectors; ++v) {
        Values rows;
        for (int i = 0; i < width; ++i) {
          int64_t lane = v * width + i;
          rows.push_back(lane < panel.whole_lanes ? load(from.buffer, at(base, add(k, number(lane * from.lane_stride))), mask, bytes_) : llvm::Constant::getNullValue(vector_));
        }
        rows = transpose(std::move(rows));
        for (int i = 0; i < width; ++i) store(frame_.scratch, rows[i], at(to, add(times(k, row_size), number(i * row_size + v * width))), vector_align_);
      }
    });
  };
  LlvmValue whole = b_.CreateAnd(depth, number(-width));
  blocks(number(0), whole, true);
  blocks(whole, depth, false);   // scratch has room for the rows beyond the end
}

void ContractEmitter::pack_rows(LlvmValue first_row, LlvmValue last_row, LlvmValue first_depth, LlvmValue depth, int64_t unit) {
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
