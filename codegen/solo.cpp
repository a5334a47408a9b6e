#include "codegen/solo.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "codegen/emit.h"
#include "codegen/memory_plan.h"
#include "codegen/plan.h"
#include "ir/check.h"
#include "runtime/layout.h"

namespace gradc::codegen {
namespace {
constexpr size_t page = 4096, huge_page = size_t(2) << 20;

runtime::Layout runtime_layout(const ir::Layout& layout) {
  runtime::Layout result;
  for (const ir::LayoutDigit& digit : layout.digits) result.digits.push_back({digit.axis, digit.divisor, digit.extent});
  return result;
}

ir::Value argument(const ir::Kernel& kernel, size_t number) {
  ir::Value value = kernel.body.input("a" + std::to_string(number));
  CHECK(value.valid(), "no argument {}", number);
  return value;
}
size_t arguments(const ir::Kernel& kernel) {
  size_t count = 0;
  for (const ir::Node& node : kernel.body.nodes) count += node.op == ir::Op::input;
  return count;
}
}  // namespace

void KernelMemory::Free::operator()(char* p) const { ::operator delete(p, std::align_val_t(huge_page)); }

KernelMemory::KernelMemory(const ir::Kernel& kernel) : kernel_(kernel) {
  size_t size = 0;
  std::vector<size_t> offsets;
  auto add = [&](const ir::Type& type, const ir::Layout& layout) {
    offsets.push_back(size);
    size += aligned(static_cast<uint64_t>(ir::stored_size(layout, type.shape)) * ir::element_bytes(type.element));
  };
  for (size_t a = 0; a < arguments(kernel); ++a) add(kernel.body.type(argument(kernel, a)), kernel.argument_layout(a));
  for (size_t r = 0; r < kernel.body.results.size(); ++r) {
    int shared = r < kernel.in_place.size() ? kernel.in_place[r] : -1;
    if (shared >= 0) offsets.push_back(offsets[shared]);
    else add(kernel.body.type(kernel.body.results[r].value), kernel.result_layout(r));
  }
  size = (size / huge_page + 1) * huge_page;
  block_.reset(static_cast<char*>(::operator new(size, std::align_val_t(huge_page))));
  madvise(block_.get(), size, MADV_HUGEPAGE);
  std::memset(block_.get(), 0, size);
  for (size_t offset : offsets) places_.push_back(block_.get() + offset);
}

void KernelMemory::set(size_t number, const ir::Tensor& tensor) {
  const ir::Type& type = kernel_.body.type(argument(kernel_, number));
  CHECK(tensor.type.shape == type.shape && tensor.type.element == type.element);
  runtime::arrange(runtime_layout(kernel_.argument_layout(number)), type.shape, ir::element_bytes(type.element), tensor.bytes().data(), places_[number]);
}

ir::Tensor KernelMemory::result(size_t number) const {
  ir::Tensor tensor(kernel_.body.type(kernel_.body.results[number].value));
  runtime::restore(runtime_layout(kernel_.result_layout(number)), tensor.type.shape, ir::element_bytes(tensor.type.element), places_[arguments(kernel_) + number], tensor.bytes().data());
  return tensor;
}

NativeKernel::NativeKernel(const ir::Kernel& kernel, const Target& target, const ContractChoice* choice)
    : units_(kernel.units), granule_(grain(kernel)), scratch_(static_cast<size_t>(scratch_bytes(kernel, target, choice)) + page) {
  LlvmModule module("solo", target);
  emit_kernel(kernel, "kernel", *module, target, choice);
  optimize(*module, target);
  jit_.add(emit_object(*module, target));
  function_ = jit_.lookup<gradc_kernel>("kernel");
  scratch_at_ = scratch_.data() + (page - reinterpret_cast<uintptr_t>(scratch_.data()) % page);
}

void NativeKernel::run(const KernelMemory& memory) const {
  for (int64_t begin = 0; begin < units_; begin += granule_) function_(memory.places(), begin, std::min(begin + granule_, units_), scratch_at_);
}

}  // namespace gradc::codegen
