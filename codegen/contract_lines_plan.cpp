// The direct form of a convolution: which indices of windows are rows, the reduced index and loops, so that nothing is packed but a line with zeros at its ends.
//
// An operand made of windows is no matrix: element (n, i, j; u, v, c) lies at n * image + (i s + u d) * line + (j s + v d) * C + c, so
// neighbouring indices merge where their strides allow it (v and c, if d = 1), and the others stay loops: of the result, around the tiles, or of the sum
// (digits), around the reduced index with the sums in registers. A sum takes its terms in the order of its indices as ever.
//
//                          rows      reduced    digits         loops
//   forward                j         v, c       u              n, i
//   gradient of weights    v, c      j          n, i           u
//   few filters            k         c          u, v           n, i          lanes along j
//     gradient of those    v         j          n, i           u             lanes along j, added up at the end
//
// Padding: lines above and below the image are left out (they would add zeros); the ends of a line are no matter of the inner loops, which
// read a copy of the line with zeros around it. A line is copied once for all filters and rows that read it.
#include <algorithm>
#include <optional>

#include "codegen/contract_roles.h"
#include "codegen/target.h"
#include "ir/check.h"

namespace gradc::codegen {
using namespace ir;

namespace {
constexpr int64_t fewest_rows = 7;   // of a line; below that rows of several lines are packed together

class Arranger {
 public:
  explicit Arranger(const Kernel& kernel) : kernel_(kernel) {}

  // `across`: with lanes along the lines of windows.
  std::optional<ContractPlan> run(bool across) {
    across_ = across;
    roles_ = read_roles(kernel_);
    ContractPlan plan;
    plan.form = choose_form(kernel_, roles_, false);
    if (plan.form != ContractForm::lanes || roles_.reduced.empty() || kernel_.lane_block > 0) return std::nullopt;
    auto a = linear_access(kernel_, roles_.a, true), b = linear_access(kernel_, roles_.b);
    if (!a || !b || a->blocked >= 0 || b->blocked >= 0) return std::nullopt;
    a_ = *a, b_ = *b;
    if (!find_border() || !(across ? group_across() : group())) return std::nullopt;
    Roles roles = roles_;
    if (across) roles.swap();
    merge_indices(kernel_, roles, groups_, reduced_, plan);
    if (plan.lane_axis < 0 || plan.row_axis < 0 || (plan.dynamic_lanes && !across) || plan.depth == 0 || plan.rows == 0) return std::nullopt;
    ContractLines lines;
    if (!describe(lines)) return std::nullopt;
    plan.lines_of_a = std::move(lines);
    return plan;
  }

 private:
  const Kernel& kernel_;
  bool across_ = false;
  Roles roles_;
  LinearAccess a_, b_;
  const LinearAccess::Guard* border_ = nullptr;   // of the ends of lines
  std::vector<const LinearAccess::Guard*> guards_;   // of whole lines
  int64_t along_ = 0;                             // elements between neighbours along a line
  std::vector<Group> groups_;
  std::vector<std::string> reduced_;

  int64_t a_stride(char c) const { return has(roles_.spec.a, c) ? a_.strides[roles_.spec.a.find(c)] : 0; }
  int64_t b_stride(char c) const { return has(roles_.spec.b, c) ? b_.strides[roles_.spec.b.find(c)] : 0; }
  int64_t step(const LinearAccess::Guard& guard, char c) const { return has(roles_.spec.a, c) ? guard.strides[roles_.spec.a.find(c)] : 0; }
  int64_t extent(char c) const { return roles_.extent.at(c); }
  bool guarded(char c) const {
    return std::any_of(guards_.begin(), guards_.end(), [&](const auto* guard) { return step(*guard, c) != 0; });
  }
  bool within(char c) const { return border_ && step(*border_, c) != 0; }

