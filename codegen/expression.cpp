#include "codegen/expression.h"

#include <llvm/IR/Constants.h>
#include <llvm/IR/Module.h>

#include <algorithm>

#include "codegen/vector_math.h"
#include "ir/check.h"
#include "ir/infer.h"

namespace gradc::codegen {
namespace {
using ir::Attr;
using ir::ElementType;
using ir::Op;
}  // namespace

Expression::Expression(Frame& frame, IndexSpace& space, int lanes) : frame(frame), space(space), b(frame.builder), lanes(lanes) {
  open();
  for (const ir::Node& node : frame.kernel.body.nodes) {
    bool needs = ir::is_reduce(node.op) || node.op == Op::contract;
    for (ir::Value operand : node.operands) needs = needs || needs_provided_[operand.id];
    needs_provided_.push_back(needs);
  }
  std::vector<std::vector<ir::Value>> users = frame.kernel.body.users();
  for (uint32_t i = 0; i < users.size(); ++i) {
    const ir::Node& node = frame.kernel.body.nodes[i];
    fused_.push_back(node.op == Op::mul && (node.type.element == ElementType::f32 || node.type.element == ElementType::f64) && users[i].size() == 1);
  }
  for (const ir::Result& result : frame.kernel.body.results) fused_[result.value.id] = false;
}

// What depends on no loop: scalars such as a schedule's value. Its operands are of this kind too.
bool Expression::once(ir::Value v, const IndexVector& at) const {
  return guards_.empty() && !needs_provided_[v.id] && std::all_of(at.begin(), at.end(), [](const Index& i) { return i.is_constant(); });
}

void Expression::bind(const Index& variable, LlvmValue value) {
  if (variable.is_constant()) return;
  Binding& binding = bindings_[variable_of(variable)];
  if (binding.lane) std::erase(lane_variables_, variable_of(variable));   // lanes run along an operand while it is packed, along results afterwards
  if (binding.scattered) std::erase(scattered_, variable_of(variable));
  binding = {value, false};
}
void Expression::bind_lanes(const Index& variable, LlvmValue value) {
  if (lanes == 1 || variable.is_constant()) return bind(variable, value);
  Binding& binding = bindings_[variable_of(variable)];
  if (!binding.lane) lane_variables_.push_back(variable_of(variable));
  binding = {value, true};
}
void Expression::bind_scattered(const Index& variable, LlvmValue numbers) {
  if (variable.is_constant()) return;
  bind(variable, nullptr);
  bindings_[variable_of(variable)] = {numbers, false, true};
  scattered_.push_back(variable_of(variable));
}

LlvmValue Expression::first_lanes(int64_t count) {
  if (count >= lanes) return nullptr;
  std::vector<llvm::Constant*> bits;
  for (int i = 0; i < lanes; ++i) bits.push_back(b.getInt1(i < count));
  return llvm::ConstantVector::get(bits);
}

void Expression::provide(ir::Value v, const IndexVector& at, LlvmValue value) { scopes_.back().values[{v.id, at, guards_}] = value; }

LlvmValue Expression::emit(ir::Value v, const IndexVector& at) {
  // A value that holds under fewer guards is as good.
  std::vector<Guard> none;
  Key key{v.id, at, guards_}, free{v.id, at, none};
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (auto found = scope->values.find(key); found != scope->values.end()) return found->second;
    if (!guards_.empty())
      if (auto found = scope->values.find(free); found != scope->values.end()) return found->second;
  }
  if (once(v, at)) {
    LlvmBuilder::InsertPointGuard guard(b);
    b.SetInsertPoint(frame.function->getEntryBlock().getTerminator());
    return scopes_.front().values[key] = emit_new(v, at);
  }
  return scopes_.back().values[key] = emit_new(v, at);
}

