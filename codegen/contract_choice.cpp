// How the merged loops of a contract are tiled, by an analytic model of a core: register tiles with the fewest cycles, what is packed, in blocks of
// which size, and when the epilogue runs. Nothing here changes a bit of the results.
#include "codegen/contract_choice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "codegen/contract_plan.h"
#include "codegen/plan.h"
#include "codegen/target.h"
#include "ir/check.h"

namespace gradc::codegen {
using namespace ir;

namespace {
int64_t up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

struct Tile {
  std::array<int, 3> heights = {1, 1, 1};
  int vectors = 1;
};

// Cycles that a tile takes for one reduced element: its products, its loads, and the latency of a chain of sums.
double tile_cycles(int rows, int vectors, const Target& target) {
  constexpr double products_per_cycle = 2, loads_per_cycle = 2, latency = 4;
  double products = rows * vectors * (target.fma ? 1 : 2);
  return std::max({products / products_per_cycle, (rows + vectors) / loads_per_cycle, latency});
}

// What tiles have to do with.
struct Room {
  std::vector<std::pair<int64_t, int64_t>> calls;   // rows that are computed at once, and how often
  int64_t lane_vectors;                             // that a call computes
  int registers;                                    // for sums and operands
  int group;                                        // heights above 1 are multiples of it
  int parts;                                        // registers that an operand takes
  int kept = 0;                                     // registers that each row takes besides its sums
};

// All tiles that fit the registers, each with its best second height, those with the fewest cycles first.
std::vector<Tile> rank_tiles(const Room& room, const Target& target) {
  auto cycles = [&](const Tile& tile, int vectors) {
    double sum = 0;
    for (auto [count, times] : room.calls) {
      auto tiles = tile_counts(tile.heights, count);
      for (int i = 0; i < 3; ++i) sum += static_cast<double>(tiles[i] * times) * tile_cycles(tile.heights[i], vectors, target);
    }
    return sum * (1 + 0.02 * (1.0 / tile.heights[0] + 1.0 / vectors));   // the fewer loads a product
  };
  std::vector<std::pair<double, Tile>> all;
  for (int vectors = 1; vectors <= 8 && vectors <= room.lane_vectors; ++vectors)
    for (int height = 1; height <= 16 && height <= room.calls[0].first; ++height) {
      if (height > 1 && height % room.group != 0) continue;
      // A single row's columns are read once: straight from memory, in no register.
      if (height * (vectors + room.kept) + room.parts * (vectors + 1) > room.registers && !(height == 1 && room.parts * (vectors + 1) + 1 <= room.registers)) continue;
      std::pair<double, Tile> best;
      for (int second = 1; second < std::max(height, 2); ++second) {
        if (second > 1 && second % room.group != 0) continue;
        Tile tile{{height, second, 1}, vectors};
        double sum = static_cast<double>(room.lane_vectors / vectors) * cycles(tile, vectors);
        if (int rest = static_cast<int>(room.lane_vectors % vectors)) sum += cycles(tile, rest);
        if (second == 1 || sum < best.first) best = {sum, tile};
      }
      all.push_back(best);
    }
  std::stable_sort(all.begin(), all.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
  std::vector<Tile> tiles;
  for (auto& [sum, tile] : all) tiles.push_back(tile);
  if (tiles.empty()) tiles.emplace_back();   // nothing to compute
  return tiles;
}

constexpr int64_t packed_bytes = 256 << 10;   // of one operand at once: stays in the second-level cache beside the rows
constexpr int64_t second_level_bytes = 1 << 20;
constexpr int64_t epilogue_unrolled = 192;           // instructions up to which an epilogue is repeated for every accumulator

bool transcendental(Op op) {
  constexpr Op ops[] = {Op::exp, Op::log, Op::log1p, Op::sin, Op::cos, Op::tanh, Op::erf, Op::sigmoid, Op::pow};
  return std::find(std::begin(ops), std::end(ops), op) != std::end(ops);
}

constexpr int deferred_registers = 13;   // that an epilogue between products may take

// An update in the epilogue divides, and reads and writes memory: it runs between the products of the next tile, which do neither. On one Zen 4 core,
// with Adam: 784x256 at batch 32 from 78 to 89 GFLOP/s, 1040x1040 at 128 from 85 to 106. Where the weight and its moments are not
// near, their lines are asked for a tile ahead; where they are, that costs more than it brings.
// Below f32 the same brought 0.4% at best (1024x1024 at 512; with tiles of one vector it lost a fifth of a step): there the lines alone are asked for.
constexpr int64_t near_bytes = 4 << 20;
bool updates(const ContractPlan& plan) {
  const auto& in_place = plan.kernel.in_place;
  return plan.form == ContractForm::lanes && !plan.turned && !plan.dynamic_lanes && plan.places(plan.depth) >= 8 && std::any_of(in_place.begin(), in_place.end(), [](int input) { return input >= 0; });
}

// As in the gradient of a weight.
bool rows_adjacent(const ContractPlan& plan) {
  if (!plan.a_access || plan.row_axis < 0) return false;
  size_t row = 0;
  for (int i = 0; i < plan.row_axis; ++i) row += plan.axes[i].role != AxisRole::lanes && plan.axes[i].in_a;
  return plan.a_access->strides[row] == 1;
}

bool contiguous(const std::optional<LinearAccess>& access) { return access && access->strides.back() == 1; }   // along its last axis

// What follows from form, axes and target alone.
struct Facts {
  int64_t bytes;         // of an element
  int64_t rows;          // that a call computes
  Room room;
  bool may_defer, may_prefetch;
  bool must_pack;        // the lane operand
  bool may_pack;
};

Facts facts_of(ContractPlan& plan, const Target& target) {
  Facts facts;
  facts.bytes = element_bytes(plan.element);
  // Rows of a call begin at multiples of the group, unless a call begins within a row index that is not a multiple of it.
  int row_place = plan.row_axis < 0 ? -1 : static_cast<int>(std::count_if(plan.axes.begin(), plan.axes.begin() + plan.row_axis, [](const ContractAxis& axis) { return axis.in_a && axis.role != AxisRole::lanes; }));
  bool rows_blocked = plan.a_access && row_place >= 0 && plan.a_access->blocked == row_place;
  if (rows_blocked && plan.dynamic_rows && plan.kernel.units > plan.rows && plan.rows % ContractPlan::row_group != 0) plan.a_access.reset(), rows_blocked = false;
  int64_t granule = units_at_once(plan.kernel);   // calls come in granules of units
  int64_t call_lanes = plan.turned ? std::min(plan.lanes, granule) : plan.kernel.lane_block > 0 ? plan.kernel.lane_block : plan.lanes;
  facts.rows = std::max<int64_t>(plan.dynamic_rows ? std::min(plan.rows, granule) : plan.rows, 1);
  facts.room.calls = {{facts.rows, plan.rows / facts.rows}};
  if (plan.rows % facts.rows) facts.room.calls.push_back({plan.rows % facts.rows, 1});
  facts.room.lane_vectors = (call_lanes + plan.width - 1) / plan.width;
  facts.room.registers = target.registers - 1 - (target.fma ? 0 : 1);
  facts.room.group = rows_blocked ? ContractPlan::row_group : 1;
  facts.room.parts = plan.precision == Precision::bf16x3 ? 2 : 1;
  plan.amx = plan.pairs() && target.amx;
  plan.a_rows_adjacent = rows_adjacent(plan);
  facts.may_defer = !plan.pairs() && updates(plan) && plan.lanes % plan.width == 0 && target.registers >= 32;
  facts.may_prefetch = facts.may_defer || (plan.pairs() && !plan.amx && updates(plan));
  facts.must_pack = plan.form != ContractForm::batch_lanes && (plan.turned || (plan.pairs() ? !plan.paired : !contiguous(plan.b_access)));
  facts.may_pack = plan.form != ContractForm::batch_lanes && !plan.pairs();
  return facts;
}

// Fewer registers, and one vector, so that every panel is whole.
Room deferred_room(Room room) {
  room.registers -= deferred_registers;
  room.lane_vectors = 1;
  return room;
}

void use(ContractChoice& choice, const Tile& tile) {
  choice.vectors = tile.vectors;
  choice.heights = tile.heights;
}

ContractChoice model_choice(const ContractPlan& plan, const Facts& facts, const Target& target) {
  ContractChoice choice;
  choice.turned = plan.turned;
  choice.deferred = facts.may_defer;
  use(choice, plan.amx ? Tile{{32, 16, 1}, static_cast<int>(std::min<int64_t>(facts.room.lane_vectors, 2))} : rank_tiles(choice.deferred ? deferred_room(facts.room) : facts.room, target).front());
  // Contiguous lanes are read where they are (99% of the peak on Zen 4, where a copy for each 32 rows costs a tenth), unless the rows
  // of a panel, some power of two apart, would fall on few sets of the second-level cache.
  choice.pack_b = facts.must_pack;
  if (!choice.pack_b && facts.may_pack && facts.rows > 2 * choice.heights[0]) {
    int64_t apart = plan.b_access->strides[plan.b_access->strides.size() - 2] * facts.bytes;
    choice.pack_b = (apart & -apart) * plan.depth > second_level_bytes;
  }
  const auto& in_place = plan.kernel.in_place;
  choice.prefetched = facts.may_prefetch && std::count_if(in_place.begin(), in_place.end(), [](int input) { return input >= 0; }) * plan.rows * plan.lanes * facts.bytes > near_bytes;
  return choice;
}

// The rest follows from the choice.
void apply(ContractPlan& plan, const ContractChoice& choice, const Facts& facts, const Target& target) {
  static_cast<ContractChoice&>(plan) = choice;
  const int64_t bytes = facts.bytes;
  bool partial = plan.lanes % plan.width != 0 || (plan.dynamic_lanes && plan.kernel.lane_block % plan.width != 0);
  plan.pack_a = plan.form != ContractForm::batch_lanes && (plan.pairs() || !plan.a_access);
  plan.pack_masked = partial && !target.avx512 && plan.form != ContractForm::batch_lanes && !plan.turned && !plan.pairs();
  int64_t most = std::max<int64_t>(packed_bytes / (plan.panel() * bytes), 64);   // reduced elements of a panel
  int64_t blocks = plan.pack_b || plan.pack_masked ? (plan.depth + most - 1) / most : 1;
  plan.depth_block = blocks <= 1 ? plan.depth : up((plan.depth + blocks - 1) / blocks, 32);
  auto scaled = [&](int64_t block) { return plan.row_block_shift >= 0 ? block << plan.row_block_shift : std::max<int64_t>(block >> -plan.row_block_shift, 1); };
  plan.row_block = plan.rows;
  if (plan.depth_block < plan.depth || plan.deferred) plan.row_block = std::min(plan.rows, up(scaled(64), plan.heights[0]));
  if (plan.turned) {   // of sums that wait to be transposed: whole vectors and whole tiles, about 16 KB
    int64_t unit = std::lcm<int64_t>(plan.heights[0], plan.width);
    plan.depth_block = plan.depth;
    plan.row_block = unit * std::max<int64_t>(1, scaled(16384) / (unit * plan.panel() * bytes));
  }
  if (plan.pack_a && !plan.turned) {
    int64_t rows = std::max<int64_t>(packed_bytes / (std::max<int64_t>(plan.places(plan.depth), 1) * bytes) / plan.heights[0], 1) * plan.heights[0];
    plan.row_block = std::min(plan.row_block, rows);
  }
  plan.deferred = plan.deferred && plan.depth_block >= plan.depth;
  plan.prefetched = plan.prefetched && (plan.deferred || (plan.pairs() && facts.may_prefetch)) && plan.depth_block >= plan.depth;
}

void choose_dot(ContractPlan& plan) {
  plan.heights = {4, 1, 1};
  plan.vectors = 4;   // partial sums of a row
  plan.pack_a = plan.pack_b = plan.pairs() || !contiguous(plan.a_access) || !contiguous(plan.b_access);
  int64_t chunk = plan.width * plan.vectors * (plan.pairs() ? 2 : 1);
  plan.depth_block = std::min<int64_t>(up(plan.depth, chunk), up(4096, chunk));
  plan.row_block = plan.heights[0];
}

constexpr int64_t copied_bytes = 24 << 10, image_bytes = 160 << 10, waiting_bytes = 160 << 10;   // of lines, of all lines of an image, of sums: they stay near

// The last index that units count, if it chooses the lines that a unit reads, next to those of the unit before; -1 if there is no such thing.
int walked_axis(const ContractPlan& plan) {
  const ContractLines& lines = *plan.lines_of_a;
  if (!lines.bordered || lines.guards.size() != 1 || lines.guards[0].step != 1 || plan.dynamic_rows || plan.dynamic_lanes) return -1;
  int last = -1;
  for (size_t i = 0; i < plan.axes.size(); ++i) {
    if (plan.axes[i].role != AxisRole::loop) continue;
    if (!plan.axes[i].outer) return -1;
    last = static_cast<int>(i);
  }
  for (size_t i = 0; i < plan.axes.size(); ++i)
    if ((lines.guards[0].axes[i] != 0) != (static_cast<int>(i) == last)) return -1;
  return last >= 0 && lines.guards[0].axes[last] > 0 ? last : -1;
}

// Of a row whose sums wait in scratch.
int64_t waiting_lanes(const ContractPlan& plan) {
  int64_t lanes = plan.lines_of_a->summed ? plan.lanes * plan.width : up(plan.lanes, plan.width);
  for (const ContractAxis& axis : plan.axes)
    if (axis.role == AxisRole::loop && !axis.outer) lanes *= axis.extent;
  return lanes;
}

// Whether a tile's rows are all there are, and its results a piece of memory: lanes are the last index but one, rows the last.
bool whole_places(const ContractPlan& plan) {
  const int last = static_cast<int>(plan.axes.size()) - 1;
  if (plan.dynamic_lanes || plan.row_axis != last || plan.lane_axis != last - 1 || plan.heights[0] != plan.rows) return false;
  for (size_t i = 0; i < plan.kernel.body.results.size(); ++i) {
    const Type& type = plan.kernel.body.type(plan.kernel.body.results[i].value);
    if (type.element != plan.element || shape_size(type.shape) != shape_size(plan.kernel.domain) || !plan.kernel.result_layout(i).row_major()) return false;
  }
  return true;
}

void choose_lines(ContractPlan& plan, const Target& target) {
  const int64_t bytes = element_bytes(plan.element);
  ContractLines& lines = *plan.lines_of_a;
  Room room{{}, (plan.lanes + plan.width - 1) / plan.width, target.registers - 1 - (target.fma ? 0 : 1), 1, 1};
  const int64_t call = plan.dynamic_rows ? std::min(plan.rows, grain(plan.kernel.units)) : plan.rows;
  room.calls = {{call, plan.rows / call}};
  if (plan.rows % call) room.calls.push_back({plan.rows % call, 1});
  if (plan.dynamic_lanes) room.lane_vectors = 1;   // units begin and end anywhere in a vector
  // A row's element is the next row's a step later: the compiler keeps it until then.
  if (lines.a.depth != 0 && plan.row_axis >= 0 && lines.a.axes[plan.row_axis] == lines.a.depth && !lines.across && !lines.summed && lines.line == 0) room.kept = 1;
  if (lines.summed) room.lane_vectors = plan.lanes, room.registers -= 4;   // a column is a vector; rows are read into registers as well
  use(plan, rank_tiles(room, target).front());
  plan.depth_block = plan.depth, plan.row_block = plan.rows;
  plan.interleaved = lines.across && whole_places(plan);
  const int64_t count = lines.digits[lines.line].extent;
  lines.at_once = count;
  if (lines.bordered && !lines.across) {
    if (lines.summed) lines.line_stride += lines.pitch - plan.depth;   // whole vectors
    lines.line_stride = up(lines.line_stride, 16);
    if (lines.line_stride * bytes % 1024 == 0) lines.line_stride += 16;
    if (lines.line > 0) lines.at_once = std::clamp<int64_t>(copied_bytes / (lines.line_stride * bytes), 1, count);
  }
  if (int axis = walked_axis(plan); lines.line == 0 && axis >= 0 && lines.guards[0].extent * lines.line_stride * bytes <= image_bytes) {
    lines.walks = axis;
    lines.at_once = lines.guards[0].extent;
  }
  if (lines.line > 0) lines.waiting_units = std::clamp<int64_t>(waiting_bytes / (waiting_lanes(plan) * bytes) / 16 * 16, 16, plan.kernel.units);
}

// Where in scratch everything lies that tiles do not keep in registers.
void lay_out_scratch(ContractPlan& plan) {
  const int64_t bytes = element_bytes(plan.element);
  const int parts = plan.precision == Precision::bf16x3 ? 2 : 1;
  int64_t work = 0;   // instructions of the epilogue for one vector, about
  for (const Node& node : plan.kernel.body.nodes)
    if (is_map(node.op)) work += transcendental(node.op) ? 24 : 1;
  plan.epilogue_in_loop = plan.form != ContractForm::dot && !plan.turned && (plan.amx || plan.deferred || work * plan.heights[0] * plan.vectors > epilogue_unrolled);
  auto take = [&](int64_t size) {
    int64_t at = plan.scratch;
    plan.scratch = up(plan.scratch + size, 64);
    return at;
  };
  if (plan.lines_of_a) {
    ContractLines& lines = *plan.lines_of_a;
    if (lines.bordered) lines.lines_offset = take(lines.at_once * lines.line_stride * bytes);
    if (lines.waiting_units > 0) lines.sums_bytes = lines.waiting_units * waiting_lanes(plan) * bytes, lines.sums_offset = take(lines.sums_bytes);
    else if (plan.epilogue_in_loop) plan.tile_offset = take(plan.heights[0] * plan.panel() * bytes);
    if (lines.summed) lines.turned_offset = take(lines.digits[lines.line].extent * plan.lanes * lines.pitch * bytes);
    return;
  }
  auto packed = [&](int64_t& offset, int64_t& low, int64_t elements) {
    offset = take(elements * bytes);
    if (parts == 2) low = (take(elements * bytes) - offset) / bytes;
  };
  if (plan.form == ContractForm::dot) {
    plan.a_row_stride = plan.places(plan.depth_block);
    if (plan.pack_a) {
      packed(plan.b_offset, plan.b_low, plan.places(plan.depth_block));
      packed(plan.a_offset, plan.a_low, plan.heights[0] * plan.a_row_stride);
    }
    return;
  }
  if (plan.pack_b || plan.pack_masked) packed(plan.b_offset, plan.b_low, plan.places(plan.depth_block) * plan.panel());
  plan.a_row_stride = up(plan.places(plan.depth), plan.width);
  if (plan.a_row_stride * bytes % 1024 == 0) plan.a_row_stride += plan.width;
  const int64_t block_rows = plan.amx ? up(plan.row_block, plan.heights[0]) : plan.row_block;
  if (plan.pairs() && !plan.amx && plan.a_rows_adjacent) plan.a_row_stride = 1, plan.a_depth_stride = up(plan.row_block, plan.width);
  if (plan.pack_a) packed(plan.a_offset, plan.a_low, plan.a_row_stride == 1 ? plan.places(plan.depth) * plan.a_depth_stride : block_rows * plan.a_row_stride);
  if (plan.turned || plan.pairs()) plan.turn_offset = take(parts * plan.width * plan.width * bytes);
  if (plan.deferred) plan.pending_offset = take(3 * sizeof(int64_t));
  if (plan.depth_block < plan.depth || plan.turned) plan.tile_offset = take(block_rows * plan.panel() * bytes);
  else if (plan.epilogue_in_loop) plan.tile_offset = take(plan.heights[0] * plan.panel() * bytes);
}

void read_types(ContractPlan& plan, const Target& target) {
  plan.element = plan.kernel.body.type(plan.kernel.hero).element;
  CHECK(plan.element == ElementType::f32 || plan.element == ElementType::f64, "contract of {}", element_name(plan.element));
  plan.width = target.lanes * 4 / static_cast<int>(element_bytes(plan.element));
  CHECK(!plan.pairs() || target.bf16, "{} has no products of bf16", target.name);
}
}  // namespace

void choose_tiles(ContractPlan& plan, const Target& target, const ContractChoice* choice) {
  read_types(plan, target);
  if (plan.form == ContractForm::dot) {
    choose_dot(plan);
  } else if (plan.lines_of_a) {
    choose_lines(plan, target);
  } else {
    Facts facts = facts_of(plan, target);
    apply(plan, choice ? *choice : model_choice(plan, facts, target), facts, target);
  }
  lay_out_scratch(plan);
}

// The model's choice with every other tile that it finds nearly as good, then each of the other questions answered otherwise.
std::vector<ContractChoice> contract_candidates(const Kernel& kernel, const Target& target) {
  constexpr size_t usual_tiles = 8, other_tiles = 3;
  std::vector<ContractChoice> all;
  auto add = [&](ContractChoice choice) {
    choice = plan_contract(kernel, target, &choice);   // not everything goes together
    if (std::find(all.begin(), all.end(), choice) == all.end()) all.push_back(choice);
  };
  ContractPlan usual = plan_contract(kernel, target);
  all.push_back(usual);
  if (usual.form == ContractForm::dot || usual.amx || usual.lines_of_a) return all;
  for (bool turned : {usual.turned, !usual.turned}) {
    // Exchanged operands of bf16x3 have their cross products in another order.
    if (turned != usual.turned && (usual.pairs() || !usual.may_turn)) continue;
    ContractPlan plan = arrange_contract(kernel, target, turned);
    read_types(plan, target);
    const Facts facts = facts_of(plan, target);
    const ContractChoice model = model_choice(plan, facts, target);
    auto with_tiles = [&](ContractChoice choice, size_t count) {
      Room room = facts.room;
      if (choice.deferred) room.registers -= deferred_registers;
      for (const Tile& tile : rank_tiles(room, target)) {
        if (choice.deferred && plan.lanes % (tile.vectors * plan.width) != 0) continue;
        if (count-- == 0) break;
        use(choice, tile);
        add(choice);
      }
    };
    add(model);
    with_tiles(model, turned == usual.turned ? usual_tiles : other_tiles);
    if (facts.may_defer) {
      ContractChoice other = model;
      other.deferred = other.prefetched = false;
      with_tiles(other, other_tiles);
      other = model;
      other.prefetched = !model.prefetched;
      with_tiles(other, 1), add(other);
    }
    if (facts.may_pack && !facts.must_pack) {
      ContractChoice other = model;
      other.pack_b = !model.pack_b;
      with_tiles(other, 2), add(other);
    }
    for (int shift : {-1, 1}) {
      ContractChoice other = model;
      other.row_block_shift = shift;
      ContractPlan with = plan_contract(kernel, target, &other), without = plan_contract(kernel, target, &model);
      if (with.row_block != without.row_block) add(other);
    }
  }
  return all;
}

std::string to_string(const ContractChoice& choice) {
  std::vector<int> heights;
  for (int height : choice.heights)
    if (heights.empty() || heights.back() != height) heights.push_back(height);
  std::string text = fmt::format("{} rows x {} vector{}", fmt::join(heights, ", "), choice.vectors, choice.vectors == 1 ? "" : "s");
  if (choice.turned) text += ", turned";
  if (choice.pack_b) text += ", columns packed";
  if (choice.deferred) text += ", epilogue between products";
  if (choice.prefetched) text += ", prefetched";
  if (choice.row_block_shift) text += choice.row_block_shift > 0 ? ", larger blocks of rows" : ", smaller blocks of rows";
  return text;
}

int64_t second_tiles(const std::array<int, 3>& heights, int64_t remainder) {
  if (heights[1] == 1) return 0;   // the third height serves
  for (int64_t tiles = 0; tiles < heights[0]; ++tiles)
    if ((tiles * heights[1] - remainder) % heights[0] == 0) return tiles;
  return remainder / heights[1];
}

std::array<int64_t, 3> tile_counts(const std::array<int, 3>& heights, int64_t rows) {
  int64_t rest = rows % heights[0], seconds = second_tiles(heights, rest);
  if (seconds * heights[1] > rows) seconds = rest / heights[1];
  int64_t left = rows - seconds * heights[1];
  return {left / heights[0], seconds, left % heights[0]};
}

}  // namespace gradc::codegen
