// gather as an element of map, row and column kernels, and the scatter form, against the reference evaluation on every target: indices are random in -5 to 5 (bytes 0 to 10),
// so that some are out of range.
#include <catch2/catch.hpp>

#include "ir/text.h"
#include "kernel_harness.h"

using namespace gradc;
using namespace gradc::ir;
using namespace gradc::codegen::test;

namespace {
const ElementType elements[] = {ElementType::f32, ElementType::f64, ElementType::bf16, ElementType::i32, ElementType::i64, ElementType::u8, ElementType::boolean};

Value gather(Builder& b, Value x, Value index, int64_t axis = 0, int64_t batch = 0) { return b.make(Op::gather, {x, index}, {{Attr::axis, axis}, {Attr::batch, batch}}); }

Kernel scatter_kernel(Function f, Value hero) {
  const Shape shape = f.type(hero).shape;
  const int64_t outer = f[hero].attrs.integer(Attr::axis) + 1;
  Kernel kernel = finish(Form::scatter, std::move(f), shape, outer, {hero});
  kernel.hero = hero;
  return kernel;
}
}  // namespace

TEST_CASE("gather in the map form", "[kernel]") {
  for (ElementType element : elements)
    for (ElementType by : {ElementType::i32, ElementType::i64, ElementType::u8})
      for (int64_t inner : {1, 5, 16, 70}) {
        INFO(element_name(element) << " by " << element_name(by) << ", rows of " << inner);
        Function f;
        Builder b(f);
        Value table = b.input("a0", {element, {4, inner}}), index = b.input("a1", {by, {3, 11}});
        Value rows = gather(b, table, index);
        Function flat = f;
        CHECK(difference(finish(Form::map, flat, {3, 11, inner}, 0, {rows})) == "");
        CHECK(difference(finish(Form::map, f, {3, 11, inner}, 1, {rows})) == "");
      }
}

TEST_CASE("gather along inner and batch axes, through views, of maps and by maps", "[kernel]") {
  for (int64_t n : {1, 3, 16, 33}) {
    Function f;
    Builder b(f);
    Value x = b.input("a0", {ElementType::f32, {2, 4, n}}), index = b.input("a1", {ElementType::i32, {2, n}}), one = b.input("a2", {ElementType::i32, {}});
    auto shifted = [&](Value v) { return b.map(Op::add, {v, one}); };
    auto check = [&](Value v) {
      for (int64_t outer : {0, 1}) {
        INFO(print(f) << "outer " << outer);
        Function body = f;
        CHECK(difference(finish(Form::map, body, b.type(v).shape, outer, {v})) == "");
      }
    };
    check(gather(b, x, shifted(index), 1, 1));                                                              // [2, n, n]
    check(gather(b, x, index, 2));                                                                          // lanes along the index
    check(gather(b, b.transpose(x, {0, 2, 1}), shifted(index), 2, 1));                                      // rows of a transposed table
    check(gather(b, b.make(Op::exp, {x}), one, 1));                                                         // of a map, by a scalar
    check(gather(b, b.make(Op::pad, {x}, {{Attr::low, Shape{0, 1, 0}}, {Attr::high, Shape{0, 1, 2}}, {Attr::interior, Shape{0, 0, 0}}, {Attr::value, 7.0}}), index, 1));
    check(gather(b, b.reshape(x, {8 * n}), index));
    check(gather(b, gather(b, x, index, 1), index, 0));                                                     // twice
    check(gather(b, b.iota({ElementType::i32, {2, 4, n}}, 1), index, 1));
    check(b.make(Op::pad, {gather(b, x, index, 1)}, {{Attr::low, Shape{1, 0, 0, 1}}, {Attr::high, Shape{0, 0, 1, 1}}, {Attr::interior, Shape{0, 0, 0, 1}}, {Attr::value, 2.0}}));
    check(b.reshape(b.transpose(gather(b, x, index, 1), {2, 0, 3, 1}), {4 * n, n}));
  }
}

TEST_CASE("gather of random numbers and of what has one row or none", "[kernel]") {
  Function f;
  Builder b(f);
  Type key{ElementType::i64, {}};
  Value seed = b.input("a0", key), step = b.input("a1", key), index = b.input("a2", {ElementType::i32, {50}});
  Value r = b.make(Op::random, {seed, step, b.constant(0, key)}, {{Attr::distribution, std::string("uniform")}, {Attr::site, int64_t{3}}, {Attr::element, ElementType::f32}, {Attr::shape, Shape{4, 5}}});
  Value one = b.iota({ElementType::f32, {1, 5}}, 1), none = b.constant(3, {ElementType::f32, {0, 5}});
  auto keyed = [&](Kernel kernel) {
    std::vector<Tensor> inputs = random_inputs(kernel, 1, 0, 1);
    return difference(kernel, inputs);
  };
  Function second = f;
  std::vector<Value> rows = {gather(b, r, index), gather(b, one, index), gather(b, none, index)};
  CHECK(keyed(finish(Form::map, f, {50, 5}, 0, rows)) == "");
  Builder c(second);
  Value across = gather(c, r, index, 1);   // lanes along the index
  CHECK(keyed(finish(Form::map, second, {4, 50}, 0, {across})) == "");
}

