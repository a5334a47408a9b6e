// Contracts of precision bf16 and bf16x3 against the reference, which rounds operands in the same way and sums in double precision: shapes with
// tails, odd depths, batched, transposed, computed operands, NaN; bits that do not depend on how units are cut. On every target with products of
// bf16 that this machine runs; there may be none.
#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <cmath>

#include "codegen/contract_plan.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "kernel_harness.h"

using namespace gradc;
using namespace gradc::codegen;
using namespace gradc::codegen::test;
using ir::Builder, ir::Kernel, ir::Precision, ir::Shape, ir::Value;

namespace {
Kernel product(const std::string& spec, const std::map<char, int64_t>& extents, int64_t outer, Precision precision, const OperandViews& views = {}, std::pair<std::string, std::string> letters = {}) {
  auto results = [](Builder& build, Value hero) { return std::vector<Value>{build.make(ir::Op::max, {hero, build.like(-0.5, hero)}), hero}; };
  return contract_kernel(spec, extents, outer, ir::ElementType::f32, results, {}, precision, views, letters);
}

bool skipped() {
  if (bf16_targets().empty()) WARN("skipped: this processor has neither AMX nor AVX512-BF16");
  else if (!host_runs(*named_target("amx"))) WARN("without AMX: this processor has none");
  return bf16_targets().empty();
}

void check(const Kernel& kernel, std::mt19937& random, bool nan = false) {
  INFO(ir::print(kernel.body) << "outer " << kernel.outer << ", units " << kernel.units);
  auto inputs = random_inputs(kernel, static_cast<uint32_t>(random()), -1, 1);
  if (nan)
    for (ir::Tensor& input : inputs) input.set(static_cast<int64_t>(random() % static_cast<uint32_t>(input.size())), random() % 2 ? NAN : INFINITY);
  ir::Bindings bindings;
  for (size_t i = 0; i < inputs.size(); ++i) bindings[fmt::format("a{}", i)] = inputs[i];
  ir::Bindings expected = ir::evaluate(kernel.body, bindings);
  for (const Target& target : bf16_targets()) {
    INFO(target.name);
    Compiled compiled(kernel, target);
    auto whole = compiled.run(inputs);
    for (size_t r = 0; r < whole.size(); ++r) {
      const ir::Tensor& value = expected.at(fmt::format("r{}", r));
      // A term's product is below 1 and a sum's rounding error below 2^-24 of it a term; denormals that are flushed are far below both.
      int64_t depth = kernel.body.type(kernel.body[kernel.hero].operands[0]).size();
      double difference = 0, tolerance = 1e-6 * std::sqrt(static_cast<double>(depth) + 10);
      for (int64_t i = 0; i < value.size(); ++i) {
        double x = value.at(i), y = whole[r].at(i);
        if (x == y || (std::isnan(x) && std::isnan(y))) continue;
        difference = std::max(difference, std::isnan(x - y) ? INFINITY : std::abs(x - y));
      }
      INFO("result " << r << " differs by " << difference);
      CHECK(difference <= tolerance);
    }
    if (kernel.units < 2 || nan) continue;
    for (int64_t cut : {kernel.units / 2, kernel.units / 3, int64_t{1}})
      if (cut > 0) CHECK(compiled.run(inputs, {cut}) == whole);
  }
}
}  // namespace

TEST_CASE("precisions below f32: sizes and orders of indices", "[bf16]") {
  if (skipped()) return;
  std::mt19937 random(1);
  for (Precision precision : {Precision::bf16, Precision::bf16x3})
    for (const char* spec : {"mk,kn->mn", "km,kn->mn", "mk,nk->mn", "km,nk->mn"})
      for (auto [m, n, k] : {std::array{1, 1, 1}, {1, 10, 7}, {14, 32, 16}, {13, 33, 5}, {29, 10, 128}, {5, 1, 40}, {1, 200, 30}, {65, 47, 19}, {3, 130, 65}, {40, 16, 3}, {70, 100, 301}, {4, 5, 0}}) {
        check(product(spec, {{'m', m}, {'n', n}, {'k', k}}, 1, precision), random);
        if (k > 0) check(product(spec, {{'m', m}, {'n', n}, {'k', k}}, 1, precision), random, true);
      }
}

