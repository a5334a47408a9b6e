// Gradients of loops of many kinds against the same network written out step by step.
#include <catch2/catch.hpp>

#include <memory>

#include "ir/loop.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "passes/autodiff.h"
#include "passes/check.h"
#include "passes/pass.h"
#include "tests/unit/passes/support.h"

using namespace gradc;
using namespace gradc::passes;
using ir::Attr;
using ir::ElementType;
using ir::Function;
using ir::Op;
using ir::Shape;
using ir::Value;

namespace {
constexpr int64_t rounds = 6, batch = 2, width = 3;
using Terms = std::vector<Term>;
struct Round {
  Terms carries, outputs;
};
// (carries, slices, captures) to (carries, outputs)
using Step = Round (*)(const Terms& c, const Terms& x, const Terms& k);

Term sigmoid(Term x) { return apply(Op::sigmoid, x); }
Term tanh(Term x) { return apply(Op::tanh, x); }
Term product(Term a, Term b) { return contract("mk,kn->mn", a, b); }
Term repeat(Term b) { return broadcast(b, {batch, width}, {1}); }

// A cell with two carries, a gate, a product of carries with weights that are read twice, a bias, and a capture that is used element by element.
Round gated(const Terms& c, const Terms& x, const Terms& k) {
  Term z = product(c[0], k[0]) + x[0] + repeat(k[1]);
  Term gate = sigmoid(product(c[1], transpose(k[0], {1, 0})) * k[2]);
  Term next = gate * c[1] + (1 - gate) * tanh(z);
  Term h = next * x[1] + c[0] * 0.5;
  return {{h, next}, {h * k[2], gate}};
}
// Outputs without a carry: a map.
Round map(const Terms&, const Terms& x, const Terms& k) { return {{}, {tanh(product(x[0], k[0])) * x[1] + repeat(k[1])}}; }
// Carries that change places, of which one stays as it is.
Round swapped(const Terms& c, const Terms& x, const Terms& k) { return {{c[1], product(c[0], k[0]) * 0.5 + x[0]}, {c[0]}}; }
// A carry that is not read, one that is a capture afterwards.
Round replaced(const Terms& c, const Terms& x, const Terms& k) { return {{x[0] * x[1], k[2] * c[0]}, {c[1] + c[0]}}; }

struct Kind {
  const char* name;
  Step step;
  int64_t carries;
};
const Kind kinds[] = {{"gated", gated, 2}, {"map", map, 0}, {"swapped", swapped, 2}, {"replaced", replaced, 2}};

struct Network {
  Function f;
  ir::Builder b{f};
  Term input(std::string name, Shape shape) { return {&b, b.input(std::move(name), {ElementType::f64, std::move(shape)})}; }
  Terms carries, slices, captures;
  Network(int64_t count) {
    for (int64_t c = 0; c < count; ++c) carries.push_back(input("c" + std::to_string(c), {batch, width}));
    for (const char* x : {"x0", "x1"}) slices.push_back(input(x, {rounds, batch, width}));
    captures = {input("k0", {width, width}), input("k1", {width}), input("k2", {batch, width})};
  }
  // Results: last carries, stacks.
  void finish(const Terms& results, bool second) {
    Value y;
    for (size_t i = 0; i < results.size(); ++i) {
      Term r = results[i];
      std::vector<int64_t> all(r.rank());
      for (size_t a = 0; a < all.size(); ++a) all[a] = static_cast<int64_t>(a);
      Term positions{&b, b.reshape(b.cast(b.iota({ElementType::i32, {r.type().size()}}, 0), ElementType::f64), r.shape())};
      Value part = reduce(Op::reduce_sum, apply(Op::sin, r * 0.7 + positions * 0.37 + static_cast<double>(i)), all);
      y = y.valid() ? b.make(Op::add, {y, part}) : part;
    }
    std::vector<Value> inputs = f.inputs();
    if (second) {
      Value total;
      for (Value in : inputs) {
        Term g{&b, b.make(Op::grad, {y, in})};
        std::vector<int64_t> all(g.rank());
        for (size_t a = 0; a < all.size(); ++a) all[a] = static_cast<int64_t>(a);
        Value part = reduce(Op::reduce_sum, apply(Op::sin, g * 0.3), all);
        total = total.valid() ? b.make(Op::add, {total, part}) : part;
      }
      y = total;
    }
    f.results.push_back({"y", y});
    for (Value in : inputs) f.results.push_back({"d" + f[in].attrs.text(Attr::name), b.make(Op::grad, {y, in})});
    expand_gradients(f);
    REQUIRE(ir::verify(f) == "");
  }
};

Function body_of(const Kind& kind, int64_t stacked = 0) {
  Function body;
  ir::Builder b(body);
  auto input = [&](std::string name, Shape shape, bool slice = false) {
    if (slice && stacked) shape.insert(shape.begin(), stacked);
    return Term{&b, b.input(std::move(name), {ElementType::f64, std::move(shape)})};
  };
  Terms c, x, k;
  for (int64_t i = 0; i < kind.carries; ++i) c.push_back(input("c" + std::to_string(i), {batch, width}));
  for (const char* name : {"x0", "x1"}) x.push_back(input(name, {batch, width}, true));
  k = {input("k0", {width, width}), input("k1", {width}), input("k2", {batch, width})};
  if (stacked) {   // a chunk: a loop of its own
    Function inner = body_of(kind);
    std::vector<Value> operands = body.inputs();
    const int64_t results = static_cast<int64_t>(inner.results.size());
    Value scan = ir::make_scan(b, {std::move(inner), stacked, kind.carries, 2, false, false, operands});
    for (int64_t r = 0; r < results; ++r) body.results.push_back({"r" + std::to_string(r), ir::make_item(b, scan, r)});
    body.name = "chunk";
    return body;
  }
  Round round = kind.step(c, x, k);
  for (Term t : round.carries) body.results.push_back({"r" + std::to_string(body.results.size()), t.v});
  for (Term t : round.outputs) body.results.push_back({"r" + std::to_string(body.results.size()), t.v});
  body.name = kind.name;
  return body;
}

// The loop as it is, or in chunks.
Function looped(const Kind& kind, bool backward, int64_t chunk, bool second) {
  Network n(kind.carries);
  Function body = body_of(kind, chunk);
  const int64_t results = static_cast<int64_t>(body.results.size());
  std::vector<Value> operands;
  for (Term t : n.carries) operands.push_back(t.v);
  for (Term t : n.slices) operands.push_back(chunk ? n.b.reshape(t.v, {rounds / chunk, chunk, batch, width}) : t.v);
  for (Term t : n.captures) operands.push_back(t.v);
  Value scan = ir::make_scan(n.b, {std::move(body), chunk ? rounds / chunk : rounds, kind.carries, 2, backward, chunk > 0, operands});
  Terms items;
  for (int64_t r = 0; r < results; ++r) {
    Term item{&n.b, ir::make_item(n.b, scan, r)};
    items.push_back(chunk && r >= kind.carries ? reshape(item, {rounds, batch, width}) : item);
  }
  n.finish(items, second);
  return std::move(n.f);
}

Function unrolled(const Kind& kind, bool backward, bool second) {
  Network n(kind.carries);
  Terms c = n.carries;
  std::vector<Terms> outputs(rounds);
  for (int64_t i = 0; i < rounds; ++i) {
    const int64_t t = backward ? rounds - 1 - i : i;
    Terms x;
    for (Term s : n.slices) x.push_back(reshape({&n.b, n.b.slice(s.v, {t, 0, 0}, {t + 1, batch, width}, {1, 1, 1})}, {batch, width}));
    Round round = kind.step(c, x, n.captures);
    c = round.carries;
    outputs[t] = round.outputs;
  }
  Terms results = c;
  for (size_t o = 0; o < outputs[0].size(); ++o) {
    Term stack;
    for (int64_t t = 0; t < rounds; ++t) {
      Term one = reshape(outputs[t][o], {1, batch, width});
      Term place{&n.b, n.b.make(Op::pad, {one.v}, {{Attr::low, Shape{t, 0, 0}}, {Attr::high, Shape{rounds - 1 - t, 0, 0}}, {Attr::interior, Shape{0, 0, 0}}, {Attr::value, 0.0}})};
      stack = t == 0 ? place : stack + place;
    }
    results.push_back(stack);
  }
  n.finish(results, second);
  return std::move(n.f);
}
}  // namespace

