// Philox4x32-10: counter-based random numbers (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).
// And how the operation `random` makes floating-point numbers from its words; compiled code does the same.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace gradc::ir {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

/// Ten rounds: four random words for a counter under a key.
inline PhiloxCounter philox(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b), static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};   // golden ratio, sqrt(3) - 1
  }
  return counter;
}

/// The words of one element of `random`: key = seed, counter = (element, step, site). The upper half of step is added to the site, so that
/// a step of 2^32 s more says the same as a site of s more.
inline PhiloxCounter random_words(int64_t seed, int64_t step, uint32_t site, int64_t element) {
  auto low = [](int64_t v) { return static_cast<uint32_t>(v); };
  auto high = [](int64_t v) { return static_cast<uint32_t>(static_cast<uint64_t>(v) >> 32); };
  return philox({low(element), high(element), low(step), site + high(step)}, {low(seed), high(seed)});
}

/// In [0, 1), a multiple of 2^-24.
inline float uniform_number(const PhiloxCounter& words) { return static_cast<float>(words[0] >> 8) * 0x1p-24f; }

/// Box-Muller: the first uniform number is taken from (0, 1], so the logarithm is finite.
inline float normal_number(const PhiloxCounter& words) {
  double radius = std::sqrt(-2 * std::log(static_cast<double>((words[0] >> 8) + 1) * 0x1p-24));
  return static_cast<float>(radius * std::cos(2 * std::numbers::pi * static_cast<double>(words[1] >> 8) * 0x1p-24));
}

}  // namespace gradc::ir
