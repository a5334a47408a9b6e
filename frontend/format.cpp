// The formatter. It works on tokens, not on the tree, so that comments and line breaks survive by themselves; the parser
// says what a token plays (Layout). Four walks: tokens to lines, alignment of signs, indentation, alignment of comments.
#include "frontend/format.h"

#include <algorithm>

#include "frontend/parser_core.h"

namespace gradc {
namespace {

constexpr int indent_width = 4;

struct Line {
  std::vector<Token> tokens;       // without the comment that may end it
  std::optional<Token> comment;
  bool blank_before = false;
  size_t pad_at = SIZE_MAX;        // blanks go before the token with this index
  int pad = 0;
  int indent = 0;
  std::string text;                // of the tokens
};

/// A bracket that is open where the walk stands; the outermost one stands for the file.
struct Open {
  bool block = true;               // { } of a block or the file: statements stand here
  int indent = -indent_width;      // of the line that opened it
  int pipe_column = -1;            // of the first |> of the current statement
};

bool opens(TokenKind k) { return k == TokenKind::left_paren || k == TokenKind::left_bracket || k == TokenKind::left_brace; }
bool closes(TokenKind k) { return k == TokenKind::right_paren || k == TokenKind::right_bracket || k == TokenKind::right_brace; }

int width(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

class Formatter {
 public:
  Formatter(const std::string& source, const std::vector<Token>& tokens, const Layout& layout) : source_(source), layout_(layout) {
    split(tokens);
  }

  std::string run() {
    align_signs();
    indent();
    place_comments();
    return join();
  }

 private:
  std::string text(const Token& t) const {
    std::string s = source_.substr(t.begin, t.end - t.begin);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r')) s.pop_back();
    return s;
  }

  void split(const std::vector<Token>& tokens) {
    uint32_t last_end = 0;
    for (const Token& t : tokens) {
      if (t.kind == TokenKind::end) break;
      if (t.line_start) {
        const auto ends = std::count(source_.begin() + last_end, source_.begin() + t.begin, '\n');
        const bool first = lines_.empty();
        lines_.emplace_back().blank_before = ends > 1 && !first;
      }
      if (t.kind == TokenKind::comment || t.kind == TokenKind::doc) lines_.back().comment = t;
      else lines_.back().tokens.push_back(t);
      last_end = t.end;
    }
    for (size_t i = 0; i < lines_.size(); ++i) {   // no blank lines inside the edges of a block
      const bool closing = !lines_[i].tokens.empty() && closes(lines_[i].tokens[0].kind);
      const bool opening = i > 0 && !lines_[i - 1].tokens.empty() && opens(lines_[i - 1].tokens.back().kind);
      if (closing || opening) lines_[i].blank_before = false;
    }
  }

  bool blank_between(const Token& left, const Token& right) const {
    if (layout_.joins_right.contains(left.begin) || layout_.joins_left.contains(right.begin)) return false;
    switch (right.kind) {
      case TokenKind::right_paren: case TokenKind::right_bracket: case TokenKind::comma: case TokenKind::semicolon: case TokenKind::colon:
        return false;
      case TokenKind::right_brace: return left.kind != TokenKind::left_brace;
      default: return left.kind != TokenKind::left_paren && left.kind != TokenKind::left_bracket;
    }
  }

  /// Runs of lines that follow each other and have a sign to align: blanks that bring the signs into one column.
  void align_signs() {
    for (size_t begin = 0, end; begin < lines_.size(); begin = std::max(end, begin + 1)) {
      int column = 0;
      for (end = begin; end < lines_.size() && find_sign(lines_[end]) && (end == begin || !lines_[end].blank_before); ++end)
        column = std::max(column, width(build(lines_[end], lines_[end].pad_at)));
      for (size_t i = begin; i < end; ++i) lines_[i].pad = column - width(build(lines_[i], lines_[i].pad_at));
    }
  }

  /// The sign counts only on a line of its own statement that holds all of it before the sign.
  bool find_sign(Line& line) const {
    if (line.tokens.empty() || !layout_.statements.contains(line.tokens[0].begin)) return false;
    for (size_t i = 0; i < line.tokens.size(); ++i) {
      if (opens(line.tokens[i].kind) || closes(line.tokens[i].kind)) return false;
      if (layout_.aligned.contains(line.tokens[i].begin)) {
        line.pad_at = i;
        return true;
      }
    }
    return false;
  }

  /// The first `count` tokens of a line with the blanks between them.
  std::string build(const Line& line, size_t count) const {
    std::string out;
    for (size_t i = 0; i < std::min(count, line.tokens.size()); ++i) {
      if (i > 0 && blank_between(line.tokens[i - 1], line.tokens[i])) out += ' ';
      if (i == line.pad_at) out.append(static_cast<size_t>(line.pad), ' ');
      out += text(line.tokens[i]);
    }
    return out;
  }

  void indent() {
    std::vector<Open> open(1);
    for (Line& line : lines_) {
      if (line.tokens.empty()) continue;
      line.text = build(line, line.tokens.size());
      line.indent = indent_of(line, open);
      for (size_t i = 0; i < line.tokens.size(); ++i) {
        const Token& t = line.tokens[i];
        if (layout_.statements.contains(t.begin)) open.back().pipe_column = -1;
        if (t.kind == TokenKind::pipe && open.back().pipe_column < 0)
          open.back().pipe_column = line.indent + width(build(line, i + 1)) - width("|>");
        if (opens(t.kind)) open.push_back({t.kind == TokenKind::left_brace && !layout_.joins_left.contains(t.begin), line.indent, -1});
        if (closes(t.kind) && open.size() > 1) open.pop_back();
      }
    }
    // A comment by itself belongs to what follows; at the end of a block to what stands before.
    for (size_t i = lines_.size(); i-- > 0;) {
      if (!lines_[i].tokens.empty() || i + 1 == lines_.size()) continue;
      const Line& next = lines_[i + 1];
      lines_[i].indent = next.indent + (!next.tokens.empty() && closes(next.tokens[0].kind) ? indent_width : 0);
    }
  }

  int indent_of(const Line& line, const std::vector<Open>& open) const {
    const Token& first = line.tokens[0];
    if (closes(first.kind)) {   // as the line that opened the outermost bracket closed here
      size_t closed = 0;
      while (closed < line.tokens.size() && closed + 1 < open.size() && closes(line.tokens[closed].kind)) ++closed;
      return open[open.size() - closed].indent;
    }
    const Open& inner = open.back();
    const int base = inner.indent + indent_width;
    if (first.kind == TokenKind::pipe && inner.pipe_column >= 0) return inner.pipe_column;
    const bool continues = inner.block && !layout_.statements.contains(first.begin) && text(first) != "else";
    return continues ? base + indent_width : base;
  }

  void place_comments() {
    for (size_t begin = 0, end; begin < lines_.size(); begin = std::max(end, begin + 1)) {
      int column = 0;
      for (end = begin; end < lines_.size() && lines_[end].comment && !lines_[end].tokens.empty(); ++end)
        column = std::max(column, lines_[end].indent + width(lines_[end].text));
      for (size_t i = begin; i < end; ++i)
        lines_[i].text.append(static_cast<size_t>(column + 2 - lines_[i].indent - width(lines_[i].text)), ' ');
    }
  }

  std::string join() const {
    std::string out;
    for (const Line& line : lines_) {
      if (line.blank_before) out += '\n';
      out.append(static_cast<size_t>(line.indent), ' ');
      out += line.text;
      if (line.comment) out += text(*line.comment);
      out += '\n';
    }
    return out;
  }

  const std::string& source_;
  const Layout& layout_;
  std::vector<Line> lines_;
};

}  // namespace

std::optional<std::string> format(FileId file, const Sources& sources, Diagnostics& diagnostics) {
  const int errors = diagnostics.errors();
  Parser parser(file, sources, diagnostics);
  parser.parse_file();
  if (diagnostics.errors() > errors) return std::nullopt;
  const std::vector<Token> tokens = lex(file, sources, diagnostics);   // without mistakes, as the parser has just seen
  return Formatter(sources.text(file), tokens, parser.layout()).run();
}

}  // namespace gradc
