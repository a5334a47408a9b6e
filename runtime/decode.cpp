// Scaling, and what the decoder does not notice.
#include "runtime/decode.h"

#include <algorithm>
#include <cmath>

namespace gradc::runtime {

namespace {
// What one place of the result takes along one axis: `weights` of the places from `first` on, which sum to 1.
struct Taps {
  int first = 0;
  std::vector<float> weights;
};
}  // namespace

// The centre of place i of the result lies at offset + (i + 1/2) * scale in the source.
static std::vector<Taps> taps(int from, int to, double offset, double extent) {
  double scale = extent / to, reach = std::max(scale, 1.0);
  std::vector<Taps> all(static_cast<size_t>(to));
  for (int i = 0; i < to; ++i) {
    double centre = offset + (i + 0.5) * scale;
    int first = std::clamp(int(std::floor(centre - reach)), 0, from - 1), last = std::clamp(int(std::ceil(centre + reach)), first + 1, from);
    Taps& out = all[size_t(i)];
    out.first = first;
    double sum = 0;
    for (int j = first; j < last; ++j) sum += std::max(0.0, 1 - std::fabs(j + 0.5 - centre) / reach);
    for (int j = first; j < last; ++j) out.weights.push_back(float(std::max(0.0, 1 - std::fabs(j + 0.5 - centre) / reach) / sum));
  }
  return all;
}

void scale_picture(const Decoded& from, bool crop, int height, int width, uint8_t* to) {
  double rows = from.height, columns = from.width;
  if (crop) {
    double scale = std::min(rows / height, columns / width);
    rows = height * scale;
    columns = width * scale;
  }
  std::vector<Taps> down = taps(from.height, height, (from.height - rows) / 2, rows), across = taps(from.width, width, (from.width - columns) / 2, columns);
  size_t channels = size_t(from.channels), line = size_t(width) * channels;
  std::vector<float> narrow(size_t(from.height) * line);
  for (size_t y = 0; y < size_t(from.height); ++y)
    for (size_t x = 0; x < size_t(width); ++x)
      for (size_t c = 0; c < channels; ++c) {
        float sum = 0;
        const Taps& t = across[x];
        for (size_t k = 0; k < t.weights.size(); ++k) sum += t.weights[k] * from.pixels.get()[(y * size_t(from.width) + size_t(t.first) + k) * channels + c];
        narrow[y * line + x * channels + c] = sum;
      }
  for (size_t y = 0; y < size_t(height); ++y)
    for (size_t x = 0; x < line; ++x) {
      float sum = 0;
      const Taps& t = down[y];
      for (size_t k = 0; k < t.weights.size(); ++k) sum += t.weights[k] * narrow[(size_t(t.first) + k) * line + x];
      to[y * line + x] = uint8_t(std::lround(std::clamp(sum, 0.0f, 255.0f)));
    }
}

bool is_cut_off(const Bytes& content) {
  std::string_view text = content.text();
  if (text.starts_with("\x89PNG")) return text.size() < 12 || text.find("IEND") > text.size() - 8;   // its checksum follows
  if (!text.starts_with("\xff\xd8")) return false;
  // Segments up to the first scan; a thumbnail inside one of them has an end of its own.
  size_t at = 2;
  while (at + 4 <= text.size() && text[at] == '\xff' && text[at + 1] != '\xda') at += text[at + 1] == '\xff' ? 1 : 2 + size_t(uint8_t(text[at + 2])) * 256 + uint8_t(text[at + 3]);
  return at >= text.size() || text.find("\xff\xd9", at) == text.npos;
}

}  // namespace gradc::runtime
