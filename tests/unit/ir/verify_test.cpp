// The verifier finds each way in which a graph can be wrong.
#include <catch2/catch.hpp>

#include "ir/builder.h"
#include "ir/verify.h"

using namespace gradc::ir;
using enum ElementType;

namespace {
struct Example {
  Module module;
  Value x, w, y;
  Function& f() { return module.functions[0]; }
  std::string findings() const { return verify(module); }
};

Example example() {
  Example e;
  e.module.name = "m";
  e.module.variables = {{"w", {f32, {3}}}};
  Function f;
  f.name = "f";
  Builder b(f);
  e.x = b.input("x", {f32, {3}}), e.w = b.variable("w", {f32, {3}});
  e.y = b.make(Op::add, {e.x, e.w});
  f.results = {{"y", e.y}, {"w", e.y, true}, {"w", e.x}};   // a result may be called like a variable
  e.module.functions.push_back(f);
  return e;
}
}  // namespace

TEST_CASE("a right module has no findings") {
  Example e = example();
  CHECK(e.findings() == "");
  CHECK(verify(e.f()) == "");
  CHECK(verify(Function()) == "");
}

TEST_CASE("operands come before their users") {
  Example e = example();
  e.f().nodes[2].operands[1] = e.y;
  CHECK(e.findings() == "function f: %2 = add %x, %2 : f32[3]\n    operand %2 does not come before its user\n");
  e.f().nodes[2].operands[1] = Value{7};
  CHECK(e.findings() == "function f: %2 = add %x, %<7> : f32[3]\n    operand %<7> does not come before its user\n");
}

TEST_CASE("the number of operands is the row's") {
  Example e = example();
  e.f().nodes[2].operands.pop_back();
  CHECK(e.findings() == "function f: %2 = add %x : f32[3]\n    add takes 2 operands, got 1\n");
}

TEST_CASE("attributes are those of the row") {
  Example e = example();
  e.f().nodes[2].attrs.set(Attr::axis, int64_t{1});
  CHECK(e.findings() == "function f: %2 = add %x, @w : f32[3]\n    add has no attribute axis\n");
  e = example();
  e.f().nodes[2].op = Op::reduce_sum;
  e.f().nodes[2].operands.pop_back();
  CHECK(e.findings() == "function f: %2 = reduce_sum %x : f32[3]\n    reduce_sum lacks attribute axes\n");
}

TEST_CASE("types are what the shape rules say") {
  Example e = example();
  e.f().nodes[2].type = {f32, {4}};
  CHECK(e.findings() ==
        "function f: %2 = add %x, @w : f32[4]\n    the type is f32[4], but the shape rule gives f32[3]\n"
        "function f: %2 = add %x, @w : f32[4]\n    variable @w is f32[3], not f32[4]\n");
}

TEST_CASE("inputs have names of their own") {
  Example e = example();
  Builder(e.f()).input("x", {f32, {3}});
  Builder(e.f()).input("", {f32, {3}});
  CHECK(e.findings() ==
        "function f: %3 = input {name = \"x\"} : f32[3]\n    a second input of that name\n"
        "function f: %4 = input {name = \"\"} : f32[3]\n    an input without a name\n");
}

TEST_CASE("variables are the module's, or without a module have one type") {
  Example e = example();
  Builder b(e.f());
  b.variable("w", {f32, {4}});
  b.variable("v", {f32, {3}});
  b.variable("", {f32, {3}});
  CHECK(e.findings() ==
        "function f: %3 = variable {name = \"w\"} : f32[4]\n    variable @w is f32[3], not f32[4]\n"
        "function f: @v = variable : f32[3]\n    the module has no variable @v\n"
        "function f: %5 = variable {name = \"\"} : f32[3]\n    a variable without a name\n"
        "function f: %5 = variable {name = \"\"} : f32[3]\n    the module has no variable @\n");
  CHECK(verify(e.f()) ==
        "function f: %3 = variable {name = \"w\"} : f32[4]\n    variable @w is f32[3], not f32[4]\n"
        "function f: %5 = variable {name = \"\"} : f32[3]\n    a variable without a name\n");
}

TEST_CASE("results have names and values") {
  Example e = example();
  e.f().results.push_back({"y", e.x});
  e.f().results.push_back({"w", e.x, true});
  e.f().results.push_back({"", e.x});
  e.f().results.push_back({"z", Value{9}});
  e.f().results.push_back({"v", e.x, true});
  CHECK(e.findings() ==
        "function f: return\n    two results y\n"
        "function f: return\n    two results @w\n"
        "function f: return\n    a result without a name\n"
        "function f: return\n    result z is no node of the function\n"
        "function f: %x = input : f32[3]\n    the module has no variable @v\n");
}

TEST_CASE("functions and variables of a module have names of their own") {
  Example e = example();
  e.module.variables.push_back(e.module.variables[0]);
  e.module.functions.push_back(e.f());
  CHECK(e.findings() == "two variables w\ntwo functions f\n");
}