LlvmValue Expression::emit_new(ir::Value v, const IndexVector& at) {
  const ir::Node& node = frame.kernel.body[v];
  if (ir::is_view(node.op)) return emit_view(node, at);
  if (std::optional<size_t> literal = ir::small_transform(frame.kernel.body, node)) return emit_transform(node, *literal, at);
  if (ir::is_reduce(node.op)) return emit_reduce(node, at);
  if (node.op == Op::gather) return emit_gather(node, at);
  if (LlvmValue fused = emit_fused(node, at)) return fused;
  if (ir::is_map(node.op)) {
    std::vector<LlvmValue> operands;
    for (ir::Value operand : node.operands) operands.push_back(emit(operand, at));
    if (std::any_of(operands.begin(), operands.end(), [](LlvmValue x) { return x->getType()->isVectorTy(); }))
      for (LlvmValue& operand : operands) operand = splat(b, operand, lanes);
    return emit_map_op(b, frame.target, node, frame.kernel.body.type(node.operands.back()).element, operands);
  }
  if (node.op == Op::input) return load(frame.input(v), at);
  if (node.op == Op::constant) return constant(node.type.element, node.attrs.number(Attr::value), b.getContext());
  if (node.op == Op::literal) return emit_literal(node, at);
  if (node.op == Op::random) return emit_random(node, at);
  CHECK(node.op == Op::iota, "{} at [{}] is neither emitted nor provided", ir::info(node.op).name, at.empty() ? "" : space.text(at[0]));
  const Index& position = at[node.attrs.integer(Attr::axis)];
  if (varies(position)) return emit_cast(b, lane_numbers(position), ElementType::i32, node.type.element);
  return emit_cast(b, number(position), ElementType::i64, node.type.element);
}

// x * y + z, x * y - z, z - x * y; null for anything else.
LlvmValue Expression::emit_fused(const ir::Node& node, const IndexVector& at) {
  if ((node.op != Op::add && node.op != Op::sub) || !ir::is_float(node.type.element)) return nullptr;
  size_t product = fused_[node.operands[0].id] ? 0 : 1;
  if (!fused_[node.operands[product].id]) return nullptr;
  const ir::Node& factors = frame.kernel.body[node.operands[product]];
  LlvmValue x[] = {emit(factors.operands[0], at), emit(factors.operands[1], at), emit(node.operands[1 - product], at)};
  if (std::any_of(std::begin(x), std::end(x), [](LlvmValue v) { return v->getType()->isVectorTy(); }))
    for (LlvmValue& v : x) v = splat(b, v, lanes);
  if (node.op == Op::sub) {
    LlvmValue& negated = product == 0 ? x[2] : x[0];
    negated = b.CreateFNeg(negated);
  }
  return multiply_add(b, frame.target, x[0], x[1], x[2]);
}

void Expression::take(Reduction& reduction, Reduction::State state, ir::Value operand, const IndexVector& at, LlvmValue position, LlvmValue mask) {
  if (reduction.sums() && fused_[operand.id]) {
    const ir::Node& factors = frame.kernel.body[operand];
    return reduction.take_product(state, emit(factors.operands[0], at), emit(factors.operands[1], at), mask);
  }
  reduction.take(state, emit(operand, at), position, mask);
}

// ---- views

LlvmValue Expression::emit_view(const ir::Node& node, const IndexVector& at) {
  Access from = access(node, frame.kernel.body.type(node.operands[0]).shape, at, space);
  return emit_guarded(from, node.operands[0], constant(node.type.element, from.fill, b.getContext()));
}

// The operand's value where the guards hold, `outside` elsewhere.
LlvmValue Expression::emit_guarded(const Access& from, ir::Value operand, LlvmValue outside) {
  if (from.guards.empty()) return emit(operand, from.at);
  for (const Guard& guard : from.guards)
    if (Range range = space.range(guard.place); range.high < 0 || range.low >= guard.extent) return outside;
  std::vector<Guard> before = guards_;
  std::vector<Guard> added;
  for (const Guard& guard : from.guards)
    if (!std::binary_search(guards_.begin(), guards_.end(), guard)) added.push_back(guard);
  LlvmValue holds = added.empty() ? nullptr : all_of(added);
  guards_.insert(guards_.end(), added.begin(), added.end());
  std::sort(guards_.begin(), guards_.end());
  LlvmValue value = emit(operand, from.at);
  guards_ = std::move(before);
  if (!holds) return value;
  if (holds->getType()->isVectorTy() || value->getType()->isVectorTy()) {
    value = splat(b, value, lanes);
    outside = splat(b, outside, lanes);
  }
  return b.CreateSelect(holds, value, outside);
}

void Expression::set_guards(std::vector<Guard> guards) {
  std::sort(guards.begin(), guards.end());
  guards_ = std::move(guards);
}

LlvmValue Expression::condition(const Guard& guard) {
  // 0 <= place < extent in one unsigned comparison.
  if (!varies(guard.place)) return b.CreateICmpULT(number(guard.place), b.getInt64(guard.extent));
  LlvmValue place = lane_numbers(guard.place);
  return b.CreateICmpULT(place, llvm::ConstantInt::get(place->getType(), guard.extent));
}

