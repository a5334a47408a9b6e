#include "frontend/driver_memory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "codegen/emit.h"
#include "runtime/machine.h"

namespace gradc {

std::optional<uint64_t> parse_size(std::string_view text) {
  struct Unit {
    std::string_view name;
    double bytes;
  };
  constexpr Unit units[] = {{"", 1}, {"B", 1}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"KiB", 1024.0}, {"MiB", 1024.0 * 1024}, {"GiB", 1024.0 * 1024 * 1024}};
  double number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  std::string_view unit = text.substr(end - text.data());
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  if (error != std::errc() || !(number > 0)) return std::nullopt;
  for (const Unit& u : units)
    if (u.name == unit && number * u.bytes >= 1 && number * u.bytes < 0x1p63) return static_cast<uint64_t>(number * u.bytes);
  return std::nullopt;
}

MemoryUse memory_use(const program::ProgramT& image, const codegen::KernelTable& kernels, const codegen::Target& target) {
  MemoryUse use;
  use.variables = image.variables_bytes;
  use.constants = image.constants.size();
  uint64_t scratch = 0;
  for (const ir::Kernel& kernel : kernels.kernels()) scratch = std::max<uint64_t>(scratch, codegen::scratch_bytes(kernel, target));
  uint64_t local = 0;
  for (const auto& entry : image.entries) local = std::max<uint64_t>(local, entry->local_bytes);
  use.scratch = runtime::scratch_stride(local + scratch) * static_cast<uint64_t>(runtime::usable_cores());
  uint64_t reader = 0;   // runs beside the others, in memory of its own
  for (const auto& entry : image.entries) {
    uint64_t& most = entry->name.starts_with("augment.") ? reader : use.arena;
    most = std::max<uint64_t>(most, entry->arena_bytes);
  }
  use.arena += reader;
  return use;
}

std::vector<passes::Segments> segment_choices() {
  std::vector<passes::Segments> choices;
  for (int all = 2; all <= 32; all *= 2)
    for (int again : {0, all / 4, all / 2, 3 * all / 4, all - 1})
      if (passes::Segments choice{all, again}; again < all && std::find(choices.begin(), choices.end(), choice) == choices.end()) choices.push_back(choice);
  std::stable_sort(choices.begin(), choices.end(), [](passes::Segments a, passes::Segments b) { return a.again * b.all < b.again * a.all; });
  return choices;
}

