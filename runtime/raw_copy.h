// Raw copies of data that take time to decode, in the user's cache folder.
#pragma once
#include <functional>
#include <string>

#include "runtime/file.h"

namespace gradc::runtime {

/// What tells one state of a source from another: for a file its size and time.
struct Fingerprint {
  uint64_t size = 0, seconds = 0, nanoseconds = 0;
};

/// What `make` gives for the file or folder `path`, or the copy of it that was kept when the source was in the same state. `variant` tells several
/// decodings of one source from each other. A copy that cannot be written is no error; small ones are not kept.
Result<Bytes> kept_copy(const std::string& path, const std::string& variant, const Fingerprint& state, const std::function<Result<Bytes>()>& make);

}  // namespace gradc::runtime
