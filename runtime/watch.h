// Norms of gradients, as a train block with `watch gradients` gives them: what is said when a layer's vanish or explode.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "runtime/evaluate.h"

namespace gradc::runtime {

struct GradientWarning {
  enum class Kind : uint8_t { vanishing, exploding, not_finite } kind;
  std::string layer;
  double norm;             // of the layer's gradient
  double beside;           // vanishing: the largest norm of a layer; exploding: the median of this one's norms so far
  std::string largest;     // vanishing: the layer that has it
  int64_t step = 0, epoch = 0;
};
const char* name_of(GradientWarning::Kind kind);         // "vanishing gradient"
std::string to_string(const GradientWarning& warning);   // "the gradient of net.dense1 vanishes: its norm is 1e-12, ..."

/// A layer's name is the path of its parameters without the last part; its norm is that of all of them. In the order of the parameters.
Figures norms_by_layer(const Figures& norms_by_parameter);
double total_norm(const Figures& norms);

/// Looks at a block's norms, time after time. A layer is warned of once.
class GradientWatch {
 public:
  std::vector<GradientWarning> look(const Figures& norms_by_parameter);

 private:
  struct Seen {
    std::vector<double> norms;   // the last ones, finite and not 0
    int small = 0;               // looks in a row
  };
  std::map<std::string, Seen> layers_;
  std::set<std::string> warned_;
};

}  // namespace gradc::runtime
