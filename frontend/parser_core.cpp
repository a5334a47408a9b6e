// Tokens, line ends, diagnostics and recovery of the parser (see parser_core.h).
#include "frontend/parser_core.h"

#include <fmt/format.h>

#include <algorithm>

namespace gradc {
namespace {

// Words that cannot name anything. All others (param, state, train, data, step, ...) are words of the language only where
// what follows them fits, so `step` can be an activation and `batch` a dimension.
constexpr std::string_view reserved[] = {"let", "for", "if", "else", "and", "or", "not", "in", "as", "true", "false",
                                         "fn", "layer", "import", "export"};
constexpr std::string_view item_words[] = {"import", "config", "data", "fn", "layer", "model", "optimizer", "schedule", "train", "export"};

// Words of other languages, and what is written here instead.
struct ForeignWord {
  std::string_view word, instead;
};
constexpr ForeignWord foreign_words[] = {
    {"return", "there is no `return`: the last expression of a block is its value"},
    {"def", "functions are declared with `fn`"},
    {"func", "functions are declared with `fn`"},
    {"function", "functions are declared with `fn`"},
    {"lambda", "a function inside of another is written `let f(x) = ...`"},
    {"class", "what has parameters is declared with `layer` or `model`"},
    {"var", "names are introduced with `let`"},
    {"const", "names are introduced with `let`"},
    {"elif", "write `else if`"},
    {"while", "loops run when compiling: `for i in 0..n { ... }`"},
};

template <size_t N>
bool contains(const std::string_view (&words)[N], std::string_view word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

bool continues(TokenKind kind) {
  constexpr TokenKind kinds[] = {
#define SIGN(name, text, continues) continues ? TokenKind::name : TokenKind::end,
#include "frontend/signs.def"
  };
  return kind != TokenKind::end && std::find(std::begin(kinds), std::end(kinds), kind) != std::end(kinds);
}

bool is_number(std::string_view s) {
  return !s.empty() && s.find_first_not_of("0123456789 )],") == std::string_view::npos && s[0] >= '0' && s[0] <= '9';
}

std::string comment_text(std::string_view comment) {
  comment.remove_prefix(std::min(comment.find_first_not_of('/'), comment.size()));
  if (!comment.empty() && comment[0] == ' ') comment.remove_prefix(1);
  while (!comment.empty() && (comment.back() == ' ' || comment.back() == '\r')) comment.remove_suffix(1);
  return std::string(comment);
}

}  // namespace

Parser::Parser(FileId file, const Sources& sources, Diagnostics& diagnostics)
    : file_(file), source_(sources.text(file)), diagnostics_(diagnostics) {
  std::string doc;
  for (const Token& t : lex(file, sources, diagnostics)) {
    if (t.kind == TokenKind::comment) {
      if (!t.line_start && is_number(comment_text(text(t))))
        diagnostics.add(DiagnosticId::comment_like_division, span(t), "this is a comment, not a division")
            .hints = {"`/` divides; where the result is a dimension it must come out whole", "`idiv(a, b)` rounds towards minus infinity"};
      if (tokens_.empty()) file_doc_ += comment_text(text(t)) + "\n";
      doc.clear();
    } else if (t.kind == TokenKind::doc) {
      doc += comment_text(text(t)) + "\n";
    } else {
      if (!doc.empty()) doc.pop_back();
      docs_.push_back(std::move(doc));
      doc.clear();
      tokens_.push_back(t);
    }
  }
  if (!file_doc_.empty()) file_doc_.pop_back();
  end_token_ = tokens_.back();
  end_token_.line_start = true;
}

const Token& Parser::peek(size_t ahead) const {
  return panic_ ? end_token_ : tokens_[std::min(next_ + ahead, tokens_.size() - 1)];
}

std::string_view Parser::word(size_t ahead) const { return panic_ ? std::string_view() : text(peek(ahead)); }

bool Parser::at_name() const { return at(TokenKind::name) && !contains(reserved, word()); }

bool Parser::at_line_end() const {
  const TokenKind kind = peek().kind;
  if (kind == TokenKind::end || kind == TokenKind::semicolon || kind == TokenKind::right_brace) return true;
  return peek().line_start && brackets_ == 0 && !continues(kind);
}

/// Used to notice a missing `}`: only words that begin no statement count, and only at the very beginning of a line.
bool Parser::at_item() const {
  const Token& t = peek();
  if (t.kind != TokenKind::name || !t.line_start || !contains(item_words, word())) return false;
  if (t.begin > 0 && source_[t.begin - 1] != '\n') return false;
  const TokenKind next = peek(1).kind;
  return next == TokenKind::name || (next == TokenKind::text && word() == "import") || (next == TokenKind::left_brace && word() == "train");
}

Token Parser::take() {
  const Token t = peek();
  if (!panic_ && t.kind != TokenKind::end) {
    ++next_;
    last_end_ = t.end;
  }
  return t;
}

bool Parser::accept(TokenKind kind) {
  if (!at(kind)) return false;
  take();
  return true;
}

bool Parser::accept_word(std::string_view w) {
  if (!at_word(w)) return false;
  take();
  return true;
}

bool Parser::expect(TokenKind kind, std::string_view where) {
  if (accept(kind)) return true;
  fail_expected(fmt::format("{} {}", describe(kind), where));
  return false;
}

bool Parser::expect_word(std::string_view w, std::string_view where) {
  if (accept_word(w)) return true;
  fail_expected(fmt::format("`{}` {}", w, where));
  return false;
}

ast::Ident Parser::expect_name(std::string_view what) {
  if (at_name()) {
    const Token t = take();
    return {std::string(text(t)), span(t)};
  }
  const bool is_reserved = at(TokenKind::name);
  Diagnostic& d = fail_expected(what);
  if (is_reserved) d.hints.push_back("this word belongs to the language and cannot name anything");
  return {"", {file_, peek().begin, peek().begin}};
}

ast::Ident Parser::expect_text(std::string_view what) {
  if (at(TokenKind::text)) {
    const Token t = take();
    return {unquote(text(t)), span(t)};
  }
  fail_expected(what).hints.push_back("texts stand in double quotes");
  return {"", {file_, peek().begin, peek().begin}};
}

Diagnostic& Parser::fail(DiagnosticId id, Span place, std::string message) {
  if (panic_) return dropped_ = {};
  panic_ = true;
  open_at_failure_ = brackets_;
  end_token_.begin = end_token_.end = last_end_;
  return diagnostics_.add(id, place, std::move(message));
}

std::string Parser::found() const {
  const Token& t = peek();
  if (t.kind == TokenKind::end) return "the end of the file";
  const std::string_view source = text(t).substr(0, 40);
  return t.line_start ? fmt::format("a new line with `{}`", source) : fmt::format("`{}`", source);
}

Diagnostic& Parser::fail_expected(std::string_view what) {
  Span place = span(peek());
  if (!panic_ && peek().line_start && last_end_ > 0) place = {file_, last_end_, last_end_};   // the end of the unfinished line
  return fail(DiagnosticId::unexpected_token, place, fmt::format("expected {}, found {}", what, found()));
}

std::string_view Parser::foreign_word(std::string_view w) {
  for (const ForeignWord& row : foreign_words)
    if (row.word == w) return row.instead;
  return {};
}

void Parser::close(TokenKind right, const Token& left) {
  if (accept(right) || panic_) return;
  const std::string opened(text(left));
  const bool mismatch = !at_end() && !at_item() && !peek().line_start;
  Diagnostic& d = mismatch ? fail_expected(fmt::format("`,` or {}", describe(right)))
                           : fail(DiagnosticId::unclosed_bracket, {file_, last_end_, last_end_}, fmt::format("expected {}, found {}", describe(right), found()));
  d.labels.push_back({span(left), fmt::format("`{}` opened here", opened)});
}

/// Skips the rest of the statement, with all brackets in it that are closed on the way.
void Parser::recover_statement() {
  panic_ = false;
  int round = open_at_failure_, braces = 0;
  while (!at_end() && !at_item()) {
    const TokenKind kind = peek().kind;
    const bool statement_word = at_word("let") || at_word("for") || at_word("param") || at_word("state");
    if (braces == 0) {
      if (kind == TokenKind::right_brace || kind == TokenKind::semicolon) break;
      if (peek().line_start && !continues(kind) && (round <= 0 || statement_word)) break;
    }
    if (kind == TokenKind::left_paren || kind == TokenKind::left_bracket) ++round;
    if (kind == TokenKind::right_paren || kind == TokenKind::right_bracket) --round;
    if (kind == TokenKind::left_brace) ++braces;
    if (kind == TokenKind::right_brace) --braces;
    take();
  }
  brackets_ = 0;
}

void Parser::recover_item() {
  panic_ = false;
  brackets_ = 0;
  while (!at_end() && !at_item()) take();
}

}  // namespace gradc
