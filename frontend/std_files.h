// The standard library's source texts, compiled into gradc (see embed_std.cmake).
#pragma once
#include <string_view>
#include <vector>

namespace gradc {
struct StdFile {
  std::string_view name;   // "std/layers.grad"
  std::string_view text;
};
const std::vector<StdFile>& std_files();
}  // namespace gradc
