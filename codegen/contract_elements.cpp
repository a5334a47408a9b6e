// What a contract kernel reads and writes besides its tiles, through the expressions that all emitters share: elements of operands that
// are no plain loads, and the maps of the epilogue.
#include "codegen/contract_emitter.h"

namespace gradc::codegen {

void ContractEmitter::make_variables() {
  for (size_t i = 0; i < plan_.axes.size(); ++i) {
    const ContractAxis& axis = plan_.axes[i];
    axes_.push_back(space_.variable(axis.extent, static_cast<int>(i) == plan_.result_lanes() ? plan_.width : 1));
  }
  depth_ = space_.variable(plan_.depth);
  depth_lanes_ = space_.variable(plan_.depth, plan_.width);
  vectors_.emplace(frame_, space_, plan_.width);
  scalars_.emplace(frame_, space_, 1);
}

LlvmValue ContractEmitter::operand_vector(Side side, LlvmValue row, LlvmValue k, LlvmValue lane, LlvmValue mask) {
  Expression& e = *vectors_;
  ScopeGuard scope(e);
  IndexVector place;
  for (size_t i = 0; i < plan_.axes.size(); ++i) {
    const ContractAxis& axis = plan_.axes[i];
    if (axis.role == AxisRole::lanes || !(side == Side::a ? axis.in_a : axis.in_b)) continue;
    bind(e, axes_[i], axis.role == AxisRole::rows ? row : index_[i], false);
    place.push_back(axes_[i]);
  }
  const Index& along = lane ? depth_ : depth_lanes_;
  bind(e, along, k, !lane);
  place.push_back(along);
  if (lane) {
    bind(e, axes_[plan_.lane_axis], lane, true);
    place.push_back(axes_[plan_.lane_axis]);
  }
  e.set_mask(mask);
  LlvmValue x = e.emit_lanes(side == Side::a ? plan_.a : plan_.b, place);
  e.set_mask(nullptr);
  return mask ? b_.CreateSelect(mask, x, llvm::Constant::getNullValue(vector_)) : x;
}

void ContractEmitter::prefetch_in_place(const Panel& panel, LlvmValue row) {
  Expression& e = *vectors_;
  for (int v = 0; v < panel.vectors; ++v) {
    ScopeGuard scope(e);
    auto index = index_;
    index[plan_.row_axis] = row;
    index[plan_.lane_axis] = add(panel.lane, number(v * plan_.width));
    for (size_t i = 0; i < index.size(); ++i) bind(e, axes_[i], index[i], static_cast<int>(i) == plan_.lane_axis);
    for (size_t i = 0; i < plan_.kernel.in_place.size(); ++i)
      if (plan_.kernel.in_place[i] >= 0) e.prefetch(frame_.results[i], result_place(i));
  }
}

void ContractEmitter::store_results(const Values& index, LlvmValue sum, LlvmValue mask) {
  Expression& e = plan_.form == ContractForm::dot ? *scalars_ : *vectors_;
  ScopeGuard scope(e);
  // All results before the first store: one may be written over an input that the others read.
  Values made = results(e, index, sum, mask);
  e.set_mask(mask);
  for (size_t i = 0; i < made.size(); ++i) e.store(frame_.results[i], result_place(i), made[i]);
  e.set_mask(nullptr);
}

Values ContractEmitter::results(Expression& e, const Values& index, LlvmValue sum, LlvmValue mask) {
  for (size_t i = 0; i < index.size(); ++i) bind(e, axes_[i], index[i], static_cast<int>(i) == plan_.result_lanes());
  e.set_mask(mask);
  e.provide(plan_.kernel.hero, axes_, sum);
  Values made;
  for (const ir::Result& r : plan_.kernel.body.results) made.push_back(e.emit(r.value, axes_));
  e.set_mask(nullptr);
  return made;
}

// Layouts speak of the axes that a result had before they were merged.
IndexVector ContractEmitter::result_place(size_t result) {
  const Buffer& to = frame_.results[result];
  return to.layout.row_major() ? axes_ : space_.split(space_.linear(axes_, plan_.kernel.domain), to.type.shape);
}

void ContractEmitter::bind(Expression& e, const Index& variable, LlvmValue value, bool lanes) {
  if (variable.is_constant()) return;   // an extent of 1
  if (lanes) e.bind_lanes(variable, value);
  else e.bind(variable, value);
}

}  // namespace gradc::codegen
