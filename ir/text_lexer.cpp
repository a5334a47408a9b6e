#include "ir/text_lexer.h"

#include <fmt/format.h>

#include <cctype>

namespace gradc::ir {
namespace {
bool letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool digit(char c) { return std::isdigit(static_cast<unsigned char>(c)); }
bool name_character(char c) { return letter(c) || digit(c) || c == '.' || c == '/' || c == '-'; }

class Lexer {
 public:
  Lexer(FileId file, const std::string& text, Diagnostics& diagnostics) : file_(file), text_(text), diagnostics_(diagnostics) {}

  std::vector<Token> run() {
    while (skip_blanks(), at_ < text_.size()) next();
    begin_ = at_;
    push(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void skip_blanks() {
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '#')
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      if (peek() == '\n') starts_line_ = true;
      if (!std::isspace(static_cast<unsigned char>(peek()))) return;
    }
  }

  void push(Token::Kind kind, std::string text, bool quoted = false) {
    tokens_.push_back({kind, std::move(text), {file_, static_cast<uint32_t>(begin_), static_cast<uint32_t>(at_)}, starts_line_, quoted});
    starts_line_ = false;
  }

  void next() {
    begin_ = at_;
    char c = text_[at_];
    if (letter(c)) {
      push(Token::Kind::word, name());
    } else if (digit(c) || (c == '-' && (digit(peek(1)) || peek(1) == 'i' || peek(1) == '.'))) {
      number();
    } else if (c == '"') {
      push(Token::Kind::text, quoted(), true);
    } else if (c == '%' || c == '@') {
      Token::Kind kind = c == '%' ? Token::Kind::value : Token::Kind::variable;
      ++at_;
      if (peek() == '"') {
        push(kind, quoted(), true);
      } else if (std::string text = name(); !text.empty()) {
        push(kind, text);
      } else {
        report(fmt::format("a name or number must follow `{}`", c));
      }
    } else if (std::string_view("{}[](),:=").find(c) != std::string_view::npos) {
      ++at_;
      push(Token::Kind::sign, std::string(1, c));
    } else {
      while (++at_ < text_.size() && (text_[at_] & 0xC0) == 0x80) {}   // the whole UTF-8 character
      report(fmt::format("`{}` means nothing here", text_.substr(begin_, at_ - begin_)));
    }
  }

  std::string name() {
    size_t begin = at_;
    while (name_character(peek())) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  void number() {
    ++at_;
    while (letter(peek()) || digit(peek()) || peek() == '.' || ((peek() == '-' || peek() == '+') && (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E'))) ++at_;
    push(Token::Kind::number, text_.substr(begin_, at_ - begin_));
  }

  std::string quoted() {
    std::string result;
    ++at_;
    while (peek() != '"') {
      if (at_ >= text_.size() || peek() == '\n') {
        report("the text is not closed");
        return result;
      }
      char c = text_[at_++];
      if (c != '\\') {
        result += c;
        continue;
      }
      c = at_ < text_.size() ? text_[at_++] : '\0';
      if (c == 'n') {
        result += '\n';
      } else if (c == 'x' && std::isxdigit(static_cast<unsigned char>(peek())) && std::isxdigit(static_cast<unsigned char>(peek(1)))) {
        result += static_cast<char>(std::stoi(text_.substr(at_, 2), nullptr, 16));
        at_ += 2;
      } else if (c == '"' || c == '\\') {
        result += c;
      } else {
        report("escapes are \\\", \\\\, \\n and \\xhh");
      }
    }
    ++at_;
    return result;
  }

  void report(std::string message) {
    diagnostics_.add(DiagnosticId::ir_syntax, {file_, static_cast<uint32_t>(begin_), static_cast<uint32_t>(at_)}, std::move(message));
  }

  FileId file_;
  const std::string& text_;
  Diagnostics& diagnostics_;
  size_t at_ = 0, begin_ = 0;
  bool starts_line_ = true;
  std::vector<Token> tokens_;
};
}  // namespace

std::vector<Token> lex(FileId file, const Sources& sources, Diagnostics& diagnostics) { return Lexer(file, sources.text(file), diagnostics).run(); }
}  // namespace gradc::ir
