// The direct form (contract_lines_plan.cpp): register tiles over several reduced indices.
//
//   where all sums of a tile are computed at once (forward)      where they wait in scratch between lines (gradient of weights)
//     units, inner indices                                         blocks of units
//       copy the lines                                               outer digits
//         panels, row tiles                                            units: blocks of lines: copy them
//           lines, inner digits: products                                panels, row tiles: lines, inner digits: products
//           epilogue                                                 units: panels, rows: epilogue
#include "codegen/contract_emitter.h"

#include "ir/check.h"

namespace gradc::codegen {

void ContractEmitter::run_lines() {
  const ContractLines& lines = *plan_.lines_of_a;
  digits_.assign(lines.digits.size(), number(0));
  if (lines.bordered) clear_borders();
  if (lines.waiting_units == 0) return units(frame_.begin, frame_.end);
  loop(frame_.begin, frame_.end, lines.waiting_units, [&](LlvmValue begin) {
    block_begin_ = begin;
    LlvmValue end = minimum(add(begin, number(lines.waiting_units)), frame_.end);
    loop(number(0), number(lines.sums_bytes / bytes_), plan_.width,
         [&](LlvmValue i) { store(frame_.scratch, llvm::Constant::getNullValue(vector_), at(scratch_at(lines.sums_offset), i), vector_align_); });
    auto outer = [&](auto&& self, int digit) -> void {
      if (digit == lines.line) {
        if (lines.summed) turn_lines();
        return units(begin, end);
      }
      loop(number(0), number(lines.digits[digit].extent), 1, [&](LlvmValue i) {
        digits_[digit] = i;
        self(self, digit + 1);
      });
    };
    pass_ = Pass::products;
    outer(outer, 0);
    pass_ = Pass::results;
    units(begin, end);
  });
}

// 0 <= offset + sum of axes + step * digit < extent, for all guards of a digit.
std::pair<LlvmValue, LlvmValue> ContractEmitter::digit_range(int digit) {
  const ContractLines& lines = *plan_.lines_of_a;
  LlvmValue first = number(0), last = number(lines.digits[digit].extent);
  for (const ContractLines::Guard& guard : lines.guards) {
    if (guard.digit != digit) continue;
    LlvmValue place = number(guard.offset);
    for (size_t i = 0; i < guard.axes.size(); ++i)
      if (guard.axes[i] != 0) place = add(place, times(index_[i], guard.axes[i]));
    auto steps_from = [&](int64_t from) {
      LlvmValue distance = b_.CreateSub(number(from + guard.step - 1), place);
      LlvmValue positive = b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, distance, number(0));
      return guard.step == 1 ? positive : b_.CreateUDiv(positive, number(guard.step));
    };
    first = b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, first, steps_from(0));
    last = minimum(last, steps_from(guard.extent));
  }
  return {first, last};
}

void ContractEmitter::line_block() {
  const ContractLines& lines = *plan_.lines_of_a;
  if (pass_ == Pass::results && lines.summed) return finish_summed();
  if (pass_ == Pass::results) {
    for_panels([&](const Panel& panel) { finish_rows(panel, row_first_, b_.CreateSub(row_last_, row_first_), waiting_sums(panel, row_first_)); });
    return;
  }
  auto [begin, end] = digit_range(lines.line);
  LlvmValue begin_line = begin, end_line = end;
  auto tiles = [&](LlvmValue first, LlvmValue last) {
    if (lines.bordered) copy_lines(first, last, lines.walks < 0 ? first : not_yet_copied(first));
    if (lines.summed) return summed_products(first, last);
    for_panels([&](const Panel& panel) {
      row_tiles(row_first_, row_last_, [&](int height, LlvmValue row) {
        Values sums = zero_sums(static_cast<size_t>(height * panel.vectors));
        if (pass_ == Pass::products) {
          LlvmValue place = waiting_sums(panel, row);
          load_sums(sums, panel, place);
          store_sums(line_products(panel, height, row, first, last, std::move(sums)), panel, place);
          return;
        }
        sums = line_products(panel, height, row, first, last, std::move(sums));
        if (plan_.interleaved) return finish_interleaved(panel, sums);
        if (plan_.epilogue_in_loop) {
          store_sums(sums, panel, scratch_at(plan_.tile_offset));
          finish_rows(panel, row, number(height), scratch_at(plan_.tile_offset));
          return;
        }
        for (int r = 0; r < height; ++r) finish(panel, add(row, number(r)), llvm::ArrayRef(sums).slice(r * panel.vectors, panel.vectors));
      });
    });
  };
  if (lines.at_once >= lines.digits[lines.line].extent) return tiles(begin_line, end_line);
  loop(begin_line, end_line, lines.at_once, [&](LlvmValue first) { tiles(first, minimum(add(first, number(lines.at_once)), end_line)); });
}

