#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "codegen/index.h"
#include "ir/builder.h"

using namespace gradc;
using namespace gradc::codegen;

namespace {
int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

int64_t evaluate(const IndexSpace& space, const Index& e, const std::map<Atom, int64_t>& values) {
  int64_t sum = e.constant;
  for (const auto& [atom, c] : e.terms) {
    const auto& d = space[atom];
    using Kind = IndexSpace::Definition::Kind;
    if (d.kind == Kind::variable) sum += c * values.at(atom);
    else {
      int64_t inner = evaluate(space, d.of, values), q = floor_div(inner, d.by);
      sum += c * (d.kind == Kind::quotient ? q : inner - q * d.by);
    }
  }
  return sum;
}
}  // namespace

TEST_CASE("splitting what was merged gives back the parts") {
  IndexSpace space;
  IndexVector at = {space.variable(5), space.variable(28), space.variable(28)};
  CHECK(space.split(space.linear(at, {5, 28, 28}), {5, 28, 28}) == at);
  Index flat = space.variable(5 * 28 * 28);
  CHECK(space.linear(space.split(flat, {5, 28, 28}), {5, 28, 28}) == flat);
  CHECK(space.split(flat, {5 * 28 * 28}) == IndexVector{flat});
  IndexVector coarse = space.split(space.linear(at, {5, 28, 28}), {5, 784});
  CHECK(space.text(coarse[1]) == "28*v1 + v2");
  CHECK(space.split(space.linear(coarse, {5, 784}), {5, 28, 28}) == at);
}

TEST_CASE("index arithmetic agrees with plain arithmetic, and its ranges hold") {
  std::mt19937 random(7);
  auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  for (int round = 0; round < 3000; ++round) {
    IndexSpace space;
    std::vector<Index> pool;
    std::vector<std::map<Atom, int64_t>> samples(5);
    std::vector<std::vector<int64_t>> truth;   // per expression, per sample
    for (int v = 0; v < 3; ++v) {
      int extent = pick(1, 12);
      pool.push_back(space.variable(extent));
      truth.emplace_back();
      for (auto& s : samples) truth.back().push_back(s[variable_of(pool.back())] = pick(0, extent - 1));
    }
    for (int step = 0; step < 12; ++step) {
      int a = pick(0, static_cast<int>(pool.size()) - 1), b = pick(0, static_cast<int>(pool.size()) - 1), k = pick(1, 12), what = pick(0, 4);
      std::vector<int64_t> values;
      Index e;
      if (what == 0) e = space.add(pool[a], pool[b]);
      if (what == 1) e = space.add(space.scale(pool[a], k), pool[b]);
      if (what == 2) e = space.div(pool[a], k);
      if (what == 3) e = space.mod(pool[a], k);
      if (what == 4) e = space.sub(pool[a], k);
      for (size_t s = 0; s < samples.size(); ++s) {
        int64_t x = truth[a][s], y = truth[b][s];
        values.push_back(what == 0 ? x + y : what == 1 ? k * x + y : what == 2 ? floor_div(x, k) : what == 3 ? x - k * floor_div(x, k) : x - k);
      }
      for (size_t s = 0; s < samples.size(); ++s) {
        REQUIRE(evaluate(space, e, samples[s]) == values[s]);
        REQUIRE(space.range(e).low <= values[s]);
        REQUIRE(space.range(e).high >= values[s]);
      }
      pool.push_back(e);
      truth.push_back(values);
    }
  }
}

TEST_CASE("strides along a lane variable hold inside a block") {
  std::mt19937 random(8);
  auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  int known = 0;
  for (int round = 0; round < 4000; ++round) {
    IndexSpace space;
    Index outer = space.variable(6), lane = space.variable(96, 16);
    Index e = space.add(space.scale(outer, pick(0, 3) * 16), space.add(space.scale(lane, pick(1, 2)), 32 * pick(0, 2)));
    for (int step = 0, steps = pick(1, 2); step < steps; ++step) {
      int k = pick(0, 1) ? 16 * pick(1, 4) : pick(1, 40);
      e = pick(0, 1) ? space.div(e, k) : space.mod(e, k);
      if (pick(0, 1)) e = space.add(e, space.scale(outer, 16 * pick(1, 4)));
    }
    std::optional<int64_t> stride = space.stride(e, variable_of(lane));
    if (!stride) continue;
    known += *stride != 0;
    for (int u = 0; u < 6; ++u)
      for (int base = 0; base < 96; base += 16)
        for (int l = 0; l < 16; ++l) {
          auto at = [&](int place) { return evaluate(space, e, {{variable_of(outer), u}, {variable_of(lane), place}}); };
          REQUIRE(at(base + l) == at(base) + l * *stride);
        }
  }
  CHECK(known > 100);
}

TEST_CASE("windows and pads guard what is outside") {
  ir::Function f;
  ir::Builder b(f);
  ir::Value x = b.input("x", {ir::ElementType::f32, {2, 8, 3}});
  ir::Value w = b.make(ir::Op::windows, {x}, {{ir::Attr::axes, std::vector<int64_t>{1}}, {ir::Attr::size, std::vector<int64_t>{3}}, {ir::Attr::stride, std::vector<int64_t>{1}},
                                               {ir::Attr::dilation, std::vector<int64_t>{1}}, {ir::Attr::low, std::vector<int64_t>{1}}, {ir::Attr::high, std::vector<int64_t>{1}}, {ir::Attr::value, 0.0}});
  IndexSpace space;
  IndexVector at;
  for (int64_t extent : f.type(w).shape) at.push_back(space.variable(extent));
  Access a = access(f[w], f.type(x).shape, at, space);
  REQUIRE(a.at.size() == 3);
  CHECK(space.text(a.at[1]) == "v1 + v2 + -1");
  REQUIRE(a.guards.size() == 1);
  CHECK(a.guards[0].extent == 8);
}
