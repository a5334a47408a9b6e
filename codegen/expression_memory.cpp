// Expression: index expressions as numbers, loads and stores by their stride along the lanes.
#include <llvm/IR/Constants.h>
#include <llvm/IR/Module.h>

#include <algorithm>
#include <numeric>

#include "codegen/expression.h"
#include "ir/check.h"

namespace gradc::codegen {
namespace {
using Kind = IndexSpace::Definition::Kind;

bool inside(const IndexSpace& space, const IndexVector& at, const ir::Shape& shape) {
  for (size_t i = 0; i < at.size(); ++i)
    if (!space.range(at[i]).within(shape[i])) return false;
  return true;
}

// What makes a quotient's operand not negative: a multiple of the divisor.
int64_t shift_up(Range range, int64_t by) { return range.low >= 0 ? 0 : (-range.low + by - 1) / by; }
}  // namespace

Atom Expression::lane_variable(const Index& index) const {
  for (Atom variable : lane_variables_)
    if (space.depends(index, variable)) return variable;
  return -1;
}

std::optional<int64_t> Expression::lane_stride(const Index& index) const {
  for (Atom variable : scattered_)
    if (space.depends(index, variable)) return std::nullopt;
  Atom lane = lane_variable(index);
  return lane < 0 ? 0 : space.stride(index, lane);
}

bool Expression::varies(const Index& index) const { return lane_stride(index) != 0; }

// ---- numbers

LlvmValue Expression::number(const Index& index) {
  if (index.is_constant()) return b.getInt64(index.constant);
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
    if (auto found = scope->numbers.find(index); found != scope->numbers.end()) return found->second;
  LlvmValue sum = nullptr;
  for (const auto& [atom, coefficient] : index.terms) {
    LlvmValue term = atom_number(atom);
    if (coefficient != 1) term = b.CreateMul(term, b.getInt64(coefficient));
    sum = sum ? b.CreateAdd(sum, term) : term;
  }
  if (index.constant != 0) sum = b.CreateAdd(sum, b.getInt64(index.constant));
  return scopes_.back().numbers[index] = sum;
}

LlvmValue Expression::atom_number(Atom atom) {
  const IndexSpace::Definition d = space[atom];
  if (d.kind == Kind::variable) {
    auto found = bindings_.find(atom);
    CHECK(found != bindings_.end(), "index variable {} has no value", atom);
    return found->second.value;
  }
  int64_t shift = shift_up(space.range(d.of), d.by);
  LlvmValue of = number(space.add(d.of, shift * d.by)), by = b.getInt64(d.by);
  if (d.kind == Kind::remainder) return b.CreateURem(of, by);
  return b.CreateSub(b.CreateUDiv(of, by), b.getInt64(shift));
}

LlvmValue Expression::lane_offsets(int64_t stride) {
  std::vector<llvm::Constant*> offsets;
  for (int i = 0; i < lanes; ++i) offsets.push_back(b.getInt32(static_cast<uint32_t>(i * stride)));
  return lanes == 1 ? static_cast<LlvmValue>(offsets[0]) : llvm::ConstantVector::get(offsets);
}

LlvmValue Expression::lane_numbers(const Index& index) {
  auto scalar = [&](const Index& e) { return splat(b, b.CreateTrunc(number(e), b.getInt32Ty()), lanes); };
  if (std::optional<int64_t> stride = lane_stride(index)) return *stride == 0 ? scalar(index) : b.CreateAdd(scalar(index), lane_offsets(*stride));
  Index uniform(index.constant);
  LlvmValue sum = nullptr;
  for (const auto& [atom, coefficient] : index.terms) {
    Index term;
    term.terms = {{atom, coefficient}};
    if (!varies(term)) {
      uniform = space.add(uniform, term);
      continue;
    }
    LlvmValue value = atom_lanes(atom);
    if (coefficient != 1) value = b.CreateMul(value, llvm::ConstantInt::getSigned(value->getType(), coefficient));
    sum = sum ? b.CreateAdd(sum, value) : value;
  }
  return b.CreateAdd(sum, scalar(uniform));
}

LlvmValue Expression::atom_lanes(Atom atom) {
  const IndexSpace::Definition d = space[atom];
  Index bare;
  bare.terms = {{atom, 1}};
  if (d.kind == Kind::variable) return bindings_.at(atom).scattered ? bindings_.at(atom).value : lane_numbers(bare);
  Range range = space.range(d.of);
  CHECK(range.high < INT32_MAX && range.low > INT32_MIN, "index {} needs more than 32 bits", space.text(bare));
  int64_t shift = shift_up(range, d.by);
  LlvmValue of = lane_numbers(space.add(d.of, shift * d.by)), by = llvm::ConstantInt::get(of->getType(), d.by);
  if (d.kind == Kind::remainder) return b.CreateURem(of, by);
  return b.CreateSub(b.CreateUDiv(of, by), llvm::ConstantInt::get(of->getType(), shift));
}

// ---- memory

// The address of the element at the first lane; the constant part stays apart, it becomes the instruction's displacement.
LlvmValue Expression::address(const Buffer& buffer, const Index& position) {
  llvm::Type* type = memory_type(buffer.type.element, b.getContext());
  Index variable = position;
  variable.constant = 0;
  LlvmValue pointer = buffer.pointer;
  if (!variable.is_constant()) pointer = b.CreateGEP(type, pointer, number(variable));
  return position.constant == 0 ? pointer : b.CreateConstGEP1_64(type, pointer, position.constant);
}

LlvmValue Expression::gather_addresses(const Buffer& buffer, const Index& position) {
  llvm::Type* type = memory_type(buffer.type.element, b.getContext());
  if (std::optional<int64_t> stride = lane_stride(position)) return b.CreateGEP(type, address(buffer, position), lane_offsets(*stride));
  CHECK(space.range(position).high < INT32_MAX, "a gather from {} elements", buffer.type.size());
  return b.CreateGEP(type, buffer.pointer, lane_numbers(position));
}

LlvmValue Expression::load(const Buffer& buffer, const IndexVector& at) {
  const ir::ElementType element = buffer.type.element;
  llvm::Type* type = memory_type(element, b.getContext());
  llvm::Align align(std::max<int64_t>(1, ir::element_bytes(element)));
  Index position = space.place(at, buffer.type.shape, buffer.layout);
  // Guards matter to a load only where it could leave the tensor. A scalar load then goes to element 0 instead.
  bool safe = inside(space, at, buffer.type.shape);
  const std::optional<int64_t> stride = lane_stride(position);
  auto loaded = [&](llvm::Instruction* load) {
    describe_access(load, buffer);
    return from_memory(b, load, element);
  };
  if (stride == 0) {
    LlvmValue pointer = address(buffer, position);
    if (!safe) {
      std::vector<Guard> uniform;
      for (const Guard& guard : guards_)
        if (!varies(guard.place)) uniform.push_back(guard);
      if (!uniform.empty()) pointer = b.CreateSelect(all_of(uniform), pointer, buffer.pointer);
    }
    return loaded(b.CreateAlignedLoad(type, pointer, align));
  }
  LlvmValue mask = mask_;
  if (!safe && !guards_.empty()) {
    LlvmValue holds = splat(b, all_of(guards_), lanes);
    mask = mask ? b.CreateAnd(mask, holds) : holds;
  }
  llvm::Type* vector = lanes_of(type, lanes);
  LlvmValue zero = llvm::Constant::getNullValue(vector);
  if (stride == 1) {
    LlvmValue pointer = address(buffer, position);
    ask_ahead(buffer, position, pointer, false);
    if (!mask) return loaded(b.CreateAlignedLoad(vector, pointer, align));
    return loaded(b.CreateMaskedLoad(vector, pointer, align, mask, zero));
  }
  if (stride == -1 && !mask) {
    std::vector<int> reversed(lanes);
    for (int i = 0; i < lanes; ++i) reversed[i] = lanes - 1 - i;
    auto* load = b.CreateAlignedLoad(vector, address(buffer, space.sub(position, lanes - 1)), align);
    describe_access(load, buffer);
    return from_memory(b, b.CreateShuffleVector(load, reversed), element);
  }
  LlvmValue addresses = gather_addresses(buffer, position);
  return loaded(b.CreateMaskedGather(vector, addresses, align, mask ? mask : splat(b, b.getTrue(), lanes), zero));
}

LlvmValue Expression::place(const Buffer& buffer, const IndexVector& at) { return address(buffer, space.place(at, buffer.type.shape, buffer.layout)); }

void Expression::prefetch(const Buffer& buffer, const IndexVector& at) {
  LlvmValue pointer = place(buffer, at);
  b.CreateIntrinsic(llvm::Intrinsic::prefetch, {pointer->getType()}, {pointer, b.getInt32(1), b.getInt32(3), b.getInt32(1)});
}

void Expression::ask_ahead(const Buffer& buffer, const Index& position, LlvmValue pointer, bool write) {
  if (std::find(asked_ahead_.begin(), asked_ahead_.end(), buffer.pointer) == asked_ahead_.end()) return;
  constexpr int64_t far = 64 << 10;
  std::vector<int64_t> steps;
  for (auto [atom, coefficient] : position.terms)
    if (auto bound = bindings_.find(atom); bound == bindings_.end() || !bound->second.lane) steps.push_back(coefficient);
  std::sort(steps.begin(), steps.end());
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  const int64_t bytes = ir::element_bytes(buffer.type.element);
  if (steps.size() < 2 || steps[1] * bytes > far || steps[0] <= 0) return;
  LlvmValue next = b.CreateConstGEP1_64(memory_type(buffer.type.element, b.getContext()), pointer, steps[1]);
  b.CreateIntrinsic(llvm::Intrinsic::prefetch, {next->getType()}, {next, b.getInt32(write), b.getInt32(3), b.getInt32(1)});
}

void Expression::store(const Buffer& buffer, const IndexVector& at, LlvmValue value) {
  const ir::ElementType element = buffer.type.element;
  llvm::Align align(std::max<int64_t>(1, ir::element_bytes(element)));
  Index position = space.place(at, buffer.type.shape, buffer.layout);
  const Atom lane = lane_variable(position);
  if (lane < 0) {
    CHECK(!value->getType()->isVectorTy(), "a vector stored in one place");
    describe_access(b.CreateAlignedStore(to_memory(b, value, element), address(buffer, position), align), buffer);
    return;
  }
  value = to_memory(b, splat(b, value, lanes), element);
  std::optional<int64_t> stride = space.stride(position, lane);
  if (stride == 1) {
    LlvmValue pointer = address(buffer, position);
    ask_ahead(buffer, position, pointer, true);
    if (mask_) describe_access(b.CreateMaskedStore(value, pointer, align, mask_), buffer);
    else describe_access(b.CreateAlignedStore(value, pointer, align), buffer);
    return;
  }
  describe_access(b.CreateMaskedScatter(value, gather_addresses(buffer, position), align, mask_ ? mask_ : splat(b, b.getTrue(), lanes)), buffer);
}
}  // namespace gradc::codegen