LlvmValue Expression::all_of(const std::vector<Guard>& guards) {
  LlvmValue uniform = nullptr, varying = nullptr;
  for (const Guard& guard : guards) {
    LlvmValue holds = condition(guard);
    LlvmValue& sum = holds->getType()->isVectorTy() ? varying : uniform;
    sum = sum ? b.CreateAnd(sum, holds) : holds;
  }
  if (uniform && varying) return b.CreateAnd(splat(b, uniform, lanes), varying);
  return varying ? varying : uniform;
}

// ---- small reductions and fold, inlined like maps: a sum in the order of the elements

LlvmValue Expression::emit_reduce(const ir::Node& node, const IndexVector& at) {
  const ir::Type& operand = frame.kernel.body.type(node.operands[0]);
  std::vector<int64_t> axes;   // of the operand
  if (node.op == Op::argmax) axes = {node.attrs.integer(Attr::axis)};
  else axes = node.attrs.integers(Attr::axes);
  if (node.op == Op::fold)
    for (int64_t& axis : axes) axis += static_cast<int64_t>(axes.size());   // the windows' own axes follow the positions
  ir::Shape extents;
  for (int64_t axis : axes) extents.push_back(operand.shape[axis]);
  int64_t count = ir::shape_size(extents);
  const LlvmValue zero = constant(operand.element, 0, b.getContext());
  // Of the windows that might add to an element of a fold few remain where its index is known modulo the stride.
  std::vector<Access> added;
  if (node.op == Op::fold && count <= straight_reduction) {
    auto never = [&](const Guard& guard) { return space.range(guard.place).high < 0 || space.range(guard.place).low >= guard.extent; };
    for (int64_t i = 0; i < count; ++i)
      if (Access from = fold_access(node, at, space.split(Index(i), extents), space); std::none_of(from.guards.begin(), from.guards.end(), never)) added.push_back(std::move(from));
    if (added.size() == 1) return emit_guarded(added[0], node.operands[0], zero);
  }
  int width = std::any_of(at.begin(), at.end(), [&](const Index& i) { return varies(i); }) ? lanes : 1;
  Reduction reduction(node, operand.element, width, b, frame.target);
  std::vector<LlvmValue> state(reduction.width());
  reduction.start(state);
  auto take_position = [&](const Index& position) {
    IndexVector offset = space.split(position, extents);
    LlvmValue place = b.CreateTrunc(number(position), b.getInt32Ty());
    if (node.op == Op::fold) {
      reduction.take(state, emit_guarded(fold_access(node, at, offset, space), node.operands[0], zero), place, nullptr);
    } else {
      IndexVector from;
      for (size_t axis = 0, kept = 0, reduced = 0; axis < operand.shape.size(); ++axis)
        from.push_back(reduced < axes.size() && axes[reduced] == static_cast<int64_t>(axis) ? offset[reduced++] : at[kept++]);
      take(reduction, state, node.operands[0], from, place, nullptr);
    }
  };
  if (!added.empty()) {
    for (const Access& from : added) reduction.take(state, emit_guarded(from, node.operands[0], zero), nullptr, nullptr);
  } else if (count <= straight_reduction) {
    for (int64_t i = 0; i < count; ++i) take_position(Index(i));
  } else {
    Index position = space.variable(count);
    frame.loop(frame.number(0), frame.number(count), 1, state, [&](LlvmValue i, std::vector<LlvmValue>& carried) {
      ScopeGuard scope(*this);
      bind(position, i);
      std::swap(state, carried);
      take_position(position);
      std::swap(state, carried);
    });
  }
  return reduction.result(state, count);
}

// ---- gather: a place of which one index is a number from memory. Out of range, row 0 is read, which is always there, and 0 taken instead.

