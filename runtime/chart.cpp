// Names stand at the ends of curves, not in a box far from them: the eye need not go back and forth. Colours are classes, so that a picture is light
// or dark as its reader's screen is; what does not know media queries shows the light one.
#include "runtime/chart.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace gradc::runtime {

namespace {
constexpr const char* light[] = {"#2563eb", "#ea580c", "#059669", "#9333ea", "#db2777", "#0891b2", "#ca8a04", "#64748b"};
constexpr const char* dark[] = {"#60a5fa", "#fb923c", "#34d399", "#c084fc", "#f472b6", "#22d3ee", "#facc15", "#94a3b8"};
constexpr double column_width = 560, panel_height = 330, header = 46, line_height = 14;
constexpr double left = 62, right = 150, top = 40, bottom = 44;   // of a panel, around its plot

// From values to pixels.
struct Scale {
  double low = 0, high = 1, from = 0, to = 1;
  bool logarithmic = false;
  double share(double v) const { return logarithmic ? std::log(v / low) / std::log(high / low) : (v - low) / (high - low); }
  double operator()(double v) const { return logarithmic && v <= 0 ? far : std::clamp(from + share(v) * (to - from), -far, far); }
  static constexpr double far = 1e4;   // below the picture
};

std::string path(const std::vector<Point>& points, const Scale& x, const Scale& y) {
  std::string out;
  for (const Point& p : points)
    fmt::format_to(std::back_inserter(out), "{}{:.1f} {:.1f}", out.empty() ? "M" : "L", x(p.x), y(p.y));
  return out;
}

// What an attribute `stroke` or `fill` is given by.
std::string paint(const std::string& colour, const char* attribute) {
  return colour[0] == '#' ? fmt::format("{}=\"{}\"", attribute, colour) : fmt::format("class=\"{}\"", colour + attribute[0]);
}

// Values that single out what is to be seen: of a noisy curve without its rarest peaks.
void extend(std::vector<double>& seen, const Curve& curve, bool logarithmic) {
  std::vector<double> values;
  for (const Point& p : curve.points)
    if (!logarithmic || p.y > 0) values.push_back(p.y);
  std::sort(values.begin(), values.end());
  size_t cut = curve.noisy ? values.size() / 100 : 0;
  if (values.empty()) return;
  seen.push_back(values[cut]);
  seen.push_back(values[values.size() - 1 - cut]);
  if (curve.noisy && !curve.points.empty() && (!logarithmic || curve.points[0].y > 0)) seen.push_back(smoothed(curve.points)[0].y);
}

std::vector<double> logarithmic_ticks(double low, double high) {
  std::vector<double> ticks;
  const double decades = std::log10(high / low);
  const int stride = std::max(1, int(std::ceil(decades / 7)));
  for (int e = int(std::floor(std::log10(low))); e <= int(std::ceil(std::log10(high))); ++e)
    for (double digit : {1.0, 2.0, 5.0}) {
      double tick = digit * std::pow(10.0, e);
      if (digit == 1 ? e % stride != 0 : decades > 2.5) continue;
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push_back(tick);
    }
  return ticks.size() < 2 ? round_ticks(low, high, 5) : ticks;
}

// Places for names that want to stand at `wanted`, ascending: no two nearer than a line, none outside.
std::vector<double> spread(std::vector<double> wanted, double low, double high) {
  for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = std::max(wanted[i], i ? wanted[i - 1] + line_height : low);
  for (size_t i = wanted.size(); i-- > 0;) wanted[i] = std::min(wanted[i], i + 1 < wanted.size() ? wanted[i + 1] - line_height : high);
  return wanted;
}

// The last `most` characters, and a sign that there are more.
std::string end_of(const std::string& text, size_t most) {
  if (text.size() <= most) return text;
  size_t first = text.size() - (most - 1);
  while (first < text.size() && (uint8_t(text[first]) & 0xc0) == 0x80) ++first;
  return "…" + text.substr(first);
}

// Texts stand to the right or the left, where they meet nothing of other marks; what has no place says it when pointed at.
std::string triangles(const std::vector<Mark>& marks, const Scale& x, const Scale& y) {
  std::string out;
  auto add = [&]<class... A>(fmt::format_string<A...> text, A&&... arguments) { fmt::format_to(std::back_inserter(out), text, std::forward<A>(arguments)...); };
  struct Box {
    double left, right, middle;
    bool meets(const Box& b) const { return left < b.right && b.left < right && std::abs(b.middle - middle) < line_height; }
  };
  std::vector<Box> taken;
  for (const Mark& mark : marks) {
    const double px = x(mark.at.x), py = std::isfinite(mark.at.y) ? std::clamp(y(mark.at.y), y.to + 6, y.from - 6) : y.to + 6, side = mark.up ? 6 : -6;
    add("<path class=\"k\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}H{:.1f}Z\"><title>{}</title></path>\n", px, py - side, px - 6, py + side * 0.8, px + 6, xml(mark.detail));
    taken.push_back({px - 6, px + 6, py});
  }
  for (size_t i = 0; i < marks.size(); ++i) {
    const double middle = (taken[i].left + taken[i].right) / 2, wide = 6 * double(marks[i].text.size()), py = taken[i].middle;
    for (double from : {middle + 10, middle - 10 - wide}) {
      Box box{from - 2, from + wide + 2, py};
      if (box.left < x.from || box.right > x.to || std::any_of(taken.begin(), taken.end(), [&](const Box& b) { return box.meets(b); })) continue;
      taken.push_back(box);
      add("<text class=\"h w\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", from, py + 4, xml(marks[i].text));
      break;
    }
  }
  return out;
}

std::string draw(const Panel& panel, size_t index, double x0, double y0, double first, double last) {
  std::string out;
  auto add = [&]<class... A>(fmt::format_string<A...> text, A&&... arguments) { fmt::format_to(std::back_inserter(out), text, std::forward<A>(arguments)...); };
  Scale x{0, 1, x0 + left, x0 + column_width - right}, y{0, 1, y0 + panel_height - bottom, y0 + top + (panel.note.empty() ? 0 : line_height), panel.logarithmic};
  std::vector<double> seen;
  for (const Curve& curve : panel.curves) extend(seen, curve, panel.logarithmic);
  x.low = first, x.high = last;
  auto [least, most] = std::minmax_element(seen.begin(), seen.end());
  if (seen.empty()) {
    y.logarithmic = false;
  } else if (y.logarithmic) {
    double factor = std::max(std::pow(*most / *least, 0.05), 1.05);
    y.low = std::max(*least / factor, panel.least), y.high = *most * factor;
  } else {
    double margin = *most > *least ? 0.06 * (*most - *least) : std::max(std::abs(*most) * 0.1, 1e-12);
    y.low = *least >= 0 && *least < margin * 3 ? 0 : *least - margin;   // near zero, zero
    y.high = *most <= 1 && *most > 1 - margin ? 1 : *most + margin;     // shares end at 1
  }

  add("<text class=\"t\" x=\"{:.0f}\" y=\"{:.0f}\" font-size=\"14\" font-weight=\"600\">{}</text>\n", x0 + left, y0 + 24, xml(panel.title));
  if (!panel.note.empty()) add("<text class=\"w\" x=\"{:.0f}\" y=\"{:.0f}\">{}</text>\n", x0 + left, y0 + 41, xml(panel.note));
  for (double tick : y.logarithmic ? logarithmic_ticks(y.low, y.high) : round_ticks(y.low, y.high, 6))
    add("<path class=\"g\" d=\"M{:.1f} {:.1f}H{:.1f}\"/><text class=\"m\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
        x.from, y(tick), x.to, x.from - 8, y(tick) + 4, tick_text(tick));
  add("<path class=\"a\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", x.from, y.from, x.to);
  for (double tick : round_ticks(x.low, x.high, 6))
    if (tick == std::floor(tick))
      add("<path class=\"a\" d=\"M{0:.1f} {1:.1f}v4\"/><text class=\"m\" x=\"{0:.1f}\" y=\"{2:.1f}\" text-anchor=\"middle\">{3}</text>\n",
          x(tick), y.from, y.from + 17, tick_text(tick));
  add("<text class=\"m\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">step</text>\n", (x.from + x.to) / 2, y.from + 33);
  add("<clipPath id=\"c{}\"><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/></clipPath>\n"
      "<g clip-path=\"url(#c{})\" fill=\"none\" stroke-linejoin=\"round\" stroke-linecap=\"round\">\n",
      index, x.from, y.to - 3, x.to - x.from + 3, y.from - y.to + 6, index);
  for (double line : panel.lines) add("<path class=\"a\" stroke-dasharray=\"2 4\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>\n", x(line), y.from, y.to);
  struct End {
    double at;
    std::string text, colour;
    Point point;
  };
  std::vector<End> ends;
  const size_t columns = size_t(x.to - x.from);
  for (const Curve& curve : panel.curves)   // what is faint lies behind everything
    if (curve.noisy) add("<path {} stroke-width=\"1\" opacity=\"0.22\" d=\"{}\"/>\n", paint(curve.colour, "stroke"), path(thinned(curve.points, columns), x, y));
  for (const Curve& curve : panel.curves) {
    if (curve.points.empty()) continue;
    std::vector<Point> line = thinned(curve.noisy ? smoothed(curve.points) : curve.points, columns / (curve.noisy ? 2 : 1));
    add("<path {} stroke-width=\"2\"{} d=\"{}\"/>\n", paint(curve.colour, "stroke"), curve.dashed ? " stroke-dasharray=\"5 4\"" : "", path(line, x, y));
    for (size_t i = 0; i + 1 < line.size() && line.size() <= 40; ++i)
      add("<circle {} cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2\"/>\n", paint(curve.colour, "fill"), x(line[i].x), y(line[i].y));
    ends.push_back({std::clamp(y(line.back().y), y.to, y.from), fmt::format("{} {:.4g}", curve.label, line.back().y), curve.colour, line.back()});
  }
  out += "</g>\n" + triangles(panel.marks, x, y);
  std::sort(ends.begin(), ends.end(), [](const End& a, const End& b) { return a.at < b.at; });
  const size_t room = size_t((y.from - y.to) / line_height) + 1, every = (ends.size() + room - 1) / std::max<size_t>(room, 1);
  std::vector<End> named;
  std::vector<double> wanted;
  for (size_t i = 0; i < ends.size(); i += std::max<size_t>(every, 1)) named.push_back(ends[i]), wanted.push_back(ends[i].at);
  std::vector<double> places = spread(wanted, y.to, y.from);
  for (const End& end : ends) add("<circle {} cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.6\"/>\n", paint(end.colour, "fill"), x(end.point.x), end.at);
  for (size_t i = 0; i < named.size(); ++i) {
    const std::string& text = named[i].text;   // the end of a long path says more than its beginning
    add("<text {} x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", paint(named[i].colour, "fill"), x.to + 10,
         places[i] + 4, xml(end_of(text, 22)));
  }
  return out;
}
}  // namespace

std::string xml(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else if (uint8_t(c) >= 0x20 || c == '\t') out += c;
  }
  return out;
}

