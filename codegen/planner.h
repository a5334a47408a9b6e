// The planner of one entry, in four files: plan.cpp (what comes before what, phases and strands), plan_places.cpp (blocks and memory), plan_loops.cpp (the rounds of
// loops: planners of their own), plan_emit.cpp (the program's tables). Internal to them; plan.h is what others see.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "codegen/memory_plan.h"
#include "codegen/plan.h"

namespace gradc::codegen {

using namespace ir;   // of this header's three users

uint64_t stored_bytes(const Type&, const Layout&);
std::unique_ptr<program::TensorTypeT> schema_type(const Type&, const Layout& = {});

struct Planner {
  const Module& module;
  const Function& f;
  std::vector<KernelCall> calls;
  KernelTable& kernels;
  program::ProgramT& program;

  std::vector<int> producer;                     // per value: the call that computes it, or -1
  std::vector<Layout> layout;                    // per value
  std::map<std::string, uint64_t> variable_at;   // offsets
  std::map<std::string, Layout> variable_layout;
  std::vector<std::set<int>> after;              // per call: calls that come before it
  std::vector<std::map<int, std::string>> apart; // per call: those of them that a barrier must separate from it, and why
  std::vector<int> phase, strand;                // per call
  std::vector<program::Place> place;             // per value
  std::vector<bool> placed;
  struct Strand {
    int phase;
    int64_t units;   // that all of its calls have, or a multiple of them
    std::vector<int> calls;
  };
  std::vector<Strand> strands;
  EntryNotes notes;               // by phase and call of this planner
  EntryNotes* listing = nullptr;  // of the entry, as it lists them
  EntryNotes run();
  void plan();
  void index();
  void add_dependencies();
  bool comes_after(int later, int earlier) const;
  bool reads_variable(const KernelCall& call, const std::string& name) const;
  void put(Value v, program::Space space, uint64_t offset);
  void write_in_place();
  void separate(int earlier, int later, std::string why);
  static std::string overwrites(const std::string& name);
  static constexpr const char* waits_for_loss = "waits for the loss: one that is not finite must lose nothing";
  // Orders all readers of the old value before the writer; false if that cannot be.
  bool overwrite(int writer, const std::string& name, Value value);
  // A last kernel that copies a value to a variable.
  void append_copy(const std::string& name, Value value, int loss_call);
  std::map<int, uint64_t> copies_to;   // calls that are copies: where to
  // Why a barrier stands between call `before` and call `c`; "" if one granule can run through both: `c` reads the results of `before` row
  // by row at its own unit.
  std::string barrier_between(int before, int c) const;
  bool follows(int before, int c) const;
  bool written_in_runs(int c, Value v, int64_t runs) const;
  bool divides(int64_t units, int c, const std::set<int>& into) const;
  // Whether a call reads a value at the rows alone that it computes.
  bool reads_by_rows(int c, Value v) const;
  bool written_by_rows(int c, Value v) const;
  int64_t rows_size(Value v, int rows) const;
  void assign_phases();
  // Units of a granule, of the strand and of one of its calls: as many as a part of a sum has, if one is in the strand.
  int64_t strand_grain(const Strand& s) const;
  int64_t call_grain(int c) const { return strand_grain(strands[strand[c]]) * (calls[c].kernel.units / strands[strand[c]].units); }

  // ---- strands in blocks: what their calls hand to each other stays in cache, and where nobody else reads it, it is local to the thread

  std::set<Value> local;
  uint64_t local_bytes = 0;
  void choose_blocks();
  void block_strand(const Strand& s, const std::vector<std::vector<int>>& readers);

  int last_phase() const;

  ArenaPlan arena;
  void place_values();

  // ---- loops

  // Planned like an entry whose inputs and results lie where the loop says; what else it stores lies in a region of this arena.
  struct Rounds;
  std::map<int, std::shared_ptr<Rounds>> rounds;   // per call that is a loop
  std::shared_ptr<LoopCall> body_of;               // what this is a round of
  std::set<Value> outside;                         // of a round: its inputs and results
  struct Step {                                    // from round to round
    uint32_t loop;                                 // of the entry
    int64_t stride;
    bool alternate;                                // between two places
  };
  std::map<Value, std::vector<Step>> steps;        // values that lie elsewhere in each round of a loop around
  void separate_loops();
  void plan_rounds();
  // Places that carries live in, with what goes into them and what is stacked of them.
  void place_carries(std::vector<Lifetime>&, const std::vector<std::vector<int>>& readers, const std::vector<bool>& kept);
  void take_carries(const std::vector<uint64_t>& offsets);
  void move(uint64_t bytes);                       // all places in the arena
  void emit_rounds(int c, program::EntryT&);
  bool placed_by_loop(Value v) const;

  std::vector<int> position;   // per call: in its strand
  Lifetime lifetime(Value v, const std::vector<int>& readers, bool kept) const;
  // Bytes from one row to the next, if all rows together repeat what one of them does (row-major, pitched, blocked).
  uint64_t row_bytes(Value v) const;
  std::unique_ptr<program::PortT> port(const std::string& name, Value v) const;
  std::unique_ptr<program::CallT> emit_call(int c);
  static double work(const Function& body, const Node& node);
  void emit();
  void emit_phases(program::EntryT&);
  // The calls of a strand, each after those of the same strand that it reads.
  std::vector<int> order_of(const Strand& s) const;
};

}  // namespace gradc::codegen
