// Anonymous mappings instead of malloc: they are zero without being touched, and madvise makes huge pages of them, which saves
// translation misses when a step walks through all weights.
#include "runtime/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

namespace gradc::runtime {

static constexpr size_t page = 4096, huge_page = size_t(2) << 20, slack = 256;

Result<Block> Block::create(size_t bytes) {
  size_t mapped = (bytes + slack + page - 1) / page * page;
  bool huge = mapped >= huge_page;
  size_t reserve = huge ? mapped + huge_page : mapped;
  void* at = mmap(nullptr, reserve, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return Error{GRADC_MEMORY, fmt::format("out of memory: {:.1f} MB are needed in one piece", double(bytes) / 1e6)};
  Block block;
  char* start = static_cast<char*>(at);
  if (huge) {   // give back what lies before and behind an aligned range
    char* aligned = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(start) + huge_page - 1) / huge_page * huge_page);
    if (aligned > start) munmap(start, size_t(aligned - start));
    if (size_t rest = size_t(start + reserve - (aligned + mapped))) munmap(aligned + mapped, rest);
    madvise(aligned, mapped, MADV_HUGEPAGE);
    start = aligned;
  }
  block.data_ = start;
  block.size_ = bytes;
  block.mapped_ = mapped;
  return block;
}

Block::~Block() {
  if (data_) munmap(data_, mapped_);
}

void Block::swap(Block& other) {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapped_, other.mapped_);
}

}  // namespace gradc::runtime
