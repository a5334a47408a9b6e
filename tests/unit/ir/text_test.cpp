// The text form: what it looks like, that it reads back, and what it says when it cannot be read.
#include <catch2/catch.hpp>

#include <bit>
#include <limits>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "ir/verify.h"

using namespace gradc;
using namespace gradc::ir;

namespace {
// A small module that shows every part of the form.
Module example() {
  Module module;
  module.name = "fashion";
  module.files = {"", "models/fashion.grad", "std/fashion.grad", "std/layers.grad"};
  module.variables = {{"net.w", {ElementType::f32, {784, 10}}, VariableKind::parameter, false, {1, 9, 11}},
                      {"net.mu", {ElementType::f32, {10}}, VariableKind::state, true, {3, 4, 5}},
                      {"adam/m/net.w", {ElementType::f32, {784, 10}}, VariableKind::slot},
                      {"sum of losses", {ElementType::f64, {}}, VariableKind::accumulator},
                      {"keys", {ElementType::f32, {8}}, VariableKind::session}};
  Function f;
  f.name = "train.adam";
  Builder b(f);
  b.loc = {1, 3, 14};
  Value image = b.input("image", {ElementType::u8, {128, 28, 28}});
  b.loc = {2, 17, 9};
  Value x = b.cast(b.reshape(image, {128, 784}), ElementType::f32);
  b.loc = {};
  Value w = b.variable("net.w", {ElementType::f32, {784, 10}});
  b.loc = {1, 18, 15};
  Value zero = b.scalar(-0.0, ElementType::f32);
  Value y = b.map(Op::max, {b.contract("mk,kn->mn", x, w), zero});
  b.loc.role = Loc::Role::gradient;
  Value g = b.contract("mk,mn->kn", x, y);
  b.loc.role = Loc::Role::update;
  Value again = b.variable("net.w", {ElementType::f32, {784, 10}});
  Value updated = b.make(Op::sub, {again, g});
  b.loc = {};
  Value loss = b.reduce(Op::reduce_mean, y, {0, 1});
  f.results = {{"loss", loss}, {"net.w", updated, true}};
  module.functions.push_back(f);
  return module;
}

constexpr const char* example_text = R"(module fashion

file fashion.grad = "models/fashion.grad"
file std/fashion.grad = "std/fashion.grad"
file layers.grad = "std/layers.grad"

parameter @net.w : f32[784, 10]  @fashion.grad:9:11
state @net.mu : f32[10] frozen  @layers.grad:4:5
slot @adam/m/net.w : f32[784, 10]
accumulator @"sum of losses" : f64[]
session @keys : f32[8]

function train.adam {
  %image = input : u8[128, 28, 28]  @fashion.grad:3:14
  %1 = reshape %image : u8[128, 784]  @std/fashion.grad:17:9
  %2 = cast %1 : f32[128, 784]  @std/fashion.grad:17:9
  @net.w = variable : f32[784, 10]
  %4 = constant {value = -0} : f32[]  @fashion.grad:18:15
  %5 = contract %2, @net.w {spec = "mk,kn->mn"} : f32[128, 10]  @fashion.grad:18:15
  %6 = broadcast %4 {axes = []} : f32[128, 10]  @fashion.grad:18:15
  %7 = max %5, %6 : f32[128, 10]  @fashion.grad:18:15
  %8 = contract %2, %7 {spec = "mk,mn->kn"} : f32[784, 10]  @fashion.grad:18:15 gradient
  %9 = variable {name = "net.w"} : f32[784, 10]  @fashion.grad:18:15 update
  %10 = sub %9, %8 : f32[784, 10]  @fashion.grad:18:15 update
  %11 = reduce_mean %7 {axes = [0, 1]} : f32[]
  return loss = %11, write @net.w = %10
}
)";

// Everything that the text form carries, compared field by field.
void same_module(const Module& a, const Module& b) {
  CHECK(a.name == b.name);
  CHECK(a.files == b.files);
  REQUIRE(a.variables.size() == b.variables.size());
  for (size_t i = 0; i < a.variables.size(); ++i) {
    const Variable &v = a.variables[i], &w = b.variables[i];
    CHECK((v.name == w.name && v.type == w.type && v.kind == w.kind && v.frozen == w.frozen && v.loc == w.loc));
  }
  REQUIRE(a.functions.size() == b.functions.size());
  for (size_t i = 0; i < a.functions.size(); ++i) {
    const Function &f = a.functions[i], &g = b.functions[i];
    CHECK(f.name == g.name);
    REQUIRE(f.size() == g.size());
    for (size_t j = 0; j < f.size(); ++j) {
      const Node &n = f.nodes[j], &m = g.nodes[j];
      CHECK((n.op == m.op && n.type == m.type && n.operands == m.operands && n.attrs == m.attrs && n.loc == m.loc));
    }
    REQUIRE(f.results.size() == g.results.size());
    for (size_t j = 0; j < f.results.size(); ++j)
      CHECK((f.results[j].name == g.results[j].name && f.results[j].value == g.results[j].value && f.results[j].write == g.results[j].write));
  }
}

