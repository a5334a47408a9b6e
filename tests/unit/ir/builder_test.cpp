#include <catch2/catch.hpp>

#include "ir/builder.h"

using namespace gradc::ir;

TEST_CASE("map broadcasts a bias over rows") {
  Function f;
  Builder b(f);
  Value x = b.input("x", {ElementType::f32, {128, 784}});
  Value w = b.variable("w", {ElementType::f32, {784, 10}});
  Value y = b.map(Op::add, {b.contract("mk,kn->mn", x, w), b.variable("b", {ElementType::f32, {10}})});
  CHECK(b.type(y) == Type{ElementType::f32, {128, 10}});
}
