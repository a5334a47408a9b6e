// Shape rules: what each gives, and what each says when operands and attributes do not fit.
#include <catch2/catch.hpp>

#include "ir/infer.h"

using namespace gradc::ir;
using enum ElementType;

namespace {
// The type as text, or the error.
std::string infer(Op op, std::vector<Type> operands, Attrs attrs = {}) {
  Inferred result = infer_type(op, operands, attrs);
  if (auto* error = std::get_if<std::string>(&result)) return *error;
  return to_string(std::get<Type>(result));
}

Type t(ElementType element, Shape shape = {}) { return {element, std::move(shape)}; }
const Type x = t(f32, {2, 3});
Shape list(std::initializer_list<int64_t> items) { return items; }
}  // namespace

TEST_CASE("shape rules: every operation refuses the wrong number of operands") {
  for (Op op : all_ops()) {
    if (info(op).operands < 0) continue;
    std::vector<Type> operands(info(op).operands + 1, x);
    std::string error = infer(op, operands);
    std::string count = std::to_string(info(op).operands) + (info(op).operands == 1 ? " operand" : " operands");
    CHECK(error == std::string(info(op).name) + " takes " + count + ", got " + std::to_string(info(op).operands + 1));
  }
}

TEST_CASE("shape rules: every operation refuses to go without one of its attributes") {
  for (Op op : all_ops()) {
    if (info(op).attributes.empty()) continue;
    std::vector<Type> operands(std::max(info(op).operands, 0), x);
    CHECK(infer(op, operands) == std::string(info(op).name) + " lacks attribute " + std::string(attr_name(info(op).attributes[0])));
  }
}

TEST_CASE("shape rules: maps want equal types of the right kind") {
  CHECK(infer(Op::neg, {x}) == "f32[2, 3]");
  CHECK(infer(Op::neg, {t(i32, {4})}) == "i32[4]");
  CHECK(infer(Op::neg, {t(boolean, {4})}) == "neg: needs numbers, got bool[4]");
  CHECK(infer(Op::exp, {t(bf16, {4})}) == "bf16[4]");
  CHECK(infer(Op::exp, {t(i32, {4})}) == "exp: needs floating-point numbers, got i32[4]");
  CHECK(infer(Op::not_, {t(boolean, {4})}) == "bool[4]");
  CHECK(infer(Op::not_, {x}) == "not: needs bools, got f32[2, 3]");
  CHECK(infer(Op::is_finite, {x}) == "bool[2, 3]");
  CHECK(infer(Op::is_finite, {t(u8)}) == "is_finite: needs floating-point numbers, got u8[]");
  CHECK(infer(Op::add, {x, x}) == "f32[2, 3]");
  CHECK(infer(Op::add, {x, t(f32, {3})}) == "add: operands differ: f32[2, 3] and f32[3]");
  CHECK(infer(Op::add, {x, t(f64, {2, 3})}) == "add: operands differ: f32[2, 3] and f64[2, 3]");
  CHECK(infer(Op::div, {t(i32), t(i32)}) == "div: needs floating-point numbers, got i32[]");
  CHECK(infer(Op::idiv, {t(u8), t(u8)}) == "u8[]");
  CHECK(infer(Op::idiv, {x, x}) == "idiv: needs integers, got f32[2, 3]");
  CHECK(infer(Op::lt, {x, x}) == "bool[2, 3]");
  CHECK(infer(Op::lt, {t(boolean), t(boolean)}) == "lt: needs numbers, got bool[]");
  CHECK(infer(Op::eq, {t(boolean), t(boolean)}) == "bool[]");
  CHECK(infer(Op::eq, {t(boolean), t(u8)}) == "eq: operands differ: bool[] and u8[]");
  CHECK(infer(Op::cast, {x}, {{Attr::element, u8}}) == "u8[2, 3]");
  CHECK(infer(Op::select, {t(boolean, {2, 3}), x, x}) == "f32[2, 3]");
  CHECK(infer(Op::select, {x, x, x}) == "select: the condition is f32[2, 3], not bool");
  CHECK(infer(Op::select, {t(boolean, {2, 3}), x, t(f32, {3, 2})}) == "select: the choices differ: f32[2, 3] and f32[3, 2]");
  CHECK(infer(Op::select, {t(boolean, {3}), x, x}) == "select: condition bool[3] and choices f32[2, 3] differ in shape");
}

