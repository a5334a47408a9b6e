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

Result<Confusion> find_confusion(const std::vector<Table>& tables) {
  for (const Table& table : tables) {
    if (table.shape.size() != 2 || table.shape[0] != table.shape[1]) continue;
    Confusion found{{}, table.values};
    for (int64_t i = 0; i < table.shape[0]; ++i) found.classes.push_back(std::to_string(i));
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
    out += fmt::format("{}{} taken for {}: {:.0f} times, {} of {}\n", i ? "               " : "most confused  ", t.classes[pairs[i].is], t.classes[pairs[i].taken], pairs[i].count,
                       percent(share_of(t, pairs[i].is, pairs[i].taken)), t.classes[pairs[i].is]);
  return out;
}

std::string confusion_text(const Confusion& t, bool colour, size_t columns) {
  const size_t k = t.classes.size();
  size_t name = 5, cell = 3;   // "class"
  for (const std::string& each : t.classes) name = std::max(name, each.size());
  for (double count : t.counts) cell = std::max(cell, fmt::format("{:.0f}", count).size());
  const size_t heading = std::min(std::max(cell, name), std::max(cell, size_t(6)));   // of a column: a long name is cut
  const bool fits = columns == 0 || name + 3 + k * (heading + 2) + 22 <= columns;
  std::string out = fmt::format("{:>{}}  ", "class", name);
  for (size_t j = 0; fits && j < k; ++j) out += fmt::format(" {:>{}} ", t.classes[j].substr(0, heading), heading);
  out += "   recall  precision\n";
  for (size_t i = 0; i < k; ++i) {
    out += fmt::format("{:>{}}  ", t.classes[i], name);
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
  for (const std::string& name : t.classes) longest = std::max(longest, name.size());
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
