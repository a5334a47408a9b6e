// From kernels to an entry.
//
// Phases. A barrier stands where data crosses granules. A kernel goes into the phase of the kernels that it reads if it reads
// their results row by row at its own unit (aligned), and then into their strand, where one granule runs through all of
// them; otherwise into the next phase. So the forward pass and the input gradients of a dense network are one phase.
//
// Units are rows of the result, or, for products with few rows and many columns, blocks of columns (share_out_columns).
//
// Variables. A new value is written over the old one. That is right if nobody reads the old value afterwards, and the kernel
// itself reads it at the place that it writes alone; readers are put into earlier phases. Where they depend on the writer, the value goes
// to the arena and is copied in a last phase. Writers wait for the loss, so that a loss that is not finite loses nothing.
//
// Memory. A value lives from the phase of its kernel to the last phase that reads it (threads are at different places within
// a phase); calls of one strand hand places on to each other row by row; memory_plan.h gives the places.
#include "codegen/plan.h"

#include <fmt/format.h>
#include <llvm/Support/xxhash.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "codegen/contract_plan.h"
#include "codegen/memory_plan.h"
#include "codegen/unit_rows.h"
#include "ir/check.h"
#include "ir/infer.h"

namespace gradc::codegen {
using namespace ir;

namespace {
uint64_t stored_bytes(const Type& type, const Layout& layout) { return stored_size(layout, type.shape) * element_bytes(type.element); }

std::unique_ptr<program::TensorTypeT> schema_type(const Type& type, const Layout& layout = {}) {
  auto t = std::make_unique<program::TensorTypeT>();
  t->element = static_cast<program::ElementType>(type.element);
  t->shape = type.shape;
  for (const LayoutDigit& digit : layout.digits) t->layout.push_back({digit.axis, digit.divisor, digit.extent});
  return t;
}

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
    int64_t units;
    std::vector<int> calls;
  };
  std::vector<Strand> strands;
  EntryNotes notes;

  EntryNotes run() {
    for (const auto& v : program.variables) {
      variable_at[v->name] = v->offset;
      for (const program::LayoutDigit& digit : v->type->layout) variable_layout[v->name].digits.push_back({digit.axis(), digit.divisor(), digit.extent()});
    }
    place.resize(f.size());
    placed.resize(f.size());
    bool updates = std::any_of(f.results.begin(), f.results.end(), [](const Result& r) { return r.write; });
    for (KernelCall& call : calls)
      if (call.kernel.form == Form::contract) share_out_columns(call.kernel, !updates);
    index();
    add_dependencies();
    write_in_place();
    assign_phases();
    choose_blocks();
    place_values();
    emit();
    return std::move(notes);
  }

  void index() {
    producer.assign(f.size(), -1);
    layout.resize(f.size());
    for (size_t c = 0; c < calls.size(); ++c)
      for (size_t r = 0; r < calls[c].results.size(); ++r) {
        producer[calls[c].results[r].id] = static_cast<int>(c);
        layout[calls[c].results[r].id] = calls[c].kernel.result_layout(r);
      }
    for (const KernelCall& call : calls)
      for (size_t a = 0; a < call.arguments.size(); ++a) {
        Value v = call.arguments[a];
        const Layout& read = call.kernel.argument_layout(a);
        if (f[v].op == Op::variable) layout[v.id] = variable_layout[f[v].attrs.text(Attr::name)];
        CHECK(layout[v.id] == read, "{} is stored as {} and read as {}", info(f[v].op).name, to_string(layout[v.id], f.type(v).shape), to_string(read, f.type(v).shape));
      }
    after.resize(calls.size());
    apart.resize(calls.size());
  }

  void add_dependencies() {
    for (size_t c = 0; c < calls.size(); ++c) {
      for (Value v : calls[c].arguments)
        if (producer[v.id] >= 0) after[c].insert(producer[v.id]);
      for (Value v : calls[c].waits)
        if (producer[v.id] >= 0) separate(producer[v.id], static_cast<int>(c), "waits for it, to use memory again");
    }
  }

  bool comes_after(int later, int earlier) const {
    std::vector<int> stack = {later};
    std::vector<bool> seen(calls.size());
    while (!stack.empty()) {
      int at = stack.back();
      stack.pop_back();
      if (at == earlier) return true;
      if (seen[at]) continue;
      seen[at] = true;
      stack.insert(stack.end(), after[at].begin(), after[at].end());
    }
    return false;
  }

