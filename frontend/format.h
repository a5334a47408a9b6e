// `gradc fmt`: one layout for all files. Lines stay where the author broke them; blanks, indentation, blank lines and the
// columns of `|>`, `<-` and trailing comments are made regular. Formatting twice changes nothing more, the syntax tree
// does not change, and no comment is lost.
#pragma once
#include <optional>
#include <string>

#include "ir/diagnostics.h"

namespace gradc {
/// The formatted text; nothing if the file has syntax errors, which are diagnosed.
std::optional<std::string> format(FileId, const Sources&, Diagnostics&);
}  // namespace gradc
