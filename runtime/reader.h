// The training data as the steps take them: shuffled, gathered, augmented, ahead of time where that pays.
#pragma once
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/batch.h"
#include "runtime/memory.h"
#include "runtime/model.h"

namespace gradc::runtime {

/// What an epoch looks like to its reader: batches one after the other, each in chunks.
struct ReadPlan {
  int64_t stage = 0;                            // number of the train block
  bool shuffle = true;
  int64_t rows = 0, batch = 0, chunk = 0;       // rows: that an epoch takes
  enum class Thread : uint8_t { automatic, always, never } thread = Thread::automatic;
};

/// Rows of the training data, in the order of their epoch. Where there is something to augment, or much to copy, a thread of its own has the next
/// chunks ready; the bits are the same either way, and the same wherever a training begins: they follow from seed, stage, epoch and row.
class Reader : public RowSource {
 public:
  /// augment: the entry that is to be run on the rows, or null. `takers`: the entries that will be filled. Whatever can fail does so here.
  static Result<std::unique_ptr<Reader>> create(Model& model, const Samples& samples, const std::vector<Entry*>& takers, const Entry* augment, const ReadPlan& plan);
  ~Reader() override;

  /// Row 0 of fill() from now on.
  void seek(int64_t epoch, int64_t base) { epoch_ = epoch, base_ = base; }
  void fill(Entry& entry, int64_t first, int64_t count) override;
  bool has_thread() const { return thread_.joinable(); }

 private:
  struct Place {
    int64_t epoch = 0, row = 0, count = 0;
    bool operator==(const Place&) const = default;
  };
  struct Staged {
    const Column* column;
    const Port *raw, *augmented;   // of the augmenting entry; null: it does not take or give this field
    std::vector<uint8_t> slots[2];
    bool wanted;                   // by a step; others are there for the augmenting entry alone
  };

  Reader(Model& model, const Samples& samples, const Entry* augment, const ReadPlan& plan) : model_(model), samples_(samples), augment_(augment), plan_(plan) {}
  Place after(const Place&) const;
  void shuffle_for(int64_t epoch);
  void make(const Place&, size_t slot);
  void gather(const Staged&, int64_t row, int64_t count, uint8_t* to) const;
  void live();
  void stop();

  Model& model_;
  const Samples& samples_;
  const Entry* augment_;
  const ReadPlan plan_;
  std::vector<Staged> staged_;
  Block scratch_;
  int64_t epoch_ = 0, base_ = 0;
  // Of whoever makes slots:
  std::vector<uint32_t> order_;
  int64_t ordered_for_ = -1;

  std::mutex lock_;
  std::condition_variable changed_;
  Place next_, places_[2];        // what will be made next; what is in the slots
  uint64_t made_ = 0, taken_ = 0;   // slots so far
  bool busy_ = false, leaving_ = false;
  std::thread thread_;            // last: it looks at everything else
};

}  // namespace gradc::runtime
