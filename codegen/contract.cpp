// The contract kernel's loop nest:
//
//   units: outer indices that are no rows, then the rows that this call computes
//     inner indices that are neither rows nor lanes
//       blocks of rows            one block, unless packed operands are to be reused while they are in cache
//         panels of columns
//           blocks of the reduction   one, unless a panel of all would not fit the cache; sums wait in scratch between them
//             pack the panel
//             row tiles
#include "codegen/contract.h"

#include <llvm/IR/Module.h>

#include "codegen/contract_emitter.h"
#include "codegen/llvm_module.h"
#include "ir/check.h"

namespace gradc::codegen {

ContractEmitter::ContractEmitter(const ContractPlan& plan, const Target& target, llvm::Function& function)
    : plan_(plan), target_(target), function_(function), b_(llvm::BasicBlock::Create(function.getContext(), "entry", &function)), bytes_(ir::element_bytes(plan.element)) {
  scalar_ = plan.element == ir::ElementType::f64 ? b_.getDoubleTy() : b_.getFloatTy();
  vector_ = llvm::FixedVectorType::get(scalar_, plan.width);
  vector_align_ = static_cast<unsigned>(plan.width * bytes_);
}

void ContractEmitter::run() {
  llvm::Value* args = function_.getArg(0);
  begin_ = function_.getArg(1);
  end_ = function_.getArg(2);
  scratch_ = function_.getArg(3);
  load_buffers(args);
  index_.assign(plan_.axes.size(), nullptr);

  // The last outer axis may be the one that tiles run along; units then begin and end within it.
  int64_t bounded = plan_.dynamic_rows ? plan_.rows : plan_.dynamic_lanes ? plan_.lanes : 1;
  bool dynamic = plan_.dynamic_rows || plan_.dynamic_lanes;
  int64_t outside = plan_.kernel.units / bounded;
  auto visit = [&](llvm::Value* place) {
    llvm::Value* rest = place;
    for (size_t i = plan_.axes.size(); i-- > 0;) {
      const ContractAxis& axis = plan_.axes[i];
      if (!axis.outer || axis.role != AxisRole::loop) continue;
      index_[i] = b_.CreateURem(rest, number(axis.extent));
      rest = b_.CreateUDiv(rest, number(axis.extent));
    }
    row_first_ = number(0), row_last_ = number(plan_.rows);
    lane_first_ = number(0), lane_last_ = number(plan_.lanes);
    if (dynamic) {
      llvm::Value* start = times(place, bounded);
      auto& first = plan_.dynamic_rows ? row_first_ : lane_first_;
      auto& last = plan_.dynamic_rows ? row_last_ : lane_last_;
      first = b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, b_.CreateSub(begin_, start), number(0));
      last = minimum(b_.CreateSub(end_, start), number(bounded));
    }
    inner_loops(0);
  };
  if (dynamic && outside == 1) {
    visit(number(0));
  } else {
    llvm::Value *first = begin_, *last = end_;
    if (dynamic) {
      first = b_.CreateUDiv(begin_, number(bounded));
      last = b_.CreateUDiv(add(end_, number(bounded - 1)), number(bounded));
    }
    loop(first, last, 1, visit);
  }
  b_.CreateRetVoid();
}

void ContractEmitter::inner_loops(size_t axis) {
  while (axis < plan_.axes.size() && (plan_.axes[axis].outer || plan_.axes[axis].role != AxisRole::loop)) ++axis;
  if (axis == plan_.axes.size()) {
    block();
    return;
  }
  loop(number(0), number(plan_.axes[axis].extent), 1, [&](llvm::Value* i) {
    index_[axis] = i;
    inner_loops(axis + 1);
  });
}

void ContractEmitter::block() {
  if (plan_.form == ContractForm::dot) {
    row_tiles(row_first_, row_last_, [&](int height, llvm::Value* row) { dot_tile(height, row); });
    return;
  }
  if (plan_.row_block >= plan_.rows) {
    row_block(row_first_, row_last_);
    return;
  }
  loop(row_first_, row_last_, plan_.row_block, [&](llvm::Value* first) { row_block(first, minimum(add(first, number(plan_.row_block)), row_last_)); });
}

