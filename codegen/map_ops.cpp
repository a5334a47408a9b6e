// One function per map of ops.def, named like it; the table is expanded from the list, so that a missing one does not compile.
#include "codegen/map_ops.h"

#include <llvm/Analysis/VectorUtils.h>
#include <llvm/IR/Constants.h>

#include <cmath>
#include <limits>

#include "codegen/vector_math.h"
#include "ir/bf16.h"
#include "ir/check.h"

namespace gradc::codegen {
namespace {
using ir::ElementType;
using llvm::CmpInst;

struct Map {
  LlvmBuilder& b;
  VectorMath math;
  const ir::Node& node;
  ElementType from;   // of the operands (of select: of the choices)
  std::span<const LlvmValue> x;

  bool floating() const { return ir::is_float(from); }
  bool has_sign() const { return from != ElementType::u8 && from != ElementType::boolean; }
  LlvmValue zero() const { return llvm::Constant::getNullValue(x[0]->getType()); }
  LlvmValue one() const { return number(1); }
  LlvmValue number(double value) const {
    llvm::Type* type = x[0]->getType();
    return floating() ? llvm::ConstantFP::get(type, value) : llvm::ConstantInt::getSigned(type, static_cast<int64_t>(value));
  }
  LlvmValue intrinsic(llvm::Intrinsic::ID id) const { return b.CreateUnaryIntrinsic(id, x[0]); }
  LlvmValue compare(CmpInst::Predicate floats, CmpInst::Predicate with_sign, CmpInst::Predicate without) const {
    return floating() ? b.CreateFCmp(floats, x[0], x[1]) : b.CreateICmp(has_sign() ? with_sign : without, x[0], x[1]);
  }
};

LlvmValue neg(Map& m) { return m.floating() ? m.b.CreateFNeg(m.x[0]) : m.b.CreateNeg(m.x[0]); }
LlvmValue abs(Map& m) {
  if (m.floating()) return m.intrinsic(llvm::Intrinsic::fabs);
  return m.has_sign() ? m.b.CreateSelect(m.b.CreateICmpSLT(m.x[0], m.zero()), m.b.CreateNeg(m.x[0]), m.x[0]) : m.x[0];
}
LlvmValue sign(Map& m) {
  if (!m.floating()) {
    LlvmValue below = m.has_sign() ? m.b.CreateSelect(m.b.CreateICmpSLT(m.x[0], m.zero()), m.number(-1), m.zero()) : m.zero();
    return m.b.CreateSelect(m.has_sign() ? m.b.CreateICmpSGT(m.x[0], m.zero()) : m.b.CreateICmpNE(m.x[0], m.zero()), m.one(), below);
  }
  LlvmValue below = m.b.CreateSelect(m.b.CreateFCmpOLT(m.x[0], m.zero()), m.number(-1), m.x[0]);   // 0 and NaN are their own signs
  return m.b.CreateSelect(m.b.CreateFCmpOGT(m.x[0], m.zero()), m.one(), below);
}
LlvmValue exp(Map& m) { return m.math.exp(m.x[0]); }
LlvmValue log(Map& m) { return m.math.log(m.x[0]); }
LlvmValue log1p(Map& m) { return m.math.log1p(m.x[0]); }
LlvmValue sqrt(Map& m) { return m.math.sqrt(m.x[0]); }
LlvmValue rsqrt(Map& m) { return m.math.rsqrt(m.x[0]); }
LlvmValue sin(Map& m) { return m.math.sin(m.x[0]); }
LlvmValue cos(Map& m) { return m.math.cos(m.x[0]); }
LlvmValue tanh(Map& m) { return m.math.tanh(m.x[0]); }
LlvmValue erf(Map& m) { return m.math.erf(m.x[0]); }
LlvmValue sigmoid(Map& m) { return m.math.sigmoid(m.x[0]); }
LlvmValue pow(Map& m) { return m.math.pow(m.x[0], m.x[1]); }
LlvmValue floor(Map& m) { return m.intrinsic(llvm::Intrinsic::floor); }
LlvmValue ceil(Map& m) { return m.intrinsic(llvm::Intrinsic::ceil); }
LlvmValue round(Map& m) { return m.intrinsic(llvm::Intrinsic::roundeven); }
LlvmValue not_(Map& m) { return m.b.CreateNot(m.x[0]); }
LlvmValue is_finite(Map& m) { return m.b.CreateFCmpOLT(m.intrinsic(llvm::Intrinsic::fabs), m.number(std::numeric_limits<double>::infinity())); }
LlvmValue cast(Map& m) { return emit_cast(m.b, m.x[0], m.from, m.node.type.element); }

LlvmValue add(Map& m) { return m.floating() ? m.b.CreateFAdd(m.x[0], m.x[1]) : m.b.CreateAdd(m.x[0], m.x[1]); }
LlvmValue sub(Map& m) { return m.floating() ? m.b.CreateFSub(m.x[0], m.x[1]) : m.b.CreateSub(m.x[0], m.x[1]); }
LlvmValue mul(Map& m) { return m.floating() ? m.b.CreateFMul(m.x[0], m.x[1]) : m.b.CreateMul(m.x[0], m.x[1]); }
// A divisor that is the same in all lanes becomes a reciprocal (float contract of ops.def).
LlvmValue div(Map& m) {
  LlvmValue repeated = llvm::getSplatValue(m.x[1]);
  if (!repeated || llvm::isa<llvm::Constant>(m.x[1])) return m.b.CreateFDiv(m.x[0], m.x[1]);
  LlvmValue reciprocal = m.b.CreateFDiv(llvm::ConstantFP::get(repeated->getType(), 1), repeated);
  return m.b.CreateFMul(m.x[0], splat(m.b, reciprocal, llvm::cast<llvm::FixedVectorType>(m.x[0]->getType())->getNumElements()));
}

// Division traps on 0 and on the most negative number by -1: both divisors are replaced. x idiv 0 = 0, x rem 0 = x.
LlvmValue idiv(Map& m) {
  LlvmBuilder& b = m.b;
  LlvmValue by_zero = b.CreateICmpEQ(m.x[1], m.zero());
  LlvmValue by = b.CreateSelect(by_zero, m.one(), m.x[1]);
  if (!m.has_sign()) return b.CreateSelect(by_zero, m.zero(), b.CreateUDiv(m.x[0], by));
  LlvmValue negates = b.CreateICmpEQ(by, m.number(-1));
  by = b.CreateSelect(negates, m.one(), by);
  LlvmValue quotient = b.CreateSDiv(m.x[0], by), rest = b.CreateSub(m.x[0], b.CreateMul(quotient, by));
  LlvmValue inexact = b.CreateAnd(b.CreateICmpNE(rest, m.zero()), b.CreateICmpSLT(b.CreateXor(rest, by), m.zero()));
  quotient = b.CreateSelect(inexact, b.CreateSub(quotient, m.one()), quotient);
  quotient = b.CreateSelect(negates, b.CreateNeg(m.x[0]), quotient);
  return b.CreateSelect(by_zero, m.zero(), quotient);
}
LlvmValue rem(Map& m) {
  LlvmBuilder& b = m.b;
  if (!m.floating()) return b.CreateSub(m.x[0], b.CreateMul(m.x[1], idiv(m)));
  return b.CreateFSub(m.x[0], b.CreateFMul(m.x[1], b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, b.CreateFDiv(m.x[0], m.x[1]))));
}

// The instructions give the second operand if either is NaN: a known number goes first, then one is all. Otherwise `maximum` puts back
// a NaN in the first.
LlvmValue extreme(LlvmBuilder& b, LlvmValue x, LlvmValue y, CmpInst::Predicate better) {
  if (llvm::isa<llvm::Constant>(y)) std::swap(x, y);
  if (llvm::isa<llvm::Constant>(x)) return b.CreateSelect(b.CreateFCmp(better, x, y), x, y);
  return b.CreateBinaryIntrinsic(better == CmpInst::FCMP_OGT ? llvm::Intrinsic::maximum : llvm::Intrinsic::minimum, x, y);
}
LlvmValue max(Map& m) {
  if (m.floating()) return extreme(m.b, m.x[0], m.x[1], CmpInst::FCMP_OGT);
  return m.b.CreateBinaryIntrinsic(m.has_sign() ? llvm::Intrinsic::smax : llvm::Intrinsic::umax, m.x[0], m.x[1]);
}
LlvmValue min(Map& m) {
  if (m.floating()) return extreme(m.b, m.x[0], m.x[1], CmpInst::FCMP_OLT);
  return m.b.CreateBinaryIntrinsic(m.has_sign() ? llvm::Intrinsic::smin : llvm::Intrinsic::umin, m.x[0], m.x[1]);
}

LlvmValue eq(Map& m) { return m.compare(CmpInst::FCMP_OEQ, CmpInst::ICMP_EQ, CmpInst::ICMP_EQ); }
LlvmValue ne(Map& m) { return m.compare(CmpInst::FCMP_UNE, CmpInst::ICMP_NE, CmpInst::ICMP_NE); }
LlvmValue lt(Map& m) { return m.compare(CmpInst::FCMP_OLT, CmpInst::ICMP_SLT, CmpInst::ICMP_ULT); }
LlvmValue le(Map& m) { return m.compare(CmpInst::FCMP_OLE, CmpInst::ICMP_SLE, CmpInst::ICMP_ULE); }
LlvmValue gt(Map& m) { return m.compare(CmpInst::FCMP_OGT, CmpInst::ICMP_SGT, CmpInst::ICMP_UGT); }
LlvmValue ge(Map& m) { return m.compare(CmpInst::FCMP_OGE, CmpInst::ICMP_SGE, CmpInst::ICMP_UGE); }
LlvmValue and_(Map& m) { return m.b.CreateAnd(m.x[0], m.x[1]); }
LlvmValue or_(Map& m) { return m.b.CreateOr(m.x[0], m.x[1]); }
LlvmValue select(Map& m) { return m.b.CreateSelect(m.x[0], m.x[1], m.x[2]); }

using Rule = LlvmValue (*)(Map&);
#define RULE_map(name) &name
#define RULE_view(name) nullptr
#define RULE_contract(name) nullptr
#define RULE_reduce(name) nullptr
#define RULE_index(name) nullptr
#define RULE_source(name) nullptr
#define RULE_loop(name) nullptr
#define RULE_gradient(name) nullptr
constexpr Rule rules[] = {
#define OP(name, kind, operands, attributes, rule, traits, doc) RULE_##kind(name),
#include "ir/ops.def"
};

// To the nearest bf16, ties to even, NaN stays.
LlvmValue round_to_bf16(LlvmBuilder& b, LlvmValue x) {
  llvm::Type* type = x->getType()->getWithNewType(b.getInt32Ty());
  auto number = [&](int64_t v) { return llvm::ConstantInt::getSigned(type, v); };
  LlvmValue bits = b.CreateBitCast(x, type);
  LlvmValue odd = b.CreateAnd(b.CreateLShr(bits, number(16)), number(1));
  LlvmValue rounded = b.CreateAdd(bits, b.CreateAdd(odd, number(0x7fff)));
  LlvmValue kept = b.CreateSelect(b.CreateFCmpUNO(x, x), b.CreateOr(bits, number(0x400000)), rounded);
  return b.CreateBitCast(b.CreateAnd(kept, number(-65536)), x->getType());
}
}  // namespace

