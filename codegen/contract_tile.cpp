// Register tiles: products of `height` rows with some vectors of columns, all sums in SSA values, and what follows them.
//
// A sum always runs over the reduced index in rising order, one term after the other, whatever the tile: so its bits depend
// on the reduction's length alone. The dot form adds four partial vectors per row, then their lanes, in a fixed tree.
#include "codegen/contract_emitter.h"

#include "ir/check.h"

namespace gradc::codegen {
namespace {
constexpr int64_t unroll = 4;   // of the reduction: more costs compile time and spills
constexpr int row_group = ContractPlan::row_group;
}

LlvmValue ContractEmitter::multiply_add(const Term& a, const Term& b, LlvmValue sum) {
  LlvmValue x = a.high, y = b.high;
  if (plan_.pairs()) {
    sum = multiply_pairs(x, y, sum);
    return b.low ? multiply_pairs(a.low, y, multiply_pairs(x, b.low, sum)) : sum;
  }
  if (target_.fma) return b_.CreateIntrinsic(llvm::Intrinsic::fma, {sum->getType()}, {x, y, sum});
  return b_.CreateFAdd(b_.CreateFMul(x, y), sum);
}

Values ContractEmitter::zero_sums(size_t count) { return Values(count, llvm::Constant::getNullValue(vector_)); }

// A weight that is read one block of the reduction after the other comes from far away, a few lines from each page: nobody sees that coming but us. Each
// step fetches its share of the rows' lines in the next block.
void ContractEmitter::prefetch_block(const Operand& a, LlvmValue row, LlvmValue k) {
  if (a.blocked != Along::depth) return;
  LlvmValue place = at(a.base, add(offset(a, Along::rows, row), times(add(b_.CreateUDiv(k, number(a.block)), number(1)), a.block_stride)));
  place = at(place, times(b_.CreateURem(k, number(a.block)), a.row_stride));
  for (int64_t r = 0; r < unroll; ++r)
    b_.CreateIntrinsic(llvm::Intrinsic::prefetch, {b_.getPtrTy()}, {at(place, r * a.row_stride), b_.getInt32(0), b_.getInt32(3), b_.getInt32(1)});
}

Values ContractEmitter::products(const Panel& panel, int height, const Operand& a, const Operand& b, LlvmValue row, LlvmValue depth, Values sums,
                                 llvm::ArrayRef<Between> between) {
  CHECK(sums.size() == static_cast<size_t>(height * panel.vectors));
  // An operand's elements of this tile lie at constant distances from a few pointers, which move along the depth: one, or one for each group of rows
  // or vector that blocks cut apart.
  struct Pointers {
    const Operand& of;
    int rows, vectors;   // of a group
    Values start;
  };
  auto pointers = [&](const Operand& operand, int rows) {
    // Calls begin at multiples of 16 of their rows (grain), and the tallest tiles come first: one that is as tall as a block lies in one.
    bool one_block = rows == operand.block && rows == plan_.heights[0] && !plan_.turned && (!plan_.dynamic_rows || plan_.kernel.units == plan_.rows);
    Pointers p{operand, operand.blocked == Along::rows && !one_block ? row_group : rows, operand.lane_offsets.empty() ? panel.vectors : 1, {}};
    for (int r = 0; r < rows; r += p.rows)
      for (int v = 0; v < panel.vectors; v += p.vectors) {
        LlvmValue start = at(operand.base, offset(operand, Along::rows, add(row, number(r))));
        p.start.push_back(operand.lane_offsets.empty() ? start : at(start, operand.lane_offsets[v]));
      }
    return p;
  };
  Pointers of_a = pointers(a, height), of_b = pointers(b, 1);
  // Those at reduced element k: they are carried from step to step, or follow from k.
  auto carried = [](const Pointers& p) { return p.of.blocked != Along::depth; };
  auto pointers_at = [&](const Pointers& p, LlvmValue k) {
    Values now;
    for (LlvmValue start : p.start) now.push_back(at(start, offset(p.of, Along::depth, add(p.of.first_depth, k))));
    return now;
  };
  auto element = [&](const Pointers& p, const Values& now, int r, int v, int64_t k, int64_t further) -> LlvmValue {
    LlvmValue start = now[r / p.rows * (panel.vectors / p.vectors) + v / p.vectors];
    LlvmValue lanes = offset(p.of, Along::lanes, v % p.vectors * plan_.width);
    LlvmValue place = at(start, add(lanes, number(r % p.rows * p.of.row_stride + k * p.of.depth_stride + further)));
    if (p.of.lane_stride != 0) return load(p.of.buffer, place, v == panel.vectors - 1 ? panel.mask : nullptr, bytes_);
    auto* one = b_.CreateAlignedLoad(scalar_, place, llvm::Align(bytes_));
    describe_access(one, p.of.buffer);
    return splat(one);
  };
  auto term = [&](const Pointers& p, const Values& now, int r, int v, int64_t k) { return Term{element(p, now, r, v, k, 0), p.of.low ? element(p, now, r, v, k, p.of.low) : nullptr}; };
  // One reduced element (a pair of them below f32), `k` after the pointers.
  auto step = [&](int64_t k, const Values& a_now, const Values& b_now, Values& s) {
    std::vector<Term> columns;
    for (int v = 0; v < panel.vectors; ++v) columns.push_back(term(of_b, b_now, 0, v, k));
    for (int r = 0; r < height; ++r) {
      Term one = a.lane_stride == 0 ? term(of_a, a_now, r, 0, k) : Term();
      for (int v = 0; v < panel.vectors; ++v) {
        LlvmValue& sum = s[r * panel.vectors + v];
        sum = multiply_add(one.high ? one : term(of_a, a_now, r, v, k), columns[v], sum);
      }
    }
  };
  // State: the sums, then the carried pointers.
  size_t count_of_sums = sums.size();
  auto unpack = [&](const Values& state, LlvmValue k) {
    auto next = state.begin() + static_cast<int64_t>(count_of_sums);
    auto take = [&](const Pointers& p) {
      if (!carried(p)) return pointers_at(p, k);
      next += static_cast<int64_t>(p.start.size());
      return Values(next - static_cast<int64_t>(p.start.size()), next);
    };
    Values a_now = take(of_a);
    return std::pair{a_now, take(of_b)};
  };
  auto several = [&](LlvmValue first, LlvmValue last, int64_t count, Values state, const Between* other = nullptr) {
    return loop(first, last, count, std::move(state), [&](LlvmValue k, Values inner) {
      if (other) other->run(b_.CreateUDiv(b_.CreateSub(k, first), number(count)));
      auto [a_now, b_now] = unpack(inner, k);
      Values s(inner.begin(), inner.begin() + static_cast<int64_t>(count_of_sums));
      for (int64_t i = 0; i < count; ++i) step(i, a_now, b_now, s);
      if (plan_.turned && count == unroll) prefetch_block(a, row, k);
      auto move = [&](const Pointers& p, const Values& now) {
        if (carried(p))
          for (LlvmValue pointer : now) s.push_back(at(pointer, count * p.of.depth_stride));
      };
      move(of_a, a_now), move(of_b, b_now);
      return s;
    });
  };
  Values state = std::move(sums);
  for (const Pointers* p : {&of_a, &of_b})
    if (carried(*p)) state.insert(state.end(), p->start.begin(), p->start.end());
  if (auto* known = llvm::dyn_cast<llvm::ConstantInt>(depth)) {
    int64_t count = known->getSExtValue(), whole = count / unroll * unroll;
    LlvmValue first = number(0);
    for (const Between& other : between) {
      LlvmValue last = add(first, times(other.rounds, unroll));
      state = several(first, last, unroll, std::move(state), &other);
      first = last;
    }
    state = several(first, number(whole), unroll, std::move(state));
    auto [a_now, b_now] = unpack(state, number(whole));
    for (int64_t k = 0; k < count - whole; ++k) step(k, a_now, b_now, state);
  } else {
    LlvmValue whole = b_.CreateAnd(depth, number(-unroll));
    state = several(number(0), whole, unroll, std::move(state));
    state = several(whole, depth, 1, std::move(state));
  }
  state.resize(count_of_sums);
  return state;
}

void ContractEmitter::load_sums(Values& sums, const Panel& panel, LlvmValue place) {
  for (size_t i = 0; i < sums.size(); ++i) sums[i] = load(frame_.scratch, at(place, static_cast<int64_t>(i) * plan_.width), nullptr, vector_align_);
}

void ContractEmitter::store_sums(const Values& sums, const Panel& panel, LlvmValue place) {
  for (size_t i = 0; i < sums.size(); ++i) store(frame_.scratch, sums[i], at(place, static_cast<int64_t>(i) * plan_.width), vector_align_);
}

void ContractEmitter::finish_rows(const Panel& panel, LlvmValue first_row, LlvmValue count, LlvmValue sums_at) {
  loop(number(0), count, 1, [&](LlvmValue i) {
    Values sums(panel.vectors);
    load_sums(sums, panel, at(sums_at, times(i, panel.vectors * plan_.width)));
    finish(panel, add(first_row, i), sums);
  });
}

void ContractEmitter::finish(const Panel& panel, LlvmValue row, llvm::ArrayRef<LlvmValue> sums) {
  auto index = index_;
  if (plan_.row_axis >= 0) index[plan_.row_axis] = row;
  for (int v = 0; v < panel.vectors; ++v) {
    index[plan_.lane_axis] = add(panel.lane, number(v * plan_.width));
    store_results(index, sums[v], v == panel.vectors - 1 ? panel.mask : nullptr);
  }
}

// The products of a tile over the whole reduction, in whose first rounds what the epilogue overwrites is asked for, a row a round.
Values ContractEmitter::prefetching_products(const Panel& panel, int height, const Operand& a, const Operand& b, LlvmValue row) {
  LlvmValue depth = places(number(plan_.depth));
  Values sums = zero_sums(static_cast<size_t>(height * panel.vectors));
  if (!plan_.prefetched) return products(panel, height, a, b, row, depth, std::move(sums));
  auto ask = [&](LlvmValue round) { prefetch_in_place(panel, add(row, round)); };
  return products(panel, height, a, b, row, depth, std::move(sums), Between{number(std::min<int64_t>(height, plan_.places(plan_.depth) / unroll)), ask});
}

// The products of a tile, with the epilogue of the one before between them; what that leaves over follows. What this tile's own epilogue will overwrite
// is asked for in the rounds after these if there are as many: both at once need more addresses than there are registers.
void ContractEmitter::deferred_tile(const Panel& panel, int height, const Operand& a, const Operand& b, LlvmValue row) {
  Pending before = pending();
  int64_t rounds = plan_.places(plan_.depth) / unroll, each = (plan_.heights[0] + rounds - 1) / rounds;
  bool apart = plan_.prefetched && 2 * plan_.heights[0] <= rounds;
  LlvmValue used = minimum(number(rounds), b_.CreateUDiv(before.rows, number(each)));
  auto finish_some = [&](LlvmValue round) {
    for (int64_t i = 0; i < each; ++i) {
      LlvmValue place = add(times(round, each), number(i));
      if (plan_.prefetched && !apart) prefetch_in_place(panel, add(row, place));
      finish_pending(before, place);
    }
  };
  auto ask = [&](LlvmValue round) { prefetch_in_place(panel, add(row, round)); };
  std::vector<Between> between{{used, finish_some}};
  if (apart) between.push_back({number(height), ask});
  Values sums = products(panel, height, a, b, row, places(number(plan_.depth)), zero_sums(static_cast<size_t>(height * panel.vectors)), between);
  loop(times(used, each), before.rows, 1, [&](LlvmValue i) { finish_pending(before, i); });
  store_sums(sums, panel, scratch_at(plan_.tile_offset));
  set_pending({row, panel.lane, number(height)});
}

void ContractEmitter::finish_deferred() {
  Pending last = pending();
  loop(number(0), last.rows, 1, [&](LlvmValue i) { finish_pending(last, i); });
  set_pending({number(0), number(0), number(0)});
}

void ContractEmitter::finish_pending(const Pending& tile, LlvmValue row) {
  Panel panel{tile.lane, plan_.vectors, nullptr, plan_.panel()};
  Values sums(panel.vectors);
  load_sums(sums, panel, at(scratch_at(plan_.tile_offset), times(row, plan_.panel())));
  finish(panel, add(tile.row, row), sums);
}

ContractEmitter::Pending ContractEmitter::pending() {
  LlvmValue place = scratch_at(plan_.pending_offset);
  auto load = [&](int64_t i) {
    auto* value = b_.CreateAlignedLoad(b_.getInt64Ty(), b_.CreateConstGEP1_64(b_.getInt64Ty(), place, i), llvm::Align(8));
    describe_access(value, frame_.scratch);
    return value;
  };
  return {load(0), load(1), load(2)};
}

void ContractEmitter::set_pending(const Pending& tile) {
  LlvmValue place = scratch_at(plan_.pending_offset);
  int64_t i = 0;
  for (LlvmValue value : {tile.row, tile.lane, tile.rows})
    describe_access(b_.CreateAlignedStore(value, b_.CreateConstGEP1_64(b_.getInt64Ty(), place, i++), llvm::Align(8)), frame_.scratch);
}

// Sums of some rows, [rows][lanes of the panel] in scratch: transposed block by block, then the epilogue for each lane with vectors along the rows.
void ContractEmitter::finish_turned(const Panel& panel, LlvmValue first_row, LlvmValue last_row, LlvmValue sums_at) {
  int width = plan_.width, row_size = panel.vectors * width;
  LlvmValue turned = scratch_at(plan_.turn_offset);
  auto block = [&](LlvmValue row, LlvmValue mask) {
    for (int v = 0; v < panel.vectors; ++v) {
      LlvmValue lane = add(panel.lane, number(v * width));
      Values lines = transposed_block(frame_.scratch, at(sums_at, add(times(b_.CreateSub(row, first_row), row_size), number(v * width))), row_size, width, width);
      for (int i = 0; i < width; ++i) store(frame_.scratch, lines[i], at(turned, i * width), vector_align_);
      LlvmValue count = panel.mask ? minimum(b_.CreateSub(lane_last_, lane), number(width)) : number(width);
      loop(number(0), count, 1, [&](LlvmValue i) {
        auto index = index_;
        index[plan_.row_axis] = row;
        index[plan_.lane_axis] = add(lane, i);
        store_results(index, load(frame_.scratch, at(turned, times(i, width)), nullptr, vector_align_), mask);
      });
    }
  };
  LlvmValue whole = add(first_row, b_.CreateAnd(b_.CreateSub(last_row, first_row), number(-width)));
  loop(first_row, whole, width, [&](LlvmValue row) { block(row, nullptr); });
  if (plan_.rows % width) loop(whole, last_row, width, [&](LlvmValue row) { block(row, lane_mask(b_.CreateSub(last_row, row))); });
}

LlvmValue ContractEmitter::horizontal_sum(LlvmValue x) {
  for (int half = plan_.width / 2; half >= 1; half /= 2) {
    llvm::SmallVector<int> low, high;
    for (int i = 0; i < half; ++i) low.push_back(i), high.push_back(i + half);
    x = b_.CreateFAdd(b_.CreateShuffleVector(x, low), b_.CreateShuffleVector(x, high));
  }
  return b_.CreateExtractElement(x, uint64_t{0});
}

void ContractEmitter::dot_tile(int height, LlvmValue row) {
  int parts = plan_.vectors, width = plan_.width;
  int64_t chunk = static_cast<int64_t>(parts) * width;
  Values sums = zero_sums(static_cast<size_t>(height * parts));
  auto part = [&](const Operand& a, const Operand& b, LlvmValue k, int p, LlvmValue mask, Values& s) {
    k = add(k, number(p * width));
    auto term = [&](const Operand& operand, LlvmValue start) {
      LlvmValue place = at(start, offset(operand, Along::depth, k));
      return Term{load(operand.buffer, place, mask, bytes_), operand.low ? load(operand.buffer, at(place, operand.low), mask, bytes_) : nullptr};
    };
    Term y = term(b, b.base);
    for (int r = 0; r < height; ++r) {
      Term x = term(a, at(a.base, offset(a, Along::rows, add(row, number(r)))));
      s[r * parts + p] = multiply_add(x, y, s[r * parts + p]);
    }
  };
  auto chunks = [&](const Operand& a, const Operand& b, LlvmValue last, Values state) {
    return loop(number(0), last, chunk, std::move(state), [&](LlvmValue k, Values s) {
      for (int p = 0; p < parts; ++p) part(a, b, k, p, nullptr, s);
      return s;
    });
  };
  if (plan_.pack_a) {
    Operand a{scratch_at(plan_.a_offset), frame_.scratch, plan_.a_row_stride, 1, 0}, b{scratch_at(plan_.b_offset), frame_.scratch, 0, 1, 0};
    a.low = plan_.a_low, b.low = plan_.b_low;
    a.base = at(a.base, times(row, -a.row_stride));
    sums = loop(number(0), number(plan_.depth), plan_.depth_block, std::move(sums), [&](LlvmValue k, Values s) {
      LlvmValue depth = minimum(number(plan_.depth_block), b_.CreateSub(number(plan_.depth), k));
      int64_t unit = plan_.pairs() ? 2 * chunk : chunk;
      pack_rows(row, add(row, number(height)), k, depth, unit);
      pack_vector(k, depth, unit);
      return chunks(a, b, places(depth), std::move(s));
    });
  } else {
    Operand a = in_place(Side::a), b = in_place(Side::b);
    int64_t whole = plan_.depth / chunk * chunk;
    sums = chunks(a, b, number(whole), std::move(sums));
    for (int p = 0; whole + p * width < plan_.depth; ++p) {
      int64_t left = plan_.depth - whole - p * width;
      part(a, b, number(whole), p, left < width ? lane_mask(number(left)) : nullptr, sums);
    }
  }
  for (int r = 0; r < height; ++r) {
    LlvmValue* s = &sums[r * parts];
    LlvmValue total = horizontal_sum(b_.CreateFAdd(b_.CreateFAdd(s[0], s[1]), b_.CreateFAdd(s[2], s[3])));
    auto index = index_;
    if (plan_.row_axis >= 0) index[plan_.row_axis] = add(row, number(r));
    store_results(index, total, nullptr);
  }
}

}  // namespace gradc::codegen
