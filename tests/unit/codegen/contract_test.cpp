// Contract kernels against the reference evaluation: every kind of spec, odd sizes, every target that this machine runs, and
// the same bits however the units are split.
#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>

#include "codegen/contract_plan.h"
#include "contract_check.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "kernel_harness.h"
#include "passes/fusion.h"

using namespace gradc;
using namespace gradc::codegen;
using namespace gradc::codegen::test;
using ir::Attr, ir::Builder, ir::ElementType, ir::Kernel, ir::Op, ir::Shape, ir::Value;

TEST_CASE("matrix products of many sizes", "[contract]") {
  std::mt19937 random(1);
  for (const char* spec : {"mk,kn->mn", "km,kn->mn", "mk,nk->mn", "km,nk->mn"})
    for (auto [m, n, k] : {std::array{1, 1, 1}, {1, 10, 7}, {14, 32, 16}, {13, 33, 5}, {29, 10, 128}, {5, 1, 40}, {1, 200, 30}, {65, 47, 19}, {3, 130, 64}, {40, 16, 3}, {4, 5, 0}})
      check(contract_kernel(spec, {{'m', m}, {'n', n}, {'k', k}}, 1), random);
}

TEST_CASE("every number of rows gives the same bits as single rows", "[contract]") {
  std::mt19937 random(2);
  Kernel kernel = contract_kernel("mk,kn->mn", {{'m', 100}, {'n', 40}, {'k', 37}}, 1);
  auto inputs = random_inputs(kernel, 1, -1, 1);
  // A batch of one is a kernel of its own.
  Kernel alone = contract_kernel("mk,kn->mn", {{'m', 1}, {'n', 40}, {'k', 37}}, 1);
  ir::Tensor first(alone.body.nodes[0].type);
  std::memcpy(first.bytes().data(), inputs[0].bytes().data(), first.bytes().size());
  for (const Target& target : targets()) {
    INFO(target.name);
    Compiled compiled(kernel, target);
    std::vector<int64_t> single;
    for (int64_t i = 1; i < 100; ++i) single.push_back(i);
    auto expected = compiled.run(inputs, single);
    for (int64_t height = 2; height < 60; ++height) CHECK(compiled.run(inputs, {height, 99 - height % 7}) == expected);
    auto row = Compiled(alone, target).run({first, inputs[1]});
    CHECK(std::memcmp(row[0].bytes().data(), expected[0].bytes().data(), row[0].bytes().size()) == 0);
  }
}

TEST_CASE("batches, vectors, scalars and several indices of a kind", "[contract]") {
  std::mt19937 random(3);
  std::map<char, int64_t> e = {{'a', 3}, {'b', 2}, {'m', 9}, {'i', 4}, {'n', 21}, {'j', 5}, {'k', 18}, {'l', 3}};
  for (const char* spec : {"bmk,bkn->bmn", "abmk,abnk->abmn", "mk,k->m", "k,kn->n", "km,k->m", "k,k->", "m,n->mn", "b,b->b", "bm,bn->bmn", "bmk,bkn->mnb", "mik,knj->minj",
                           "imk,nkj->minj", "mkl,lkn->mn", "klm,lkn->nm", "mib,njb->mnbij", "bk,bk->b", "kb,kb->b", "kb,kmb->mb", "bmk,bkn->nbm", "bmik,kn->bmin", "m,m->m", "mk,kn->nm"}) {
    int64_t rank = static_cast<int64_t>(std::get<ir::ContractSpec>(ir::ContractSpec::parse(spec)).result.size());
    for (int64_t outer = 0; outer <= rank; ++outer) check(contract_kernel(spec, e, outer), random);
  }
}

TEST_CASE("a tensor with itself", "[contract]") {
  std::mt19937 random(8);
  for (const char* spec : {"mk,kn->mn", "mk,nk->mn", "mk,mk->m", "mn,mn->mn", "mk,mk->"}) {
    ir::Function body;
    Builder build(body);
    Value a = build.input("a0", {ElementType::f32, {19, 19}}), hero = build.contract(spec, a, a);
    int64_t outer = body.type(hero).rank() > 0;
    check(finish_contract(std::move(body), hero, outer, {hero}), random);
  }
}

TEST_CASE("long reductions wait in scratch between blocks", "[contract]") {
  std::mt19937 random(4);
  for (const char* spec : {"mk,kn->mn", "km,kn->mn", "mk,nk->mn", "mk,k->m"}) check(contract_kernel(spec, {{'m', 70}, {'n', 50}, {'k', 5003}}, 1), random);
}