  // The guard that rows or the reduced index move along, if there is one: theirs are the last letters.
  bool find_border() {
    char row = '\0', reduced = '\0';
    for (char c : roles_.result)
      if (roles_.only_a(c)) row = c;
    for (char c : roles_.reduced)
      if (extent(c) > 1) reduced = c;
    for (const LinearAccess::Guard& guard : a_.guards) {
      bool moves = (row && step(guard, row) != 0) || (reduced && step(guard, reduced) != 0);
      if (!moves) guards_.push_back(&guard);
      else if (border_) return false;
      else border_ = &guard;
    }
    if (!border_) return true;
    for (char c : roles_.spec.a) {
      int64_t steps = step(*border_, c), stride = a_stride(c);
      if (steps == 0) continue;
      if (steps < 0 || stride % steps != 0 || stride <= 0 || (along_ != 0 && stride / steps != along_) || guarded(c)) return false;
      along_ = stride / steps;
    }
    return along_ > 0;
  }

  // Rows: a run of letters that a alone has and that one stride walks; lanes: contiguous ones of b; reduced: the last that one stride walks in both, each
  // of the others by itself.
  bool group() {
    const std::string& letters = roles_.result;
    size_t size = letters.size(), outer = roles_.outer;
    std::vector<AxisRole> role(size, AxisRole::loop);
    // Through a copied line rows and the reduced index alone move.
    auto joins = [&](char c, char next, bool tiled) {
      if (guarded(c) || guarded(next)) return false;
      return tiled ? !border_ || within(c) || a_stride(c) < along_ : !within(c) && !within(next);
    };
    size_t lane = size;
    while (lane > (size > outer ? outer : 0) && roles_.only_b(letters[lane - 1]) &&
           b_stride(letters[lane - 1]) == (lane == size ? 1 : b_stride(letters[lane]) * extent(letters[lane])))
      role[--lane] = AxisRole::lanes;
    if (lane == size) return false;
    auto mark_rows = [&](size_t end, size_t limit) {
      size_t i = end;
      while (i > limit && role[i - 1] == AxisRole::loop && roles_.only_a(letters[i - 1]) && !guarded(letters[i - 1]) &&
             (i == end || (a_stride(letters[i - 1]) == a_stride(letters[i]) * extent(letters[i]) && joins(letters[i - 1], letters[i], true))))
        role[--i] = AxisRole::rows;
      return i < end;
    };
    bool found = mark_rows(std::min(outer, lane), 0);
    for (size_t end = lane; !found && end > outer; --end) found = mark_rows(end, outer);
    if (!found) return false;
    for (size_t i = 0; i < size; ++i) {
      bool merges = i > 0 && role[i] != AxisRole::loop && role[i] == role[i - 1];
      if (!merges) groups_.push_back({"", role[i], i < outer});
      groups_.back().letters += letters[i];
    }
    for (size_t i = roles_.reduced.size(); i-- > 0;) {
      char c = roles_.reduced[i];
      if (extent(c) == 1) continue;
      bool first = reduced_.empty(), merges = false;
      if (!first) {
        char next = reduced_.front().front();
        merges = a_stride(c) == a_stride(next) * extent(next) && b_stride(c) == b_stride(next) * extent(next) && joins(c, next, reduced_.size() == 1);
      }
      if (first && guarded(c)) return false;
      if (merges) reduced_.front().insert(reduced_.front().begin(), c);
      else reduced_.insert(reduced_.begin(), std::string(1, c));
    }
    return !reduced_.empty();
  }

  // Lanes: the last index of a, along the line; rows: a run of b's. What the copy turns round takes no part in merging.
  bool group_across() {
    const std::string& letters = roles_.result;
    if (!border_) return false;
    size_t lane = letters.size(), row = letters.size();
    for (size_t i = 0; i < letters.size(); ++i)
      if (roles_.only_a(letters[i])) lane = i;
    if (lane == letters.size() || step(*border_, letters[lane]) != 1 || (lane < roles_.outer && lane + 1 != roles_.outer)) return false;
    while (row > lane + 1 && row > roles_.outer && roles_.only_b(letters[row - 1]) && (row == letters.size() || b_stride(letters[row - 1]) == b_stride(letters[row]) * extent(letters[row]))) --row;
    if (row == letters.size()) return false;
    for (size_t i = 0; i < letters.size(); ++i) {
      if (i > row) {
        groups_.back().letters += letters[i];
        continue;
      }
      groups_.push_back({std::string(1, letters[i]), i == lane ? AxisRole::lanes : i == row ? AxisRole::rows : AxisRole::loop, i < roles_.outer});
    }
    for (char c : roles_.reduced)
      if (extent(c) > 1) reduced_.emplace_back(1, c);
    if (reduced_.empty() || guarded(reduced_.back()[0])) return false;
    char last = reduced_.back()[0];
    return within(last) ? along_ == 1 : a_stride(last) == 1;
  }

