#include "codegen/compile.h"

#include <fmt/format.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>
#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "codegen/emit.h"
#include "codegen/llvm_module.h"
#include "ir/check.h"
#include "runtime/image.h"

namespace gradc::codegen {

std::vector<Object> compile(const KernelTable& table, const CompileOptions& options) {
  const auto& kernels = table.kernels();
  std::vector<Object> objects(kernels.size());
  const Cache* cache = options.keep_llvm || options.keep_assembly ? nullptr : options.cache;
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i; (i = next++) < kernels.size();) {
      Doing doing(fmt::format("compiling kernel {}: {}", i, ir::describe(kernels[i])));
      std::string symbol = table.symbol(static_cast<uint32_t>(i));
      LlvmModule module(symbol, options.target);
      const ContractChoice* choice = table.choice(static_cast<uint32_t>(i));
      emit_kernel(kernels[i], symbol, *module, options.target, choice);
      Object& object = objects[i];
      object.scratch_bytes = scratch_bytes(kernels[i], options.target, choice);
      std::string content;
      if (cache) {
        content = object_content(*module, options.target);
        if (auto code = cache->find(content)) {
          object.code = std::move(*code);
          object.cached = true;
          continue;
        }
      }
      optimize(*module, options.target);
      if (options.keep_llvm) object.llvm = print(*module);
      if (options.keep_assembly) object.assembly = emit_assembly(*module, options.target);
      object.code = emit_object(*module, options.target);
      if (cache) cache->keep(content, object.code);
    }
  };
  int threads = options.threads > 0 ? options.threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::thread> team;
  for (int i = 1; i < std::min<int>(threads, static_cast<int>(kernels.size())); ++i) team.emplace_back(work);
  work();
  for (std::thread& t : team) t.join();
  return objects;
}

void finish_program(const KernelTable& table, const std::vector<Object>& objects, const Target& target, program::ProgramT& program) {
  for (const auto& entry : program.entries)
    for (const auto& phase : entry->phases)
      for (const auto& strand : phase->strands)
        for (const auto& call : strand->calls)
          entry->scratch_bytes = std::max<uint64_t>(entry->scratch_bytes, entry->local_bytes + objects[call->kernel].scratch_bytes);
  program.kernels.clear();
  for (uint32_t i = 0; i < objects.size(); ++i) {
    auto kernel = std::make_unique<program::KernelT>();
    kernel->symbol = table.symbol(i);
    kernel->text = ir::describe(table.kernels()[i]);
    program.kernels.push_back(std::move(kernel));
  }
  program.abi = GRADC_ABI;
  program.target = target.name;
  program.features = target.features;
}

std::vector<uint8_t> serialize(const program::ProgramT& program) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(program::Program::Pack(builder, &program), program::ProgramIdentifier());
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

namespace {
struct Interface {
  std::string_view name, signature;
};
constexpr Interface functions[] = {
#define GRADC_FUNCTION(name, signature) {#name, signature},
#include "runtime/interface.def"
#undef GRADC_FUNCTION
};

llvm::Type* letter_type(char letter, llvm::LLVMContext& context) {
  switch (letter) {
    case 'i': return llvm::Type::getInt32Ty(context);
    case 'l': return llvm::Type::getInt64Ty(context);
    case 'd': return llvm::Type::getDoubleTy(context);
    case 'p': return llvm::PointerType::getUnqual(context);
    default: return llvm::Type::getVoidTy(context);
  }
}

// result PREFIXname(arguments) { return gradc_name([image,] arguments); }
void add_wrapper(llvm::Module& module, const std::string& prefix, const Interface& f, bool gives_image, llvm::Constant* image, const Target& target) {
  llvm::LLVMContext& context = module.getContext();
  std::vector<llvm::Type*> inner;
  for (char letter : f.signature.substr(2, f.signature.size() - 3)) inner.push_back(letter_type(letter, context));
  std::vector<llvm::Type*> outer(inner.begin() + gives_image, inner.end());
  llvm::Type* result = letter_type(f.signature[0], context);
  auto callee = module.getOrInsertFunction("gradc_" + std::string(f.name), llvm::FunctionType::get(result, inner, false));
  auto* wrapper = llvm::Function::Create(llvm::FunctionType::get(result, outer, false), llvm::Function::ExternalLinkage, prefix + std::string(f.name), module);
  set_attributes(*wrapper, target);
  llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "", wrapper));
  std::vector<llvm::Value*> arguments;
  if (gives_image) arguments.push_back(image);
  for (llvm::Argument& argument : wrapper->args()) arguments.push_back(&argument);
  auto* call = b.CreateCall(callee, arguments);
  call->setTailCall();
  result->isVoidTy() ? b.CreateRetVoid() : b.CreateRet(call);
}
}  // namespace

std::vector<char> image_object(const std::string& prefix, const std::vector<uint8_t>& program, const KernelTable& kernels, Surface surface, const Target& target) {
  LlvmModule holder(prefix + "_image", target);
  llvm::Module& module = *holder;
  llvm::LLVMContext& context = module.getContext();
  auto* pointer = llvm::PointerType::getUnqual(context);
  auto* i64 = llvm::Type::getInt64Ty(context);

  // A tenth of its size: plans repeat themselves.
  uLongf packed_size = compressBound(program.size());
  std::vector<uint8_t> packed(packed_size);
  CHECK(compress2(packed.data(), &packed_size, program.data(), program.size(), Z_DEFAULT_COMPRESSION) == Z_OK);
  packed.resize(packed_size);
  auto* bytes = llvm::ConstantDataArray::get(context, llvm::ArrayRef<uint8_t>(packed));
  auto* data = new llvm::GlobalVariable(module, bytes->getType(), true, llvm::GlobalValue::PrivateLinkage, bytes, prefix + "_program");
  data->setAlignment(llvm::Align(64));

  auto* kernel_type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer, i64, i64, pointer}, false);
  std::vector<llvm::Constant*> entries;
  for (uint32_t i = 0; i < kernels.kernels().size(); ++i)
    entries.push_back(llvm::cast<llvm::Constant>(module.getOrInsertFunction(kernels.symbol(i), kernel_type).getCallee()));
  auto* table_type = llvm::ArrayType::get(pointer, entries.size());
  auto* table = new llvm::GlobalVariable(module, table_type, true, llvm::GlobalValue::PrivateLinkage, llvm::ConstantArray::get(table_type, entries), prefix + "_kernels");

  auto* image_type = llvm::StructType::get(context, {pointer, i64, pointer, i64});
  auto* image = llvm::ConstantStruct::get(image_type, {data, llvm::ConstantInt::get(i64, program.size()), table, llvm::ConstantInt::get(i64, packed.size())});
  auto* image_variable = new llvm::GlobalVariable(module, image_type, true, llvm::GlobalValue::ExternalLinkage, image, prefix + "_image");
  if (surface == Surface::library) {
    for (const Interface& f : functions) add_wrapper(module, prefix + "_", f, f.name == "create", image_variable, target);
  } else {
    add_wrapper(module, "", {"main", "i(pip)"}, true, image_variable, target);
  }
  return emit_object(module, target);
}
}  // namespace gradc::codegen
