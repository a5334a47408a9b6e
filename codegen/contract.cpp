// The contract kernel's loop nest:
//
//   units: outer indices that are no rows, then the rows that this call computes; or blocks of columns, then rows are an inner loop
//     inner indices that are neither rows nor lanes
//       blocks of rows            one block, unless packed operands are to be reused while they are in cache
//         panels of columns
//           blocks of the reduction   one, unless a panel of all would not fit the cache; sums wait in scratch between them
//             pack the panel
//             row tiles
#include "codegen/contract.h"

#include <llvm/IR/Module.h>

#include "codegen/contract_emitter.h"
#include "ir/check.h"

namespace gradc::codegen {

ContractEmitter::ContractEmitter(const ContractPlan& plan, const std::string& symbol, llvm::Module& module, const Target& target)
    : plan_(plan), frame_(plan.kernel, symbol, module, target), b_(frame_.builder), target_(target), bytes_(ir::element_bytes(plan.element)) {
  scalar_ = register_type(plan.element, module.getContext());
  vector_ = llvm::FixedVectorType::get(scalar_, plan.width);
  vector_align_ = static_cast<unsigned>(plan.width * bytes_);
  // No fusing of products and sums by instruction selection: it depends on how often a product is used, hence on the tile's
  // height, and a row must have the same bits in every tile.
  llvm::FastMathFlags flags = b_.getFastMathFlags();
  flags.setAllowContract(false);
  b_.setFastMathFlags(flags);
  for (size_t i = 0; i < frame_.results.size(); ++i)   // layouts speak of the axes that they had before merging
    if (!frame_.results[i].layout.row_major()) frame_.results[i].type.shape = plan.result_shapes[i];
  make_variables();
}

llvm::Function* ContractEmitter::run() {
  index_.assign(plan_.axes.size(), nullptr);
  if (plan_.kernel.parts > 0) run_part();
  else if (plan_.lines_of_a) run_lines();
  else units(frame_.begin, frame_.end);
  return frame_.finish();
}

void ContractEmitter::units(LlvmValue begin, LlvmValue end) {
  // The last outer axis may be the one that tiles run along; units then begin and end within it.
  int64_t bounded = plan_.dynamic_rows ? plan_.rows : plan_.dynamic_lanes ? plan_.lanes : 1;
  bool dynamic = plan_.dynamic_rows || plan_.dynamic_lanes;
  int64_t outside = plan_.kernel.units / std::max<int64_t>(bounded, 1);
  auto visit = [&](LlvmValue place) {
    outer_loops_at(place_ = place);
    row_first_ = number(0), row_last_ = number(plan_.rows);
    lane_first_ = number(0), lane_last_ = number(plan_.lanes);
    if (dynamic) {
      LlvmValue start = times(place, bounded);
      auto& first = plan_.dynamic_rows ? row_first_ : lane_first_;
      auto& last = plan_.dynamic_rows ? row_last_ : lane_last_;
      first = b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, b_.CreateSub(begin, start), number(0));
      last = minimum(b_.CreateSub(end, start), number(bounded));
    }
    inner_loops(0);
  };
  if (plan_.kernel.lane_block > 0) {   // blocks of columns
    row_first_ = number(0), row_last_ = number(plan_.rows);
    lane_first_ = times(begin, plan_.kernel.lane_block);
    lane_last_ = minimum(times(end, plan_.kernel.lane_block), number(plan_.lanes));
    inner_loops(0);
  } else if (dynamic && outside <= 1) {
    visit(number(0));
  } else {
    llvm::Value *first = begin, *last = end;
    if (dynamic) {
      first = b_.CreateUDiv(begin, number(bounded));
      last = b_.CreateUDiv(add(end, number(bounded - 1)), number(bounded));
    }
    loop(first, last, 1, visit);
  }
}

// The outer indices that are no rows, of which `place` counts all.
void ContractEmitter::outer_loops_at(LlvmValue place) {
  for (size_t i = plan_.axes.size(); i-- > 0;) {
    const ContractAxis& axis = plan_.axes[i];
    if (!axis.outer || axis.role != AxisRole::loop) continue;
    index_[i] = b_.CreateURem(place, number(axis.extent));
    place = b_.CreateUDiv(place, number(axis.extent));
  }
}