  bool describe(ContractLines& lines) const {
    lines.a = {argument_number(kernel_.body[a_.input]), a_.offset, {}, a_stride(reduced_.back().back())};
    lines.b = {argument_number(kernel_.body[b_.input]), b_.offset, {}, b_stride(reduced_.back().back())};
    for (const Group& group : groups_) {
      lines.a.axes.push_back(a_stride(group.letters.back()));
      lines.b.axes.push_back(b_stride(group.letters.back()));
      lines.axes_within.push_back(within(group.letters.back()) || (group.role == AxisRole::rows && !across_));
      if (group.role == AxisRole::loop && group.letters.size() != 1) return false;
    }
    for (size_t i = 0; i + 1 < reduced_.size(); ++i) {
      int64_t all = 1;
      for (char c : reduced_[i]) all *= extent(c);
      lines.digits.push_back({all, a_stride(reduced_[i].back()), b_stride(reduced_[i].back())});
      lines.digits_within.push_back(within(reduced_[i].back()));
    }
    // Lines are counted by the last digit that does not move along them.
    auto across = std::find(lines.digits_within.rbegin(), lines.digits_within.rend(), false);
    lines.line = static_cast<int>(lines.digits_within.rend() - across) - 1;
    if (lines.line < 0) {
      lines.digits.insert(lines.digits.begin(), {1, 0, 0});
      lines.digits_within.insert(lines.digits_within.begin(), false);
      lines.line = 0;
    }
    if (std::count(lines.digits_within.begin(), lines.digits_within.begin() + lines.line, true)) return false;
    const int first = static_cast<int>(lines.digits.size() - (reduced_.size() - 1));
    for (const LinearAccess::Guard* guard : guards_) {
      ContractLines::Guard made{guard->offset, guard->extent, {}, -1, 0};
      for (const Group& group : groups_) made.axes.push_back(group.letters.size() == 1 ? step(*guard, group.letters[0]) : 0);
      for (size_t i = 0; i + 1 < reduced_.size(); ++i) {
        int64_t by = step(*guard, reduced_[i].back());
        if (by == 0) continue;
        if (by < 0 || made.digit >= 0 || reduced_[i].size() != 1) return false;
        made.digit = static_cast<int>(i) + first, made.step = by;
      }
      if (made.digit != lines.line) return false;
      lines.guards.push_back(std::move(made));
    }
    if (across_) return describe_across(lines);
    return !border_ || describe_border(lines);
  }

  // Each channel's places on the line from the first that is asked for, with room for whole vectors at the end.
  bool describe_across(ContractLines& lines) const {
    constexpr int64_t vector = 16;
    auto up = [](int64_t value) { return (value + vector - 1) / vector * vector; };
    const char last = reduced_.back()[0];
    int64_t places = 1;
    for (char c : roles_.spec.a)
      if (within(c)) places += step(*border_, c) * (extent(c) - 1);
    lines.bordered = lines.across = true;
    lines.begin = std::clamp<int64_t>(-border_->offset, 0, places);
    lines.end = std::clamp<int64_t>(border_->extent - border_->offset, lines.begin, places);
    lines.channels = within(last) ? 1 : extent(last);
    lines.pitch = up(std::max(lines.begin + up(lines.end - lines.begin), places + vector));
    lines.line_stride = lines.channels * lines.pitch;
    lines.apart = along_;
    for (size_t i = 0; i < groups_.size(); ++i)
      if (within(groups_[i].letters.back())) lines.a.axes[i] = step(*border_, groups_[i].letters.back());
    const size_t first = lines.digits.size() - (reduced_.size() - 1);
    for (size_t i = 0; i + 1 < reduced_.size(); ++i)
      if (within(reduced_[i][0])) lines.digits[i + first].a = step(*border_, reduced_[i][0]);
    lines.a.depth = within(last) ? step(*border_, last) : lines.pitch;
    std::swap(lines.a, lines.b);
    for (ContractLines::Digit& digit : lines.digits) std::swap(digit.a, digit.b);
    return true;
  }

