// Pictures and tables that programs show.
#include <catch2/catch.hpp>

#include "runtime/picture.h"
#include "runtime/table.h"

using namespace gradc::runtime;

TEST_CASE("numbers become shades") {
  CHECK(picture_of({0, 1, 2, 4}, 2, 2, 1).pixels == std::vector<uint8_t>{0, 64, 128, 255});
  CHECK(picture_of({-2, 0, 1, 2}, 2, 2, 1).pixels == std::vector<uint8_t>{0, 128, 191, 255});
  CHECK(picture_of({0, 0}, 1, 2, 1).pixels == std::vector<uint8_t>{0, 0});
  const uint8_t bytes[] = {7, 200};
  CHECK(picture_of(ElementType::u8, reinterpret_cast<const char*>(bytes), 1, 2, 1).pixels == std::vector<uint8_t>{7, 200});
  int64_t h, w, c;
  CHECK(picture_shape({28, 20}, h, w, c));
  CHECK((h == 28 && w == 20 && c == 1));
  CHECK(picture_shape({4, 5, 3}, h, w, c));
  CHECK_FALSE(picture_shape({10}, h, w, c));
  CHECK_FALSE(picture_shape({4, 5, 2}, h, w, c));
}

TEST_CASE("a grid is about square, and white between") {
  std::vector<Picture> eight(8, Picture{2, 2, 1, {1, 2, 3, 4}});
  Picture all = grid(eight, 1, 4);   // enlarged twice, gaps of 1: 4 by 2 cells
  CHECK(all.width == 4 * 5 + 1);
  CHECK(all.height == 2 * 5 + 1);
  CHECK(all.pixels[0] == 255);
  CHECK(all.pixels[size_t(all.width + 1)] == 1);
  CHECK(all.pixels[size_t(4 * all.width + 4)] == 4);
  eight[3] = {2, 2, 3, std::vector<uint8_t>(12, 9)};   // one in colour: all of them
  CHECK(grid(eight, 2, 2).channels == 3);
}

TEST_CASE("a confusion matrix in words") {
  std::vector<Table> tables = {{"per class", {2}, {1, 2}}, {"confusion", {3, 3}, {8, 2, 0, 1, 9, 0, 0, 0, 0}}};
  auto found = find_confusion(tables, {});
  REQUIRE(found);
  CHECK(found->classes == std::vector<std::string>{"0", "1", "2"});
  CHECK(find_confusion(tables, {"cat", "dog"})->classes[0] == "0");   // names of other labels
  CHECK(found->recall(0) == Approx(0.8));
  CHECK(found->precision(1) == Approx(9.0 / 11));
  found = find_confusion(tables, {"cat", "dog, big", "<fox>"});
  std::string text = confusion_text(*found, false, 0);
  CHECK_THAT(text, Catch::Contains("most confused  cat taken for dog, big: 2 times, 20.0% of cat\n"));
  CHECK_THAT(text, Catch::Contains("80.0%"));
  CHECK(text.find("nan") == std::string::npos);
  CHECK_THAT(confusion_text(*found, true, 0), Catch::Contains("\x1b[48;2;"));
  CHECK_THAT(confusion_text(*found, false, 30), Catch::Contains("wider terminal"));
  CHECK(confusion_csv(*found) == "class,cat,\"dog, big\",<fox>\ncat,8,2,0\n\"dog, big\",1,9,0\n<fox>,0,0,0\n");
  CHECK_THAT(confusion_svg(*found, "a & b"), Catch::Contains("&lt;fox&gt;") && Catch::Contains("a &amp; b"));
  CHECK_FALSE(find_confusion({tables[0]}, {}));
}

TEST_CASE("columns of a confusion matrix are named as far as there is room") {
  auto first_lines = [](std::vector<std::string> names, size_t columns) {
    const size_t k = names.size();
    Confusion t{std::move(names), std::vector<double>(k * k, 0)};
    std::string text = confusion_text(t, false, columns);
    return text.substr(0, text.find('\n', text.find('\n') + 1));
  };
  std::vector<std::string> names = {"aeroplane", "automobile", "größere Vögel"};
  CHECK_THAT(first_lines(names, 0), Catch::StartsWith("        class       aeroplane     automobile  größere Vögel    recall  precision\n    aeroplane  "));
  CHECK_THAT(first_lines(names, 70), Catch::StartsWith("        class   aeropl  automo  größer    recall  precision\n    aeroplane  "));
  CHECK_THAT(first_lines(names, 55), Catch::StartsWith("          class     0    1    2    recall  precision\n    0 aeroplane  "));
  CHECK_THAT(first_lines(names, 30), Catch::StartsWith("          class     recall  precision\n    0 aeroplane  "));
  CHECK_THAT(first_lines({"tomato, ripe", "tomato, green", "potato"}, 60), Catch::StartsWith("          class     0    1    2    recall"));   // two begin alike
  CHECK_THAT(first_lines({"0", "1"}, 30), !Catch::Contains("0 0"));
}