LlvmValue Expression::emit_gather(const ir::Node& node, const IndexVector& at) {
  const ir::Type &operand = frame.kernel.body.type(node.operands[0]), &index = frame.kernel.body.type(node.operands[1]);
  const int64_t extent = operand.shape[node.attrs.integer(Attr::axis)];
  LlvmValue zero = constant(node.type.element, 0, b.getContext());
  if (extent == 0) return zero;
  LlvmValue number = emit(node.operands[1], gather_index(node, index.rank(), at));
  const bool wide = index.element == ElementType::i64 || extent > INT32_MAX, scattered = number->getType()->isVectorTy();
  number = emit_cast(b, number, index.element, wide ? ElementType::i64 : ElementType::i32);
  LlvmValue valid = b.CreateICmpULT(number, llvm::ConstantInt::get(number->getType(), static_cast<uint64_t>(extent)));
  number = b.CreateSelect(valid, number, llvm::Constant::getNullValue(number->getType()));
  const Index row = space.variable(extent);
  if (scattered) bind_scattered(row, b.CreateZExtOrTrunc(number, lanes_of(b.getInt32Ty(), lanes)));
  else bind(row, b.CreateZExt(number, b.getInt64Ty()));
  LlvmValue value = emit(node.operands[0], gather_access(node, index.rank(), at, row));
  std::tie(value, zero) = in_step(value, zero);
  if (scattered) value = splat(b, value, lanes), zero = splat(b, zero, lanes);
  return b.CreateSelect(valid, value, zero);
}

// ---- small transforms and literals

// A sum with constant factors: those that are 0 are left out, 1 and -1 multiply nothing.
LlvmValue Expression::emit_transform(const ir::Node& node, size_t literal, const IndexVector& at) {
  ir::ContractSpec spec = std::get<ir::ContractSpec>(ir::ContractSpec::parse(node.attrs.text(Attr::spec)));
  const ir::Node& matrix = frame.kernel.body[node.operands[literal]];
  const std::string &known = literal == 0 ? spec.a : spec.b, &rest = literal == 0 ? spec.b : spec.a;
  ir::Shape extents;
  std::string reduced;
  for (size_t i = 0; i < known.size(); ++i)
    if (spec.result.find(known[i]) == spec.result.npos) reduced += known[i], extents.push_back(matrix.type.shape[i]);
  const int64_t count = ir::shape_size(extents);
  LlvmValue sum = nullptr;
  for (int64_t k = 0; k < count; ++k) {
    IndexVector place = space.split(Index(k), extents);
    auto index_of = [&](const std::string& letters) {
      IndexVector index;
      for (char c : letters) index.push_back(reduced.find(c) != reduced.npos ? place[reduced.find(c)] : at[spec.result.find(c)]);
      return index;
    };
    Index element = space.linear(index_of(known), matrix.type.shape);
    LlvmValue factor = nullptr;
    if (element.is_constant()) {
      double value = matrix.attrs.dense(Attr::data)[element.constant];
      if (value == 0) continue;
      if (value == 1 || value == -1) {
        LlvmValue x = emit(node.operands[1 - literal], index_of(rest));
        if (!sum) sum = value == 1 ? x : b.CreateFNeg(x);
        else std::tie(sum, x) = in_step(sum, x), sum = value == 1 ? b.CreateFAdd(sum, x) : b.CreateFSub(sum, x);
        continue;
      }
      factor = constant(node.type.element, value, b.getContext());
    } else {
      factor = emit(node.operands[literal], index_of(known));
    }
    LlvmValue x = emit(node.operands[1 - literal], index_of(rest));
    std::tie(x, factor) = in_step(x, factor);
    if (!sum) {
      sum = b.CreateFMul(x, factor);
    } else {
      std::tie(sum, x) = in_step(sum, x);
      std::tie(sum, factor) = in_step(sum, factor);
      sum = multiply_add(b, frame.target, x, factor, sum);
    }
  }
  return sum ? sum : constant(node.type.element, 0, b.getContext());
}

// Both scalars or both vectors.
std::pair<LlvmValue, LlvmValue> Expression::in_step(LlvmValue x, LlvmValue y) {
  if (!x->getType()->isVectorTy() && !y->getType()->isVectorTy()) return {x, y};
  return {splat(b, x, lanes), splat(b, y, lanes)};
}

LlvmValue Expression::emit_literal(const ir::Node& node, const IndexVector& at) {
  const ir::Dense& data = node.attrs.dense(Attr::data);
  if (data.size() == 1) return constant(node.type.element, data[0], b.getContext());
  Buffer& buffer = literals_[&node];
  if (!buffer.pointer) {
    std::vector<llvm::Constant*> elements;
    for (double value : data) elements.push_back(llvm::cast<llvm::Constant>(to_memory(b, constant(node.type.element, value, b.getContext()), node.type.element)));
    auto* type = llvm::ArrayType::get(memory_type(node.type.element, b.getContext()), elements.size());
    auto* global = new llvm::GlobalVariable(frame.module, type, true, llvm::GlobalValue::PrivateLinkage, llvm::ConstantArray::get(type, elements), "literal");
    global->setAlignment(llvm::Align(64));
    buffer.pointer = global;
    buffer.type = node.type;
  }
  return load(buffer, at);
}