std::optional<Module> parse(const std::string& text, std::string* errors = nullptr) {
  Sources sources;
  Diagnostics diagnostics(sources);
  auto module = parse_module(sources.add("t.gir", text), sources, diagnostics);
  if (errors) *errors = diagnostics.render(false);
  if (!errors) INFO(diagnostics.render(false));
  CHECK(module.has_value() != diagnostics.failed());
  return module;
}

std::string errors_of(const std::string& text) {
  std::string errors;
  CHECK(!parse(text, &errors));
  return errors;
}
}  // namespace

TEST_CASE("a module prints like this") { CHECK(print(example()) == example_text); }

TEST_CASE("printing, parsing and printing is the identity") {
  auto parsed = parse(example_text);
  REQUIRE(parsed);
  same_module(example(), *parsed);
  CHECK(print(*parsed) == example_text);
}

TEST_CASE("a function prints without its module and without locations") {
  Module module = example();
  const Function& f = module.functions[0];
  CHECK(print(f, Value{0}) == "%image = input : u8[128, 28, 28]  @file1:3:14");
  CHECK(print(f, Value{0}, {.module = &module}) == "%image = input : u8[128, 28, 28]  @fashion.grad:3:14");
  CHECK(print(f, Value{0}, {.locations = false}) == "%image = input : u8[128, 28, 28]");
  CHECK(label(f, Value{3}) == "@net.w");
  CHECK(label(f, Value{10}) == "%10");
  Sources sources;
  Diagnostics diagnostics(sources);
  for (bool locations : {true, false}) {
    std::string text = print(f, {.locations = locations});
    auto parsed = parse_function(sources.add("f.gir", text), sources, diagnostics);
    INFO(diagnostics.render(false));
    REQUIRE(parsed);
    CHECK(print(*parsed, {.locations = locations}) == text);
    CHECK((parsed->nodes[0].loc == f.nodes[0].loc) == locations);
  }
}

TEST_CASE("text written by hand may leave out types, numbers and order of numbers") {
  auto parsed = parse(R"(
    # a comment
    module m
    parameter @w : f32[3, 4]
    function f {
      %x = input : f32[2, 3]     # the batch
      %product = contract %x, @w {spec = "mk,kn->mn"}
      return y = %product
    }
    function g {
      @w = variable : f32[3, 4]
      %x = input {name = "x", element = f32, shape = [2, 3]}
      %10 = contract %x, @w {spec = "mk,kn->mn"}
      %7 = tanh %10
      return y = %7,
             z = %10
    }
  )",
                      nullptr);
  CHECK(!parsed);   // f does not read @w before it uses it
  parsed = parse(R"(
    module m
    parameter @w : f32[3, 4]
    function g {
      @w = variable : f32[3, 4]
      %x = input {name = "x", element = f32, shape = [2, 3]}
      %10 = contract %x, @w {spec = "mk,kn->mn"}
      %7 = tanh %10
      return y = %7,
             z = %10
    }
  )");
  REQUIRE(parsed);
  CHECK(print(parsed->functions[0]) == R"(function g {
  @w = variable : f32[3, 4]
  %x = input : f32[2, 3]
  %2 = contract %x, @w {spec = "mk,kn->mn"} : f32[2, 4]
  %3 = tanh %2 : f32[2, 4]
  return y = %3, z = %2
}
)");
}

