// Where elements lie: text, sizes, and that no two elements share a place.
#include "ir/layout.h"

#include <catch2/catch.hpp>
#include <set>

using namespace gradc::ir;

TEST_CASE("blocked layouts") {
  CHECK(to_string(Layout(), {3, 4}) == "row-major");
  Layout weights = blocked({1024, 784}, 1, 16);
  CHECK(to_string(weights, {1024, 784}) == "[j/16, i, j%16]");
  CHECK(stored_size(weights, {1024, 784}) == 1024 * 784);
  CHECK(place(weights, {1024, 784}, std::vector<int64_t>{3, 37}) == (37 / 16 * 1024 + 3) * 16 + 37 % 16);
  CHECK(to_string(blocked({8, 40, 5}, 1, 16), {8, 40, 5}) == "[j/16, i, k, j%16]");
  // The last block is padded.
  CHECK(stored_size(blocked({8, 40, 5}, 1, 16), {8, 40, 5}) == 8 * 48 * 5);
  CHECK(stored_size(Layout(), {8, 40, 5}) == 8 * 40 * 5);
}

TEST_CASE("pitched layouts") {
  Layout rows = pitched({128, 1024}, 1040);
  CHECK(to_string(rows, {128, 1024}) == "[i, j:1040]");
  CHECK(stored_size(rows, {128, 1024}) == 128 * 1040);
  CHECK(place(rows, {128, 1024}, std::vector<int64_t>{3, 37}) == 3 * 1040 + 37);
  CHECK(pitched({128, 1024}, 1024).row_major());
}

TEST_CASE("layouts that change nothing are row-major") {
  CHECK(blocked({1024}, 0, 16).row_major());
  CHECK(blocked({1, 100}, 1, 16).row_major());
  CHECK(blocked({100, 16}, 1, 16).row_major());
  CHECK_FALSE(blocked({100, 1}, 0, 16).row_major());
}

TEST_CASE("every element has a place of its own") {
  for (const Shape& shape : {Shape{5, 33}, Shape{3, 20, 7}, Shape{2, 3, 48}})
    for (int64_t axis = -1; axis < static_cast<int64_t>(shape.size()); ++axis) {
      Layout layout = axis < 0 ? pitched(shape, shape.back() + 3) : blocked(shape, axis, 16);
      std::set<int64_t> places;
      std::vector<int64_t> index(shape.size());
      for (int64_t i = 0; i < shape_size(shape); ++i) {
        int64_t rest = i;
        for (size_t a = shape.size(); a-- > 0; rest /= shape[a]) index[a] = rest % shape[a];
        int64_t at = place(layout, shape, index);
        CHECK((at >= 0 && at < stored_size(layout, shape)));
        places.insert(at);
      }
      CHECK(static_cast<int64_t>(places.size()) == shape_size(shape));
    }
}
