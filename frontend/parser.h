// Text to syntax tree. Mistakes become diagnostics E01xx; the parser then goes on at the next statement or declaration, so
// that one run shows several. The tree is complete in every case, with `Invalid` where nothing could be read.
#pragma once
#include "frontend/ast.h"

namespace gradc {
ast::File parse(FileId, const Sources&, Diagnostics&);
}  // namespace gradc
