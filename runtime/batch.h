// From samples to an entry's inputs: the order of an epoch, and copying rows once, to where the kernels read them.
#pragma once
#include <cstdint>
#include <vector>

#include "runtime/data.h"
#include "runtime/entry.h"

namespace gradc::runtime {

/// Makes `order` a permutation of 0..size-1 that depends on its size and the other arguments alone (Fisher-Yates on our own generator: the same on every
/// machine).
void shuffle(std::vector<uint32_t>& order, int64_t seed, int64_t stage, int64_t epoch);
std::vector<uint32_t> shuffled(int64_t count, int64_t seed, int64_t stage, int64_t epoch);
/// The order of an epoch over all samples: a permutation, or for windows of a text as many places, each drawn among all where one can begin.
void order_epoch(std::vector<uint32_t>& order, const Samples& samples, int64_t seed, int64_t stage, int64_t epoch);

/// Where the rows of a batch come from.
class RowSource {
 public:
  virtual ~RowSource() = default;
  /// Writes rows [first, first + count) of the batch into the entry's inputs, and the last of them into the rows behind.
  virtual void fill(Entry& entry, int64_t first, int64_t count) = 0;
};

/// Rows of a split, in the order given (or as they lie, if it is empty), from `base` on.
class SampleRows : public RowSource {
 public:
  SampleRows(const Samples& samples, const std::vector<uint32_t>& order) : samples_(samples), order_(order) {}
  void fill(Entry& entry, int64_t first, int64_t count) override;
  int64_t base = 0;

 private:
  const Samples& samples_;
  const std::vector<uint32_t>& order_;
};

/// Whether the samples have every input that the entry needs, in the right type; else says what is wrong.
Status check_inputs(const Entry& entry, const Samples& samples);
/// Whether the entry reads anything of the samples.
bool reads_any(const Entry& entry, const Samples& samples);
/// Rows that the entry takes at once: the leading dimension of its inputs; 0 if it has none.
int64_t compiled_rows(const Entry& entry);

/// Copies samples first, first + 1, ... of the column in the given order (or as they lie, if it is empty).
void gather_rows(const Column& column, const std::vector<uint32_t>& order, int64_t first, int64_t count, uint8_t* to);
/// Fills the rows of an input from `count` on with the last one before.
void repeat_last(const Port& port, int64_t count);
/// Copies rows [0, count) of raw data of one input, and the last of them into the rows behind.
void fill_port(const Port& port, const uint8_t* rows, int64_t count);

}  // namespace gradc::runtime
