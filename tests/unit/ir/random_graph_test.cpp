// Random functions: well-typed, printable, computable, and varied enough to be worth anything.
#include <catch2/catch.hpp>

#include <cmath>
#include <map>
#include <set>

#include "ir/loop.h"
#include "ir/random_graph.h"
#include "ir/text.h"
#include "ir/verify.h"

using namespace gradc;
using namespace gradc::ir;

namespace {
constexpr int count = 500;

// The same function in f64: the same values but for rounding, which the tolerances must cover.
Function widened(const Function& f) {
  Function wide = f;
  for_bodies(wide, [](Function& body) { body = widened(body); });
  for (Node& node : wide.nodes) {
    if (node.attrs.has(Attr::element) && node.attrs.element(Attr::element) == ElementType::f32 && node.op != Op::input && node.op != Op::variable && node.op != Op::random) node.attrs.set(Attr::element, ElementType::f64);
    if (node.type.element == ElementType::f32) node.type.element = ElementType::f64;
    if (node.attrs.has(Attr::element)) node.attrs.set(Attr::element, node.type.element);
  }
  return wide;
}

// Rounds what f32 rounds exactly as the narrow function does: constants, literals and casts.
bool has_rounding_sources(const Function& f) {
  for (const Node& node : f.nodes)
    if (node.op == Op::literal || node.op == Op::random || node.op == Op::cast) return true;
  return false;
}
}  // namespace

TEST_CASE("random functions verify, print, parse and evaluate to finite values") {
  std::map<Op, int> seen;
  std::set<std::string> texts;
  int64_t results = 0, writes = 0;
  for (uint64_t seed = 0; seed < count; ++seed) {
    RandomGraph graph = random_graph(seed);
    const Function& f = graph.function;
    std::string text = print(f);
    INFO(text);
    REQUIRE(verify(f) == "");
    Sources sources;
    Diagnostics diagnostics(sources);
    auto parsed = parse_function(sources.add("random.gir", text), sources, diagnostics);
    INFO(diagnostics.render(false));
    REQUIRE(parsed);
    REQUIRE(print(*parsed) == text);

    Bindings bindings = random_bindings(f, seed);
    Bindings values = evaluate(f, bindings);
    REQUIRE(values.size() == f.results.size());
    REQUIRE(values.size() == graph.tolerance.size());
    for (const auto& [name, tensor] : values) {
      INFO(name);
      REQUIRE(graph.tolerance.contains(name));
      for (int64_t i = 0; i < tensor.size(); ++i) REQUIRE(std::isfinite(tensor.at(i)));
    }
    REQUIRE(difference(values, evaluate(*parsed, bindings), {}) == "");
    for (const Node& node : f.nodes) ++seen[node.op];
    texts.insert(text);
    for (const Result& r : f.results) ++(r.write ? writes : results);
  }
  CHECK(texts.size() == count);
  CHECK(results > 2 * count);
  CHECK(writes > count / 10);
  for (Op op : all_ops()) {
    INFO(info(op).name << " occurs " << seen[op] << " times");
    if (info(op).kind != OpKind::gradient) CHECK(seen[op] >= 5);
  }
}

TEST_CASE("the tolerances cover what rounding does") {
  int compared = 0;
  for (uint64_t seed = 0; seed < count; ++seed) {
    RandomGraph graph = random_graph(seed, {.only_f32 = true});
    if (has_rounding_sources(graph.function)) continue;
    Function wide = widened(graph.function);
    INFO(print(graph.function));
    REQUIRE(verify(wide) == "");
    Bindings narrow = random_bindings(graph.function, seed), broad;
    for (const auto& [name, tensor] : narrow) broad[name] = tensor.type.element == ElementType::f32 ? Tensor::of({ElementType::f64, tensor.type.shape}, tensor.numbers()) : tensor;
    Bindings expected = evaluate(wide, broad), actual;
    for (const auto& [name, tensor] : evaluate(graph.function, narrow)) actual[name] = tensor.type.element == ElementType::f32 ? Tensor::of({ElementType::f64, tensor.type.shape}, tensor.numbers()) : tensor;
    REQUIRE(difference(expected, actual, graph.tolerance) == "");
    ++compared;
  }
  CHECK(compared > count / 2);
}

TEST_CASE("the same seed gives the same function, options are kept") {
  CHECK(print(random_graph(7).function) == print(random_graph(7).function));
  CHECK(random_bindings(random_graph(7).function, 1) == random_bindings(random_graph(7).function, 1));
  for (uint64_t seed = 0; seed < 50; ++seed) {
    for (const Node& node : random_graph(seed, {.operations = 30, .largest = 100, .only_f32 = true}).function.nodes) {
      CHECK(node.type.size() <= 100);
      CHECK((!is_float(node.type.element) || node.type.element == ElementType::f32));
    }
  }
}

TEST_CASE("differences are told with their place") {
  Bindings a, b;
  a["r"] = b["r"] = Tensor::of({ElementType::f32, {2, 3}}, {1, 2, 3, 4, INFINITY, NAN});
  CHECK(difference(a, b, {}) == "");
  b["r"].set(3, 4.5);
  CHECK(difference(a, b, {{"r", 0.5}}) == "");
  CHECK(difference(a, b, {{"r", 0.25}}) == "r[1, 0]: 4 and 4.5 differ by more than 0.25");
  b["r"] = Tensor({ElementType::f32, {6}});
  CHECK(difference(a, b, {}) == "r is f32[2, 3] and f32[6]");
  b.clear();
  CHECK(difference(a, b, {}) == "r is missing");
}