// The unit before has copied the lines of all digits but the last ones, unless this one begins a call or an image.
LlvmValue ContractEmitter::not_yet_copied(LlvmValue first) {
  const ContractLines& lines = *plan_.lines_of_a;
  LlvmValue begins = b_.CreateOr(b_.CreateICmpEQ(place_, frame_.begin), b_.CreateICmpEQ(index_[lines.walks], number(0)));
  LlvmValue next = number(std::max<int64_t>(lines.digits[lines.line].extent - lines.guards[0].axes[lines.walks], 0));
  return b_.CreateSelect(begins, first, b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, first, next));
}

// Where a line lies among the copies: all lines of an image do, or those from `first` on.
LlvmValue ContractEmitter::copy_of(LlvmValue line, LlvmValue first) {
  const ContractLines& lines = *plan_.lines_of_a;
  if (lines.walks < 0) return b_.CreateSub(line, first);
  return add(line, add(number(lines.guards[0].offset), times(index_[lines.walks], lines.guards[0].axes[lines.walks])));
}

// Sums wait in the order [inner indices][panel][unit][lanes of the panel].
LlvmValue ContractEmitter::waiting_sums(const Panel& panel, LlvmValue row) {
  const ContractLines& lines = *plan_.lines_of_a;
  LlvmValue unit = b_.CreateSub(add(times(place_, plan_.rows), row), block_begin_), inner = number(0);
  for (size_t i = 0; i < plan_.axes.size(); ++i)
    if (plan_.axes[i].role == AxisRole::loop && !plan_.axes[i].outer) inner = add(times(inner, plan_.axes[i].extent), index_[i]);
  const int64_t each = lines.waiting_units * ((plan_.lanes + plan_.width - 1) / plan_.width * plan_.width);
  return at(at(scratch_at(lines.sums_offset), times(inner, each)), add(times(panel.lane, lines.waiting_units), times(unit, panel.vectors * plan_.width)));
}

// The products of a tile over the lines [first, last) and all that is inside of them.
Values ContractEmitter::line_products(const Panel& panel, int height, LlvmValue row, LlvmValue first, LlvmValue last, Values sums) {
  const ContractLines& lines = *plan_.lines_of_a;
  auto digits = digits_;
  auto operand = [&](bool of_a) { return line_operand(of_a, panel, digits, first); };
  auto nest = [&](auto&& self, size_t digit, Values state) -> Values {
    if (digit == digits.size()) return products(panel, height, operand(true), operand(false), row, number(plan_.depth), std::move(state));
    const bool line = static_cast<int>(digit) == lines.line;
    return loop(line ? first : number(0), line ? last : number(lines.digits[digit].extent), 1, std::move(state), [&](LlvmValue i, Values inner) {
      digits[digit] = i;
      return self(self, digit + 1, std::move(inner));
    });
  };
  return nest(nest, static_cast<size_t>(lines.line), std::move(sums));
}

// An operand at these digits, whose lines are copied from `first` on.
ContractEmitter::Operand ContractEmitter::line_operand(bool of_a, const Panel& panel, const Values& digits, LlvmValue first) {
  const ContractLines& lines = *plan_.lines_of_a;
  const ContractLines::Operand& access = of_a ? lines.a : lines.b;
  const bool copied = of_a != lines.across && lines.bordered;
  Operand made;
  LlvmValue place = number(copied ? 0 : access.offset);
  for (size_t i = 0; i < plan_.axes.size(); ++i) {
    const AxisRole role = plan_.axes[i].role;
    if (role == AxisRole::rows) made.row_stride = access.axes[i];
    if (role == AxisRole::lanes) made.lane_stride = access.axes[i];
    if (role == AxisRole::loop && (!copied || lines.axes_within[i])) place = add(place, times(index_[i], access.axes[i]));
  }
  for (size_t i = 0; i < digits.size(); ++i) {
    const bool line = static_cast<int>(i) == lines.line;
    if (copied && line) place = add(place, times(copy_of(digits[i], first), lines.line_stride));
    else if (!copied || lines.digits_within[i]) place = add(place, times(digits[i], of_a ? lines.digits[i].a : lines.digits[i].b));
  }
  made.depth_stride = access.depth;
  made.buffer = copied ? frame_.scratch : frame_.inputs[access.argument];
  made.base = at(copied ? scratch_at(lines.lines_offset) : made.buffer.pointer, place);
  if (!of_a) made.base = at(made.base, panel.lane);
  return made;
}

