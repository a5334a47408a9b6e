#include "codegen/memory_plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "ir/bf16.h"

namespace gradc::codegen {
using ir::ElementType;

// Large ones first, each at the lowest place that is free while it lives.
ArenaPlan plan_arena(const std::vector<Lifetime>& lives) {
  ArenaPlan plan;
  plan.offsets.resize(lives.size());
  std::vector<size_t> order(lives.size()), done;
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return aligned(lives[a].bytes) > aligned(lives[b].bytes); });
  for (size_t i : order) {
    std::vector<std::pair<uint64_t, uint64_t>> taken;
    for (size_t other : done)
      if (lives[other].first <= lives[i].last && lives[i].first <= lives[other].last)
        taken.push_back({plan.offsets[other], plan.offsets[other] + aligned(lives[other].bytes)});
    std::sort(taken.begin(), taken.end());
    uint64_t offset = 0, bytes = aligned(lives[i].bytes);
    for (const auto& [begin, end] : taken) {
      if (offset + bytes <= begin) break;
      offset = std::max(offset, end);
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