  bool reads_variable(const KernelCall& call, const std::string& name) const {
    return std::any_of(call.arguments.begin(), call.arguments.end(), [&](Value v) { return f[v].op == Op::variable && f[v].attrs.text(Attr::name) == name; });
  }

  void put(Value v, program::Space space, uint64_t offset) {
    place[v.id] = program::Place(space, offset);
    placed[v.id] = true;
  }

  void write_in_place() {
    std::vector<std::pair<int, std::string>> copies;
    const Result* loss = f.result("loss");
    int loss_call = loss ? producer[loss->value.id] : -1;
    for (const Result& r : f.results) {
      if (!r.write) continue;
      const Node& source = f[r.value];
      if (source.op == Op::variable && source.attrs.text(Attr::name) == r.name) continue;   // unchanged
      int writer = producer[r.value.id];
      CHECK(writer >= 0, "the new value of {} is computed by no kernel", r.name);
      if (overwrite(writer, r.name, r.value)) {
        put(r.value, program::Space::variables, variable_at.at(r.name));
        if (loss_call >= 0 && loss_call != writer && !comes_after(loss_call, writer)) separate(loss_call, writer, waits_for_loss);
      } else {
        copies.push_back({writer, r.name});
      }
    }
    for (const auto& [writer, name] : copies) append_copy(name, f.result(name)->value, loss_call);
  }

  void separate(int earlier, int later, std::string why) {
    after[later].insert(earlier);
    apart[later].emplace(earlier, std::move(why));
  }
  static std::string overwrites(const std::string& name) { return fmt::format("writes @{}, whose old value it reads", name); }
  static constexpr const char* waits_for_loss = "waits for the loss: one that is not finite must lose nothing";

  // Orders all readers of the old value before the writer; false if that cannot be.
  bool overwrite(int writer, const std::string& name, Value value) {
    KernelCall& call = calls[writer];
    if (layout[value.id] != variable_layout[name]) return false;
    std::vector<int> readers;
    for (size_t c = 0; c < calls.size(); ++c)
      if (static_cast<int>(c) != writer && reads_variable(calls[c], name)) {
        if (comes_after(static_cast<int>(c), writer)) return false;
        readers.push_back(static_cast<int>(c));
      }
    for (const Result& r : f.results)   // an output that is the old value itself
      if (!r.write && f[r.value].op == Op::variable && f[r.value].attrs.text(Attr::name) == name) return false;
    size_t result = std::find(call.results.begin(), call.results.end(), value) - call.results.begin();
    call.kernel.in_place.resize(call.results.size(), -1);
    for (size_t a = 0; a < call.arguments.size(); ++a) {
      const Node& node = f[call.arguments[a]];
      if (node.op != Op::variable || node.attrs.text(Attr::name) != name) continue;
      if (!reads_in_place(call.kernel, a)) return false;
      call.kernel.in_place[result] = static_cast<int>(a);
    }
    for (int reader : readers) separate(reader, writer, overwrites(name));
    return true;
  }

  // A last kernel that copies a value to a variable.
  void append_copy(const std::string& name, Value value, int loss_call) {
    KernelCall copy;
    copy.kernel.form = Form::map;
    copy.kernel.domain = f.type(value).shape;
    copy.kernel.units = std::max<int64_t>(1, (f.type(value).size() + Kernel::flat_block - 1) / Kernel::flat_block);
    copy.kernel.body.name = "kernel";
    const Type& type = f.type(value);
    Value in = copy.kernel.body.append({Op::input, type, {}, {{Attr::name, std::string("a0")}, {Attr::element, type.element}, {Attr::shape, type.shape}}, f[value].loc});
    copy.kernel.body.results.push_back({"r0", in, false});
    copy.kernel.argument_layouts = {layout[value.id]};
    copy.kernel.result_layouts = {variable_layout[name]};
    copy.arguments = {value};
    int self = static_cast<int>(calls.size());
    copies_to[self] = variable_at.at(name);
    calls.push_back(std::move(copy));
    after.emplace_back();
    apart.emplace_back();
    separate(producer[value.id], self, "copies it");
    if (loss_call >= 0) separate(loss_call, self, waits_for_loss);
    for (int c = 0; c < self; ++c)
      if (reads_variable(calls[c], name)) separate(c, self, overwrites(name));
  }
  std::map<int, uint64_t> copies_to;   // calls that are copies: where to

