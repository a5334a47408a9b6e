// Shades show the share of a row's samples, so that classes of different sizes compare: blue on the diagonal, red beside it, where a few percent
// are to be seen already: red takes the square root.
#include "runtime/table.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "runtime/chart.h"

namespace gradc::runtime {

double Confusion::row_sum(size_t row) const {
  double sum = 0;
  for (size_t i = 0; i < classes.size(); ++i) sum += at(row, i);
  return sum;
}

double Confusion::column_sum(size_t column) const {
  double sum = 0;
  for (size_t i = 0; i < classes.size(); ++i) sum += at(i, column);
  return sum;
}

Result<Confusion> find_confusion(const std::vector<Table>& tables, const std::vector<std::string>& names) {
  for (const Table& table : tables) {
    if (table.shape.size() != 2 || table.shape[0] != table.shape[1]) continue;
    Confusion found{{}, table.values};
    const bool named = names.size() == size_t(table.shape[0]);
    for (int64_t i = 0; i < table.shape[0]; ++i) found.classes.push_back(named ? names[size_t(i)] : std::to_string(i));
    return found;
  }
  return Error{GRADC_INVALID, "no report of this program is a table of classes by classes: write `report confusion = confusion(logits, label)` into the train block"};
}

static std::string percent(double share) { return std::isfinite(share) ? fmt::format("{:.1f}%", 100 * share) : "-"; }

static double share_of(const Confusion& t, size_t row, size_t column) {
  double sum = t.row_sum(row);
  return sum > 0 ? t.at(row, column) / sum : 0;
}

// From the background to blue or red, 0 to 1.
static double depth(const Confusion& t, size_t row, size_t column) {
  double share = share_of(t, row, column);
  return row == column ? share : std::sqrt(share);
}

static std::string worst_pairs(const Confusion& t, size_t most) {
  struct Pair {
    size_t is, taken;
    double count;
  };
  std::vector<Pair> pairs;
  for (size_t i = 0; i < t.classes.size(); ++i)
    for (size_t j = 0; j < t.classes.size(); ++j)
      if (i != j && t.at(i, j) > 0) pairs.push_back({i, j, t.at(i, j)});
  std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.count > b.count; });
  std::string out;
  for (size_t i = 0; i < std::min(pairs.size(), most); ++i)
    out += fmt::format("{}{} taken for {}: {}, {} of {}\n", i ? "               " : "most confused  ", t.classes[pairs[i].is], t.classes[pairs[i].taken], pairs[i].count == 1 ? "once" : fmt::format("{:.0f} times", pairs[i].count),
                       percent(share_of(t, pairs[i].is, pairs[i].taken)), t.classes[pairs[i].is]);
  return out;
}

// Characters of a terminal: classes are called as folders are, in any language.
static size_t width_of(std::string_view text) {
  return size_t(std::count_if(text.begin(), text.end(), [](char c) { return (uint8_t(c) & 0xc0) != 0x80; }));
}

static std::string beginning(const std::string& text, size_t most) {
  size_t end = 0;
  for (size_t seen = 0; end < text.size(); ++end)
    if ((uint8_t(text[end]) & 0xc0) != 0x80 && seen++ == most) break;
  return text.substr(0, end);
}

namespace {
struct Headings {
  std::vector<std::string> columns, rows;
  size_t column = 0, row = 5;   // widths; "class"
  size_t total() const { return row + 3 + columns.size() * (column + 2) + 22; }
};
}  // namespace

static Headings headings(const Confusion& t, size_t cell, size_t most_wide) {
  constexpr size_t short_name = 6;
  auto of = [&](std::vector<std::string> columns, std::vector<std::string> rows) {
    Headings h{std::move(columns), std::move(rows), cell};
    for (const std::string& text : h.columns) h.column = std::max(h.column, width_of(text));
    for (const std::string& text : h.rows) h.row = std::max(h.row, width_of(text));
    return h;
  };
  Headings whole = of(t.classes, t.classes);
  if (whole.total() <= most_wide) return whole;
  std::vector<std::string> cut, numbers, numbered;
  for (const std::string& name : t.classes) {
    cut.push_back(beginning(name, std::max(cell, short_name)));
    numbers.push_back(std::to_string(numbers.size()));
    numbered.push_back(name == numbers.back() ? name : numbers.back() + " " + name);
  }
  Headings brief = of(cut, t.classes);
  std::sort(cut.begin(), cut.end());
  const bool distinct = std::adjacent_find(cut.begin(), cut.end()) == cut.end();
  return distinct && brief.total() <= most_wide ? brief : of(std::move(numbers), std::move(numbered));
}