void ContractEmitter::row_block(llvm::Value* first, llvm::Value* last) {
  if (plan_.pack_a) pack_rows(first, last, number(0), number(plan_.depth), plan_.width);
  for_panels([&](const Panel& panel) { one_panel(panel, first, last); });
}

void ContractEmitter::for_panels(llvm::function_ref<void(const Panel&)> visit) {
  int size = plan_.panel(), width = plan_.width;
  if (plan_.dynamic_lanes) {
    llvm::Value* count = b_.CreateUDiv(b_.CreateSub(lane_last_, lane_first_), number(size));
    llvm::Value* whole = add(lane_first_, times(count, size));
    loop(lane_first_, whole, size, [&](llvm::Value* lane) { visit({lane, plan_.vectors, nullptr, size}); });
    loop(whole, lane_last_, width, [&](llvm::Value* lane) { visit({lane, 1, lane_mask(b_.CreateSub(lane_last_, lane)), -1}); });
    return;
  }
  int64_t whole = plan_.lanes / size * size, rest = plan_.lanes - whole;
  loop(number(0), number(whole), size, [&](llvm::Value* lane) { visit({lane, plan_.vectors, nullptr, size}); });
  if (rest == 0) return;
  int vectors = static_cast<int>((rest + width - 1) / width);
  visit({number(whole), vectors, rest % width ? lane_mask(number(rest % width)) : nullptr, rest});
}

