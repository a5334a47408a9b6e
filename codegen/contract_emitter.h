// Emits the code of a planned contract kernel. Internal to contract*.cpp:
//
//   contract.cpp       the loop nest: units, outer indices, blocks of rows, panels, row tiles
//   contract_tile.cpp  a register tile: products, sums in SSA values, epilogue
//   contract_pack.cpp  copies of operands in the order in which tiles read them
//   contract_bf16.cpp  the same for precisions below f32
//   contract_amx.cpp   tiles of AMX
//   contract_lines.cpp the direct form of convolutions; contract_lines_few.cpp: of few filters
#pragma once
#include <llvm/ADT/STLFunctionalExtras.h>

#include <optional>

#include "codegen/contract_plan.h"
#include "codegen/expression.h"

namespace gradc::codegen {

using Values = std::vector<LlvmValue>;

class ContractEmitter {
 public:
  ContractEmitter(const ContractPlan&, const std::string& symbol, llvm::Module&, const Target&);
  llvm::Function* run();

 private:
  enum class Side { a, b };   // which operand: both may be the same value
  enum class Along : uint8_t { rows, depth, lanes, none };
  // An operand as tiles read it: element (row, k, lane) lies at base + row * row_stride + k * depth_stride + lane * lane_stride.
  // Rows count from 0 of the row index, k from the start of the depth block, lanes from the start of the panel. Along one of the three it may be in
  // blocks: offset() then is to be asked, with k counted from 0 of the reduced index.
  struct Operand {
    LlvmValue base = nullptr;
    Buffer buffer;   // that it is part of
    int64_t row_stride = 0, depth_stride = 0, lane_stride = 0;
    Along blocked = Along::none;
    int64_t block = 1, block_stride = 0;
    LlvmValue first_depth = nullptr;   // blocked along the depth: where the depth block starts
    Values lane_offsets;               // blocked along lanes, unless blocks and panels begin together: of each vector of the panel
    int64_t stride(Along along) const { return along == Along::rows ? row_stride : along == Along::depth ? depth_stride : lane_stride; }
    int64_t low = 0;   // bf16x3: elements to where the low halves lie
  };
  // A value that takes part in a product: f32, pairs of bf16, or high and low halves of such pairs.
  struct Term {
    LlvmValue high = nullptr, low = nullptr;
  };
  // Some vectors of columns. `mask` is for the last of them; null if it is whole.
  struct Panel {
    LlvmValue lane = nullptr;   // the first one
    int vectors = 1;
    LlvmValue mask = nullptr;
    int64_t whole_lanes = 0;       // columns that exist, if that is known here; else -1
  };

  // ---- loop nest (contract.cpp)
  void units(LlvmValue begin, LlvmValue end);
  void outer_loops_at(LlvmValue place);
  void inner_loops(size_t axis);
  void block();
  void run_part();
  void add_part(const Panel&);
  void row_block(LlvmValue first, LlvmValue last);
  void one_panel(const Panel&, LlvmValue first_row, LlvmValue last_row);
  void row_tiles(LlvmValue first_row, LlvmValue last_row, llvm::function_ref<void(int height, LlvmValue row)>);
  void for_panels(llvm::function_ref<void(const Panel&)>);

  // ---- the direct form (contract_lines.cpp)
  void run_lines();
  void line_block();
  void copy_lines(LlvmValue first, LlvmValue last, LlvmValue from_line);   // of the lines [first, last) those from `from_line` on
  LlvmValue not_yet_copied(LlvmValue first);
  LlvmValue copy_of(LlvmValue line, LlvmValue first);
  void clear_borders();
  std::pair<LlvmValue, LlvmValue> digit_range(int digit);   // of lines that exist
  Values line_products(const Panel&, int height, LlvmValue row, LlvmValue first, LlvmValue last, Values sums);
  Operand line_operand(bool of_a, const Panel&, const Values& digits, LlvmValue first);
  LlvmValue waiting_sums(const Panel&, LlvmValue row);
  // Lanes along the line that is summed (contract_lines_few.cpp).
  void turn_lines();
  void summed_products(LlvmValue first, LlvmValue last);
  void finish_summed();
  LlvmValue waiting_columns(LlvmValue row);
  // A vector whose lanes come from here and there: of lane i the source and its lane, or a negative source.
  LlvmValue collected(const Values& sources, llvm::ArrayRef<std::pair<int, int>> lanes);

