// The direct form of convolutions with few filters, which would leave most lanes empty as columns: lanes along a line of the image.
//
//   forward, and gradients of inputs     rows are filters: results are stored place by place, all channels of one after the other
//   gradients of weights                 what is summed lies along the lanes, which are added up at the end: one sum is a vector
//
// Between memory, where the channels of a place are neighbours, and lanes, which are places, elements are exchanged in registers: with scatters, and units that ended anywhere
// in a line, LeNet's first layer took 197 us at batch 32 on one Zen 4 core, without 104.
#include <algorithm>

#include "codegen/contract_emitter.h"

namespace gradc::codegen {

// Two sources at a time: one exchange for each pair that has lanes here, and a choice between it and the lanes so far.
LlvmValue ContractEmitter::collected(const Values& sources, llvm::ArrayRef<std::pair<int, int>> lanes) {
  const int width = plan_.width, count = static_cast<int>(sources.size());
  LlvmValue made = nullptr;
  for (int pair = 0; pair < count; pair += 2) {
    llvm::SmallVector<int> from(width, -1), merged(width);
    bool any = false;
    for (int lane = 0; lane < width; ++lane) {
      auto [source, element] = lanes[lane];
      const bool here = source >= 0 && source / 2 == pair / 2;
      if (here) from[lane] = source % 2 * width + element;
      merged[lane] = here ? width + lane : lane;
      any = any || here;
    }
    if (!any) continue;
    LlvmValue two = b_.CreateShuffleVector(sources[pair], sources[std::min(pair + 1, count - 1)], from);
    made = made ? b_.CreateShuffleVector(made, two, merged) : two;
  }
  return made ? made : llvm::Constant::getNullValue(vector_);
}

// Lanes are places of a line and rows its channels, all of them, which lie next to each other in memory: element e of what is stored is place e / rows of
// row e % rows.
void ContractEmitter::finish_interleaved(const Panel& panel, llvm::ArrayRef<LlvmValue> sums) {
  const int width = plan_.width, rows = static_cast<int>(plan_.rows);
  for (int v = 0; v < panel.vectors; ++v) {
    LlvmValue mask = v == panel.vectors - 1 ? panel.mask : nullptr;
    auto index = index_;
    index[plan_.lane_axis] = add(panel.lane, number(v * width));
    index[plan_.row_axis] = number(0);
    LlvmValue place = element_number(index);
    std::vector<Values> by_row;
    for (int r = 0; r < rows; ++r) {
      ScopeGuard scope(*vectors_);
      index[plan_.row_axis] = number(r);
      by_row.push_back(results(*vectors_, index, sums[r * panel.vectors + v], mask));
      for (LlvmValue& result : by_row.back()) result = splat(result);
    }
    for (size_t result = 0; result < frame_.results.size(); ++result)
      for (int part = 0; part < rows; ++part) {
        Values sources;
        for (const Values& row : by_row) sources.push_back(row[result]);
        llvm::SmallVector<std::pair<int, int>> from;
        for (int element = part * width; element < (part + 1) * width; ++element) from.emplace_back(element % rows, element / rows);
        LlvmValue made = collected(sources, from);
        LlvmValue left = b_.CreateSub(times(b_.CreateSub(lane_last_, index[plan_.lane_axis]), rows), number(part * width));
        store(frame_.results[result], made, at(frame_.results[result].pointer, add(place, number(part * width))), bytes_, mask ? lane_mask(left) : nullptr);
      }
  }
}

// All lines of b at the outer digits of now: [line][column][pitch], zeros behind a line's end.
void ContractEmitter::turn_lines() {
  const ContractLines& lines = *plan_.lines_of_a;
  const Buffer& buffer = frame_.inputs[lines.b.argument];
  const int width = plan_.width, columns = static_cast<int>(plan_.lanes);
  LlvmValue start = number(lines.b.offset);
  for (int i = 0; i < lines.line; ++i) start = add(start, times(digits_[i], lines.digits[i].b));
  loop(number(0), number(lines.digits[lines.line].extent), 1, [&](LlvmValue line) {
    LlvmValue from = at(buffer.pointer, add(start, times(line, lines.digits[lines.line].b)));
    LlvmValue to = at(scratch_at(lines.turned_offset), times(line, columns * lines.pitch));
    for (int64_t place = 0; place < lines.pitch; place += width) {
      const int64_t left = (plan_.depth - place) * columns;
      Values parts;
      for (int64_t part = 0; part < columns; ++part) {
        const int64_t exist = left - part * width;
        parts.push_back(exist <= 0 ? llvm::Constant::getNullValue(vector_) : load(buffer, at(from, place * columns + part * width), exist < width ? lane_mask(number(exist)) : nullptr, bytes_));
      }
      for (int column = 0; column < columns; ++column) {
        llvm::SmallVector<std::pair<int, int>> lanes;
        for (int lane = 0; lane < width; ++lane) lanes.emplace_back((lane * columns + column) / width, (lane * columns + column) % width);
        store(frame_.scratch, collected(parts, lanes), at(to, column * lines.pitch + place), vector_align_);
      }
    }
  });
}

// Sums of a row wait one vector a column.
LlvmValue ContractEmitter::waiting_columns(LlvmValue row) {
  LlvmValue unit = b_.CreateSub(add(times(place_, plan_.rows), row), block_begin_);
  return at(scratch_at(plan_.lines_of_a->sums_offset), times(unit, plan_.lanes * plan_.width));
}

void ContractEmitter::summed_products(LlvmValue first, LlvmValue last) {
  const ContractLines& lines = *plan_.lines_of_a;
  const int width = plan_.width;
  for (int64_t column = 0; column < plan_.lanes; column += plan_.vectors) {
    const int columns = static_cast<int>(std::min<int64_t>(plan_.vectors, plan_.lanes - column));
    row_tiles(row_first_, row_last_, [&](int height, LlvmValue row) {
      auto place = [&](int r, int c) { return at(waiting_columns(add(row, number(r))), (column + c) * width); };
      Values sums;
      for (int r = 0; r < height; ++r)
        for (int c = 0; c < columns; ++c) sums.push_back(load(frame_.scratch, place(r, c), nullptr, vector_align_));
      auto digits = digits_;
      sums = loop(first, last, 1, std::move(sums), [&](LlvmValue line, Values state) {
        digits[lines.line] = line;
        Operand a = line_operand(true, {number(0), 1, nullptr, width}, digits, first);
        LlvmValue rows = at(a.base, times(row, a.row_stride)), turned = at(scratch_at(lines.turned_offset), times(line, plan_.lanes * lines.pitch));
        for (int64_t k = 0; k < lines.pitch; k += width) {
          Values terms;
          for (int c = 0; c < columns; ++c) terms.push_back(load(frame_.scratch, at(turned, (column + c) * lines.pitch + k), nullptr, vector_align_));
          for (int r = 0; r < height; ++r) {
            Term x{load(a.buffer, at(rows, r * a.row_stride + k), nullptr, bytes_)};
            for (int c = 0; c < columns; ++c) state[r * columns + c] = multiply_add(x, Term{terms[c]}, state[r * columns + c]);
          }
        }
        return state;
      });
      for (int r = 0; r < height; ++r)
        for (int c = 0; c < columns; ++c) store(frame_.scratch, sums[r * columns + c], place(r, c), vector_align_);
    });
  }
}

void ContractEmitter::finish_summed() {
  const int columns = static_cast<int>(plan_.lanes);
  const Panel panel{number(0), 1, columns < plan_.width ? lane_mask(number(columns)) : nullptr, columns};
  loop(row_first_, row_last_, 1, [&](LlvmValue row) {
    LlvmValue sums = llvm::Constant::getNullValue(vector_);
    for (int c = 0; c < columns; ++c)
      sums = b_.CreateInsertElement(sums, horizontal_sum(load(frame_.scratch, at(waiting_columns(row), c * plan_.width), nullptr, vector_align_)), uint64_t(c));
    finish(panel, row, sums);
  });
}

}  // namespace gradc::codegen
