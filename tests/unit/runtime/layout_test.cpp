// Tensors between the order of kernels and that of files.
#include "runtime/layout.h"

#include <catch2/catch.hpp>
#include <numeric>

using namespace gradc::runtime;
using gradc::program::LayoutDigit;

TEST_CASE("what is arranged and restored is what it was, and padding is left alone") {
  struct Case {
    std::vector<int64_t> shape;
    Layout layout;
  };
  for (const Case& c : {Case{{5, 40}, {{LayoutDigit(1, 16, 3), LayoutDigit(0, 1, 5), LayoutDigit(1, 1, 16)}}},
                        Case{{5, 40}, {{LayoutDigit(0, 1, 5), LayoutDigit(1, 1, 43)}}},
                        Case{{20, 3}, {{LayoutDigit(0, 16, 2), LayoutDigit(1, 1, 3), LayoutDigit(0, 1, 16)}}},
                        Case{{2, 3, 4}, {}}, Case{{}, {}}}) {
    int64_t size = std::accumulate(c.shape.begin(), c.shape.end(), int64_t{1}, std::multiplies<>());
    std::vector<int32_t> logical(size_t(size), 0), back(size_t(size), -1), stored(size_t(c.layout.stored_elements(c.shape)), -7);
    std::iota(logical.begin(), logical.end(), 0);
    arrange(c.layout, c.shape, 4, logical.data(), reinterpret_cast<char*>(stored.data()));
    restore(c.layout, c.shape, 4, reinterpret_cast<const char*>(stored.data()), back.data());
    CHECK(back == logical);
    CHECK(std::count(stored.begin(), stored.end(), -7) == int64_t(stored.size()) - size);
  }
  // Element (3, 37) of a blocked tensor.
  std::vector<int32_t> logical(200), stored(240);
  std::iota(logical.begin(), logical.end(), 0);
  arrange({{LayoutDigit(1, 16, 3), LayoutDigit(0, 1, 5), LayoutDigit(1, 1, 16)}}, {5, 40}, 4, logical.data(), reinterpret_cast<char*>(stored.data()));
  CHECK(stored[(37 / 16 * 5 + 3) * 16 + 37 % 16] == 3 * 40 + 37);
}

TEST_CASE("digits that no tensor of the shape has are not sound") {
  CHECK(Layout{{LayoutDigit(0, 1, 5), LayoutDigit(1, 1, 43)}}.sound({5, 40}, 1000));
  CHECK_FALSE(Layout{{LayoutDigit(0, 1, 5), LayoutDigit(2, 1, 43)}}.sound({5, 40}, 1000));
  CHECK_FALSE(Layout{{LayoutDigit(0, 1, 5), LayoutDigit(1, 0, 43)}}.sound({5, 40}, 1000));
  CHECK_FALSE(Layout{{LayoutDigit(0, 1, 5), LayoutDigit(1, 1, 430)}}.sound({5, 40}, 1000));
}
