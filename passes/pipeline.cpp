// The only place that orders passes.
#include <vector>

#include "ir/check.h"
#include "ir/loop.h"
#include "ir/verify.h"
#include "passes/attention.h"
#include "passes/cse.h"
#include "passes/factors.h"
#include "passes/fold.h"
#include "passes/pass.h"
#include "passes/precision.h"
#include "passes/recompute.h"
#include "passes/rules.h"
#include "passes/scales.h"
#include "passes/unit_axes.h"
#include "passes/winograd.h"

namespace gradc::passes {
namespace {
using ir::Function;

int rewrite(Function& f) {
  int count = apply_rules(f, all_rules());
  f.prune();
  return count;
}

// What `optimize` repeats until nothing changes. Each says how much it did.
struct Step {
  std::string_view name;
  int (*run)(Function&);
  std::string_view why;
};
constexpr Step steps[] = {
    {"rewrite", rewrite, "first, so that numbers meet and views leave the way of folding"},
    {"fold", fold_constants, "after rewriting has brought numbers together; what it folds lets more rules apply"},
    {"cse", merge_common, "rewrites make equal nodes in different places"},
    {"scales", fold_scales, "last of a round: it asks who else reads a value"},
};
constexpr int most_rounds = 200;   // deep chains move one step a round; models need fewer than ten

template <int (*run)(Function&)>
void plain(Function& f) {
  run(f);
}
void prune(Function& f) { f.prune(); }
void recompute_half(Function& f) { recompute(f, {2, 1}); }
void winograd(Function& f) { use_winograd(f); }
void attention(Function& f) { use_attention(f); }
void late_factors(Function& f) { take_out_late_factors(f); }
void reuse(Function& f) {
  reuse_extrema(f);
  f.prune();
}

template <ir::Precision precision>
void to_precision(Function& f) {
  set_precision(f, precision);
}

constexpr Pass passes[] = {
    {"to-bf16", to_precision<ir::Precision::bf16>, "contracts of --precision bf16; before gradients are expanded: they inherit it"},
    {"to-bf16x3", to_precision<ir::Precision::bf16x3>, "the same for --precision bf16x3"},
    {"expand-gradients", expand_gradients, "before anything looks through marks: a target of grad is opaque until then"},
    {"optimize", optimize, "the rounds of rewrite, fold and cse, then reuse-extrema"},
    {"rewrite", plain<rewrite>, "one sweep of the local rules"},
    {"fold", plain<fold_constants>, "one sweep of constant folding"},
    {"cse", plain<merge_common>, "common subexpressions become one"},
    {"scales", plain<fold_scales>, "scales and shifts by feature go into the weights and the bias before them"},
    {"reuse-extrema", reuse, "after all rewriting: it looks for a maximum that is there anyway"},
    {"late-factors", late_factors, "g a + g b => g (a + b) with g known last: derivatives of activations are one value; after optimize, which brings numbers together"},
    {"winograd", winograd, "3x3 convolutions of stride 1 where that is faster; after optimize, whose rules know convolutions and their gradients"},
    {"attention", attention, "products around scores in an order that follows rows, large scores computed again for the backward pass; after optimize, which would merge them"},
    {"unit-axes", drop_unit_axes, "axes of extent 1 leave the arithmetic: for attention of one sample or head, and for images of one channel, whose lines then are the lanes"},
    {"prune", prune, "drops what no result needs"},
    {"recompute", recompute_half, "activations of the first half of a step are computed again; last, since cse would merge them. --memory-limit does it in as many parts as it takes"},
    {"to-f64", to_f64, "references and gradient checks in double precision"},
};
}  // namespace

std::span<const Pass> all_passes() { return passes; }

void optimize(Function& f) {
  f.prune();
  ir::for_bodies(f, optimize);
  for (int round = 0; round < most_rounds; ++round) {
    int changes = 0;
    for (const Step& step : steps) {
      Doing doing(fmt::format("pass {} on function {}", step.name, f.name));
      changes += step.run(f);
#ifndef __OPTIMIZE__   // debug builds; elsewhere `gradc opt --verify`
      std::string error = ir::verify(f);
      CHECK(error.empty(), "{}", error);
#endif
    }
    if (changes == 0) break;
    CHECK(round + 1 < most_rounds, "rewriting does not end");
  }
  reuse(f);
}
}  // namespace gradc::passes
