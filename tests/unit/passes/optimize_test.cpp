// The optimizer as a whole: what is left of a network and its update, and that it means the same.
#include <catch2/catch.hpp>

#include <map>

#include "ir/text.h"
#include "ir/verify.h"
#include "passes/cse.h"
#include "passes/fold.h"
#include "passes/pass.h"
#include "passes/precision.h"
#include "passes/term.h"
#include "tests/unit/passes/support.h"

using namespace gradc;
using namespace gradc::passes;
using ir::Attr;
using ir::ElementType;
using ir::Function;
using ir::Op;
using ir::Value;

namespace {
Function parsed(const std::string& text) {
  Sources sources;
  Diagnostics diagnostics(sources);
  auto f = ir::parse_function(sources.add("test.gir", text), sources, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(f);
  return *f;
}
std::string printed(const Function& f) { return ir::print(f, {.locations = false}); }

// Two layers, relu, softmax and cross-entropy as the standard library writes them, and a step of plain gradient descent.
const char* mlp = R"(function train {
  %x = input : f32[128, 784]
  %label = input : u8[128]
  %lr = input : f64[]
  %p1 = variable {name = "w1"} : f32[784, 256]
  %p2 = variable {name = "b1"} : f32[256]
  %p3 = variable {name = "w2"} : f32[256, 10]
  %p4 = variable {name = "b2"} : f32[10]
  %w1 = mark %p1
  %b1 = mark %p2
  %w2 = mark %p3
  %b2 = mark %p4
  %z0 = contract %x, %w1 {spec = "mk,kn->mn"}
  %b1r = broadcast %b1 {axes = [1]} : f32[128, 256]
  %z1 = add %z0, %b1r
  %zero = constant {value = 0} : f32[]
  %zeros = broadcast %zero {axes = []} : f32[128, 256]
  %a1 = max %zeros, %z1
  %z2 = contract %a1, %w2 {spec = "mk,kn->mn"}
  %b2r = broadcast %b2 {axes = [1]} : f32[128, 10]
  %z = add %z2, %b2r
  %labels = reshape %label : u8[128, 1]
  %labels1 = reshape %labels : u8[128]
  %label32 = cast %labels1 {element = i32}
  %label2 = broadcast %label32 {axes = [0]} : i32[128, 10]
  %classes = iota {axis = 1} : i32[128, 10]
  %hit = eq %label2, %classes
  %target = cast %hit {element = f32}
  %top = reduce_max %z {axes = [1]}
  %top1 = reshape %top : f32[128, 1]
  %finite = is_finite %top1
  %zero1 = constant {value = 0} : f32[128, 1]
  %safe = select %finite, %top1, %zero1
  %shift = stop_gradient %safe
  %shift0 = reshape %shift : f32[128]
  %shifts = broadcast %shift0 {axes = [0]} : f32[128, 10]
  %moved = sub %z, %shifts
  %e = exp %moved
  %s = reduce_sum %e {axes = [1]}
  %s1 = reshape %s : f32[128, 1]
  %l = log %s1
  %total = add %l, %shift
  %lse = reduce_sum %total {axes = [1]}
  %hits = mul %target, %z
  %picked = reduce_sum %hits {axes = [1]}
  %each = sub %lse, %picked
  %loss = reduce_mean %each {axes = [0]}
  %g1 = grad %loss, %w1
  %g2 = grad %loss, %b1
  %g3 = grad %loss, %w2
  %g4 = grad %loss, %b2
  %rate = cast %lr {element = f32}
  %r1 = broadcast %rate {axes = []} : f32[784, 256]
  %s11 = mul %r1, %g1
  %n1 = sub %p1, %s11
  return loss = %loss, g2 = %g2, g3 = %g3, g4 = %g4, write @w1 = %n1
})";

std::map<Op, int> counted(const Function& f) {
  std::map<Op, int> counts;
  for (const ir::Node& node : f.nodes) ++counts[node.op];
  return counts;
}
}  // namespace

TEST_CASE("the gradient of a network is the lecture's products") {
  Function f = parsed(mlp);
  expand_gradients(f);
  Function before = f;
  optimize(f);
  INFO(printed(f));
  CHECK(ir::verify(f) == "");
  // a1 = x w1, z = a1 w2; delta1 = delta2 w2^T; dw2 = a1^T delta2; dw1 = x^T delta1.
  std::vector<std::string> specs;
  for (const ir::Node& node : f.nodes)
    if (node.op == Op::contract) specs.push_back(node.attrs.text(Attr::spec));
  CHECK(specs == std::vector<std::string>{"mk,kn->mn", "mk,kn->mn", "mn,kn->mk", "mk,mn->kn", "mk,mn->kn"});
  auto counts = counted(f);
  CHECK(counts[Op::reshape] == 0);
  CHECK(counts[Op::transpose] == 0);
  CHECK(counts[Op::neg] == 0);
  CHECK(counts[Op::reduce_mean] == 0);
  CHECK(counts[Op::exp] == 1);         // softmax is computed once, for the loss and for its gradient
  CHECK(counts[Op::reduce_sum] == 5);  // softmax, picked logits, loss, and db = the sum of each delta over samples
  CHECK(counts[Op::max] == 1);
  // The derivative of relu reads the activation.
  for (const ir::Node& node : f.nodes)
    if (node.op == Op::le) CHECK(f[node.operands[0]].op == Op::max);
  CHECK(counts[Op::le] == 1);
}

