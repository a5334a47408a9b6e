// Compressed data files.
#include <cstring>
#include <fmt/format.h>
#include <sys/stat.h>
#include <zlib.h>

#include "runtime/raw_copy.h"

namespace gradc::runtime {

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

Result<Bytes> read_data_file(const std::string& wanted) {
  std::string path = wanted;
  bool packed = path.ends_with(".gz");
  if (packed && !file_exists(path) && file_exists(path.substr(0, path.size() - 3))) path.resize(path.size() - 3), packed = false;
  struct stat state;
  if (!packed || stat(path.c_str(), &state) != 0) return Bytes::map(path);
  return kept_copy(path, "", {uint64_t(state.st_size), uint64_t(state.st_mtim.tv_sec), uint64_t(state.st_mtim.tv_nsec)}, [&]() -> Result<Bytes> {
    auto source = Bytes::map(path);
    return source ? inflate_file(path, *source) : source;
  });
}

}  // namespace gradc::runtime