TEST_CASE("loops have the values and derivatives of their steps written out") {
  for (const Kind& kind : kinds)
    for (bool backward : {false, true}) {
      INFO(kind.name << (backward ? ", backward" : ""));
      Function expected = unrolled(kind, backward, false), loop = looped(kind, backward, 0, false);
      check_same_values(expected, loop, 1, 1e-10);
      optimize(loop);
      REQUIRE(ir::verify(loop) == "");
      check_same_values(expected, loop, 2, 1e-10);
    }
}

TEST_CASE("loops in chunks that are computed again have the same derivatives") {
  for (const Kind& kind : kinds) {
    INFO(kind.name);
    Function expected = unrolled(kind, false, false), loop = looped(kind, false, 2, false);
    check_same_values(expected, loop, 1, 1e-10);
    optimize(loop);
    check_same_values(expected, loop, 2, 1e-10);
  }
}

TEST_CASE("second derivatives of loops") {
  for (const Kind& kind : kinds)
    for (int64_t chunk : {0, 3}) {
      INFO(kind.name << (chunk ? " in chunks" : ""));
      check_same_values(unrolled(kind, false, true), looped(kind, false, chunk, true), 1, 1e-9);
    }
}

TEST_CASE("the gradient of weights is one product behind the loop") {
  Function f = looped(kinds[1], false, 0, false);
  optimize(f);
  int loops = 0, products = 0;
  for (const ir::Node& node : f.nodes) {
    loops += ir::is_scan(node);
    products += node.op == Op::contract;
    if (ir::is_scan(node)) CHECK(node.attrs.integer(Attr::carries) == 0);
  }
  CHECK(loops == 2);
  CHECK(products == 1);
}

TEST_CASE("memory of a chunked loop does not grow with its rounds") {
  // What the forward loop hands to the reverse one: the carries between chunks alone.
  Function f = looped(kinds[0], false, 2, false);
  const ir::Node* forward = nullptr;
  for (const ir::Node& node : f.nodes)
    if (ir::is_scan(node) && !forward) forward = &node;
  REQUIRE(forward);
  const Function& body = *forward->attrs.function(Attr::body);
  std::vector<Value> inputs = body.inputs();
  for (size_t r = 4; r < body.results.size(); ++r)   // behind two carries and two outputs
    CHECK(std::find(inputs.begin(), inputs.end(), body.results[r].value) != inputs.end());
}
