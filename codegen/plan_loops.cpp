// Planner: loops. A loop has phases of its own, between two barriers: those of its round, which the runtime runs again and again (Entry.loops). What is another
// piece of memory in each round is an argument with a move: slices and outputs go through a stack from end to end, a carry goes to and fro between two places. If
// an output is a carry itself, that carry has a place for each round, and one more, which is the stack: nothing is copied.
//
// Memory. Operands and outputs live for the whole loop, so does a carry's place, from its first value to the last reader of its last one. All else that a round
// computes lies in a region of the arena that lives while the loop runs.
#include <algorithm>
#include <numeric>

#include "codegen/planner.h"

namespace gradc::codegen {

struct Planner::Rounds {
  LoopCall& loop;
  Planner planner;
  std::vector<Value> inputs;    // of the body
  struct Carry {
    bool stacked;               // a place for each round
    uint64_t bytes;             // of one place
    uint64_t offset = 0;
  };
  std::vector<Carry> carries;
  uint64_t region = 0;

  int64_t places(const Carry& carry) const { return carry.stacked ? loop.length + 1 : 2; }
  // Which place a carry is in when round 0 begins, and after the last round.
  int64_t first(const Carry& carry) const { return carry.stacked && loop.backward ? loop.length : 0; }
  int64_t last(const Carry& carry) const { return !carry.stacked ? loop.length % 2 : loop.backward ? 0 : loop.length; }
  // The carry that an output of the body is, as the round begins or as it ends; -1 if none.
  int64_t carry_of(int64_t result, bool& ends) const {
    if (result < loop.carries) return -1;
    for (int64_t c = 0; c < loop.carries; ++c) {
      ends = loop.body.results[result].value == loop.body.results[c].value;
      if (ends || loop.body.results[result].value == inputs[c]) return c;
    }
    return -1;
  }
};

// A phase with loops becomes several: what is no loop, then the loops one after the other.
void Planner::separate_loops() {
  int added = 0;
  std::vector<int> first;   // per old phase: the new one
  std::vector<std::vector<EntryNotes::Barrier>> barriers;
  const int phases = calls.empty() ? 0 : last_phase() + 1;
  for (int p = 0; p < phases; ++p) {
    bool plain = std::any_of(strands.begin(), strands.end(), [&](const Strand& s) { return s.phase == p && !s.calls.empty() && !calls[s.calls.front()].loop; });
    first.push_back(p + added);
    int next = p + added + plain;
    for (size_t c = 0; c < calls.size(); ++c)
      if (calls[c].loop && phase[c] == p) strands[strand[c]].phase = -1 - next++;   // marked: new already
    added = std::max(next - 1 - p, added);
  }
  for (Strand& s : strands) {
    s.phase = s.phase < 0 ? -1 - s.phase : first[s.phase];
    for (int c : s.calls) phase[c] = s.phase;
  }
  for (auto& of : std::exchange(notes.barriers, {}))
    for (EntryNotes::Barrier& barrier : of) {
      const size_t at = static_cast<size_t>(phase[barrier.later]);
      if (notes.barriers.size() <= at) notes.barriers.resize(at + 1);
      notes.barriers[at].push_back(std::move(barrier));
    }
}

void Planner::plan_rounds() {
  for (size_t c = 0; c < calls.size(); ++c) {
    if (!calls[c].loop) continue;
    LoopCall& loop = *calls[c].loop;
    auto made = std::make_shared<Rounds>(Rounds{loop, Planner{module, loop.body, loop.calls, kernels, program}, loop.body.inputs(), {}});
    Planner& inner = made->planner;
    inner.body_of = calls[c].loop;
    inner.variable_at = variable_at;
    inner.variable_layout = variable_layout;
    inner.outside = {made->inputs.begin(), made->inputs.end()};
    for (int64_t r = 0; r < static_cast<int64_t>(loop.body.results.size()); ++r)   // outputs that nobody reads are for a round
      if (r < loop.carries || std::find(loop.results.begin(), loop.results.end(), r) != loop.results.end()) inner.outside.insert(loop.body.results[r].value);
    // A capture lies as it does outside.
    inner.layout.resize(loop.body.size());
    for (size_t k = 0; k < made->inputs.size(); ++k) inner.layout[made->inputs[k].id] = layout[calls[c].arguments[k].id];
    inner.plan();
    for (int64_t k = 0; k < loop.carries; ++k) {
      bool stacked = false, ends;
      for (int64_t r : loop.results) stacked = stacked || made->carry_of(r, ends) == k;
      const uint64_t bytes = stored_bytes(loop.body.type(made->inputs[k]), {});
      made->carries.push_back({stacked, stacked ? bytes : aligned(bytes)});
    }
    rounds[static_cast<int>(c)] = std::move(made);
  }
}

// Values that lie where a carry does: its first value, its last one, stacks of it.
bool Planner::placed_by_loop(Value v) const {
  for (const auto& [c, of] : rounds) {
    const KernelCall& call = calls[c];
    for (int64_t k = 0; k < of->loop.carries; ++k)
      if (call.arguments[k] == v) return true;
    bool ends;
    for (size_t r = 0; r < call.results.size(); ++r)
      if (call.results[r] == v && (of->loop.results[r] < of->loop.carries || of->carry_of(of->loop.results[r], ends) >= 0)) return true;
  }
  return false;
}

void Planner::place_carries(std::vector<Lifetime>& lifetimes, const std::vector<std::vector<int>>& readers, const std::vector<bool>& kept) {
  for (const auto& [c, of] : rounds) {
    const KernelCall& call = calls[c];
    for (int64_t k = 0; k < of->loop.carries; ++k) {
      const Rounds::Carry& carry = of->carries[k];
      Lifetime life{carry.bytes * static_cast<uint64_t>(of->places(carry)), phase[producer[call.arguments[k].id]], phase[c]};
      for (size_t r = 0; r < call.results.size(); ++r) {
        const int64_t result = of->loop.results[r];
        bool ends;
        if (result != k && of->carry_of(result, ends) != k) continue;
        for (int reader : readers[call.results[r].id]) life.last = std::max(life.last, phase[reader]);
        if (kept[call.results[r].id]) life.last = last_phase();
      }
      lifetimes.push_back(life);
    }
    lifetimes.push_back({of->planner.arena.bytes, phase[c], phase[c]});
  }
}

void Planner::take_carries(const std::vector<uint64_t>& offsets) {
  size_t next = 0;
  for (const auto& [c, of] : rounds) {
    const KernelCall& call = calls[c];
    for (int64_t k = 0; k < of->loop.carries; ++k) {
      Rounds::Carry& carry = of->carries[k];
      carry.offset = offsets[next++];
      put(call.arguments[k], program::Space::arena, carry.offset + carry.bytes * static_cast<uint64_t>(of->first(carry)));
      for (size_t r = 0; r < call.results.size(); ++r) {
        const int64_t result = of->loop.results[r];
        bool ends = false;
        if (result == k) put(call.results[r], program::Space::arena, carry.offset + carry.bytes * static_cast<uint64_t>(of->last(carry)));
        else if (of->carry_of(result, ends) == k) put(call.results[r], program::Space::arena, carry.offset + (ends != of->loop.backward ? carry.bytes : 0));
      }
    }
    of->region = offsets[next++];
  }
}

void Planner::move(uint64_t bytes) {
  if (bytes == 0) return;
  for (uint32_t i = 0; i < place.size(); ++i)
    if (placed[i] && place[i].space() == program::Space::arena && !outside.count(Value{i})) place[i] = program::Place(program::Space::arena, place[i].offset() + bytes);
  for (const auto& [c, of] : rounds) {
    of->region += bytes;
    for (Rounds::Carry& carry : of->carries) carry.offset += bytes;
  }
}

void Planner::emit_rounds(int c, program::EntryT& entry) {
  Rounds& of = *rounds.at(c);
  const KernelCall& call = calls[c];
  const LoopCall& loop = of.loop;
  Planner& inner = of.planner;
  inner.listing = listing;
  inner.move(of.region);
  const uint32_t id = static_cast<uint32_t>(entry.loops.size());
  entry.loops.push_back(std::make_unique<program::LoopT>());
  entry.loops[id]->begin = static_cast<uint32_t>(entry.phases.size());
  entry.loops[id]->rounds = static_cast<uint64_t>(loop.length);
  entry.loops[id]->name = loop.body.name;

  // `from`: a value of this planner that lies there, and moves with it in loops around.
  auto lies = [&](Value v, program::Place at, int64_t stride, bool alternate, Value from) {
    inner.put(v, at.space(), at.offset());
    auto around = from.valid() ? steps.find(from) : steps.end();
    std::vector<Step>& list = inner.steps[v];
    if (around != steps.end()) list = around->second;
    if (stride != 0) list.push_back({id, stride, alternate});
    if (list.empty()) inner.steps.erase(v);
  };
  auto through = [&](Value v, Value stack) {   // from one end of the stack to the other
    const int64_t bytes = loop.body.type(v).bytes();
    program::Place at = place[stack.id];
    if (loop.backward) at = program::Place(at.space(), at.offset() + static_cast<uint64_t>(bytes * (loop.length - 1)));
    lies(v, at, loop.backward ? -bytes : bytes, false, stack);
  };
  for (size_t k = 0; k < of.inputs.size(); ++k) {
    const Value operand = call.arguments[k];
    if (static_cast<int64_t>(k) < loop.carries) continue;
    if (static_cast<int64_t>(k) < loop.carries + loop.slices) through(of.inputs[k], operand);
    else lies(of.inputs[k], place[operand.id], 0, false, operand);
  }
  for (int64_t k = 0; k < loop.carries; ++k) {
    const Rounds::Carry& carry = of.carries[k];
    const int64_t bytes = static_cast<int64_t>(carry.bytes), step = carry.stacked && loop.backward ? -bytes : bytes;
    const uint64_t begins = carry.offset + carry.bytes * static_cast<uint64_t>(of.first(carry));
    lies(of.inputs[k], program::Place(program::Space::arena, begins), step, !carry.stacked, {});
    lies(loop.body.results[k].value, program::Place(program::Space::arena, begins + static_cast<uint64_t>(step)), carry.stacked ? step : -step, !carry.stacked, {});
  }
  bool ends;
  for (int64_t r = loop.carries; r < static_cast<int64_t>(loop.body.results.size()); ++r) {
    if (of.carry_of(r, ends) >= 0) continue;
    auto read = std::find(loop.results.begin(), loop.results.end(), r);
    if (read != loop.results.end()) through(loop.body.results[r].value, call.results[read - loop.results.begin()]);
  }
  inner.emit_phases(entry);
  entry.loops[id]->end = static_cast<uint32_t>(entry.phases.size());
}

}  // namespace gradc::codegen
