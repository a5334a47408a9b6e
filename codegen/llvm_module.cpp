#include "codegen/llvm_module.h"

#include <fmt/format.h>
#include <llvm/Analysis/TargetTransformInfo.h>
#include <llvm/Bitcode/BitcodeWriter.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Module.h>
#include <llvm/IR/PassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>

#include <mutex>

#include "ir/check.h"

namespace gradc::codegen {
namespace {
constexpr const char* triple = "x86_64-pc-linux-gnu";

// Emission leaves repeated address arithmetic, values that do not change in a loop, and selects that fold into masked loads.
constexpr const char* pass_list =
    "function(early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),gvn,instcombine<no-verify-fixpoint>,adce),globaldce";

// Raised when machine() or emit() below change what they make of a module.
constexpr int object_version = 1;

std::unique_ptr<llvm::TargetMachine> machine(const Target& target) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
  });
  std::string error;
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(triple, error);
  CHECK(found, "{}", error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;   // fused where the emitters say so, nowhere else
  options.FunctionSections = true;
  std::unique_ptr<llvm::TargetMachine> result(
      found->createTargetMachine(triple, "x86-64", target.llvm_features, options, llvm::Reloc::PIC_, llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
  CHECK(result);
  return result;
}

// A vector register of 512 bits is worth its lower clock only in kernels; that is all there is here.
const char* vector_width(const Target& target) { return target.lanes == 16 ? "512" : target.lanes == 8 ? "256" : "128"; }

void emit(llvm::Module& module, const Target& target, llvm::CodeGenFileType type, llvm::raw_pwrite_stream& out) {
  auto tm = machine(target);
  llvm::legacy::PassManager passes;
  bool unsupported = tm->addPassesToEmitFile(passes, out, nullptr, type);
  CHECK(!unsupported);
  passes.run(module);
}
}  // namespace

LlvmModule::LlvmModule(const std::string& name, const Target& target) : context(std::make_unique<llvm::LLVMContext>()), module(std::make_unique<llvm::Module>(name, *context)) {
  module->setTargetTriple(triple);
  module->setDataLayout(machine(target)->createDataLayout());
  module->setPICLevel(llvm::PICLevel::BigPIC);
}
LlvmModule::LlvmModule(LlvmModule&&) noexcept = default;
LlvmModule& LlvmModule::operator=(LlvmModule&& other) noexcept {
  module = std::move(other.module);   // before its context
  context = std::move(other.context);
  return *this;
}
LlvmModule::~LlvmModule() { module.reset(); }

void set_attributes(llvm::Function& function, const Target& target) {
  function.addFnAttr("target-cpu", "x86-64");
  function.addFnAttr("target-features", target.llvm_features);
  function.addFnAttr("prefer-vector-width", vector_width(target));
  function.addFnAttr("min-legal-vector-width", vector_width(target));
  function.addFnAttr("no-trapping-math", "true");
  function.addFnAttr("no-builtins");   // loops that copy or clear stay loops
  function.addFnAttr(llvm::Attribute::NoUnwind);
}

void optimize(llvm::Module& module, const Target& target) {
  std::string error;
  llvm::raw_string_ostream out(error);
  CHECK(!llvm::verifyModule(module, &out), "{}\n{}", error, print(module));
  auto tm = machine(target);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graphs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(tm.get());
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  llvm::ModulePassManager passes;
  llvm::cantFail(builder.parsePassPipeline(passes, pass_list));
  passes.run(module, modules);
}

std::string object_content(const llvm::Module& module, const Target& target) {
  std::string content = fmt::format("{}\n{}\n{}\n{}\n", object_version, LLVM_VERSION_STRING, target.llvm_features, pass_list);
  llvm::raw_string_ostream out(content);
  llvm::WriteBitcodeToFile(module, out);
  return content;
}

std::vector<char> emit_object(llvm::Module& module, const Target& target) {
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream out(bytes);
  emit(module, target, llvm::CodeGenFileType::ObjectFile, out);
  return {bytes.begin(), bytes.end()};
}

std::string emit_assembly(llvm::Module& module, const Target& target) {
  llvm::SmallVector<char, 0> text;
  llvm::raw_svector_ostream out(text);
  emit(module, target, llvm::CodeGenFileType::AssemblyFile, out);
  return {text.begin(), text.end()};
}

std::string print(const llvm::Module& module) {
  std::string text;
  llvm::raw_string_ostream out(text);
  module.print(out, nullptr);
  return text;
}

struct Jit::Impl {
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

Jit::Jit() : impl_(std::make_unique<Impl>()) {
  machine(Target{});   // initializes LLVM's tables
  auto jit = llvm::orc::LLJITBuilder().create();
  CHECK(static_cast<bool>(jit), "{}", llvm::toString(jit.takeError()));
  impl_->jit = std::move(*jit);
  auto process = llvm::orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(impl_->jit->getDataLayout().getGlobalPrefix());
  CHECK(static_cast<bool>(process), "{}", llvm::toString(process.takeError()));
  impl_->jit->getMainJITDylib().addGenerator(std::move(*process));
}
Jit::~Jit() = default;

void Jit::add(const std::vector<char>& object) {
  auto buffer = llvm::MemoryBuffer::getMemBufferCopy({object.data(), object.size()}, "kernel");
  if (auto error = impl_->jit->addObjectFile(std::move(buffer))) CHECK(false, "{}", llvm::toString(std::move(error)));
}

void* Jit::lookup(const std::string& symbol) {
  auto address = impl_->jit->lookup(symbol);
  CHECK(static_cast<bool>(address), "{}", llvm::toString(address.takeError()));
  return address->toPtr<void*>();
}
}  // namespace gradc::codegen
