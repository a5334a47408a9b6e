// The decoders of stb_image, PNG and JPEG alone, compiled here and nowhere else.
#include <cstdlib>

#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_FAILURE_USERMSG
#include <stb/stb_image.h>

#include "runtime/decode.h"

namespace gradc::runtime {

Decoded decode_picture(const Bytes& content, int channels) {
  Decoded picture;
  int stored = 0;
  uint8_t* pixels = content.size() >> 30 ? nullptr : stbi_load_from_memory(content.data(), int(content.size()), &picture.width, &picture.height, &stored, channels);
  if (!pixels) {
    picture.error = content.size() >> 30 ? "it is larger than 1 GB" : stbi_failure_reason();
    return picture;
  }
  picture.channels = channels ? channels : stored;
  picture.pixels = {pixels, std::free};
  return picture;
}

}  // namespace gradc::runtime
