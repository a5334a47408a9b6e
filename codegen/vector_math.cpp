// Coefficients are minimax fits of relative error (Lawson's iteration in multiple precision); the fits' own errors stand beside them. Constants that
// subtract exactly are split so that it works without fused multiply-add as well (Cody and Waite).
#include "codegen/vector_math.h"

#include <llvm/IR/IntrinsicsX86.h>
#include <llvm/IR/Module.h>

#include <bit>
#include <cmath>
#include <limits>

#include "codegen/map_ops.h"
#include "ir/check.h"

namespace gradc::codegen {
namespace {
using llvm::Intrinsic::ID;
constexpr double infinity = std::numeric_limits<double>::infinity();

llvm::Type* with_lanes(llvm::Type* element, LlvmValue like) {
  auto* vector = llvm::dyn_cast<llvm::VectorType>(like->getType());
  return vector ? llvm::VectorType::get(element, vector->getElementCount()) : element;
}
bool is_f64(LlvmValue x) { return x->getType()->getScalarType()->isDoubleTy(); }
}  // namespace

LlvmValue VectorMath::constant(LlvmValue like, double value) { return llvm::ConstantFP::get(like->getType(), value); }
LlvmValue VectorMath::bits(LlvmValue x) { return b.CreateBitCast(x, with_lanes(is_f64(x) ? b.getInt64Ty() : b.getInt32Ty(), x)); }
LlvmValue VectorMath::integer(LlvmValue like, int64_t value) { return llvm::ConstantInt::getSigned(with_lanes(is_f64(like) ? b.getInt64Ty() : b.getInt32Ty(), like), value); }
LlvmValue VectorMath::number(LlvmValue bits, LlvmValue like) { return b.CreateBitCast(bits, like->getType()); }
LlvmValue VectorMath::fma(LlvmValue a, LlvmValue x, LlvmValue c) { return multiply_add(b, target, a, x, c); }
LlvmValue VectorMath::intrinsic(unsigned id, LlvmValue x) { return b.CreateUnaryIntrinsic(static_cast<ID>(id), x); }
LlvmValue VectorMath::sqrt(LlvmValue x) { return intrinsic(llvm::Intrinsic::sqrt, x); }
LlvmValue VectorMath::rsqrt(LlvmValue x) { return b.CreateFDiv(constant(x, 1), sqrt(x)); }

LlvmValue VectorMath::polynomial(LlvmValue x, std::initializer_list<double> coefficients) {
  auto c = std::rbegin(coefficients);
  LlvmValue sum = constant(x, *c);
  while (++c != std::rend(coefficients)) sum = fma(sum, x, constant(x, *c));
  return sum;
}

LlvmValue VectorMath::libm(const char* name, std::initializer_list<LlvmValue> x) {
  llvm::Type* element = (*x.begin())->getType()->getScalarType();
  std::string symbol = name;
  if (element->isFloatTy()) symbol += 'f';
  llvm::Module& module = *b.GetInsertBlock()->getModule();
  std::vector<llvm::Type*> types(x.size(), element);
  llvm::FunctionCallee callee = module.getOrInsertFunction(symbol, llvm::FunctionType::get(element, types, false));
  auto* function = llvm::cast<llvm::Function>(callee.getCallee());
  function->setDoesNotAccessMemory();
  function->setDoesNotThrow();
  function->setWillReturn();
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>((*x.begin())->getType());
  if (!vector) return b.CreateCall(callee, std::vector<LlvmValue>(x));
  LlvmValue result = llvm::PoisonValue::get(vector);
  for (unsigned lane = 0; lane < vector->getNumElements(); ++lane) {
    std::vector<LlvmValue> arguments;
    for (LlvmValue operand : x) arguments.push_back(b.CreateExtractElement(operand, lane));
    result = b.CreateInsertElement(result, b.CreateCall(callee, arguments), lane);
  }
  return result;
}

// 2^n for whole n, given as an integer vector, in the range of normal numbers.
LlvmValue VectorMath::power_of_two(LlvmValue n, LlvmValue like) {
  int mantissa = is_f64(like) ? 52 : 23, bias = is_f64(like) ? 1023 : 127;
  return number(b.CreateShl(b.CreateAdd(n, integer(like, bias)), integer(like, mantissa)), like);
}

// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2; 2^n as two factors, so that results that overflow or are denormal come out right.
LlvmValue VectorMath::exp(LlvmValue x) {
  if (is_f64(x)) return exp_f64(x);
  LlvmValue low = constant(x, -105), high = constant(x, 89);
  LlvmValue y = b.CreateSelect(b.CreateFCmpOLT(high, x), high, x);   // NaN goes through
  y = b.CreateSelect(b.CreateFCmpOGT(low, y), low, y);
  LlvmValue magic = constant(x, 12582912);   // 1.5 * 2^23: the sum's low bits are the rounded integer
  LlvmValue shifted = fma(y, constant(x, 1.4426950408889634), magic);
  LlvmValue n = b.CreateFSub(shifted, magic);
  LlvmValue r = fma(n, constant(x, -0.693359375), y);
  r = fma(n, constant(x, 2.12194440e-4), r);
  // relative error 2^-28.2
  LlvmValue p = polynomial(r, {0.49999993050190067, 0.1666651478620644, 0.04166845689268411, 0.008369419309040858, 0.001381313956866426});
  p = fma(b.CreateFMul(r, r), p, r);
  p = b.CreateFAdd(p, constant(x, 1));
  if (LlvmValue scaled = scale(p, n)) return scaled;
  LlvmValue whole = b.CreateSub(bits(shifted), bits(magic));
  LlvmValue half = b.CreateAShr(whole, integer(x, 1));
  return b.CreateFMul(b.CreateFMul(p, power_of_two(half, x)), power_of_two(b.CreateSub(whole, half), x));
}

// p * 2^n in one instruction where there is one; it rounds once, as the two products do.
LlvmValue VectorMath::scale(LlvmValue p, LlvmValue n) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(p->getType());
  if (!target.avx512 || !vector) return nullptr;
  unsigned lanes = vector->getNumElements();
  if (lanes == 16) return b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_mask_scalef_ps_512, {}, {p, n, p, b.getInt16(0xffff), b.getInt32(4)});   // 4: round as the thread does
  if (lanes == 8) return b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_mask_scalef_ps_256, {}, {p, n, p, b.getInt8(0xff)});
  if (lanes == 4) return b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_mask_scalef_ps_128, {}, {p, n, p, b.getInt8(0xff)});
  return nullptr;
}