TEST_CASE("an optimized network means the same") {
  std::string small = mlp;
  for (auto [from, to] : {std::pair{"784", "7"}, {"256", "5"}, {"128", "6"}})
    for (size_t at; (at = small.find(from)) != small.npos;) small.replace(at, 3, to);
  Function f = parsed(small);
  expand_gradients(f);
  to_f64(f);
  Function optimized = f;
  optimize(optimized);
  for (uint64_t seed = 1; seed <= 5; ++seed) check_same_values(f, optimized, seed, 1e-12);
}

TEST_CASE("optimizing again changes nothing") {
  Function f = parsed(mlp);
  expand_gradients(f);
  optimize(f);
  std::string once = printed(f);
  optimize(f);
  CHECK(printed(f) == once);
}

TEST_CASE("hyperparameters are computed once, in double precision") {
  // v / (1 - beta^t) over a tensor: the power, the difference and the reciprocal are scalars in f64.
  Function f = parsed(R"(function update {
    %v = input : f32[64, 32]
    %beta = input : f64[]
    %t = input : f64[]
    %p = pow %beta, %t
    %one = constant {value = 1} : f64[]
    %c = sub %one, %p
    %c32 = cast %c {element = f32}
    %cs = broadcast %c32 {axes = []} : f32[64, 32]
    %two = constant {value = 2} : f32[64, 32]
    %scaled = mul %cs, %two
    %y = div %v, %scaled
    return y = %y
  })");
  Function before = f;
  optimize(f);
  INFO(printed(f));
  int large = 0;
  for (const ir::Node& node : f.nodes) {
    if (ir::is_map(node.op) && node.type.rank() > 0) ++large;
    if (node.op == Op::pow) CHECK(node.type == ir::Type{ElementType::f64, {}});
  }
  CHECK(large == 1);
  check_same_values(before, f, 1, 1e-5);
}

TEST_CASE("equal nodes become one, but not two draws") {
  Function f;
  ir::Builder b(f);
  Value seed = b.input("seed", {ElementType::i64, {}}), step = b.input("step", {ElementType::i64, {}}), row = b.input("row", {ElementType::i64, {}});
  auto draw = [&](int64_t site) {
    return Term{&b, b.make(Op::random, {seed, step, row}, {{Attr::distribution, std::string("uniform")}, {Attr::site, site}, {Attr::element, ElementType::f32}, {Attr::shape, std::vector<int64_t>{8}}})};
  };
  f.results = {{"y", (draw(1) + draw(2)) * (draw(2) + draw(1))}};
  CHECK(merge_common(f) == 3);   // two draws and their sum, in either order
  CHECK(counted(f)[Op::random] == 2);
}

TEST_CASE("folding computes numbers at one element and small literals whole") {
  Function f;
  ir::Builder b(f);
  Term big{&b, b.constant(2, {ElementType::f32, {1000, 1000}})};
  Term small{&b, b.literal({1, 2, 3, 4}, {ElementType::f32, {2, 2}})};
  Term index{&b, b.iota({ElementType::i32, {10, 10}}, 1)};
  f.results = {{"big", apply(Op::exp, big)}, {"small", reduce(Op::reduce_sum, small * small, {1})}, {"index", index + index}};
  fold_constants(f);
  CHECK(f[f.result("big")->value].op == Op::constant);
  CHECK(f[f.result("big")->value].attrs.number(Attr::value) == static_cast<double>(std::exp(2.0f)));
  CHECK(f[f.result("small")->value].attrs.dense(Attr::data) == ir::Dense{5, 25});
  CHECK(f[f.result("index")->value].op == Op::add);
}

TEST_CASE("to_f64 changes floats alone") {
  Function f = parsed(mlp);
  expand_gradients(f);
  to_f64(f);
  CHECK(ir::verify(f) == "");
  for (const ir::Node& node : f.nodes) CHECK(node.type.element != ElementType::f32);
  CHECK(f.type(f.input("label")).element == ElementType::u8);
}
