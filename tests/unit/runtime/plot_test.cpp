// What plots are made of: ticks, smoothing, thinning, and what is read of a log.
#include <catch2/catch.hpp>
#include <cmath>

#include "runtime/chart.h"
#include "toy.h"

using namespace gradc::runtime;

TEST_CASE("ticks are round numbers inside the range") {
  CHECK(round_ticks(0, 10, 6) == std::vector<double>{0, 2, 4, 6, 8, 10});
  CHECK(round_ticks(0.83, 0.91, 5).size() >= 3);
  CHECK(round_ticks(1, 1, 5).empty());
  for (double high : {0.003, 1.7, 42.0, 9e5}) {
    std::vector<double> ticks = round_ticks(0, high, 6);
    CHECK(ticks.size() <= 7);
    CHECK(ticks.size() >= 3);
    CHECK(ticks.back() <= high * (1 + 1e-9));
  }
  CHECK(tick_text(2000) == "2k");
  CHECK(tick_text(0.05) == "0.05");
  CHECK(tick_text(2.5e6) == "2.5M");
  CHECK(tick_text(1e-5) == "1e-05");
  CHECK(tick_text(0) == "0");
}

TEST_CASE("smoothing keeps constants and the first point, thinning keeps the peaks") {
  std::vector<Point> flat, noisy;
  for (int i = 0; i < 1000; ++i) flat.push_back({double(i), 3}), noisy.push_back({double(i), i == 500 ? 100.0 : double(i % 2)});
  for (const Point& p : smoothed(flat)) REQUIRE(p.y == Approx(3));
  CHECK(smoothed(noisy).size() == noisy.size());
  CHECK(smoothed(noisy)[0].y == noisy[0].y);
  CHECK(smoothed(noisy)[250].y == Approx(0.5).margin(0.05));
  std::vector<Point> thin = thinned(noisy, 50);
  CHECK(thin.size() == 100);
  CHECK(std::any_of(thin.begin(), thin.end(), [](const Point& p) { return p.y == 100; }));
  CHECK(thin.back().x == 999);
  for (size_t i = 1; i < thin.size(); ++i) CHECK(thin[i - 1].x <= thin[i].x);
}

TEST_CASE("a log is read back") {
  std::string folder = toy::fresh_folder("run_log");
  auto read = [&](const std::string& text) {
    toy::write_file(folder + "/run.jsonl", text);
    return read_run_log(folder + "/run.jsonl");
  };
  auto log = read(R"({"block": "a", "step": 1, "epoch": 1, "loss": 2.5, "lr": 0.1, "gradients": {"net.d.w": 3, "net.d.b": 4, "net.e.w": null}}
{"block": "a", "step": 1, "epoch": 1, "warning": "gradient not finite", "layer": "net.e", "norm": null}
{"block": "a", "step": 2, "epoch": 1, "loss": null}
{"block": "a", "step": 2, "epoch": 1, "epoch_loss": 2, "val_loss": 1.5}
{"block": "b", "step": 1, "epoch": 1, "loss": 1}
{"block": "b", "step": 2, "ep)");
  REQUIRE(log);
  CHECK(log->name == "run");
  REQUIRE(log->steps.size() == 2);
  CHECK(log->steps[0].name == "loss");
  REQUIRE(log->steps[0].points.size() == 2);       // what is not finite is left out
  CHECK(log->steps[0].points[1].x == 3);           // the second block goes on
  CHECK(log->blocks == std::vector<double>{2});
  REQUIRE(log->warnings.size() == 1);
  CHECK(log->warnings[0].kind == "gradient not finite");
  CHECK(log->warnings[0].layer == "net.e");
  CHECK(std::isnan(log->warnings[0].norm));
  REQUIRE(log->norms.size() == 2);
  CHECK(log->norms[0].points[0].y == 5);
  CHECK(log->norms[1].points.empty());
  CHECK(log->epochs[1].name == "val_loss");

  CHECK_THAT(read("{\"step\": 1, \"loss\": 1}\nstep 2\n{\"step\": 3, \"loss\": 1}\n").error().message, Catch::Contains("line 2"));
  CHECK_THAT(read("").error().message, Catch::Contains("no steps"));
  CHECK_THAT(read("{\"a\": 1}\n").error().message, Catch::Contains("no steps"));
  CHECK_THAT(read_run_log(folder + "/nowhere").error().message, Catch::Contains("nowhere"));
}

TEST_CASE("marks are named where there is room") {
  Panel panel{"norms", true, {{"a", series_colour(0), {{0, 1}, {100, 2}}}}, {}};
  panel.marks = {{{50, 1}, "first", "step 50: first"}, {{51, 1}, "second", "step 51: second", false}, {{52, 1}, "third", "step 52: third"}, {{90, NAN}, "last", "step 90: last"}};
  panel.note = "4 of them";
  std::string svg = charts({panel}, {});
  for (const char* text : {">first<", ">third<", ">last<", ">step 51: second<", ">4 of them<"}) CHECK_THAT(svg, Catch::Contains(text));   // to the left, to the right
  CHECK_THAT(svg, !Catch::Contains(">second<"));
  CHECK_THAT(svg, !Catch::Contains("nan"));
}

TEST_CASE("a logarithmic axis shows zeros below the picture") {
  Panel panel{"norms", true, {{"a", series_colour(0), {{0, 1}, {1, 0}, {2, 1}, {3, 0}}}}, {}};
  std::string svg = charts({panel}, {});
  CHECK_THAT(svg, Catch::Contains(" 10000.0L") && Catch::Contains(">a 0<"));
  CHECK_THAT(svg, !Catch::Contains("inf") && !Catch::Contains("nan"));
}

TEST_CASE("text in pictures is XML") { CHECK(xml("a<b & \"c\">\x01") == "a&lt;b &amp; &quot;c&quot;&gt;"); }
