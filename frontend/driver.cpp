// Stages, in order: parse, elaborate (graph), split validation and mask chunks, expand gradients (gradient), optimize
// (optimized), fuse and plan (kernels), emit (llvm, assembly), then an artifact. Each stage is done once, when it is first needed.
#include "frontend/driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "codegen/compile.h"
#include "codegen/layout.h"
#include "codegen/link.h"
#include "codegen/llvm_module.h"
#include "codegen/tune.h"
#include "frontend/ast_dump.h"
#include "frontend/driver_lower.h"
#include "frontend/driver_memory.h"
#include "frontend/elaborate.h"
#include "frontend/library_header.h"
#include "frontend/parser.h"
#include "ir/check.h"
#include "ir/dot.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "passes/fusion.h"
#include "passes/pairs.h"
#include "passes/recompute.h"
#include "runtime/gradc.h"

namespace gradc {
namespace fs = std::filesystem;

struct Driver::State {
  DriverOptions options;
  Sources sources;
  Diagnostics diagnostics{sources};
  FileId file = 0;
  std::optional<Program> program;
  ir::Module gradient, optimized;
  Stage reached = Stage::ast;
  std::vector<FusedFunction> fused;
  codegen::KernelTable kernels;
  codegen::Target target;
  uint64_t limit = 0;   // bytes; 0: none
  std::vector<codegen::Object> objects;
  std::vector<TunedKernel> tuned;
  bool text_kept = false;
  std::vector<std::pair<std::string, double>> times;

  template <typename F>
  auto timed(const char* what, F f) {
    auto start = std::chrono::steady_clock::now();
    struct Record {
      State& state;
      const char* what;
      std::chrono::steady_clock::time_point start;
      ~Record() { state.times.push_back({what, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}); }
    } record{*this, what, start};
    return f();
  }

  template <typename Checked>   // a module or a function
  void check(const Checked& module, const char* stage) {
    if (!options.verify) return;
    std::string error = ir::verify(module);
    CHECK(error.empty(), "after {}: {}", stage, error);
  }

  ir::Precision precision() const { return ir::precision_from_name(program->image.precision).value_or(ir::Precision::f32); }

  bool choose_target() {
    const bool bf16 = precision() != ir::Precision::f32;
    if (options.target == "native") {
      target = codegen::host_target(bf16);
    } else if (auto named = codegen::named_target(options.target)) {
      target = *named;
    } else {
      diagnostics.add(DiagnosticId::unknown_target, {}, fmt::format("there is no target `{}`", options.target)).hints = {"targets are native, amx, avx512bf16, avx512, avx2 and baseline"};
      return false;
    }
    if (bf16 && !target.bf16) {
      std::string who = options.target == "native" ? "this processor" : fmt::format("the target {}", target.name);
      diagnostics.add(DiagnosticId::no_bf16, {}, fmt::format("{} has neither AMX nor AVX512-BF16: it cannot multiply in {}", who, program->image.precision)).hints = {
          "leave the precision out, or give --precision f32"};
      return false;
    }
    if (options.tune && !codegen::host_runs(target)) {
      diagnostics.add(DiagnosticId::cannot_tune, {}, fmt::format("this processor cannot run code for {}, so nothing can be measured", target.name)).hints = {"leave out --tune, or build on a processor of that kind"};
      return false;
    }
    if (precision() == ir::Precision::bf16x3 && !target.amx)
      diagnostics.add(DiagnosticId::slow_bf16x3, {}, "without AMX bf16x3 is slower than f32: use it to check results");
    return true;
  }

