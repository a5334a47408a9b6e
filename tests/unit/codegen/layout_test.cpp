// Kernels with blocked arguments and results: the same bits as with row-major ones, in every form, on every target.
#include <catch2/catch.hpp>
#include <fmt/format.h>

#include "codegen/contract_plan.h"
#include "ir/text.h"
#include "kernel_harness.h"

using namespace gradc;
using namespace gradc::codegen;
using namespace gradc::codegen::test;
using ir::Attr, ir::Builder, ir::ElementType, ir::Form, ir::Kernel, ir::Layout, ir::Op, ir::Shape, ir::Value;

namespace {
std::vector<ir::Type> argument_types(const Kernel& kernel) {
  std::vector<ir::Type> types;
  for (const ir::Node& node : kernel.body.nodes)
    if (node.op == Op::input) {
      types.resize(std::max(types.size(), ir::argument_number(node) + 1));
      types[ir::argument_number(node)] = node.type;
    }
  return types;
}

// Blocks along the last axis, or a pitch, for the buffers whose bit is set.
Kernel laid_out(Kernel kernel, uint32_t arguments, uint32_t results, bool blocks = true) {
  auto pick = [&](const ir::Type& type, bool yes) {
    if (!yes || type.rank() == 0) return Layout();
    return blocks ? ir::blocked(type.shape, type.rank() - 1, 16) : ir::pitched(type.shape, type.shape.back() + 5);
  };
  std::vector<ir::Type> types = argument_types(kernel);
  for (size_t i = 0; i < types.size(); ++i) kernel.argument_layouts.push_back(pick(types[i], arguments >> i & 1));
  for (size_t r = 0; r < kernel.body.results.size(); ++r) {
    int place = kernel.in_place.empty() ? -1 : kernel.in_place[r];
    kernel.result_layouts.push_back(place >= 0 ? kernel.argument_layout(place) : pick(kernel.body.type(kernel.body.results[r].value), results >> r & 1));
  }
  return kernel;
}

void check(const Kernel& kernel) {
  size_t arguments = argument_types(kernel).size(), results = kernel.body.results.size();
  auto inputs = random_inputs(kernel, 3, -1, 1);
  std::vector<int64_t> cuts;
  if (kernel.units > Kernel::unit_alignment) cuts = {kernel.units / 3 / Kernel::unit_alignment * Kernel::unit_alignment};
  for (const Target& target : targets()) {
    auto expected = Compiled(kernel, target).run(inputs, cuts);
    for (uint32_t a = 0; a < 1u << arguments; ++a)
      for (uint32_t r = 0; r < 1u << results; ++r) {
        if (results > 1 && r != 0 && r + 1 != 1u << results) continue;
        bool all = a + 1 == 1u << arguments && r + 1 == 1u << results;
        for (bool blocks : {true, false}) {
          if (!blocks && !all) continue;
          Kernel other = laid_out(kernel, a, r, blocks);
          INFO(target.name << "\n" << ir::key(other));
          auto actual = Compiled(other, target).run(inputs, cuts);
          for (size_t i = 0; i < results; ++i) {
            int64_t wrong = -1;
            for (int64_t e = expected[i].size(); e-- > 0;)
              if (expected[i].at(e) != actual[i].at(e)) wrong = e;
            CHECK(wrong == -1);
          }
        }
      }
  }
}

Kernel contract(const std::string& spec, Shape a, Shape b, int64_t outer, bool epilogue, ElementType element = ElementType::f32) {
  ir::Function f;
  Builder build(f);
  Value x = build.input("a0", {element, a}), y = build.input("a1", {element, b});
  Value hero = build.contract(spec, x, y);
  Shape domain = f.type(hero).shape;
  Value result = hero;
  if (epilogue) {
    int64_t last = static_cast<int64_t>(domain.size()) - 1;
    result = build.make(Op::add, {hero, build.broadcast(build.input("a2", {element, {domain.back()}}), domain, {last})});
    result = build.make(Op::mul, {result, build.input("a3", {element, domain})});
  }
  Kernel kernel = finish(Form::contract, std::move(f), domain, outer, {result});
  kernel.hero = hero;
  return kernel;
}
}  // namespace

