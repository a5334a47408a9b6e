// The value of a body node at a place, as LLVM code: what all emitters share.
//
// A place is a vector of index expressions, one per axis. Maps are emitted at the place of their result, views change the place,
// inputs are loaded there: maps and views are inlined into whoever reads them. Where an index holds a lane variable, the
// value is a vector of `lanes` elements, else it is a scalar, however many lanes there are; users splat it when they must.
//
// A value at a place is emitted once per scope (a loop's body opens a scope). Reductions and heroes are not emitted here: the emitter
// provides their values at the place where it computed them, and the lookup finds them because equal places have equal indices.
#pragma once
#include <functional>
#include <map>
#include <vector>

#include "codegen/frame.h"
#include "codegen/index.h"
#include "codegen/map_ops.h"

namespace gradc::codegen {

/// Reductions of up to this many elements become straight code where they are read, larger ones a loop.
constexpr int64_t straight_reduction = 16;

class Expression {
 public:
  Expression(Frame&, IndexSpace&, int lanes);

  Frame& frame;
  IndexSpace& space;
  LlvmBuilder& b;
  const int lanes;

  /// Gives a loop variable its value (i64). A lane variable stands for value, value + 1, ... in the lanes. Variables with one value need none.
  void bind(const Index& variable, LlvmValue value);
  void bind_lanes(const Index& variable, LlvmValue value);
  /// A variable that stands for an unrelated number in each lane (i32).
  void bind_scattered(const Index& variable, LlvmValue numbers);
  /// Lanes that exist (a vector of bools), or null for all: lanes outside are not loaded and not stored.
  void set_mask(LlvmValue mask) { mask_ = mask; }
  LlvmValue mask() const { return mask_; }
  /// What is emitted from now on matters only where these hold: elsewhere nothing outside a tensor is loaded.
  void set_guards(std::vector<Guard>);
  LlvmValue all_of(const std::vector<Guard>&);
  /// The mask of the first `count` lanes; null if that is all.
  LlvmValue first_lanes(int64_t count);

  /// Values emitted between open and close are forgotten at close: they do not reach what comes after.
  void open() { scopes_.emplace_back(); }
  void close() { scopes_.pop_back(); }

  void provide(ir::Value, const IndexVector& at, LlvmValue);
  /// The value of a node there: a scalar if it is the same in all lanes, else a vector.
  LlvmValue emit(ir::Value, const IndexVector& at);
  LlvmValue emit_lanes(ir::Value v, const IndexVector& at) { return splat(b, emit(v, at), lanes); }

  /// Gives a reduction the element of its operand there.
  void take(Reduction&, Reduction::State, ir::Value operand, const IndexVector& at, LlvmValue position, LlvmValue mask);

  LlvmValue load(const Buffer&, const IndexVector& at);
  /// Where the element, or the first of the lanes, lies.
  LlvmValue place(const Buffer&, const IndexVector& at);
  /// Asks for the cache line of an element that will be read and written.
  void prefetch(const Buffer&, const IndexVector& at);
  /// Loads from such buffers also ask for the element a step of their second fastest index further: what the next row of tiles reads.
  void ask_ahead(std::vector<LlvmValue> buffers) { asked_ahead_ = std::move(buffers); }
  /// Stores a scalar or a vector there, in memory form.
  void store(const Buffer&, const IndexVector& at, LlvmValue);

  /// An index as an i64: of the first lane.
  LlvmValue number(const Index&);
  /// An index as i32 values of the lanes.
  LlvmValue lane_numbers(const Index&);
  /// The lane variable in an index, or -1.
  Atom lane_variable(const Index&) const;
  /// Whether the index differs from lane to lane.
  bool varies(const Index&) const;
  /// How much it grows from lane to lane; nothing if that is not constant.
  std::optional<int64_t> lane_stride(const Index&) const;

 private:
  struct Key {
    uint32_t node;
    IndexVector at;
    std::vector<Guard> guards;
    auto operator<=>(const Key&) const = default;
  };
  struct Scope {
    std::map<Key, LlvmValue> values;
    std::map<Index, LlvmValue> numbers;
  };

  LlvmValue emit_new(ir::Value, const IndexVector& at);
  bool once(ir::Value, const IndexVector& at) const;   // can be computed at the function's entry
  LlvmValue emit_fused(const ir::Node&, const IndexVector& at);
  LlvmValue emit_view(const ir::Node&, const IndexVector& at);
  LlvmValue emit_guarded(const Access&, ir::Value operand, LlvmValue outside);
  LlvmValue emit_reduce(const ir::Node&, const IndexVector& at);
  LlvmValue emit_gather(const ir::Node&, const IndexVector& at);
  LlvmValue emit_literal(const ir::Node&, const IndexVector& at);
  LlvmValue emit_random(const ir::Node&, const IndexVector& at);
  LlvmValue emit_transform(const ir::Node&, size_t literal, const IndexVector& at);
  std::pair<LlvmValue, LlvmValue> in_step(LlvmValue, LlvmValue);
  LlvmValue condition(const Guard&);
  LlvmValue atom_number(Atom);
  LlvmValue atom_lanes(Atom);
  LlvmValue address(const Buffer&, const Index& position);
  LlvmValue gather_addresses(const Buffer&, const Index& position);
  LlvmValue lane_offsets(int64_t stride);
  void ask_ahead(const Buffer&, const Index& position, LlvmValue pointer, bool write);

  struct Binding {
    LlvmValue value = nullptr;
    bool lane = false, scattered = false;
  };
  std::map<Atom, Binding> bindings_;
  std::vector<Atom> lane_variables_, scattered_;
  std::vector<Scope> scopes_;
  std::vector<Guard> guards_;   // what holds for the value being emitted, sorted
  LlvmValue mask_ = nullptr;
  std::vector<LlvmValue> asked_ahead_;
  std::map<const ir::Node*, Buffer> literals_;
  std::vector<bool> needs_provided_;   // per node: a reduction or a hero is below it
  std::vector<bool> fused_;            // per node: a product that only one sum reads, which takes its factors instead
};

/// Opens a scope while it lives.
class ScopeGuard {
 public:
  explicit ScopeGuard(Expression& e) : e_(e) { e_.open(); }
  ~ScopeGuard() { e_.close(); }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Expression& e_;
};

/// Philox4x32-10: the words 0 and 1 for each counter (e, step, site).
std::pair<LlvmValue, LlvmValue> emit_philox(LlvmBuilder&, LlvmValue element_i64, LlvmValue step_i64, int64_t site, LlvmValue seed_i64);

}  // namespace gradc::codegen