void ContractEmitter::inner_loops(size_t axis) {
  while (axis < plan_.axes.size() && (plan_.axes[axis].outer || plan_.axes[axis].role != AxisRole::loop)) ++axis;
  if (axis == plan_.axes.size()) {
    block();
    return;
  }
  loop(number(0), number(plan_.axes[axis].extent), 1, [&](LlvmValue i) {
    index_[axis] = i;
    inner_loops(axis + 1);
  });
}

// Units are a piece of one part of the summed index: what it adds to the sums so far, which are in the result.
void ContractEmitter::run_part() {
  CHECK(plan_.form == ContractForm::lanes && plan_.a_access && plan_.b_access && !plan_.turned && plan_.kernel.body.results.size() == 1);
  LlvmValue length = number(plan_.depth), part = b_.CreateUDiv(frame_.begin, length), start = b_.CreateNSWMul(part, length);
  outer_loops_at(part);
  part_first_ = b_.CreateSub(frame_.begin, start), part_last_ = b_.CreateSub(frame_.end, start);
  row_first_ = number(0), row_last_ = number(plan_.rows);
  lane_first_ = number(0), lane_last_ = number(plan_.lanes);
  inner_loops(0);
}

void ContractEmitter::add_part(const Panel& panel) {
  const Buffer& result = frame_.results[0];
  Operand a = in_place(Side::a, panel, part_first_), b = in_place(Side::b, panel, part_first_);
  LlvmValue fresh = b_.CreateICmpEQ(part_first_, number(0)), zero = llvm::Constant::getNullValue(vector_);
  row_tiles(row_first_, row_last_, [&](int height, LlvmValue row) {
    auto place = [&](int r, int v) {
      Expression& e = *vectors_;
      ScopeGuard scope(e);
      auto index = index_;
      if (plan_.row_axis >= 0) index[plan_.row_axis] = add(row, number(r));
      index[plan_.lane_axis] = add(panel.lane, number(v * plan_.width));
      for (size_t i = 0; i < index.size(); ++i) bind(e, axes_[i], index[i], static_cast<int>(i) == plan_.lane_axis);
      return e.place(result, result_place(0));
    };
    auto mask = [&](int v) { return v == panel.vectors - 1 ? panel.mask : nullptr; };
    Values sums;
    for (int r = 0; r < height; ++r)
      for (int v = 0; v < panel.vectors; ++v) sums.push_back(b_.CreateSelect(fresh, zero, load(result, place(r, v), mask(v), bytes_)));
    sums = products(panel, height, a, b, row, b_.CreateSub(part_last_, part_first_), std::move(sums));
    for (int r = 0; r < height; ++r)
      for (int v = 0; v < panel.vectors; ++v) store(result, sums[r * panel.vectors + v], place(r, v), bytes_, mask(v));
  });
}

void ContractEmitter::block() {
  if (plan_.lines_of_a) return line_block();
  if (plan_.kernel.parts > 0) return for_panels([&](const Panel& panel) { add_part(panel); });
  if (plan_.form == ContractForm::dot) {
    row_tiles(row_first_, row_last_, [&](int height, LlvmValue row) { dot_tile(height, row); });
    return;
  }
  if (plan_.turned || plan_.row_block >= plan_.rows) {
    row_block(row_first_, row_last_);
    return;
  }
  loop(row_first_, row_last_, plan_.row_block, [&](LlvmValue first) { row_block(first, minimum(add(first, number(plan_.row_block)), row_last_)); });
}

void ContractEmitter::row_block(LlvmValue first, LlvmValue last) {
  if (plan_.pack_a && !plan_.turned) pack_rows(first, last, number(0), number(plan_.depth), plan_.width);
  if (plan_.deferred) set_pending({number(0), number(0), number(0)});
  for_panels([&](const Panel& panel) { one_panel(panel, first, last); });
  if (plan_.deferred) finish_deferred();
}

