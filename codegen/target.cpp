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

// Levels from best to least; each demands all its features. Those without bf16 follow the x86-64 ABI's v4, v3 and v1.
struct Level {
  const char* name;
  int lanes, registers;
  bool bf16, amx;
  std::vector<Feature> features;
};
const std::vector<Level>& levels() {
  static const std::vector<Level> table = [] {
    std::vector<Feature> v3 = {{"sse3", "pni"},   {"ssse3", "ssse3"},   {"sse4.1", "sse4_1"}, {"sse4.2", "sse4_2"}, {"popcnt", "popcnt"}, {"avx", "avx"},  {"avx2", "avx2"},
                               {"fma", "fma"},    {"f16c", "f16c"},     {"bmi", "bmi1"},      {"bmi2", "bmi2"},     {"lzcnt", "abm"},     {"movbe", "movbe"}};
    auto with = [](std::vector<Feature> features, std::initializer_list<Feature> more) {
      features.insert(features.end(), more);
      return features;
    };
    std::vector<Feature> v4 = with(v3, {{"avx512f", "avx512f"}, {"avx512bw", "avx512bw"}, {"avx512cd", "avx512cd"}, {"avx512dq", "avx512dq"}, {"avx512vl", "avx512vl"}});
    std::vector<Feature> bf16 = with(v4, {{"avx512bf16", "avx512_bf16"}});
    std::vector<Feature> amx = with(bf16, {{"amx-tile", "amx_tile"}, {"amx-bf16", "amx_bf16"}});
    return std::vector<Level>{{"amx", 16, 32, true, true, amx},
                              {"avx512bf16", 16, 32, true, false, bf16},
                              {"avx512", 16, 32, false, false, v4},
                              {"avx2", 8, 16, false, false, v3},
                              {"baseline", 4, 16, false, false, {}}};
  }();
  return table;
}

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
  target.bf16 = level.bf16;
  target.amx = level.amx;
  for (const Feature& feature : level.features) add(target, feature);
  return target;
}

bool host_runs(const Level& level) { return std::all_of(level.features.begin(), level.features.end(), host_has); }
}  // namespace

Target host_target(bool bf16) {
  for (const Level& level : levels())
    if ((bf16 || !level.bf16) && host_runs(level)) return make(level);
  return make(levels().back());
}

std::optional<Target> named_target(std::string_view name) {
  for (const Level& level : levels())
    if (level.name == name) return make(level);
  return std::nullopt;
}

bool host_runs(const Target& target) {
  return std::any_of(levels().begin(), levels().end(), [&](const Level& level) { return level.name == target.name && host_runs(level); });
}
}  // namespace gradc::codegen
