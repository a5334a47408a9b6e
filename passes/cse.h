// Merging and reusing what is computed twice.
#pragma once
#include "ir/graph.h"

namespace gradc::passes {

/// Common subexpressions: nodes of the same operation, operands (in any order if commutative) and attributes become the first of them.
/// Random sources differ by site, so two draws are never one. Says how many nodes went.
int merge_common(ir::Function&);

/// x <= c and x > c become max(x, c) <= c and max(x, c) > c where that maximum is computed before (min likewise): the derivative of
/// relu then reads the activation, which is stored anyway, and not the value before it. Says how often.
int reuse_extrema(ir::Function&);

}  // namespace gradc::passes
