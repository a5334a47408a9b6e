// Our own random numbers: the same on every machine.
#pragma once
#include <cmath>
#include <cstdint>

namespace gradc::runtime {

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Generator {
  uint64_t state;
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  /// Another stream of numbers for each `part`.
  void key(uint64_t part) { state = next() ^ part; }
  /// Uniform in [0, bound) without bias (Lemire 2019).
  uint32_t below(uint32_t bound) {
    uint64_t product = (next() >> 32) * bound;
    if (uint32_t(product) < bound) {
      uint32_t threshold = -bound % bound;
      while (uint32_t(product) < threshold) product = (next() >> 32) * bound;
    }
    return uint32_t(product >> 32);
  }
  /// In (0, 1).
  double uniform() { return (double(next() >> 11) + 0.5) * 0x1p-53; }
  /// Standard normal (Box and Muller 1958).
  double normal() {
    double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * 3.14159265358979323846 * uniform());
  }
};

}  // namespace gradc::runtime