LlvmValue VectorMath::exp_f64(LlvmValue x) { return libm("exp", {x}); }

// x = 2^e * m with m in [sqrt(1/2), sqrt(2)); log x = e ln 2 + log(1 + f), f = m - 1.
LlvmValue VectorMath::log(LlvmValue x) {
  if (is_f64(x)) return libm("log", {x});
  LlvmValue smallest = constant(x, std::numeric_limits<float>::min());
  LlvmValue denormal = b.CreateFCmpOLT(x, smallest);
  LlvmValue y = b.CreateSelect(denormal, b.CreateFMul(x, constant(x, 8388608)), x);
  LlvmValue offset = b.CreateSelect(denormal, constant(x, -23), constant(x, 0));
  LlvmValue shifted = b.CreateSub(bits(y), integer(x, std::bit_cast<int32_t>(0.70710678f)));
  LlvmValue e = b.CreateFAdd(b.CreateSIToFP(b.CreateAShr(shifted, integer(x, 23)), x->getType()), offset);
  LlvmValue m = b.CreateAdd(b.CreateAnd(shifted, integer(x, 0x7fffff)), integer(x, std::bit_cast<int32_t>(0.70710678f)));
  LlvmValue f = b.CreateFSub(number(m, x), constant(x, 1));
  // log(1 + f) = f - f^2/2 + f^3 P(f), relative error 2^-30.3
  LlvmValue p = polynomial(f, {0.33333312598739223, -0.2500000961526951, 0.20002118966380814, -0.16667995168273714, 0.1421954636668607, -0.12405597865325033, 0.11888211756272389,
                               -0.11675615365400765, 0.06746489980952579});
  LlvmValue square = b.CreateFMul(f, f);
  LlvmValue tail = fma(e, constant(x, -2.12194440e-4), b.CreateFMul(b.CreateFMul(square, f), p));   // ln 2 = 0.693359375 - 2.1219444e-4
  tail = fma(square, constant(x, -0.5), tail);
  LlvmValue result = fma(e, constant(x, 0.693359375), b.CreateFAdd(f, tail));
  result = b.CreateSelect(b.CreateFCmpULT(x, constant(x, 0)), constant(x, std::numeric_limits<double>::quiet_NaN()), result);   // NaN too
  result = b.CreateSelect(b.CreateFCmpOEQ(x, constant(x, 0)), constant(x, -infinity), result);
  return b.CreateSelect(b.CreateFCmpOEQ(x, constant(x, infinity)), x, result);
}