TEST_CASE("shape rules: views") {
  CHECK(infer(Op::reshape, {x}, {{Attr::shape, list({6, 1})}}) == "f32[6, 1]");
  CHECK(infer(Op::reshape, {x}, {{Attr::shape, list({7})}}) == "reshape: cannot reshape f32[2, 3] to [7]: 6 and 7 elements");
  CHECK(infer(Op::reshape, {x}, {{Attr::shape, list({-2, -3})}}) == "reshape: negative extent in f32[-2, -3]");
  CHECK(infer(Op::broadcast, {t(f32)}, {{Attr::shape, list({1 << 30, 1 << 30})}, {Attr::axes, list({})}}) == "broadcast: f32[1073741824, 1073741824] has more than 2^48 elements");
  CHECK(infer(Op::transpose, {x}, {{Attr::axes, list({1, 0})}}) == "f32[3, 2]");
  for (Shape axes : {list({1}), list({1, 1}), list({0, 2}), list({-1, 0})})
    CHECK(infer(Op::transpose, {x}, {{Attr::axes, axes}}) == "transpose: axes " + to_string(axes) + " are no permutation for f32[2, 3]");

  auto broadcast = [](Shape shape, Shape axes) { return infer(Op::broadcast, {x}, {{Attr::shape, shape}, {Attr::axes, axes}}); };
  CHECK(broadcast({2, 5, 3}, {0, 2}) == "f32[2, 5, 3]");
  CHECK(broadcast({3, 2}, {1, 0}) == "broadcast: axes [1, 0] are not increasing positions below 2");
  CHECK(broadcast({2, 3}, {0, 2}) == "broadcast: axes [0, 2] are not increasing positions below 2");
  CHECK(broadcast({2, 3}, {0}) == "broadcast: 1 axes for f32[2, 3]");
  CHECK(broadcast({2, 4}, {0, 1}) == "broadcast: cannot broadcast f32[2, 3] to [2, 4]: axis 1 is 4 there");

  auto slice = [](Shape start, Shape limit, Shape stride) { return infer(Op::slice, {x}, {{Attr::start, start}, {Attr::limit, limit}, {Attr::stride, stride}}); };
  CHECK(slice({0, 1}, {2, 3}, {1, 2}) == "f32[2, 1]");
  CHECK(slice({0, 0}, {2, 0}, {1, 1}) == "f32[2, 0]");
  CHECK(slice({0}, {2, 3}, {1, 1}) == "slice: start has 1 entries, needs 2");
  CHECK(slice({0, 0}, {2, 4}, {1, 1}) == "slice: slice 0:4:1 does not fit axis 1 of f32[2, 3]");
  CHECK(slice({0, 2}, {2, 1}, {1, 1}) == "slice: slice 2:1:1 does not fit axis 1 of f32[2, 3]");
  CHECK(slice({0, 0}, {2, 3}, {1, 0}) == "slice: slice 0:3:0 does not fit axis 1 of f32[2, 3]");
  CHECK(slice({-1, 0}, {2, 3}, {1, 1}) == "slice: slice -1:2:1 does not fit axis 0 of f32[2, 3]");

  auto pad = [](Shape low, Shape high, Shape interior) { return infer(Op::pad, {x}, {{Attr::low, low}, {Attr::high, high}, {Attr::interior, interior}, {Attr::value, 0.0}}); };
  CHECK(pad({1, 0}, {0, 2}, {0, 1}) == "f32[3, 7]");
  CHECK(pad({1, 0}, {0, 2}, {0}) == "pad: interior has 1 entries, needs 2");
  CHECK(pad({1, 0}, {0, -2}, {0, 1}) == "pad: padding 0, -2, 1 of axis 1 is negative");

  CHECK(infer(Op::reverse, {x}, {{Attr::axes, list({0, 1})}}) == "f32[2, 3]");
  CHECK(infer(Op::after, {x, {ElementType::i32, {7}}}, {}) == "f32[2, 3]");
  CHECK(infer(Op::reverse, {x}, {{Attr::axes, list({0, 0})}}) == "reverse: axes [0, 0] are not increasing positions below 2");
}

