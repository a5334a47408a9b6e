// Scales and shifts by feature, as batch normalisation leaves them outside of training, taken into the weights and the bias before them.
#pragma once
#include "ir/graph.h"

namespace gradc::passes {

/// contract(x, w) * s => contract(x, w * s);  (contract(x, w) + b) * s => contract(x, w * s) + b * s;  (y + b) + c => y + (b + c)
/// where s, b and c lie along one axis of the result, that axis is w's alone, w, s, b and c follow from variables and constants, nothing else
/// reads what is scaled, and w is small beside the result. Says how often.
int fold_scales(ir::Function&);

}  // namespace gradc::passes
