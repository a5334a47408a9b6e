// Pictures: CIFAR-10's files, folders of PNG and JPEG, scaling, and every way in which they can be wrong.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

#include "runtime/data.h"
#include "runtime/decode.h"
#include "toy.h"

using namespace gradc::runtime;

namespace {
std::vector<FieldType> fields(int64_t height, int64_t width, int64_t channels, double classes = 10) {
  return {{"image", {ElementType::u8, {height, width, channels}}}, {"label", {ElementType::u8, {}}, true, 0, classes}};
}
uint8_t pixel(size_t i, int salt) { return uint8_t((i * 37 + size_t(salt) * 91 + i * i * 3) % 256); }
std::vector<uint8_t> pattern(int height, int width, int channels, int salt) {
  std::vector<uint8_t> pixels(size_t(height * width * channels));
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = pixel(i, salt);
  return pixels;
}
void append(void* context, void* data, int size) { static_cast<std::string*>(context)->append(static_cast<char*>(data), size_t(size)); }
std::string png(int height, int width, int channels, int salt) {
  std::string out;
  stbi_write_png_to_func(append, &out, width, height, channels, pattern(height, width, channels, salt).data(), 0);
  return out;
}
std::string jpeg(int height, int width, int channels, uint8_t grey) {
  std::string out;
  std::vector<uint8_t> pixels(size_t(height * width * channels), grey);
  stbi_write_jpg_to_func(append, &out, width, height, channels, pixels.data(), 95);
  return out;
}
template <class R>
std::string error_of(R result) {
  REQUIRE_FALSE(result);
  return result.error().message;
}
std::string class_folder(const std::string& name, std::vector<std::string> classes = {"cat", "dog"}) {
  std::string folder = toy::fresh_folder(name);
  for (const std::string& each : classes) std::filesystem::create_directory(folder + "/" + each);
  return folder;
}
}  // namespace

TEST_CASE("cifar10: planes become pixels, files are joined") {
  std::string folder = toy::fresh_folder("cifar");
  auto record = [](int label, int salt) {
    std::string out(1, char(label));
    for (size_t i = 0; i < 3072; ++i) out += char(pixel(i, salt));
    return out;
  };
  toy::write_file(folder + "/a.bin", record(3, 0) + record(9, 1));
  toy::write_file(folder + "/b.bin", record(0, 2));
  auto contents = read_cifar10({folder + "/a.bin", folder + "/b.bin"}, fields(32, 32, 3));
  REQUIRE(contents);
  REQUIRE(contents->columns[0].samples == 3);
  CHECK(contents->file_bytes == 3 * 3073);
  CHECK(*contents->columns[1].sample(1) == 9);
  CHECK(*contents->columns[1].sample(2) == 0);
  for (int sample = 0; sample < 3; ++sample)
    for (size_t y : {0, 7, 31})
      for (size_t x : {0, 30})
        for (size_t c = 0; c < 3; ++c) CHECK(contents->columns[0].sample(sample)[(y * 32 + x) * 3 + c] == pixel(c * 1024 + y * 32 + x, sample));

  std::vector<FieldType> swapped = fields(32, 32, 3);
  std::swap(swapped[0], swapped[1]);
  swapped[0].type.element = ElementType::i32;
  auto other = read_cifar10({folder + "/a.bin"}, swapped);
  REQUIRE(other);
  CHECK(load<int32_t>(other->columns[0].sample(1)) == 9);

  toy::write_file(folder + "/short.bin", record(1, 0) + "x");
  CHECK_THAT(error_of(read_cifar10({folder + "/short.bin"}, fields(32, 32, 3))), Catch::Contains("short.bin") && Catch::Contains("3074 bytes") && Catch::Contains("records of 3073"));
  toy::write_file(folder + "/empty.bin", "");
  CHECK_THAT(error_of(read_cifar10({folder + "/empty.bin"}, fields(32, 32, 3))), Catch::Contains("has 0 bytes"));
  toy::write_file(folder + "/label.bin", record(1, 0) + record(10, 0));
  CHECK_THAT(error_of(read_cifar10({folder + "/a.bin", folder + "/label.bin"}, fields(32, 32, 3))),
             Catch::Contains("label.bin': sample 1: 'label' is 10") && Catch::Contains("< 10"));
  CHECK_THAT(error_of(read_cifar10({folder + "/a.bin"}, fields(32, 32, 3, 5))), Catch::Contains("sample 1: 'label' is 9"));
  CHECK_THAT(error_of(read_cifar10({folder + "/a.bin"}, fields(28, 28, 1))), Catch::Contains("u8[32, 32, 3]"));
}

