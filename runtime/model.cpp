// Creating a model: checks the image against this processor and this runtime, lays out memory, resolves every place of every entry.
#include "runtime/model.h"

#include <algorithm>
#include <fmt/format.h>
#include <zlib.h>

#include "runtime/machine.h"

namespace gradc::runtime {

static Error damaged(std::string_view what) {
  return {GRADC_INTERNAL, fmt::format("the compiled program is damaged: {} (compile the model again)", what)};
}

const uint8_t* unpack(const gradc_image& image, std::vector<uint64_t>& copy) {
  if (image.packed_size == 0 && reinterpret_cast<uintptr_t>(image.program) % 8 == 0) return image.program;
  copy.resize(image.program_size / 8 + 1);
  auto* bytes = reinterpret_cast<uint8_t*>(copy.data());
  uLongf size = image.program_size;
  if (image.packed_size == 0) std::memcpy(bytes, image.program, size);
  else if (uncompress(bytes, &size, image.program, image.packed_size) != Z_OK || size != image.program_size) return nullptr;
  return bytes;
}

Result<std::unique_ptr<Model>> Model::create(const gradc_image* image, int threads, const int64_t* seed) {
  if (!image || !image->program || image->program_size < 8) return Error{GRADC_INVALID, "no program in the image"};
  std::unique_ptr<Model> model(new Model);
  const uint8_t* bytes = unpack(*image, model->program_copy_);
  if (!bytes) return damaged("it does not unpack");
  flatbuffers::Verifier verifier(bytes, image->program_size, 64, 10'000'000);
  if (!program::VerifyProgramBuffer(verifier)) return damaged("its tables do not hold together");
  model->program_ = program::GetProgram(bytes);
  if (uint32_t abi = model->program_->abi(); abi != GRADC_ABI)
    return Error{GRADC_INVALID, fmt::format("the program was compiled for runtime interface {}, this is {}", abi, GRADC_ABI)};

  std::vector<std::string> needed;
  if (auto* features = model->program_->features())
    for (auto* feature : *features) needed.push_back(feature->str());
  if (auto missing = missing_features(needed); !missing.empty())
    return Error{GRADC_MACHINE, fmt::format("'{}' was compiled for {}, but this processor lacks {}", model->name(), text(model->program_->target()),
                                            fmt::join(missing, ", "))};
  if (std::find(needed.begin(), needed.end(), "amx_tile") != needed.end() && !permit_amx())
    return Error{GRADC_MACHINE, fmt::format("'{}' uses the tile registers of AMX, which the system does not permit to this process", model->name())};
  model->threads_ = threads > 0 ? threads : usable_cores();
  GRADC_TRY(model->resolve(image));
  model->initialize(seed ? *seed : model->program_->seed());
  return model;
}

std::string Model::name() const {
  std::string name = text(program_->name());
  return name.empty() ? "model" : name;
}

static void add_hypers(std::vector<Hyper>& to, const flatbuffers::Vector<flatbuffers::Offset<program::Hyper>>* from, const program::Optimizer* owner) {
  if (!from) return;
  for (auto* hyper : *from) to.push_back({text(hyper->name()), owner, hyper->value(), hyper->value()});
}

// Entries that a reader runs while a step runs: they must not share its memory.
static bool is_readers(std::string_view entry) { return entry.starts_with("augment."); }

Status Model::resolve(const gradc_image* image) {
  uint64_t arena = 64, reader_arena = 0, scratch = 64;
  for (uint32_t i = 0; i < size(program_->entries()); ++i) {
    uint64_t& most = is_readers(text(program_->entries()->Get(i)->name())) ? reader_arena : arena;
    most = std::max(most, program_->entries()->Get(i)->arena_bytes());
    scratch = std::max(scratch, program_->entries()->Get(i)->scratch_bytes());
  }
  const size_t stride = scratch_stride(scratch);
  struct { Block& block; size_t bytes; } blocks[] = {
      {variables_block_, std::max<uint64_t>(64, program_->variables_bytes())}, {arena_, arena}, {reader_arena_, reader_arena}, {scratch_, stride * size_t(threads())}};
  for (auto& [block, bytes] : blocks) {
    if (bytes == 0) continue;
    auto created = Block::create(bytes);
    if (!created) return created.error();
    block = std::move(*created);
  }
  if (auto* constants = program_->constants()) {
    constants_ = reinterpret_cast<const char*>(constants->data());
    constants_bytes_ = constants->size();
    if (reinterpret_cast<uintptr_t>(constants_) % 64 != 0) {
      auto copy = Block::create(constants_bytes_);
      if (!copy) return copy.error();
      constants_copy_ = std::move(*copy);
      std::memcpy(constants_copy_.data(), constants_, constants_bytes_);
      constants_ = constants_copy_.data();
    }
  }
  for (uint32_t i = 0; i < size(program_->variables()); ++i) {
    const program::Variable& from = *program_->variables()->Get(i);
    Variable variable{text(from.name()), to_type(from.type()), 0, variables_block_.data() + from.offset(), from.kind(), from.frozen(), text(from.line())};
    variable.bytes = variable.stored_bytes = variable.type.bytes();
    variable.layout = to_layout(from.type());
    if (!variable.layout.sound(variable.type.shape, int64_t(variables_block_.size()))) return damaged("a variable in an order that there is not");
    variable.stored_bytes = size_t(variable.layout.stored_elements(variable.type.shape)) * info(variable.type.element).bytes;
    if (from.offset() + variable.stored_bytes > variables_block_.size()) return damaged("a variable outside its block");
    variables.push_back(std::move(variable));
  }
  add_hypers(hypers, program_->config(), nullptr);
  for (uint32_t t = 0; t < size(program_->trains()); ++t)
    if (auto* steps = program_->trains()->Get(t)->step_list())
      for (auto* step : *steps)
        if (step->optimizers())
          for (auto* optimizer : *step->optimizers()) add_hypers(hypers, optimizer->hypers(), optimizer);
  entries_.resize(size(program_->entries()));
  for (size_t i = 0; i < entries_.size(); ++i) {
    entries_[i].source = program_->entries()->Get(uint32_t(i));
    entries_[i].name = text(entries_[i].source->name());
    entry_index_[entries_[i].name] = i;
    GRADC_TRY(resolve(entries_[i], image));
  }
  std::vector<char*> scratch_of_thread;
  for (int thread = 0; thread < threads(); ++thread) scratch_of_thread.push_back(scratch_.data() + stride * size_t(thread));
  runner_ = std::make_unique<StepRunner>(std::move(scratch_of_thread));
  for (Entry& entry : entries_)
    for (ResolvedPhase& phase : entry.phases) runner_->add(phase);
  return {};
}

Result<char*> Model::resolve(const program::Place* place, const Block& arena, size_t bytes, const char* what) {
  if (!place) return damaged(fmt::format("{} without a place", what));
  struct { char* base; size_t size; } spaces[] = {
      {variables_block_.data(), variables_block_.size()}, {arena.data(), arena.size()}, {const_cast<char*>(constants_), constants_bytes_}};
  if (place->space() == program::Space::local) return reinterpret_cast<char*>(place->offset());   // each thread adds where its scratch begins
  auto& space = spaces[size_t(place->space())];
  if (place->offset() > space.size || bytes > space.size - place->offset()) return damaged(fmt::format("{} outside its block", what));
  return space.base + place->offset();
}

// Whether `optimizer` is the one that the entry belongs to: its hyperparameters hide those of the same name elsewhere.
static bool owns(const program::Optimizer* optimizer, const std::string& entry) {
  return optimizer && (text(optimizer->step()) == entry || text(optimizer->apply()) == entry || text(optimizer->init()) == entry);
}

struct LastWrite {
  const ResolvedCall* call = nullptr;
  size_t phase = 0;
};

/// The last call that writes at `place`, and its phase.
static LastWrite last_write(const Entry& entry, const char* place) {
  LastWrite last;
  for (size_t p = 0; p < entry.phases.size(); ++p)
    for (const ResolvedStrand& strand : entry.phases[p].strands)
      for (const ResolvedCall& call : strand.calls)
        for (uint32_t arguments = size(call.source->args()), a = arguments - call.source->outputs(); a < arguments; ++a)
          if (call.args[a] == place) last = {&call, p};
  return last;
}

Status Model::resolve(Entry& entry, const gradc_image* image) {
  const Block& arena = is_readers(entry.name) ? reader_arena_ : arena_;
  struct Builtin { std::string_view name; const int64_t* integer; const double* real; };
  const Builtin builtins[] = {{"seed", &scalars.seed, nullptr}, {"row", &scalars.row, nullptr}, {"valid", &scalars.valid, nullptr},
                              {"step", &scalars.step, nullptr}, {"position", &scalars.position, nullptr}, {"t", nullptr, &scalars.t}, {"T", nullptr, &scalars.T},
                              {"epoch", nullptr, &scalars.epoch}, {"val_loss", nullptr, &scalars.val_loss}, {"count", nullptr, &scalars.count}};
  for (uint32_t i = 0; i < size(entry.source->inputs()); ++i) {
    const program::Port& from = *entry.source->inputs()->Get(i);
    Port port{text(from.name()), to_type(from.type())};
    port.bytes = port.type.bytes();
    auto data = resolve(from.place(), arena, port.bytes, "an input");
    if (!data) return data.error();
    port.data = *data;
    const int64_t* integer = nullptr;
    const double* real = nullptr;
    if (port.type.shape.empty()) {
      for (const Builtin& builtin : builtins)
        if (builtin.name == port.name) integer = builtin.integer, real = builtin.real;
      if (!integer && !real)
        for (const Hyper& hyper : hypers)
          if (hyper.name == port.name && (!real || owns(hyper.owner, entry.name))) real = &hyper.value;
    }
    if (integer || real) entry.scalars.push_back({port.name, port.type.element, port.data, real, integer});
    else entry.inputs.push_back(std::move(port));
  }
  for (uint32_t i = 0; i < size(entry.source->outputs()); ++i) {
    const program::Port& from = *entry.source->outputs()->Get(i);
    Port port{text(from.name()), to_type(from.type())};
    port.bytes = port.type.bytes();
    auto data = resolve(from.place(), arena, port.bytes, "an output");
    if (!data) return data.error();
    port.data = *data;
    entry.outputs.push_back(std::move(port));
  }

  for (uint32_t l = 0; l < size(entry.source->loops()); ++l) {
    const program::Loop& loop = *entry.source->loops()->Get(l);
    if (loop.begin() >= loop.end() || loop.end() > size(entry.source->phases()) || loop.rounds() == 0) return damaged("a loop without phases");
    entry.loops.push_back({loop.begin(), loop.end(), int64_t(loop.rounds())});
  }
  for (uint32_t p = 0; p < size(entry.source->phases()); ++p) {
    ResolvedPhase phase;
    double phase_seconds = 0;
    int64_t most_granules = 0;
    auto* strands = entry.source->phases()->Get(p)->strands();
    for (uint32_t s = 0; s < size(strands); ++s) {
      const program::Strand& from = *strands->Get(s);
      if (from.granules() >> Share::bits != 0) return damaged("a strand with more granules than fit");
      ResolvedStrand strand{int64_t(from.granules()), int64_t(from.block()), {}, std::make_unique<Share[]>(size_t(threads()))};
      for (uint32_t c = 0; c < size(from.calls()); ++c) {
        const program::Call& call = *from.calls()->Get(c);
        if (call.kernel() >= size(program_->kernels())) return damaged("a call of a kernel that there is not");
        if (call.grain() == 0 || call.grain() * from.granules() < call.units()) return damaged("granules that do not cover a kernel");
        if (call.outputs() > size(call.args())) return damaged("a call with more results than arguments");
        auto args = std::make_unique<char*[]>(size(call.args()) + 1);
        for (uint32_t a = 0; a < size(call.args()); ++a) {
          auto at = resolve(call.args()->Get(a), arena, 0, "an argument");
          if (!at) return at.error();
          args[a] = *at;
        }
        strand.calls.push_back({image->kernels[call.kernel()], args.get(), int64_t(call.units()), int64_t(call.grain()), entry.calls++, &call, entry.source->local_bytes()});
        if (auto* bytes = call.unit_bytes()) strand.calls.back().unit_bytes.assign(bytes->begin(), bytes->end());
        if (size_t local = strand.calls.back().unit_bytes.size(); local > 0 && (local != size(call.args()) || local > most_arguments)) return damaged("a call with local arguments that it has not");
        for (uint32_t m = 0; call.moves() && m < call.moves()->size(); ++m) {
          const program::Move& move = *call.moves()->Get(m);
          if (move.arg() >= size(call.args()) || move.loop() >= entry.loops.size()) return damaged("an argument that moves in no loop");
          const ResolvedLoop& loop = entry.loops[move.loop()];
          if (p < loop.begin || p >= loop.end) return damaged("an argument that moves in a loop elsewhere");
          entry.loops[move.loop()].shifts.push_back({&args[move.arg()], move.stride(), move.alternate()});
        }
        entry.args.push_back(std::move(args));
        phase_seconds += estimate(call.flops(), call.bytes());
        entry.flops += call.flops() * entry.rounds(p);
        entry.bytes += call.bytes() * entry.rounds(p);
      }
      most_granules = std::max(most_granules, strand.granules);
      phase.granules += strand.granules;
      phase.strands.push_back(std::move(strand));
    }
    phase.serial = phase_seconds < 2e-6 || (most_granules <= 1 && phase.strands.size() <= 1);
    if (!phase.serial) entry.parallel = true;
    entry.phases.push_back(std::move(phase));
  }
  for (size_t p = 0; p < entry.phases.size(); ++p)
    if (!entry.phases[p].serial) entry.alone_from = p + 1;
  for (const ResolvedLoop& loop : entry.loops)
    if (loop.begin < entry.alone_from) entry.alone_from = std::max(entry.alone_from, loop.end);
  entry.first_update = std::min<size_t>(entry.source->first_update(), entry.phases.size());
  if (const Port* loss = entry.output("loss"); loss && loss->type.elements() == 1 && info(loss->type.element).is_float) {
    entry.loss = loss;
    LastWrite write = last_write(entry, loss->data);
    entry.guarded = write.call && write.phase < entry.first_update;
  }
  return {};
}

std::string_view Variable::elements(std::vector<std::unique_ptr<char[]>>& copies) const {
  if (layout.row_major()) return {data, bytes};
  copies.push_back(std::make_unique<char[]>(bytes));
  read(copies.back().get());
  return {copies.back().get(), bytes};
}

double estimate(double flops, double bytes) { return std::max(flops / 4e10, bytes / 2e10); }

const Port* Entry::input(std::string_view port) const {
  for (const Port& candidate : inputs)
    if (candidate.name == port) return &candidate;
  return nullptr;
}

bool Entry::takes_fewer_rows() const {
  return std::any_of(scalars.begin(), scalars.end(), [](const ScalarInput& scalar) { return scalar.name == "valid"; });
}

const Port* Entry::output(std::string_view port) const {
  for (const Port& candidate : outputs)
    if (candidate.name == port) return &candidate;
  return nullptr;
}

size_t Entry::next(size_t phase) const {
  ++phase;
  for (size_t l = loops.size(); l-- > 0;) {   // inner loops first
    const ResolvedLoop& loop = loops[l];
    if (loop.end != phase) continue;
    const int64_t round = loop.round, following = round + 1 < loop.rounds ? round + 1 : 0;
    for (const ResolvedLoop::Shift& shift : loop.shifts) *shift.argument += shift.offset(following) - shift.offset(round);
    loop.round = following;
    if (following > 0) return loop.begin;
  }
  return phase;
}

void Entry::rewind() const {
  for (const ResolvedLoop& loop : loops) {
    for (const ResolvedLoop::Shift& shift : loop.shifts) *shift.argument -= shift.offset(loop.round);
    loop.round = 0;
  }
}

double Entry::rounds(size_t phase) const {
  double count = 1;
  for (const ResolvedLoop& loop : loops)
    if (loop.begin <= phase && phase < loop.end) count *= double(loop.rounds);
  return count;
}

Entry* Model::entry(std::string_view name) {
  auto found = entry_index_.find(name);
  return found == entry_index_.end() ? nullptr : &entries_[found->second];
}

Variable* Model::variable(std::string_view name) {
  for (Variable& candidate : variables)
    if (candidate.name == name) return &candidate;
  return nullptr;
}

void write_scalar(const ScalarInput& scalar, int64_t value) {
  if (scalar.element == ElementType::i64) store(scalar.target, value);
  else write_number(scalar.element, scalar.target, double(value));
}

void write_scalar(const ScalarInput& scalar) {
  if (scalar.integer) write_scalar(scalar, *scalar.integer);
  else write_number(scalar.element, scalar.target, *scalar.real);
}

void Model::fill_scalars(Entry& entry) {
  for (const ScalarInput& scalar : entry.scalars) write_scalar(scalar);
}

bool Model::run(Entry& entry) {
  fill_scalars(entry);
  CallTimes* times = nullptr;
  if (profiling_) {
    times = &profile_[&entry];
    if (times->threads.empty()) times->prepare(threads(), entry.calls);
  }
  return runner_->run(entry, times);
}

std::string Model::explain_not_finite(Entry& entry, const std::function<void()>& refill) {
  std::vector<std::unique_ptr<char[]>> copies;
  const Variable* spoilt = nullptr;
  for (const Variable& variable : variables)
    if (!spoilt && variable.belongs_to_model() && !all_finite(variable.type.element, variable.elements(copies).data(), variable.type.elements())) spoilt = &variable;
  if (spoilt && entry.guarded)
    return fmt::format("{} ({}) already holds a value that is not finite, from an earlier update: a lower learning rate or clipping may help",
                       spoilt->name, spoilt->line);
  refill();
  for (const Port& input : entry.inputs)
    if (!all_finite(input.type.element, input.data, input.type.elements())) return fmt::format("the data: '{}' holds a value that is not finite", input.name);
  fill_scalars(entry);
  const ResolvedCall* call = find_not_finite(entry, runner_->scratch(0));
  if (!call && entry.loss && !entry.guarded) call = last_write(entry, entry.loss->data).call;   // it updates as well, and is not run again
  if (!call) return "run again, no kernel gives a value that is not finite";
  std::string lines = fmt::format("{}", fmt::join(source_lines(*call->source), ", "));
  std::string where = fmt::format("{}{}{}", lines.empty() ? "" : lines + " (", text(call->source->name()), lines.empty() ? "" : ")");
  if (!spoilt) return fmt::format("the first value that is not finite comes from {}", where);
  return fmt::format("since this update, or one before, {} ({}) holds a value that is not finite, which is first met in {}", spoilt->name, spoilt->line, where);
}

std::vector<std::string> Model::source_lines(const program::Call& call) const {
  std::vector<std::string> lines;
  for (uint32_t i = 0; i < size(call.lines()); ++i)
    if (call.lines()->Get(i) < size(program_->lines())) lines.push_back(program_->lines()->Get(call.lines()->Get(i))->str());
  return lines;
}

void Model::initialize(int64_t seed) {
  std::memset(variables_block_.data(), 0, variables_block_.size());
  scalars = Scalars();
  scalars.seed = seed;
  if (Entry* init = entry(program_->init())) run(*init);
  reset_sessions();
}

void Model::reset_sessions() {
  scalars.position = 0;
  if (Entry* reset = entry(program_->reset())) run(*reset);
}

void Model::initialize(const program::Optimizer* optimizer) {
  if (Entry* init = entry(optimizer->init())) run(*init);
}

Result<std::vector<Hyper*>> Model::find_hypers(const std::string& name, const std::vector<const program::Optimizer*>& chosen) {
  std::vector<Hyper*> exact, partial;
  std::vector<std::string> names;
  for (Hyper& hyper : hypers) {
    if (hyper.owner && std::find(chosen.begin(), chosen.end(), hyper.owner) == chosen.end()) continue;
    if (hyper.name == name) exact.push_back(&hyper);
    if (hyper.name.size() > name.size() && hyper.name.ends_with(name) && hyper.name[hyper.name.size() - name.size() - 1] == '.') partial.push_back(&hyper);
    if (std::find(names.begin(), names.end(), hyper.name) == names.end()) names.push_back(hyper.name);
  }
  if (!exact.empty()) return exact;
  for (Hyper* hyper : partial)
    if (hyper->name != partial[0]->name)
      return Error{GRADC_UNKNOWN_NAME, fmt::format("'{}' may mean '{}' or '{}': say which", name, partial[0]->name, hyper->name)};
  if (!partial.empty()) return partial;
  return Error{GRADC_UNKNOWN_NAME, fmt::format("no hyperparameter is called '{}'{}", name, suggestion(name, names))};
}

void Model::start_profile() {
  profiling_ = true;
  profile_.clear();
}

}  // namespace gradc::runtime
