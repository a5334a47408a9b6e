// What share_roundings makes of products, and what fusion makes of that.
#include "passes/pairs.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <random>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/verify.h"
#include "passes/fusion.h"

using namespace gradc::ir;
using namespace gradc::passes;

namespace {
constexpr ElementType f32 = ElementType::f32;

std::vector<KernelCall> kernels(Function& f) {
  share_roundings(f);
  CHECK(verify(f) == "");
  prepare_for_fusion(f);
  return fuse(f);
}
int64_t casts(const Function& f) {
  return std::count_if(f.nodes.begin(), f.nodes.end(), [](const Node& node) { return node.op == Op::cast; });
}
Tensor random_tensor(const Type& type, uint32_t seed) {
  std::mt19937 random(seed);
  Tensor t(type);
  for (int64_t i = 0; i < t.size(); ++i) t.set(i, std::uniform_real_distribution<double>(-1, 1)(random));
  return t;
}
}  // namespace

TEST_CASE("a layer and its gradients round each matrix once for each way of reading it") {
  Function f;
  Builder b(f);
  Value x = b.input("x", {f32, {256, 784}}), w = b.variable("w", {f32, {784, 64}});
  Value y = b.map(Op::max, {b.contract("bk,kn->bn", x, w, Precision::bf16), b.scalar(0, f32)});
  Value again = b.contract("bk,kn->bn", x, b.variable("w", {f32, {784, 64}}), Precision::bf16);
  Value dy = b.map(Op::mul, {y, again});
  f.results.push_back({"dw", b.contract("bk,bn->kn", x, dy, Precision::bf16), false});
  f.results.push_back({"dx", b.contract("bn,kn->bk", dy, w, Precision::bf16), false});
  Bindings at = {{"x", random_tensor({f32, {256, 784}}, 1)}, {"@w", random_tensor({f32, {784, 64}}, 2)}};
  Bindings before = evaluate(f, at);
  auto calls = kernels(f);
  CHECK(casts(f) == 4);   // w for each product of the layer (two variables here: nothing merges them), w for dx, dy
  Bindings after = evaluate(f, at);
  CHECK(before.at("dw") == after.at("dw"));
  CHECK(before.at("dx") == after.at("dx"));
  int pairs = 0;
  for (const KernelCall& call : calls) {
    if (call.kernel.form != Form::pairs) continue;
    ++pairs;
    CHECK(call.kernel.units == call.kernel.domain[0]);
    CHECK(f.type(call.results[0]).element == ElementType::bf16);
    bool for_dx = std::any_of(calls.begin(), calls.end(), [&](const KernelCall& reader) { return reader.kernel.domain == Shape{256, 784} && std::count(reader.arguments.begin(), reader.arguments.end(), call.results[0]); });
    CHECK(call.kernel.result_layout(0) == paired(call.kernel.domain, for_dx ? 1 : 0));
  }
  CHECK(pairs == 4);
}

TEST_CASE("few rows, other precisions and odd extents are left to the products") {
  auto made = [](int64_t rows, int64_t depth, int64_t columns, Precision precision) {
    Function f;
    Builder b(f);
    f.results.push_back({"y", b.contract("bk,kn->bn", b.input("x", {f32, {rows, depth}}), b.variable("w", {f32, {depth, columns}}), precision), false});
    share_roundings(f);
    return casts(f);
  };
  CHECK(made(128, 64, 32, Precision::bf16) == 1);
  CHECK(made(127, 64, 32, Precision::bf16) == 0);
  CHECK(made(128, 63, 32, Precision::bf16) == 0);
  CHECK(made(128, 64, 40, Precision::bf16) == 0);
  CHECK(made(128, 64, 16, Precision::bf16) == 0);
  CHECK(made(128, 64, 32, Precision::bf16x3) == 0);
  CHECK(made(128, 64, 32, Precision::f32) == 0);
}

TEST_CASE("a rounded matrix that others read, too, is an ordinary map") {
  Function f;
  Builder b(f);
  Value w = b.cast(b.variable("w", {f32, {64, 32}}), ElementType::bf16);
  f.results.push_back({"y", b.contract("bk,kn->bn", b.input("x", {f32, {128, 64}}), w, Precision::bf16), false});
  f.results.push_back({"copy", w, false});
  for (const KernelCall& call : kernels(f)) CHECK(call.kernel.form != Form::pairs);
}
