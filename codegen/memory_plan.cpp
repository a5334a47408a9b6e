#include "codegen/memory_plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>

#include "ir/bf16.h"

namespace gradc::codegen {
using ir::ElementType;

bool hands_over(const Lifetime& first, const Lifetime& second) {
  return first.last == second.first && first.read.strand >= 0 && first.read.strand == second.written.strand && first.read.call < second.written.call &&
         first.row_bytes > 0 && first.row_bytes == second.row_bytes && first.rows == second.rows;
}

// Large ones first, each at the lowest place that is free while it lives, or at the very place of those that it takes over from or hands over to.
ArenaPlan plan_arena(const std::vector<Lifetime>& lives) {
  ArenaPlan plan;
  plan.offsets.resize(lives.size());
  std::vector<size_t> order(lives.size()), done;
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return aligned(lives[a].bytes) > aligned(lives[b].bytes); });
  struct Taken {
    uint64_t begin, end;
    bool shared;   // another value may lie exactly there
  };
  std::vector<Taken> taken;
  for (size_t i : order) {
    taken.clear();
    std::set<uint64_t> places;
    for (size_t other : done)
      if (lives[other].first <= lives[i].last && lives[i].first <= lives[other].last) {
        bool shared = hands_over(lives[other], lives[i]) || hands_over(lives[i], lives[other]);
        taken.push_back({plan.offsets[other], plan.offsets[other] + aligned(lives[other].bytes), shared});
        if (shared) places.insert(plan.offsets[other]);
      }
    std::sort(taken.begin(), taken.end(), [](const Taken& a, const Taken& b) { return a.begin < b.begin; });
    uint64_t offset = 0, bytes = aligned(lives[i].bytes);
    for (const Taken& t : taken) {
      if (offset + bytes <= t.begin) break;
      offset = std::max(offset, t.end);
    }
    for (uint64_t at : places) {
      if (at >= offset) break;
      if (std::all_of(taken.begin(), taken.end(), [&](const Taken& t) { return at + bytes <= t.begin || t.end <= at || (t.shared && t.begin == at); })) {
        offset = at;
        break;
      }
    }
    plan.offsets[i] = offset;
    plan.bytes = std::max(plan.bytes, offset + bytes);
    done.push_back(i);
  }
  return plan;
}

uint64_t most_live(const std::vector<Lifetime>& lives) {
  uint64_t most = 0;
  for (const Lifetime& at : lives) {   // the most is reached where something begins
    uint64_t sum = 0;
    for (const Lifetime& life : lives)
      if (life.first <= at.first && at.first <= life.last) sum += aligned(life.bytes);
    most = std::max(most, sum);
  }
  return most;
}

uint64_t add_constant(const ir::Node& node, std::vector<uint8_t>& constants) {
  const ir::Dense& data = node.attrs.dense(ir::Attr::data);
  std::vector<uint8_t> bytes(node.type.bytes());
  auto store = [&]<typename T>(size_t i, T value) { std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T)); };
  for (size_t i = 0; i < data.size(); ++i) switch (node.type.element) {
      case ElementType::f32: store(i, static_cast<float>(data[i])); break;
      case ElementType::f64: store(i, data[i]); break;
      case ElementType::bf16: store(i, to_bf16(static_cast<float>(data[i]))); break;
      case ElementType::i32: store(i, static_cast<int32_t>(data[i])); break;
      case ElementType::i64: store(i, static_cast<int64_t>(data[i])); break;
      case ElementType::u8:
      case ElementType::boolean: store(i, static_cast<uint8_t>(data[i])); break;
    }
  uint64_t offset = aligned(constants.size());
  constants.resize(offset);
  constants.insert(constants.end(), bytes.begin(), bytes.end());
  return offset;
}
}  // namespace gradc::codegen
