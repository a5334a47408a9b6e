// Two slots between a thread that gathers and augments and the training loop, which copies out of them. The loop asks for places; those that come
// after each other are ready, any other is made when it is asked for.
#include "runtime/reader.h"

#include <algorithm>
#include <fmt/format.h>
#include <system_error>

#include "runtime/machine.h"

namespace gradc::runtime {

// Chunks below that are copied in the step itself without augmentation: a batch of 32 pictures of 28 x 28 is 25 kB, a few us of copying, no more than waking a thread
// takes. The limit is an estimate, not a measurement.
constexpr size_t least_bytes = 256 << 10;

Result<std::unique_ptr<Reader>> Reader::create(Model& model, const Samples& samples, const std::vector<Entry*>& takers, const Entry* augment, const ReadPlan& plan) {
  std::unique_ptr<Reader> reader(new Reader(model, samples, augment, plan));
  size_t bytes = 0;
  for (const Column& column : samples.columns) {
    Staged staged{&column, augment ? augment->input(column.field.name) : nullptr, augment ? augment->output(column.field.name) : nullptr};
    staged.wanted = std::any_of(takers.begin(), takers.end(), [&](const Entry* entry) { return entry->input(column.field.name); });
    if (staged.wanted) bytes += column.sample_bytes() * size_t(plan.chunk);
    if (staged.wanted || staged.raw) reader->staged_.push_back(std::move(staged));
  }
  if (bytes == 0) return reader;   // the steps read nothing
  bool whole = plan.rows == plan.batch && plan.batch == plan.chunk;   // the same rows in every step
  bool thread = plan.thread == ReadPlan::Thread::automatic ? usable_cores() > 1 && (augment || (!whole && bytes >= least_bytes))
                                                           : plan.thread == ReadPlan::Thread::always;
  if (augment) {
    GRADC_TRY(check_inputs(*augment, samples));
    auto scratch = Block::create(64 + augment->source->local_bytes() + augment->source->scratch_bytes());
    if (!scratch) return scratch.error();
    reader->scratch_ = std::move(*scratch);
  }
  if (!thread && !augment) return reader;
  for (Staged& staged : reader->staged_)
    if (staged.wanted)
      for (auto& slot : staged.slots) slot.resize(staged.column->sample_bytes() * size_t(plan.chunk));
  if (!thread) return reader;
  try {
    reader->thread_ = std::thread([at = reader.get()] { at->live(); });
  } catch (const std::system_error& error) {
    return Error{GRADC_MACHINE, fmt::format("no thread for reading data: {}", error.what())};
  }
  return reader;
}

Reader::~Reader() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard<std::mutex> hold(lock_);
    leaving_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Reader::Place Reader::after(const Place& place) const {
  Place next{place.epoch, place.row + place.count, 0};
  if (next.row >= plan_.rows) next = {place.epoch + 1, 0, 0};
  next.count = std::min(plan_.chunk, plan_.batch - next.row % plan_.batch);
  return next;
}

void Reader::shuffle_for(int64_t epoch) {
  if (!plan_.shuffle || ordered_for_ == epoch) return;
  order_epoch(order_, samples_, model_.scalars.seed, plan_.stage, epoch);
  ordered_for_ = epoch;
}

void Reader::gather(const Staged& staged, int64_t row, int64_t count, uint8_t* to) const {
  static const std::vector<uint32_t> in_order;
  gather_rows(*staged.column, plan_.shuffle ? order_ : in_order, row, count, to);
}

// Augmenting entries take a number of rows at once; of the last ones what there is no sample for is computed and dropped.
void Reader::make(const Place& place, size_t slot) {
  shuffle_for(place.epoch);
  for (Staged& staged : staged_)
    if (staged.wanted && !staged.augmented) gather(staged, place.row, place.count, staged.slots[slot].data());
  if (!augment_) return;
  int64_t rows = compiled_rows(*augment_);
  for (int64_t first = 0; first < place.count; first += rows) {
    int64_t count = std::min(rows, place.count - first);
    for (Staged& staged : staged_) {
      if (!staged.raw) continue;
      gather(staged, place.row + first, count, reinterpret_cast<uint8_t*>(staged.raw->data));
      repeat_last(*staged.raw, count);
    }
    for (const ScalarInput& scalar : augment_->scalars) {   // the loop's own numbers are of another step, perhaps
      if (scalar.name == "row") write_scalar(scalar, place.row + first);
      else if (scalar.name == "step") write_scalar(scalar, place.epoch);
      else write_scalar(scalar);
    }
    run_alone(*augment_, scratch_.data());
    for (Staged& staged : staged_) {
      if (!staged.wanted || !staged.augmented) continue;
      size_t bytes = staged.column->sample_bytes();
      std::memcpy(staged.slots[slot].data() + size_t(first) * bytes, staged.augmented->data, size_t(count) * bytes);
    }
  }
}

void Reader::live() {
  std::unique_lock<std::mutex> hold(lock_);
  while (true) {
    changed_.wait(hold, [&] { return leaving_ || (next_.count > 0 && made_ - taken_ < 2); });
    if (leaving_) return;
    Place place = next_;
    busy_ = true;
    size_t slot = made_ % 2;
    hold.unlock();
    make(place, slot);
    hold.lock();
    busy_ = false;
    places_[slot] = place;
    ++made_;
    if (next_ == place) next_ = after(place);
    changed_.notify_all();
  }
}

void Reader::fill(Entry& entry, int64_t first, int64_t count) {
  Place place{epoch_, base_ + first, count};
  size_t slot = 0;
  if (thread_.joinable()) {
    std::unique_lock<std::mutex> hold(lock_);
    bool coming = made_ > taken_ ? places_[taken_ % 2] == place : next_ == place;
    if (!coming) {   // the first of all, or not the next: nothing that was made helps
      changed_.wait(hold, [&] { return !busy_; });
      taken_ = made_;
      next_ = place;
      changed_.notify_all();
    }
    changed_.wait(hold, [&] { return made_ > taken_; });
    slot = taken_ % 2;
  } else if (augment_) {
    make(place, 0);
  } else {
    shuffle_for(place.epoch);
  }
  bool copied = thread_.joinable() || augment_;
  for (const Staged& staged : staged_) {
    const Port* port = staged.wanted ? entry.input(staged.column->field.name) : nullptr;
    if (!port) continue;
    if (copied) {
      fill_port(*port, staged.slots[slot].data(), count);
      continue;
    }
    gather(staged, place.row, count, reinterpret_cast<uint8_t*>(port->data));
    repeat_last(*port, count);
  }
  if (!thread_.joinable()) return;
  std::lock_guard<std::mutex> hold(lock_);
  ++taken_;
  changed_.notify_all();
}

}  // namespace gradc::runtime
