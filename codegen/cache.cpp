// A file a result, named by the SHA-256 of the content, in one of 256 folders by its first byte; each folder is kept below its share of the limit, so
// that no write looks at more than a few files. Any number of threads and processes may read and write: files come into being by rename.
#include "codegen/cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/SHA256.h>
#include <llvm/Support/xxhash.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace gradc::codegen {
namespace fs = std::filesystem;
namespace {
constexpr unsigned shelves = 256;

using Digest = std::array<uint8_t, 32>;
struct Header {
  char magic[8] = {'G', 'R', 'A', 'D', 'C', 'O', 'B', '1'};
  Digest digest;
  uint64_t size, checksum;
};
static_assert(sizeof(Header) == 56);

Digest digest(const std::string& content) { return llvm::SHA256::hash({reinterpret_cast<const uint8_t*>(content.data()), content.size()}); }
uint64_t checksum(const char* data, size_t size) { return llvm::xxh3_64bits({reinterpret_cast<const uint8_t*>(data), size}); }
std::string place(const std::string& folder, const Digest& digest) {
  std::string name = llvm::toHex(digest, true);
  return folder + "/" + name.substr(0, 2) + "/" + name.substr(2);
}
}  // namespace

std::string Cache::path(const std::string& content) const { return place(folder_, digest(content)); }

std::optional<std::vector<char>> Cache::find(const std::string& content) const {
  Digest key = digest(content);
  std::string path = place(folder_, key);
  std::ifstream file(path, std::ios::binary);
  Header header;
  if (!file.read(reinterpret_cast<char*>(&header), sizeof header)) return std::nullopt;
  if (std::memcmp(header.magic, Header{}.magic, sizeof header.magic) != 0 || header.digest != key) return std::nullopt;
  std::error_code failed;
  if (fs::file_size(path, failed) != sizeof header + header.size || failed) return std::nullopt;
  std::vector<char> result(header.size);
  if (!file.read(result.data(), static_cast<std::streamsize>(result.size())) || checksum(result.data(), result.size()) != header.checksum) return std::nullopt;
  utimensat(AT_FDCWD, path.c_str(), nullptr, 0);   // used now
  return result;
}

void Cache::keep(const std::string& content, const std::vector<char>& result) const {
  static std::atomic<unsigned> number{0};
  Header header;
  header.digest = digest(content);
  header.size = result.size();
  header.checksum = checksum(result.data(), result.size());
  std::string path = place(folder_, header.digest), shelf = path.substr(0, path.rfind('/'));
  std::error_code failed;
  fs::create_directories(folder_, failed);
  if (mkdir(shelf.c_str(), 0700) != 0 && errno != EEXIST) return;   // code that others could change would run as us
  std::string temporary = fmt::format("{}.{}.{}.tmp", path, getpid(), number++);
  std::ofstream file(temporary, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&header), sizeof header);
  file.write(result.data(), static_cast<std::streamsize>(result.size()));
  file.close();
  if (file) fs::rename(temporary, path, failed);
  if (!file || failed) {
    fs::remove(temporary, failed);
    return;
  }
  trim(shelf);
}

void Cache::trim(const std::string& shelf) const {
  struct File {
    fs::file_time_type used;
    uint64_t size;
    fs::path path;
  };
  std::vector<File> files;
  uint64_t sum = 0;
  std::error_code failed;
  for (const fs::directory_entry& entry : fs::directory_iterator(shelf, failed)) {
    uint64_t size = entry.file_size(failed);
    if (failed) continue;   // another process was faster
    auto used = entry.last_write_time(failed);
    if (failed) continue;
    files.push_back({used, size, entry.path()});
    sum += size;
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) { return a.used < b.used; });
  for (size_t i = 0; sum > limit_ / shelves && i + 1 < files.size(); ++i) {
    sum -= files[i].size;
    fs::remove(files[i].path, failed);
  }
}
}  // namespace gradc::codegen