// With u = 1 + x rounded: log(1 + x) = log u + (x - (u - 1)) / u, up to the square of the rounding error.
LlvmValue VectorMath::log1p(LlvmValue x) {
  if (is_f64(x)) return libm("log1p", {x});
  LlvmValue one = constant(x, 1), u = b.CreateFAdd(x, one);
  LlvmValue lost = b.CreateFSub(x, b.CreateFSub(u, one));
  // At u = 0 and infinity the logarithm alone is the answer.
  LlvmValue ordinary = b.CreateAnd(b.CreateFCmpOGT(u, constant(x, 0)), b.CreateFCmpOLT(u, constant(x, infinity)));
  LlvmValue correction = b.CreateSelect(ordinary, b.CreateFDiv(lost, u), constant(x, 0));
  return b.CreateFAdd(log(u), correction);
}

// |x| < 0.625: x + x^3 P(x^2). Beyond: 1 - 2 / (e^2|x| + 1).
LlvmValue VectorMath::tanh(LlvmValue x) {
  if (is_f64(x)) return libm("tanh", {x});
  LlvmValue size = intrinsic(llvm::Intrinsic::fabs, x), square = b.CreateFMul(x, x);
  // relative error 2^-27.6
  LlvmValue p = polynomial(square, {-0.33333276054732075, 0.13331274332832074, -0.05372511956843881, 0.02058980646739907, -0.0056482966221872355});
  LlvmValue small = fma(b.CreateFMul(square, x), p, x);
  LlvmValue e = exp(b.CreateFAdd(size, size));
  LlvmValue large = b.CreateFSub(constant(x, 1), b.CreateFDiv(constant(x, 2), b.CreateFAdd(e, constant(x, 1))));
  large = b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, large, x);
  return b.CreateSelect(b.CreateFCmpOLT(size, constant(x, 0.625)), small, large);
}

// |x| < 1: x + x P(x^2). Beyond: 1 - e^-Q(|x|) with Q a fit of -log erfc; from 4.1 on that is 1.
LlvmValue VectorMath::erf(LlvmValue x) {
  if (is_f64(x)) return libm("erf", {x});
  LlvmValue size = intrinsic(llvm::Intrinsic::fabs, x), square = b.CreateFMul(x, x);
  // relative error 2^-29.6
  LlvmValue p = polynomial(square, {0.128379165726362, -0.3761262582182471, 0.11283585121274424, -0.02685381079182971, 0.00518832551385573, -0.0008010174551175078, 7.853798392765994e-05});
  LlvmValue small = fma(x, p, x);
  LlvmValue edge = constant(x, 4.1);
  LlvmValue y = b.CreateSelect(b.CreateFCmpOLT(edge, size), edge, size);
  // error 2^-29.5 of erf
  LlvmValue q = polynomial(y, {0.0002446552419010226, 1.12747523760967, 0.6375165644294626, 0.10364073531521434, -0.022087850165041358, 0.0030085924403077933, -0.0001924320078586567});
  LlvmValue large = b.CreateFSub(constant(x, 1), exp(b.CreateFNeg(q)));
  large = b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, large, x);
  return b.CreateSelect(b.CreateFCmpOLT(size, constant(x, 1)), small, large);
}

// With e = e^-|x|: 1 / (1 + e) for x >= 0, e / (1 + e) below, so that small results keep their digits.
LlvmValue VectorMath::sigmoid(LlvmValue x) {
  LlvmValue one = constant(x, 1), e = exp(b.CreateFNeg(intrinsic(llvm::Intrinsic::fabs, x)));
  return b.CreateFDiv(b.CreateSelect(b.CreateFCmpOLT(x, constant(x, 0)), e, one), b.CreateFAdd(one, e));
}

