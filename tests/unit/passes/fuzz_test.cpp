// Random graphs: optimizing changes no value, gradients agree with finite differences, optimized gradients with plain ones.
#include <catch2/catch.hpp>

#include <map>

#include "ir/random_graph.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "passes/attention.h"
#include "passes/check.h"
#include "passes/factors.h"
#include "passes/pass.h"
#include "passes/precision.h"
#include "passes/rules.h"
#include "passes/unit_axes.h"
#include "tests/unit/passes/support.h"

using namespace gradc;
using namespace gradc::passes;
using ir::Function;
using ir::Op;
using ir::Value;

namespace {
// The sum of a smooth function of every floating-point result: a scalar that depends on all of them.
Function scalar_function(const Function& f) {
  Function scalar = f;
  ir::Builder b(scalar);
  Value total = b.scalar(0, ir::ElementType::f64);
  for (const ir::Result& r : f.results) {
    if (!ir::is_float(f.type(r.value).element)) continue;
    Term t{&b, b.cast(r.value, ir::ElementType::f64)};
    std::vector<int64_t> axes(t.rank());
    for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
    Term smooth = apply(Op::sin, t);
    total = b.make(Op::add, {total, b.reduce(Op::reduce_sum, smooth, axes)});
  }
  scalar.results = {{"y", total}};
  scalar.prune();
  return scalar;
}
}  // namespace

TEST_CASE("optimized random graphs mean the same") {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    ir::RandomGraph g = ir::random_graph(seed, {.precisions = seed % 4 == 0});
    Function f = g.function;
    optimize(f);
    if (seed % 2 == 0) {   // what follows it on the way to kernels
      take_out_late_factors(f);
      use_attention(f);
      drop_unit_axes(f);
    }
    std::string error = ir::verify(f);
    for (int nan_percent : {0, 3}) {
      ir::Bindings at = ir::random_bindings(g.function, seed, nan_percent);
      std::string wrong = error.empty() ? ir::difference(ir::evaluate(g.function, at), ir::evaluate(f, at), g.tolerance) : error;
      if (wrong.empty()) continue;
      FAIL_CHECK("seed " << seed << ": " << wrong << "\n" << ir::print(g.function) << ir::print(f));
    }
  }
}

TEST_CASE("gradients of random graphs") {
  int functions = 0, wrong = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    ir::RandomGraph g = ir::random_graph(seed, {.operations = 10, .largest = 64, .only_f32 = true});
    Function f = scalar_function(g.function);
    for (const CheckedGradient& c : check_gradients(f, "y", random_arguments(f, seed), {.most_coordinates = 4, .seed = seed})) {
      ++functions;
      if (c.right || ++wrong > 5) continue;
      FAIL_CHECK("seed " << seed << ", " << c.name << "[" << c.coordinate << "]: " << c.analytic << " but numerically " << c.numeric << "\n" << ir::print(f));
    }
  }
  CHECK(functions > 200);
}

TEST_CASE("optimized gradients of random graphs mean the same") {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    ir::RandomGraph g = ir::random_graph(seed, {.operations = 12, .largest = 256, .only_f32 = true});
    Function f = scalar_function(g.function);
    Value y = f.results[0].value;
    std::vector<bool> below(f.size());
    below[y.id] = true;
    for (uint32_t i = f.size(); i-- > 0;)
      if (below[i])
        for (Value operand : f.nodes[i].operands) below[operand.id] = true;
    ir::Builder b(f);
    for (uint32_t i = 0, count = f.size(); i < count; ++i)
      if (below[i] && (f.nodes[i].op == Op::input || f.nodes[i].op == Op::variable) && ir::is_float(f.nodes[i].type.element))
        f.results.push_back({"d" + std::to_string(i), b.make(Op::grad, {y, Value{i}})});
    to_f64(f);
    expand_gradients(f);
    REQUIRE(ir::verify(f) == "");
    Function optimized = f;
    optimize(optimized);
    REQUIRE(ir::verify(optimized) == "");
    INFO("seed " << seed);
    check_same_values(f, optimized, seed, 1e-9);
  }
}