std::string series_colour(size_t i) { return fmt::format("s{}", i % std::size(light)); }

std::string ordered_colour(double share) {
  static constexpr int stops[][3] = {{0x3b, 0x82, 0xf6}, {0x14, 0xb8, 0xa6}, {0xf5, 0x9e, 0x0b}, {0xef, 0x44, 0x44}};   // mid lightness: on white and on black
  double at = std::clamp(share, 0.0, 1.0) * 3;
  int stop = std::min(int(at), 2);
  int c[3];
  for (int i = 0; i < 3; ++i) c[i] = int(std::lround(stops[stop][i] + (at - stop) * (stops[stop + 1][i] - stops[stop][i])));
  return fmt::format("#{:02x}{:02x}{:02x}", c[0], c[1], c[2]);
}

std::string svg_begin(double width, double height, std::string_view title) {
  std::string out = fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
                                "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\" font-size=\"11\">\n",
                                width, height);
  out += fmt::format("<title>{}</title>\n<style>\n", xml(title));
  auto rules = [&](const char* const* series, const char* back, const char* text, const char* muted, const char* grid, const char* axis, const char* warning) {
    out += fmt::format(".b {{ fill: {} }} .t {{ fill: {} }} .m {{ fill: {} }} .g {{ stroke: {}; fill: none }} .a {{ stroke: {}; fill: none }}\n", back, text, muted, grid, axis);
    out += fmt::format(".w {{ fill: {1} }} .k {{ fill: {1}; stroke: {0}; stroke-width: 1.5px }} .h {{ paint-order: stroke; stroke: {0}; stroke-width: 3px }}\n", back, warning);
    for (size_t i = 0; i < std::size(light); ++i) out += fmt::format(".s{0}s {{ stroke: {1}; fill: none }} .s{0}f {{ fill: {1} }}{2}", i, series[i], i % 4 == 3 ? "\n" : " ");
  };
  rules(light, "#ffffff", "#1e293b", "#64748b", "#e9edf2", "#b6c0cc", "#b91c1c");
  out += "@media (prefers-color-scheme: dark) {\n";
  rules(dark, "#11161d", "#e6edf3", "#93a1b3", "#222b36", "#4a5768", "#fca5a5");
  return out + fmt::format("}}\n</style>\n<rect class=\"b\" width=\"{:.0f}\" height=\"{:.0f}\"/>\n", width, height);
}

