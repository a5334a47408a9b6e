// Planner: strands in blocks, what is local to a thread, and places in the arena.
#include <algorithm>

#include "codegen/planner.h"
#include "codegen/unit_rows.h"
#include "ir/infer.h"

namespace gradc::codegen {

int64_t Planner::strand_grain(const Strand& s) const {
  constexpr int64_t granules = 16;
  int64_t units = grain(calls[s.calls.front()].kernel);
  const bool mixed = std::any_of(s.calls.begin(), s.calls.end(), [&](int c) { return calls[c].kernel.units != s.units; });
  if (mixed) units = std::max<int64_t>(1, s.units / granules);
  for (int c : s.calls)
    if (calls[c].kernel.parts > 0) units = grain(calls[c].kernel) * s.units / calls[c].kernel.units;
  return units;
}

// By ratio, of two that are as near the smaller one.
static int64_t nearest_divisor(int64_t of, int64_t wanted) {
  int64_t below = wanted, above = wanted;
  while (of % below != 0) --below;
  while (of % above != 0) ++above;
  return above * below < wanted * wanted ? above : below;
}

// Whether a kernel multiplies matrices of which each has its own other one, as attention does.
static bool batched(const Kernel& kernel) {
  if (kernel.form != Form::contract) return false;
  const ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(kernel.body[kernel.hero].attrs.text(Attr::spec)));
  return std::any_of(spec.result.begin(), spec.result.end(), [&](char c) { return spec.a.find(c) != spec.a.npos && spec.b.find(c) != spec.b.npos; });
}

void Planner::choose_blocks() {
  std::vector<std::vector<int>> readers(f.size());
  for (size_t c = 0; c < calls.size(); ++c)
    for (Value v : calls[c].arguments) readers[v.id].push_back(static_cast<int>(c));
  for (const Strand& s : strands) {
    bool wanted = std::any_of(s.calls.begin(), s.calls.end(), [&](int c) { return !calls[c].kernel.tile.empty() || calls[c].kernel.parts > 0 || calls[c].kernel.units != s.units || batched(calls[c].kernel); });
    if (wanted && s.calls.size() > 1) block_strand(s, readers);
  }
}

void Planner::block_strand(const Strand& s, const std::vector<std::vector<int>>& readers) {
  constexpr uint64_t near = 384 << 10;   // bytes that calls hand to each other at a time: beside weights in a second-level cache of 1 MB
  constexpr int64_t least = 16, multiple = 16;
  const std::vector<int> order = order_of(s);
  auto place_of = [&](int c) { return static_cast<int>(std::find(order.begin(), order.end(), c) - order.begin()); };
  uint64_t handed = 0;
  std::vector<Value> values;
  std::vector<Lifetime> lives;
  for (int c : order)
    for (Value v : calls[c].results) {
      const bool by_rows = layout[v.id].row_major() && (written_by_rows(c, v) || written_in_runs(c, v, s.units));
      const auto& readers_of = readers[v.id];
      auto here = [&](int reader) { return strand[reader] == strand[c] && reads_by_rows(reader, v); };
      if (!by_rows || std::none_of(readers_of.begin(), readers_of.end(), here)) continue;
      const uint64_t unit_bytes = stored_bytes(f.type(v), {}) / s.units;
      handed += unit_bytes;
      const bool result = std::any_of(f.results.begin(), f.results.end(), [&](const Result& r) { return r.value == v; });
      if (result || placed[v.id] || unit_bytes == 0 || !written_by_rows(c, v) || !std::all_of(readers_of.begin(), readers_of.end(), here)) continue;
      int last = 0;
      for (int reader : readers_of) last = std::max(last, place_of(reader));
      values.push_back(v);
      lives.push_back({unit_bytes, place_of(c), last});
    }
  if (handed == 0) return;
  const int64_t granule = strand_grain(s);
  const bool mixed = std::any_of(s.calls.begin(), s.calls.end(), [&](int c) { return calls[c].kernel.units != s.units; });
  const int64_t fit = static_cast<int64_t>(near / handed);
  int64_t block = std::min(granule, mixed ? std::max<int64_t>(fit, 1) : std::max(least, fit / multiple * multiple));
  // A thread may take several granules at once. A kernel that sums in parts, each as large as a granule, sees units of one part at a time all the same.
  if (std::any_of(s.calls.begin(), s.calls.end(), [&](int c) { return calls[c].kernel.parts > 0; })) block = nearest_divisor(granule, block);
  for (int c : s.calls) calls[c].kernel.block = block * (calls[c].kernel.units / s.units);
  for (Lifetime& life : lives) life.bytes *= static_cast<uint64_t>(block);
  ArenaPlan places = plan_arena(lives);
  for (size_t i = 0; i < values.size(); ++i) {
    put(values[i], program::Space::local, places.offsets[i]);
    local.insert(values[i]);
  }
  local_bytes = std::max(local_bytes, places.bytes);
}

