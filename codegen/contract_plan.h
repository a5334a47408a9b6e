// The plan of a contract kernel: the same kernel with its indices merged into few loops, and how those loops are tiled.
// Emission (contract_tile, contract_pack, contract) follows it and decides nothing more.
#pragma once
#include <array>
#include <optional>
#include <vector>

#include "codegen/contract_choice.h"
#include "ir/kernel.h"

namespace gradc::codegen {
struct Target;

/// An access without guards: buffer element = offset + sum over axes of strides[axis] * index[axis]. One axis may be blocked: its part is
/// index / block * block_stride + index % block * stride.
struct LinearAccess {
  ir::Value input;                 // the input node that is read
  int64_t offset = 0;
  std::vector<int64_t> strides;    // one per axis of the value that is seen
  int blocked = -1;                // that axis, or -1
  int64_t block = 1, block_stride = 0;
  // Elements exist where 0 <= offset + sum over axes of strides[axis] * index[axis] < extent, for each of these; elsewhere they are zero.
  struct Guard {
    int64_t offset, extent;
    std::vector<int64_t> strides;
  };
  std::vector<Guard> guards;
};
/// How a value made of views of one input reads it; nothing if that is not linear or something is computed on the way, or if elements may be
/// missing, unless `guarded`.
std::optional<LinearAccess> linear_access(const ir::Kernel&, ir::Value, bool guarded = false);

enum class ContractForm : uint8_t {
  lanes,         // lanes along an index of b: result[r, n..] += a[r, k] * b[k, n..]
  batch_lanes,   // lanes along an index of a, b and the result: result[r, n..] += a[r, k, n..] * b[k, n..]
  dot,           // lanes along the reduction, added up at its end
};

/// What becomes of an axis of the result.
enum class AxisRole : uint8_t { loop, rows, lanes };

struct ContractAxis {
  AxisRole role;
  int64_t extent;
  bool outer;          // counted by units
  bool in_a, in_b;
};

/// How the direct form reads its operands, where the reduction is no single stride: of windows (contract_lines.cpp). Operand elements lie at an offset
/// plus strides times indices: of the axes, of the outer reduced indices (digits), of the reduced index.
struct ContractLines {
  struct Digit {
    int64_t extent, a, b;   // strides in the operands
  };
  // Lines of a that do not exist are left out: 0 <= offset + sum of axes[i] * index[i] + step * digit < extent, with step > 0.
  struct Guard {
    int64_t offset, extent;
    std::vector<int64_t> axes;
    int digit;
    int64_t step;
  };
  struct Operand {
    size_t argument;
    int64_t offset;
    std::vector<int64_t> axes;
    int64_t depth;
  };
  Operand a, b;
  std::vector<Digit> digits;   // outermost first, at least one
  int line = 0;                // sums stay in registers over this digit and those after it, in scratch over those before it
  std::vector<Guard> guards;

  // A line whose ends may be missing is copied to scratch with zeros around it: indices that move along it are then strides in the copy.
  bool bordered = false;
  int64_t begin = 0, end = 0;            // elements of a line that exist
  // Few filters would leave lanes empty: lanes along the line then, which is b and lies transposed in the copy, `pitch` places for each of its channels;
  // `begin` and `end` count places.
  bool across = false;
  int64_t channels = 1, pitch = 0, apart = 0;   // apart: elements between neighbours on the line
  // Or the few filters are columns one by one and the line is what is summed: lanes along it, added up at the end. All lines of b that an image has are turned
  // first, so that each column of a line lies in `pitch` neighbouring places.
  bool summed = false;
  int64_t line_stride = 0;               // elements, of the copy
  std::vector<bool> axes_within;         // which axes and digits move along the line
  std::vector<bool> digits_within;
  int64_t at_once = 0;                   // lines that are copied at once, all if sums are not to wait
  // Units walk down an image along this axis, and the copies of all its lines have room: each line is copied once, when it is first asked for. -1: they do not.
  int walks = -1;
  int64_t waiting_units = 0;             // whose sums wait in scratch between lines; 0: none
  int64_t lines_offset = 0, sums_offset = 0, sums_bytes = 0, turned_offset = 0;   // in scratch
};

/// A merged kernel: at most one row, one lane and one reduced index.
///   a: [axes that a has (without batch lanes), reduced, batch lanes]     the broadcast operand
///   b: [axes that b has (without lanes), reduced, lanes]                 the lane operand
/// The result's axes are `axes`: the original ones in their order, neighbours merged, those of extent 1 left out.
struct ContractPlan : ContractChoice {
  ir::Kernel kernel;
  std::vector<ir::Shape> result_shapes;              // as stored: axes not merged
  ContractForm form;
  std::vector<ContractAxis> axes;
  ir::Value a, b;                                    // operands of the hero in kernel.body
  std::optional<LinearAccess> a_access, b_access;
  std::optional<ContractLines> lines_of_a;           // the direct form: then `depth` is the innermost reduced index alone
  int64_t rows = 1, lanes = 1, depth = 1;            // extents of the row, lane and reduced index
  int row_axis = -1, lane_axis = -1;                 // into axes; -1: there is none
  bool dynamic_rows = false, dynamic_lanes = false;  // the call's units bound that axis
  bool may_turn = false;                             // rows and lanes may be exchanged