TEST_CASE("shape rules: windows and fold") {
  const Type image = t(f32, {2, 8, 9, 3});
  struct Window {
    Shape axes = {1, 2}, size = {3, 3}, stride = {2, 1}, dilation = {1, 2}, low = {1, 0}, high = {1, 0};
    Attrs attrs() const { return {{Attr::axes, axes}, {Attr::size, size}, {Attr::stride, stride}, {Attr::dilation, dilation}, {Attr::low, low}, {Attr::high, high}}; }
  };
  auto windows = [&](Window w) {
    Attrs attrs = w.attrs();
    attrs.set(Attr::value, 0.0);
    return infer(Op::windows, {image}, attrs);
  };
  CHECK(windows({}) == "f32[2, 4, 5, 3, 3, 3]");
  CHECK(windows({.axes = {1, 3}}) == "windows: window axes must be consecutive");
  CHECK(windows({.axes = {}}) == "windows: window axes must be consecutive");
  CHECK(windows({.axes = {2, 1}}) == "windows: axes [2, 1] are not increasing positions below 4");
  CHECK(windows({.size = {3}}) == "windows: size has 1 entries, needs 2");
  CHECK(windows({.stride = {0, 1}}) == "windows: window of size 3, stride 0, dilation 1, padding 1, 1 makes no sense");
  CHECK(windows({.low = {-1, 0}}) == "windows: window of size 3, stride 2, dilation 1, padding -1, 1 makes no sense");
  CHECK(windows({.dilation = {1, 5}}) == "windows: a window of 11 does not fit 9 elements padded by 0 and 0");

  auto fold = [&](Type operand, Shape shape) {
    Attrs attrs = Window{}.attrs();
    attrs.set(Attr::shape, shape);
    return infer(Op::fold, {operand}, attrs);
  };
  CHECK(fold(t(f32, {2, 4, 5, 3, 3, 3}), image.shape) == "f32[2, 8, 9, 3]");
  CHECK(fold(t(f32, {2, 4, 5, 3, 3}), image.shape) == "fold: fold to [2, 8, 9, 3] needs [2, 4, 5, 3, 3, 3], got f32[2, 4, 5, 3, 3]");
  CHECK(fold(t(boolean, {2, 4, 5, 3, 3, 3}), image.shape) == "fold: needs numbers, got bool[2, 4, 5, 3, 3, 3]");
  CHECK(fold(t(f32, {2, 4, 5, 3, 3, 3}), {2, 8}) == "fold: axes [1, 2] are not increasing positions below 2");

  CHECK(window_positions(28, 5, 1, 1, 0, 0) == 24);
  CHECK(window_positions(28, 3, 2, 1, 1, 1) == 14);
  CHECK(window_positions(2, 3, 1, 1, 0, 0) == 0);
  CHECK(window_positions(7, 3, 1, 3, 0, 0) == 1);
}

TEST_CASE("shape rules: gather and scatter_add") {
  const Type table = t(f32, {2, 5, 3}), index = t(ElementType::i32, {2, 7});
  auto gather = [&](Type from, Type by, int64_t axis, int64_t batch) { return infer(Op::gather, {from, by}, {{Attr::axis, axis}, {Attr::batch, batch}}); };
  CHECK(gather(table, index, 1, 0) == "f32[2, 2, 7, 3]");
  CHECK(gather(table, index, 1, 1) == "f32[2, 7, 3]");
  CHECK(gather(table, index, 2, 1) == "f32[2, 5, 7]");
  CHECK(gather(table, t(ElementType::u8, {}), 0, 0) == "f32[5, 3]");
  CHECK(gather(table, t(f32, {2}), 0, 0) == "gather: the index is f32[2], not of integers");
  CHECK(gather(table, index, 3, 0) == "gather: axis 3 of [2, 5, 3]");
  CHECK(gather(table, index, 0, 1) == "gather: 1 batch axes, with axis 0 and the index i32[2, 7]");
  CHECK(gather(t(f32, {4, 5}), index, 1, 1) == "gather: batch axis 0 is 4 and 2");

  auto scatter = [&](Type by, Type updates, int64_t axis, int64_t batch, int64_t extent) { return infer(Op::scatter_add, {by, updates}, {{Attr::axis, axis}, {Attr::batch, batch}, {Attr::extent, extent}}); };
  CHECK(scatter(index, t(f32, {2, 2, 7, 3}), 1, 0, 5) == "f32[2, 5, 3]");
  CHECK(scatter(index, t(f32, {2, 7, 3}), 1, 1, 5) == "f32[2, 5, 3]");
  CHECK(scatter(index, t(f32, {2, 6, 3}), 1, 1, 5) == "scatter_add: index i32[2, 7] needs updates f32[2, 7, 3], got f32[2, 6, 3]");
  CHECK(scatter(index, t(f32, {2, 7}), 1, 0, 5) == "scatter_add: axis 1 with 0 batch axes of index i32[2, 7] and updates f32[2, 7]");
  CHECK(scatter(index, t(ElementType::bf16, {2, 7}), 0, 0, 5) == "scatter_add: adds numbers of 32 bits and more, and bytes, not bf16[2, 7]");
  CHECK(scatter(t(boolean, {2}), t(f32, {2}), 0, 0, 5) == "scatter_add: the index is bool[2], not of integers");
  CHECK(scatter(t(ElementType::i32, {2}), t(f32, {2}), 0, 0, -1) == "scatter_add: negative extent in f32[-1]");
}

