// Tensors as pictures: planes of a weight or of an export's result, put together in a grid, written as PNG.
#pragma once
#include <string>
#include <vector>

#include "runtime/elements.h"
#include "runtime/error.h"

namespace gradc::runtime {

struct Picture {
  int64_t width = 0, height = 0, channels = 1;   // 1: grey, 3: red, green, blue
  std::vector<uint8_t> pixels;                   // row by row
};

/// Of `height` rows of `width` pixels of `channels` numbers. u8 are as they are, bools black and white. Others are scaled by the largest of them: 0 is black
/// if none is negative, else mid grey.
Picture picture_of(ElementType element, const char* data, int64_t height, int64_t width, int64_t channels);
/// The same for numbers that are there already.
Picture picture_of(const std::vector<double>& values, int64_t height, int64_t width, int64_t channels);

/// Height, width and channels that a shape means as a picture: [h, w], [h, w, 1], [h, w, 3]. False: it is none.
bool picture_shape(const std::vector<int64_t>& shape, int64_t& height, int64_t& width, int64_t& channels);

/// Cells of `together` pictures that stand side by side, in a grid that is about square; each picture is enlarged by a whole factor to `least` pixels or more.
Picture grid(const std::vector<Picture>& pictures, size_t together, int64_t least);

Status write_png(const std::string& path, const Picture& picture);

}  // namespace gradc::runtime