  // A copied line begins where all indices that move along it are 0.
  bool describe_border(ContractLines& lines) const {
    int64_t most = border_->offset, inside = 1;   // the last place that is asked for, and the elements there
    for (char c : roles_.spec.a) {
      if (within(c)) {
        most += step(*border_, c) * (extent(c) - 1);
        continue;
      }
      bool tiled = has(reduced_.back(), c) || std::any_of(groups_.begin(), groups_.end(), [&](const Group& g) { return g.role == AxisRole::rows && has(g.letters, c); });
      if (!tiled) continue;
      if (a_stride(c) < 0) return false;
      inside += a_stride(c) * (extent(c) - 1);
    }
    if (inside > along_) return false;
    // Rows and the reduced index move through the copy, whose places are those of the source but for digits and loops that choose the line.
    int64_t length = (most - border_->offset) * along_ + inside;
    lines.bordered = true;
    lines.begin = std::clamp<int64_t>(-border_->offset * along_, 0, length);
    lines.end = std::clamp<int64_t>((border_->extent - 1 - border_->offset) * along_ + inside, lines.begin, length);
    lines.line_stride = length;
    return true;
  }
};
}  // namespace

namespace {
// Sums of few columns along lines whose elements are neighbours in a, columns in b: lanes along the line if that fills them better.
bool sum_along_lines(const ContractPlan& plan, int width) {
  constexpr int64_t most_columns = 8, turned_bytes = 48 << 10;
  const ContractLines& lines = *plan.lines_of_a;
  auto up = [&](int64_t value) { return (value + width - 1) / width * width; };
  auto full = [&](int64_t lanes) { return static_cast<double>(lanes) / static_cast<double>(up(lanes)); };
  for (size_t i = 0; i < plan.axes.size(); ++i)
    if ((lines.b.axes[i] != 0 && static_cast<int>(i) != plan.lane_axis) || (plan.axes[i].role == AxisRole::loop && !plan.axes[i].outer)) return false;
  return lines.line > 0 && lines.line + 1 == static_cast<int>(lines.digits.size()) && lines.bordered && lines.a.depth == 1 && lines.b.depth == plan.lanes &&
         plan.lanes <= most_columns && full(plan.depth) > 1.5 * full(plan.lanes) &&
         lines.digits[lines.line].extent * plan.lanes * up(plan.depth) * 4 <= turned_bytes;
}
}  // namespace

std::optional<ContractPlan> arrange_lines(const Kernel& kernel, const Target& target) {
  const Node& hero = kernel.body[kernel.hero];
  if (contract_precision(hero.attrs) != Precision::f32) return std::nullopt;
  const int width = target.lanes * 4 / static_cast<int>(element_bytes(kernel.body.type(kernel.hero).element));
  auto plan = Arranger(kernel).run(false);
  // Lanes that are empty, against those at the end of lines and stores to places apart.
  if (target.avx512 && plan && plan->lanes % width != 0)
    if (auto across = Arranger(kernel).run(true)) {
      auto full = [&](int64_t lanes) { return static_cast<double>(lanes) / static_cast<double>((lanes + width - 1) / width * width); };
      if (across->lines_of_a->line == 0 && full(across->lanes) > 1.25 * full(plan->lanes)) return across;
    }
  if (!plan) return std::nullopt;
  // Masks of lanes take too long where they are no registers of their own; the ends of rows are packed there.
  if (!target.avx512 && plan->lanes % width != 0) return std::nullopt;
  if (plan->lines_of_a->line > 0 && !plan->dynamic_rows) return std::nullopt;
  if (plan->lines_of_a->line == 0 && plan->rows < fewest_rows) return std::nullopt;
  if (target.avx512 && sum_along_lines(*plan, width)) {
    plan->lines_of_a->summed = true;
    plan->lines_of_a->pitch = (plan->depth + width - 1) / width * width;
  }
  return plan;
}

}  // namespace gradc::codegen
