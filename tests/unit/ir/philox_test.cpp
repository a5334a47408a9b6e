#include <catch2/catch.hpp>

#include "ir/philox.h"

using namespace gradc::ir;

// The known answers that Random123 publishes for philox4x32 with 10 rounds (kat_vectors).
TEST_CASE("philox gives the published known answers") {
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) == PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) == PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("seed, step, site and element each have words of the counter or key of their own") {
  CHECK(random_words(0x0000000200000001, 3, 4, 0x0000000600000005) == philox({5, 6, 3, 4}, {1, 2}));
  CHECK(random_words(1, (int64_t{7} << 32) + 3, 4, 5) == random_words(1, 3, 11, 5));
  CHECK(random_words(-1, 0, 0, 0) == philox({0, 0, 0, 0}, {0xffffffff, 0xffffffff}));
}

TEST_CASE("uniform and normal numbers at the ends of their ranges") {
  CHECK(uniform_number({0, 0, 0, 0}) == 0.0f);
  CHECK(uniform_number({0xffffffff, 0, 0, 0}) == 1.0f - 0x1p-24f);
  CHECK(normal_number({0xffffffff, 0, 0, 0}) == 0.0f);                                    // radius sqrt(-2 ln 1)
  CHECK(normal_number({0, 0, 0, 0}) == Approx(std::sqrt(48 * std::log(2.0))));            // radius sqrt(-2 ln 2^-24), angle 0
  CHECK(normal_number({0, 0x80000000, 0, 0}) == Approx(-std::sqrt(48 * std::log(2.0))));  // half a turn
}
