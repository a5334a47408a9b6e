// Shuffling and gathering.
#include "runtime/batch.h"

#include <fmt/format.h>
#include <numeric>

#include "runtime/generator.h"

namespace gradc::runtime {

static Generator generator_of(int64_t seed, int64_t stage, int64_t epoch) {
  Generator generator{uint64_t(seed)};
  generator.key(uint64_t(stage));
  generator.key(uint64_t(epoch));
  return generator;
}

void shuffle(std::vector<uint32_t>& order, int64_t seed, int64_t stage, int64_t epoch) {
  std::iota(order.begin(), order.end(), 0u);
  Generator generator = generator_of(seed, stage, epoch);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[generator.below(uint32_t(i))]);
}

std::vector<uint32_t> shuffled(int64_t count, int64_t seed, int64_t stage, int64_t epoch) {
  std::vector<uint32_t> order(size_t(count), 0);
  shuffle(order, seed, stage, epoch);
  return order;
}

void order_epoch(std::vector<uint32_t>& order, const Samples& samples, int64_t seed, int64_t stage, int64_t epoch) {
  order.resize(size_t(samples.count));
  if (samples.positions == 0) return shuffle(order, seed, stage, epoch);
  Generator generator = generator_of(seed, stage, epoch);
  for (uint32_t& place : order) place = generator.below(uint32_t(samples.positions));
}

// Rows behind the samples are masked, but computed: what is no sample must still be data that a model can divide by or take the logarithm of, since
// 0 times a derivative that is not finite is NaN.
void repeat_last(const Port& port, int64_t count) {
  size_t row_bytes = port.bytes / size_t(port.type.shape[0]);
  if (count == 0) std::memset(port.data, 0, port.bytes);
  else for (int64_t row = count; row < port.type.shape[0]; ++row) std::memcpy(port.data + row_bytes * size_t(row), port.data + row_bytes * size_t(count - 1), row_bytes);
}

void fill_port(const Port& port, const uint8_t* rows, int64_t count) {
  size_t row_bytes = port.bytes / size_t(port.type.shape[0]);
  std::memcpy(port.data, rows, row_bytes * size_t(count));
  repeat_last(port, count);
}

void gather_rows(const Column& column, const std::vector<uint32_t>& order, int64_t first, int64_t count, uint8_t* to) {
  size_t row_bytes = column.sample_bytes();
  if (order.empty()) {
    std::memcpy(to, column.sample(first), row_bytes * size_t(count));
    return;
  }
  const uint32_t* places = order.data() + first;
  for (int64_t row = 0; row < count; ++row) {
    constexpr int64_t ahead = 4;   // rows lie anywhere: ask for their first lines early, the rest streams
    if (row + ahead < count) __builtin_prefetch(column.placed(places[row + ahead]));
    std::memcpy(to + size_t(row) * row_bytes, column.placed(places[row]), row_bytes);
  }
}

void SampleRows::fill(Entry& entry, int64_t first, int64_t count) {
  for (const Port& port : entry.inputs)
    if (const Column* column = samples_.column(port.name)) {
      gather_rows(*column, order_, base + first, count, reinterpret_cast<uint8_t*>(port.data));
      repeat_last(port, count);
    }
}

Status check_inputs(const Entry& entry, const Samples& samples) {
  for (const Port& port : entry.inputs) {
    const Column* column = samples.column(port.name);
    if (!column) return Error{GRADC_UNKNOWN_NAME, fmt::format("'{}' needs '{}', which data {} do not have", entry.name, port.name, samples.name)};
    std::vector<int64_t> row(port.type.shape.begin() + (port.type.shape.empty() ? 0 : 1), port.type.shape.end());
    if (port.type.shape.empty() || port.type.element != column->field.type.element || row != column->field.type.shape)
      return Error{GRADC_INTERNAL, fmt::format("'{}' reads '{}' as {}, but a sample is {}", entry.name, port.name, to_string(port.type),
                                               to_string(column->field.type))};
  }
  return {};
}

bool reads_any(const Entry& entry, const Samples& samples) {
  for (const Port& port : entry.inputs)
    if (samples.column(port.name)) return true;
  return false;
}

int64_t compiled_rows(const Entry& entry) {
  for (const Port& port : entry.inputs)
    if (!port.type.shape.empty()) return port.type.shape[0];
  return 0;
}

}  // namespace gradc::runtime
