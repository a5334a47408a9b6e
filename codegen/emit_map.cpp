// The map form: every element of every result is a value of its own.
#include "codegen/emit.h"
#include "codegen/nest.h"
#include "ir/check.h"

namespace gradc::codegen {
namespace {
// All values before any store: a result may lie in the place of an operand.
void emit_chunks(Expression& e, const std::vector<Chunk>& chunks, const std::function<Index(const Index&)>& element) {
  const ir::Kernel& kernel = e.frame.kernel;
  for (const Chunk& chunk : chunks) {
    e.set_mask(chunk.mask);
    for (const ir::Result& result : kernel.body.results) e.emit(result.value, e.space.split(element(chunk.position), kernel.body.type(result.value).shape));
  }
  for (const Chunk& chunk : chunks) {
    e.set_mask(chunk.mask);
    for (size_t i = 0; i < kernel.body.results.size(); ++i) {
      ir::Value value = kernel.body.results[i].value;
      IndexVector at = e.space.split(element(chunk.position), kernel.body.type(value).shape);
      e.store(e.frame.results[i], at, e.emit(value, at));
    }
  }
  e.set_mask(nullptr);
}

void emit_flat(Frame& frame, IndexSpace& space) {
  int64_t size = ir::shape_size(frame.kernel.domain);
  Expression e(frame, space, lanes_for(frame.kernel, frame.target, size));
  Nest nest(e, {size}, 0, unroll_for(frame.kernel, frame.target));
  std::vector<LlvmValue> none;
  auto body = [&](const std::vector<Chunk>& chunks, std::vector<LlvmValue>&) { emit_chunks(e, chunks, [](const Index& position) { return position; }); };
  if (nest.straight()) return nest.run(none, body);   // one block, or less
  LlvmBuilder& b = frame.builder;
  LlvmValue block = frame.number(ir::Kernel::flat_block);
  LlvmValue limit = b.CreateMul(frame.end, block);
  limit = b.CreateBinaryIntrinsic(llvm::Intrinsic::smin, limit, frame.number(size));
  nest.run(b.CreateMul(frame.begin, block), limit, none, body);
}

void emit_units(Frame& frame, IndexSpace& space) {
  const ir::Kernel& kernel = frame.kernel;
  ir::Shape inner(kernel.domain.begin() + kernel.outer, kernel.domain.end());
  int64_t per_unit = ir::shape_size(inner);
  Index unit = space.variable(kernel.units);
  auto element = [&](const Index& position) { return space.add(space.scale(unit, per_unit), position); };
  // Merge as many trailing axes as stay contiguous.
  size_t merged = 0;
  for (; merged + 1 < inner.size(); ++merged) {
    int64_t extent = ir::shape_size(ir::Shape(inner.begin() + merged, inner.end()));
    Index outer = space.variable(per_unit / extent), lane = space.variable(extent, lanes_for(kernel, frame.target, extent));
    Index place = element(space.add(space.scale(outer, extent), lane));
    std::vector<Root> roots;
    for (const ir::Result& result : kernel.body.results) roots.push_back({result.value, space.split(place, kernel.body.type(result.value).shape)});
    if (contiguous_along(kernel.body, roots, space, variable_of(lane), {})) break;
  }
  int64_t extent = ir::shape_size(ir::Shape(inner.begin() + merged, inner.end()));
  Expression e(frame, space, lanes_for(kernel, frame.target, extent));
  Nest nest(e, inner, merged, unroll_for(kernel, frame.target));
  frame.loop(frame.begin, frame.end, 1, [&](LlvmValue u) {
    ScopeGuard scope(e);
    e.bind(unit, u);
    std::vector<LlvmValue> none;
    nest.run(none, [&](const std::vector<Chunk>& chunks, std::vector<LlvmValue>&) { emit_chunks(e, chunks, element); });
  });
}
}  // namespace

llvm::Function* emit_map(const ir::Kernel& kernel, const std::string& symbol, llvm::Module& module, const Target& target) {
  Frame frame(kernel, symbol, module, target);
  IndexSpace space;
  if (kernel.outer == 0) emit_flat(frame, space);
  else emit_units(frame, space);
  return frame.finish();
}
}  // namespace gradc::codegen
