// Text to tokens. Blanks are dropped; comments are tokens, because the formatter keeps them and `///` lines document what
// follows. Line ends are not tokens: each token says whether it is the first of its line, and the parser decides by the
// brackets around it whether that ends a statement.
#pragma once
#include <string_view>
#include <vector>

#include "ir/diagnostics.h"

namespace gradc {

enum class TokenKind : uint8_t {
  end,       // after the last token
  name,      // also every word of the language
  number,
  text,      // "..." with its quotes
  comment,   // from // to the end of the line
  doc,       // from /// to the end of the line
#define SIGN(name, text, continues) name,
#include "frontend/signs.def"
};

struct Token {
  TokenKind kind = TokenKind::end;
  bool line_start = false;   // nothing but blanks and comments before it on its line
  uint32_t begin = 0, end = 0;
};

/// How a kind of token is called in a message: "`|>`", "a name", "the end of the file".
std::string describe(TokenKind);

/// All tokens of a file, `end` last. Characters that belong to no token are diagnosed and left out.
std::vector<Token> lex(FileId, const Sources&, Diagnostics&);

/// What a text token stands for: without quotes and escapes.
std::string unquote(std::string_view);

}  // namespace gradc
