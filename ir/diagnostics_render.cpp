// How a diagnostic looks, in the manner of rustc:
//
//   error[E0203]: the inner dimensions of `@` differ
//     --> net.grad:12:13
//      |
//    9 |     param w: f32[300, 10] = glorot()
//      |           - w is f32[300, 10] from here
//   ...
//   12 |     let y = x @ w
//      |             - ^ 784 on the left, 300 on the right
//      |             |
//      |             x is f32[128, 784]
//      |
//      = help: ...
//
// The caret's file comes first, each further file has an arrow of its own. A span of several lines is underlined in its first.
#include <fmt/format.h>

#include <algorithm>

#include "ir/diagnostics.h"

namespace gradc {
namespace {
constexpr int tab_width = 4;

struct Style {
  bool color;
  std::string operator()(const char* code, std::string text) const { return color && !text.empty() ? fmt::format("\033[{}m{}\033[0m", code, text) : text; }
  std::string severity(Severity s, std::string text) const { return (*this)(s == Severity::error ? "1;31" : "1;33", std::move(text)); }
  std::string strong(std::string text) const { return (*this)("1", std::move(text)); }
  std::string frame(std::string text) const { return (*this)("1;34", std::move(text)); }
};

// One underlined stretch of a line; columns are those of the screen, from 0.
struct Mark {
  FileId file;
  uint32_t line;
  size_t begin, end;
  bool primary;
  std::string text;
};

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// A source line as it is shown: tabs become blanks, other control characters question marks.
std::string shown(std::string_view line) {
  std::string result;
  for (char c : line) {
    if (c == '\t')
      result.append(tab_width, ' ');
    else
      result += static_cast<unsigned char>(c) < 32 || c == 127 ? '?' : c;
  }
  return result;
}

// Where the character after so many stands on the screen; the end of the line if it has fewer.
size_t screen_column(std::string_view line, size_t characters) {
  size_t column = 0;
  for (char c : line) {
    if (continues(c)) continue;
    if (characters-- == 0) break;
    column += c == '\t' ? tab_width : 1;
  }
  return column;
}

Mark mark(const Sources& sources, Span span, bool primary, std::string text) {
  Position begin = sources.position(span.file, span.begin), end = sources.position(span.file, std::max(span.begin, span.end));
  std::string_view line = sources.line(span.file, begin.line);
  size_t from = screen_column(line, begin.column - 1);
  size_t to = screen_column(line, end.line == begin.line ? end.column - 1 : line.size());
  return {span.file, begin.line, from, std::max(to, from + 1), primary, std::move(text)};
}

// The rows below a source line: underlines with the rightmost text beside them, then the other texts from right to left.
std::vector<std::string> underline(std::vector<Mark> marks, const Style& style, Severity severity) {
  std::stable_sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.begin < b.begin; });
  size_t width = 0;
  for (const Mark& m : marks) width = std::max(width, m.end);
  auto paint = [&](bool primary, std::string text) { return primary ? style.severity(severity, std::move(text)) : style.frame(std::move(text)); };

  std::string signs(width, ' ');
  for (bool primary : {false, true})   // the caret is drawn over the others
    for (const Mark& m : marks)
      if (m.primary == primary) std::fill(signs.begin() + m.begin, signs.begin() + m.end, primary ? '^' : '-');
  std::string row;
  for (size_t i = 0; i < width;) {
    size_t j = signs.find_first_not_of(signs[i], i);
    if (j == signs.npos) j = width;
    std::string run = signs.substr(i, j - i);
    row += run[0] == ' ' ? run : paint(run[0] == '^', run);
    i = j;
  }