std::string confusion_text(const Confusion& t, bool colour, size_t columns) {
  constexpr size_t comfortable = 120;   // where nothing says how wide a line may be: a table that needs more is printed all the same, by numbers
  const size_t k = t.classes.size();
  size_t cell = 3;
  for (double count : t.counts) cell = std::max(cell, fmt::format("{:.0f}", count).size());
  const Headings h = headings(t, cell, columns ? columns : comfortable);
  const bool fits = columns == 0 || h.total() <= columns;
  const size_t name = h.row, heading = h.column;
  std::string out = fmt::format("{:>{}}  ", "class", name);
  for (size_t j = 0; fits && j < k; ++j) out += fmt::format(" {:>{}} ", h.columns[j], heading);
  out += "   recall  precision\n";
  for (size_t i = 0; i < k; ++i) {
    out += fmt::format("{:>{}}  ", h.rows[i], name);
    for (size_t j = 0; fits && j < k; ++j) {
      std::string text = fmt::format(" {:>{}} ", t.at(i, j) == 0 && i != j ? "·" : fmt::format("{:.0f}", t.at(i, j)), heading);
      double d = depth(t, i, j);
      if (colour && d > 0.02) {
        int other = int(std::lround(255 - 215 * d)), main = int(std::lround(255 - 40 * d));
        text = fmt::format("\x1b[48;2;{};{};{}m\x1b[38;2;{}m{}\x1b[0m", i == j ? other : main, other, i == j ? main : other, d > 0.55 ? "255;255;255" : "0;0;0", text);
      }
      out += text;
    }
    out += fmt::format("  {:>7}  {:>9}\n", percent(t.recall(i)), percent(t.precision(i)));
  }
  if (!fits) out += fmt::format("(the table needs a wider terminal: -o FILE.svg or FILE.csv)\n");
  return out + worst_pairs(t, 5);
}

std::string confusion_csv(const Confusion& t) {
  auto quoted = [](const std::string& name) {
    if (name.find_first_of(",\"\n") == std::string::npos) return name;
    std::string out = "\"";
    for (char c : name) out += c == '"' ? "\"\"" : std::string(1, c);
    return out + "\"";
  };
  std::string out = "class";
  for (const std::string& name : t.classes) out += "," + quoted(name);
  for (size_t i = 0; i < t.classes.size(); ++i) {
    out += "\n" + quoted(t.classes[i]);
    for (size_t j = 0; j < t.classes.size(); ++j) out += fmt::format(",{:.0f}", t.at(i, j));
  }
  return out + "\n";
}

std::string confusion_svg(const Confusion& t, const std::string& title) {
  const size_t k = t.classes.size();
  size_t longest = 1;
  for (const std::string& name : t.classes) longest = std::max(longest, width_of(name));
  const double cell = k <= 12 ? 46 : k <= 30 ? 30 : 14, left = 44 + 6.5 * double(longest), top = 66 + (longest > 4 ? 5.5 * double(longest) : 14), side = cell * double(k);
  const bool numbers = cell > 20;
  std::string out = svg_begin(left + side + 130, top + side + 30, title);
  auto add = [&]<class... A>(fmt::format_string<A...> text, A&&... arguments) { fmt::format_to(std::back_inserter(out), text, std::forward<A>(arguments)...); };
  auto middle = [&](size_t i) { return (double(i) + 0.5) * cell; };
  add("<text class=\"t\" x=\"{:.0f}\" y=\"28\" font-size=\"15\" font-weight=\"600\">{}</text>\n", left, xml(title));
  add("<text class=\"m\" x=\"{:.0f}\" y=\"46\">columns: taken for; rows: are</text>\n", left);
  for (size_t i = 0; i < k; ++i) {
    if (longest > 4) add("<text class=\"t\" transform=\"translate({:.1f} {:.1f}) rotate(-45)\">{}</text>\n", left + middle(i) + 4, top - 8, xml(t.classes[i]));
    else add("<text class=\"t\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", left + middle(i), top - 8, xml(t.classes[i]));
    add("<text class=\"t\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", left - 8, top + middle(i) + 4, xml(t.classes[i]));
    for (size_t j = 0; j < k; ++j) {
      double d = depth(t, i, j), x = left + cell * double(j), y = top + cell * double(i);
      add("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"2\" fill=\"{}\" fill-opacity=\"{:.3f}\">"
          "<title>{} taken for {}: {:.0f}, {}</title></rect>\n",
          x + 1, y + 1, cell - 2, cell - 2,
          i == j ? "#2563eb" : "#dc2626", std::max(d, 0.03), xml(t.classes[i]), xml(t.classes[j]), t.at(i, j), percent(share_of(t, i, j)));
      if (numbers && (t.at(i, j) > 0 || i == j))
        add("<text {} x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\"{}>{:.0f}</text>\n",
            d > 0.55 ? "fill=\"#ffffff\"" : "class=\"t\"", left + middle(j), top + middle(i) + 4, cell < 40 ? " font-size=\"9\"" : "", t.at(i, j));
    }
    add("<text class=\"m\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>"
        "<text class=\"m\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
        left + side + 52, top + middle(i) + 4, percent(t.recall(i)),
        left + side + 116, top + middle(i) + 4, percent(t.precision(i)));
  }
  add("<text class=\"m\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">recall</text>"
      "<text class=\"m\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">precision</text>\n",
      left + side + 52, top - 8, left + side + 116, top - 8);
  return out + "</svg>\n";
}

}  // namespace gradc::runtime
