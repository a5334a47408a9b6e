// What of a contract's plan may be chosen freely: with every choice the results have the same bits, granules and layouts are the same. A model of a core
// makes a good choice at no cost; tune.h measures others.
#pragma once
#include <array>
#include <compare>
#include <string>
#include <vector>

namespace gradc::ir {
struct Kernel;
}

namespace gradc::codegen {
struct Target;

struct ContractChoice {
  bool turned = false;                    // results have their lanes along the row index: tiles are transposed first
  int vectors = 1;                        // of a full panel
  std::array<int, 3> heights = {1, 1, 1}; // of row tiles, falling; the last is 1
  bool pack_b = false;                    // the lane operand is copied to scratch first
  bool deferred = false;                  // the epilogue of a tile runs between the products of the next one
  bool prefetched = false;                // what it overwrites is asked for a tile ahead
  int row_block_shift = 0;                // blocks of rows are so many times twice as high as usual (negative: half)
  auto operator<=>(const ContractChoice&) const = default;
};

/// "14, 2, 1 rows x 2 vectors, columns packed".
std::string to_string(const ContractChoice&);

/// The model's choice and others that may be faster. There is one alone where nothing can be chosen.
std::vector<ContractChoice> contract_candidates(const ir::Kernel&, const Target&);

}  // namespace gradc::codegen
