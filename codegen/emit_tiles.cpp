// The map form in tiles: all elements of a tile are computed at once for some lanes of the last axis, so that what they read together is loaded and
// transformed once, and small transforms know their factors.
#include "codegen/emit.h"
#include "codegen/nest.h"
#include "codegen/unit_rows.h"
#include "ir/check.h"

namespace gradc::codegen {
namespace {
constexpr int64_t far_bytes = 1 << 20;   // beyond the second-level cache

// The results at one place. What lies behind the end of an axis is not stored, and what it would read is not loaded from outside.
void emit_place(Expression& e, const IndexVector& at, const Chunk& chunk) {
  const ir::Kernel& kernel = e.frame.kernel;
  std::vector<Guard> inside;
  for (size_t i = 0; i < at.size(); ++i)
    if (!e.space.range(at[i]).within(kernel.domain[i])) inside.push_back({at[i], kernel.domain[i]});
  e.set_mask(chunk.mask);
  e.set_guards(inside);
  std::vector<LlvmValue> values;   // all before any store: a result may lie in the place of an operand
  for (const ir::Result& result : kernel.body.results) values.push_back(e.emit(result.value, at));
  e.set_guards({});
  auto store = [&] {
    for (size_t i = 0; i < values.size(); ++i) e.store(e.frame.results[i], at, values[i]);
  };
  if (inside.empty()) {
    store();
  } else {
    LlvmValue times = e.b.CreateZExt(e.all_of(inside), e.b.getInt64Ty());   // a loop that runs once or not at all
    e.frame.loop(e.frame.number(0), times, 1, [&](LlvmValue) {
      ScopeGuard scope(e);
      store();
    });
  }
  e.set_mask(nullptr);
}
}  // namespace

void emit_tiles(Frame& frame, IndexSpace& space) {
  const ir::Kernel& kernel = frame.kernel;
  const size_t outer = kernel.domain.size() - 1;
  CHECK(kernel.outer == static_cast<int64_t>(outer) && kernel.tile.back() == 1);
  LlvmBuilder& b = frame.builder;
  std::vector<Index> tiles;
  ir::Shape counts;
  for (size_t i = 0; i < outer; ++i) {
    counts.push_back((kernel.domain[i] + kernel.tile[i] - 1) / kernel.tile[i]);
    tiles.push_back(space.variable(counts[i]));
  }
  Expression e(frame, space, lanes_for(kernel, frame.target, kernel.domain.back()));
  // Tiles read few places of many lines: too little at a time for the processor to see what comes next. What units read as their own rows comes from the kernel before.
  std::vector<LlvmValue> far;
  for (size_t i = 0; i < frame.inputs.size(); ++i)
    if (argument_rows(kernel, i) == 0 && frame.inputs[i].type.bytes() >= far_bytes) far.push_back(frame.inputs[i].pointer);
  for (size_t i = 0; i < frame.results.size(); ++i)
    if (result_rows(kernel, i) == 0 && frame.results[i].type.bytes() >= far_bytes) far.push_back(frame.results[i].pointer);
  e.ask_ahead(far);
  Nest nest(e, {kernel.domain.back()}, 0, 1, 1);   // a tile is code enough
  frame.loop(frame.begin, frame.end, 1, [&](LlvmValue unit) {
    ScopeGuard scope(e);
    for (size_t i = outer; i-- > 0;) {
      e.bind(tiles[i], i == 0 ? unit : b.CreateURem(unit, frame.number(counts[i])));
      unit = b.CreateUDiv(unit, frame.number(counts[i]));
    }
    std::vector<LlvmValue> none;
    nest.run(none, [&](const std::vector<Chunk>& chunks, std::vector<LlvmValue>&) {
      for (const Chunk& chunk : chunks)
        for (int64_t k = 0; k < ir::shape_size(kernel.tile); ++k) {
          IndexVector at = space.split(Index(k), kernel.tile);
          for (size_t i = 0; i < outer; ++i) at[i] = space.add(space.scale(tiles[i], kernel.tile[i]), at[i]);
          at.back() = chunk.position;
          emit_place(e, at, chunk);
        }
    });
  });
}

}  // namespace gradc::codegen
