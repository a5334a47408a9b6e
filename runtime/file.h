// Files: mapped for reading, written whole or not at all, and a checksum for what we wrote ourselves.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/error.h"

namespace gradc::runtime {

/// The bytes of a file, mapped or in memory; shared by whoever holds a copy.
class Bytes {
 public:
  Bytes() = default;
  static Result<Bytes> map(const std::string& path);
  /// Takes over `size` bytes of a buffer made by new[].
  static Bytes own(std::unique_ptr<uint8_t[]> data, size_t size);
  Bytes slice(size_t offset, size_t size) const;
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  std::shared_ptr<const void> owner_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

/// Writes the pieces one after the other to a temporary file beside `path`, makes sure that they are on the disk, and renames it: whoever is killed, at
/// whatever moment, leaves the old file or the new one. Devices and pipes are written to directly.
Status write_whole(const std::string& path, const std::vector<std::string_view>& pieces);

bool file_exists(const std::string& path);

/// A fast 64-bit checksum against accidents (not against attackers).
uint64_t checksum(const void* data, size_t size);

/// The folder for things of one kind that can be made again: below $GRADC_CACHE, or else gradc/ in $XDG_CACHE_HOME or ~/.cache. "" if there is no such
/// place or GRADC_CACHE is "off". Nobody has made it yet.
std::string cache_folder(const char* kind);

/// A data file: mapped, or inflated if it ends in .gz. A raw copy of what was inflated is kept in the user's cache folder, and used while size and
/// time of the original and the checksum agree. Where X.gz does not exist, X is taken.
Result<Bytes> read_data_file(const std::string& path);

}  // namespace gradc::runtime
