// The syntax tree as text, for `gradc dump --stage ast` and for tests: a line per declaration and statement, expressions
// with all their brackets. Spans are left out, so files that differ in layout alone give the same text.
#pragma once
#include <string>

#include "frontend/ast.h"

namespace gradc {
std::string dump(const ast::File&);
std::string dump(const ast::Expr&);
}  // namespace gradc
