#include "codegen/frame.h"

#include <llvm/IR/MDBuilder.h>
#include <llvm/IR/Module.h>

#include <algorithm>

#include "codegen/llvm_module.h"
#include "ir/check.h"

namespace gradc::codegen {
namespace {
llvm::Function* declare(const std::string& symbol, llvm::Module& module, const Target& target) {
  auto& context = module.getContext();
  auto* pointer = llvm::PointerType::getUnqual(context);
  auto* number = llvm::Type::getInt64Ty(context);
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer, number, number, pointer}, false);
  auto* function = llvm::Function::Create(type, llvm::Function::ExternalLinkage, symbol, module);
  set_attributes(*function, target);
  const char* names[] = {"args", "begin", "end", "scratch"};
  for (unsigned i = 0; i < 4; ++i) function->getArg(i)->setName(names[i]);
  for (unsigned i : {0u, 3u}) function->addParamAttr(i, llvm::Attribute::NoAlias);
  function->addParamAttr(0, llvm::Attribute::ReadOnly);
  llvm::BasicBlock::Create(context, "entry", function);
  return function;
}
}  // namespace

Frame::Frame(const ir::Kernel& kernel, const std::string& symbol, llvm::Module& module, const Target& target)
    : kernel(kernel), target(target), module(module), function(declare(symbol, module, target)), builder(&function->getEntryBlock()), begin(function->getArg(1)), end(function->getArg(2)) {
  // The sign of a zero may change. Products and sums are fused by Expression, where the graph says so: if instruction selection did it, the
  // bits of an element would depend on the code around it (vectors or tail, height of a tile).
  llvm::FastMathFlags flags;
  flags.setNoSignedZeros();
  builder.setFastMathFlags(flags);

  for (const ir::Node& node : kernel.body.nodes)
    if (node.op == ir::Op::input) {
      size_t number = ir::argument_number(node);
      if (inputs.size() <= number) inputs.resize(number + 1);
      inputs[number].type = node.type;
      inputs[number].layout = kernel.argument_layout(number);
    }
  for (size_t i = 0; i < kernel.body.results.size(); ++i) results.push_back({nullptr, kernel.body.type(kernel.body.results[i].value), kernel.result_layout(i)});

  auto& context = module.getContext();
  llvm::MDBuilder metadata(context);
  auto load_pointer = [&](Buffer& buffer, size_t argument) {
    LlvmValue slot = builder.CreateConstInBoundsGEP1_64(builder.getPtrTy(), function->getArg(0), argument);
    auto* load = builder.CreateLoad(builder.getPtrTy(), slot, fmt::format("p{}", argument));
    auto constant = [&](uint64_t v) { return llvm::MDNode::get(context, metadata.createConstant(builder.getInt64(v))); };
    load->setMetadata(llvm::LLVMContext::MD_invariant_load, llvm::MDNode::get(context, {}));
    load->setMetadata(llvm::LLVMContext::MD_nonnull, llvm::MDNode::get(context, {}));
    load->setMetadata(llvm::LLVMContext::MD_noundef, llvm::MDNode::get(context, {}));
    const bool aligned = std::find(kernel.unaligned.begin(), kernel.unaligned.end(), static_cast<int>(argument)) == kernel.unaligned.end();
    load->setMetadata(llvm::LLVMContext::MD_align, constant(aligned ? 64 : ir::element_bytes(buffer.type.element)));
    if (buffer.type.bytes() > 0) load->setMetadata(llvm::LLVMContext::MD_dereferenceable, constant(buffer.type.bytes()));
    buffer.pointer = load;
  };
  llvm::MDNode* domain = metadata.createAnonymousAliasScopeDomain(symbol);
  auto new_scope = [&](const std::string& name) { return metadata.createAnonymousAliasScope(domain, name); };
  for (size_t i = 0; i < inputs.size(); ++i) {
    load_pointer(inputs[i], i);
    inputs[i].scope = new_scope(fmt::format("a{}", i));
  }
  for (size_t i = 0; i < results.size(); ++i) {
    results[i].written = true;
    int place = kernel.in_place.empty() ? -1 : kernel.in_place[i];
    if (place >= 0) inputs[place].written = true, results[i].pointer = inputs[place].pointer;
    else load_pointer(results[i], inputs.size() + i);
    results[i].scope = place >= 0 ? inputs[place].scope : new_scope(fmt::format("r{}", i));
  }
  scratch = {function->getArg(3), {ir::ElementType::u8, {}}, {}, new_scope("scratch"), nullptr, true};

  std::vector<Buffer*> all = {&scratch};
  for (Buffer& b : inputs) all.push_back(&b);
  for (Buffer& b : results) all.push_back(&b);
  for (Buffer* b : all) {
    std::vector<llvm::Metadata*> others;
    for (Buffer* o : all)
      if (o->scope != b->scope && std::find(others.begin(), others.end(), o->scope) == others.end()) others.push_back(o->scope);
    b->others = llvm::MDNode::get(context, others);
  }
  for (Buffer* b : all)   // from here on as the list that instructions carry
    b->scope = llvm::MDNode::get(context, {b->scope});

  auto* start = llvm::BasicBlock::Create(context, "start", function);
  builder.CreateBr(start);
  builder.SetInsertPoint(start);
}

