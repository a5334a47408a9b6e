// Sums of distances from the first sample, so that a large mean costs no digits.
#include "runtime/statistics.h"

#include <algorithm>
#include <cmath>

namespace gradc::runtime {

std::vector<Statistics> statistics(const Samples& samples) {
  std::vector<Statistics> all;
  for (const Column& column : samples.columns) {
    const Type& type = column.field.type;
    if (type.shape.empty() || samples.count == 0) continue;
    size_t channels = type.shape.size() == 1 || type.shape.size() == 3 ? size_t(type.shape.back()) : 1, bytes = info(type.element).bytes;
    std::vector<double> first(channels), sum(channels), squares(channels);
    for (size_t c = 0; c < channels; ++c) first[c] = read_number(type.element, column.sample(0) + c * bytes);
    size_t rows = size_t(samples.count) * size_t(type.elements()) / channels;
    for (size_t row = 0; row < rows; ++row)
      for (size_t c = 0; c < channels; ++c) {
        double distance = read_number(type.element, column.sample(0) + (row * channels + c) * bytes) - first[c];
        sum[c] += distance;
        squares[c] += distance * distance;
      }
    Statistics& out = all.emplace_back(Statistics{column.field.name, {}, {}});
    for (size_t c = 0; c < channels; ++c) {
      double mean = sum[c] / double(rows);
      out.mean.push_back(first[c] + mean);
      out.deviation.push_back(std::sqrt(std::max(0.0, squares[c] / double(rows) - mean * mean)));
    }
  }
  return all;
}

}  // namespace gradc::runtime
