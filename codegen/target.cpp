#include "codegen/target.h"

#include <llvm/ADT/StringMap.h>
#include <llvm/TargetParser/Host.h>

#include <algorithm>

namespace gradc::codegen {
namespace {
// A feature as LLVM and as /proc/cpuinfo spell it.
struct Feature {
  const char* llvm;
  const char* cpuinfo;
};

// Levels from best to least; each demands all its features. The levels follow the x86-64 ABI's v4, v3 and v1.
struct Level {
  const char* name;
  int lanes, registers;
  std::vector<Feature> features;
};
const std::vector<Level>& levels() {
  static const std::vector<Level> table = [] {
    std::vector<Feature> v3 = {{"sse3", "pni"},   {"ssse3", "ssse3"},   {"sse4.1", "sse4_1"}, {"sse4.2", "sse4_2"}, {"popcnt", "popcnt"}, {"avx", "avx"},  {"avx2", "avx2"},
                               {"fma", "fma"},    {"f16c", "f16c"},     {"bmi", "bmi1"},      {"bmi2", "bmi2"},     {"lzcnt", "abm"},     {"movbe", "movbe"}};
    std::vector<Feature> v4 = v3;
    v4.insert(v4.end(), {{"avx512f", "avx512f"}, {"avx512bw", "avx512bw"}, {"avx512cd", "avx512cd"}, {"avx512dq", "avx512dq"}, {"avx512vl", "avx512vl"}});
    return std::vector<Level>{{"avx512", 16, 32, v4}, {"avx2", 8, 16, v3}, {"baseline", 4, 16, {}}};
  }();
  return table;
}

// Taken when they are there, on top of avx512.
constexpr Feature bf16_feature = {"avx512bf16", "avx512_bf16"};
constexpr Feature amx_features[] = {{"amx-tile", "amx_tile"}, {"amx-bf16", "amx_bf16"}};

bool host_has(const Feature& feature) {
  static const llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  return host.lookup(feature.llvm);
}

void add(Target& target, const Feature& feature) {
  if (!target.llvm_features.empty()) target.llvm_features += ',';
  target.llvm_features += std::string("+") + feature.llvm;
  target.features.push_back(feature.cpuinfo);
}

Target make(const Level& level) {
  Target target;
  target.name = level.name;
  target.lanes = level.lanes;
  target.registers = level.registers;
  target.fma = level.lanes >= 8;
  target.avx512 = level.lanes == 16;
  for (const Feature& feature : level.features) add(target, feature);
  return target;
}

bool host_runs(const Level& level) { return std::all_of(level.features.begin(), level.features.end(), host_has); }
}  // namespace

Target host_target() {
  for (const Level& level : levels()) {
    if (!host_runs(level)) continue;
    Target target = make(level);
    if (!target.avx512) return target;
    if (host_has(bf16_feature)) target.bf16 = true, add(target, bf16_feature);
    if (target.bf16 && std::all_of(std::begin(amx_features), std::end(amx_features), host_has)) {
      target.amx = true;
      for (const Feature& feature : amx_features) add(target, feature);
    }
    return target;
  }
  return make(levels().back());
}

std::optional<Target> named_target(std::string_view name) {
  for (const Level& level : levels())
    if (level.name == name) return make(level);
  return std::nullopt;
}

bool host_runs(const Target& target) {
  for (const Level& level : levels())
    if (level.name == target.name) return host_runs(level) && (!target.bf16 || host_has(bf16_feature)) && (!target.amx || std::all_of(std::begin(amx_features), std::end(amx_features), host_has));
  return false;
}
}  // namespace gradc::codegen
