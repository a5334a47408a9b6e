#include "codegen/tune.h"

#include <fmt/format.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/TargetParser/Host.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>

#include "codegen/solo.h"
#include "codegen/version.h"
#include "ir/check.h"

namespace gradc::codegen {
namespace {

// Nothing that becomes denormal, infinite or NaN when updates run over it again and again.
ir::Tensor made_up(const ir::Type& type, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> in(0.25, 1);
  ir::Tensor tensor(type);
  for (int64_t i = 0; i < tensor.size(); ++i) tensor.set(i, ir::is_float(type.element) ? in(random) : static_cast<double>(random() % 2));
  return tensor;
}

double seconds(const NativeKernel& code, const KernelMemory& memory, int runs) {
  auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < runs; ++i) code.run(memory);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / runs;
}

double median(std::vector<double> values) {
  auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::string content(const ir::Kernel& kernel, const Target& target) {
  return fmt::format("choice {} {} {} {}\n{}", GRADC_CODEGEN_VERSION, target.name, target.llvm_features, llvm::sys::getHostCPUName().str(), ir::key(kernel));
}
}  // namespace

std::pair<size_t, double> measure(const ir::Kernel& kernel, const Target& target, const std::vector<ContractChoice>& candidates) {
  constexpr double group_seconds = 200e-6;
  // Data are nearer to a kernel that runs by itself than in a step: of 784x256x32 with Adam a gain of 3% here was a loss of 0.3% there.
  constexpr double noise = 0.04;
  constexpr size_t finalists = 4;
  constexpr int heats = 5, final_rounds = 21;   // a minimum of five runs each, a median of 21
  std::vector<std::unique_ptr<NativeKernel>> code(candidates.size());
  std::atomic<size_t> next{0};
  auto compile = [&] {
    for (size_t i; (i = next++) < code.size();) code[i] = std::make_unique<NativeKernel>(kernel, target, &candidates[i]);
  };
  std::vector<std::thread> team;
  for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) team.emplace_back(compile);
  compile();
  for (std::thread& thread : team) thread.join();

  KernelMemory memory(kernel);
  for (const ir::Node& node : kernel.body.nodes)
    if (node.op == ir::Op::input) memory.set(ir::argument_number(node), made_up(node.type, static_cast<uint32_t>(ir::argument_number(node))));
  const int runs = std::clamp(static_cast<int>(group_seconds / std::max(std::min(seconds(*code[0], memory, 1), seconds(*code[0], memory, 1)), 1e-9)), 1, 1000);
  std::vector<double> least(code.size(), 1e9);
  for (int heat = 0; heat < heats; ++heat)
    for (size_t i = 0; i < code.size(); ++i) least[i] = std::min(least[i], seconds(*code[i], memory, runs));
  std::vector<size_t> order;
  for (size_t i = 1; i < code.size(); ++i) order.push_back(i);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return least[a] < least[b]; });
  order.resize(std::min(order.size(), finalists));
  // Ratios within a round: the machine's speed changes between rounds.
  std::vector<std::vector<double>> gains(order.size());
  for (int round = 0; round < final_rounds; ++round) {
    double model = seconds(*code[0], memory, runs);
    for (size_t i = 0; i < order.size(); ++i) gains[i].push_back(model / seconds(*code[order[i]], memory, runs));
  }
  std::pair<size_t, double> best{0, 1};
  for (size_t i = 0; i < order.size(); ++i)
    if (double gain = median(gains[i]); gain > std::max(best.second, 1 + noise)) best = {order[i], gain};
  return best;
}

std::optional<Tuned> remembered(const ir::Kernel& kernel, const Target& target, const Cache& cache) {
  auto found = cache.find(content(kernel, target));
  if (!found) return std::nullopt;
  // The gain, then the choice in words.
  std::string text(found->begin(), found->end());
  size_t space = text.find(' ');
  if (space == text.npos) return std::nullopt;
  for (const ContractChoice& candidate : contract_candidates(kernel, target))
    if (to_string(candidate) == text.substr(space + 1)) return Tuned{candidate, std::atof(text.c_str())};
  return std::nullopt;
}

Tuned tune(const ir::Kernel& kernel, const Target& target, const Cache* cache, const Judge& judge) {
  Doing doing(fmt::format("tuning {}", ir::describe(kernel)));
  std::vector<ContractChoice> candidates = contract_candidates(kernel, target);
  auto [best, gain] = candidates.size() == 1 ? std::pair(size_t{0}, 1.0) : judge(kernel, target, candidates);
  Tuned tuned{candidates.at(best), gain, true};
  if (cache) {
    std::string text = fmt::format("{:.4f} {}", tuned.gain, to_string(tuned.choice));
    cache->keep(content(kernel, target), {text.begin(), text.end()});
  }
  return tuned;
}
}  // namespace gradc::codegen