TEST_CASE("contracts with blocked buffers", "[layout]") {
  for (ElementType element : {ElementType::f32, ElementType::f64}) {
    // A layer forward, its weight's and its input's gradient: many rows, few, one; whole blocks and padded ones.
    for (auto [batch, in, out] : {std::tuple<int64_t, int64_t, int64_t>{41, 48, 64}, {16, 37, 50}, {3, 64, 35}, {1, 80, 48}, {130, 100, 33}}) {
      check(contract("bk,kn->bn", {batch, in}, {in, out}, 1, true, element));
      check(contract("bk,bn->kn", {batch, in}, {batch, out}, 1, true, element));
      check(contract("bn,kn->bk", {batch, out}, {in, out}, 1, true, element));
    }
  }
}

TEST_CASE("batched contracts with blocked buffers", "[layout]") {
  check(contract("hqd,hkd->hqk", {3, 20, 40}, {3, 33, 40}, 2, false));
  check(contract("hqk,hkd->hqd", {3, 20, 33}, {3, 33, 40}, 2, false));
  check(contract("hqk,hqd->hkd", {3, 20, 33}, {3, 20, 40}, 2, false));
  check(contract("rk,kn->rn", {12, 2100}, {2100, 40}, 1, false));      // blocks of the reduction
  check(contract("bk,k->b", {40, 50}, {50}, 1, false));
  check(contract("rkc,kc->rc", {9, 5, 40}, {5, 40}, 1, false));       // lanes along an index that all have
  check(contract("rkc,kc->rc", {9, 5, 40}, {5, 40}, 2, false));
}

TEST_CASE("maps with blocked buffers", "[layout]") {
  for (const Shape& shape : {Shape{37, 48}, Shape{20, 35}, Shape{3, 5, 40}}) {
    auto body = [&](ir::Function& f) {
      Builder b(f);
      Value x = b.input("a0", {ElementType::f32, shape}), y = b.input("a1", {ElementType::bf16, shape}), z = b.input("a2", {ElementType::f64, shape});
      Value sum = b.make(Op::add, {x, b.make(Op::cast, {y}, {{Attr::element, ElementType::f32}})});
      return std::vector<Value>{sum, b.make(Op::mul, {z, b.make(Op::cast, {sum}, {{Attr::element, ElementType::f64}})})};
    };
    for (int64_t outer : {0, 1}) {
      ir::Function f;
      auto results = body(f);
      check(finish(Form::map, std::move(f), shape, outer, results));
    }
  }
}

TEST_CASE("views of blocked buffers", "[layout]") {
  ir::Function f;
  Builder b(f);
  Value x = b.input("a0", {ElementType::f32, {40, 21}});
  Value turned = b.transpose(x, {1, 0});
  Value part = b.slice(b.input("a1", {ElementType::f32, {30, 50}}), {4, 3}, {25, 43}, {1, 1});
  Value sum = b.make(Op::add, {turned, part});
  check(finish(Form::map, std::move(f), {21, 40}, 1, {sum}));
}

TEST_CASE("rows and columns with blocked buffers", "[layout]") {
  for (Shape shape : {Shape{19, 48}, Shape{33, 70}}) {
    {
      ir::Function f;
      Builder b(f);
      Value x = b.input("a0", {ElementType::f32, shape});
      Value largest = b.broadcast(b.reduce(Op::reduce_max, x, {1}), shape, {0});
      Value e = b.make(Op::exp, {b.make(Op::sub, {x, largest})});
      Value y = b.make(Op::div, {e, b.broadcast(b.reduce(Op::reduce_sum, e, {1}), shape, {0})});
      check(finish(Form::row, std::move(f), shape, 1, {y}));
    }
    {
      ir::Function f;
      Builder b(f);
      Value x = b.input("a0", {ElementType::f32, shape}), y = b.input("a1", {ElementType::f32, shape});
      Value sum = b.reduce(Op::reduce_sum, b.make(Op::mul, {x, y}), {0});
      check(finish(Form::column, std::move(f), shape, 1, {sum}));
    }
  }
}

TEST_CASE("a product with blocked buffers copies none of them", "[layout]") {
  for (const Target& target : targets()) {
    Kernel forward = laid_out(contract("bk,kn->bn", {128, 1024}, {1024, 1024}, 1, true), 15, 1);
    ContractPlan plan = plan_contract(forward, target);
    CHECK_FALSE(plan.pack_a);
    CHECK_FALSE(plan.pack_b);
    plan = plan_contract(laid_out(contract("bk,bn->kn", {128, 1024}, {128, 1024}, 1, true), 15, 1), target);
    CHECK_FALSE(plan.pack_a);
    CHECK_FALSE(plan.pack_b);
    CHECK(plan.heights[0] % 4 == 0);
  }
}
