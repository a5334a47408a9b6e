// Line charts as SVG: panels side by side, each with axes, curves, and the curves' names at their ends.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "runtime/run_log.h"

namespace gradc::runtime {

struct Curve {
  std::string label;           // stands at its end, with the last value
  std::string colour;          // a class of svg_begin (series_colour) or a colour
  std::vector<Point> points;   // by ascending x
  bool noisy = false;          // a smoothed curve is drawn, with the points themselves faint behind it
  bool dashed = false;
};

/// A place that the reader shall see: a triangle that points up or down.
struct Mark {
  Point at;                    // not finite: at the upper end
  std::string text;            // beside it, where there is room, and when pointed at
  std::string detail;          // when pointed at
  bool up = true;
};

struct Panel {
  std::string title;
  bool logarithmic = false;    // what is 0 then lies below the picture
  std::vector<Curve> curves;
  std::vector<double> lines;   // vertical ones
  std::vector<Mark> marks = {};
  std::string note = {};       // below the title
  double least = 0;            // where a logarithmic axis begins at the lowest
};

/// Names with a colour each, for the line above the panels; without a colour: a heading.
struct LegendEntry {
  std::string text, colour;
  bool dashed = false;
};

std::string charts(const std::vector<Panel>& panels, const std::vector<LegendEntry>& legend);

/// The i-th colour for things that have no order, light or dark as the reader likes it: a class "s0" to "s7".
std::string series_colour(size_t i);
/// A colour for place `share` (0 to 1) of things that have one.
std::string ordered_colour(double share);

// ---- pieces of any picture

/// Opens a picture: size, style, background. Classes: t (text), m (muted text), w (warnings), g (grid lines), a (axes), k (marks), h (on top of curves),
/// s0 ... s7.
std::string svg_begin(double width, double height, std::string_view title);
std::string xml(std::string_view text);

/// At most `most` round numbers from low to high.
std::vector<double> round_ticks(double low, double high, int most);
/// "2k", "0.05", "1e-05".
std::string tick_text(double value);
/// Means of the neighbourhood, narrower at the beginning, where curves fall steeply.
std::vector<Point> smoothed(const std::vector<Point>& points);
/// Fewer points that look the same at `columns` pixels: the least and the largest of each, in their order.
std::vector<Point> thinned(const std::vector<Point>& points, size_t columns);

}  // namespace gradc::runtime