llvm::Type* register_type(ElementType element, llvm::LLVMContext& context) {
  llvm::Type* types[] = {llvm::Type::getFloatTy(context), llvm::Type::getDoubleTy(context), llvm::Type::getFloatTy(context), llvm::Type::getInt32Ty(context),
                         llvm::Type::getInt64Ty(context), llvm::Type::getInt8Ty(context),   llvm::Type::getInt1Ty(context)};
  return types[static_cast<size_t>(element)];
}

llvm::Type* memory_type(ElementType element, llvm::LLVMContext& context) {
  if (element == ElementType::bf16) return llvm::Type::getInt16Ty(context);
  if (element == ElementType::boolean) return llvm::Type::getInt8Ty(context);
  return register_type(element, context);
}

llvm::Type* lanes_of(llvm::Type* type, int lanes) { return lanes == 1 ? type : llvm::FixedVectorType::get(type, lanes); }

LlvmValue from_memory(LlvmBuilder& b, LlvmValue loaded, ElementType element) {
  if (element == ElementType::boolean) return b.CreateICmpNE(loaded, llvm::Constant::getNullValue(loaded->getType()));
  if (element != ElementType::bf16) return loaded;
  llvm::Type* bits = loaded->getType()->getWithNewType(b.getInt32Ty());
  return b.CreateBitCast(b.CreateShl(b.CreateZExt(loaded, bits), llvm::ConstantInt::get(bits, 16)), loaded->getType()->getWithNewType(b.getFloatTy()));
}

