// Blocks of zeroed memory for variables, arena and scratch: aligned, asking for huge pages where they are large.
#pragma once
#include <cstddef>

#include "runtime/error.h"

namespace gradc::runtime {

class Block {
 public:
  Block() = default;
  ~Block();
  Block(Block&& other) noexcept { swap(other); }
  Block& operator=(Block&& other) noexcept {
    swap(other);
    return *this;
  }
  /// `bytes` of zeros, aligned to a page, with slack behind so that a kernel may read a whole vector past the last element.
  static Result<Block> create(size_t bytes);
  char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  void swap(Block& other);
  char* data_ = nullptr;
  size_t size_ = 0, mapped_ = 0;
};

}  // namespace gradc::runtime
