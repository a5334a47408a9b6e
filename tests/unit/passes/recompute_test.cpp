#include <catch2/catch.hpp>

#include <algorithm>

#include "ir/builder.h"
#include "ir/verify.h"
#include "passes/fusion.h"
#include "passes/pass.h"
#include "passes/recompute.h"
#include "support.h"

using namespace gradc::ir;
using namespace gradc::passes;

namespace {
const ElementType f32 = ElementType::f32;

// x |> layers of width 16 with an activation, squared and averaged; plain descent for all weights.
enum class Kind { relu, tanh, linear, dropout, tied, normed };
Function network(Kind kind, int layers) {
  Function f;
  f.name = "train";
  Builder b(f);
  Value x = b.input("x", {f32, {32, 16}}), h = x;
  std::vector<Value> weights, marks;
  for (int i = 0; i < layers; ++i) {
    if (kind != Kind::tied || i == 0) {
      weights.push_back(b.variable("w" + std::to_string(i), {f32, {16, 16}}));
      marks.push_back(b.make(Op::mark, {weights.back()}));
    }
    b.loc = {1, static_cast<uint32_t>(i + 1), 1};
    Value z = b.contract("mk,kn->mn", h, marks.back());
    if (kind == Kind::normed) {   // batch statistics
      Value mean = b.reduce(Op::reduce_mean, z, {0});
      z = b.map(Op::sub, {z, b.broadcast(mean, {32, 16}, {1})});
    }
    if (kind == Kind::dropout) {
      Value numbers = b.make(Op::random, {b.scalar(7, ElementType::i64), b.scalar(0, ElementType::i64), b.scalar(0, ElementType::i64)},
                             {{Attr::distribution, std::string("uniform")}, {Attr::site, int64_t{i} + 1}, {Attr::element, f32}, {Attr::shape, Shape{32, 16}}});
      z = b.map(Op::select, {b.map(Op::gt, {numbers, b.like(0.25, numbers)}), z, b.like(0, z)});
    }
    h = kind == Kind::linear ? z : kind == Kind::relu || kind == Kind::dropout ? b.map(Op::max, {z, b.like(0, z)}) : b.make(Op::tanh, {z});
  }
  Value loss = b.reduce(Op::reduce_mean, b.map(Op::mul, {h, h}), {0, 1});
  f.results.push_back({"loss", loss, false});
  for (size_t i = 0; i < weights.size(); ++i) {
    Value g = b.make(Op::grad, {loss, marks[i]});
    f.results.push_back({"w" + std::to_string(i), b.map(Op::sub, {weights[i], b.map(Op::mul, {g, b.like(0.1, g)})}), true});
  }
  expand_gradients(f);
  optimize(f);
  return f;
}

int products(const Function& f, Loc::Role role) {
  return static_cast<int>(std::count_if(f.nodes.begin(), f.nodes.end(), [&](const Node& node) { return node.op == Op::contract && node.loc.role == role; }));
}
}  // namespace

TEST_CASE("what is computed again has the same values") {
  for (Kind kind : {Kind::relu, Kind::tanh, Kind::linear, Kind::dropout, Kind::tied, Kind::normed})
    for (Segments wanted : {Segments{2, 1}, Segments{3, 2}, Segments{4, 1}, Segments{4, 3}, Segments{4, 0}, Segments{20, 19}}) {
      INFO("network " << static_cast<int>(kind) << ", " << wanted.again << " of " << wanted.all);
      Function plain = network(kind, 8), again = plain;
      Segments made = recompute(again, wanted);
      CHECK(made.all >= 2);
      CHECK((made == wanted || wanted.all > 8));
      CHECK(verify(again) == "");
      check_same_values(plain, again, 1, 0);
      // A segment of one layer is its own checkpoint.
      int layers = wanted.all > 8 ? 0 : 8 / wanted.all;
      CHECK(products(again, Loc::Role::recomputation) >= (layers - 1) * wanted.again);
      CHECK(products(again, Loc::Role::recomputation) <= (layers + 1) * wanted.again);
      CHECK(products(again, Loc::Role::source) == products(plain, Loc::Role::source));
      CHECK(products(again, Loc::Role::gradient) == products(plain, Loc::Role::gradient));
    }
}

TEST_CASE("a stage waits for the gradients of the one before") {
  Function f = network(Kind::relu, 8);
  CHECK(recompute(f, {4, 3}) == Segments{4, 3});
  prepare_for_fusion(f);
  std::vector<KernelCall> calls = fuse(f);
  std::vector<int> producer(f.size(), -1);
  for (size_t c = 0; c < calls.size(); ++c)
    for (Value v : calls[c].results) producer[v.id] = static_cast<int>(c);
  auto role = [](const KernelCall& call, Loc::Role wanted) {
    return call.kernel.hero.valid() && call.kernel.body[call.kernel.hero].loc.role == wanted;
  };
  int waiting = 0, depths = 0;
  std::vector<int> depth(calls.size());   // barriers on the longest way here
  for (size_t c = 0; c < calls.size(); ++c) {
    for (Value v : calls[c].arguments)
      if (producer[v.id] >= 0) depth[c] = std::max(depth[c], depth[producer[v.id]]);
    for (Value v : calls[c].waits) {
      REQUIRE(producer[v.id] >= 0);
      REQUIRE(producer[v.id] < static_cast<int>(c));   // fusion orders them
      depth[c] = std::max(depth[c], depth[producer[v.id]] + 1);
    }
    depths = std::max(depths, depth[c]);
    waiting += !calls[c].waits.empty();
    if (role(calls[c], Loc::Role::recomputation)) CHECK(depth[c] >= 1);
  }
  CHECK(waiting > 0);
  CHECK(depths == 3);
}

TEST_CASE("there is nothing to compute again without a loss, and where nothing is kept") {
  Function f = network(Kind::relu, 4), before = f;
  f.results.erase(f.results.begin());
  CHECK(recompute(f, {3, 2}) == Segments{});
  Function one = network(Kind::linear, 1);
  CHECK(recompute(one, {3, 2}) == Segments{});
  Function none = network(Kind::relu, 4);
  CHECK(recompute(none, {1, 0}) == Segments{});
  CHECK(none.size() == before.size());
}

TEST_CASE("statistics and small values are kept") {
  Function f = network(Kind::normed, 8);
  auto sums = [&] { return std::count_if(f.nodes.begin(), f.nodes.end(), [](const Node& node) { return is_reduce(node.op); }); };
  auto before = sums();
  CHECK(recompute(f, {4, 3}) == Segments{4, 3});
  CHECK(sums() == before);
}