void Planner::place_values() {
  position.resize(calls.size());
  for (const Strand& s : strands) {
    std::vector<int> order = order_of(s);
    for (size_t i = 0; i < order.size(); ++i) position[order[i]] = static_cast<int>(i);
  }
  std::vector<std::vector<int>> readers(f.size());
  for (size_t c = 0; c < calls.size(); ++c)
    for (Value v : calls[c].arguments) readers[v.id].push_back(static_cast<int>(c));
  std::vector<bool> kept(f.size());   // until the end: callers read it
  for (const Result& r : f.results) kept[r.value.id] = kept[r.value.id] || !r.write;
  std::vector<Value> values;
  std::vector<Lifetime> lifetimes;
  for (uint32_t i = 0; i < f.size(); ++i) {
    const Node& node = f.nodes[i];
    if (node.op == Op::variable) put(Value{i}, program::Space::variables, variable_at.at(node.attrs.text(Attr::name)));
    if (node.op == Op::literal && (kept[i] || !readers[i].empty())) put(Value{i}, program::Space::constants, add_constant(node, program.constants));
    if ((node.op != Op::input && (producer[i] < 0 || placed[i])) || outside.count(Value{i}) || placed_by_loop(Value{i})) continue;
    values.push_back(Value{i});
    lifetimes.push_back(lifetime(Value{i}, readers[i], kept[i]));
  }
  place_carries(lifetimes, readers, kept);
  arena = plan_arena(lifetimes);
  for (size_t i = 0; i < values.size(); ++i) {
    put(values[i], program::Space::arena, arena.offsets[i]);
    notes.buffers.push_back({values[i], lifetimes[i], arena.offsets[i]});
  }
  take_carries({arena.offsets.begin() + static_cast<int64_t>(values.size()), arena.offsets.end()});
}

Lifetime Planner::lifetime(Value v, const std::vector<int>& readers, bool kept) const {
  int writer = producer[v.id];
  Lifetime life{stored_bytes(f.type(v), layout[v.id]), writer < 0 ? -1 : phase[writer], writer < 0 ? 0 : phase[writer]};
  for (int c : readers) life.last = std::max(life.last, phase[c]);
  if (kept) life.last = last_phase();
  life.row_bytes = row_bytes(v);
  life.rows = f.type(v).rank() > 0 ? f.type(v).shape[0] : 0;
  if (writer >= 0 && written_by_rows(writer, v) && f.type(v).shape[0] == calls[writer].kernel.units) life.written = {strand[writer], position[writer]};
  if (kept || life.row_bytes == 0) return life;
  if (life.first == life.last) life.read = life.written;   // should nobody read it
  bool any = life.first == life.last;
  for (int c : readers) {
    if (phase[c] != life.last) continue;
    if ((any && life.read.strand != strand[c]) || f.type(v).shape[0] != calls[c].kernel.units || !reads_by_rows(c, v)) {
      life.read = {};
      break;
    }
    life.read = {strand[c], any ? std::max(life.read.call, position[c]) : position[c]};
    any = true;
  }
  return life;
}

uint64_t Planner::row_bytes(Value v) const {
  const Type& type = f.type(v);
  if (type.rank() == 0 || type.shape[0] < 2) return 0;
  uint64_t bytes = element_bytes(type.element);
  if (layout[v.id].row_major()) return type.bytes() / type.shape[0];
  const std::vector<LayoutDigit>& digits = layout[v.id].digits;
  for (size_t i = digits.size(); i-- > 0;) {
    if (digits[i].axis == 0) return digits[i] == LayoutDigit{0, 1, type.shape[0]} ? bytes : 0;
    bytes *= digits[i].extent;
  }
  return 0;
}

}  // namespace gradc::codegen