void ContractEmitter::one_panel(const Panel& panel, llvm::Value* first, llvm::Value* last) {
  auto operands = [&](llvm::Value* first_depth) {
    Operand a, b;
    if (plan_.pack_a) {
      a = {scratch_at(plan_.a_offset), plan_.a_row_stride, 1, 0};
      a.base = at(a.base, times(first, -a.row_stride));
    } else {
      a = in_place(plan_.a);
      if (a.lane_stride) a.base = at(a.base, times(panel.lane, a.lane_stride));
    }
    a.base = at(a.base, times(first_depth, a.depth_stride));
    if (plan_.pack_b) {
      b = {scratch_at(plan_.b_offset), 0, panel.vectors * plan_.width, 1};
    } else {
      b = in_place(plan_.b);
      b.base = at(b.base, add(times(panel.lane, b.lane_stride), times(first_depth, b.depth_stride)));
    }
    return std::pair{a, b};
  };
  llvm::Value* waiting = scratch_at(plan_.tile_offset);
  if (plan_.depth_block >= plan_.depth) {
    if (plan_.pack_b) pack_panel(panel, number(0), number(plan_.depth));
    auto [a, b] = operands(number(0));
    row_tiles(first, last, [&](int height, llvm::Value* row) {
      Values sums = products(panel, height, a, b, row, number(plan_.depth), zero_sums(static_cast<size_t>(height * panel.vectors)));
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
  llvm::Value* rows = b_.CreateSub(last, first);
  loop(number(0), times(rows, row_size), plan_.width, [&](llvm::Value* i) { store(llvm::Constant::getNullValue(vector_), at(waiting, i), nullptr, vector_align_); });
  loop(number(0), number(plan_.depth), plan_.depth_block, [&](llvm::Value* k) {
    llvm::Value* depth = minimum(number(plan_.depth_block), b_.CreateSub(number(plan_.depth), k));
    if (plan_.pack_b) pack_panel(panel, k, depth);
    auto [a, b] = operands(k);
    row_tiles(first, last, [&](int height, llvm::Value* row) {
      llvm::Value* place = at(waiting, times(b_.CreateSub(row, first), row_size));
      Values sums(static_cast<size_t>(height * panel.vectors));
      load_sums(sums, panel, place);
      store_sums(products(panel, height, a, b, row, depth, std::move(sums)), panel, place);
    });
  });
  finish_rows(panel, first, rows, waiting);
}

void ContractEmitter::row_tiles(llvm::Value* first, llvm::Value* last, llvm::function_ref<void(int, llvm::Value*)> tile) {
  auto [most, second, single] = plan_.heights;
  llvm::Value* rows = b_.CreateSub(last, first);
  llvm::Value *seconds = number(0), *singles = number(0);
  if (auto* known = llvm::dyn_cast<llvm::ConstantInt>(rows)) {
    auto counts = tile_counts(plan_.heights, known->getSExtValue());
    seconds = number(counts[1]), singles = number(counts[2]);
  } else if (most > 1) {
    // How many tiles of the second height leave a multiple of the first, by remainder (see tile_counts).
    llvm::Value* rest = b_.CreateURem(rows, number(most));
    llvm::SmallVector<uint8_t> table(most, 0);
    for (int r = 0; r < most; ++r) table[r] = static_cast<uint8_t>(second_tiles(plan_.heights, r));
    auto* data = llvm::ConstantDataArray::get(function_.getContext(), table);
    auto* global = new llvm::GlobalVariable(*function_.getParent(), data->getType(), true, llvm::GlobalValue::PrivateLinkage, data, function_.getName() + ".tiles");
    llvm::Value* wanted = b_.CreateZExt(b_.CreateLoad(b_.getInt8Ty(), b_.CreateGEP(b_.getInt8Ty(), global, rest)), b_.getInt64Ty());
    llvm::Value* fits = b_.CreateICmpSLE(times(wanted, second), rows);
    seconds = b_.CreateSelect(fits, wanted, b_.CreateUDiv(rest, number(second)));
    singles = b_.CreateURem(b_.CreateSub(rows, times(seconds, second)), number(most));
  }
  llvm::Value* third = b_.CreateSub(last, singles);
  llvm::Value* middle = b_.CreateSub(third, times(seconds, second));
  loop(first, middle, most, [&](llvm::Value* row) { tile(most, row); });
  if (most > 1 && second > 1) loop(middle, third, second, [&](llvm::Value* row) { tile(second, row); });
  if (most > 1) loop(third, last, 1, [&](llvm::Value* row) { tile(1, row); });
}

// ---- small things

llvm::Value* ContractEmitter::add(llvm::Value* x, llvm::Value* y) {
  auto zero = [](llvm::Value* v) {
    auto* known = llvm::dyn_cast<llvm::ConstantInt>(v);
    return known && known->isZero();
  };
  return zero(x) ? y : zero(y) ? x : b_.CreateNSWAdd(x, y);
}
llvm::Value* ContractEmitter::times(llvm::Value* x, int64_t factor) { return factor == 0 ? number(0) : factor == 1 ? x : b_.CreateNSWMul(x, number(factor)); }
llvm::Value* ContractEmitter::minimum(llvm::Value* x, llvm::Value* y) { return b_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, x, y); }
llvm::Value* ContractEmitter::at(llvm::Value* base, llvm::Value* element) {
  auto* known = llvm::dyn_cast<llvm::ConstantInt>(element);
  return known && known->isZero() ? base : b_.CreateGEP(scalar_, base, element);
}
llvm::Value* ContractEmitter::at(llvm::Value* base, int64_t element) { return at(base, number(element)); }
llvm::Value* ContractEmitter::scratch_at(int64_t bytes) { return b_.CreateConstInBoundsGEP1_64(b_.getInt8Ty(), scratch_, bytes); }

llvm::Value* ContractEmitter::load(llvm::Value* place, llvm::Value* mask, unsigned align) {
  if (!mask) return b_.CreateAlignedLoad(vector_, place, llvm::Align(align));
  return b_.CreateMaskedLoad(vector_, place, llvm::Align(align), mask, llvm::Constant::getNullValue(vector_));
}
void ContractEmitter::store(llvm::Value* value, llvm::Value* place, llvm::Value* mask, unsigned align) {
  if (!mask) b_.CreateAlignedStore(value, place, llvm::Align(align));
  else b_.CreateMaskedStore(value, place, llvm::Align(align), mask);
}
llvm::Value* ContractEmitter::splat(llvm::Value* x) { return b_.CreateVectorSplat(plan_.width, x); }

llvm::Value* ContractEmitter::lane_mask(llvm::Value* count) {
  llvm::SmallVector<llvm::Constant*> lanes;
  for (int i = 0; i < plan_.width; ++i) lanes.push_back(b_.getInt32(i));
  llvm::Value* first = b_.CreateTrunc(minimum(count, number(plan_.width)), b_.getInt32Ty());
  return b_.CreateICmpSLT(llvm::ConstantVector::get(lanes), b_.CreateVectorSplat(plan_.width, first));
}

Values ContractEmitter::loop(llvm::Value* first, llvm::Value* last, int64_t step, Values start, llvm::function_ref<Values(llvm::Value*, Values)> body) {
  auto *known_first = llvm::dyn_cast<llvm::ConstantInt>(first), *known_last = llvm::dyn_cast<llvm::ConstantInt>(last);
  int64_t rounds = -1;
  if (first == last) rounds = 0;
  if (known_first && known_last) rounds = std::max<int64_t>(0, (known_last->getSExtValue() - known_first->getSExtValue() + step - 1) / step);
  if (rounds == 0) return start;
  if (rounds == 1) return body(first, std::move(start));
  auto& context = function_.getContext();
  llvm::BasicBlock* before = b_.GetInsertBlock();
  auto* head = llvm::BasicBlock::Create(context, "loop", &function_);
  auto* after = llvm::BasicBlock::Create(context, "after", &function_);
  if (rounds > 0) b_.CreateBr(head);
  else b_.CreateCondBr(b_.CreateICmpSLT(first, last), head, after);
  b_.SetInsertPoint(head);
  auto* i = b_.CreatePHI(b_.getInt64Ty(), 2, "i");
  i->addIncoming(first, before);
  llvm::SmallVector<llvm::PHINode*> phis;
  Values state;
  for (llvm::Value* value : start) {
    phis.push_back(b_.CreatePHI(value->getType(), 2));
    phis.back()->addIncoming(value, before);
    state.push_back(phis.back());
  }
  Values next = body(i, std::move(state));
  llvm::Value* stepped = b_.CreateNSWAdd(i, number(step));
  llvm::BasicBlock* latch = b_.GetInsertBlock();
  b_.CreateCondBr(b_.CreateICmpSLT(stepped, last), head, after);
  i->addIncoming(stepped, latch);
  for (size_t p = 0; p < phis.size(); ++p) phis[p]->addIncoming(next[p], latch);
  b_.SetInsertPoint(after);
  Values result;
  for (size_t p = 0; p < phis.size(); ++p) {
    auto* phi = b_.CreatePHI(phis[p]->getType(), 2);
    phi->addIncoming(next[p], latch);
    if (rounds < 0) phi->addIncoming(start[p], before);
    result.push_back(phi);
  }
  return result;
}
void ContractEmitter::loop(llvm::Value* first, llvm::Value* last, int64_t step, llvm::function_ref<void(llvm::Value*)> body) {
  loop(first, last, step, Values{}, [&](llvm::Value* i, Values) {
    body(i);
    return Values{};
  });
}

llvm::Function* emit_contract(const ir::Kernel& kernel, const std::string& symbol, llvm::Module& module, const Target& target) {
  auto& context = module.getContext();
  llvm::Type *pointer = llvm::PointerType::getUnqual(context), *integer = llvm::Type::getInt64Ty(context);
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer, integer, integer, pointer}, false);
  auto* function = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, symbol, module);
  set_attributes(*function, target);
  for (unsigned i : {0u, 3u}) function->addParamAttr(i, llvm::Attribute::NoAlias);
  function->addParamAttr(0, llvm::Attribute::ReadOnly);
  ContractPlan plan = plan_contract(kernel, target);
  ContractEmitter(plan, target, *function).run();
  return function;
}

int64_t contract_scratch_bytes(const ir::Kernel& kernel, const Target& target) { return plan_contract(kernel, target).scratch; }

}  // namespace gradc::codegen
