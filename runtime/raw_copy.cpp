// Names, headers and checks of raw copies. Inflating the training images of Fashion-MNIST takes 180 ms, mapping the copy takes none.
#include "runtime/raw_copy.h"

#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <sys/stat.h>

namespace gradc::runtime {

namespace {
// At the head of a raw copy. What follows is the content.
struct CopyHeader {
  char magic[8];
  uint64_t source_size, source_seconds, source_nanoseconds;
  uint64_t content_size, content_checksum;
  uint64_t zero[2];
};
static_assert(sizeof(CopyHeader) == 64);
constexpr char copy_magic[8] = {'G', 'R', 'A', 'D', 'C', 'R', 'A', 'W'};
constexpr size_t smallest = 65536;   // bytes of content worth a copy
}  // namespace

// Where the raw copy belongs, or "" where there is no cache folder.
static std::string copy_path(const std::string& path, const std::string& variant) {
  std::string folder = cache_folder("data");
  if (folder.empty()) return "";
  char* real = realpath(path.c_str(), nullptr);
  std::string absolute = real ? real : path;
  std::free(real);
  std::string key = absolute + variant;
  return fmt::format("{}/{:016x}-{}.raw", folder, checksum(key.data(), key.size()), absolute.substr(absolute.rfind('/') + 1));
}

static void make_folders(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) mkdir(path.substr(0, slash).c_str(), 0777);
}

Result<Bytes> kept_copy(const std::string& path, const std::string& variant, const Fingerprint& state, const std::function<Result<Bytes>()>& make) {
  std::string copy = copy_path(path, variant);
  CopyHeader expected{};
  std::memcpy(expected.magic, copy_magic, sizeof copy_magic);
  expected.source_size = state.size;
  expected.source_seconds = state.seconds;
  expected.source_nanoseconds = state.nanoseconds;
  if (!copy.empty())
    if (auto raw = Bytes::map(copy); raw && raw->size() >= sizeof(CopyHeader)) {
      CopyHeader header;
      std::memcpy(&header, raw->data(), sizeof header);
      expected.content_size = header.content_size;
      expected.content_checksum = header.content_checksum;
      Bytes content = raw->slice(sizeof header, raw->size() - sizeof header);
      if (std::memcmp(&header, &expected, sizeof header) == 0 && content.size() == header.content_size &&
          checksum(content.data(), content.size()) == header.content_checksum)
        return content;
    }
  auto content = make();
  if (!content || copy.empty() || content->size() < smallest) return content;
  expected.content_size = content->size();
  expected.content_checksum = checksum(content->data(), content->size());
  make_folders(copy);
  (void)write_whole(copy, {std::string_view(reinterpret_cast<const char*>(&expected), sizeof expected), content->text()});
  return content;
}

}  // namespace gradc::runtime