  // Takes the program up to a stage; false if diagnostics say why not.
  bool lower(Stage stage) {
    if (!program) return false;
    if (reached < Stage::gradient && stage >= Stage::gradient) {
      if (!timed("gradient", [&] { return lower_to_gradient(*program, gradient, precision(), diagnostics, sources); })) return false;
      check(gradient, "gradient");
      reached = Stage::gradient;
    }
    if (reached < Stage::optimized && stage >= Stage::optimized) {
      auto named = codegen::named_target(options.target);
      const bool amx = precision() != ir::Precision::f32 && (named ? named->amx : codegen::host_target(true).amx);
      timed("optimize", [&] { optimized = lower_to_optimized(gradient, options.winograd, amx, options.verify); });
      check(optimized, "optimize");
      reached = Stage::optimized;
    }
    if (reached < Stage::kernels && stage >= Stage::kernels) {
      if (!choose_target()) return false;
      if (!timed("fuse and plan", [&] { return fit(); })) return false;
      timed("tune", [&] { tune(); });
      reached = Stage::kernels;
    }
    return stage < Stage::llvm || compile(true);
  }

  // Machine code of all kernels; with `text`, what a dump shows of them, too, which takes as long again.
  bool compile(bool text) {
    if (!lower(Stage::kernels)) return false;
    if (objects.empty() || (text && !text_kept)) timed("compile", [&] { compile_kernels(text); });
    text_kept |= text;
    return true;
  }

  std::optional<codegen::Cache> cache() const { return options.cache.empty() ? std::nullopt : std::optional<codegen::Cache>(options.cache); }

  void compile_kernels(bool text) {
    std::optional<codegen::Cache> known = cache();
    objects = codegen::compile(kernels, {target, 0, text, text, known ? &*known : nullptr});
  }

  // Contracts are computed as was found best before, or is found now.
  void tune() {
    std::optional<codegen::Cache> known = cache();
    codegen::Judge judge = codegen::measure;
    if (options.tuned_choice) judge = [this](auto&, auto&, auto& candidates) { return std::pair(std::min(*options.tuned_choice, candidates.size() - 1), 1.0); };
    for (uint32_t i = 0; i < kernels.kernels().size(); ++i) {
      const ir::Kernel& kernel = kernels.kernels()[i];
      if (kernel.form != ir::Form::contract) continue;
      std::optional<codegen::Tuned> found = known ? codegen::remembered(kernel, target, *known) : std::nullopt;
      if (!found && options.tune) found = codegen::tune(kernel, target, known ? &*known : nullptr, judge);
      if (!found) continue;
      codegen::ContractChoice model = codegen::contract_candidates(kernel, target).front();
      if (found->choice != model) kernels.choose(i, found->choice);
      tuned.push_back({ir::describe(kernel), codegen::to_string(model), codegen::to_string(found->choice), found->gain, found->measured});
    }
  }

  // Plans all functions, some of them (by name) in segments. Whatever was planned before is forgotten.
  void plan(std::map<std::string, passes::Segments>& segments) {
    auto& image = program->image;
    image.entries.clear(), image.variables.clear(), image.constants.clear(), image.lines.clear();
    fused.clear();
    kernels = {};
    for (const ir::Function& function : optimized.functions) {
      ir::Function prepared = function;
      if (auto wanted = segments.find(function.name); wanted != segments.end()) {
        wanted->second = passes::recompute(prepared, wanted->second);   // or what there are places for
        check(prepared, "recompute");
      }
      if (target.bf16 && !target.amx) passes::share_roundings(prepared);   // tiles of AMX are packed by whoever reads them
      passes::prepare_for_fusion(prepared);
      std::vector<ir::KernelCall> calls = passes::fuse(prepared);
      fused.push_back({std::move(prepared), std::move(calls), {}});
    }
    std::vector<codegen::FusedEntry> entries;
    for (auto& f : fused) entries.push_back({&f.function, &f.calls});
    codegen::place_variables(optimized, image, codegen::choose_layouts(entries, target));
    for (auto& f : fused) f.notes = codegen::plan_entry(optimized, f.function, f.calls, kernels, image);
  }