TEST_CASE("images: a folder for each class") {
  setenv("GRADC_CACHE", "off", 1);
  std::string folder = class_folder("pictures");
  toy::write_file(folder + "/dog/b.png", png(5, 4, 3, 2));
  toy::write_file(folder + "/dog/a.png", png(5, 4, 3, 1));
  toy::write_file(folder + "/cat/x.jpg", jpeg(5, 4, 3, 100));
  toy::write_file(folder + "/cat/.hidden", "nothing");
  toy::write_file(folder + "/README", "not a class");
  auto contents = read_images(folder, fields(5, 4, 3), {}, {});
  REQUIRE(contents);
  CHECK(contents->classes == std::vector<std::string>{"cat", "dog"});
  REQUIRE(contents->columns[0].samples == 3);
  for (int sample = 0; sample < 3; ++sample) CHECK(*contents->columns[1].sample(sample) == (sample > 0));
  for (size_t i = 0; i < 60; ++i) {
    CHECK(std::abs(contents->columns[0].sample(0)[i] - 100) <= 2);
    CHECK(contents->columns[0].sample(1)[i] == pixel(i, 1));
    CHECK(contents->columns[0].sample(2)[i] == pixel(i, 2));
  }
  auto named = read_images(folder, fields(5, 4, 3), {}, {"dog", "cat"});
  REQUIRE(named);
  CHECK(*named->columns[1].sample(0) == 0);
  CHECK(named->columns[0].sample(0)[5] == pixel(5, 1));
  CHECK_THAT(error_of(read_images(folder, fields(5, 4, 3), {}, {"dog", "cats"})), Catch::Contains("/cat'") && Catch::Contains("did you mean 'cats'?"));
  CHECK_THAT(error_of(read_images(folder, fields(5, 4, 3), {}, {"dog", "cat", "cow"})), Catch::Contains("/cow'"));

  auto unlabelled = read_images(folder + "/dog", {fields(5, 4, 3)[0]}, {}, {});
  REQUIRE(unlabelled);
  CHECK(unlabelled->columns[0].samples == 2);
}

TEST_CASE("images: what is wrong is named") {
  setenv("GRADC_CACHE", "off", 1);
  std::string folder = class_folder("wrong_pictures");
  CHECK_THAT(error_of(read_images(folder + "/nowhere", fields(5, 4, 3), {}, {})), Catch::Contains("nowhere") && Catch::Contains("No such file"));
  CHECK_THAT(error_of(read_images(folder, fields(5, 4, 3), {}, {})), Catch::Contains("/cat' is empty"));
  CHECK_THAT(error_of(read_images(folder + "/cat", fields(5, 4, 3), {}, {})), Catch::Contains("/cat' has no folders in it") && Catch::Contains("each class"));
  toy::write_file(folder + "/cat/a.png", png(5, 4, 3, 0));
  std::string file = folder + "/dog/b.png";
  auto with = [&](const std::string& content, PictureOptions options = {}) {
    toy::write_file(file, content);
    return read_images(folder, fields(5, 4, 3), options, {});
  };
  CHECK_THAT(error_of(with("hello")), Catch::Contains("dog/b.png' is no PNG or JPEG picture"));
  CHECK_THAT(error_of(with("")), Catch::Contains("dog/b.png' is no PNG or JPEG picture"));
  CHECK_THAT(error_of(with(png(6, 4, 3, 0))), Catch::Contains("dog/b.png' has 6 rows and 4 columns") && Catch::Contains("u8[5, 4, 3]") && Catch::Contains("fit"));
  CHECK_THAT(error_of(with(png(5, 4, 1, 0))), Catch::Contains("dog/b.png' has 1 channel,") && Catch::Contains("with 3") && Catch::Contains("convert"));
  CHECK_THAT(error_of(with(png(5, 4, 4, 0))), Catch::Contains("dog/b.png' has 4 channels"));
  CHECK(with(png(5, 4, 1, 0), {"", true}));
  CHECK(with(png(5, 4, 4, 0), {"", true}));
  for (const std::string& whole : {png(5, 4, 3, 0), jpeg(5, 4, 3, 50)})
    for (size_t kept : {whole.size() / 4, whole.size() / 2, whole.size() - 9, whole.size() - 2})
      CHECK_THAT(error_of(with(whole.substr(0, kept))), Catch::Contains("dog/b.png' is truncated"));
  CHECK_THAT(error_of(read_images(folder, fields(5, 4, 3, 1), {}, {})), Catch::Contains("has 2 classes, labels 0 to 1") && Catch::Contains("label < 1"));
  // Whoever is faster, the first file's error is told.
  for (int i = 0; i < 100; ++i) toy::write_file(folder + "/dog/" + std::to_string(1000 + i) + ".png", i < 40 ? png(5, 4, 3, i) : "broken");
  for (int i = 0; i < 5; ++i) CHECK_THAT(error_of(read_images(folder, fields(5, 4, 3), {}, {})), Catch::Contains("dog/1040.png"));
}