namespace {
std::string megabytes(uint64_t bytes) { return bytes >= 100'000 ? fmt::format("{:.1f} MB", static_cast<double>(bytes) * 1e-6) : fmt::format("{:.1f} kB", static_cast<double>(bytes) * 1e-3); }

// "gradient of models/deep.grad:3" without the folders.
std::string short_place(const std::string& text) {
  size_t begin = text.rfind(' ') + 1, slash = text.rfind('/');
  return slash == text.npos || slash < begin ? text : text.substr(0, begin) + text.substr(slash + 1);
}

using Consumers = std::map<std::string, uint64_t>;

// Parameters of a line (the layers of a loop share it) with their slots.
void add_variables(Consumers& to, const program::ProgramT& image) {
  std::map<std::string, std::string> line_of;
  for (const auto& v : image.variables) line_of[v->name] = v->line;
  for (size_t i = 0; i < image.variables.size(); ++i) {
    const auto& v = *image.variables[i];
    std::string owner = v.name.substr(v.name.rfind('/') + 1);   // of "adam/m/net.dense.w"
    auto line = line_of.find(owner);
    uint64_t end = i + 1 < image.variables.size() ? image.variables[i + 1]->offset : image.variables_bytes;
    std::string where = line == line_of.end() ? v.line : line->second;
    to[where.empty() ? owner : fmt::format("parameters and slots of {}", short_place(where))] += end - v.offset;
  }
}

// What lies in the arena in the phase in which the most does.
void add_activations(Consumers& to, const FusedFunction& fused, const ir::Module& module) {
  const auto& buffers = fused.notes.buffers;
  auto live = [](const codegen::EntryNotes::Buffer& b, int phase) { return b.life.first <= phase && phase <= b.life.last; };
  // A place that is handed on counts once.
  auto held = [&](int phase) {
    std::map<uint64_t, const codegen::EntryNotes::Buffer*> at;
    for (const auto& b : buffers)
      if (live(b, phase)) {
        auto& known = at[b.offset];
        if (!known || known->life.bytes < b.life.bytes) known = &b;
      }
    return at;
  };
  std::map<uint64_t, const codegen::EntryNotes::Buffer*> most;
  uint64_t most_bytes = 0;
  int last = 0;
  for (const auto& b : buffers) last = std::max(last, b.life.last);
  for (int phase = 0; phase <= last; ++phase) {
    auto at = held(phase);
    uint64_t bytes = 0;
    for (const auto& [offset, b] : at) bytes += b->life.bytes;
    if (bytes > most_bytes) most = std::move(at), most_bytes = bytes;
  }
  for (const auto& [offset, b] : most) {
    const ir::Node& node = fused.function[b->value];
    std::string what = node.op == ir::Op::input    ? fmt::format("the batch's {}", node.attrs.text(ir::Attr::name))
                       : !node.loc.known()         ? "other values"
                       : node.loc.role == ir::Loc::Role::source ? fmt::format("values of {}", short_place(module.describe(node.loc)))
                                                                : short_place(module.describe(node.loc));
    to[what] += b->life.bytes;
  }
}

int64_t batch_of(const std::string& entry, const program::ProgramT& image) {
  for (const auto& train : image.trains)
    for (const auto& step : train->step_list)
      for (const auto& optimizer : step->optimizers)
        if (optimizer->step == entry) return train->chunk > 0 ? train->chunk : train->batch;
  return 0;
}
}  // namespace

void report_shortage(const Shortage& shortage, const MemoryUse& use, const FusedFunction& fused, const Program& program, const ir::Module& module, Diagnostics& diagnostics) {
  const program::ProgramT& image = program.image;
  uint64_t slots = 0, least = use.fixed() + shortage.least;
  for (size_t i = 0; i < image.variables.size(); ++i)
    if (image.variables[i]->kind == program::VariableKind::slot || image.variables[i]->kind == program::VariableKind::accumulator)
      slots += (i + 1 < image.variables.size() ? image.variables[i + 1]->offset : image.variables_bytes) - image.variables[i]->offset;
  std::string how;
  if (shortage.segments.all > 1)
    how = fmt::format(", in {} segments of which {} are computed again ({} in one)", shortage.segments.all, shortage.segments.again, megabytes(use.fixed() + shortage.plain));
  Diagnostic& d = diagnostics.add(DiagnosticId::over_memory_limit, {}, fmt::format("`{}` does not fit {}: the least is {}{}", fused.function.name, megabytes(shortage.limit), megabytes(least), how));
  d.hints.push_back(fmt::format("that is parameters and states {}, optimizer slots {}, batch, activations and cotangents {}, scratch of {} threads {}, constants {}",
                                megabytes(use.variables - slots), megabytes(slots), megabytes(shortage.least), runtime::usable_cores(), megabytes(use.scratch), megabytes(use.constants)));
  Consumers consumers;
  add_variables(consumers, image);
  add_activations(consumers, fused, module);
  std::vector<std::pair<uint64_t, std::string>> sorted;
  for (const auto& [what, bytes] : consumers) sorted.push_back({bytes, what});
  std::sort(sorted.rbegin(), sorted.rend());
  std::vector<std::string> largest;
  for (size_t i = 0; i < std::min<size_t>(sorted.size(), 4); ++i) largest.push_back(fmt::format("{} {}", sorted[i].second, megabytes(sorted[i].first)));
  d.hints.push_back(fmt::format("the most is taken by {}", fmt::join(largest, ", ")));
  if (use.fixed() >= shortage.limit) {
    d.hints.push_back(slots > 0 ? "no batch is small enough: take fewer parameters, or an optimizer with fewer slots" : "no batch is small enough: take fewer parameters");
  } else if (int64_t batch = batch_of(fused.function.name, image); batch > 1) {
    double part = static_cast<double>(shortage.limit - use.fixed()) / static_cast<double>(shortage.least);
    if (int64_t fits = static_cast<int64_t>(static_cast<double>(batch) * part); fits > 0)
      d.hints.push_back(fmt::format("batches of {} samples take too much, of about {} they would fit", batch, fits));
  }
}

}  // namespace gradc
