// The lexer: one pass over the bytes. Names and numbers are ASCII; texts and comments may hold any UTF-8.
#include "frontend/lexer.h"

#include <fmt/format.h>

#include <charconv>

namespace gradc {
namespace {

struct SignRow {
  std::string_view text;
  TokenKind kind;
};
constexpr SignRow signs[] = {
#define SIGN(name, text, continues) {text, TokenKind::name},
#include "frontend/signs.def"
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

class Lexer {
 public:
  Lexer(FileId file, const std::string& text, Diagnostics& diagnostics) : file_(file), text_(text), diagnostics_(diagnostics) {}

  std::vector<Token> run() {
    if (text_.compare(0, 3, "\xEF\xBB\xBF") == 0) at_ = 3;   // byte order mark
    while (skip_blanks(), at_ < text_.size()) token();
    add(TokenKind::end, at_);
    return std::move(tokens_);
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void skip_blanks() {
    for (; at_ < text_.size() && is_blank(text_[at_]); ++at_)
      if (text_[at_] == '\n') line_start_ = true;
  }

  void add(TokenKind kind, size_t begin) {
    tokens_.push_back({kind, line_start_, static_cast<uint32_t>(begin), static_cast<uint32_t>(at_)});
    if (kind != TokenKind::comment && kind != TokenKind::doc) line_start_ = false;
  }

  Diagnostic& report(DiagnosticId id, size_t begin, std::string message) {
    return diagnostics_.add(id, {file_, static_cast<uint32_t>(begin), static_cast<uint32_t>(at_)}, std::move(message));
  }

  void token() {
    const size_t begin = at_;
    const char c = peek();
    if (c == '/' && peek(1) == '/') return comment();
    if (is_letter(c)) {
      while (is_letter(peek()) || is_digit(peek())) ++at_;
      return add(TokenKind::name, begin);
    }
    if (is_digit(c) || (c == '.' && is_digit(peek(1)) && !after_value())) return number();
    if (c == '"') return text();
    for (const SignRow& sign : signs)
      if (text_.compare(at_, sign.text.size(), sign.text) == 0) {
        at_ += sign.text.size();
        return add(sign.kind, begin);
      }
    unknown();
  }

  /// In `dense.1.w` the dot belongs to the path; in `x * .5` to the number.
  bool after_value() const {
    return !tokens_.empty() && tokens_.back().end == at_ &&
           (tokens_.back().kind == TokenKind::name || tokens_.back().kind == TokenKind::number);
  }

  void comment() {
    const size_t begin = at_;
    at_ = std::min(text_.find('\n', at_), text_.size());
    const bool doc = text_.compare(begin, 3, "///") == 0 && text_.compare(begin, 4, "////") != 0;
    add(doc ? TokenKind::doc : TokenKind::comment, begin);
  }

  void number() {
    const size_t begin = at_;
    while (is_digit(peek())) ++at_;
    if (peek() == '.' && is_digit(peek(1))) {
      ++at_;
      while (is_digit(peek())) ++at_;
    }
    const size_t sign = (peek(1) == '+' || peek(1) == '-') ? 2 : 1;
    if ((peek() == 'e' || peek() == 'E') && is_digit(peek(sign))) {
      at_ += sign;
      while (is_digit(peek())) ++at_;
    }
    const size_t end = at_;
    if (is_letter(peek())) {
      while (is_letter(peek()) || is_digit(peek())) ++at_;
      report(DiagnosticId::bad_number, begin, fmt::format("`{}` is neither a number nor a name", text_.substr(begin, at_ - begin)))
          .hints.push_back("numbers are written 3, 0.5 or 1e-3; between a number and a name stands `*`");
    } else {
      double value = 0;
      if (std::from_chars(text_.data() + begin, text_.data() + end, value).ec == std::errc::result_out_of_range)
        report(DiagnosticId::bad_number, begin, "this number is too large or too small for 64 bits");
    }
    add(TokenKind::number, begin);
  }

  void text() {
    const size_t begin = at_++;
    while (at_ < text_.size() && peek() != '"' && peek() != '\n') at_ += peek() == '\\' && peek(1) != '\n' && at_ + 1 < text_.size() ? 2 : 1;
    if (peek() == '"' && at_ < text_.size()) ++at_;
    else report(DiagnosticId::unterminated_text, begin, "this text has no closing quote on its line");
    add(TokenKind::text, begin);
  }

  void unknown() {
    const size_t begin = at_++;
    while (at_ < text_.size() && (static_cast<unsigned char>(text_[at_]) & 0xC0) == 0x80) ++at_;   // the rest of a UTF-8 character
    const std::string character = text_.substr(begin, at_ - begin);
    const bool printable = static_cast<unsigned char>(character[0]) >= 0x20 && character[0] != 0x7F;
    Diagnostic& d = report(DiagnosticId::unknown_character, begin,
                           printable ? fmt::format("the language has no sign `{}`", character)
                                     : fmt::format("byte {:#04x} does not belong in a source file", static_cast<unsigned char>(character[0])));
    if (character == "#") {
      d.hints.push_back("a comment begins with `//`");
      at_ = std::min(text_.find('\n', at_), text_.size());   // it was meant as one
    } else if (character == "!") {
      d.hints.push_back("`not x` is logical negation, `!=` is unequal");
    } else if (character == "&" || character == "|") {
      d.hints.push_back("logical operators are the words `and` and `or`; `|>` is the pipe");
      if (peek() == character[0]) ++at_;
    } else if (character == "'") {
      d.hints.push_back("texts stand in double quotes");
    }
  }

  FileId file_;
  const std::string& text_;
  Diagnostics& diagnostics_;
  size_t at_ = 0;
  bool line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::string describe(TokenKind kind) {
  switch (kind) {
    case TokenKind::end: return "the end of the file";
    case TokenKind::name: return "a name";
    case TokenKind::number: return "a number";
    case TokenKind::text: return "a text";
    case TokenKind::comment:
    case TokenKind::doc: return "a comment";
#define SIGN(name, text, continues) \
  case TokenKind::name: return "`" text "`";
#include "frontend/signs.def"
  }
  return "";
}

std::vector<Token> lex(FileId file, const Sources& sources, Diagnostics& diagnostics) {
  return Lexer(file, sources.text(file), diagnostics).run();
}

std::string unquote(std::string_view quoted) {
  std::string out;
  const size_t end = quoted.size() > 1 && quoted.back() == '"' ? quoted.size() - 1 : quoted.size();
  for (size_t i = 1; i < end; ++i) {
    if (quoted[i] != '\\' || i + 1 >= end) {
      out += quoted[i];
      continue;
    }
    const char c = quoted[++i];
    out += c == 'n' ? '\n' : c == 't' ? '\t' : c;
  }
  return out;
}

}  // namespace gradc
