// stb_image_write makes the PNG, zlib, which is here anyway, compresses it.
#include "runtime/picture.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fmt/format.h>
#include <zlib.h>

#include "runtime/file.h"

static unsigned char* compress_for_stb(unsigned char* data, int size, int* compressed, int) {
  uLongf bound = compressBound(uLong(size));
  auto* out = static_cast<unsigned char*>(std::malloc(bound));   // stb frees it
  if (out && compress2(out, &bound, data, uLong(size), 9) == Z_OK) return *compressed = int(bound), out;
  std::free(out);
  return nullptr;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#define STBIW_ZLIB_COMPRESS compress_for_stb
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace gradc::runtime {

Picture picture_of(const std::vector<double>& values, int64_t height, int64_t width, int64_t channels) {
  Picture out{width, height, channels, {}};
  double largest = 0;
  bool negative = false;
  for (double v : values)
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v)), negative = negative || v < 0;
  for (double v : values) {
    double share = largest > 0 && std::isfinite(v) ? v / largest : 0;
    out.pixels.push_back(uint8_t(std::lround(negative ? 127.5 + 127.5 * share : 255 * share)));
  }
  return out;
}

Picture picture_of(ElementType element, const char* data, int64_t height, int64_t width, int64_t channels) {
  const size_t count = size_t(height * width * channels), stride = info(element).bytes;
  if (element == ElementType::u8) return {width, height, channels, {data, data + count}};
  std::vector<double> values;
  for (size_t i = 0; i < count; ++i) values.push_back(read_number(element, data + i * stride));
  return picture_of(values, height, width, channels);
}

bool picture_shape(const std::vector<int64_t>& shape, int64_t& height, int64_t& width, int64_t& channels) {
  if (shape.size() != 2 && !(shape.size() == 3 && (shape[2] == 1 || shape[2] == 3))) return false;
  height = shape[0], width = shape[1], channels = shape.size() == 3 ? shape[2] : 1;
  return height > 0 && width > 0;
}

Picture grid(const std::vector<Picture>& pictures, size_t together, int64_t least) {
  int64_t height = 1, width = 1, channels = 1;
  for (const Picture& p : pictures) height = std::max(height, p.height), width = std::max(width, p.width), channels = std::max(channels, p.channels);
  const int64_t factor = std::max<int64_t>(1, (least + std::max(height, width) - 1) / std::max(height, width));
  height *= factor, width *= factor;
  const int64_t gap = std::max<int64_t>(1, std::max(height, width) / 24), cell = int64_t(together) * (width + gap) + (together > 1 ? gap : 0);   // cells of several stand further apart
  const int64_t cells = int64_t((pictures.size() + together - 1) / together);
  const int64_t square = std::max<int64_t>(1, int64_t(std::ceil(std::sqrt(double(cells * (height + gap)) / double(cell)) - 1e-9)));
  int64_t columns = square;   // a few more where no place stays empty then
  while (cells % columns != 0 && columns < 2 * square) ++columns;
  if (cells % columns != 0) columns = square;
  const int64_t rows = (cells + columns - 1) / columns;
  Picture out{columns * cell + gap, rows * (height + gap) + gap, channels, {}};
  out.pixels.assign(size_t(out.width * out.height * channels), 255);
  for (size_t i = 0; i < pictures.size(); ++i) {
    const Picture& p = pictures[i];
    const int64_t at = int64_t(i / together), left = gap + at % columns * cell + int64_t(i % together) * (width + gap), top = gap + at / columns * (height + gap);
    for (int64_t y = 0; y < p.height * factor; ++y)
      for (int64_t x = 0; x < p.width * factor; ++x)
        for (int64_t c = 0; c < channels; ++c)
          out.pixels[size_t(((top + y) * out.width + left + x) * channels + c)] = p.pixels[size_t((y / factor * p.width + x / factor) * p.channels + (p.channels == 1 ? 0 : c))];
  }
  return out;
}

Status write_png(const std::string& path, const Picture& picture) {
  if (picture.width * picture.height * picture.channels > int64_t(1) << 28)
    return Error{GRADC_RANGE, fmt::format("'{}' would have {} by {} pixels, which is too many: take fewer samples", path, picture.width, picture.height)};
  std::string bytes;
  auto append = [](void* to, void* data, int size) { static_cast<std::string*>(to)->append(static_cast<char*>(data), size_t(size)); };
  stbi_write_png_to_func(append, &bytes, int(picture.width), int(picture.height), int(picture.channels), picture.pixels.data(), int(picture.width * picture.channels));
  return write_whole(path, {bytes});
}

}  // namespace gradc::runtime
