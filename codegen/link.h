// Linking with LLD, which is part of gradc: executables, shared libraries, and static libraries whose inner symbols are hidden.
#pragma once
#include <string>
#include <vector>

namespace gradc::codegen {

/// Object files in memory, in linking order.
using Objects = std::vector<std::vector<char>>;

/// Each gives "" or, in words, why it could not be done (an unwritable output, the linker's own message). Outputs are written beside their place and
/// renamed, so that a failure leaves what was there.
std::string link_executable(const Objects&, const std::string& output);
/// Exports the functions that start with `prefix` and an underscore alone.
std::string link_shared(const Objects&, const std::string& prefix, const std::string& output);
/// One relocatable object of ours and the runtime in an archive.
std::string link_static(const Objects&, const std::string& prefix, const std::string& output);

}  // namespace gradc::codegen