  // ---- tiles (contract_tile.cpp)
  // What runs once in each of so many rounds of several reduced elements, with the number of the round among them.
  struct Between {
    LlvmValue rounds;
    llvm::function_ref<void(LlvmValue)> run;
  };
  // `between`: one after the other, from the first round on.
  Values products(const Panel&, int height, const Operand& a, const Operand& b, LlvmValue row, LlvmValue depth, Values sums, llvm::ArrayRef<Between> between = {});
  Values zero_sums(size_t count);
  void prefetch_block(const Operand& a, LlvmValue row, LlvmValue k);
  void load_sums(Values&, const Panel&, LlvmValue at);
  void store_sums(const Values&, const Panel&, LlvmValue at);
  void finish_rows(const Panel&, LlvmValue first_row, LlvmValue count, LlvmValue sums_at);
  void finish(const Panel&, LlvmValue row, llvm::ArrayRef<LlvmValue> sums);
  Values prefetching_products(const Panel&, int height, const Operand& a, const Operand& b, LlvmValue row);
  void deferred_tile(const Panel&, int height, const Operand& a, const Operand& b, LlvmValue row);
  void finish_deferred();
  void finish_turned(const Panel&, LlvmValue first_row, LlvmValue last_row, LlvmValue sums_at);
  void dot_tile(int height, LlvmValue row);
  LlvmValue multiply_add(const Term& x, const Term& y, LlvmValue sum);
  LlvmValue horizontal_sum(LlvmValue);

  // ---- deferred epilogues: the tile whose sums wait in scratch, as {first row, first lane, rows}
  struct Pending {
    LlvmValue row, lane, rows;
  };
  Pending pending();
  void set_pending(const Pending&);
  void finish_pending(const Pending&, LlvmValue row);

  // ---- operands (contract_pack.cpp)
  Operand in_place(Side);
  Operand in_place(Side, const Panel&, LlvmValue first_depth);
  LlvmValue offset(const Operand&, Along, LlvmValue index);
  LlvmValue offset(const Operand& operand, Along along, int64_t index) { return offset(operand, along, number(index)); }
  void pack_panel(const Panel&, LlvmValue first_depth, LlvmValue depth);
  void pack_by_elements(const Panel&, LlvmValue first_depth, LlvmValue begin, LlvmValue end);
  void pack_transposed(const Panel&, LlvmValue first_depth, LlvmValue depth);
  void pack_rows(LlvmValue first_row, LlvmValue last_row, LlvmValue first_depth, LlvmValue depth, int64_t unit);
  void pack_vector(LlvmValue first_depth, LlvmValue depth, int64_t unit);
  void pack_line(Side, LlvmValue row, LlvmValue first_depth, LlvmValue depth, int64_t unit, LlvmValue to);
  Values transposed_block(const Buffer&, LlvmValue place, int64_t row_stride, int64_t rows, int64_t depth);
  // ---- pairs of bf16 (contract_bf16.cpp)
  LlvmValue multiply_pairs(LlvmValue x, LlvmValue y, LlvmValue sum);
  Term to_pairs(LlvmValue first, LlvmValue second, bool interleaved);
  void store_pairs(const Term&, LlvmValue at, int64_t low);
  void pack_pairs(const Panel&, LlvmValue first_depth, LlvmValue depth);
  void pack_pairs_transposed(const Panel&, LlvmValue first_depth, LlvmValue depth);
  void pack_pairs_by_depth(LlvmValue first_row, LlvmValue last_row);
  void pack_pairs_of_columns(LlvmValue first_row, LlvmValue last_row);
  void pack_pairs_line(Side, LlvmValue row, LlvmValue first_depth, LlvmValue depth, int64_t unit, LlvmValue to);
  LlvmValue places(LlvmValue depth);
  // ---- tiles of AMX (contract_amx.cpp)
  void amx_rows(const Panel&, LlvmValue first_row, LlvmValue last_row, const Operand& a, const Operand& b, LlvmValue depth, bool fresh, llvm::function_ref<LlvmValue(LlvmValue row)> place,
                llvm::function_ref<void(LlvmValue row, LlvmValue count)> done);

