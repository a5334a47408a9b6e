// What a contract kernel reads and writes besides its tiles: elements of operands and the maps of the epilogue.
#include <charconv>

#include "codegen/contract_emitter.h"
#include "ir/check.h"

namespace gradc::codegen {
using namespace ir;

void ContractEmitter::load_buffers(llvm::Value* args) {
  size_t inputs = std::count_if(plan_.kernel.body.nodes.begin(), plan_.kernel.body.nodes.end(), [](const Node& node) { return node.op == Op::input; });
  for (size_t i = 0; i < inputs + plan_.kernel.body.results.size(); ++i)
    buffers_.push_back(b_.CreateLoad(b_.getPtrTy(), b_.CreateConstGEP1_64(b_.getPtrTy(), args, i)));
}

llvm::Value* ContractEmitter::input_buffer(Value input) {
  const std::string& name = plan_.kernel.body[input].attrs.text(Attr::name);
  return buffers_[std::stoul(name.substr(1))];
}

llvm::Value* ContractEmitter::operand_vector(Value operand, llvm::Value* row, llvm::Value* k, llvm::Value* lane, llvm::Value* mask) {
  auto access = linear_access(plan_.kernel.body, operand);
  CHECK(access);
  auto index = operand_index(operand, row, k, lane);
  llvm::Value* place = number(access->offset);
  for (size_t i = 0; i < index.size(); ++i) place = add(place, times(index[i], access->strides[i]));
  llvm::Value* base = at(input_buffer(access->input), place);
  if (access->strides.back() == 1) return load(base, mask, bytes_);
  llvm::SmallVector<llvm::Constant*> offsets;
  for (int i = 0; i < plan_.width; ++i) offsets.push_back(b_.getInt64(i * access->strides.back()));
  llvm::Value* places = b_.CreateGEP(scalar_, base, llvm::ConstantVector::get(offsets));
  if (!mask) mask = llvm::Constant::getAllOnesValue(llvm::FixedVectorType::get(b_.getInt1Ty(), plan_.width));
  return b_.CreateMaskedGather(vector_, places, llvm::Align(bytes_), mask, llvm::Constant::getNullValue(vector_));
}

void ContractEmitter::store_results(llvm::ArrayRef<llvm::Value*> index, llvm::Value* sum, int width, llvm::Value* mask) {
  const Function& body = plan_.kernel.body;
  llvm::Value* place = number(0);
  auto strides = row_major_strides(plan_.kernel.domain);
  for (size_t i = 0; i < index.size(); ++i) place = add(place, times(index[i], strides[i]));
  for (size_t r = 0; r < body.results.size(); ++r) {
    CHECK(body.results[r].value == plan_.kernel.hero);
    llvm::Value* to = at(buffers_[buffers_.size() - body.results.size() + r], place);
    if (width == 1) b_.CreateAlignedStore(sum, to, llvm::Align(bytes_));
    else store(sum, to, mask, bytes_);
  }
}

}  // namespace gradc::codegen