TEST_CASE("numbers keep their bits") {
  std::vector<double> numbers = {0.0,
                                 -0.0,
                                 1,
                                 -1.5,
                                 0.1,
                                 0.1f,
                                 1e300,
                                 1e-300,
                                 123456789012345678.0,
                                 std::numeric_limits<double>::denorm_min(),
                                 std::numeric_limits<double>::max(),
                                 std::numeric_limits<double>::infinity(),
                                 -std::numeric_limits<double>::infinity(),
                                 std::numeric_limits<double>::quiet_NaN(),
                                 -std::numeric_limits<double>::quiet_NaN(),
                                 std::bit_cast<double>(0x7ff8000000000001ull),
                                 3.141592653589793};
  Function f;
  f.name = "numbers";
  Builder b(f);
  Value all = b.literal(numbers, {ElementType::f64, {static_cast<int64_t>(numbers.size())}});
  f.results = {{"all", all}};
  for (size_t i = 0; i < numbers.size(); ++i) f.results.push_back({std::to_string(i), b.scalar(numbers[i], ElementType::f64)});
  std::string text = print(f);
  Sources sources;
  Diagnostics diagnostics(sources);
  auto parsed = parse_function(sources.add("f.gir", text), sources, diagnostics);
  INFO(text << diagnostics.render(false));
  REQUIRE(parsed);
  CHECK(parsed->nodes[0].attrs == f.nodes[0].attrs);   // by bits
  for (size_t i = 0; i < numbers.size(); ++i) CHECK(parsed->nodes[i + 1].attrs == f.nodes[i + 1].attrs);
  CHECK(print(*parsed) == text);
  CHECK(print_number(-0.0) == "-0");
  CHECK(print_number(std::numeric_limits<double>::quiet_NaN()) == "nan");
}

TEST_CASE("names of any characters") {
  Module module;
  module.name = "a \"b\" \\ c\n\x01";
  module.files = {"", "a b.grad", "x/1.grad", "y/1.grad", "1.grad"};
  module.variables = {{"7", {ElementType::f32, {}}}, {"w w", {ElementType::f32, {}}}};
  Function f;
  f.name = "0";
  Builder b(f);
  b.loc = {1, 1, 1};
  Value x = b.input("12", {ElementType::f32, {}});
  b.loc = {2, 1, 1};
  Value y = b.input("a b", {ElementType::f32, {}});
  b.loc = {3, 1, 1};
  Value z = b.variable("7", {ElementType::f32, {}});
  b.loc = {0, 5, 1};
  Value w = b.variable("w w", {ElementType::f32, {}});
  f.results = {{"12", x}, {"a b", y}, {"7", z, true}, {"w w", w, true}, {"w w", w}};
  module.functions.push_back(f);
  REQUIRE(verify(module) == "");
  std::string text = print(module);
  auto parsed = parse(text);
  INFO(text);
  REQUIRE(parsed);
  same_module(module, *parsed);
  CHECK(print(*parsed) == text);
}

TEST_CASE("many results stand on a line each") {
  Function f;
  f.name = "f";
  Builder b(f);
  Value x = b.input("x", {ElementType::f32, {}});
  for (int i = 0; i < 4; ++i) f.results.push_back({"a_result_with_quite_a_long_name_" + std::to_string(i), x});
  CHECK(print(f) == R"(function f {
  %x = input : f32[]
  return a_result_with_quite_a_long_name_0 = %x,
         a_result_with_quite_a_long_name_1 = %x,
         a_result_with_quite_a_long_name_2 = %x,
         a_result_with_quite_a_long_name_3 = %x
}
)");
}