LlvmValue to_memory(LlvmBuilder& b, LlvmValue value, ElementType element) {
  llvm::Type* type = value->getType();
  if (element == ElementType::boolean) return b.CreateZExt(value, type->getWithNewType(b.getInt8Ty()));
  if (element != ElementType::bf16) return value;
  llvm::Type* bits = type->getWithNewType(b.getInt32Ty());
  return b.CreateTrunc(b.CreateLShr(b.CreateBitCast(value, bits), llvm::ConstantInt::get(bits, 16)), type->getWithNewType(b.getInt16Ty()));
}

llvm::Constant* constant(ElementType element, double value, llvm::LLVMContext& context) {
  llvm::Type* type = register_type(element, context);
  if (element == ElementType::bf16) return llvm::ConstantFP::get(type, from_bf16(to_bf16(static_cast<float>(value))));
  if (ir::is_float(element)) return llvm::ConstantFP::get(type, value);
  if (element == ElementType::boolean) return llvm::ConstantInt::get(type, value != 0);
  int64_t low = element == ElementType::u8 ? 0 : element == ElementType::i32 ? INT32_MIN : INT64_MIN;
  int64_t high = element == ElementType::u8 ? 255 : element == ElementType::i32 ? INT32_MAX : INT64_MAX;
  double whole = std::isnan(value) ? 0 : std::trunc(value);
  int64_t integer = whole <= static_cast<double>(low) ? low : whole >= static_cast<double>(high) ? high : static_cast<int64_t>(whole);
  return llvm::ConstantInt::getSigned(type, integer);
}

