// Between elaboration and fusion. Which functions read samples, and what that asks for:
//   validate          is read in chunks: split into accumulate and finish, the last chunk masked
//   accumulate.OPT    one chunk of a large batch: the last one masked
//   export.NAME.ROWS  no sample may see another one
//   augment.BLOCK     the same
//   train.OPT         reads whole batches
#include "frontend/driver_lower.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/check.h"
#include "ir/verify.h"
#include "passes/attention.h"
#include "passes/factors.h"
#include "passes/pass.h"
#include "passes/precision.h"
#include "passes/samples.h"
#include "passes/unit_axes.h"

namespace gradc {
namespace {

// The inputs whose first axis runs over samples: fields of the data or of the export.
passes::Samples samples_of(const ir::Function& f, const program::ProgramT& image) {
  passes::Samples samples;
  auto take = [&](const std::string& name) {
    ir::Value input = f.input(name);
    if (!input.valid() || std::find(samples.inputs.begin(), samples.inputs.end(), name) != samples.inputs.end()) return;
    samples.inputs.push_back(name);
    samples.rows = f.type(input).shape[0];
  };
  if (f.name.starts_with("export.")) {
    for (const auto& e : image.exports)
      for (const auto& entry : e->entries)
        if (entry->entry == f.name)
          for (const auto& field : e->inputs) take(field->name);
  } else {
    for (const auto& data : image.data)
      for (const auto& field : data->fields) take(field->name);
  }
  return samples;
}

Span span_of(ir::Loc loc, const Sources& sources) {
  if (!loc.known()) return {};
  std::string_view line = sources.line(loc.file, loc.line);
  uint32_t begin = static_cast<uint32_t>(line.data() - sources.text(loc.file).data()) + loc.column - 1;
  return {loc.file, begin, begin + 1};
}

// Whose samples are meant to see those before them.
bool incremental(const std::string& function, const program::ProgramT& image) {
  for (const auto& e : image.exports)
    for (const auto& entry : e->entries)
      if (entry->entry == function) return e->steps > 0;
  return false;
}

program::Combine combine_of(passes::Combine combine) { return static_cast<program::Combine>(combine); }
}  // namespace

bool lower_to_gradient(Program& program, ir::Module& out, ir::Precision precision, Diagnostics& diagnostics, const Sources& sources) {
  out = program.module;
  out.functions.clear();
  auto fail = [&](const passes::SampleError& error) { diagnostics.add(DiagnosticId::mixed_samples, span_of(error.loc, sources), error.message); };
  for (const ir::Function& elaborated : program.module.functions) {
    Doing doing(fmt::format("expanding gradients of {}", elaborated.name));
    ir::Function source = elaborated;
    passes::set_precision(source, precision);
    program::AccumulatedT* accumulated = nullptr;
    for (const auto& train : program.image.trains)
      if (train->validate && train->validate->entry == source.name) accumulated = train->validate.get();
    passes::Samples samples = samples_of(source, program.image);
    if (accumulated) {
      auto split = passes::split_samples(source, samples);
      if (auto* error = std::get_if<passes::SampleError>(&split)) {
        fail(*error);
        continue;
      }
      auto& parts = std::get<passes::Split>(split);
      accumulated->rows = samples.rows;
      accumulated->finish = parts.finish.name;
      accumulated->combine.clear();
      for (passes::Combine combine : parts.combine) accumulated->combine.push_back(combine_of(combine));
      out.functions.push_back(std::move(parts.accumulate));
      out.functions.push_back(std::move(parts.finish));
      continue;
    }
    ir::Function f = std::move(source);
    std::optional<passes::SampleError> error;
    if (f.name.starts_with("accumulate.")) error = passes::mask_samples(f, samples);
    if (f.name.starts_with("export.") || f.name.starts_with("augment.")) {
      passes::expand_gradients(f);   // of a sum over samples each row has its own: the sum itself is gone then
      f.prune();
      if (!incremental(f.name, program.image)) error = passes::check_rows(f, samples, f.name.starts_with("augment.") ? "`augment`" : "an export");
    }
    if (error) {
      fail(*error);
      continue;
    }
    passes::expand_gradients(f);
    out.functions.push_back(std::move(f));
  }
  return !diagnostics.failed();
}

ir::Module lower_to_optimized(const ir::Module& module, passes::Winograd winograd, bool amx, bool verify) {
  ir::Module out = module;
  for (ir::Function& f : out.functions) {
    Doing doing(fmt::format("optimizing {}", f.name));
    passes::optimize(f);
    passes::take_out_late_factors(f);
    passes::use_winograd(f, winograd, !amx);
    passes::use_attention(f);
    passes::spread_single_channels(f);
    if (!verify) continue;
    std::string error = ir::verify(f);
    CHECK(error.empty(), "{}", error);
  }
  return out;
}
}  // namespace gradc