TEST_CASE("contracts in f64", "[contract]") {
  std::mt19937 random(5);
  for (const char* spec : {"mk,kn->mn", "mk,nk->mn", "mk,k->m", "bmk,bkn->bmn"})
    check(contract_kernel(spec, {{'b', 2}, {'m', 17}, {'n', 19}, {'k', 23}}, 1, ElementType::f64), random);
}

namespace {
// Adds an input and views that show it with the given shape: what fusion may leave between a buffer and a contract.
class RandomViews {
 public:
  RandomViews(Builder& build, std::mt19937& random) : build_(build), random_(random) {}

  Value operand(const Shape& shape, ElementType element) {
    int views = pick(0, 3);
    return make(shape, element, views);
  }

 private:
  Builder& build_;
  std::mt19937& random_;
  int inputs_ = 0;

  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  // A value of this shape that ends in `views` views: each choice makes the operand that a view needs.
  Value make(const Shape& shape, ElementType element, int views) {
    int64_t rank = static_cast<int64_t>(shape.size());
    if (views == 0) {
      ElementType stored = pick(0, 5) ? element : element == ElementType::f32 ? (pick(0, 1) ? ElementType::u8 : ElementType::f64) : ElementType::f32;
      return build_.cast(build_.input("a" + std::to_string(inputs_++), {stored, shape}), element);
    }
    auto next = [&](const Shape& s) { return make(s, element, views - 1); };
    auto spread = [&](int64_t value) { return std::vector<int64_t>(rank, value); };
    switch (pick(0, 7)) {
      case 0: {
        std::vector<int64_t> axes(rank);
        for (int64_t i = 0; i < rank; ++i) axes[i] = i;
        std::shuffle(axes.begin(), axes.end(), random_);
        Shape from(rank);
        for (int64_t i = 0; i < rank; ++i) from[axes[i]] = shape[i];
        return build_.transpose(next(from), axes);
      }
      case 1: {   // merged or split differently
        int64_t size = ir::shape_size(shape), left = 1;
        for (int64_t d : {2, 3, 4, 5, 7})
          if (size % d == 0 && pick(0, 1)) left = d;
        return build_.reshape(next({left, size / left}), shape);
      }
      case 2: {
        Shape kept;
        std::vector<int64_t> axes;
        for (int64_t i = 0; i < rank; ++i)
          if (pick(0, 2)) axes.push_back(i), kept.push_back(shape[i]);
        return build_.broadcast(next(kept), shape, axes);
      }
      case 3: {
        auto start = spread(0), limit = shape, stride = spread(1);
        Shape from = shape;
        for (int64_t i = 0; i < rank; ++i) {
          start[i] = pick(0, 2), stride[i] = pick(1, 2);
          limit[i] = start[i] + (shape[i] - 1) * stride[i] + 1;
          from[i] = limit[i] + pick(0, 1);
        }
        return build_.slice(next(from), start, limit, stride);
      }
      case 4: {
        auto low = spread(0), high = spread(0), interior = spread(0);
        Shape from = shape;
        for (int64_t i = 0; i < rank; ++i) {
          if (shape[i] >= 3) from[i] -= low[i] = pick(0, 1);
          if (shape[i] >= 3) from[i] -= high[i] = pick(0, 1);
          if (from[i] % 2 == 1 && pick(0, 3) == 0) interior[i] = 1, from[i] = (from[i] + 1) / 2;
        }
        return build_.make(Op::pad, {next(from)}, {{Attr::low, low}, {Attr::high, high}, {Attr::interior, interior}, {Attr::value, pick(0, 1) * 0.5}});
      }
      case 5: {
        std::vector<int64_t> axes;
        for (int64_t i = 0; i < rank; ++i)
          if (pick(0, 1)) axes.push_back(i);
        return build_.make(Op::reverse, {next(shape)}, {{Attr::axes, axes}});
      }
      default: {   // a window over one axis: [positions, size] from one that is as long as they reach
        if (rank < 2) return next(shape);
        int64_t axis = pick(0, static_cast<int>(rank) - 2);
        int64_t stride = pick(1, 2), dilation = pick(1, 2), reach = stride * (shape[axis] - 1) + dilation * (shape[axis + 1] - 1) + 1;
        int64_t low = reach > 2 ? pick(0, 1) : 0, high = reach > 2 ? pick(0, 1) : 0;
        Shape from = shape;
        from.erase(from.begin() + axis + 1);
        from[axis] = reach - low - high;
        using List = std::vector<int64_t>;
        return build_.make(Op::windows, {next(from)},
                           {{Attr::axes, List{axis}}, {Attr::size, List{shape[axis + 1]}}, {Attr::stride, List{stride}}, {Attr::dilation, List{dilation}}, {Attr::low, List{low}}, {Attr::high, List{high}}, {Attr::value, 0.25}});
      }
    }
  }
};

Kernel random_kernel(std::mt19937& random) {
  auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  ir::ContractSpec spec;
  std::map<char, int64_t> extents;
  const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 33, 40};
  char next = 'a';
  int64_t budget = 60000;
  auto letters = [&](int most, std::initializer_list<std::string*> lists) {
    for (int count = pick(0, most); count > 0; --count) {
      int64_t size = sizes[pick(0, std::size(sizes) - 1)];
      if (size > budget) size = 1;
      budget /= size;
      extents[next] = size;
      for (std::string* list : lists) *list += next;
      ++next;
    }
  };
  letters(2, {&spec.a, &spec.b});   // reduced
  letters(pick(0, 2), {&spec.a, &spec.b, &spec.result});
  letters(2, {&spec.a, &spec.result});
  letters(2, {&spec.b, &spec.result});
  for (std::string* list : {&spec.a, &spec.b, &spec.result}) std::shuffle(list->begin(), list->end(), random);
  auto shape_of = [&](const std::string& list) {
    Shape shape;
    for (char c : list) shape.push_back(extents.at(c));
    return shape;
  };
  ir::Function body;
  Builder build(body);
  ElementType element = pick(0, 4) ? ElementType::f32 : ElementType::f64;
  RandomViews views(build, random);
  Value a = views.operand(shape_of(spec.a), element), b = views.operand(shape_of(spec.b), element);
  Value hero = build.contract(spec.text(), a, b), result = hero;
  std::vector<Value> results;
  if (pick(0, 1)) {   // a bias, an activation, another result
    Value bias = views.operand(build.type(result).shape, element);
    result = build.make(Op::add, {result, bias});
    if (pick(0, 1)) result = build.make(Op::max, {result, build.like(0, result)});
    if (pick(0, 1)) results.push_back(build.make(Op::mul, {result, bias}));
  }
  results.push_back(result);
  return finish_contract(std::move(body), hero, pick(0, static_cast<int>(spec.result.size())), results);
}
}  // namespace