// What is no part of a line stays zero while lines are copied between.
void ContractEmitter::clear_borders() {
  const ContractLines& lines = *plan_.lines_of_a;
  const int64_t width = plan_.width, from = lines.across ? 0 : lines.end / width * width;
  LlvmValue zero = llvm::Constant::getNullValue(vector_);
  loop(number(0), number(lines.at_once), 1, [&](LlvmValue line) {
    LlvmValue to = at(scratch_at(lines.lines_offset), times(line, lines.line_stride));
    if (!lines.across) loop(number(0), number(lines.begin), width, [&](LlvmValue i) { store(frame_.scratch, zero, at(to, i), vector_align_); });
    loop(number(from), number(lines.line_stride), width, [&](LlvmValue i) { store(frame_.scratch, zero, at(to, i), vector_align_); });
  });
}

void ContractEmitter::copy_lines(LlvmValue first, LlvmValue last, LlvmValue from_line) {
  const ContractLines& lines = *plan_.lines_of_a;
  constexpr int64_t at_a_time = 4;
  const int64_t width = plan_.width, size = lines.end - lines.begin, whole = size / (at_a_time * width) * (at_a_time * width);
  const ContractLines::Operand& source = lines.across ? lines.b : lines.a;
  auto stride = [&](int digit) { return lines.across ? lines.digits[digit].b : lines.digits[digit].a; };
  const Buffer& buffer = frame_.inputs[source.argument];
  LlvmValue start = number(source.offset + lines.begin * (lines.across ? lines.apart : 1));
  for (size_t i = 0; i < plan_.axes.size(); ++i)
    if (plan_.axes[i].role == AxisRole::loop && !lines.axes_within[i]) start = add(start, times(index_[i], source.axes[i]));
  for (int i = 0; i < lines.line; ++i) start = add(start, times(digits_[i], stride(i)));
  loop(from_line, last, 1, [&](LlvmValue line) {
    LlvmValue from = at(buffer.pointer, add(start, times(line, stride(lines.line))));
    LlvmValue to = at(scratch_at(lines.lines_offset), add(times(copy_of(line, first), lines.line_stride), number(lines.begin)));
    if (lines.across && lines.channels > 1) {
      for (int64_t x = 0; x < size; x += width)
        for (int64_t c = 0; c < lines.channels; c += width) {
          Values turned = transposed_block(buffer, at(from, x * lines.apart + c), lines.apart, std::min(width, size - x), std::min(width, lines.channels - c));
          for (size_t i = 0; i < turned.size(); ++i) store(frame_.scratch, turned[i], at(to, (c + static_cast<int64_t>(i)) * lines.pitch + x), bytes_);
        }
      return;
    }
    auto copy = [&](LlvmValue place) { store(frame_.scratch, load(buffer, at(from, place), nullptr, bytes_), at(to, place), bytes_); };
    loop(number(0), number(whole), at_a_time * width, [&](LlvmValue i) {
      Values parts;
      for (int64_t k = 0; k < at_a_time; ++k) parts.push_back(load(buffer, at(from, add(i, number(k * width))), nullptr, bytes_));
      for (int64_t k = 0; k < at_a_time; ++k) store(frame_.scratch, parts[k], at(to, add(i, number(k * width))), bytes_);
    });
    if (size < width) {   // few elements: one by one
      for (int64_t i = 0; i < size; ++i) {
        auto* one = b_.CreateAlignedLoad(scalar_, at(from, i), llvm::Align(bytes_));
        describe_access(one, buffer);
        describe_access(b_.CreateAlignedStore(one, at(to, i), llvm::Align(bytes_)), frame_.scratch);
      }
      return;
    }
    for (int64_t i = whole; i < size; i += width) copy(number(std::min(i, size - width)));
  });
}

}  // namespace gradc::codegen
