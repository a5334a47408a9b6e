// Kernels of Winograd's algorithm: transforms as maps in tiles, tiles that reach behind the end of an axis, products for each place of a tile.
#include <catch2/catch.hpp>

#include "codegen/unit_rows.h"
#include "ir/infer.h"
#include "passes/fusion.h"
#include "passes/winograd.h"
#include "kernel_harness.h"

using namespace gradc::ir;
using namespace gradc::codegen;
using gradc::passes::Winograd;

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