// ---- random numbers

std::pair<LlvmValue, LlvmValue> emit_philox(LlvmBuilder& b, LlvmValue element, LlvmValue step, int64_t site, LlvmValue seed) {
  // Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011). Words are kept in 64 bits, where the products are.
  llvm::Type* type = element->getType();
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(type);
  int lanes = vector ? vector->getNumElements() : 1;
  auto number = [&](uint64_t value) { return llvm::ConstantInt::get(type, value); };
  auto low = [&](LlvmValue x) { return b.CreateAnd(x, number(0xffffffff)); };
  auto high = [&](LlvmValue x) { return b.CreateLShr(x, number(32)); };
  step = splat(b, step, lanes), seed = splat(b, seed, lanes);
  LlvmValue x0 = low(element), x1 = high(element), x2 = low(step), x3 = low(b.CreateAdd(high(step), number(static_cast<uint32_t>(site))));
  LlvmValue k0 = low(seed), k1 = high(seed);
  for (int round = 0; round < 10; ++round) {
    if (round > 0) {
      k0 = low(b.CreateAdd(k0, number(0x9E3779B9)));
      k1 = low(b.CreateAdd(k1, number(0xBB67AE85)));
    }
    LlvmValue p0 = b.CreateMul(x0, number(0xD2511F53)), p1 = b.CreateMul(x2, number(0xCD9E8D57));
    x0 = b.CreateXor(b.CreateXor(high(p1), x1), k0);
    x2 = b.CreateXor(b.CreateXor(high(p0), x3), k1);
    x1 = low(p1);
    x3 = low(p0);
  }
  return {x0, x1};
}

LlvmValue Expression::emit_random(const ir::Node& node, const IndexVector& at) {
  LlvmValue seed = emit(node.operands[0], {}), step = emit(node.operands[1], {}), row = emit(node.operands[2], {});
  const ir::Shape& shape = node.type.shape;
  int64_t per_row = shape.empty() || shape[0] == 0 ? 1 : ir::shape_size(shape) / shape[0];
  Index position = space.linear(at, shape);
  const LlvmValue first = b.CreateMul(row, b.getInt64(per_row));
  const std::optional<int64_t> stride = lane_stride(position);
  const int width = stride == 0 ? 1 : lanes;
  LlvmValue element;
  if (stride == 0) element = b.CreateAdd(first, number(position));
  else if (stride) element = b.CreateAdd(splat(b, b.CreateAdd(first, number(position)), lanes), b.CreateSExt(lane_offsets(*stride), lanes_of(b.getInt64Ty(), lanes)));
  else element = b.CreateAdd(splat(b, first, lanes), b.CreateZExt(lane_numbers(position), lanes_of(b.getInt64Ty(), lanes)));
  auto [word0, word1] = emit_philox(b, element, step, node.attrs.integer(Attr::site), seed);
  llvm::Type* single = lanes_of(b.getFloatTy(), width);
  llvm::Type* word = lanes_of(b.getInt32Ty(), width);
  auto bits24 = [&](LlvmValue x) { return b.CreateLShr(b.CreateTrunc(x, word), llvm::ConstantInt::get(word, 8)); };
  LlvmValue unit = llvm::ConstantFP::get(single, 0x1p-24);
  LlvmValue result;
  if (node.attrs.text(Attr::distribution) == "uniform") {
    result = b.CreateFMul(b.CreateSIToFP(bits24(word0), single), unit);
  } else {   // Box and Muller
    VectorMath math{b, frame.target};
    LlvmValue u = b.CreateFMul(b.CreateSIToFP(b.CreateAdd(bits24(word0), llvm::ConstantInt::get(word, 1)), single), unit);
    LlvmValue radius = math.sqrt(b.CreateFMul(math.log(u), llvm::ConstantFP::get(single, -2)));
    result = b.CreateFMul(radius, math.cos_turns(b.CreateFMul(b.CreateSIToFP(bits24(word1), single), unit)));
  }
  return emit_cast(b, result, ElementType::f32, node.type.element);
}
}  // namespace gradc::codegen
