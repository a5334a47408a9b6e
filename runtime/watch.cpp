// A bias before a normalisation has no gradient, and need not have one; its layer has: so layers are judged, not parameters. A head that starts
// from zeros gives nothing to the layers before it in the first step: so a layer must be small several times in a row. A layer whose gradient had
// vanished and comes back grows a thousandfold, and does not explode: so it must be above what any layer mostly was.
#include "runtime/watch.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace gradc::runtime {

static constexpr double vanishing_share = 1e-7;   // of the largest norm of a layer
static constexpr int vanishing_looks = 3;         // in a row
static constexpr double exploding_factor = 1e3;   // times the median of the last ones
static constexpr size_t median_least = 3, median_most = 64;

const char* name_of(GradientWarning::Kind kind) {
  constexpr const char* names[] = {"vanishing gradient", "exploding gradient", "gradient not finite"};
  return names[size_t(kind)];
}

std::string to_string(const GradientWarning& w) {
  switch (w.kind) {
    case GradientWarning::Kind::vanishing: return fmt::format("the gradient of {} vanishes: its norm is {:.2g}, that of {} is {:.2g}", w.layer, w.norm, w.largest, w.beside);
    case GradientWarning::Kind::exploding: return fmt::format("the gradient of {} explodes: its norm is {:.2g}, mostly it was {:.2g}", w.layer, w.norm, w.beside);
    case GradientWarning::Kind::not_finite: return fmt::format("the gradient of {} is not finite", w.layer);
  }
  return "";
}

double total_norm(const Figures& norms) {
  double largest = 0, sum = 0;   // squares of large norms may overflow
  for (auto& [name, norm] : norms) {
    if (!std::isfinite(norm)) return norm;
    largest = std::max(largest, norm);
  }
  if (largest == 0) return 0;
  for (auto& [name, norm] : norms) sum += norm / largest * (norm / largest);
  return largest * std::sqrt(sum);
}

Figures norms_by_layer(const Figures& norms_by_parameter) {
  Figures layers;
  std::vector<Figures> members;
  for (auto& [name, norm] : norms_by_parameter) {
    std::string layer = name.substr(0, name.rfind('.'));
    auto known = std::find_if(layers.begin(), layers.end(), [&](const auto& each) { return each.first == layer; });
    size_t index = size_t(known - layers.begin());
    if (known == layers.end()) layers.push_back({layer, 0}), members.emplace_back();
    members[index].push_back({name, norm});
  }
  for (size_t i = 0; i < layers.size(); ++i) layers[i].second = total_norm(members[i]);
  return layers;
}

static double median_of(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + int64_t(values.size() / 2), values.end());
  return values[values.size() / 2];
}

std::vector<GradientWarning> GradientWatch::look(const Figures& norms_by_parameter) {
  using Kind = GradientWarning::Kind;
  std::vector<GradientWarning> warnings;
  const Figures layers = norms_by_layer(norms_by_parameter);
  std::pair<std::string, double> largest{"", 0};
  for (auto& [layer, norm] : layers)
    if (std::isfinite(norm) && norm > largest.second) largest = {layer, norm};
  double usual = 0;   // the largest that a layer mostly was
  for (auto& [layer, seen] : layers_)
    if (seen.norms.size() >= median_least) usual = std::max(usual, median_of(seen.norms));
  for (auto& [layer, norm] : layers) {
    Seen& seen = layers_[layer];
    auto warn = [&](Kind kind, double beside, const std::string& other = "") {
      if (warned_.insert(layer).second) warnings.push_back({kind, layer, norm, beside, other});
    };
    if (!std::isfinite(norm)) {
      warn(Kind::not_finite, 0);
      continue;
    }
    seen.small = norm < vanishing_share * largest.second ? seen.small + 1 : 0;
    if (seen.small == vanishing_looks) warn(Kind::vanishing, largest.second, largest.first);
    if (seen.norms.size() >= median_least)
      if (double median = median_of(seen.norms); norm > exploding_factor * median && norm > usual) warn(Kind::exploding, median);
    if (norm > 0) seen.norms.push_back(norm);
    if (seen.norms.size() > median_most) seen.norms.erase(seen.norms.begin());
  }
  return warnings;
}

}  // namespace gradc::runtime
