// What the machine can do, as far as the emitters care. Chosen by feature flags, never by a processor's name: a virtual machine may mask them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gradc::codegen {

struct Target {
  std::string name;                    // "amx", "avx512bf16", "avx512", "avx2" or "baseline"
  int lanes = 4;                       // f32 elements in a vector register
  int registers = 16;                  // vector registers
  bool fma = false;
  bool avx512 = false;                 // masks in registers, 32 registers of 512 bits
  bool bf16 = false;                   // products of bf16 pairs (vdpbf16ps)
  bool amx = false;                    // bf16 tiles
  std::string llvm_features;           // "+avx2,+fma,..." for function attributes
  std::vector<std::string> features;   // what an artifact needs, as /proc/cpuinfo spells it

  int f64_lanes() const { return lanes / 2; }
};

/// The best target that this machine runs; without products of bf16 if nothing needs them, so that the artifact runs on more machines.
Target host_target(bool bf16 = true);
/// A target by its name; nothing for other names.
std::optional<Target> named_target(std::string_view name);
/// Whether this machine runs code for the target.
bool host_runs(const Target&);

}  // namespace gradc::codegen