void ContractEmitter::for_panels(llvm::function_ref<void(const Panel&)> visit) {
  int size = plan_.panel(), width = plan_.width;
  if (plan_.turned) {
    LlvmValue whole = add(lane_first_, times(b_.CreateSDiv(b_.CreateSub(lane_last_, lane_first_), number(size)), size));
    loop(lane_first_, whole, size, [&](LlvmValue lane) { visit({lane, plan_.vectors, nullptr, size}); });
    loop(whole, lane_last_, width, [&](LlvmValue lane) { visit({lane, 1, lane_mask(b_.CreateSub(lane_last_, lane)), -1}); });
    return;
  }
  if (plan_.dynamic_lanes) {
    // Vectors start at multiples of the width, so that index maps may count on it; the first and the last are masked.
    auto aligned = [&](LlvmValue lane) { return b_.CreateAnd(lane, number(-width)); };
    bool whole_blocks = plan_.kernel.lane_block > 0 && plan_.kernel.lane_block % width == 0;
    LlvmValue start = whole_blocks ? lane_first_ : aligned(add(lane_first_, number(width - 1)));
    if (!whole_blocks) loop(aligned(lane_first_), start, width, [&](LlvmValue lane) {
      LlvmValue before = b_.CreateNot(lane_mask(b_.CreateSub(lane_first_, lane)));
      visit({lane, 1, b_.CreateAnd(before, lane_mask(b_.CreateSub(lane_last_, lane))), -1});
    });
    LlvmValue whole = add(start, times(b_.CreateSDiv(b_.CreateSub(lane_last_, start), number(size)), size));
    loop(start, whole, size, [&](LlvmValue lane) { visit({lane, plan_.vectors, nullptr, size}); });
    loop(whole, lane_last_, width, [&](LlvmValue lane) { visit({lane, 1, lane_mask(b_.CreateSub(lane_last_, lane)), -1}); });
    return;
  }
  int64_t whole = plan_.lanes / size * size, rest = plan_.lanes - whole;
  loop(number(0), number(whole), size, [&](LlvmValue lane) { visit({lane, plan_.vectors, nullptr, size}); });
  if (rest == 0) return;
  int vectors = static_cast<int>((rest + width - 1) / width);
  visit({number(whole), vectors, rest % width ? lane_mask(number(rest % width)) : nullptr, rest});
}

