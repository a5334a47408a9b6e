// Places in memory: which bytes of the arena a value gets for how long, and the bytes of literals.
#pragma once
#include <cstdint>
#include <vector>

#include "ir/graph.h"

namespace gradc::codegen {

/// Places are multiples of it.
constexpr uint64_t alignment = 64;
inline uint64_t aligned(uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

/// Bytes that hold a value from phase `first` to phase `last`, both included.
struct Lifetime {
  uint64_t bytes;
  int first, last;
};

struct ArenaPlan {
  std::vector<uint64_t> offsets;   // per lifetime
  uint64_t bytes = 0;
};
ArenaPlan plan_arena(const std::vector<Lifetime>&);

/// Most bytes that live in one phase: no plan needs less.
uint64_t most_live(const std::vector<Lifetime>&);

/// Appends a literal's elements to the program's constants and gives their offset.
uint64_t add_constant(const ir::Node& literal, std::vector<uint8_t>& constants);

}  // namespace gradc::codegen