  // Plans within the memory limit, if there is one: training steps that are too large are tried in segments, those first that compute the least again.
  bool fit() {
    std::map<std::string, passes::Segments> segments;
    plan(segments);
    if (limit == 0) return true;
    program->image.memory_limit = limit;
    const std::vector<passes::Segments> tries = segment_choices();
    struct Best {
      uint64_t plain, arena;
      passes::Segments at = {};
      size_t next = 0;   // of tries
    };
    std::map<std::string, Best> best;
    for (const auto& entry : program->image.entries) best[entry->name] = {entry->arena_bytes, entry->arena_bytes};
    for (;;) {
      MemoryUse use = memory_use(program->image, kernels, target);
      if (use.total() <= limit) return true;
      uint64_t room = limit > use.fixed() ? limit - use.fixed() : 0;
      bool more = false;
      for (const auto& entry : program->image.entries) {
        Best& b = best[entry->name];
        passes::Segments made = segments[entry->name];
        if (entry->arena_bytes < b.arena) b.arena = entry->arena_bytes, b.at = made;
        if (entry->arena_bytes <= room) continue;
        while (b.next > 0 && b.next < tries.size() && tries[b.next].all > 2 * made.all) ++b.next;   // there are not so many places to cut
        if (b.next >= tries.size()) continue;
        segments[entry->name] = tries[b.next++];
        more = true;
      }
      if (!more) break;
      plan(segments);
    }
    for (auto& [name, b] : best) segments[name] = b.at;
    plan(segments);
    auto largest = std::max_element(best.begin(), best.end(), [](const auto& a, const auto& b) { return a.second.arena < b.second.arena; });
    for (const FusedFunction& f : fused)
      if (f.function.name == largest->first)
        report_shortage({limit, largest->second.arena, largest->second.plain, largest->second.at}, memory_use(program->image, kernels, target), f, *program, optimized, diagnostics);
    return false;
  }

  bool fail(DiagnosticId id, const std::string& message) {
    diagnostics.add(id, {}, message);
    return false;
  }

  // The linked pieces of an artifact: kernels and image.
  codegen::Objects pieces(const std::string& prefix, codegen::Surface surface) {
    codegen::finish_program(kernels, objects, target, program->image);
    codegen::Objects all;
    for (const codegen::Object& object : objects) all.push_back(object.code);
    all.push_back(codegen::image_object(prefix, codegen::serialize(program->image), kernels, surface, target));
    return all;
  }
};

Driver::Driver(DriverOptions options) : state_(std::make_unique<State>()) { state_->options = std::move(options); }
Driver::~Driver() = default;
Sources& Driver::sources() { return state_->sources; }
Diagnostics& Driver::diagnostics() { return state_->diagnostics; }
const std::vector<std::pair<std::string, double>>& Driver::times() const { return state_->times; }
const std::vector<TunedKernel>& Driver::tuned() const { return state_->tuned; }
std::pair<size_t, size_t> Driver::kernels() const {
  size_t cached = std::count_if(state_->objects.begin(), state_->objects.end(), [](const codegen::Object& object) { return object.cached; });
  return {state_->objects.size(), cached};
}

std::optional<Stage> stage_from_name(std::string_view name) {
  constexpr std::string_view names[] = {"ast", "graph", "gradient", "optimized", "kernels", "llvm", "asm"};
  for (size_t i = 0; i < std::size(names); ++i)
    if (names[i] == name) return static_cast<Stage>(i);
  return std::nullopt;
}

bool Driver::read(const std::string& path, std::optional<std::string> text) {
  State& s = *state_;
  if (!text) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return s.fail(DiagnosticId::cannot_read, fmt::format("cannot read {}: {}", path, std::strerror(errno)));
    std::ostringstream contents;
    contents << file.rdbuf();
    text = contents.str();
  }
  s.file = s.sources.add(path, std::move(*text));
  return true;
}

