// Means and standard deviations of data, for normalising it.
#pragma once
#include "runtime/data.h"

namespace gradc::runtime {

struct Statistics {
  std::string field;
  std::vector<double> mean, deviation;   // for each channel of pictures, each number of vectors; else one
};

/// Of all fields that are no single number. In double precision, in the order of the samples.
std::vector<Statistics> statistics(const Samples& samples);

}  // namespace gradc::runtime
