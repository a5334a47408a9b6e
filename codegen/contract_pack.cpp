// Copies of operands into the thread's scratch, in the order in which tiles read them:
//   b: [reduced][lanes of the panel], lanes that do not exist are zero
//   a: [rows][reduced], each row padded so that rows do not fall on the same cache sets
// Contiguous lanes are copied by vectors; a reduced index that is contiguous is transposed in registers; anything else (guards,
// casts, quotients) is computed element by element through the index maps of its views.
#include "codegen/contract_emitter.h"

#include "ir/check.h"

namespace gradc::codegen {

llvm::SmallVector<llvm::Value*> ContractEmitter::operand_index(ir::Value operand, llvm::Value* row, llvm::Value* k, llvm::Value* lane) const {
  bool is_a = operand == plan_.a;
  llvm::SmallVector<llvm::Value*> index;
  for (size_t i = 0; i < plan_.axes.size(); ++i) {
    const ContractAxis& axis = plan_.axes[i];
    if (axis.role == AxisRole::lanes || !(is_a ? axis.in_a : axis.in_b)) continue;
    index.push_back(axis.role == AxisRole::rows ? row : index_[i]);
  }
  index.push_back(k);
  if (lane_last(operand)) index.push_back(lane);
  return index;
}

bool ContractEmitter::lane_last(ir::Value operand) const {
  return plan_.lane_axis >= 0 && (operand == plan_.a ? plan_.axes[plan_.lane_axis].in_a : plan_.axes[plan_.lane_axis].in_b);
}

ContractEmitter::Operand ContractEmitter::in_place(ir::Value operand) {
  const LinearAccess& access = operand == plan_.a ? *plan_.a_access : *plan_.b_access;
  auto index = operand_index(operand, nullptr, nullptr, nullptr);
  Operand result;
  size_t depth_axis = index.size() - 1 - (lane_last(operand) ? 1 : 0);
  llvm::Value* place = number(access.offset);
  for (size_t i = 0; i < index.size(); ++i) {
    int64_t stride = access.strides[i];
    if (i > depth_axis) result.lane_stride = stride;
    else if (i == depth_axis) result.depth_stride = stride;
    else if (!index[i]) result.row_stride = stride;
    else place = add(place, times(index[i], stride));
  }
  result.base = at(input_buffer(access.input), place);
  return result;
}

void ContractEmitter::pack_panel(const Panel& panel, llvm::Value* first_depth, llvm::Value* depth) {
  int width = plan_.width, row_size = panel.vectors * width;
  llvm::Value* to = scratch_at(plan_.b_offset);
  bool linear = plan_.b_access && plan_.kernel.body.type(plan_.b_access->input).element == plan_.element;
  const auto& strides = linear ? plan_.b_access->strides : std::vector<int64_t>{};
  if (linear && strides[strides.size() - 2] == 1 && strides.back() != 1 && panel.whole_lanes >= 0) {
    pack_transposed(panel, first_depth, depth);
    return;
  }
  loop(number(0), depth, 1, [&](llvm::Value* k) {
    for (int v = 0; v < panel.vectors; ++v) {
      llvm::Value* x = operand_vector(plan_.b, nullptr, add(first_depth, k), add(panel.lane, number(v * width)), v == panel.vectors - 1 ? panel.mask : nullptr);
      store(x, at(to, add(times(k, row_size), number(v * width))), nullptr, vector_align_);
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

void ContractEmitter::pack_transposed(const Panel& panel, llvm::Value* first_depth, llvm::Value* depth) {
  int width = plan_.width, row_size = panel.vectors * width;
  Operand from = in_place(plan_.b);
  llvm::Value* base = at(from.base, add(times(panel.lane, from.lane_stride), times(first_depth, from.depth_stride)));
  llvm::Value* to = scratch_at(plan_.b_offset);
  auto blocks = [&](llvm::Value* first, llvm::Value* last, bool whole) {
    loop(first, last, width, [&](llvm::Value* k) {
      llvm::Value* mask = whole ? nullptr : lane_mask(b_.CreateSub(last, k));
      for (int v = 0; v < panel.vectors; ++v) {
        Values rows;
        for (int i = 0; i < width; ++i) {
          int64_t lane = v * width + i;
          rows.push_back(lane < panel.whole_lanes ? load(at(base, add(k, number(lane * from.lane_stride))), mask, bytes_) : llvm::Constant::getNullValue(vector_));
        }
        rows = transpose(std::move(rows));
        for (int i = 0; i < width; ++i) store(rows[i], at(to, add(times(k, row_size), number(i * row_size + v * width))), nullptr, vector_align_);
      }
    });
  };
  llvm::Value* whole = b_.CreateAnd(depth, number(-width));
  blocks(number(0), whole, true);
  blocks(whole, depth, false);   // scratch has room for the rows beyond the end
}

void ContractEmitter::pack_rows(llvm::Value* first_row, llvm::Value* last_row, llvm::Value* first_depth, llvm::Value* depth, int64_t unit) {
  llvm::Value* to = scratch_at(plan_.a_offset);
  loop(first_row, last_row, 1, [&](llvm::Value* row) {
    llvm::Value* row_at = at(to, times(b_.CreateSub(row, first_row), plan_.a_row_stride));
    pack_line(plan_.a, row, first_depth, depth, unit, row_at);
  });
}

void ContractEmitter::pack_vector(llvm::Value* first_depth, llvm::Value* depth, int64_t unit) {
  pack_line(plan_.b, nullptr, first_depth, depth, unit, scratch_at(plan_.b_offset));
}

// The reduced elements first_depth ... first_depth + depth of one row, zeros up to a multiple of `unit`.
void ContractEmitter::pack_line(ir::Value operand, llvm::Value* row, llvm::Value* first_depth, llvm::Value* depth, int64_t unit, llvm::Value* to) {
  int width = plan_.width;
  llvm::Value* whole = b_.CreateAnd(depth, number(-width));
  loop(number(0), whole, width, [&](llvm::Value* k) { store(operand_vector(operand, row, add(first_depth, k), nullptr, nullptr), at(to, k), nullptr, bytes_); });
  loop(whole, depth, width, [&](llvm::Value* k) {
    llvm::Value* mask = lane_mask(b_.CreateSub(depth, k));
    store(operand_vector(operand, row, add(first_depth, k), nullptr, mask), at(to, k), nullptr, bytes_);
  });
  if (unit <= width) return;
  llvm::Value* written = b_.CreateAnd(add(depth, number(width - 1)), number(-width));
  llvm::Value* end = times(b_.CreateUDiv(add(depth, number(unit - 1)), number(unit)), unit);
  loop(written, end, width, [&](llvm::Value* k) { store(llvm::Constant::getNullValue(vector_), at(to, k), nullptr, bytes_); });
}

}  // namespace gradc::codegen