  // Why a barrier stands between call `before` and call `c`; "" if one granule can run through both: `c` reads the results of `before` row
  // by row at its own unit.
  std::string barrier_between(int before, int c) const {
    if (auto it = apart[c].find(before); it != apart[c].end()) return it->second;
    const Kernel &reader = calls[c].kernel, &writer = calls[before].kernel;
    if (reader.form == Form::column) return "sums over all of its rows";
    if (reader.units != writer.units) return fmt::format("is shared out in {} unit{}, not in {}", reader.units, reader.units == 1 ? "" : "s", writer.units);
    if (!by_units(reader) || !by_units(writer)) return "is shared out otherwise than by its rows";
    for (Value v : calls[c].arguments) {
      if (producer[v.id] != before) continue;
      if (!written_by_rows(before, v)) return "is shared out otherwise than by its rows";
      if (!reads_by_rows(c, v)) return "reads all of its rows";
    }
    return "";
  }
  // Whether a call reads a value at the rows alone that it computes.
  bool reads_by_rows(int c, Value v) const {
    const KernelCall& call = calls[c];
    for (size_t a = 0; a < call.arguments.size(); ++a) {
      if (call.arguments[a] != v) continue;
      int rows = argument_rows(call.kernel, a);
      if (rows == 0 || rows_size(v, rows) != call.kernel.units) return false;
    }
    return true;
  }
  bool written_by_rows(int c, Value v) const {
    const KernelCall& call = calls[c];
    size_t r = std::find(call.results.begin(), call.results.end(), v) - call.results.begin();
    return r < call.results.size() && result_rows(call.kernel, r) > 0;
  }
  int64_t rows_size(Value v, int rows) const {
    const Shape& shape = f.type(v).shape;
    return shape_size(Shape(shape.begin(), shape.begin() + rows));
  }
  void assign_phases() {
    phase.assign(calls.size(), -1);
    strand.assign(calls.size(), -1);
    std::vector<int> order;
    auto visit = [&](auto&& self, int c) -> void {
      if (phase[c] != -1) return;
      phase[c] = 0;
      for (int before : after[c]) self(self, before);
      order.push_back(c);
    };
    for (size_t c = 0; c < calls.size(); ++c) visit(visit, static_cast<int>(c));
    for (int c : order) {
      int at = 0;
      std::set<int> joined;
      std::vector<EntryNotes::Barrier> barriers;
      for (int before : after[c]) {
        std::string why = barrier_between(before, c);
        at = std::max(at, phase[before] + (why.empty() ? 0 : 1));
        if (!why.empty()) barriers.push_back({c, before, why});
      }
      if (notes.barriers.size() <= static_cast<size_t>(at)) notes.barriers.resize(at + 1);
      for (EntryNotes::Barrier& barrier : barriers)
        if (phase[barrier.earlier] + 1 == at) notes.barriers[at].push_back(std::move(barrier));
      for (int before : after[c])
        if (phase[before] == at) joined.insert(strand[before]);
      phase[c] = at;
      if (joined.empty()) {
        strand[c] = static_cast<int>(strands.size());
        strands.push_back({at, calls[c].kernel.units, {c}});
        continue;
      }
      int into = *joined.begin();   // strands that meet here become one
      for (auto it = std::next(joined.begin()); it != joined.end(); ++it) {
        for (int moved : strands[*it].calls) strand[moved] = into, strands[into].calls.push_back(moved);
        strands[*it].calls.clear();
      }
      strand[c] = into;
      strands[into].calls.push_back(c);
    }
  }

  // Units of a granule: as many as a part of a sum has, if one is in the strand.
  int64_t strand_grain(const Strand& s) const {
    int64_t units = grain(calls[s.calls.front()].kernel);
    for (int c : s.calls)
      if (calls[c].kernel.parts > 0) units = grain(calls[c].kernel);
    return units;
  }

  // ---- strands in blocks: what their calls hand to each other stays in cache, and where nobody else reads it, it is local to the thread

  struct Local {
    uint64_t offset, unit_bytes;
  };
  std::map<Value, Local> local;
  uint64_t local_bytes = 0;

