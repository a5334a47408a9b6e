// bfloat16: the upper half of an IEEE single.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace gradc {

/// Rounded to nearest, ties to even; a NaN stays a NaN.
inline uint16_t to_bf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float from_bf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

/// x = high + low, up to 2^-16 of x; the low half is 0 where the high one is not finite.
struct SplitBf16 {
  float high, low;
};
inline SplitBf16 split_bf16(float x) {
  float high = from_bf16(to_bf16(x));
  return {high, std::isfinite(high) ? from_bf16(to_bf16(x - high)) : 0.0f};
}

}  // namespace gradc
