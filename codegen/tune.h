// `--tune`: the model of a core (contract_choice.h) is good, but a measurement is better. Candidates for a contract are compiled, run by turns on made-up data on one
// core, and the fastest is remembered in the user's cache, for this kernel on this processor. Bits do not depend on it.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "codegen/cache.h"
#include "codegen/contract_choice.h"
#include "codegen/target.h"
#include "ir/kernel.h"

namespace gradc::codegen {

struct Tuned {
  ContractChoice choice;
  double gain = 1;          // time with the model's choice / with this one; 1: it is the model's
  bool measured = false;    // now; else remembered
};

/// Which of the candidates is best, and how much faster than the first: measured, or decided by a test.
using Judge = std::function<std::pair<size_t, double>(const ir::Kernel&, const Target&, const std::vector<ContractChoice>& candidates)>;
std::pair<size_t, double> measure(const ir::Kernel&, const Target&, const std::vector<ContractChoice>& candidates);

/// What was remembered of a contract, if it is still a candidate: for this kernel, target and processor, by this version of the emitters.
std::optional<Tuned> remembered(const ir::Kernel&, const Target&, const Cache&);
/// Judges all candidates; remembers the outcome where there is a cache.
Tuned tune(const ir::Kernel&, const Target&, const Cache*, const Judge& = measure);

}  // namespace gradc::codegen