const Buffer& Frame::input(ir::Value node) const { return inputs[ir::argument_number(kernel.body[node])]; }

Buffer Frame::scratch_at(int64_t offset, ir::Type type) {
  Buffer buffer = scratch;
  buffer.pointer = builder.CreateConstInBoundsGEP1_64(builder.getInt8Ty(), scratch.pointer, offset);
  buffer.type = std::move(type);
  return buffer;
}

void Frame::loop(LlvmValue first, LlvmValue limit, int64_t step, std::vector<LlvmValue>& carried, const Body& body) {
  auto* known_first = llvm::dyn_cast<llvm::ConstantInt>(first);
  auto* known_limit = llvm::dyn_cast<llvm::ConstantInt>(limit);
  bool known = known_first && known_limit;
  if (known) {
    int64_t room = known_limit->getSExtValue() - known_first->getSExtValue();
    if (room <= 0) return;
    if (room <= step) return body(first, carried);
  }
  auto& context = module.getContext();
  auto* head = llvm::BasicBlock::Create(context, "loop", function);
  auto* exit = llvm::BasicBlock::Create(context, "after", function);
  auto* before = builder.GetInsertBlock();
  if (known) builder.CreateBr(head);
  else builder.CreateCondBr(builder.CreateICmpSLT(first, limit), head, exit);

  builder.SetInsertPoint(head);
  auto* i = builder.CreatePHI(builder.getInt64Ty(), 2, "i");
  i->addIncoming(first, before);
  std::vector<llvm::PHINode*> phis;
  std::vector<LlvmValue> inside;
  for (LlvmValue value : carried) {
    phis.push_back(builder.CreatePHI(value->getType(), 2));
    phis.back()->addIncoming(value, before);
    inside.push_back(phis.back());
  }
  body(i, inside);
  CHECK(inside.size() == carried.size());
  LlvmValue next = builder.CreateAdd(i, number(step), "next", true, true);
  auto* last = builder.GetInsertBlock();
  builder.CreateCondBr(builder.CreateICmpSLT(next, limit), head, exit);
  i->addIncoming(next, last);
  for (size_t k = 0; k < phis.size(); ++k) phis[k]->addIncoming(inside[k], last);

  builder.SetInsertPoint(exit);
  for (size_t k = 0; k < carried.size(); ++k) {
    if (!known) {
      auto* merged = builder.CreatePHI(carried[k]->getType(), 2);
      merged->addIncoming(carried[k], before);
      merged->addIncoming(inside[k], last);
      carried[k] = merged;
    } else {
      carried[k] = inside[k];
    }
  }
}

void Frame::loop(LlvmValue first, LlvmValue limit, int64_t step, const std::function<void(LlvmValue)>& body) {
  std::vector<LlvmValue> none;
  loop(first, limit, step, none, [&](LlvmValue i, std::vector<LlvmValue>&) { body(i); });
}

void Frame::when(LlvmValue condition, const std::function<void()>& body) {
  auto* inside = llvm::BasicBlock::Create(module.getContext(), "when", function);
  auto* exit = llvm::BasicBlock::Create(module.getContext(), "after", function);
  builder.CreateCondBr(condition, inside, exit);
  builder.SetInsertPoint(inside);
  body();
  builder.CreateBr(exit);
  builder.SetInsertPoint(exit);
}

llvm::Function* Frame::finish() {
  builder.CreateRetVoid();
  return function;
}

void describe_access(llvm::Instruction* instruction, const Buffer& buffer) {
  auto& context = instruction->getContext();
  if (buffer.scope) instruction->setMetadata(llvm::LLVMContext::MD_alias_scope, buffer.scope);
  if (buffer.others) instruction->setMetadata(llvm::LLVMContext::MD_noalias, buffer.others);
  if (!buffer.written && instruction->mayReadFromMemory()) instruction->setMetadata(llvm::LLVMContext::MD_invariant_load, llvm::MDNode::get(context, {}));
}
}  // namespace gradc::codegen