// The quadrant by reduction in f64: pi/2 in three parts of which n times the first two is exact up to n = 2^20. Arguments beyond
// 10^6 go to libm, whole vectors at a time, which no program that means something does.
LlvmValue VectorMath::sine(LlvmValue x, bool cosine) {
  const char* name = cosine ? "cos" : "sin";
  if (is_f64(x)) return libm(name, {x});
  llvm::Type* wide = with_lanes(b.getDoubleTy(), x);
  LlvmValue size = intrinsic(llvm::Intrinsic::fabs, x);
  LlvmValue large = b.CreateFCmpUGT(size, constant(x, 1e6));
  LlvmValue y = b.CreateFPExt(b.CreateSelect(large, constant(x, 0), x), wide);
  LlvmValue magic = constant(y, 6755399441055744.0);   // 1.5 * 2^52
  LlvmValue shifted = fma(y, constant(y, 0.63661977236758134), magic), n = b.CreateFSub(shifted, magic);
  LlvmValue r = y;
  for (double part : {1.57079632673412561417e+00, 6.07710050630396597660e-11, 2.02226624879595063154e-21}) r = fma(n, constant(y, -part), r);
  LlvmValue quadrant = b.CreateTrunc(bits(shifted), with_lanes(b.getInt32Ty(), x));
  if (cosine) quadrant = b.CreateAdd(quadrant, integer(x, 1));
  r = b.CreateFPTrunc(r, x->getType());
  LlvmValue square = b.CreateFMul(r, r);
  // relative errors 2^-37 and 2^-33
  LlvmValue s = fma(b.CreateFMul(square, r), polynomial(square, {-0.16666666639733893, 0.008333329181770517, -0.00019839272720853388, 2.717744939741519e-06}), r);
  LlvmValue c = fma(square, constant(x, -0.5), constant(x, 1));
  c = fma(b.CreateFMul(square, square), polynomial(square, {0.0416666666175382, -0.0013888883334151802, 2.4799416846949286e-05, -2.7202206550001074e-07}), c);
  LlvmValue odd = b.CreateICmpNE(b.CreateAnd(quadrant, integer(x, 1)), integer(x, 0));
  LlvmValue sign = b.CreateShl(b.CreateAnd(quadrant, integer(x, 2)), integer(x, 30));
  LlvmValue fast = number(b.CreateXor(bits(b.CreateSelect(odd, c, s)), sign), x);

  if (!x->getType()->isVectorTy()) return b.CreateSelect(large, libm(name, {x}), fast);   // ends of rows: the bits of a lane
  auto* before = b.GetInsertBlock();
  auto* function = before->getParent();
  auto* slow_block = llvm::BasicBlock::Create(b.getContext(), "far", function);
  auto* after = llvm::BasicBlock::Create(b.getContext(), "near", function);
  b.CreateCondBr(b.CreateOrReduce(large), slow_block, after);
  b.SetInsertPoint(slow_block);
  LlvmValue slow = b.CreateSelect(large, libm(name, {x}), fast);
  b.CreateBr(after);
  b.SetInsertPoint(after);
  auto* result = b.CreatePHI(x->getType(), 2);
  result->addIncoming(fast, before);
  result->addIncoming(slow, slow_block);
  return result;
}
LlvmValue VectorMath::sin(LlvmValue x) { return sine(x, false); }
LlvmValue VectorMath::cos(LlvmValue x) { return sine(x, true); }

// Multiples of 2^-24 reduce without error: t = q/4 + r, |r| <= 1/8.
LlvmValue VectorMath::cos_turns(LlvmValue t) {
  LlvmValue magic = constant(t, 12582912);
  LlvmValue shifted = b.CreateFAdd(b.CreateFMul(t, constant(t, 4)), magic);   // exact product
  LlvmValue r = fma(b.CreateFSub(shifted, magic), constant(t, -0.25), t);
  LlvmValue quadrant = b.CreateAdd(bits(shifted), integer(t, 1));   // cos is sin a quarter later
  LlvmValue square = b.CreateFMul(r, r);
  LlvmValue s = b.CreateFMul(r, polynomial(square, {6.283185307150855, -41.341702150192646, 81.60520367003616, -76.69775791346153, 41.46930142578519}));
  LlvmValue c = polynomial(square, {0.9999999999436467, -19.73920863234041, 64.93931048920344, -85.4422684396136, 59.20174246777116});
  LlvmValue odd = b.CreateICmpNE(b.CreateAnd(quadrant, integer(t, 1)), integer(t, 0));
  LlvmValue sign = b.CreateShl(b.CreateAnd(quadrant, integer(t, 2)), integer(t, 30));
  return number(b.CreateXor(bits(b.CreateSelect(odd, c, s)), sign), t);
}

