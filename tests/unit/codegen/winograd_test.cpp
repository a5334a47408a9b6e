// Kernels of Winograd's algorithm: transforms as maps in tiles, tiles that reach behind the end of an axis, products for each place of a tile.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <random>

#include "codegen/execute.h"
#include "codegen/unit_rows.h"
#include "ir/evaluate.h"
#include "ir/infer.h"
#include "passes/fusion.h"
#include "passes/pass.h"
#include "passes/winograd.h"
#include "kernel_harness.h"

using namespace gradc::ir;
using namespace gradc::codegen;
using gradc::passes::Winograd;
using gradc::codegen::test::relative_error;

namespace {
// relu(conv(x, w) + bias) as kernels.
std::vector<KernelCall> kernels(int64_t height, int64_t width, int64_t channels, int64_t filters, Winograd how) {
  Function f;
  Builder b(f);
  Value seen = b.make(Op::windows, {b.input("x", {ElementType::f32, {2, height, width, channels}})},
                      {{Attr::axes, std::vector<int64_t>{1, 2}}, {Attr::size, std::vector<int64_t>{3, 3}}, {Attr::stride, std::vector<int64_t>{1, 1}}, {Attr::dilation, std::vector<int64_t>{1, 1}},
                       {Attr::low, std::vector<int64_t>{1, 1}}, {Attr::high, std::vector<int64_t>{1, 1}}, {Attr::value, 0.0}});
  Value y = b.contract("nijuvc,uvck->nijk", seen, b.input("w", {ElementType::f32, {3, 3, channels, filters}}));
  y = b.map(Op::max, {b.map(Op::add, {y, b.input("bias", {ElementType::f32, {filters}})}), b.scalar(0, ElementType::f32)});
  f.results = {{"y", y, false}};
  gradc::passes::use_winograd(f, how);
  gradc::passes::prepare_for_fusion(f);
  return gradc::passes::fuse(f);
}
}  // namespace

TEST_CASE("a convolution by Winograd's algorithm is two transforms, products, and a transform with what follows") {
  for (auto [height, width, channels, filters] : {std::array<int64_t, 4>{8, 8, 16, 32}, {7, 5, 20, 9}, {2, 3, 3, 17}})
    for (Winograd how : {Winograd::tile2, Winograd::tile4}) {
      std::vector<KernelCall> calls = kernels(height, width, channels, filters, how);
      INFO(height << " x " << width << ", " << channels << " to " << filters);
      REQUIRE(calls.size() == 4);
      int tiled = 0, products = 0;
      for (const KernelCall& call : calls) {
        INFO(describe(call.kernel));
        tiled += !call.kernel.tile.empty();
        products += call.kernel.form == Form::contract;
        CHECK(test::difference(call.kernel, -1, 1) == "");
      }
      CHECK(tiled == 3);
      CHECK(products == 1);
    }
}

TEST_CASE("transforms and products go by tiles: one strand") {
  std::vector<KernelCall> calls = kernels(7, 5, 20, 9, Winograd::tile4);
  const int64_t tiles = 2 * 2 * 2;
  int chain = 0;
  for (const KernelCall& call : calls) {
    const Kernel& kernel = call.kernel;
    if (kernel.units != tiles || kernel.domain.front() == 6) continue;   // the transform of the weight
    ++chain;
    for (size_t a = 0; a < call.arguments.size(); ++a) {
      const Shape& shape = kernel.body.type(kernel.body.input("a" + std::to_string(a))).shape;
      INFO(describe(kernel) << ", argument " << a);
      CHECK((argument_rows(kernel, a) > 0) == (shape[0] == tiles));
    }
  }
  CHECK(chain == 3);
}

namespace {
// s = sum(relu(conv(x, w) + bias) * r), its result and its gradients by x, w and bias.
Function with_gradients(int64_t samples, int64_t extent, int64_t channels, int64_t filters) {
  Function f;
  Builder b(f);
  const Type image{ElementType::f32, {samples, extent, extent, channels}}, kernel{ElementType::f32, {3, 3, channels, filters}};
  Value x = b.make(Op::mark, {b.input("x", image)}), w = b.make(Op::mark, {b.variable("w", kernel)});
  const std::vector<int64_t> ones(2, 1);
  auto windows = [&](Value v) {
    return b.make(Op::windows, {v}, {{Attr::axes, std::vector<int64_t>{1, 2}}, {Attr::size, std::vector<int64_t>(2, 3)}, {Attr::stride, ones}, {Attr::dilation, ones}, {Attr::low, ones}, {Attr::high, ones}, {Attr::value, 0.0}});
  };
  Value y = b.map(Op::max, {b.contract("nijuvc,uvck->nijk", windows(x), w), b.scalar(0, ElementType::f32)});
  Value s = b.reduce(Op::reduce_sum, b.map(Op::mul, {y, b.input("r", b.type(y))}), {0, 1, 2, 3});
  f.results = {{"y", y, false}, {"dx", b.make(Op::grad, {s, x}), false}, {"w", b.map(Op::sub, {w, b.make(Op::grad, {s, w})}), true}};
  gradc::passes::expand_gradients(f);
  gradc::passes::optimize(f);
  return f;
}
}  // namespace

