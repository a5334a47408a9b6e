// plot: what runs have logged, as one picture: losses, figures of validation, learning rates, norms of gradients.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "runtime/chart.h"
#include "runtime/command.h"
#include "runtime/file.h"

namespace gradc::runtime {

static bool is(const std::string& name, const std::string& figure) { return name == figure || name.ends_with("." + figure); }

// Of all runs, what has this meaning; curves of a run have its colour, or where there is one run each its own.
static Panel panel_of(const std::vector<RunLog>& runs, const std::string& title, const std::string& step_figure, const std::string& epoch_figure) {
  Panel panel{title, false, {}, runs.size() == 1 ? runs[0].blocks : std::vector<double>()};
  for (size_t r = 0; r < runs.size(); ++r) {
    auto add = [&](const std::vector<Series>& from, const std::string& figure, bool validation) {
      for (const Series& series : from) {
        if (figure.empty() || !is(series.name, figure) || series.points.empty()) continue;
        std::string part = series.name == figure ? "" : series.name.substr(0, series.name.size() - figure.size() - 1);   // the train step
        std::string label = runs.size() > 1 ? runs[r].name : validation ? "validation" : step_figure == "loss" ? "training" : step_figure;
        if (!part.empty()) label = runs.size() > 1 ? label + " " + part : part;
        if (validation && runs.size() > 1 && !step_figure.empty()) label += " val";
        const bool noisy = !validation && step_figure == "loss" && series.points.size() > 100, dashed = validation && runs.size() > 1 && !step_figure.empty();
        panel.curves.push_back({label, series_colour(runs.size() > 1 ? r : panel.curves.size()), series.points, noisy, dashed});
      }
    };
    add(runs[r].steps, step_figure, false);
    add(runs[r].epochs, epoch_figure, true);
  }
  return panel;
}

// Whether a logarithmic axis shows more: all positive, and the curves as they are drawn cover a wide range.
static bool wide(const Panel& panel, double factor) {
  double low = INFINITY, high = 0;
  for (const Curve& curve : panel.curves)
    for (const Point& p : curve.noisy ? smoothed(curve.points) : curve.points) low = std::min(low, p.y), high = std::max(high, p.y);
  return low > 0 && high > factor * low;
}

// Rates of runs that differ by an order of magnitude: one axis shows all of them only if it is logarithmic. Schedules that end at 0 leave it below.
static void widen_rates(Panel& rate) {
  double least = INFINITY, most = 0;   // of the peaks
  for (const Curve& curve : rate.curves) {
    double peak = 0;
    for (const Point& p : curve.points) peak = std::max(peak, p.y);
    least = std::min(least, peak), most = std::max(most, peak);
  }
  if (least > 0 && most > 10 * least) rate.logarithmic = true, rate.least = least / 50;
}

static bool varies(const Panel& panel) {
  for (const Curve& curve : panel.curves)
    for (const Point& p : curve.points)
      if (p.y != panel.curves[0].points[0].y) return true;
  return false;
}

static std::string in_words(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

// "▼ vanishing gradient: 3 layers, from step 20 on", by kind.
static std::string in_short(const std::vector<LoggedWarning>& warnings) {
  std::vector<std::string> kinds, parts;
  for (const LoggedWarning& w : warnings)
    if (std::find(kinds.begin(), kinds.end(), w.kind) == kinds.end()) kinds.push_back(w.kind);
  for (const std::string& kind : kinds) {
    size_t count = 0;
    double first = INFINITY;
    for (const LoggedWarning& w : warnings)
      if (w.kind == kind) ++count, first = std::min(first, w.step);
    parts.push_back(fmt::format("{} {}: {}", kind.starts_with("vanishing") ? "▼" : "▲", kind, count == 1 ? fmt::format("one layer, step {:.0f}", first) : fmt::format("{} layers, from step {:.0f} on", count, first)));
  }
  return fmt::format("{}", fmt::join(parts, "   "));
}

std::string plot_text(const std::vector<RunLog>& runs) {
  std::vector<Panel> panels;
  Panel loss = panel_of(runs, "loss", "loss", "val_loss");
  loss.logarithmic = wide(loss, 20);
  const bool validated = std::any_of(runs.begin(), runs.end(), [](const RunLog& run) {
    return std::any_of(run.epochs.begin(), run.epochs.end(), [](const Series& s) { return s.name == "val_loss"; });
  });
  if (!loss.curves.empty()) panels.push_back(std::move(loss));
  std::vector<std::string> figures;
  for (const RunLog& run : runs)
    for (const Series& series : run.epochs)
      if (series.name.starts_with("val_") && series.name != "val_loss" && std::find(figures.begin(), figures.end(), series.name) == figures.end()) figures.push_back(series.name);
  for (const std::string& figure : figures)
    if (Panel panel = panel_of(runs, in_words(figure.substr(4)) + ", validation", "", figure); !panel.curves.empty()) panels.push_back(std::move(panel));
  if (Panel rate = panel_of(runs, "learning rate", "lr", ""); varies(rate)) {
    widen_rates(rate);
    panels.push_back(std::move(rate));
  }
  for (const RunLog& run : runs) {
    if (run.norms.empty()) continue;
    Panel panel{runs.size() > 1 ? "norms of gradients, " + run.name : "norms of gradients", true, {}, run.blocks};
    size_t shared = run.norms[0].name.rfind('.');   // "net." of all names says nothing
    std::string common = shared == std::string::npos ? "" : run.norms[0].name.substr(0, run.norms[0].name.find('.') + 1);
    for (const Series& series : run.norms)
      if (!series.name.starts_with(common)) common.clear();
    for (size_t i = 0; i < run.norms.size(); ++i)
      panel.curves.push_back({run.norms[i].name.substr(common.size()), ordered_colour(run.norms.size() > 1 ? double(i) / double(run.norms.size() - 1) : 0), run.norms[i].points});
    for (const LoggedWarning& w : run.warnings) {
      std::string layer = w.layer.starts_with(common) ? w.layer.substr(common.size()) : w.layer;
      panel.marks.push_back({{w.step, w.norm}, layer, fmt::format("step {:.0f}: {}, {} {:.3g}", w.step, w.kind, w.layer, w.norm), !w.kind.starts_with("vanishing")});
    }
    panel.note = in_short(run.warnings);
    panels.push_back(std::move(panel));
  }
  std::vector<LegendEntry> legend;
  if (runs.size() > 1) {
    for (size_t r = 0; r < runs.size(); ++r) legend.push_back({runs[r].name, series_colour(r)});
    if (validated) legend.push_back({"validation", "s7", true});
  } else {
    legend.push_back({runs[0].name, ""});
  }
  return charts(panels, legend);
}

Status plot(const std::vector<std::string>& logs, const std::string& out) {
  std::vector<RunLog> runs;
  for (const std::string& path : logs) {
    auto run = read_run_log(path);
    if (!run) return std::move(run.error());
    runs.push_back(std::move(*run));
  }
  std::string file = out.empty() ? runs[0].name + ".svg" : out;
  if (size_t dot = file.rfind('.'); dot != std::string::npos && file.find('/', dot) == std::string::npos && file.substr(dot) != ".svg")
    return Error{GRADC_INVALID, fmt::format("plots are SVG pictures: '{}' should end in .svg", file)};
  GRADC_TRY(write_whole(file, {plot_text(runs)}));
  fmt::print("{} written\n", file);
  return {};
}

Status command_plot(const CommandOptions& options) { return plot(options.inputs, options.out); }

}  // namespace gradc::runtime