  ir::ElementType element = ir::ElementType::f32;
  ir::Precision precision = ir::Precision::f32;      // below f32 both operands are packed, see contract_bf16.cpp
  bool paired = false;                               // b is stored so already (ir::paired): its access counts pairs
  bool amx = false;                                  // products in tiles of AMX, see contract_amx.cpp
  int width = 1;                                     // elements of a vector
  bool a_rows_adjacent = false;                      // rows of a lie next to each other, its reduced index does not
  bool pack_a = false;                               // copied to scratch first
  bool pack_masked = false;                          // of b, panels whose last vector is masked
  int64_t depth_block = 1;                           // reduced elements that are packed at once
  int64_t a_row_stride = 1, a_depth_stride = 1;      // of packed a, in elements
  int64_t row_block = 1;                             // rows between which packed operands are reused
  bool interleaved = false;                          // all rows of a tile go to memory together, lane by lane
  bool epilogue_in_loop = false;                     // accumulators go through scratch to a loop over rows
  int64_t a_low = 0, b_low = 0;                      // bf16x3: elements from packed high halves to low ones
  // Scratch in bytes: packed b, packed a, accumulators, a block of them transposed, where the deferred ones belong.
  int64_t b_offset = 0, a_offset = 0, tile_offset = 0, turn_offset = 0, pending_offset = 0, scratch = 0;

  static constexpr int row_group = 4;   // rows of a blocked operand that tiles read together: heights above 1 are multiples of it

  bool pairs() const { return precision != ir::Precision::f32; }
  /// What so many reduced elements take when packed, in elements of the result's type: pairs of bf16 are as large as an f32.
  int64_t places(int64_t depth) const { return amx ? (depth + 31) / 32 * 16 : pairs() ? (depth + 1) / 2 : depth; }
  int panel() const { return vectors * width; }
  int result_lanes() const { return turned ? row_axis : lane_axis; }   // the axis along which results are computed
};

/// With a choice of contract_candidates, or the model's.
ContractPlan plan_contract(const ir::Kernel&, const Target&, const ContractChoice* = nullptr);
/// Its two halves: form and axes, turned if it may be and that is wanted or, if nothing is said, better; then everything else (contract_choice.cpp).
ContractPlan arrange_contract(const ir::Kernel&, const Target&, std::optional<bool> turned = std::nullopt);
void choose_tiles(ContractPlan&, const Target&, const ContractChoice* = nullptr);
/// The direct form of a contract whose lanes are contiguous in b and whose a is read in lines; nothing if it has none.
std::optional<ContractPlan> arrange_lines(const ir::Kernel&, const Target&);

/// Lets units count columns of a product that has few rows: then each thread reads its own columns of the matrix, which are most of the bytes.
/// Bits do not depend on it. A barrier stands before and after such a kernel, so it must have work for several threads: more of it if the
/// weight is written in every run, by whoever has its rows.
void share_out_columns(ir::Kernel&, bool weight_stays);

/// Tiles that cover `rows` exactly: counts of heights[0], heights[1] and of single rows.
std::array<int64_t, 3> tile_counts(const std::array<int, 3>& heights, int64_t rows);
/// Fewest tiles of heights[1] after which a multiple of heights[0] is left of rows = remainder (mod heights[0]), if there are
/// enough rows for that; remainder / heights[1] if no number does.
int64_t second_tiles(const std::array<int, 3>& heights, int64_t remainder);

}  // namespace gradc::codegen