TEST_CASE("precisions below f32: long reductions, batches, dots, units along the lanes", "[bf16]") {
  if (skipped()) return;
  std::mt19937 random(2);
  for (Precision precision : {Precision::bf16, Precision::bf16x3}) {
    check(product("mk,kn->mn", {{'m', 70}, {'n', 40}, {'k', 5003}}, 1, precision), random);
    check(product("mk,nk->mn", {{'m', 64}, {'n', 130}, {'k', 777}}, 1, precision), random);   // turned
    check(product("mk,nk->mn", {{'m', 70}, {'n', 33}, {'k', 5003}}, 1, precision), random);
    check(product("km,kn->mn", {{'m', 700}, {'n', 20}, {'k', 2049}}, 1, precision), random);
    for (const char* spec : {"bmk,bkn->bmn", "bmk,bnk->bmn", "mbk,nbk->bmn", "mbk,kbn->mnb", "bkm,bkn->bmn", "bk,bkn->bn", "bmk,bk->bm", "bk,bk->b"})
      for (int64_t outer : {1, 2})
        check(product(spec, {{'b', 3}, {'m', 9}, {'n', 37}, {'k', 67}}, std::string(spec).ends_with(">b") ? 1 : outer, precision), random);
    check(product("mkl,kln->mn", {{'m', 20}, {'n', 24}, {'k', 5}, {'l', 7}}, 1, precision), random);
    check(product("k,kn->n", {{'n', 100}, {'k', 67}}, 1, precision), random);
    check(product("k,k->", {{'k', 1000}}, 0, precision), random);
  }
}

TEST_CASE("precisions below f32: operands that are views", "[bf16]") {
  if (skipped()) return;
  std::mt19937 random(3);
  auto views = [](Builder& b, Value x, Value y) {
    Value padded = b.make(ir::Op::pad, {x}, {{ir::Attr::low, std::vector<int64_t>{1, 0}}, {ir::Attr::high, std::vector<int64_t>{2, 3}}, {ir::Attr::interior, std::vector<int64_t>{0, 1}}, {ir::Attr::value, 0.25}});
    return std::pair{padded, b.make(ir::Op::reverse, {y}, {{ir::Attr::axes, std::vector<int64_t>{0}}})};
  };
  for (Precision precision : {Precision::bf16, Precision::bf16x3})
    for (const char* spec : {"mk,kn->mn", "nk,km->mn"}) {   // the left operand grows to 23 x 68 or 27 x 68
      char row = spec[0], lane = row == 'm' ? 'n' : 'm';
      check(product(spec, {{'m', 20}, {'n', 24}, {'k', 33}, {'q', 68}}, 1, precision, views, {std::string{row, 'k'}, std::string{'q', lane}}), random);
    }
}

TEST_CASE("precisions below f32: a row alone has the bits that it has among others", "[bf16]") {
  if (skipped()) return;
  for (Precision precision : {Precision::bf16, Precision::bf16x3}) {
    Kernel many = product("mk,kn->mn", {{'m', 100}, {'n', 40}, {'k', 4500}}, 1, precision), alone = product("mk,kn->mn", {{'m', 1}, {'n', 40}, {'k', 4500}}, 1, precision);
    auto inputs = random_inputs(many, 1, -1, 1);
    ir::Tensor first(alone.body.nodes[0].type);
    std::memcpy(first.bytes().data(), inputs[0].bytes().data(), first.bytes().size());
    for (const Target& target : bf16_targets()) {
      auto all = Compiled(many, target).run(inputs), one = Compiled(alone, target).run({first, inputs[1]});
      CHECK(std::memcmp(one[0].bytes().data(), all[0].bytes().data(), one[0].bytes().size()) == 0);
    }
  }
}

namespace {
// The second operand of a product, rounded: by a kernel of the pairs form, called piece by piece.
ir::Tensor rounded(const ir::Tensor& x, const ir::Layout& from, int64_t axis, const Target& target) {
  ir::Function body;
  Builder build(body);
  Value cast = build.cast(build.input("a0", x.type), ir::ElementType::bf16);
  Kernel kernel = finish(ir::Form::pairs, std::move(body), x.type.shape, 1, {cast});
  kernel.argument_layouts = {from};
  kernel.result_layouts = {ir::paired(x.type.shape, axis)};
  Compiled compiled(kernel, target);
  auto whole = compiled.run({x});
  for (int64_t unit = Kernel::unit_alignment; unit < kernel.units; unit += 3 * Kernel::unit_alignment) CHECK(compiled.run({x}, {unit}) == whole);
  if (kernel.units > 32) CHECK(compiled.run({x}, {8, 16, 32}) == whole);
  ir::Bindings expected = ir::evaluate(kernel.body, {{"a0", x}});
  CHECK(whole[0] == expected.at("r0"));
  return whole[0];
}
}  // namespace