  void choose_blocks() {
    std::vector<std::vector<int>> readers(f.size());
    for (size_t c = 0; c < calls.size(); ++c)
      for (Value v : calls[c].arguments) readers[v.id].push_back(static_cast<int>(c));
    for (const Strand& s : strands) {
      bool wanted = std::any_of(s.calls.begin(), s.calls.end(), [&](int c) { return !calls[c].kernel.tile.empty() || calls[c].kernel.parts > 0; });
      if (wanted && s.calls.size() > 1) block_strand(s, readers);
    }
  }

  void block_strand(const Strand& s, const std::vector<std::vector<int>>& readers) {
    constexpr uint64_t near = 384 << 10;   // bytes that calls hand to each other at a time: beside weights in a second-level cache of 1 MB
    constexpr int64_t least = 16, multiple = 16;
    const std::vector<int> order = order_of(s);
    auto place_of = [&](int c) { return static_cast<int>(std::find(order.begin(), order.end(), c) - order.begin()); };
    uint64_t handed = 0;
    std::vector<Value> values;
    std::vector<Lifetime> lives;
    for (int c : order)
      for (Value v : calls[c].results) {
        const bool by_rows = written_by_rows(c, v) && layout[v.id].row_major();
        const auto& readers_of = readers[v.id];
        auto here = [&](int reader) { return strand[reader] == strand[c] && reads_by_rows(reader, v); };
        if (!by_rows || std::none_of(readers_of.begin(), readers_of.end(), here)) continue;
        const uint64_t unit_bytes = stored_bytes(f.type(v), {}) / calls[c].kernel.units;
        handed += unit_bytes;
        const bool result = std::any_of(f.results.begin(), f.results.end(), [&](const Result& r) { return r.value == v; });
        if (result || placed[v.id] || unit_bytes % alignment != 0 || !std::all_of(readers_of.begin(), readers_of.end(), here)) continue;
        int last = 0;
        for (int reader : readers_of) last = std::max(last, place_of(reader));
        values.push_back(v);
        lives.push_back({unit_bytes, place_of(c), last});
      }
    if (handed == 0) return;
    const int64_t granule = strand_grain(s);
    const int64_t block = std::min(granule, std::max(least, static_cast<int64_t>(near / handed) / multiple * multiple));
    for (int c : s.calls) calls[c].kernel.block = block;
    for (Lifetime& life : lives) life.bytes *= static_cast<uint64_t>(block);
    ArenaPlan places = plan_arena(lives);
    for (size_t i = 0; i < values.size(); ++i) {
      put(values[i], program::Space::local, places.offsets[i]);
      local[values[i]] = {places.offsets[i], lives[i].bytes / static_cast<uint64_t>(block)};
    }
    local_bytes = std::max(local_bytes, places.bytes);
  }

  int last_phase() const { return phase.empty() ? 0 : *std::max_element(phase.begin(), phase.end()); }

  ArenaPlan arena;