TEST_CASE("shape rules: contract") {
  const Type w = t(f32, {3, 4});
  auto contract = [](std::string spec, Type a, Type b) { return infer(Op::contract, {a, b}, {{Attr::spec, spec}}); };
  CHECK(contract("mk,kn->mn", x, w) == "f32[2, 4]");
  CHECK(contract("mk,kn->nm", x, w) == "f32[4, 2]");
  CHECK(contract("mk,mk->", x, x) == "f32[]");
  CHECK(contract("mk,kn", x, w) == "contract: \"mk,kn\" is not of the form \"ab,bc->ac\"");
  CHECK(contract("mk->kn,m", x, w) == "contract: \"mk->kn,m\" is not of the form \"ab,bc->ac\"");
  CHECK(contract("m1,1n->mn", x, w) == "contract: index '1' is not a letter");
  CHECK(contract("kk,kn->kn", x, w) == "contract: index k occurs twice in \"kk\"");
  CHECK(contract("mk,kn->mz", x, w) == "contract: index z of the result is in neither operand");
  CHECK(contract("mk,kn->m", x, w) == "contract: index n is in one operand alone");
  CHECK(contract("mkl,lkn->mn", x, w) == "contract: \"mkl\" names 3 indices of f32[2, 3]");
  CHECK(contract("mk,nk->mn", x, w) == "contract: index k is 3 and 4 (contracting f32[2, 3] with f32[3, 4] by mk,nk->mn)");
  auto precise = [](std::string precision, Type a, Type b) { return infer(Op::contract, {a, b}, {{Attr::spec, std::string("mk,kn->mn")}, {Attr::precision, precision}}); };
  CHECK(precise("bf16", x, w) == "f32[2, 4]");
  CHECK(precise("bf16x3", x, w) == "f32[2, 4]");
  CHECK(precise("fp8", x, w) == "contract: precision is \"bf16\" or \"bf16x3\", or left out for f32; not \"fp8\"");
  CHECK(precise("f32", x, w) == "contract: precision is \"bf16\" or \"bf16x3\", or left out for f32; not \"f32\"");
  CHECK(precise("bf16", t(f64, {2, 3}), t(f64, {3, 4})) == "contract: operands of precision bf16 are f32, not f64");
  CHECK(precise("bf16", x, t(ElementType::bf16, {3, 4})) == "f32[2, 4]");
  CHECK(precise("bf16", t(ElementType::bf16, {2, 3}), w) == "f32[2, 4]");
  CHECK(precise("bf16x3", x, t(ElementType::bf16, {3, 4})) == "contract: operands of precision bf16x3 are f32, not bf16");
  CHECK(contract("mk,kn->mn", x, t(f64, {3, 4})) == "contract: contracts f32[2, 3] with f64[3, 4]");
  CHECK(contract("mk,kn->mn", t(i32, {2, 3}), t(i32, {3, 4})) == "contract: contracts i32[2, 3] with i32[3, 4]");
  CHECK(std::get<ContractSpec>(ContractSpec::parse("bmk,kn->bmn")).text() == "bmk,kn->bmn");
}