TEST_CASE("precisions below f32: a matrix rounded beforehand gives the same bits", "[bf16]") {
  if (skipped()) return;
  std::mt19937 random(4);
  for (const char* spec : {"mk,kn->mn", "km,kn->mn", "mk,nk->mn", "kn,mk->mn"})
    for (auto [m, n, k] : {std::array{64, 64, 64}, {70, 80, 34}, {13, 48, 130}, {130, 176, 500}, {1, 32, 2}}) {
      Kernel plain = product(spec, {{'m', m}, {'n', n}, {'k', k}}, 1, Precision::bf16);
      INFO(ir::print(plain.body));
      auto inputs = random_inputs(plain, static_cast<uint32_t>(random()), -1, 1);
      const int matrix = spec[3] == 'm' ? 0 : 1;   // the operand that has the lanes
      const std::string letters = matrix == 0 ? "kn" : std::string(spec).substr(3, 2);
      const ir::Type type = inputs[matrix].type;
      Kernel shared = plain;
      for (ir::Node& node : shared.body.nodes)
        if (node.op == ir::Op::input && ir::argument_number(node) == static_cast<size_t>(matrix)) node.type.element = ir::ElementType::bf16, node.attrs.set(ir::Attr::element, ir::ElementType::bf16);
      const int64_t axis = letters[0] == 'k' ? 0 : 1;
      for (const Target& target : bf16_targets()) {
        auto expected = Compiled(plain, target).run(inputs);
        for (const ir::Layout& from : {ir::Layout(), ir::pitched(type.shape, type.shape[1] + 16), ir::blocked(type.shape, 1, 16)}) {
          auto given = inputs;
          given[matrix] = rounded(inputs[matrix], type.shape[1] % 16 ? ir::Layout() : from, axis, target);
          for (const ir::Layout& stored : {ir::paired(type.shape, axis), ir::Layout()}) {   // a row-major one is packed, as one of f32 is
            shared.argument_layouts.assign(2, {});
            shared.argument_layouts[matrix] = stored;
            if (m > 1) CHECK(plan_contract(shared, target).paired == (!stored.row_major() && !target.amx));
            Compiled compiled(shared, target);
            CHECK(compiled.run(given) == expected);
            if (m > 8) CHECK(compiled.run(given, {8}) == expected);
          }
        }
      }
    }
}

// AMX is read as assembly: it compiles anywhere. 64 rows x 64 lanes: blocks of two by two tiles, and for what remains of the rows one by two.
TEST_CASE("tiles of AMX: one tilezero an accumulator, no spills, one configuration", "[assembly]") {
  auto count = [](const std::string& text, const std::string& word) {
    int64_t found = 0;
    for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) ++found;
    return found;
  };
  struct Row {
    const char* spec;
    int64_t accumulators, loads;
  };
  for (auto [spec, accumulators, loads] : {Row{"mk,kn->mn", 4 + 2, 4 + 3}, Row{"km,kn->mn", 4 + 2, 4 + 3}, Row{"mk,nk->mn", 2 + 1 + 1, 3 + 3}})   // the last one turned: 16 lanes a call
    for (Precision precision : {Precision::bf16, Precision::bf16x3}) {
      std::string text = assembly(product(spec, {{'m', 64}, {'n', 64}, {'k', 128}}, 1, precision), *named_target("amx"));
      int64_t products = precision == Precision::bf16 ? 1 : 3, parts = precision == Precision::bf16 ? 1 : 2;
      INFO(spec << "\n" << text);
      CHECK(count(text, "\ttilezero") == accumulators);
      CHECK(count(text, "\ttilestored") == accumulators);
      CHECK(count(text, "\ttdpbf16ps") == accumulators * products);
      CHECK(count(text, "\ttileloadd") == loads * parts);
      CHECK(count(text, "\tldtilecfg") == 1);
      CHECK(count(text, "\tcall") == 0);
      CHECK(count(text, ".type\tkernel,@function") == 1);
      CHECK(count(text, "@function") == 1);
      // The configuration is loaded before the first tile is used, and nothing jumps back to before it.
      size_t loaded = text.find("\tldtilecfg");
      CHECK(loaded < text.find("\ttilezero"));
      for (size_t at = text.find("\tj", loaded); at != text.npos; at = text.find("\tj", at + 1)) {
        size_t label = text.find(".LBB", at), line = text.find('\n', at);
        if (label == text.npos || label > line) continue;
        size_t target = text.find("\n" + text.substr(label, text.find_first_of(" \t\n#", label) - label) + ":");
        CHECK((target == text.npos || target > loaded));
      }
    }
}
