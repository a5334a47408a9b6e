// Runs compiled kernels in tests: buffers end at a page that may not be touched, so that reading or writing beyond an end
// crashes, and what a kernel should not write is checked afterwards.
#pragma once
#include <catch2/catch.hpp>
#include <sys/mman.h>

#include <cstring>
#include <functional>
#include <random>

#include "codegen/llvm_module.h"
#include "ir/evaluate.h"
#include "ir/kernel.h"
#include "runtime/image.h"

namespace gradc::testing {

/// Memory whose last byte (up to alignment by 64) is followed by a page without access.
class Guarded {
 public:
  explicit Guarded(size_t bytes) {
    constexpr size_t page = 4096;
    size_t used = (bytes + 63) / 64 * 64;
    mapped_ = (used + page - 1) / page * page + page;
    base_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + mapped_ - page, page, PROT_NONE);
    data = base_ + mapped_ - page - used;
  }
  Guarded(Guarded&& other) noexcept : data(other.data), base_(other.base_), mapped_(other.mapped_) { other.base_ = nullptr; }
  Guarded(const Guarded&) = delete;
  ~Guarded() {
    if (base_) munmap(base_, mapped_);
  }
  char* data;

 private:
  char* base_;
  size_t mapped_;
};

struct CompiledKernel {
  codegen::Jit jit;
  gradc_kernel call = nullptr;
  int64_t scratch = 0;
  std::string assembly;
};

using Emit = std::function<void(const ir::Kernel&, const std::string&, llvm::Module&, const codegen::Target&)>;

inline void compile(CompiledKernel& out, const ir::Kernel& kernel, const codegen::Target& target, const Emit& emit, bool assembly = false) {
  codegen::LlvmModule module("test", target);
  emit(kernel, "kernel", *module, target);
  codegen::optimize(*module, target);
  if (assembly) {   // compilation changes a module: this one is written from a second one
    codegen::LlvmModule again("test", target);
    emit(kernel, "kernel", *again, target);
    codegen::optimize(*again, target);
    out.assembly = codegen::emit_assembly(*again, target);
  }
  out.jit.add(codegen::emit_object(*module, target));
  out.call = out.jit.lookup<gradc_kernel>("kernel");
}

/// Runs units [0, cuts[0]), [cuts[0], cuts[1]), ... in the order of `order` and gives the results by name.
inline ir::Bindings run(const ir::Kernel& kernel, const CompiledKernel& compiled, const ir::Bindings& inputs, std::vector<int64_t> cuts) {
  std::vector<Guarded> buffers;
  std::vector<char*> args;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ir::Tensor& t = inputs.at("a" + std::to_string(i));
    buffers.emplace_back(t.bytes().size());
    std::memcpy(buffers.back().data, t.bytes().data(), t.bytes().size());
    args.push_back(buffers.back().data);
  }
  for (size_t i = 0; i < kernel.body.results.size(); ++i) {
    int shared = kernel.in_place.empty() ? -1 : kernel.in_place[i];
    if (shared >= 0) {
      args.push_back(args[shared]);
      continue;
    }
    buffers.emplace_back(kernel.body.type(kernel.body.results[i].value).bytes());
    std::memset(buffers.back().data, 0x7f, kernel.body.type(kernel.body.results[i].value).bytes());
    args.push_back(buffers.back().data);
  }
  Guarded scratch(compiled.scratch);
  std::memset(scratch.data, 0xff, compiled.scratch);   // NaNs: nobody may count on what scratch holds
  cuts.push_back(kernel.units);
  int64_t begin = 0;
  for (int64_t end : cuts) {
    compiled.call(args.data(), begin, end, scratch.data);
    begin = end;
  }
  ir::Bindings results;
  for (size_t i = 0; i < kernel.body.results.size(); ++i) {
    ir::Tensor t(kernel.body.type(kernel.body.results[i].value));
    std::memcpy(t.bytes().data(), args[inputs.size() + i], t.bytes().size());
    results.emplace(kernel.body.results[i].name, std::move(t));
  }
  return results;
}

inline ir::Tensor random_tensor(const ir::Type& type, std::mt19937& random) {
  ir::Tensor t(type);
  std::uniform_real_distribution<double> real(-1, 1);
  std::uniform_int_distribution<int> whole(0, type.element == ir::ElementType::boolean ? 1 : 9);
  for (int64_t i = 0; i < t.size(); ++i) t.set(i, ir::is_float(type.element) ? real(random) : whole(random));
  return t;
}

/// Random values for the kernel's inputs a0, a1, ...
inline ir::Bindings random_inputs(const ir::Kernel& kernel, std::mt19937& random) {
  ir::Bindings inputs;
  for (const ir::Node& node : kernel.body.nodes)
    if (node.op == ir::Op::input) inputs.emplace(node.attrs.text(ir::Attr::name), random_tensor(node.type, random));
  return inputs;
}

/// Largest difference, as far as both are finite; infinite where they disagree about that.
inline double largest_difference(const ir::Tensor& x, const ir::Tensor& y) {
  REQUIRE(x.type == y.type);
  double largest = 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    double a = x.at(i), b = y.at(i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    double difference = std::abs(a - b);
    largest = std::max(largest, std::isnan(difference) ? INFINITY : difference);
  }
  return largest;
}

}  // namespace gradc::testing
