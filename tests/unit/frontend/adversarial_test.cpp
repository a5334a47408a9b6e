// What the library offers for networks that are trained against each other, on numbers small enough to be worked out by hand.
#include "elaborate_harness.h"

using namespace gradc;
using namespace gradc::tests;

namespace {
// Points with variances (1, 4), and others around (3, 0) with variances (4, 1), both without covariance.
const char* points = "data d(x: f32[2], y: f32[2]) { all = table [[1, 2, 5, 1], [1, -2, 5, -1], [-1, 2, 1, 1], [-1, -2, 1, -1]] }\n";
const ir::Bindings samples = {{"x", f32({4, 2}, {1, 2, 1, -2, -1, 2, -1, -2})}, {"y", f32({4, 2}, {5, 1, 5, -1, 1, 1, 1, -1})}};
}  // namespace

TEST_CASE("figures of what is made", "[elaborate]") {
  Program p = good(std::string(points) + R"(
    model net(x: f32[n, 2]) { param w: f32 = 1; w * x }
    train on d.all, validate on d.all { batch all; epochs 1
      minimize mean(net(x)^2) with sgd()
      let a = f32([[4, 1, 0], [1, 3, -1], [0, -1, 2]])
      report root = max(abs(matrix_root(a) @ matrix_root(a) - a))
      report corners = trace(a) + 100 * sum(identity(3))
      report far = frechet_distance(x, y)
      report none = frechet_distance(x, x)
      let wide(z) = 1000 * concat([z, 0 * z], axis = 1)
      report flat = frechet_distance(wide(x), wide(x))
      report farther = frechet_distance(wide(x), wide(y))
      report largest = max(class_shares(y * [1, 3])) }
  )");
  ir::Bindings state;
  call(p, "init", state);
  auto figures = call(p, "validate", state, samples);
  CHECK(figures.at("root").at(0) < 1e-4);
  CHECK(figures.at("corners").at(0) == Approx(309));
  // 3^2 + (1 + 4) + (4 + 1) - 2 (sqrt(1 * 4) + sqrt(4 * 1))
  CHECK(figures.at("far").at(0) == Approx(11).epsilon(1e-5));
  CHECK(figures.at("none").at(0) == Approx(0).margin(1e-4));
  CHECK(figures.at("flat").at(0) == Approx(0).margin(20));   // of variances of some 10^6, and features that do not vary
  CHECK(figures.at("farther").at(0) == Approx(11e6).epsilon(1e-5));
  CHECK(figures.at("largest").at(0) == Approx(0.75));   // (5, 3), (5, -3), (1, 3), (1, -3)
}

TEST_CASE("the slope of a linear critic is the length of its weights", "[elaborate]") {
  Program p = good(std::string(points) + R"(
    model critic(x: f32[n, 2]) -> f32[n] { param w: f32[2] = [3, 4]; x @ w }
    train on d.all, validate on d.all { batch all; epochs 1
      minimize critic_loss(critic(x), critic(y)) with clip_weights(sgd(lr = 100), limit = 0.5)
      report slope = mean(gradient_norms(critic, x, y))
      report penalty = gradient_penalty(critic, x, y)
      report sure = discriminator_loss(critic(x) * 0 + 2, critic(x) * 0 - 3, smooth = 0.1)
      report fooled = generator_loss(critic(x) * 0 - 3)
      report saturated = minimax_loss(critic(x) * 0 - 3) }
  )");
  expand(p);
  ir::Bindings state;
  call(p, "init", state);
  auto figures = call(p, "validate", state, samples);
  CHECK(figures.at("loss").at(0) == Approx(9));
  CHECK(figures.at("slope").at(0) == Approx(5));
  CHECK(figures.at("penalty").at(0) == Approx(16));
  // -0.9 log D - 0.1 log(1 - D) of D = sigmoid(2), and -log(1 - sigmoid(-3))
  CHECK(figures.at("sure").at(0) == Approx(0.9 * std::log1p(std::exp(-2.0)) + 0.1 * std::log1p(std::exp(2.0)) + std::log1p(std::exp(-3.0))));
  CHECK(figures.at("fooled").at(0) == Approx(std::log1p(std::exp(3.0))));
  CHECK(figures.at("saturated").at(0) == Approx(-std::log1p(std::exp(-3.0))));
  call(p, "train.clip_weights", state, samples);
  near_to(state.at("@critic.w"), {-0.5, 0.5});   // the loss's slope is (3, 0): 3 - 300 and 4, limited
}

TEST_CASE("a normalised weight stretches nothing", "[elaborate]") {
  Program p = good(std::string(points) + R"(
    model net(x: f32[n, 2]) -> f32[n, 2] { x |> dense(2, bias = false, weight = spectral_norm) }
    train on d.all, validate on d.all { batch all; epochs 1
      minimize mean(net(x)^2) with sgd(lr = 0)
      report first = max(net(f32([[1, 0]])) * [1, 0])
      report last = max(net(f32([[0, 1]])) * [0, 1]) }
  )");
  expand(p);
  ir::Bindings state;
  call(p, "init", state);
  state["@net.dense1.w"] = f32({2, 2}, {1, 2, 3, 4});
  for (int step = 0; step < 20; ++step) call(p, "train.sgd", state, samples);
  auto figures = call(p, "validate", state, samples);
  const double largest = std::sqrt(15 + std::sqrt(221.0));   // singular value of (1 2; 3 4)
  CHECK(figures.at("first").at(0) == Approx(1 / largest));
  CHECK(figures.at("last").at(0) == Approx(4 / largest));
}