// log2 x = e + log2((1 + s) / (1 - s)), s = (m - 1) / (m + 1): the series of artanh; |s| < 0.172, nine terms leave 2^-52.
LlvmValue VectorMath::log2_wide(LlvmValue x) {
  LlvmValue root = integer(x, std::bit_cast<int64_t>(0.70710678118654752));
  LlvmValue shifted = b.CreateSub(bits(x), root);
  LlvmValue e = b.CreateSIToFP(b.CreateTrunc(b.CreateAShr(shifted, integer(x, 52)), with_lanes(b.getInt32Ty(), x)), x->getType());
  LlvmValue m = number(b.CreateAdd(b.CreateAnd(shifted, integer(x, 0xfffffffffffffll)), root), x);
  LlvmValue s = b.CreateFDiv(b.CreateFSub(m, constant(x, 1)), b.CreateFAdd(m, constant(x, 1))), z = b.CreateFMul(s, s);
  LlvmValue p = polynomial(z, {1.0, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15, 1.0 / 17});
  return fma(b.CreateFMul(s, p), constant(x, 2 / std::log(2.0)), e);
}

// |x|^y = 2^(y log2 |x|) in f64; then the cases of IEEE 754's pow.
LlvmValue VectorMath::pow(LlvmValue x, LlvmValue y) {
  if (is_f64(x)) return libm("pow", {x, y});
  llvm::Type* wide = with_lanes(b.getDoubleTy(), x);
  LlvmValue size = intrinsic(llvm::Intrinsic::fabs, x), zero = constant(x, 0), one = constant(x, 1), inf = constant(x, infinity);
  LlvmValue power = b.CreateFPExt(y, wide);
  LlvmValue t = b.CreateFMul(power, log2_wide(b.CreateFPExt(size, wide)));
  // log2 of 0 and infinity is what log2_wide makes of their bits: far out, with the right sign, but not infinite.
  LlvmValue low = constant(t, -1000), high = constant(t, 1000);
  t = b.CreateSelect(b.CreateFCmpOLT(high, t), high, t);
  t = b.CreateSelect(b.CreateFCmpOGT(low, t), low, t);
  LlvmValue magic = constant(t, 6755399441055744.0);
  LlvmValue shifted = b.CreateFAdd(t, magic), r = b.CreateFMul(b.CreateFSub(t, b.CreateFSub(shifted, magic)), constant(t, std::log(2.0)));
  // Taylor to r^11 on |r| <= ln 2 / 2: 2^-46.
  LlvmValue p = polynomial(r, {1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800});
  LlvmValue whole = b.CreateSub(bits(shifted), bits(magic));
  LlvmValue result = b.CreateFPTrunc(b.CreateFMul(p, power_of_two(whole, t)), x->getType());

  LlvmValue whole_y = intrinsic(llvm::Intrinsic::floor, y), is_whole = b.CreateFCmpOEQ(whole_y, y);
  LlvmValue half = b.CreateFMul(y, constant(y, 0.5)), is_odd = b.CreateAnd(is_whole, b.CreateFCmpUNE(intrinsic(llvm::Intrinsic::floor, half), half));
  LlvmValue grows = b.CreateFCmpOGT(y, zero);
  LlvmValue at_zero = b.CreateSelect(grows, zero, inf), at_infinity = b.CreateSelect(grows, inf, zero);
  result = b.CreateSelect(b.CreateFCmpOEQ(size, zero), at_zero, result);
  result = b.CreateSelect(b.CreateFCmpOEQ(size, inf), at_infinity, result);
  LlvmValue y_infinite = b.CreateFCmpOEQ(intrinsic(llvm::Intrinsic::fabs, y), inf);
  LlvmValue toward = b.CreateSelect(b.CreateFCmpOGT(size, one), at_infinity, at_zero);
  toward = b.CreateSelect(b.CreateFCmpOEQ(size, one), one, toward);
  result = b.CreateSelect(y_infinite, toward, result);
  LlvmValue nan = constant(x, std::numeric_limits<double>::quiet_NaN());
  LlvmValue negative = b.CreateFCmpOLT(x, zero), finite = b.CreateFCmpOLT(size, inf);
  result = b.CreateSelect(b.CreateAnd(negative, is_odd), b.CreateFNeg(result), result);
  LlvmValue undefined = b.CreateAnd(b.CreateAnd(negative, finite), b.CreateNot(b.CreateOr(is_whole, y_infinite)));
  undefined = b.CreateOr(undefined, b.CreateFCmpUNO(x, y));
  result = b.CreateSelect(undefined, nan, result);
  LlvmValue is_one = b.CreateOr(b.CreateFCmpOEQ(x, one), b.CreateFCmpOEQ(y, zero));
  return b.CreateSelect(is_one, one, result);
}
}  // namespace gradc::codegen