LlvmValue splat(LlvmBuilder& b, LlvmValue value, int lanes) { return lanes == 1 || value->getType()->isVectorTy() ? value : b.CreateVectorSplat(lanes, value); }

LlvmValue emit_map_op(LlvmBuilder& b, const Target& target, const ir::Node& node, ElementType from, std::span<const LlvmValue> operands) {
  Rule rule = rules[static_cast<size_t>(node.op)];
  CHECK(rule, "{} is no map", ir::info(node.op).name);
  Map map{b, {b, target}, node, from, operands};
  LlvmValue value = rule(map);
  // What only chooses among its operands needs no rounding.
  bool exact = node.op == ir::Op::select || node.op == ir::Op::max || node.op == ir::Op::min || node.op == ir::Op::neg || node.op == ir::Op::abs || node.op == ir::Op::cast;
  return node.type.element == ElementType::bf16 && !exact ? round_to_bf16(b, value) : value;
}

LlvmValue multiply_add(LlvmBuilder& b, const Target& target, LlvmValue x, LlvmValue y, LlvmValue sum) {
  if (target.fma) return b.CreateIntrinsic(llvm::Intrinsic::fma, {sum->getType()}, {x, y, sum});
  return b.CreateFAdd(b.CreateFMul(x, y), sum);
}

LlvmValue emit_cast(LlvmBuilder& b, LlvmValue x, ElementType from, ElementType to) {
  if (from == to) return x;
  llvm::Type* type = x->getType()->getWithNewType(register_type(to, b.getContext()));
  LlvmValue zero = llvm::Constant::getNullValue(x->getType());
  if (to == ElementType::boolean) return ir::is_float(from) ? b.CreateFCmpUNE(x, zero) : b.CreateICmpNE(x, zero);
  bool no_sign = from == ElementType::u8 || from == ElementType::boolean;
  if (ir::is_float(to)) {
    LlvmValue value = ir::is_float(from) ? b.CreateFPCast(x, type) : no_sign ? b.CreateUIToFP(x, type) : b.CreateSIToFP(x, type);
    return to == ElementType::bf16 ? round_to_bf16(b, value) : value;
  }
  if (ir::is_float(from)) {
    auto saturating = to == ElementType::u8 ? llvm::Intrinsic::fptoui_sat : llvm::Intrinsic::fptosi_sat;
    return b.CreateIntrinsic(saturating, {type, x->getType()}, {x});
  }
  return no_sign ? b.CreateZExtOrTrunc(x, type) : b.CreateSExtOrTrunc(x, type);
}

// ---- reductions

namespace {
enum class Kind { sum, product, largest, smallest, position };
Kind kind_of(ir::Op op) {
  switch (op) {
    case ir::Op::reduce_prod: return Kind::product;
    case ir::Op::reduce_max: return Kind::largest;
    case ir::Op::reduce_min: return Kind::smallest;
    case ir::Op::argmax: return Kind::position;
    default: return Kind::sum;   // sum, mean, fold
  }
}
}  // namespace

Reduction::Reduction(const ir::Node& node, ElementType operand, int lanes, LlvmBuilder& builder, const Target& target) : node_(node), element_(operand), lanes_(lanes), b(builder), target_(target) {
  CHECK(ir::is_reduce(node.op));
}

size_t Reduction::width() const { return kind_of(node_.op) == Kind::position ? 2 : 1; }

void Reduction::start(State state) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  Kind kind = kind_of(node_.op);
  double first = kind == Kind::sum ? 0 : kind == Kind::product ? 1 : kind == Kind::smallest ? infinity : -infinity;
  // -0 is the neutral element of addition, but the sign of a zero is free.
  state[0] = splat(b, constant(element_, first, b.getContext()), lanes_);
  if (kind == Kind::position) state[1] = llvm::Constant::getNullValue(lanes_of(b.getInt32Ty(), lanes_));
}