std::string tick_text(double value) {
  double size = std::abs(value);
  if (size >= 1e6) return fmt::format("{:g}M", value * 1e-6);
  if (size >= 1e4 || (size >= 1e3 && std::fmod(size, 100) == 0)) return fmt::format("{:g}k", value * 1e-3);
  if (size < 1e-9) return "0";
  return fmt::format("{:.3g}", value);
}

std::vector<double> round_ticks(double low, double high, int most) {
  std::vector<double> ticks;
  if (!(high > low)) return ticks;
  double step = std::pow(10.0, std::floor(std::log10((high - low) / most)));
  for (double factor : {2.0, 2.5, 2.0})
    if ((high - low) / step > most) step *= factor;   // 1, 2, 5, 10
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) ticks.push_back(i * step);
  return ticks;
}

std::vector<Point> smoothed(const std::vector<Point>& points) {
  std::vector<Point> out;
  std::vector<double> sums = {0};
  for (const Point& p : points) sums.push_back(sums.back() + p.y);
  const size_t reach = std::max<size_t>(2, points.size() / 60);
  for (size_t i = 0; i < points.size(); ++i) {
    size_t low = i - std::min(i, reach), high = std::min(points.size(), i + std::min(i, reach) + 1);
    out.push_back({points[i].x, (sums[high] - sums[low]) / double(high - low)});
  }
  return out;
}

