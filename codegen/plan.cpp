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
#include "codegen/planner.h"

#include <fmt/format.h>
#include <llvm/Support/xxhash.h>

#include <algorithm>
#include <numeric>

#include "codegen/contract_plan.h"
#include "codegen/unit_rows.h"
#include "ir/check.h"
#include "ir/infer.h"

namespace gradc::codegen {

EntryNotes Planner::run() {
  for (const auto& v : program.variables) {
    variable_at[v->name] = v->offset;
    for (const program::LayoutDigit& digit : v->type->layout) variable_layout[v->name].digits.push_back({digit.axis(), digit.divisor(), digit.extent()});
  }
  EntryNotes listed;
  listing = &listed;
  plan();
  emit();
  listed.buffers = std::move(notes.buffers);
  return listed;
}

void Planner::plan() {
  constexpr int64_t few_rows = 16;   // in rounds of loops more are shared out by rows: what follows a product needs no barrier then
  place.resize(f.size());
  placed.resize(f.size());
  bool updates = std::any_of(f.results.begin(), f.results.end(), [](const Result& r) { return r.write; });
  for (KernelCall& call : calls)
    if (call.kernel.form == Form::contract && (!body_of || call.kernel.domain.empty() || shape_size(call.kernel.domain) < few_rows * call.kernel.domain.back())) share_out_columns(call.kernel, !updates);
  index();
  add_dependencies();
  write_in_place();
  assign_phases();
  separate_loops();
  plan_rounds();
  choose_blocks();
  place_values();
}

void Planner::index() {
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

void Planner::add_dependencies() {
  for (size_t c = 0; c < calls.size(); ++c) {
    for (Value v : calls[c].arguments)
      if (producer[v.id] >= 0) after[c].insert(producer[v.id]);
    for (Value v : calls[c].waits)
      if (producer[v.id] >= 0) separate(producer[v.id], static_cast<int>(c), "waits for it, to use memory again");
  }
}

bool Planner::comes_after(int later, int earlier) const {
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

bool Planner::reads_variable(const KernelCall& call, const std::string& name) const {
  return std::any_of(call.arguments.begin(), call.arguments.end(), [&](Value v) { return f[v].op == Op::variable && f[v].attrs.text(Attr::name) == name; });
}

void Planner::put(Value v, program::Space space, uint64_t offset) {
  place[v.id] = program::Place(space, offset);
  placed[v.id] = true;
}

void Planner::write_in_place() {
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

void Planner::separate(int earlier, int later, std::string why) {
  after[later].insert(earlier);
  apart[later].emplace(earlier, std::move(why));
}

bool Planner::overwrite(int writer, const std::string& name, Value value) {
  KernelCall& call = calls[writer];
  if (call.loop) return false;
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

void Planner::append_copy(const std::string& name, Value value, int loss_call) {
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

std::string Planner::barrier_between(int before, int c) const {
  if (auto it = apart[c].find(before); it != apart[c].end()) return it->second;
  const Kernel &reader = calls[c].kernel, &writer = calls[before].kernel;
  if (calls[c].loop) return "is a loop";
  if (calls[before].loop) return "comes after a loop";
  if (reader.form == Form::column && reader.kept == 0) return "sums over all of its rows";
  if (follows(before, c)) return "";
  if (reader.units != writer.units) return fmt::format("is shared out in {} unit{}, not in {}", reader.units, reader.units == 1 ? "" : "s", writer.units);
  if (!by_units(reader) || !by_units(writer)) return "is shared out otherwise than by its rows";
  for (Value v : calls[c].arguments) {
    if (producer[v.id] != before) continue;
    if (!written_by_rows(before, v)) return "is shared out otherwise than by its rows";
    if (!reads_by_rows(c, v)) return "reads all of its rows";
  }
  return "";
}

// A sum of each row of a tensor (column kernels that keep axes) is in the strand of whoever computes that tensor, though it counts other units: units are as many as
// those rows are, or a multiple of it, row after row.
bool Planner::follows(int before, int c) const {
  const Kernel &reader = calls[c].kernel, &writer = calls[before].kernel;
  if (reader.form != Form::column || reader.units == writer.units || writer.units % reader.units != 0 || !by_units(writer)) return false;
  for (Value v : calls[c].arguments)
    if (producer[v.id] == before && (!written_in_runs(before, v, reader.units) || !reads_by_rows(c, v))) return false;
  constexpr uint64_t near = 512 << 10;   // a block of the strand is a row at least: of large images finer blocks are better, that stay in the second-level cache
  uint64_t touched = 0;
  for (const std::vector<Value>* list : {&calls[before].arguments, &calls[before].results})
    for (Value v : *list) touched += stored_bytes(f.type(v), layout[v.id]);
  if (!writer.tile.empty() && touched / reader.units > near) return false;
  auto row_major = [](const std::vector<Layout>& layouts) { return std::all_of(layouts.begin(), layouts.end(), [](const Layout& layout) { return layout.row_major(); }); };
  return row_major(writer.argument_layouts) && row_major(writer.result_layouts);   // else calls begin at whole blocks of rows
}

// Whether a call writes v in so many runs of units, each of them as many rows of v: its leading axes, of which units count all and tiles take one at a time.
bool Planner::written_in_runs(int c, Value v, int64_t runs) const {
  const Kernel& kernel = calls[c].kernel;
  const Shape& shape = f.type(v).shape;
  if (kernel.parts > 0 || (kernel.form != Form::map && kernel.form != Form::contract)) return false;
  int64_t rows = 1;
  for (int64_t axis = 0; rows < runs; rows *= shape[axis++])
    if (axis >= kernel.outer || axis >= static_cast<int64_t>(shape.size()) || shape[axis] != kernel.domain[axis] || (!kernel.tile.empty() && kernel.tile[axis] != 1)) return false;
  return rows == runs;
}

bool Planner::reads_by_rows(int c, Value v) const {
  const KernelCall& call = calls[c];
  if (call.loop) return false;
  for (size_t a = 0; a < call.arguments.size(); ++a) {
    if (call.arguments[a] != v) continue;
    int rows = argument_rows(call.kernel, a);
    if (rows == 0 || rows_size(v, rows) != call.kernel.units) return false;
  }
  return true;
}

bool Planner::written_by_rows(int c, Value v) const {
  const KernelCall& call = calls[c];
  if (call.loop) return false;
  size_t r = std::find(call.results.begin(), call.results.end(), v) - call.results.begin();
  return r < call.results.size() && result_rows(call.kernel, r) > 0;
}

int64_t Planner::rows_size(Value v, int rows) const {
  const Shape& shape = f.type(v).shape;
  return shape_size(Shape(shape.begin(), shape.begin() + rows));
}

void Planner::assign_phases() {
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
    int64_t units = calls[c].kernel.units;
    for (int s : joined) units = std::gcd(units, strands[s].units);
    if (!divides(units, c, joined)) {
      if (notes.barriers.size() <= static_cast<size_t>(++at)) notes.barriers.resize(at + 1);
      for (int before : after[c])
        if (phase[before] + 1 == at) notes.barriers[at].push_back({c, before, "is shared out in units that parts of a sum do not have"});
      joined.clear(), units = calls[c].kernel.units;
    }
    phase[c] = at;
    if (joined.empty()) {
      strand[c] = static_cast<int>(strands.size());
      strands.push_back({at, units, {c}});
      continue;
    }
    int into = *joined.begin();   // strands that meet here become one
    for (auto it = std::next(joined.begin()); it != joined.end(); ++it) {
      for (int moved : strands[*it].calls) strand[moved] = into, strands[into].calls.push_back(moved);
      strands[*it].calls.clear();
    }
    strand[c] = into;
    strands[into].calls.push_back(c);
    strands[into].units = units;
  }
}

// Whether calls of these strands and call c can all be cut into so many runs of units.
bool Planner::divides(int64_t units, int c, const std::set<int>& into) const {
  auto fits = [&](int call) { return calls[call].kernel.parts == 0 || units == calls[call].kernel.units || units % calls[call].kernel.parts == 0; };
  for (int s : into)
    if (!std::all_of(strands[s].calls.begin(), strands[s].calls.end(), fits)) return false;
  return into.empty() || fits(c);
}

std::string Planner::overwrites(const std::string& name) { return fmt::format("writes @{}, whose old value it reads", name); }

int Planner::last_phase() const { return phase.empty() ? 0 : *std::max_element(phase.begin(), phase.end()); }

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
// Each call of a scatter looks at all indices: few granules.
int64_t grain(const Kernel& kernel) {
  if (kernel.form == Form::scatter) return std::max(grain(kernel.units), kernel.units / 16 / Kernel::unit_alignment * Kernel::unit_alignment);
  return kernel.parts > 0 ? kernel.units / kernel.parts : kernel.lane_block > 0 ? std::max<int64_t>(1, kernel.units / 8) : grain(kernel.units);
}
}  // namespace gradc::codegen
