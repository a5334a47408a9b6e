// What was computed before, kept on disk by what it was computed from. Losing it costs time and nothing else: a file that is damaged, or of another
// content under the same name, is as if it were not there, and what cannot be written is not.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gradc::codegen {

class Cache {
 public:
  /// Beyond so many bytes what was not used for longest goes.
  static constexpr uint64_t default_limit = uint64_t(256) << 20;

  explicit Cache(std::string folder, uint64_t limit = default_limit) : folder_(std::move(folder)), limit_(limit) {}

  /// `content` is everything that the result depends on.
  std::optional<std::vector<char>> find(const std::string& content) const;
  void keep(const std::string& content, const std::vector<char>& result) const;

  /// Where the result of a content is.
  std::string path(const std::string& content) const;

 private:
  void trim(const std::string& shelf) const;

  std::string folder_;
  uint64_t limit_;
};

}  // namespace gradc::codegen