bool Driver::load(const std::string& path, std::optional<std::string> text) {
  State& s = *state_;
  if (!read(path, std::move(text))) return false;
  ElaborateOptions options;
  options.set = s.options.set;
  options.optimizers = s.options.optimizers;
  s.program = s.timed("parse and elaborate", [&] { return elaborate(s.file, s.sources, s.diagnostics, options); });
  if (s.program) {
    if (!s.options.precision.empty()) s.program->image.precision = s.options.precision;
    if (!s.program->image.precision.empty() && !ir::precision_from_name(s.program->image.precision))
      s.diagnostics.add(DiagnosticId::unknown_precision, {}, fmt::format("there is no precision `{}`", s.program->image.precision)).hints = {"precisions are f32, bf16 and bf16x3"};
    if (!s.options.memory_limit.empty()) {
      s.limit = parse_size(s.options.memory_limit).value_or(0);
      if (s.limit == 0) s.diagnostics.add(DiagnosticId::bad_size, {}, fmt::format("`{}` is no size in bytes", s.options.memory_limit)).hints = {"sizes are 500000000, 64MB, 1.5GB, 64MiB"};
    }
    s.program->image.source = path;
    s.program->image.name = fs::path(path).stem().string();
    s.program->module.name = s.program->image.name;
    s.check(s.program->module, "elaborate");
  }
  return s.program.has_value() && !s.diagnostics.failed();
}

const ir::Module* Driver::module_at(Stage stage) {
  if (!state_->lower(stage)) return nullptr;
  if (stage == Stage::graph) return &state_->program->module;
  return stage == Stage::gradient ? &state_->gradient : &state_->optimized;
}

std::optional<std::string> Driver::dump(Stage stage, DumpFormat format, const std::string& function) {
  State& s = *state_;
  if (stage == Stage::ast) {
    ast::File file = parse(s.file, s.sources, s.diagnostics);
    if (s.diagnostics.failed()) return std::nullopt;
    return gradc::dump(file);
  }
  if (!s.lower(stage)) return std::nullopt;
  return dump_stage({stage, format, function, s.kernels, s.objects, s.program->image, s.fused, stage == Stage::graph ? s.program->module : stage == Stage::gradient ? s.gradient : s.optimized, s.target},
                    s.diagnostics);
}

bool Driver::build_executable(const std::string& output) {
  State& s = *state_;
  if (!s.compile(false)) return false;
  std::string error = s.timed("link", [&] { return codegen::link_executable(s.pieces("gradc_model", codegen::Surface::main), output); });
  return error.empty() || s.fail(DiagnosticId::cannot_write, error);
}

bool Driver::build_library(const std::string& folder) {
  State& s = *state_;
  if (!s.compile(false)) return false;
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) return s.fail(DiagnosticId::cannot_write, fmt::format("cannot make the folder {}: {}", folder, failed.message()));
  const std::string name = identifier(s.program->image.name);
  auto in = [&](const std::string& file) { return (fs::path(folder) / file).string(); };
  codegen::Objects pieces = s.pieces(name, codegen::Surface::library);
  std::string error = s.timed("link", [&] {
    std::string e = codegen::link_shared(pieces, name, in("lib" + name + ".so"));
    return e.empty() ? codegen::link_static(pieces, name, in("lib" + name + ".a")) : e;
  });
  if (!error.empty()) return s.fail(DiagnosticId::cannot_write, error);
  std::ofstream header(in(name + ".h"));
  header << library_header(name, s.program->image);
  return header.flush() ? true : s.fail(DiagnosticId::cannot_write, fmt::format("cannot write {}", in(name + ".h")));
}

int Driver::run(const std::vector<std::string>& arguments) {
  State& s = *state_;
  if (!s.compile(false)) return 1;
  codegen::finish_program(s.kernels, s.objects, s.target, s.program->image);
  std::vector<uint8_t> program = codegen::serialize(s.program->image);
  codegen::Jit jit;
  std::vector<gradc_kernel> kernels;
  for (const codegen::Object& object : s.objects) jit.add(object.code);
  for (uint32_t i = 0; i < s.objects.size(); ++i) kernels.push_back(jit.lookup<gradc_kernel>(s.kernels.symbol(i)));
  gradc_image image{program.data(), program.size(), kernels.data(), 0};
  std::vector<const char*> raw;
  for (const std::string& argument : arguments) raw.push_back(argument.c_str());
  return gradc_main(&image, static_cast<int>(raw.size()), raw.data());
}
}  // namespace gradc
