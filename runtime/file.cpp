// Mapping, writing by rename, checksums.
#include "runtime/file.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gradc::runtime {

Result<Bytes> Bytes::map(const std::string& path) {
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return Error{GRADC_FILE, fmt::format("cannot open '{}': {}", path, std::strerror(errno))};
  struct stat state;
  if (fstat(file, &state) != 0 || !S_ISREG(state.st_mode)) {
    close(file);
    return Error{GRADC_FILE, fmt::format("cannot read '{}': not a regular file", path)};
  }
  Bytes bytes;
  bytes.size_ = size_t(state.st_size);
  if (bytes.size_ > 0) {
    void* at = mmap(nullptr, bytes.size_, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (at == MAP_FAILED) {
      int reason = errno;
      close(file);
      return Error{GRADC_FILE, fmt::format("cannot read '{}': {}", path, std::strerror(reason))};
    }
    bytes.data_ = static_cast<const uint8_t*>(at);
    bytes.owner_ = std::shared_ptr<const void>(at, [size = bytes.size_](const void* start) { munmap(const_cast<void*>(start), size); });
  }
  close(file);
  return bytes;
}

Bytes Bytes::own(std::unique_ptr<uint8_t[]> data, size_t size) {
  Bytes bytes;
  bytes.data_ = data.get();
  bytes.size_ = size;
  bytes.owner_ = std::shared_ptr<const void>(data.release(), [](const void* start) { delete[] static_cast<const uint8_t*>(start); });
  return bytes;
}

Bytes Bytes::slice(size_t offset, size_t size) const {
  Bytes part = *this;
  part.data_ += offset;
  part.size_ = size;
  return part;
}

std::string cache_folder(const char* kind) {
  auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value ? value : "");
  };
  std::string folder = variable("GRADC_CACHE");
  if (folder == "off") return "";
  if (folder.empty()) folder = variable("XDG_CACHE_HOME").empty() ? "" : variable("XDG_CACHE_HOME") + "/gradc";
  if (folder.empty()) folder = variable("HOME").empty() ? "" : variable("HOME") + "/.cache/gradc";
  return folder.empty() ? "" : folder + "/" + kind;
}

bool file_exists(const std::string& path) {
  struct stat state;
  return stat(path.c_str(), &state) == 0;
}

static bool write_all(int file, std::string_view piece) {
  while (!piece.empty()) {
    ssize_t written = write(file, piece.data(), piece.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    piece.remove_prefix(size_t(written));
  }
  return true;
}

// Devices and pipes are written to as they are: a rename would put a file in their place.
static bool is_special(const std::string& path) {
  struct stat state;
  return stat(path.c_str(), &state) == 0 && !S_ISREG(state.st_mode) && !S_ISDIR(state.st_mode);
}

Status write_whole(const std::string& path, const std::vector<std::string_view>& pieces) {
  if (is_special(path)) {
    int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    bool written = file >= 0;
    for (std::string_view piece : pieces) written = written && write_all(file, piece);
    int reason = errno;
    if (file >= 0) close(file);
    return written ? Status() : Error{GRADC_FILE, fmt::format("cannot write '{}': {}", path, std::strerror(reason))};
  }
  std::string temporary = fmt::format("{}.tmp.{}", path, getpid());
  auto fail = [&](int reason) {
    unlink(temporary.c_str());
    return Error{GRADC_FILE, fmt::format("cannot write '{}': {}", path, std::strerror(reason))};
  };
  int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) return fail(errno);
  for (std::string_view piece : pieces)
    if (!write_all(file, piece)) {
      int reason = errno;
      close(file);
      return fail(reason);
    }
  if (fsync(file) != 0) {
    int reason = errno;
    close(file);
    return fail(reason);
  }
  if (close(file) != 0) return fail(errno);
  if (rename(temporary.c_str(), path.c_str()) != 0) return fail(errno);
  // The rename itself is on the disk once the folder is.
  size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  if (int directory = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); directory >= 0) {
    fsync(directory);
    close(directory);
  }
  return {};
}

// Four independent lanes of multiply and rotate over 32 bytes at a time, so that it runs at memory speed; the tail is padded with zeros and the length is mixed in.
uint64_t checksum(const void* data, size_t size) {
  constexpr uint64_t prime = 0x9e3779b97f4a7c15;
  uint64_t lanes[4] = {1, 2, 3, 4};
  auto mix = [](uint64_t lane, uint64_t word) {
    lane = (lane ^ word) * prime;
    return lane << 31 | lane >> 33;
  };
  const char* at = static_cast<const char*>(data);
  size_t i = 0;
  for (; i + 32 <= size; i += 32)
    for (int lane = 0; lane < 4; ++lane) {
      uint64_t word;
      std::memcpy(&word, at + i + 8 * lane, 8);
      lanes[lane] = mix(lanes[lane], word);
    }
  uint64_t tail[4] = {};
  if (i < size) std::memcpy(tail, at + i, size - i);
  uint64_t result = size;
  for (int lane = 0; lane < 4; ++lane) result = mix(result, mix(lanes[lane], tail[lane]));
  return result ^ result >> 29;
}

}  // namespace gradc::runtime
