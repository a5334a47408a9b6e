// A model handle: the program, its memory, its entries, its hyperparameters. Everything else in the runtime works on one of these.
#pragma once
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/entry.h"
#include "runtime/error.h"
#include "runtime/layout.h"
#include "runtime/memory.h"
#include "runtime/step.h"
#include "runtime/team.h"
#include "runtime/vocabulary.h"

namespace gradc::runtime {

/// What the runtime fills in by name wherever an entry asks for it (program.fbs).
struct Scalars {
  int64_t seed = 0, row = 0, valid = 0, step = 0, position = 0;
  double t = 1, T = 1, epoch = 0, val_loss = std::numeric_limits<double>::infinity(), count = 0;
};

struct Variable {
  std::string name;
  Type type;
  size_t bytes;          // in row-major order, as files and callers see it
  char* data;            // as kernels see it
  program::VariableKind kind;
  bool frozen;
  std::string line;
  Layout layout;
  size_t stored_bytes;   // of data

  /// Copies `bytes` bytes of row-major elements in and out.
  void write(const void* from) { arrange(layout, type.shape, info(type.element).bytes, from, data); }
  void read(void* to) const { restore(layout, type.shape, info(type.element).bytes, data, to); }
  /// Its elements in row-major order: where they are, or a copy that goes to `copies`.
  std::string_view elements(std::vector<std::unique_ptr<char[]>>& copies) const;
  /// Part of what the model is, as opposed to how it is trained.
  bool belongs_to_model() const { return kind == program::VariableKind::parameter || kind == program::VariableKind::state; }
};

struct Hyper {
  std::string name;
  const program::Optimizer* owner;   // null: a config value
  double value, declared;
};

/// The bytes of an image's program, 8-byte aligned; in `copy` unless they lie so in the image. Null if they do not unpack.
const uint8_t* unpack(const gradc_image&, std::vector<uint64_t>& copy);

class Model {
 public:
  /// threads 0: as many as pay. The first values are those of `seed`, or of the program's own.
  static Result<std::unique_ptr<Model>> create(const gradc_image* image, int threads, const int64_t* seed);

  const program::Program* program() const { return program_; }
  std::string name() const;
  int threads() const { return threads_; }

  /// Null if the program has none of that name.
  Entry* entry(std::string_view name);
  Entry* entry(const flatbuffers::String* name) { return name ? entry(std::string_view(name->c_str(), name->size())) : nullptr; }
  std::vector<Entry>& entries() { return entries_; }

  /// Writes the scalars into the entry's inputs and runs it. False: the loss is not finite; if the entry is guarded, nothing was updated.
  bool run(Entry& entry);
  /// After run() gave false: runs again up to the update and says where it begins. refill puts the inputs back in place.
  std::string explain_not_finite(Entry& entry, const std::function<void()>& refill);

  /// First values of all variables, from `seed`. Slots of optimizers get theirs from initialize(optimizer).
  void initialize(int64_t seed);
  void initialize(const program::Optimizer* optimizer);
  /// Sessions get their first values: the next sample of an incremental export is the first.
  void reset_sessions();

  Scalars scalars;
  std::vector<Hyper> hypers;
  std::vector<Variable> variables;
  Vocabularies vocabularies;   // of data sets with texts: learned from them or from a checkpoint
  Variable* variable(std::string_view name);

  /// All hyperparameters that `name` means: the full name, or a part after a dot that only one has. Optimizers in `chosen` alone count, with the
  /// config values; a name may mean several if several steps use the same optimizer.
  Result<std::vector<Hyper*>> find_hypers(const std::string& name, const std::vector<const program::Optimizer*>& chosen);

  void start_profile();
  const std::map<const Entry*, CallTimes>& profile() const { return profile_; }

  size_t arena_bytes() const { return arena_.size() + reader_arena_.size(); }
  /// The lines of the model file that a call covers: "fashion.grad:12", "gradient of fashion.grad:12".
  std::vector<std::string> source_lines(const program::Call&) const;
  size_t scratch_bytes() const { return scratch_.size(); }

 private:
  Model() = default;
  Status resolve(const gradc_image* image);
  Status resolve(Entry& entry, const gradc_image* image);
  Result<char*> resolve(const program::Place* place, const Block& arena, size_t bytes, const char* what);
  void fill_scalars(Entry& entry);

  const program::Program* program_ = nullptr;
  std::vector<uint64_t> program_copy_;   // what unpack made
  const char* constants_ = nullptr;
  size_t constants_bytes_ = 0;
  Block variables_block_, arena_, reader_arena_, scratch_, constants_copy_;
  std::vector<Entry> entries_;
  std::map<std::string, size_t, std::less<>> entry_index_;
  bool profiling_ = false;
  std::map<const Entry*, CallTimes> profile_;
  int threads_ = 1;
  std::unique_ptr<StepRunner> runner_;   // last: its threads look at the entries until they are gone
};

/// Strings of FlatBuffers, which may be absent.
inline std::string text(const flatbuffers::String* string) { return string ? string->str() : std::string(); }
template <class T>
auto size(const flatbuffers::Vector<T>* vector) {
  return vector ? vector->size() : 0;
}

}  // namespace gradc::runtime