TEST_CASE("a convolution and its gradients, planned and run: blocks of tiles, sums in parts, values that are local to a thread") {
  for (auto [samples, extent, channels, filters] : {std::array<int64_t, 4>{4, 16, 16, 32}, {5, 13, 16, 16}, {3, 9, 20, 12}, {1, 7, 128, 64}, {13, 13, 4, 44}})   // the last: blocks of 48 tiles, parts of 52
    for (const Target& target : test::targets()) {
      Function f = with_gradients(samples, extent, channels, filters);
      Bindings at;
      std::mt19937 random(7);
      for (const Node& node : f.nodes)
        if (node.op == Op::input || node.op == Op::variable) {
          Tensor t(node.type);
          for (int64_t i = 0; i < t.size(); ++i) t.set(i, std::uniform_real_distribution<float>(-1, 1)(random));
          at[(node.op == Op::variable ? "@" : "") + node.attrs.text(Attr::name)] = t;
        }
      Bindings wanted = evaluate(f, at);
      REQUIRE(gradc::passes::use_winograd(f, Winograd::tile4) >= 2);
      gradc::passes::prepare_for_fusion(f);
      std::vector<KernelCall> calls = gradc::passes::fuse(f);
      bool parts = std::any_of(calls.begin(), calls.end(), [](const KernelCall& call) { return call.kernel.parts > 0; });
      INFO(samples << " samples, " << extent << ", " << channels << " to " << filters << " on " << target.name);
      CHECK(parts == (samples * ((extent + 3) / 4) * ((extent + 3) / 4) >= 64));   // two parts of 32 tiles at least
      Bindings is = execute(f, calls, at, target);
      for (const char* name : {"y", "dx", "@w"}) {
        INFO(name);
        CHECK(relative_error(is.at(name), wanted.at(name)) < 3e-5);
      }
    }
}

TEST_CASE("sums over the first index of a product: in parts where operands are read as they lie, right in any case") {
  struct Example {
    const char* spec;
    Shape a, b;
    bool parts;
    Value (*view)(Builder&, Value) = nullptr;   // of a: what the product reads of the input
  };
  auto transposed = [](Builder& b, Value v) { return b.transpose(v, {0, 1, 3, 2}); };
  auto padded = [](Builder& b, Value v) {
    return b.make(Op::pad, {v}, {{Attr::low, std::vector<int64_t>{0, 1, 0, 2}}, {Attr::high, std::vector<int64_t>{0, 2, 0, 1}}, {Attr::interior, std::vector<int64_t>(4, 0)}, {Attr::value, 0.0}});
  };
  auto repeated = [](Builder& b, Value v) { return b.broadcast(v, {4, 6, 5, 24}, {1, 2, 3}); };
  auto cut = [](Builder& b, Value v) { return b.reshape(b.slice(v, {0, 1, 0, 0}, {4, 7, 5, 24}, {1, 1, 1, 1}), {2, 12, 5, 24}); };
  auto flat = [](Builder& b, Value v) { return b.reshape(v, {4, 6, 5, 24}); };
  const Example examples[] = {
      {"xtpc,xtpk->xpck", {4, 6, 5, 24}, {4, 6, 5, 40}, true},
      {"xtpc,xtpk->xpck", {24, 5, 24}, {4, 6, 5, 40}, true, flat},
      {"xtc,xtk->xck", {4, 6, 24}, {4, 6, 40}, true},
      {"xtpc,xtpk->xpck", {4, 6, 24, 5}, {4, 6, 5, 40}, false, transposed},
      {"xtpc,xtpk->xpck", {4, 3, 5, 21}, {4, 6, 5, 40}, false, padded},
      {"xtpc,xtpk->xpck", {6, 5, 24}, {4, 6, 5, 40}, false, repeated},
      {"xtpc,xtpk->xpck", {4, 8, 5, 24}, {2, 12, 5, 40}, false, cut},
      {"xtcp,xtpk->xpck", {4, 6, 24, 5}, {4, 6, 5, 40}, false},   // indices in another order
      {"xtp,xtp->xp", {4, 6, 24}, {4, 6, 24}, false},             // no index of one operand alone
      {"xtpc,xtp->xpc", {4, 6, 5, 24}, {4, 6, 5}, false},
      {"xtc,xtk->xck", {4, 6, 24}, {4, 6, 1}, false},
      {"xtc,xtk->xck", {1, 6, 24}, {1, 6, 40}, false},
      {"xtc,xtk->xck", {4, 1, 24}, {4, 1, 40}, false},
      {"xtck,xtl->xkcl", {4, 6, 5, 24}, {4, 6, 40}, false},
  };
  for (const Example& example : examples)
    for (const Target& target : test::targets()) {
      Function f;
      Builder b(f);
      Value x = b.input("x", {ElementType::f32, example.a}), y = b.input("y", {ElementType::f32, example.b});
      Value s = b.contract(example.spec, example.view ? example.view(b, x) : x, y);
      f.results = {{"s", b.reduce(Op::reduce_sum, s, {0}), false}};
      Bindings at;
      std::mt19937 random(5);
      for (auto [name, shape] : {std::pair{"x", example.a}, std::pair{"y", example.b}}) {
        Tensor t({ElementType::f32, shape});
        for (int64_t i = 0; i < t.size(); ++i) t.set(i, std::uniform_real_distribution<float>(-1, 1)(random));
        at[name] = t;
      }
      Tensor wanted = evaluate(f, at).at("s");
      gradc::passes::prepare_for_fusion(f);
      std::vector<KernelCall> calls = gradc::passes::fuse(f);
      INFO(example.spec << " of " << to_string(Type{ElementType::f32, example.a}) << " on " << target.name);
      CHECK(std::any_of(calls.begin(), calls.end(), [](const KernelCall& call) { return call.kernel.parts > 0; }) == example.parts);
      Tensor is = execute(f, calls, at, target).at("s");
      for (int64_t i = 0; i < wanted.size(); ++i) REQUIRE(is.at(i) == Approx(wanted.at(i)).margin(1e-4));
    }
}
