// Elementary functions as inline code, for scalars and vectors of any width alike: the same bits either way. f32 by polynomials
// of our own (minimax fits, see vector_math.cpp); f64 by libm, a call a lane (schedules and gradient checks only).
//
// Largest errors in f32, in units of the last place of the result, over the whole range (tests/unit/codegen/vector_math_test.cpp):
//   exp 1    log 1    log1p 2.5    tanh 2    erf 2.5    sigmoid 2.5    sin, cos 1.5    pow 1    rsqrt 1.5
// Infinities, NaN, zeros and denormals give what IEEE 754 and libm give. Square root and division are the exact instructions.
#pragma once
#include "codegen/frame.h"

namespace gradc::codegen {

struct VectorMath {
  LlvmBuilder& b;
  const Target& target;

  LlvmValue exp(LlvmValue x);
  LlvmValue log(LlvmValue x);
  LlvmValue log1p(LlvmValue x);
  LlvmValue sqrt(LlvmValue x);
  LlvmValue rsqrt(LlvmValue x);
  LlvmValue sin(LlvmValue x);
  LlvmValue cos(LlvmValue x);
  LlvmValue tanh(LlvmValue x);
  LlvmValue erf(LlvmValue x);
  LlvmValue sigmoid(LlvmValue x);
  LlvmValue pow(LlvmValue x, LlvmValue y);
  /// cos(2 pi t) for f32 t in [0, 1] that are multiples of 2^-24.
  LlvmValue cos_turns(LlvmValue t);

  /// The C library's function of that name (an f suffix is added for f32), a call a lane.
  LlvmValue libm(const char* name, std::initializer_list<LlvmValue> x);

 private:
  LlvmValue constant(LlvmValue like, double value);
  LlvmValue bits(LlvmValue x);                        // as integers of the same width
  LlvmValue integer(LlvmValue like, int64_t value);   // an integer of that width
  LlvmValue number(LlvmValue bits, LlvmValue like);   // back from bits
  LlvmValue fma(LlvmValue a, LlvmValue x, LlvmValue c);
  LlvmValue polynomial(LlvmValue x, std::initializer_list<double> coefficients);   // lowest first
  LlvmValue power_of_two(LlvmValue n, LlvmValue like);
  LlvmValue scale(LlvmValue p, LlvmValue n);          // null if the target has no such instruction
  LlvmValue intrinsic(unsigned id, LlvmValue x);
  LlvmValue sine(LlvmValue x, bool cosine);
  LlvmValue exp_f64(LlvmValue x);
  LlvmValue log2_wide(LlvmValue x);                   // of positive finite f64, good to 2^-40: for pow in f32
};

}  // namespace gradc::codegen
