// Readers: what is right comes in as it is, what is wrong is named with file and place.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <zlib.h>

#include "runtime/batch.h"
#include "runtime/data.h"
#include "runtime/json.h"
#include "toy.h"

using namespace gradc::runtime;

namespace {
Bytes bytes_of(const std::string& text) {
  std::unique_ptr<uint8_t[]> data(new uint8_t[text.size() + 1]);
  std::memcpy(data.get(), text.data(), text.size());
  return Bytes::own(std::move(data), text.size());
}
FieldType field(ElementType element, std::vector<int64_t> shape) { return {"f", {element, std::move(shape)}}; }
std::string big_endian(uint32_t value) { return {char(value >> 24), char(value >> 16), char(value >> 8), char(value)}; }
std::string idx(uint8_t type, std::vector<uint32_t> dims, const std::string& content) {
  std::string out = {0, 0, char(type), char(dims.size())};
  for (uint32_t dim : dims) out += big_endian(dim);
  return out + content;
}
std::string npy(const std::string& dictionary, const std::string& content) {
  std::string out("\x93NUMPY\x01\x00", 8);
  out += char(dictionary.size() & 0xff);
  out += char(dictionary.size() >> 8);
  return out + dictionary + content;
}
template <class R>
std::string error_of(R result) {
  REQUIRE_FALSE(result);
  return result.error().message;
}
std::string gzip(const std::string& content) {
  std::string out(content.size() + 1000, '\0');
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = uInt(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = uInt(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}
struct CacheFolder {   // a cache of our own for the time of a test
  explicit CacheFolder(const std::string& path) { unsetenv("GRADC_CACHE"), setenv("XDG_CACHE_HOME", path.c_str(), 1); }
  ~CacheFolder() { unsetenv("XDG_CACHE_HOME"); }
};
}  // namespace

TEST_CASE("idx") {
  auto column = read_idx(bytes_of(idx(8, {3, 2}, "abcdef")), field(ElementType::u8, {2}), "a.idx");
  REQUIRE(column);
  CHECK(column->samples == 3);
  CHECK(*column->sample(2) == 'e');
  auto wider = read_idx(bytes_of(idx(12, {2}, big_endian(7) + big_endian(0xfffffffe))), field(ElementType::i64, {}), "a.idx");
  REQUIRE(wider);
  CHECK(load<int64_t>(wider->sample(0)) == 7);
  CHECK(load<int64_t>(wider->sample(1)) == -2);
  auto real = read_idx(bytes_of(idx(13, {1}, big_endian(0x3fc00000))), field(ElementType::f32, {}), "a.idx");
  REQUIRE(real);
  CHECK(load<float>(real->sample(0)) == 1.5f);

  auto u8 = field(ElementType::u8, {2});
  CHECK_THAT(error_of(read_idx(bytes_of(""), u8, "a.idx")), Catch::Contains("'a.idx'") && Catch::Contains("empty"));
  CHECK_THAT(error_of(read_idx(bytes_of("hello"), u8, "a.idx")), Catch::Contains("no IDX file"));
  CHECK_THAT(error_of(read_idx(bytes_of(idx(8, {3, 2}, "abcde")), u8, "a.idx")), Catch::Contains("truncated") && Catch::Contains("5 bytes of 6"));
  CHECK_THAT(error_of(read_idx(bytes_of(idx(8, {3, 2}, "abcdefg")), u8, "a.idx")), Catch::Contains("1 bytes follow"));
  CHECK_THAT(error_of(read_idx(bytes_of(idx(8, {3, 2}, "").substr(0, 9)), u8, "a.idx")), Catch::Contains("inside its header"));
  CHECK_THAT(error_of(read_idx(bytes_of(idx(7, {3, 2}, "abcdef")), u8, "a.idx")), Catch::Contains("0x07"));
  CHECK_THAT(error_of(read_idx(bytes_of(idx(8, {1, 3}, "abc")), u8, "a.idx")), Catch::Contains("samples of 3") && Catch::Contains("u8[2]"));
  CHECK_THAT(error_of(read_idx(bytes_of(idx(13, {1, 2}, std::string(8, '\0'))), u8, "a.idx")), Catch::Contains("f32 numbers") && Catch::Contains("u8[2]"));
  CHECK_THAT(error_of(read_idx(bytes_of(idx(8, {0xffffffff, 0xffffffff, 0xffffffff}, "")), field(ElementType::u8, {0xffffffff, 0xffffffff}), "a.idx")), Catch::Contains("impossible"));
}

TEST_CASE("npy") {
  std::string floats(8, '\0');
  float values[] = {1.5f, -2};
  std::memcpy(floats.data(), values, 8);
  auto column = read_npy(bytes_of(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", floats)), field(ElementType::f64, {}), "a.npy");
  REQUIRE(column);
  CHECK(column->samples == 2);
  CHECK(load<double>(column->sample(1)) == -2);
  CHECK_THAT(error_of(read_npy(bytes_of(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }\n", floats)), field(ElementType::f32, {}), "a.npy")), Catch::Contains("Fortran"));
  CHECK_THAT(error_of(read_npy(bytes_of(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", floats)), field(ElementType::f32, {}), "a.npy")), Catch::Contains("truncated"));
  CHECK_THAT(error_of(read_npy(bytes_of(npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }\n", floats)), field(ElementType::f32, {}), "a.npy")), Catch::Contains("'<c8'"));
  CHECK_THAT(error_of(read_npy(bytes_of("PK"), field(ElementType::f32, {}), "a.npy")), Catch::Contains("no NPY file"));
  CHECK_THAT(error_of(read_npy(bytes_of(npy("{}", "")), field(ElementType::f32, {}), "a.npy")), Catch::Contains("header"));
}

TEST_CASE("csv") {
  std::vector<FieldType> fields = {{"x", {ElementType::f32, {2}}}, {"label", {ElementType::u8, {}}}};
  auto columns = read_csv(bytes_of("a,b,label\r\n1.5, -2 ,3\r\n\r\n# nothing\r\n+4e1;5;255\r\n"), fields, "a.csv");
  REQUIRE(columns);
  REQUIRE(columns->size() == 2);
  CHECK((*columns)[0].samples == 2);
  CHECK(load<float>((*columns)[0].sample(1)) == 40);
  CHECK(*(*columns)[1].sample(1) == 255);
  CHECK_THAT(error_of(read_csv(bytes_of("1,2,3\n1,2\n"), fields, "a.csv")), Catch::Contains("line 2") && Catch::Contains("2 numbers"));
  CHECK_THAT(error_of(read_csv(bytes_of("1,2,3\n1,x,2\n"), fields, "a.csv")), Catch::Contains("line 2, column 2") && Catch::Contains("'x'"));
  CHECK_THAT(error_of(read_csv(bytes_of("1,2,3,4\n"), fields, "a.csv")), Catch::Contains("line 1") && Catch::Contains("more numbers"));
  CHECK_THAT(error_of(read_csv(bytes_of("1,2,256\n"), fields, "a.csv")), Catch::Contains("256 does not fit label: u8"));
  CHECK_THAT(error_of(read_csv(bytes_of("1,2,0.5\n"), fields, "a.csv")), Catch::Contains("0.5 does not fit"));
  CHECK_THAT(error_of(read_csv(bytes_of("x,y,z\n"), fields, "a.csv")), Catch::Contains("no samples"));
}

TEST_CASE("ranges") {
  FieldType label{"label", {ElementType::u8, {}}, true, 0, 10};
  uint8_t values[] = {0, 9, 10};
  CHECK(check_range(label, values, 2, "data"));
  auto status = check_range(label, values, 3, "data d.train (m.grad:3)");
  REQUIRE_FALSE(status);
  CHECK(status.error().code == GRADC_RANGE);
  CHECK_THAT(status.error().message, Catch::Contains("d.train (m.grad:3)") && Catch::Contains("sample 2") && Catch::Contains("'label' is 10") && Catch::Contains("0 <= label < 10"));
  FieldType real{"x", {ElementType::f32, {2}}, true, 0, 1};
  float floats[] = {0, 0.5f, NAN, 0};
  CHECK_FALSE(check_range(real, reinterpret_cast<uint8_t*>(floats), 2, "data"));
}

TEST_CASE("compressed files, and the raw copies of them") {
  std::string folder = toy::fresh_folder("gz"), path = folder + "/a.idx.gz";
  CacheFolder cache(folder + "/cache");
  std::string content = idx(8, {400, 500}, std::string(200000, 'x')), packed = gzip(content);
  toy::write_file(path, packed);
  auto copies = [&] {
    size_t count = 0;
    if (std::filesystem::exists(folder + "/cache"))
      for (auto& each : std::filesystem::recursive_directory_iterator(folder + "/cache")) count += each.is_regular_file();
    return count;
  };
  for (int i = 0; i < 2; ++i) {
    auto read = read_data_file(path);
    REQUIRE(read);
    CHECK(read->text() == content);
    CHECK(copies() == 1);
  }
  // A damaged copy is noticed and made anew; a changed original is read again.
  for (auto& each : std::filesystem::recursive_directory_iterator(folder + "/cache"))
    if (each.is_regular_file()) {
      std::string copy = toy::read_file(each.path());
      copy[1000] ^= 1;
      toy::write_file(each.path(), copy);
    }
  CHECK(read_data_file(path)->text() == content);
  std::string other = idx(8, {400, 500}, std::string(200000, 'y'));
  toy::write_file(path, gzip(other));
  CHECK(read_data_file(path)->text() == other);

  for (size_t size : {size_t(0), size_t(5), size_t(20), packed.size() / 2, packed.size() - 1}) {
    toy::write_file(path, packed.substr(0, size));
    CHECK_THAT(error_of(read_data_file(path)), Catch::Contains("truncated"));
  }
  std::string bad = packed;
  bad[bad.size() / 2] ^= 0x55;
  toy::write_file(path, bad);
  CHECK_THAT(error_of(read_data_file(path)), Catch::Contains("corrupt") || Catch::Contains("truncated"));
  toy::write_file(path, content);   // not compressed at all
  CHECK_THAT(error_of(read_data_file(path)), Catch::Contains("corrupt"));
  toy::write_file(path, packed + packed);   // two members
  CHECK(read_data_file(path)->size() == 2 * content.size());
  std::filesystem::remove(path);
  CHECK_THAT(error_of(read_data_file(path)), Catch::Contains("No such file"));
  toy::write_file(folder + "/a.idx", content);   // the name without .gz will do
  CHECK(read_data_file(path)->text() == content);
}

TEST_CASE("splits") {
  std::string folder = toy::fresh_folder("splits");
  toy::Toy program;
  auto& data = *program.tables().data[0];
  auto& split = *data.splits[0];
  data.directory = folder;
  split.kind = gradc::program::SourceKind::idx;
  split.files = {"x.idx", "y.idx"};
  program.pack();
  auto model = toy::make(program);
  auto read = [&](std::map<std::string, std::string> directories = {}) { return read_split(*model->program(), "points", "train", directories); };
  CHECK_THAT(error_of(read()), Catch::Contains("points.train (toy.grad:9)") && Catch::Contains("x.idx") && Catch::Contains("--data"));
  toy::write_file(folder + "/x.idx", idx(13, {4, 3}, std::string(48, '\0')));
  toy::write_file(folder + "/y.idx", idx(13, {3}, std::string(12, '\0')));
  CHECK_THAT(error_of(read()), Catch::Contains("has 4 samples") && Catch::Contains("has 3"));
  toy::write_file(folder + "/y.idx", idx(13, {4}, std::string(12, '\0') + big_endian(0x3fc00000)));
  REQUIRE(read());
  CHECK(read()->count == 4);
  split.selections.push_back(std::make_unique<gradc::program::SelectionT>());
  split.selections[0]->first = 3;
  program.pack();
  model = toy::make(program);
  auto sliced = read();
  REQUIRE(sliced);
  CHECK(sliced->count == 1);
  CHECK(load<float>(sliced->column("y")->sample(0)) == 1.5f);
  data.fields[1]->has_range = true;
  data.fields[1]->high = 1;
  program.pack();
  model = toy::make(program);
  CHECK_THAT(error_of(read()), Catch::Contains("y.idx") && Catch::Contains("sample 3") && Catch::Contains("1.5"));
  data.fields[1]->has_range = false;
  split.selections[0]->last = 9;
  program.pack();
  model = toy::make(program);
  CHECK_THAT(error_of(read()), Catch::Contains("3 to 9") && Catch::Contains("there are 4"));
  CHECK_THAT(error_of(read({{"points", "/nowhere"}})), Catch::Contains("/nowhere/x.idx"));
  CHECK_THAT(error_of(read_split(*model->program(), "points", "trian", {})), Catch::Contains("did you mean 'points.train'?"));
}

TEST_CASE("gathering copies rows in order and repeats the last in the rest") {
  toy::Toy program;
  auto model = toy::make(program);
  auto samples = read_split(*model->program(), "points", "train", {});
  REQUIRE(samples);
  Entry& entry = *model->entry("validate");
  std::vector<uint32_t> order = shuffled(samples->count, 3, 0, 0);
  SampleRows rows(*samples, order);
  rows.base = 5;
  rows.fill(entry, 2, 6);
  const Port& x = *entry.input("x");
  for (int row = 0; row < 8; ++row)
    for (int f = 0; f < 3; ++f) {
      float expected = load<float>(samples->column("x")->sample(order[size_t(7 + std::min(row, 5))]) + f * 4);
      CHECK(load<float>(x.data + (row * 3 + f) * 4) == expected);
    }
}

TEST_CASE("json") {
  JsonValue value;
  REQUIRE(parse_json(R"({"a": [1, -2.5e3, "x\n\u00e9"], "b": {"c": null, "d": true}})", value));
  CHECK(value.member("a")->items[1].number == -2500);
  CHECK(value.member("a")->items[2].string == "x\n\xc3\xa9");
  CHECK(value.member("b")->member("d")->number == 1);
  for (const char* bad : {"", "{", "[1,", "{\"a\" 1}", "[1] 2", "\"abc", "nul", "[\"\\u12\"]"}) {
    JsonValue ignored;
    CHECK_FALSE(parse_json(bad, ignored));
  }
  CHECK(json_string("a\"\\\n\x01") == R"("a\"\\\n\u0001")");
  CHECK(json_number(INFINITY) == "null");
  CHECK(JsonObject().add("x", 0.1).add("y", int64_t(2)).add("z", true).text() == R"({"x": 0.1, "y": 2, "z": true})");
}