  void place_values() {
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
      if (node.op != Op::input && (producer[i] < 0 || placed[i])) continue;
      values.push_back(Value{i});
      lifetimes.push_back(lifetime(Value{i}, readers[i], kept[i]));
    }
    arena = plan_arena(lifetimes);
    for (size_t i = 0; i < values.size(); ++i) {
      put(values[i], program::Space::arena, arena.offsets[i]);
      notes.buffers.push_back({values[i], lifetimes[i], arena.offsets[i]});
    }
  }

  std::vector<int> position;   // per call: in its strand

  Lifetime lifetime(Value v, const std::vector<int>& readers, bool kept) const {
    int writer = producer[v.id];
    Lifetime life{stored_bytes(f.type(v), layout[v.id]), writer < 0 ? -1 : phase[writer], writer < 0 ? 0 : phase[writer]};
    for (int c : readers) life.last = std::max(life.last, phase[c]);
    if (kept) life.last = last_phase();
    life.row_bytes = row_bytes(v);
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

  // Bytes from one row to the next, if all rows together repeat what one of them does (row-major, pitched, blocked).
  uint64_t row_bytes(Value v) const {
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

  std::unique_ptr<program::PortT> port(const std::string& name, Value v) const {
    CHECK(layout[v.id].row_major(), "{} of {} is {}: callers know row-major buffers alone", name, f.name, to_string(layout[v.id], f.type(v).shape));
    auto p = std::make_unique<program::PortT>();
    p->name = name;
    p->type = schema_type(f.type(v));
    p->place = std::make_unique<program::Place>(place[v.id]);
    return p;
  }

  std::unique_ptr<program::CallT> emit_call(int c) {
    const KernelCall& call = calls[c];
    auto out = std::make_unique<program::CallT>();
    out->kernel = kernels.add(call.kernel);
    for (Value v : call.arguments) out->args.push_back(place[v.id]), out->bytes += static_cast<double>(f.type(v).bytes());
    for (Value v : call.results) {
      out->args.push_back(place[v.id]);
      out->output_types.push_back(schema_type(f.type(v), layout[v.id]));
      out->bytes += static_cast<double>(f.type(v).bytes());
    }
    if (auto copy = copies_to.find(c); copy != copies_to.end()) {
      out->args.push_back(program::Place(program::Space::variables, copy->second));
      out->output_types.push_back(schema_type(f.type(call.arguments[0]), call.kernel.result_layout(0)));
    }
    out->outputs = static_cast<uint32_t>(out->output_types.size());
    if (std::any_of(out->args.begin(), out->args.end(), [](const program::Place& place) { return place.space() == program::Space::local; })) {
      for (const std::vector<Value>* list : {&call.arguments, &call.results})
        for (Value v : *list) out->unit_bytes.push_back(local.count(v) ? local.at(v).unit_bytes : 0);
      out->unit_bytes.resize(out->args.size());
    }
    out->units = call.kernel.units;
    out->grain = strand_grain(strands[strand[c]]);
    out->name = describe(call.kernel);
    std::set<std::string> lines;
    for (const Node& node : call.kernel.body.nodes) {
      out->flops += work(call.kernel.body, node);
      if (node.op != Op::input && node.loc.known()) lines.insert(module.describe(node.loc));
    }
    for (const std::string& line : lines) {
      auto known = std::find(program.lines.begin(), program.lines.end(), line);
      out->lines.push_back(static_cast<uint32_t>(known - program.lines.begin()));
      if (known == program.lines.end()) program.lines.push_back(line);
    }
    return out;
  }

  static double work(const Function& body, const Node& node) {
    if (node.op == Op::contract) {
      ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(node.attrs.text(Attr::spec)));
      double flops = 2.0 * static_cast<double>(node.type.size());
      for (size_t i = 0; i < spec.a.size(); ++i)
        if (spec.result.find(spec.a[i]) == std::string::npos) flops *= static_cast<double>(body.type(node.operands[0]).shape[i]);
      return flops;
    }
    if (is_map(node.op)) return static_cast<double>(node.type.size());
    if (is_reduce(node.op)) return static_cast<double>(body.type(node.operands[0]).size());
    return 0;
  }

  void emit() {
    auto entry = std::make_unique<program::EntryT>();
    entry->name = f.name;
    for (uint32_t i = 0; i < f.size(); ++i)
      if (f.nodes[i].op == Op::input) entry->inputs.push_back(port(f.nodes[i].attrs.text(Attr::name), Value{i}));
    for (const Result& r : f.results) {
      if (r.write) entry->writes.push_back(r.name);
      else entry->outputs.push_back(port(r.name, r.value));
    }
    int phases = calls.empty() ? 0 : last_phase() + 1;
    for (int p = 0; p < phases; ++p) entry->phases.push_back(std::make_unique<program::PhaseT>());
    entry->first_update = phases;
    // Long strands first: whoever is done early finds short ones to take.
    std::vector<std::unique_ptr<program::StrandT>> made(strands.size());
    std::vector<size_t> order;
    std::vector<double> weight(strands.size(), 0);
    for (size_t i = 0; i < strands.size(); ++i) {
      const Strand& s = strands[i];
      if (s.calls.empty()) continue;
      order.push_back(i);
      made[i] = std::make_unique<program::StrandT>();
      int64_t g = strand_grain(s);
      made[i]->block = static_cast<uint64_t>(calls[s.calls.front()].kernel.block);
      made[i]->granules = static_cast<uint32_t>((s.units + g - 1) / g);
      for (int c : order_of(s)) {
        made[i]->calls.push_back(emit_call(c));
        for (const Node& node : calls[c].kernel.body.nodes)
          if (node.loc.role == Loc::Role::recomputation) entry->recomputed += work(calls[c].kernel.body, node);
        auto call = made[i]->calls.back().get();
        weight[i] += call->flops + call->bytes;
        for (size_t a = call->args.size() - call->outputs; a < call->args.size(); ++a)
          if (call->args[a].space() == program::Space::variables) entry->first_update = std::min<uint32_t>(entry->first_update, s.phase);
      }
    }
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::tuple(strands[a].phase, -weight[a]) < std::tuple(strands[b].phase, -weight[b]);
    });
    std::vector<int> listed;
    for (size_t i : order) {
      for (int c : order_of(strands[i])) listed.push_back(c);
      entry->phases[strands[i].phase]->strands.push_back(std::move(made[i]));
    }
    take_notes(listed);
    entry->arena_bytes = arena.bytes;
    entry->local_bytes = aligned(local_bytes);
    program.entries.push_back(std::move(entry));
  }

  void take_notes(const std::vector<int>& listed) {
    std::vector<int> number(calls.size(), -1);
    for (size_t i = 0; i < listed.size(); ++i) number[listed[i]] = static_cast<int>(i);
    for (int c : listed) {
      notes.calls.push_back({calls[c], {}});
      for (Value v : calls[c].arguments) notes.calls.back().from.push_back(producer[v.id] < 0 ? -1 : number[producer[v.id]]);
    }
    for (auto& phase_barriers : notes.barriers)
      for (EntryNotes::Barrier& barrier : phase_barriers) barrier.later = number[barrier.later], barrier.earlier = number[barrier.earlier];
  }

  // The calls of a strand, each after those of the same strand that it reads.
  std::vector<int> order_of(const Strand& s) const {
    std::vector<int> order;
    std::set<int> members(s.calls.begin(), s.calls.end()), done;
    auto visit = [&](auto&& self, int c) -> void {
      if (!members.count(c) || !done.insert(c).second) return;
      for (int before : after[c]) self(self, before);
      order.push_back(c);
    };
    for (int c : s.calls) visit(visit, c);
    return order;
  }
};
}  // namespace