TEST_CASE("gather in rows and columns", "[kernel]") {
  for (int64_t n : {5, 16, 100}) {
    Function f;
    Builder b(f);
    Value table = b.input("a0", {ElementType::f32, {4, n}}), index = b.input("a1", {ElementType::i32, {9}}), x = b.input("a2", {ElementType::f32, {9, n}}), values = b.input("a3", {ElementType::f32, {n}});
    Value y = b.make(Op::add, {gather(b, table, index), x});
    Value sum = b.reduce(Op::reduce_sum, b.make(Op::mul, {y, y}), {1});
    Value at = gather(b, values, b.make(Op::argmax, {y}, {{Attr::axis, int64_t{1}}}));   // of the row's largest element
    Value scaled = b.make(Op::mul, {y, b.broadcast(sum, {9, n}, {0})});
    Function columns = f;
    CHECK(difference(finish(Form::row, f, {9, n}, 1, {sum, at, scaled})) == "");
    Builder c(columns);
    Value total = c.reduce(Op::reduce_sum, y, {0});
    CHECK(difference(finish(Form::column, columns, {9, n}, 1, {total})) == "");
  }
}

TEST_CASE("scatter_add: owners of rows add in order", "[kernel]") {
  for (ElementType element : {ElementType::f32, ElementType::f64, ElementType::i32, ElementType::i64, ElementType::u8})
    for (ElementType by : {ElementType::i32, ElementType::i64, ElementType::u8})
      for (int64_t inner : {1, 5, 16, 70, 300}) {
        INFO(element_name(element) << " by " << element_name(by) << ", rows of " << inner);
        Function f;
        Builder b(f);
        Value index = b.input("a0", {by, {3, 11}}), updates = b.input("a1", {element, {3, 11, inner}});
        Value hero = b.make(Op::scatter_add, {index, updates}, {{Attr::axis, int64_t{0}}, {Attr::batch, int64_t{0}}, {Attr::extent, int64_t{9}}});
        CHECK(difference(scatter_kernel(f, hero)) == "");
      }
}

TEST_CASE("scatter_add with batch and outer axes, of maps and views, on scalars", "[kernel]") {
  for (int64_t n : {1, 3, 16, 33}) {
    auto check = [&](Shape index, Shape updates, int64_t axis, int64_t batch, auto change) {
      Function f;
      Builder b(f);
      Value at = b.input("a0", {ElementType::i32, index}), x = change(b, b.input("a1", {ElementType::f32, updates}));
      Value hero = b.make(Op::scatter_add, {b.map(Op::add, {at, b.scalar(1, ElementType::i32)}), x}, {{Attr::axis, axis}, {Attr::batch, batch}, {Attr::extent, int64_t{5}}});
      INFO(print(f));
      CHECK(difference(scatter_kernel(f, hero)) == "");
    };
    auto same = [](Builder&, Value x) { return x; };
    check({2, 7}, {2, 7, n}, 1, 1, same);
    check({2, 7}, {2, 3, 7, n}, 2, 1, same);
    check({7}, {2, 3, 7, n}, 2, 0, same);
    check({7, 2}, {3, 7, 2}, 1, 0, same);
    check({}, {4, n}, 1, 0, same);
    check({2, 7}, {n, 7, 2}, 1, 1, [](Builder& b, Value x) { return b.make(Op::exp, {b.transpose(x, {2, 1, 0})}); });
    check({7}, {7, 3, n}, 0, 0, [](Builder& b, Value x) { return b.transpose(b.make(Op::mul, {x, x}), {0, 2, 1}); });
  }
}

TEST_CASE("sums of a scatter do not depend on how its rows are shared out", "[kernel]") {
  Function f;
  Builder b(f);
  Value index = b.input("a0", {ElementType::i32, {400}}), updates = b.input("a1", {ElementType::f32, {400, 19}});
  Value hero = b.make(Op::scatter_add, {index, updates}, {{Attr::axis, int64_t{0}}, {Attr::batch, int64_t{0}}, {Attr::extent, int64_t{37}}});
  Kernel kernel = scatter_kernel(f, hero);
  std::vector<Tensor> inputs = random_inputs(kernel, 7, -1, 1);
  for (const codegen::Target& target : targets()) {
    Compiled compiled(kernel, target);
    const std::vector<Tensor> whole = compiled.run(inputs);
    for (std::vector<int64_t> cuts : {std::vector<int64_t>{1}, {2, 3, 5}, {8, 16, 24, 32}}) CHECK(compiled.run(inputs, cuts) == whole);
  }
}
