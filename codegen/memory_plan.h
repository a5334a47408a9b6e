// Places in memory: which bytes of the arena a value gets for how long, and the bytes of literals.
#pragma once
#include <cstdint>
#include <vector>

#include "ir/graph.h"

namespace gradc::codegen {

/// Places are multiples of it.
constexpr uint64_t alignment = 64;
inline uint64_t aligned(uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

/// Bytes that hold a value from phase `first` to phase `last`, both included. Threads are at different places within a phase, but each granule of
/// rows goes through a strand in order: if a value's last readers and the writer of another one are calls of one strand, and both touch their rows
/// alone, then a row of the second may lie where the same row of the first was.
struct Lifetime {
  uint64_t bytes;
  int first, last;
  struct Step {
    int strand = -1, call = 0;   // -1: no strand, or not by rows; call: its position in the strand
  };
  Step written = {}, read = {};   // in phase `first`; in phase `last`, by the last reader
  uint64_t row_bytes = 0;         // row r holds the bytes from r * row_bytes to (r + 1) * row_bytes, modulo the bytes of all rows; 0: other
  int64_t rows = 0;               // calls of a strand may count units of other sizes
};

/// Whether `second` may begin to live where `first` lies, in the phase in which `first` ends.
bool hands_over(const Lifetime& first, const Lifetime& second);

struct ArenaPlan {
  std::vector<uint64_t> offsets;   // per lifetime
  uint64_t bytes = 0;
};
ArenaPlan plan_arena(const std::vector<Lifetime>&);

/// Most bytes that live in one phase: no plan without handing over needs less.
uint64_t most_live(const std::vector<Lifetime>&);

/// Appends a literal's elements to the program's constants and gives their offset.
uint64_t add_constant(const ir::Node& literal, std::vector<uint8_t>& constants);

}  // namespace gradc::codegen
