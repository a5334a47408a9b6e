// Elementwise operations and the combining steps of reductions as LLVM instructions, on scalars and vectors alike.
//
// Values in registers: f32, f64, i32, i64, u8 (i8) as themselves, bools as i1, bf16 as f32 that holds a bf16 number (rounded after
// each operation). In memory bools take a byte, bf16 two.
#pragma once
#include <span>

#include "codegen/frame.h"

namespace gradc::codegen {

llvm::Type* register_type(ir::ElementType, llvm::LLVMContext&);
llvm::Type* memory_type(ir::ElementType, llvm::LLVMContext&);
llvm::Type* lanes_of(llvm::Type*, int lanes);   // the type itself for one lane
LlvmValue from_memory(LlvmBuilder&, LlvmValue loaded, ir::ElementType);
LlvmValue to_memory(LlvmBuilder&, LlvmValue value, ir::ElementType);
/// A number as a scalar in register form, cast as the operation `cast` does.
llvm::Constant* constant(ir::ElementType, double value, llvm::LLVMContext&);
/// A scalar as a vector, a vector as it is; one lane stays a scalar.
LlvmValue splat(LlvmBuilder&, LlvmValue, int lanes);

/// The result of a map. Operands are scalars or vectors of one width, not mixed; `from` is the element type of the last operand.
LlvmValue emit_map_op(LlvmBuilder&, const Target&, const ir::Node&, ir::ElementType from, std::span<const LlvmValue> operands);

/// a * b + c: in one step where the target can, else in two.
LlvmValue multiply_add(LlvmBuilder&, const Target&, LlvmValue a, LlvmValue b, LlvmValue c);

LlvmValue emit_cast(LlvmBuilder&, LlvmValue, ir::ElementType from, ir::ElementType to);

/// The running state of a reduction: values for one or several lanes. Sums of bf16 are f32 until the end.
class Reduction {
 public:
  Reduction(const ir::Node&, ir::ElementType operand, int lanes, LlvmBuilder&, const Target&);
  /// The number of values that the state has (argmax has two: value and position).
  size_t width() const;
  using State = std::span<LlvmValue>;
  void start(State);
  /// Takes an element a lane; where `mask` (of lanes, or null) is false, nothing. `position`: i32, along the reduced axes.
  void take(State, LlvmValue element, LlvmValue position, LlvmValue mask);
  /// Whether it sums numbers that take_product may be given the factors of.
  bool sums() const;
  void take_product(State, LlvmValue x, LlvmValue y, LlvmValue mask);
  /// Adds another state of as many lanes.
  void merge(State, std::span<const LlvmValue> other);
  /// Brings a state of several lanes down to a scalar one.
  void across_lanes(State);
  /// The result, from a state that has taken `count` elements.
  LlvmValue result(std::span<const LlvmValue>, int64_t count);

 private:
  const ir::Node& node_;
  ir::ElementType element_;
  int lanes_;
  LlvmBuilder& b;
  const Target& target_;
};

}  // namespace gradc::codegen