TEST_CASE("random contracts of random views", "[contract]") {
  std::mt19937 random(6);
  auto all = targets();
  for (int round = 0; round < 150; ++round) check(random_kernel(random), random, {all[round % all.size()]}, 20);
}

namespace {
std::vector<Value> dense_layer(Builder& b, Value product, Op activation) {
  Shape shape = b.type(product).shape;
  Value bias = b.broadcast(b.input("a2", {b.type(product).element, {shape.back()}}), shape, {static_cast<int64_t>(shape.size()) - 1});
  return {b.make(activation, {b.make(Op::add, {product, bias})})};
}
}  // namespace

TEST_CASE("epilogues: layers, masks of derivatives, updates in place", "[contract]") {
  std::mt19937 random(7);
  for (auto [m, n, k] : {std::array{32, 48, 20}, {45, 10, 33}, {3, 70, 8}, {100, 21, 12}}) {
    std::map<char, int64_t> e = {{'m', m}, {'n', n}, {'k', k}};
    for (Op activation : {Op::tanh, Op::sigmoid, Op::exp, Op::erf})
      check(contract_kernel("mk,kn->mn", e, 1, ElementType::f32, [&](Builder& b, Value x) { return dense_layer(b, x, activation); }), random, targets(), 4);
    check(contract_kernel("km,kn->mn", e, 1, ElementType::f32, adam, {2, 3, 4}), random, targets(), 40);
    check(contract_kernel("mk,nk->mn", e, 1, ElementType::f32, [](Builder& b, Value x) {
            Value y = b.input("a2", b.type(x));
            return std::vector<Value>{b.make(Op::select, {b.make(Op::gt, {y, b.like(0, y)}), x, b.like(0, x)})};
          }), random);
  }
}

TEST_CASE("updates run between the products of the next tile", "[contract]") {
  std::mt19937 random(9);
  // Rows: tiles of all heights and blocks of them; reductions: rounds for one row, for several, too few for all, with remainders.
  for (auto [m, n, k] : {std::array{150, 48, 100}, {9, 32, 8}, {81, 16, 13}, {64, 64, 32}, {1, 16, 16}, {16, 128, 200}}) {
    Kernel kernel = contract_kernel("km,kn->mn", {{'m', m}, {'n', n}, {'k', k}}, 1, ElementType::f32, adam, {2, 3, 4});
    for (const Target& target : targets()) CHECK(plan_contract(kernel, target).deferred == (target.registers >= 32));
    check(kernel, random, targets(), 40);
  }
}