  bool lane_last(Side) const;   // does it have the lane index?
  Values operand_index(Side, LlvmValue row, LlvmValue k, LlvmValue lane) const;

  // ---- elements (contract_elements.cpp)
  void make_variables();
  IndexVector result_place(size_t result);   // of the hero's element at axes_
  static void bind(Expression&, const Index& variable, LlvmValue, bool lanes);
  // A vector of an operand, along its last axis: lanes if `lane` is given, else the reduced index. Masked lanes are zero.
  LlvmValue operand_vector(Side, LlvmValue row, LlvmValue k, LlvmValue lane, LlvmValue mask);
  // The kernel's results at one place of the hero, whose sum is given: a vector along the lane index from there, or a scalar
  // in the dot form.
  void prefetch_in_place(const Panel&, LlvmValue row);   // what the epilogue of these elements overwrites
  void store_results(const Values& index, LlvmValue sum, LlvmValue mask);
  Values results(Expression&, const Values& index, LlvmValue sum, LlvmValue mask);
  void finish_interleaved(const Panel&, llvm::ArrayRef<LlvmValue> sums);

  // ---- small things
  LlvmValue number(int64_t value) { return b_.getInt64(value); }
  LlvmValue add(LlvmValue, LlvmValue);
  LlvmValue times(LlvmValue, int64_t);
  LlvmValue at(LlvmValue base, LlvmValue element);
  LlvmValue at(LlvmValue base, int64_t element);
  LlvmValue scratch_at(int64_t bytes);
  LlvmValue load(const Buffer&, LlvmValue at, LlvmValue mask, unsigned align);
  void store(const Buffer&, LlvmValue value, LlvmValue at, unsigned align, LlvmValue mask = nullptr);
  LlvmValue element_number(const Values& index);   // row-major, of a result of the hero's shape
  LlvmValue splat(LlvmValue x) { return codegen::splat(b_, x, plan_.width); }
  LlvmValue lane_mask(LlvmValue count);   // the first `count` lanes; count may be above the width
  LlvmValue minimum(LlvmValue, LlvmValue);
  // for (i = first; i < last; i += step), values handed from round to round.
  Values loop(LlvmValue first, LlvmValue last, int64_t step, Values start, llvm::function_ref<Values(LlvmValue, Values)> body);
  void loop(LlvmValue first, LlvmValue last, int64_t step, llvm::function_ref<void(LlvmValue)> body);

  const ContractPlan& plan_;
  Frame frame_;
  LlvmBuilder& b_;
  const Target& target_;
  llvm::Type* scalar_;
  llvm::FixedVectorType* vector_;
  int64_t bytes_;
  unsigned vector_align_;

  // Elements: a variable for each axis of the result and for the reduced index, alone and along the lanes.
  IndexSpace space_;
  std::optional<Expression> vectors_, scalars_;   // of `width` lanes, of one
  IndexVector axes_;
  Index depth_, depth_lanes_;

  Values index_;     // per axis of the result: its value in the loops around
  Values digits_;    // the direct form: of the outer reduced indices, its value in the loops around
  LlvmValue block_begin_ = nullptr, place_ = nullptr;   // the direct form: the first of the units whose sums wait, the outer indices that are no rows as one
  enum class Pass : uint8_t { all, products, results } pass_ = Pass::all;
  LlvmValue part_first_ = nullptr, part_last_ = nullptr;   // of the summed index, where units count it
  LlvmValue row_first_ = nullptr, row_last_ = nullptr, lane_first_ = nullptr, lane_last_ = nullptr;
};

}  // namespace gradc::codegen
