#include <catch2/catch.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "codegen/compile.h"
#include "ir/builder.h"
#include "passes/fusion.h"

using namespace gradc;
using namespace gradc::codegen;
namespace fs = std::filesystem;

namespace {
struct Folder {
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "gradc-cache-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()));
    path = pattern;
  }
  ~Folder() { fs::remove_all(path); }
  std::vector<fs::path> files() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (entry.is_regular_file()) found.push_back(entry.path());
    return found;
  }
  fs::path path;
};

void table_of(KernelTable& table, int64_t rows) {
  ir::Module m;
  ir::Function f;
  f.name = "f";
  ir::Builder b(f);
  ir::Value x = b.input("x", {ir::ElementType::f32, {rows, 32}}), w = b.input("w", {ir::ElementType::f32, {32, 16}});
  ir::Value y = b.contract("mk,kn->mn", x, w);
  f.results.push_back({"y", b.map(ir::Op::max, {y, b.like(0, y)}), false});
  f.results.push_back({"s", b.reduce(ir::Op::reduce_sum, b.map(ir::Op::exp, {x}), {1}), false});
  m.functions.push_back(f);
  program::ProgramT program;
  passes::prepare_for_fusion(f);
  plan_entry(m, f, passes::fuse(f), table, program);
}

std::vector<char> text(const std::string& s) { return {s.begin(), s.end()}; }
void write(const fs::path& path, const std::string& contents) { std::ofstream(path, std::ios::binary) << contents; }
std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
}  // namespace

TEST_CASE("kernels come from the cache the second time, with the same bytes") {
  Folder folder;
  Cache cache(folder.path);
  KernelTable table;
  table_of(table, 8);
  const Target target = *named_target("baseline");
  CompileOptions options{target, 2, false, false, &cache};
  auto plain = compile(table, {target, 1});
  auto first = compile(table, options), second = compile(table, options);
  REQUIRE(table.kernels().size() >= 2);
  CHECK(folder.files().size() == table.kernels().size());
  for (size_t i = 0; i < first.size(); ++i) {
    CHECK(!first[i].cached);
    CHECK(second[i].cached);
    CHECK(first[i].code == plain[i].code);
    CHECK(second[i].code == plain[i].code);
    CHECK(second[i].scratch_bytes == plain[i].scratch_bytes);
  }
  // Other code, another target: nothing fits.
  KernelTable other;
  table_of(other, 9);
  for (const Object& object : compile(other, options)) CHECK(!object.cached);
  for (const Object& object : compile(table, {*named_target("avx2"), 2, false, false, &cache})) CHECK(!object.cached);
  // Text is made afresh.
  for (const Object& object : compile(table, {target, 1, true, false, &cache})) CHECK(!object.llvm.empty());
}

TEST_CASE("what is damaged or foreign in the cache is as if absent, and written again") {
  Folder folder;
  Cache cache(folder.path);
  const auto result = text("some code");
  cache.keep("a", result);
  CHECK(cache.find("a") == result);
  CHECK(!cache.find("b"));
  const fs::path file = cache.path("a");
  const std::string whole = read(file);
  REQUIRE(whole.size() > result.size());
  auto broken = [&](const std::string& contents) {
    write(file, contents);
    CHECK(!cache.find("a"));
    cache.keep("a", result);
    CHECK(cache.find("a") == result);
  };
  broken("");
  broken("something else altogether");
  broken(whole.substr(0, whole.size() - 1));
  broken(whole + "x");
  for (size_t i = 0; i < whole.size(); ++i) {   // any byte
    std::string changed = whole;
    changed[i] ^= 1;
    broken(changed);
  }
  cache.keep("b", text("other"));
  broken(read(cache.path("b")));
}

TEST_CASE("the cache keeps within its limit and drops what was not used for longest") {
  Folder folder;
  Cache cache(folder.path, 256 * 1000);   // 1000 bytes a shelf
  // Contents that share a shelf.
  std::vector<std::string> names;
  std::string shelf;
  for (int i = 0; names.size() < 8; ++i) {
    std::string name = "content " + std::to_string(i), at = fs::path(cache.path(name)).parent_path();
    if (shelf.empty()) shelf = at;
    if (at == shelf) names.push_back(name);
  }
  for (size_t i = 0; i < names.size(); ++i) {
    cache.keep(names[i], text(std::string(250, 'x')));
    for (size_t j = 0; j <= i; ++j)   // the order in time, without waiting for the clock
      if (fs::exists(cache.path(names[j]))) fs::last_write_time(cache.path(names[j]), fs::file_time_type::clock::now() - std::chrono::seconds(1000 - j));
    uintmax_t sum = 0;
    for (const fs::path& file : folder.files()) sum += fs::file_size(file);
    CHECK(sum <= 1000);
  }
  CHECK(cache.find(names.back()));
  CHECK(!cache.find(names.front()));
}

TEST_CASE("a cache that cannot be written is no error") {
  Folder folder;
  write(folder.path / "file", "");
  Cache cache(folder.path / "file" / "below");
  KernelTable table;
  table_of(table, 8);
  for (const Object& object : compile(table, {*named_target("baseline"), 1, false, false, &cache})) CHECK(!object.code.empty());
}