void ContractEmitter::one_panel(const Panel& panel, LlvmValue first, LlvmValue last) {
  bool packed = plan_.pack_b || (panel.mask && plan_.pack_masked);
  auto operands = [&](LlvmValue first_depth, LlvmValue packed_row) {
    Operand a, b;
    if (plan_.pack_a) {
      a = {scratch_at(plan_.a_offset), frame_.scratch, plan_.a_row_stride, plan_.a_depth_stride, 0};
      a.low = plan_.a_low;
      a.base = at(a.base, add(times(packed_row, -a.row_stride), times(places(first_depth), a.depth_stride)));
    } else {
      a = in_place(Side::a, panel, first_depth);
    }
    if (packed) {
      b = {scratch_at(plan_.b_offset), frame_.scratch, 0, panel.vectors * plan_.width, 1};
      b.low = plan_.b_low;
    } else {
      b = in_place(Side::b, panel, first_depth);
    }
    return std::pair{a, b};
  };
  LlvmValue waiting = scratch_at(plan_.tile_offset);
  if (plan_.turned) {
    pack_panel(panel, number(0), number(plan_.depth));
    loop(first, last, plan_.row_block, [&](LlvmValue block) {
      auto [a, b] = operands(number(0), block);
      LlvmValue end = minimum(add(block, number(plan_.row_block)), last);
      if (plan_.pack_a) pack_rows(block, end, number(0), number(plan_.depth), plan_.width);
      auto place = [&](LlvmValue row) { return at(waiting, times(b_.CreateSub(row, block), panel.vectors * plan_.width)); };
      if (plan_.amx) {
        amx_rows(panel, block, end, a, b, number(plan_.depth), true, place, [](LlvmValue, LlvmValue) {});
      } else {
        row_tiles(block, end, [&](int height, LlvmValue row) {
          store_sums(products(panel, height, a, b, row, places(number(plan_.depth)), zero_sums(static_cast<size_t>(height * panel.vectors))), panel, place(row));
        });
      }
      finish_turned(panel, block, end, waiting);
    });
    return;
  }
  if (plan_.depth_block >= plan_.depth) {
    if (packed) pack_panel(panel, number(0), number(plan_.depth));
    auto [a, b] = operands(number(0), first);
    if (plan_.amx) {
      amx_rows(panel, first, last, a, b, number(plan_.depth), true, [&](LlvmValue) { return waiting; },
               [&](LlvmValue row, LlvmValue count) { finish_rows(panel, row, count, waiting); });
      return;
    }
    row_tiles(first, last, [&](int height, LlvmValue row) {
      if (plan_.deferred) return deferred_tile(panel, height, a, b, row);
      Values sums = prefetching_products(panel, height, a, b, row);
      if (plan_.epilogue_in_loop) {
        store_sums(sums, panel, waiting);
        finish_rows(panel, row, number(height), waiting);
        return;
      }
      for (int r = 0; r < height; ++r) finish(panel, add(row, number(r)), llvm::ArrayRef(sums).slice(r * panel.vectors, panel.vectors));
    });
    return;
  }
  int64_t row_size = panel.vectors * plan_.width;
  LlvmValue rows = b_.CreateSub(last, first);
  loop(number(0), times(rows, row_size), plan_.width, [&](LlvmValue i) { store(frame_.scratch, llvm::Constant::getNullValue(vector_), at(waiting, i), vector_align_); });
  loop(number(0), number(plan_.depth), plan_.depth_block, [&](LlvmValue k) {
    LlvmValue depth = minimum(number(plan_.depth_block), b_.CreateSub(number(plan_.depth), k));
    if (packed) pack_panel(panel, k, depth);
    auto [a, b] = operands(k, first);
    if (plan_.amx) {
      amx_rows(panel, first, last, a, b, depth, false, [&](LlvmValue row) { return at(waiting, times(b_.CreateSub(row, first), row_size)); }, [](LlvmValue, LlvmValue) {});
      return;
    }
    row_tiles(first, last, [&](int height, LlvmValue row) {
      LlvmValue place = at(waiting, times(b_.CreateSub(row, first), row_size));
      Values sums(static_cast<size_t>(height * panel.vectors));
      load_sums(sums, panel, place);
      store_sums(products(panel, height, a, b, row, places(depth), std::move(sums)), panel, place);
    });
  });
  finish_rows(panel, first, rows, waiting);
}

void ContractEmitter::row_tiles(LlvmValue first, LlvmValue last, llvm::function_ref<void(int, LlvmValue)> tile) {
  auto [most, second, single] = plan_.heights;
  LlvmValue rows = b_.CreateSub(last, first);
  llvm::Value *seconds = number(0), *singles = number(0);
  if (auto* known = llvm::dyn_cast<llvm::ConstantInt>(rows)) {
    auto counts = tile_counts(plan_.heights, known->getSExtValue());
    seconds = number(counts[1]), singles = number(counts[2]);
  } else if (most > 1) {
    // How many tiles of the second height leave a multiple of the first, by remainder (see tile_counts).
    LlvmValue rest = b_.CreateURem(rows, number(most));
    llvm::SmallVector<uint8_t> table(most, 0);
    for (int r = 0; r < most; ++r) table[r] = static_cast<uint8_t>(second_tiles(plan_.heights, r));
    auto* data = llvm::ConstantDataArray::get(b_.getContext(), table);
    auto* global = new llvm::GlobalVariable(frame_.module, data->getType(), true, llvm::GlobalValue::PrivateLinkage, data, frame_.function->getName() + ".tiles");
    LlvmValue wanted = b_.CreateZExt(b_.CreateLoad(b_.getInt8Ty(), b_.CreateGEP(b_.getInt8Ty(), global, rest)), b_.getInt64Ty());
    LlvmValue fits = b_.CreateICmpSLE(times(wanted, second), rows);
    seconds = b_.CreateSelect(fits, wanted, b_.CreateUDiv(rest, number(second)));
    singles = b_.CreateURem(b_.CreateSub(rows, times(seconds, second)), number(most));
  }
  LlvmValue third = b_.CreateSub(last, singles);
  LlvmValue middle = b_.CreateSub(third, times(seconds, second));
  loop(first, middle, most, [&](LlvmValue row) { tile(most, row); });
  if (most > 1 && second > 1) loop(middle, third, second, [&](LlvmValue row) { tile(second, row); });
  if (most > 1) loop(third, last, 1, [&](LlvmValue row) { tile(1, row); });
}

