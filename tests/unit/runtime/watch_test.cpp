// When gradients vanish or explode, and when they only look like it.
#include <catch2/catch.hpp>
#include <cmath>

#include "runtime/watch.h"

using namespace gradc::runtime;
using Kind = GradientWarning::Kind;

TEST_CASE("norms of layers are those of their parameters") {
  Figures layers = norms_by_layer({{"net.dense1.w", 3}, {"net.dense1.b", 4}, {"net.head.w", 0}, {"scale", 2}});
  CHECK(layers == Figures{{"net.dense1", 5}, {"net.head", 0}, {"scale", 2}});
  CHECK(total_norm({{"a", 3e200}, {"b", 4e200}}) == Approx(5e200));   // their squares overflow
  CHECK(std::isnan(total_norm({{"a", 1}, {"b", NAN}})));
}

TEST_CASE("a layer vanishes that is small beside the largest, three times in a row") {
  GradientWatch watch;
  const Figures small = {{"net.first.w", 1e-9}, {"net.last.w", 1}}, normal = {{"net.first.w", 1e-5}, {"net.last.w", 1}};
  CHECK(watch.look(small).empty());   // as where a head starts from zeros
  CHECK(watch.look(normal).empty());
  CHECK(watch.look(small).empty());
  CHECK(watch.look(small).empty());
  auto warnings = watch.look(small);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].kind == Kind::vanishing);
  CHECK(warnings[0].layer == "net.first");
  CHECK(to_string(warnings[0]) == "the gradient of net.first vanishes: its norm is 1e-09, that of net.last is 1");
  for (int i = 0; i < 5; ++i) CHECK(watch.look(small).empty());   // it was said

  GradientWatch converged;   // all of them are small: that is the end of training
  for (int i = 0; i < 5; ++i) CHECK(converged.look({{"net.first.w", 1e-12}, {"net.last.w", 1e-11}}).empty());
  GradientWatch bias;        // its layer has a gradient
  for (int i = 0; i < 5; ++i) CHECK(bias.look({{"net.first.w", 1}, {"net.first.b", 0}}).empty());
}

TEST_CASE("a layer explodes beside what it was, and is not finite at once") {
  GradientWatch watch;
  for (double norm : {0.5, 2.0, 1.0, 400.0}) CHECK(watch.look({{"net.w", norm}}).empty());
  auto warnings = watch.look({{"net.w", 5000}});
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].kind == Kind::exploding);
  CHECK(warnings[0].beside == 2);
  CHECK(std::string(name_of(warnings[0].kind)) == "exploding gradient");
  CHECK(GradientWatch().look({{"net.w", 1e30}}).empty());   // nothing to compare with
  GradientWatch waking;   // from where it had nearly vanished to what the other layer has
  for (int i = 0; i < 5; ++i) CHECK(waking.look({{"first.w", 1e-6}, {"last.w", 0.1}}).empty());
  CHECK(waking.look({{"first.w", 0.05}, {"last.w", 0.1}}).empty());
  CHECK(waking.look({{"first.w", 0.2}, {"last.w", 0.1}}).size() == 1);
  warnings = GradientWatch().look({{"a.w", 1}, {"b.w", INFINITY}, {"b.b", NAN}});
  REQUIRE(warnings.size() == 1);
  CHECK(to_string(warnings[0]) == "the gradient of b is not finite");
}
