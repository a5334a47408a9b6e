// Emits the code of a planned contract kernel. Internal to contract*.cpp:
//
//   contract.cpp       the loop nest: units, outer indices, blocks of rows, panels, row tiles
//   contract_tile.cpp  a register tile: products, sums in SSA values, epilogue
//   contract_pack.cpp  copies of operands in the order in which tiles read them
#pragma once
#include <llvm/ADT/STLFunctionalExtras.h>
#include <llvm/ADT/SmallVector.h>
#include <llvm/IR/IRBuilder.h>

#include "codegen/contract_plan.h"
#include "codegen/target.h"

namespace gradc::codegen {

using Values = llvm::SmallVector<llvm::Value*, 32>;

class ContractEmitter {
 public:
  ContractEmitter(const ContractPlan&, const Target&, llvm::Function&);
  void run();

 private:
  // An operand as tiles read it: element (row, k, lane) lies at base + row * row_stride + k * depth_stride + lane * lane_stride.
  // Rows count from 0 of the row index, k from the start of the depth block, lanes from the start of the panel.
  struct Operand {
    llvm::Value* base = nullptr;
    int64_t row_stride = 0, depth_stride = 0, lane_stride = 0;
  };
  // Some vectors of columns. `mask` is for the last of them; null if it is whole.
  struct Panel {
    llvm::Value* lane = nullptr;   // the first one
    int vectors = 1;
    llvm::Value* mask = nullptr;
    int64_t whole_lanes = 0;       // columns that exist, if that is known here; else -1
  };

  // ---- loop nest (contract.cpp)
  void inner_loops(size_t axis);
  void block();
  void row_block(llvm::Value* first, llvm::Value* last);
  void one_panel(const Panel&, llvm::Value* first_row, llvm::Value* last_row);
  void row_tiles(llvm::Value* first_row, llvm::Value* last_row, llvm::function_ref<void(int height, llvm::Value* row)>);
  void for_panels(llvm::function_ref<void(const Panel&)>);

  // ---- tiles (contract_tile.cpp)
  Values products(const Panel&, int height, const Operand& a, const Operand& b, llvm::Value* row, llvm::Value* depth, Values sums);
  Values zero_sums(size_t count);
  void load_sums(Values&, const Panel&, llvm::Value* at);
  void store_sums(const Values&, const Panel&, llvm::Value* at);
  void finish_rows(const Panel&, llvm::Value* first_row, llvm::Value* count, llvm::Value* sums_at);
  void finish(const Panel&, llvm::Value* row, llvm::ArrayRef<llvm::Value*> sums);
  void dot_tile(int height, llvm::Value* row);
  llvm::Value* multiply_add(llvm::Value* x, llvm::Value* y, llvm::Value* sum);
  llvm::Value* horizontal_sum(llvm::Value*);

  // ---- operands (contract_pack.cpp)
  Operand in_place(ir::Value operand);
  void pack_panel(const Panel&, llvm::Value* first_depth, llvm::Value* depth);
  void pack_transposed(const Panel&, llvm::Value* first_depth, llvm::Value* depth);
  void pack_rows(llvm::Value* first_row, llvm::Value* last_row, llvm::Value* first_depth, llvm::Value* depth, int64_t unit);
  void pack_vector(llvm::Value* first_depth, llvm::Value* depth, int64_t unit);
  void pack_line(ir::Value operand, llvm::Value* row, llvm::Value* first_depth, llvm::Value* depth, int64_t unit, llvm::Value* to);
  Values transpose(Values rows);
  bool lane_last(ir::Value operand) const;   // does it have the lane index?
  llvm::SmallVector<llvm::Value*> operand_index(ir::Value operand, llvm::Value* row, llvm::Value* k, llvm::Value* lane) const;

  // ---- elements (contract_elements.cpp)
  // A vector of an operand, along its last axis: lanes if `lane` is given, else the reduced index. Masked lanes are zero.
  llvm::Value* operand_vector(ir::Value operand, llvm::Value* row, llvm::Value* k, llvm::Value* lane, llvm::Value* mask);
  // The kernel's results at one place of the hero, whose sum is given; `width` lanes along the last axis.
  void store_results(llvm::ArrayRef<llvm::Value*> index, llvm::Value* sum, int width, llvm::Value* mask);
  void load_buffers(llvm::Value* args);
  llvm::Value* input_buffer(ir::Value input);

  // ---- small things
  llvm::Value* number(int64_t value) { return b_.getInt64(value); }
  llvm::Value* add(llvm::Value*, llvm::Value*);
  llvm::Value* times(llvm::Value*, int64_t);
  llvm::Value* at(llvm::Value* base, llvm::Value* element);
  llvm::Value* at(llvm::Value* base, int64_t element);
  llvm::Value* scratch_at(int64_t bytes);
  llvm::Value* load(llvm::Value* at, llvm::Value* mask, unsigned align);
  void store(llvm::Value*, llvm::Value* at, llvm::Value* mask, unsigned align);
  llvm::Value* splat(llvm::Value*);
  llvm::Value* lane_mask(llvm::Value* count);          // the first `count` lanes; count may be above the width
  llvm::Value* minimum(llvm::Value*, llvm::Value*);
  // for (i = first; i < last; i += step), values handed from round to round.
  Values loop(llvm::Value* first, llvm::Value* last, int64_t step, Values start, llvm::function_ref<Values(llvm::Value*, Values)> body);
  void loop(llvm::Value* first, llvm::Value* last, int64_t step, llvm::function_ref<void(llvm::Value*)> body);

  const ContractPlan& plan_;
  const Target& target_;
  llvm::Function& function_;
  llvm::IRBuilder<> b_;
  llvm::Type* scalar_;
  llvm::FixedVectorType* vector_;
  int64_t bytes_;
  unsigned vector_align_;

  llvm::Value *begin_, *end_, *scratch_;
  llvm::SmallVector<llvm::Value*> buffers_;   // inputs, then results
  llvm::SmallVector<llvm::Value*> index_;     // per axis of the result: its value in the loops around
  llvm::Value *row_first_ = nullptr, *row_last_ = nullptr, *lane_first_ = nullptr, *lane_last_ = nullptr;
};

}  // namespace gradc::codegen