TEST_CASE("no inner loop touches the stack", "[contract]") {
  for (const Target& target : targets()) {
    if (!target.fma) continue;
    INFO(target.name);
    for (bool update : {false, true}) {
      std::map<char, int64_t> e = {{'m', 64}, {'n', 64}, {'k', 128}};
      Kernel kernel = update ? contract_kernel("km,kn->mn", e, 1, ElementType::f32, adam, {2, 3, 4}) : contract_kernel("mk,kn->mn", e, 0);
      auto plan = plan_contract(kernel, target);
      INFO(fmt::format("{} x {}", plan.heights[0], plan.vectors));
      check_tiles(kernel, target, 4 * plan.heights[0] * plan.vectors);
    }
    // As in programs: matrices in blocks of 16 columns, the weight and its moments so large that they are asked for ahead.
    Kernel kernel = contract_kernel("km,kn->mn", {{'m', 1024}, {'n', 1024}, {'k', 128}}, 1, ElementType::f32, adam, {2, 3, 4});
    auto blocks = [](const ir::Type& type) { return type.rank() == 2 ? ir::blocked(type.shape, 1, 16) : ir::Layout(); };
    for (const ir::Node& node : kernel.body.nodes)
      if (node.op == Op::input) kernel.argument_layouts.push_back(blocks(node.type));
    for (const ir::Result& result : kernel.body.results) kernel.result_layouts.push_back(blocks(kernel.body.type(result.value)));
    auto plan = plan_contract(kernel, target);
    CHECK(plan.prefetched == (target.registers >= 32));
    check_tiles(kernel, target, 4 * plan.heights[0] * plan.vectors);
  }
}

TEST_CASE("products with few rows are shared out by columns") {
  std::mt19937 random(5);
  struct Case {
    std::string spec;
    std::map<char, int64_t> extents;
    int64_t outer;
  };
  auto with_bias = [](Builder& build, Value hero) {
    const Shape& shape = build.type(hero).shape;
    Value bias = build.input("a2", {build.type(hero).element, {shape.back()}});
    return std::vector<Value>{build.map(Op::max, {build.map(Op::add, {hero, bias}), build.scalar(0, build.type(hero).element)})};
  };
  for (const Case& c : {Case{"mk,kn->mn", {{'m', 32}, {'k', 100}, {'n', 256}}, 1}, Case{"mk,kn->mn", {{'m', 5}, {'k', 400}, {'n', 333}}, 1},
                        Case{"k,kn->n", {{'k', 700}, {'n', 1000}}, 0}, Case{"km,kn->mn", {{'m', 17}, {'k', 150}, {'n', 250}}, 1}})
    for (ElementType element : {ElementType::f32, ElementType::f64}) {
      Kernel kernel = contract_kernel(c.spec, c.extents, c.outer, element, with_bias);
      share_out_columns(kernel, true);
      CHECK(kernel.units == (c.extents.at('n') + 63) / 64);
      check(kernel, random);
    }
  // Many rows are units enough; a matrix whose columns lie apart is read by its rows.
  for (const Case& c : {Case{"mk,kn->mn", {{'m', 128}, {'k', 100}, {'n', 1024}}, 1}, Case{"mk,nk->mn", {{'m', 32}, {'k', 256}, {'n', 256}}, 1}}) {
    Kernel kernel = contract_kernel(c.spec, c.extents, c.outer);
    share_out_columns(kernel, true);
    CHECK(kernel.units == c.extents.at('m'));
  }
}

TEST_CASE("behind columns that are packed, an epilogue reads the value of each row, however those values lie") {
  for (int64_t rows : {7, 9, 12, 40})
    for (const Target& target : targets()) {
      ir::Function f;
      Builder b(f);
      Value y = b.contract("amn,kn->amk", b.input("x", {ElementType::f32, {2, rows, 24}}), b.input("w", {ElementType::f32, {16, 24}}));
      Value s = b.input("s", {ElementType::f32, {2, rows}});
      f.results = {{"z", b.map(Op::mul, {y, b.broadcast(s, b.type(y).shape, {0, 1})}), false}};
      std::vector<ir::KernelCall> calls = passes::fuse(f);
      REQUIRE(calls.size() == 1);
      Kernel& kernel = calls[0].kernel;
      kernel.argument_layouts.resize(calls[0].arguments.size());
      for (size_t a = 0; a < calls[0].arguments.size(); ++a)
        if (calls[0].arguments[a] == s) kernel.argument_layouts[a] = ir::pitched({2, rows}, (rows + 15) / 16 * 16);
      INFO(rows << " rows on " << target.name);
      CHECK(difference(kernel, -1, 1) == "");
    }
}