TEST_CASE("errors: unknown operation, attribute, value, variable, file, with the nearest") {
  CHECK(errors_of(R"(module m
file a.grad = "a.grad"
parameter @net.w : f32[2]
function f {
  %x = input : f32[2]
  %1 = tahn %x : f32[2]
  %2 = reduce_sum %x {axis = [0]} : f32[]
  %3 = add %x, %17 : f32[2]
  %4 = neg %y : f32[2]
  @net.v = variable : f32[2]
  %6 = neg %x : f32[2]  @b.grad:1:1
  %7 = add %1, %2 : f32[2]
  return y = %7
}
)") == R"(error[E0502]: no operation is called `tahn`
 --> t.gir:6:8
  |
6 |   %1 = tahn %x : f32[2]
  |        ^^^^
  |
  = help: did you mean `tanh`?

error[E0503]: reduce_sum has no attribute `axis`
 --> t.gir:7:23
  |
7 |   %2 = reduce_sum %x {axis = [0]} : f32[]
  |                       ^^^^
  |
  = help: did you mean `axes`?

error[E0504]: no value is called %17 here
 --> t.gir:8:16
  |
8 |   %3 = add %x, %17 : f32[2]
  |                ^^^

error[E0504]: no value is called %y here
 --> t.gir:9:12
  |
9 |   %4 = neg %y : f32[2]
  |            ^^

error[E0504]: the module declares no variable @net.v
  --> t.gir:10:3
   |
10 |   @net.v = variable : f32[2]
   |   ^^^^^^
   |
   = help: did you mean `net.w`?

error[E0504]: no file is called `b.grad`
  --> t.gir:11:25
   |
11 |   %6 = neg %x : f32[2]  @b.grad:1:1
   |                         ^^^^^^^
   |
   = help: did you mean `a.grad`?
)");
}

TEST_CASE("errors: types") {
  CHECK(errors_of(R"(module m
parameter @w : f32[3]
function f {
  %x = input : f32[2, 3]
  @w = variable : f32[2]
  %2 = add %x, %y : f32[2, 3]
  %3 = reshape %x : f32[7]
  %4 = transpose %x {axes = [1, 0]} : f32[2, 3]
  %5 = constant {value = 1} : f23[2]
  %6 = constant {value = 1} : f32[2, -1]
  %7 = contract %x, %x : f32[2, 2]
  %8 = neg %x, %x : f32[2, 3]
  return write @w = %x
}
)") == R"(error[E0505]: variable @w is f32[3], not f32[2]
 --> t.gir:5:3
  |
5 |   @w = variable : f32[2]
  |   ^^

error[E0504]: no value is called %y here
 --> t.gir:6:16
  |
6 |   %2 = add %x, %y : f32[2, 3]
  |                ^^

error[E0505]: reshape: cannot reshape f32[2, 3] to [7]: 6 and 7 elements
 --> t.gir:7:8
  |
7 |   %3 = reshape %x : f32[7]
  |        ^^^^^^^

error[E0505]: transpose gives f32[3, 2], but f32[2, 3] is written
 --> t.gir:8:39
  |
8 |   %4 = transpose %x {axes = [1, 0]} : f32[2, 3]
  |                                       ^^^^^^^^^

error[E0505]: no element type is called `f23`
 --> t.gir:9:31
  |
9 |   %5 = constant {value = 1} : f23[2]
  |                               ^^^
  |
  = help: did you mean `f32`?

error[E0505]: f32[2, -1] is no type: extents are at least 0 and their product at most 2^48
  --> t.gir:10:31
   |
10 |   %6 = constant {value = 1} : f32[2, -1]
   |                               ^^^^^^^^^^

error[E0505]: contract lacks attribute spec
  --> t.gir:11:8
   |
11 |   %7 = contract %x, %x : f32[2, 2]
   |        ^^^^^^^^

error[E0505]: neg takes 1 operand, got 2
  --> t.gir:12:8
   |
12 |   %8 = neg %x, %x : f32[2, 3]
   |        ^^^

error[E0505]: variable @w is f32[3], not f32[2, 3]
  --> t.gir:13:16
   |
13 |   return write @w = %x
   |                ^^
)");
}

TEST_CASE("errors: duplicates") {
  CHECK(errors_of(R"(module m
parameter @w : f32[3]
state @w : f32[3]
function f {
  %x = input : f32[]
  %x = neg %x : f32[]
  %2 = constant {value = 1, value = 2} : f32[]
  %3 = neg %3 : f32[]
  return y = %x, y = %x
}
function f {
  return
}
)") == R"(error[E0506]: two variables are called @w
 --> t.gir:3:7
  |
3 | state @w : f32[3]
  |       ^^

error[E0506]: %x is defined twice
 --> t.gir:6:3
  |
5 |   %x = input : f32[]
  |   -- first here
6 |   %x = neg %x : f32[]
  |   ^^

error[E0506]: attribute value is given twice
 --> t.gir:7:29
  |
7 |   %2 = constant {value = 1, value = 2} : f32[]
  |                             ^^^^^

error[E0504]: %3 is its own operand
 --> t.gir:8:12
  |
8 |   %3 = neg %3 : f32[]
  |            ^^

error[E0506]: two results are called y
 --> t.gir:9:18
  |
9 |   return y = %x, y = %x
  |                  ^

error[E0506]: two functions are called `f`
  --> t.gir:11:10
   |
11 | function f {
   |          ^
)");
}

TEST_CASE("errors: syntax") {
  CHECK(errors_of(R"(module m
functoin f {
function g {
  %x = input f32[]
  %1 = constant {value = two} : f32[]
  %2 = constant {value = 1} : f32[1.5]
  %3 = literal {data = [1, 2} : f32[2]
  %4 = neg %3 : f32[]  @g.grad
  %5 = ~ %3
  add %1, %2
  %6 = contract %1, %1 {spec = "a,a->
}
)") == R"(error[E0501]: `~` means nothing here
 --> t.gir:9:8
  |
9 |   %5 = ~ %3
  |        ^

error[E0501]: the text is not closed
  --> t.gir:11:32
   |
11 |   %6 = contract %1, %1 {spec = "a,a->
   |                                ^^^^^^

error[E0501]: `functoin` begins no declaration
 --> t.gir:2:1
  |
2 | functoin f {
  | ^^^^^^^^
  |
  = help: did you mean `function`?

error[E0501]: expected the end of the line, found `f32`
 --> t.gir:4:14
  |
4 |   %x = input f32[]
  |              ^^^

error[E0501]: expected a number, found `two`
 --> t.gir:5:26
  |
5 |   %1 = constant {value = two} : f32[]
  |                          ^^^

error[E0501]: expected an integer, found `1.5`
 --> t.gir:6:35
  |
6 |   %2 = constant {value = 1} : f32[1.5]
  |                                   ^^^

error[E0501]: expected `]`, found `}`
 --> t.gir:7:29
  |
7 |   %3 = literal {data = [1, 2} : f32[2]
  |                             ^

error[E0504]: no file is called `g.grad`
 --> t.gir:8:24
  |
8 |   %4 = neg %3 : f32[]  @g.grad
  |                        ^^^^^^^

error[E0501]: expected an operation, found `%3`
 --> t.gir:9:10
  |
9 |   %5 = ~ %3
  |          ^^

error[E0501]: expected a line as in `%3 = add %1, %2 : f32[10]` or `return`, found `add`
  --> t.gir:10:3
   |
10 |   add %1, %2
   |   ^^^

error[E0501]: expected `}`, found the end of the file
  --> t.gir:13:1
   |
13 |
   | ^
)");
}

TEST_CASE("broken text never does worse than errors") {
  const std::string text = example_text;
  uint32_t state = 12345;
  auto random = [&](uint32_t below) { return (state = state * 1664525u + 1013904223u) / 65536u % below; };
  for (int i = 0; i < 400; ++i) {
    std::string broken = text;
    for (uint32_t edits = 1 + random(3); edits-- > 0;) {
      size_t at = random(broken.size());
      if (random(2))
        broken.erase(at, 1 + random(8));
      else
        broken.insert(at, std::string(1, "%@{}[],:=\"#-0a\n"[random(15)]));
    }
    Sources sources;
    Diagnostics diagnostics(sources);
    auto module = parse_module(sources.add("t.gir", broken), sources, diagnostics);
    CHECK(module.has_value() != diagnostics.failed());
    CHECK(diagnostics.render(false).empty() == module.has_value());
    if (module) CHECK(verify(*module) == "");
  }
}

TEST_CASE("loops print with their bodies and parse again") {
  const char* text = R"(function f {
  %h = input : f32[2]
  %x = input : f32[3, 2]
  %w = input : f32[2, 2]
  %3 = scan %h, %x, %w {length = 3, carries = 1, slices = 1, backward = 1, body = step {
    %h = input : f32[2]
    %x = input : f32[2]
    %w = input : f32[2, 2]
    %3 = contract %h, %w {spec = "k,kn->n"} : f32[2]
    %4 = add %3, %x : f32[2]
    return h = %4, y = %3
  }} : bool[0]
  %4 = item %3 {index = 0} : f32[2]
  %5 = item %3 {index = 1} : f32[3, 2]
  return last = %4, all = %5
}
)";
  Sources sources;
  Diagnostics diagnostics(sources);
  auto f = parse_function(sources.add("loop.gir", text), sources, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(f);
  CHECK(print(*f, {.locations = false}) == text);
  // h <- h w + x from the last slice to the first; y is h w.
  Bindings results = evaluate(*f, {{"h", Tensor::of({ElementType::f32, {2}}, {1, 2})},
                                   {"x", Tensor::of({ElementType::f32, {3, 2}}, {1, 1, 10, 10, 100, 200})},
                                   {"w", Tensor::of({ElementType::f32, {2, 2}}, {0, 1, 1, 0})}});
  CHECK(results.at("last").numbers() == std::vector<double>{113, 212});
  CHECK(results.at("all").numbers() == std::vector<double>{112, 211, 201, 102, 2, 1});
}