uint32_t KernelTable::add(const Kernel& kernel) {
  std::string text = key(kernel);
  auto [it, fresh] = index_.try_emplace(text, static_cast<uint32_t>(kernels_.size()));
  if (fresh) {
    kernels_.push_back(kernel);
    texts_.push_back(text);
  }
  return it->second;
}

std::string KernelTable::symbol(uint32_t index) const {
  const ContractChoice* chosen = choice(index);
  return fmt::format("gradc_kernel_{:016x}", llvm::xxh3_64bits(chosen ? texts_[index] + to_string(*chosen) : texts_[index]));
}

const ContractChoice* KernelTable::choice(uint32_t index) const {
  auto found = choices_.find(index);
  return found == choices_.end() ? nullptr : &found->second;
}

void place_variables(const Module& module, program::ProgramT& program, const std::map<std::string, Layout>& layouts) {
  uint64_t offset = 0;
  for (const Variable& v : module.variables) {
    auto out = std::make_unique<program::VariableT>();
    out->name = v.name;
    auto found = layouts.find(v.name);
    Layout layout = found == layouts.end() ? Layout() : found->second;
    out->type = schema_type(v.type, layout);
    out->kind = static_cast<program::VariableKind>(v.kind);
    out->frozen = v.frozen;
    out->offset = offset;
    out->line = v.loc.known() ? module.describe(v.loc) : "";
    offset += aligned(stored_bytes(v.type, layout));
    program.variables.push_back(std::move(out));
  }
  program.variables_bytes = offset;
}

EntryNotes plan_entry(const Module& module, const Function& f, std::vector<KernelCall> calls, KernelTable& kernels, program::ProgramT& program) {
  Doing doing(fmt::format("planning {}", f.name));
  return Planner{module, f, std::move(calls), kernels, program}.run();
}

int64_t grain(int64_t units) {
  if (units <= 16) return std::max<int64_t>(units, 1);
  if (units <= 64) return 16;
  if (units < 512) return 32;
  return 64;
}

// Blocks of columns are large units: a granule is one, or an eighth of them.
int64_t units_at_once(const Kernel& kernel) { return kernel.block > 0 ? kernel.block : grain(kernel.units); }
int64_t grain(const Kernel& kernel) { return kernel.parts > 0 ? kernel.units / kernel.parts : kernel.lane_block > 0 ? std::max<int64_t>(1, kernel.units / 8) : grain(kernel.units); }
}  // namespace gradc::codegen
