// What a compiled program holds in memory, and --memory-limit.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/target.h"
#include "frontend/driver_lower.h"
#include "ir/diagnostics.h"
#include "passes/recompute.h"

namespace gradc {

/// "500000000", "64MB", "1.5GB" (powers of 1000), "64MiB" (powers of 1024); nothing if it is none of these.
std::optional<uint64_t> parse_size(std::string_view);

/// What `info` calls peak memory, in bytes, with scratch for each core of this machine. A batch lies in the arena.
struct MemoryUse {
  uint64_t variables = 0, constants = 0, scratch = 0, arena = 0;
  uint64_t fixed() const { return variables + constants + scratch; }
  uint64_t total() const { return fixed() + arena; }
};
MemoryUse memory_use(const program::ProgramT&, const codegen::KernelTable&, const codegen::Target&);

/// Ways to cut a step, those first that compute the least again.
std::vector<passes::Segments> segment_choices();

/// Says that the program takes more than `limit`: the entry that takes the most, its parts, its largest consumers by line, and what would help. `least`: the smallest arena
/// that was reached for it, and in which segments; `plain`: its arena without.
struct Shortage {
  uint64_t limit, least, plain;
  passes::Segments segments;
};
void report_shortage(const Shortage&, const MemoryUse&, const FusedFunction&, const Program&, const ir::Module&, Diagnostics&);

}  // namespace gradc