TEST_CASE("images: decoded pictures are kept, until a file changes") {
  std::string folder = class_folder("kept_pictures"), cache = toy::fresh_folder("kept_pictures_cache");
  setenv("GRADC_CACHE", cache.c_str(), 1);
  for (int i = 0; i < 30; ++i) toy::write_file(folder + (i % 2 ? "/cat/" : "/dog/") + std::to_string(i) + ".png", png(40, 40, 3, i));
  auto read = [&] { return read_images(folder, fields(40, 40, 3), {}, {}); };
  auto first = read();
  REQUIRE(first);
  std::string copy;
  for (const auto& at : std::filesystem::directory_iterator(cache + "/data")) copy = at.path();
  REQUIRE(!copy.empty());
  auto again = read();
  REQUIRE(again);
  CHECK(again->columns[0].bytes.text() == first->columns[0].bytes.text());
  toy::write_file(folder + "/cat/1.png", png(40, 40, 3, 77) + " ");
  auto changed = read();
  REQUIRE(changed);
  CHECK(changed->columns[0].bytes.text() != first->columns[0].bytes.text());
  CHECK(*changed->columns[0].sample(0) == pixel(0, 77));
  setenv("GRADC_CACHE", "off", 1);
}

TEST_CASE("scaling: means where it shrinks, straight lines where it grows") {
  auto scaled = [](const std::vector<uint8_t>& from, int height, int width, int to_height, int to_width, bool crop = false) {
    Decoded picture;
    picture.height = height, picture.width = width, picture.channels = 1;
    picture.pixels = {static_cast<uint8_t*>(std::malloc(from.size())), std::free};
    std::memcpy(picture.pixels.get(), from.data(), from.size());
    std::vector<uint8_t> out(size_t(to_height * to_width));
    scale_picture(picture, crop, to_height, to_width, out.data());
    return out;
  };
  using Pixels = std::vector<uint8_t>;
  Pixels any = pattern(6, 7, 1, 3);
  CHECK(scaled(any, 6, 7, 6, 7) == any);
  CHECK(scaled(Pixels(35, 77), 5, 7, 3, 11) == Pixels(33, 77));
  // Twice as wide: places at 1/4 and 3/4 between the old ones, the ends as they are.
  CHECK(scaled({0, 100}, 1, 2, 1, 4) == Pixels{0, 25, 75, 100});
  // Half as wide: a triangle over 4 places, 1 3 3 1; what is outside is left out.
  CHECK(scaled({0, 0, 80, 80}, 1, 4, 1, 2) == Pixels{uint8_t(std::lround(80.0 / 7)), uint8_t(std::lround(80 - 80.0 / 7))});
  // The middle square of a wide picture.
  CHECK(scaled({1, 9, 9, 1, 1, 9, 9, 1}, 2, 4, 2, 2, true) == Pixels{9, 9, 9, 9});
}

TEST_CASE("shares: shuffled under a seed, together everything") {
  toy::Options options;
  options.samples = 41;
  toy::Toy program(options);
  auto& data = *program.tables().data[0];
  auto add = [&](const std::string& name, std::vector<double> shares, uint32_t share, int64_t seed) {
    auto split = std::make_unique<gradc::program::SplitT>(*data.splits[0]);
    split->name = name;
    auto selection = std::make_unique<gradc::program::SelectionT>();
    selection->shares = std::move(shares);
    selection->share = share;
    selection->seed = seed;
    split->selections.push_back(std::move(selection));
    data.splits.push_back(std::move(split));
  };
  for (uint32_t i = 0; i < 3; ++i) add("s" + std::to_string(i), {0.5, 10}, i, 1);
  add("other", {0.5, 10}, 0, 2);
  add("large", {50}, 0, 1);
  data.splits.push_back(std::make_unique<gradc::program::SplitT>(*data.splits[2]));
  data.splits.back()->name = "part";
  data.splits.back()->selections.push_back(std::make_unique<gradc::program::SelectionT>());
  data.splits.back()->selections[1]->first = 2;
  data.splits.back()->selections[1]->last = 5;
  program.pack();
  auto model = toy::make(program);
  auto read = [&](const std::string& split) { return read_split(*model->program(), "points", split, {}); };
  std::vector<std::string> rows;
  auto rows_of = [](const Samples& samples) {
    std::vector<std::string> rows;
    for (int64_t i = 0; i < samples.count; ++i)
      rows.push_back(std::string(reinterpret_cast<const char*>(samples.column("x")->sample(i)), 12) + std::string(reinterpret_cast<const char*>(samples.column("y")->sample(i)), 4));
    return rows;
  };
  auto all = rows_of(*read("train"));
  const int64_t counts[] = {21, 10, 10};
  for (int i = 0; i < 3; ++i) {
    auto share = read("s" + std::to_string(i));
    REQUIRE(share);
    CHECK(share->count == counts[i]);
    for (const std::string& row : rows_of(*share)) rows.push_back(row);
  }
  CHECK(rows != all);
  auto first = rows_of(*read("s0")), part = rows_of(*read("part"));
  CHECK(part == std::vector<std::string>(first.begin() + 2, first.begin() + 5));
  CHECK(rows_of(*read("other")) != first);
  std::sort(rows.begin(), rows.end());
  std::sort(all.begin(), all.end());
  CHECK(rows == all);
  CHECK_THAT(error_of(read("large")), Catch::Contains("share 1 of 41 samples"));
}
