// Compressed data files, and the raw copies of them in the user's cache folder: inflating the training images of Fashion-MNIST takes 180 ms, mapping
// the copy takes none. A copy that cannot be written is no error.
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <sys/stat.h>
#include <zlib.h>

#include "runtime/file.h"

namespace gradc::runtime {

namespace {
// At the head of a raw copy. What follows is the inflated content.
struct CopyHeader {
  char magic[8];
  uint64_t source_size, source_seconds, source_nanoseconds;
  uint64_t content_size, content_checksum;
  uint64_t zero[2];
};
static_assert(sizeof(CopyHeader) == 64);
constexpr char copy_magic[8] = {'G', 'R', 'A', 'D', 'C', 'R', 'A', 'W'};
}  // namespace

static Result<Bytes> inflate_file(const std::string& path, const Bytes& packed) {
  Error truncated{GRADC_CORRUPT, fmt::format("'{}' is truncated: the compressed data ends too early", path)};
  if (packed.size() < 18) return truncated;
  uint32_t hint = 0;   // the last member's size modulo 2^32: usually the whole
  std::memcpy(&hint, packed.data() + packed.size() - 4, 4);
  size_t capacity = std::min<size_t>(std::max<size_t>(hint, 4096), packed.size() * 1100 + 4096), used = 0;
  std::unique_ptr<uint8_t[]> content(new uint8_t[capacity]);
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return Error{GRADC_MEMORY, "out of memory"};
  stream.next_in = const_cast<uint8_t*>(packed.data());
  size_t left = packed.size();
  int state = Z_OK;
  while (true) {
    if (used == capacity) {
      std::unique_ptr<uint8_t[]> wider(new uint8_t[capacity * 2]);
      std::memcpy(wider.get(), content.get(), used);
      content = std::move(wider);
      capacity *= 2;
    }
    uInt in = uInt(std::min<size_t>(left, 1u << 30)), out = uInt(std::min<size_t>(capacity - used, 1u << 30));
    stream.avail_in = in;
    stream.avail_out = out;
    stream.next_out = content.get() + used;
    state = inflate(&stream, Z_NO_FLUSH);
    left -= in - stream.avail_in;
    used += out - stream.avail_out;
    if (state == Z_STREAM_END) {
      if (left < 2 || stream.next_in[0] != 0x1f || stream.next_in[1] != 0x8b) break;   // another member may follow
      inflateReset(&stream);
    } else if (state == Z_BUF_ERROR || (state == Z_OK && left == 0 && stream.avail_out > 0)) {
      if (left == 0) {
        inflateEnd(&stream);
        return truncated;
      }
    } else if (state != Z_OK) {
      std::string why = stream.msg ? stream.msg : "not gzip data";
      inflateEnd(&stream);
      return Error{GRADC_CORRUPT, fmt::format("'{}' is corrupt: {}", path, why)};
    }
  }
  inflateEnd(&stream);
  return Bytes::own(std::move(content), used);
}

// Where the raw copy of a file belongs, or "" where there is no cache folder.
static std::string copy_path(const std::string& path) {
  std::string folder = cache_folder("data");
  if (folder.empty()) return "";
  char* real = realpath(path.c_str(), nullptr);
  std::string absolute = real ? real : path;
  std::free(real);
  return fmt::format("{}/{:016x}-{}.raw", folder, checksum(absolute.data(), absolute.size()), absolute.substr(absolute.rfind('/') + 1));
}

static void make_folders(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) mkdir(path.substr(0, slash).c_str(), 0777);
}

Result<Bytes> read_data_file(const std::string& wanted) {
  std::string path = wanted;
  bool packed = path.ends_with(".gz");
  if (packed && !file_exists(path) && file_exists(path.substr(0, path.size() - 3))) path.resize(path.size() - 3), packed = false;
  if (!packed) return Bytes::map(path);

  struct stat state;
  std::string copy = stat(path.c_str(), &state) == 0 ? copy_path(path) : "";
  CopyHeader expected{};
  if (!copy.empty()) {
    std::memcpy(expected.magic, copy_magic, sizeof copy_magic);
    expected.source_size = uint64_t(state.st_size);
    expected.source_seconds = uint64_t(state.st_mtim.tv_sec);
    expected.source_nanoseconds = uint64_t(state.st_mtim.tv_nsec);
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
  }
  auto source = Bytes::map(path);
  if (!source) return source.error();
  auto content = inflate_file(path, *source);
  if (!content || copy.empty() || content->size() < 65536) return content;
  expected.content_size = content->size();
  expected.content_checksum = checksum(content->data(), content->size());
  make_folders(copy);
  (void)write_whole(copy, {std::string_view(reinterpret_cast<const char*>(&expected), sizeof expected), content->text()});
  return content;
}

}  // namespace gradc::runtime
