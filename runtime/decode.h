// Pictures in memory: decoding PNG and JPEG, and scaling.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "runtime/file.h"

namespace gradc::runtime {

/// Rows of pixels from the top, channels last.
struct Decoded {
  int width = 0, height = 0, channels = 0;
  std::unique_ptr<uint8_t, void (*)(void*)> pixels{nullptr, std::free};
  std::string error;   // why there are no pixels
};

/// channels: what to convert to; 0: as many as the file has.
Decoded decode_picture(const Bytes& content, int channels);
/// Whether a PNG or JPEG file ends before its data does. The decoder itself fills the rest of a JPEG with grey.
bool is_cut_off(const Bytes& content);

/// Scales to height x width. Bilinear; where it shrinks, the triangle is as wide as the pixels of the result, so that none of the source is left out.
/// crop: of the largest part in the middle that has the shape of the result, else of everything.
void scale_picture(const Decoded& from, bool crop, int height, int width, uint8_t* to);

}  // namespace gradc::runtime