TEST_CASE("shape rules: reductions") {
  auto reduce = [](Op op, Type operand, Shape axes) { return infer(op, {operand}, {{Attr::axes, axes}}); };
  CHECK(reduce(Op::reduce_sum, x, {0}) == "f32[3]");
  CHECK(reduce(Op::reduce_max, t(u8, {2, 3, 4}), {0, 2}) == "u8[3]");
  for (Op op : {Op::reduce_sum, Op::reduce_max, Op::reduce_min, Op::reduce_prod}) {
    CHECK(reduce(op, t(boolean, {2}), {0}) == std::string(info(op).name) + ": needs numbers, got bool[2]");
    CHECK(reduce(op, x, {1, 0}) == std::string(info(op).name) + ": axes [1, 0] are not increasing positions below 2");
  }
  CHECK(reduce(Op::reduce_mean, x, {0, 1}) == "f32[]");
  CHECK(reduce(Op::reduce_mean, t(i32, {2}), {0}) == "reduce_mean: needs floating-point numbers, got i32[2]");
  CHECK(reduce(Op::reduce_mean, x, {2}) == "reduce_mean: axes [2] are not increasing positions below 2");
  auto argmax = [](Type operand, int64_t axis) { return infer(Op::argmax, {operand}, {{Attr::axis, axis}}); };
  CHECK(argmax(x, 1) == "i32[2]");
  CHECK(argmax(x, 2) == "argmax: axis 2 of f32[2, 3]");
  CHECK(argmax(t(boolean, {2}), 0) == "argmax: needs numbers, got bool[2]");
}

TEST_CASE("shape rules: sources") {
  CHECK(infer(Op::constant, {}, {{Attr::element, f32}, {Attr::shape, list({2})}, {Attr::value, 1.0}}) == "f32[2]");
  CHECK(infer(Op::constant, {}, {{Attr::element, f32}, {Attr::shape, list({-2})}, {Attr::value, 1.0}}) == "constant: negative extent in f32[-2]");
  CHECK(infer(Op::literal, {}, {{Attr::element, f32}, {Attr::shape, list({2})}, {Attr::data, std::make_shared<const Dense>(Dense{1})}}) == "literal: 1 elements given for f32[2]");
  CHECK(infer(Op::iota, {}, {{Attr::element, i32}, {Attr::shape, list({2})}, {Attr::axis, int64_t{0}}}) == "i32[2]");
  CHECK(infer(Op::iota, {}, {{Attr::element, i32}, {Attr::shape, list({2})}, {Attr::axis, int64_t{1}}}) == "iota: axis 1 of i32[2]");
  CHECK(infer(Op::input, {}, {{Attr::name, std::string("x")}, {Attr::element, u8}, {Attr::shape, list({2})}}) == "u8[2]");
  CHECK(infer(Op::variable, {}, {{Attr::name, std::string("x")}, {Attr::element, f32}, {Attr::shape, list({-1})}}) == "variable: negative extent in f32[-1]");

  auto random = [](std::string distribution, ElementType element, Type key) {
    return infer(Op::random, {t(i64), t(i64), key}, {{Attr::distribution, distribution}, {Attr::site, int64_t{0}}, {Attr::element, element}, {Attr::shape, list({5})}});
  };
  CHECK(random("uniform", f32, t(i64)) == "f32[5]");
  CHECK(random("normal", f64, t(i64)) == "f64[5]");
  CHECK(random("gamma", f32, t(i64)) == "random: no distribution \"gamma\"");
  CHECK(random("normal", i32, t(i64)) == "random: random numbers are floating-point, not i32");
  CHECK(random("normal", f32, t(i32)) == "random: seed, step and row are i64 scalars, got i32[]");
}

TEST_CASE("shape rules: gradient operations") {
  CHECK(infer(Op::grad, {t(f32), x}) == "f32[2, 3]");
  CHECK(infer(Op::grad, {x, x}) == "grad: only a floating-point scalar can be differentiated, not f32[2, 3]");
  CHECK(infer(Op::grad, {t(i32), x}) == "grad: only a floating-point scalar can be differentiated, not i32[]");
  CHECK(infer(Op::grad, {t(f32), t(i32)}) == "grad: there is no derivative by i32[]");
  CHECK(infer(Op::mark, {t(boolean)}) == "bool[]");
  CHECK(infer(Op::stop_gradient, {x}) == "f32[2, 3]");
}
