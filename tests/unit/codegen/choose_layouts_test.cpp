// Which layouts the pass chooses for the variables and values of small training steps.
#include <catch2/catch.hpp>

#include <set>

#include "codegen/layout.h"
#include "ir/builder.h"
#include "passes/fusion.h"
#include "passes/pass.h"

using namespace gradc;
using namespace gradc::codegen;
using ir::Builder, ir::ElementType, ir::Function, ir::Op, ir::Shape, ir::Value;

namespace {
constexpr ElementType f32 = ElementType::f32;

std::string text(const ir::Layout& layout, const Shape& shape) { return ir::to_string(layout, shape); }

struct Chosen {
  Function f;
  std::vector<ir::KernelCall> calls;
  std::map<std::string, ir::Layout> variables;
  std::string variable(const std::string& name, const Shape& shape) { return text(variables[name], shape); }
};

// y = relu(x w) v, with v and w updated by their gradients for the sum of y.
Chosen step(int64_t batch, int64_t in, int64_t hidden, int64_t out, bool export_hidden = false) {
  Chosen c;
  Builder b(c.f);
  c.f.name = "step";
  Value x = b.input("x", {f32, {batch, in}});
  Value w = b.variable("w", {f32, {in, hidden}}), v = b.variable("v", {f32, {hidden, out}});
  Value zero = b.scalar(0, f32);
  Value h = b.map(Op::max, {zero, b.contract("bi,ih->bh", x, w)});
  Value y = b.map(Op::tanh, {b.contract("bh,ho->bo", h, v)});
  Value dh = b.map(Op::select, {b.map(Op::gt, {h, zero}), b.contract("bo,ho->bh", y, v), b.like(0, h)});
  c.f.results.push_back({"w", b.map(Op::sub, {w, b.contract("bi,bh->ih", x, dh)}), true});
  c.f.results.push_back({"v", b.map(Op::sub, {v, b.contract("bh,bo->ho", h, y)}), true});
  c.f.results.push_back({"y", y, false});
  if (export_hidden) c.f.results.push_back({"h", h, false});
  passes::optimize(c.f);
  passes::prepare_for_fusion(c.f);
  c.calls = passes::fuse(c.f);
  c.variables = choose_layouts({{&c.f, &c.calls}}, *named_target("avx512"));
  return c;
}

// The layouts of all results of that shape.
std::set<std::string> results(const Chosen& c, const Shape& shape) {
  std::set<std::string> found;
  for (const ir::KernelCall& call : c.calls)
    for (size_t r = 0; r < call.results.size(); ++r)
      if (c.f.type(call.results[r]).shape == shape) found.insert(text(call.kernel.result_layout(r), shape));
  return found;
}
}  // namespace

TEST_CASE("weights and activations of dense layers are blocked, narrow weights begin rows on lines", "[layout]") {
  Chosen c = step(128, 784, 1024, 10);
  CHECK(c.variable("w", {784, 1024}) == "[j/16, i, j%16]");
  CHECK(c.variable("v", {1024, 10}) == "[i, j:16]");
  CHECK(results(c, {128, 1024}) == std::set<std::string>{"[j/16, i, j%16]"});
  // What callers read is row-major, and then so is what nobody else can keep.
  CHECK(results(c, {128, 10}) == std::set<std::string>{"row-major"});
  CHECK(results(step(128, 784, 1024, 10, true), {128, 1024}).count("row-major") == 1);
}

TEST_CASE("rows that fall on few cache sets are pitched where blocks do not fit", "[layout]") {
  // The update of a weight for a single sample is a map, which walks along rows.
  Chosen c = step(1, 784, 1024, 10);
  CHECK(c.variable("w", {784, 1024}) == "[i, j:1040]");
  // 1000 columns are no whole number of blocks.
  CHECK(step(64, 784, 1000, 10).variable("w", {784, 1000}) == "[i, j:1008]");
  CHECK(step(64, 784, 2, 10).variable("w", {784, 2}) == "row-major");
}

TEST_CASE("a variable has one layout in all entries", "[layout]") {
  Chosen a = step(128, 784, 1024, 10), b = step(1, 784, 1024, 10);
  auto variables = choose_layouts({{&a.f, &a.calls}, {&b.f, &b.calls}}, *named_target("avx512"));
  CHECK(text(variables["w"], {784, 1024}) == "[i, j:1040]");
}