// ---- small things

LlvmValue ContractEmitter::add(LlvmValue x, LlvmValue y) {
  auto zero = [](LlvmValue v) {
    auto* known = llvm::dyn_cast<llvm::ConstantInt>(v);
    return known && known->isZero();
  };
  return zero(x) ? y : zero(y) ? x : b_.CreateNSWAdd(x, y);
}
LlvmValue ContractEmitter::times(LlvmValue x, int64_t factor) { return factor == 0 ? number(0) : factor == 1 ? x : b_.CreateNSWMul(x, number(factor)); }
LlvmValue ContractEmitter::minimum(LlvmValue x, LlvmValue y) { return b_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, x, y); }
LlvmValue ContractEmitter::at(LlvmValue base, LlvmValue element) {
  auto* known = llvm::dyn_cast<llvm::ConstantInt>(element);
  return known && known->isZero() ? base : b_.CreateGEP(scalar_, base, element);
}
LlvmValue ContractEmitter::at(LlvmValue base, int64_t element) { return at(base, number(element)); }
LlvmValue ContractEmitter::scratch_at(int64_t bytes) { return b_.CreateConstInBoundsGEP1_64(b_.getInt8Ty(), frame_.scratch.pointer, bytes); }

LlvmValue ContractEmitter::load(const Buffer& from, LlvmValue place, LlvmValue mask, unsigned align) {
  llvm::Instruction* made = mask ? static_cast<llvm::Instruction*>(b_.CreateMaskedLoad(vector_, place, llvm::Align(align), mask, llvm::Constant::getNullValue(vector_)))
                                 : b_.CreateAlignedLoad(vector_, place, llvm::Align(align));
  describe_access(made, from);
  return made;
}
void ContractEmitter::store(const Buffer& to, LlvmValue value, LlvmValue place, unsigned align, LlvmValue mask) {
  llvm::Instruction* made = mask ? static_cast<llvm::Instruction*>(b_.CreateMaskedStore(value, place, llvm::Align(align), mask)) : b_.CreateAlignedStore(value, place, llvm::Align(align));
  describe_access(made, to);
}

LlvmValue ContractEmitter::element_number(const Values& index) {
  LlvmValue element = number(0);
  for (size_t i = 0; i < plan_.axes.size(); ++i) element = add(times(element, plan_.axes[i].extent), index[i]);
  return element;
}

LlvmValue ContractEmitter::lane_mask(LlvmValue count) {
  llvm::SmallVector<llvm::Constant*> lanes;
  for (int i = 0; i < plan_.width; ++i) lanes.push_back(b_.getInt32(i));
  LlvmValue first = b_.CreateTrunc(minimum(count, number(plan_.width)), b_.getInt32Ty());
  return b_.CreateICmpSLT(llvm::ConstantVector::get(lanes), b_.CreateVectorSplat(plan_.width, first));
}

Values ContractEmitter::loop(LlvmValue first, LlvmValue last, int64_t step, Values state, llvm::function_ref<Values(LlvmValue, Values)> body) {
  if (first != last) frame_.loop(first, last, step, state, [&](LlvmValue i, Values& inner) { inner = body(i, std::move(inner)); });
  return state;
}
void ContractEmitter::loop(LlvmValue first, LlvmValue last, int64_t step, llvm::function_ref<void(LlvmValue)> body) {
  if (first != last) frame_.loop(first, last, step, [&](LlvmValue i) { body(i); });
}

llvm::Function* emit_contract(const ir::Kernel& kernel, const std::string& symbol, llvm::Module& module, const Target& target, const ContractChoice* choice) {
  ContractPlan plan = plan_contract(kernel, target, choice);
  return ContractEmitter(plan, symbol, module, target).run();
}

int64_t contract_scratch_bytes(const ir::Kernel& kernel, const Target& target, const ContractChoice* choice) { return plan_contract(kernel, target, choice).scratch; }

}  // namespace gradc::codegen