  std::vector<const Mark*> hanging;
  for (const Mark& m : marks)
    if (!m.text.empty()) hanging.push_back(&m);
  if (!hanging.empty() && hanging.back()->end == width) {
    row += " " + paint(hanging.back()->primary, hanging.back()->text);
    hanging.pop_back();
  }
  std::vector<std::string> rows = {row};
  auto bars = [&](size_t count) {
    std::string text;
    size_t column = 0;
    for (size_t i = 0; i < count; ++i) {
      if (hanging[i]->begin < column) continue;   // two marks that start at one place share a bar
      text += std::string(hanging[i]->begin - column, ' ') + paint(hanging[i]->primary, "|");
      column = hanging[i]->begin + 1;
    }
    return std::pair(text, column);
  };
  if (!hanging.empty()) rows.push_back(bars(hanging.size()).first);
  for (size_t i = hanging.size(); i-- > 0;) {
    size_t left = i;   // no bar where this text begins
    while (left > 0 && hanging[left - 1]->begin == hanging[i]->begin) --left;
    auto [text, column] = bars(left);
    rows.push_back(text + std::string(hanging[i]->begin - column, ' ') + paint(hanging[i]->primary, hanging[i]->text));
  }
  return rows;
}
}  // namespace

std::string Diagnostics::render(const Diagnostic& d, bool color) const {
  const DiagnosticInfo& row = info(d.id);
  Style style{color};
  std::string out = style.severity(row.severity, fmt::format("{}[{}]", row.severity == Severity::error ? "error" : "warning", row.code)) + style.strong(": " + d.message) + "\n";

  std::vector<Mark> marks;
  if (d.span.known()) marks.push_back(mark(sources_, d.span, true, d.at_caret));
  for (const Label& label : d.labels)
    if (label.span.known()) marks.push_back(mark(sources_, label.span, false, label.text));
  uint32_t last_line = 0;
  for (const Mark& m : marks) last_line = std::max(last_line, m.line);
  const size_t gutter = marks.empty() ? 1 : fmt::formatted_size("{}", last_line);
  const std::string blank(gutter, ' ');
  auto code_line = [&](FileId file, uint32_t line) {
    std::string text = shown(sources_.line(file, line));
    return style.frame(fmt::format("{:>{}} |", line, gutter)) + (text.empty() ? "" : " " + text) + "\n";
  };

  std::stable_sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.line < b.line; });

  std::vector<Span> heads;   // what the arrow of each file names: the caret, else the file's first label
  auto head = [&](Span span) {
    bool known = std::any_of(heads.begin(), heads.end(), [&](Span h) { return h.file == span.file; });
    if (span.known() && !known) heads.push_back(span);
  };
  head(d.span);
  for (const Label& label : d.labels) head(label.span);

  for (size_t h = 0; h < heads.size(); ++h) {
    FileId file = heads[h].file;
    Position at = sources_.position(file, heads[h].begin);
    out += blank + style.frame(h == 0 ? "--> " : "::: ") + fmt::format("{}:{}:{}\n", sources_.path(file), at.line, at.column);
    out += style.frame(blank + " |") + "\n";
    uint32_t previous = 0;
    for (size_t i = 0; i < marks.size(); ++i) {
      if (marks[i].file != file || marks[i].line == previous) continue;
      uint32_t line = marks[i].line;
      if (previous && line == previous + 2) out += code_line(file, line - 1);
      if (previous && line > previous + 2) out += style.frame("...") + "\n";
      previous = line;
      out += code_line(file, line);
      std::vector<Mark> here;
      for (const Mark& m : marks)
        if (m.file == file && m.line == line) here.push_back(m);
      for (const std::string& text : underline(here, style, row.severity)) out += style.frame(blank + " |") + " " + text + "\n";
    }
    if (h + 1 < heads.size() || !d.hints.empty()) out += style.frame(blank + " |") + "\n";
  }
  for (const std::string& hint : d.hints) out += blank + style.frame(" = ") + style.strong("help") + ": " + hint + "\n";
  return out;
}

std::string Diagnostics::render(bool color) const {
  std::string out;
  std::vector<const Diagnostic*> printed;
  for (const Diagnostic& d : all_) {
    bool again = std::any_of(printed.begin(), printed.end(), [&](const Diagnostic* p) {
      return p->id == d.id && p->span.file == d.span.file && p->span.begin == d.span.begin && p->message == d.message;
    });
    if (again) continue;
    printed.push_back(&d);
    out += (out.empty() ? "" : "\n") + render(d, color);
  }
  return out;
}
}  // namespace gradc