std::vector<Point> thinned(const std::vector<Point>& points, size_t columns) {
  if (points.size() <= 2 * columns || columns == 0) return points;
  std::vector<Point> out;
  for (size_t c = 0; c < columns; ++c) {
    auto begin = points.begin() + int64_t(points.size() * c / columns), end = points.begin() + int64_t(points.size() * (c + 1) / columns);
    auto [least, most] = std::minmax_element(begin, end, [](const Point& a, const Point& b) { return a.y < b.y; });
    out.push_back(*std::min(least, most));
    out.push_back(*std::max(least, most));
  }
  out.back() = points.back();
  return out;
}

std::string charts(const std::vector<Panel>& panels, const std::vector<LegendEntry>& legend) {
  const size_t columns = panels.size() > 1 ? 2 : 1, rows = (panels.size() + columns - 1) / columns;
  std::string title;
  for (const LegendEntry& entry : legend) title += (title.empty() ? "" : ", ") + entry.text;
  std::string out = svg_begin(double(columns) * column_width, header + double(rows) * panel_height, title);
  double x = left, first = INFINITY, last = -INFINITY;
  for (const LegendEntry& entry : legend) {
    if (entry.colour.empty()) {
      out += fmt::format("<text class=\"t\" x=\"{:.0f}\" y=\"31\" font-size=\"17\" font-weight=\"600\">{}</text>\n", x, xml(entry.text));
      continue;
    }
    fmt::format_to(std::back_inserter(out),
                   "<path {} stroke-width=\"2.5\" stroke-linecap=\"round\"{} d=\"M{:.0f} 26h20\"/>"
                   "<text class=\"t\" x=\"{:.0f}\" y=\"30.5\" font-size=\"13\">{}</text>\n",
                   paint(entry.colour, "stroke"), entry.dashed ? " stroke-dasharray=\"5 4\"" : "", x, x + 27, xml(entry.text));
    x += 27 + 7.8 * double(entry.text.size()) + 26;
  }
  for (const Panel& panel : panels)   // one axis for all: what happened at the same time stands at the same place
    for (const Curve& curve : panel.curves)
      if (!curve.points.empty()) first = std::min(first, curve.points.front().x), last = std::max(last, curve.points.back().x);
  if (first <= 1 && last > 20) first = 0;
  if (!(last > first)) first = last - 1;
  for (size_t i = 0; i < panels.size(); ++i) out += draw(panels[i], i, double(i % columns) * column_width, header + double(i / columns) * panel_height, first, last);
  return out + "</svg>\n";
}

}  // namespace gradc::runtime
