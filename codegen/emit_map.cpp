// The map form: every element of every result is a value of its own.
#include <algorithm>

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

std::vector<Root> roots_at(const ir::Kernel& kernel, IndexSpace& space, const Index& place) {
  std::vector<Root> roots;
  for (size_t i = 0; i < kernel.body.results.size(); ++i) {
    ir::Value value = kernel.body.results[i].value;
    roots.push_back({value, space.split(place, kernel.body.type(value).shape), &kernel.result_layout(i)});
  }
  return roots;
}

// Leading axes of `shape` that must stay loops so that along the others, merged, all accesses are contiguous or constant.
size_t loops_before_lanes(const ir::Kernel& kernel, const Target& target, IndexSpace& space, const ir::Shape& shape, const std::function<Index(const Index&)>& element) {
  size_t loops = 0;
  for (; loops + 1 < shape.size(); ++loops) {
    int64_t extent = ir::shape_size(ir::Shape(shape.begin() + loops, shape.end()));
    Index outer = space.variable(ir::shape_size(shape) / extent), lane = space.variable(extent, lanes_for(kernel, target, extent));
    Index place = element(space.add(space.scale(outer, extent), lane));
    if (contiguous_along(kernel, roots_at(kernel, space, place), space, variable_of(lane), {})) break;
  }
  return loops;
}

// Rows first ... last - 1 of `rows`, each of the shape `inner`.
void emit_rows(Frame& frame, IndexSpace& space, LlvmValue first, LlvmValue last, int64_t rows, const ir::Shape& inner) {
  Index row = space.variable(rows);
  auto element = [&](const Index& position) { return space.add(space.scale(row, ir::shape_size(inner)), position); };
  size_t loops = loops_before_lanes(frame.kernel, frame.target, space, inner, element);
  Expression e(frame, space, lanes_for(frame.kernel, frame.target, ir::shape_size(ir::Shape(inner.begin() + loops, inner.end()))));
  ir::Shape outer(inner.begin(), inner.begin() + loops);
  int64_t extent = ir::shape_size(ir::Shape(inner.begin() + loops, inner.end()));
  Index lane = space.variable(extent, e.lanes);
  std::vector<Split> splits = splits_for(frame.kernel, space, outer, [&](const IndexVector& at) {
    return roots_at(frame.kernel, space, element(space.add(space.scale(space.linear(at, outer), extent), lane)));
  });
  std::vector<int64_t> pieces;
  bool borders = std::any_of(splits.begin(), splits.end(), [&](const Split& split) { return split.low > 0 || split.high < outer[&split - splits.data()]; });
  if (!borders) {
    IndexVector at;
    for (int64_t extent_outside : outer) at.push_back(space.variable(extent_outside));
    pieces = pieces_for(frame.kernel, space, lane, roots_at(frame.kernel, space, element(space.add(space.scale(space.linear(at, outer), extent), lane))));
  }
  Nest nest(e, inner, loops, unroll_for(frame.kernel, frame.target), 4, splits, pieces);
  frame.loop(first, last, 1, [&](LlvmValue i) {
    ScopeGuard scope(e);
    e.bind(row, i);
    std::vector<LlvmValue> none;
    nest.run(none, [&](const std::vector<Chunk>& chunks, std::vector<LlvmValue>&) { emit_chunks(e, chunks, element); });
  });
}

void emit_units(Frame& frame, IndexSpace& space) {
  const ir::Kernel& kernel = frame.kernel;
  emit_rows(frame, space, frame.begin, frame.end, kernel.units, ir::Shape(kernel.domain.begin() + kernel.outer, kernel.domain.end()));
}

void emit_flat(Frame& frame, IndexSpace& space) {
  const ir::Kernel& kernel = frame.kernel;
  int64_t size = ir::shape_size(kernel.domain);
  auto flat = [](const Index& position) { return position; };
  LlvmBuilder& b = frame.builder;
  LlvmValue block = frame.number(ir::Kernel::flat_block);
  LlvmValue first = b.CreateMul(frame.begin, block);
  LlvmValue limit = b.CreateBinaryIntrinsic(llvm::Intrinsic::smin, b.CreateMul(frame.end, block), frame.number(size));
  if (size_t loops = loops_before_lanes(kernel, frame.target, space, kernel.domain, flat); loops > 0) {
    // Whole rows, by the unit in which they start.
    ir::Shape row(kernel.domain.begin() + loops, kernel.domain.end());
    int64_t length = ir::shape_size(row);
    auto row_from = [&](LlvmValue element) { return b.CreateUDiv(b.CreateAdd(element, frame.number(length - 1)), frame.number(length)); };
    return emit_rows(frame, space, row_from(first), row_from(limit), size / length, row);
  }
  Expression e(frame, space, lanes_for(kernel, frame.target, size));
  Nest nest(e, {size}, 0, unroll_for(kernel, frame.target));
  std::vector<LlvmValue> none;
  auto body = [&](const std::vector<Chunk>& chunks, std::vector<LlvmValue>&) { emit_chunks(e, chunks, flat); };
  if (nest.straight()) nest.run(none, body);   // less than a block
  else nest.run(first, limit, none, body);
}
}  // namespace

llvm::Function* emit_map(const ir::Kernel& kernel, const std::string& symbol, llvm::Module& module, const Target& target) {
  Frame frame(kernel, symbol, module, target);
  IndexSpace space;
  if (!kernel.tile.empty()) emit_tiles(frame, space);
  else if (kernel.outer == 0) emit_flat(frame, space);
  else emit_units(frame, space);
  return frame.finish();
}
}  // namespace gradc::codegen
