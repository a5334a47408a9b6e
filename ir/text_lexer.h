// Tokens of the text form (text.h).
#pragma once
#include <vector>

#include "ir/diagnostics.h"

namespace gradc::ir {

struct Token {
  enum class Kind { word, number, text, value, variable, sign, end };   // contract | -1.5 | "a b" | %3 | @net.w | : = { ...
  Kind kind;
  std::string text;          // without quotes, % or @; escapes replaced
  Span span;
  bool starts_line;          // nothing but blanks before it
  bool quoted = false;       // %"12" is a name, %12 a number
};

/// All tokens of a file; the last one is `end`. Characters that belong to no token are reported and skipped.
std::vector<Token> lex(FileId, const Sources&, Diagnostics&);

}  // namespace gradc::ir