namespace {
LlvmValue combine(LlvmBuilder& b, const Target& target, Kind kind, ElementType element, LlvmValue x, LlvmValue y) {
  LlvmValue operands[] = {x, y};
  ir::Node node;
  Map map{b, {b, target}, node, element, operands};
  switch (kind) {
    case Kind::sum: return add(map);
    case Kind::product: return mul(map);
    case Kind::largest: return max(map);
    default: return min(map);
  }
}
// x comes before y: it is larger, or NaN where y is not.
LlvmValue beats(LlvmBuilder& b, ElementType element, LlvmValue x, LlvmValue y) {
  if (!ir::is_float(element)) return element == ElementType::u8 ? b.CreateICmpUGT(x, y) : b.CreateICmpSGT(x, y);
  return b.CreateAnd(b.CreateFCmpUGT(x, y), b.CreateFCmpORD(y, y));
}
bool is_zero(LlvmValue number) {
  auto* constant = llvm::dyn_cast<llvm::Constant>(number);
  return constant && constant->isNullValue();
}
}  // namespace

void Reduction::take(State state, LlvmValue element, LlvmValue position, LlvmValue mask) {
  Kind kind = kind_of(node_.op);
  element = splat(b, element, lanes_);
  std::vector<LlvmValue> fresh(width());
  start(fresh);
  if (element == fresh[0]) return;   // what is outside of windows
  if (!mask && state[0] == fresh[0] && (kind == Kind::largest || kind == Kind::smallest || (kind == Kind::position && is_zero(position)))) {
    state[0] = element;
    return;
  }
  if (kind == Kind::position) {
    LlvmValue better = beats(b, element_, element, state[0]);
    if (mask) better = b.CreateAnd(better, splat(b, mask, lanes_));
    state[0] = b.CreateSelect(better, element, state[0]);
    state[1] = b.CreateSelect(better, splat(b, position, lanes_), state[1]);
    return;
  }
  LlvmValue next = combine(b, target_, kind, element_, state[0], element);
  state[0] = mask ? b.CreateSelect(mask, next, state[0]) : next;
}

bool Reduction::sums() const { return kind_of(node_.op) == Kind::sum && (element_ == ElementType::f32 || element_ == ElementType::f64); }
void Reduction::take_product(State state, LlvmValue x, LlvmValue y, LlvmValue mask) {
  LlvmValue next = multiply_add(b, target_, splat(b, x, lanes_), splat(b, y, lanes_), state[0]);
  state[0] = mask ? b.CreateSelect(mask, next, state[0]) : next;
}

void Reduction::merge(State state, std::span<const LlvmValue> other) {
  Kind kind = kind_of(node_.op);
  if (kind != Kind::position) {
    state[0] = combine(b, target_, kind, element_, state[0], other[0]);
    return;
  }
  // The better value; among equal ones (two NaN are equal here) the earlier position.
  LlvmValue worse = beats(b, element_, state[0], other[0]), better = beats(b, element_, other[0], state[0]);
  LlvmValue earlier = b.CreateICmpSLT(other[1], state[1]);
  LlvmValue takes = b.CreateOr(better, b.CreateAnd(b.CreateNot(worse), earlier));
  state[0] = b.CreateSelect(takes, other[0], state[0]);
  state[1] = b.CreateSelect(takes, other[1], state[1]);
}

void Reduction::across_lanes(State state) {
  if (lanes_ == 1) return;
  // A fixed tree: the upper half onto the lower one, until one lane is left.
  Reduction narrow(node_, element_, 1, b, target_);
  int lanes = lanes_;
  while (lanes > 1) {
    lanes /= 2;
    std::vector<LlvmValue> low, high;
    for (LlvmValue value : state) {
      std::vector<int> first(lanes), second(lanes);
      for (int i = 0; i < lanes; ++i) first[i] = i, second[i] = lanes + i;
      low.push_back(b.CreateShuffleVector(value, first));
      high.push_back(b.CreateShuffleVector(value, second));
    }
    narrow.merge(low, high);
    std::copy(low.begin(), low.end(), state.begin());
  }
  for (LlvmValue& value : state) value = b.CreateExtractElement(value, uint64_t{0});
}

LlvmValue Reduction::result(std::span<const LlvmValue> state, int64_t count) {
  LlvmValue value = state[width() - 1];
  if (node_.op == ir::Op::reduce_mean) value = b.CreateFDiv(value, llvm::ConstantFP::get(value->getType(), static_cast<double>(count)));
  return node_.type.element == ElementType::bf16 ? round_to_bf16(b, value) : value;
}
}  // namespace gradc::codegen
