// The team's threads: woken by a new stage, they help until nothing is left to take. Measured: three spinning threads on two cores made a step
// of 0.29 ms take 8, hence the sleep.
#include "runtime/team.h"

#include <chrono>
#include <climits>
#include <csignal>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "runtime/machine.h"

namespace gradc::runtime {

static constexpr auto spin_time = std::chrono::microseconds(20);

static void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

static void futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), operation, value, nullptr, nullptr, 0);
}

uint32_t Team::wake() {
  // Sequentially consistent against the sleeper's increment: either we see the sleeper, or it sees the new stage.
  uint32_t stage = stage_.fetch_add(1, std::memory_order_seq_cst) + 1;
  if (sleepers_.load(std::memory_order_seq_cst)) futex(stage_, FUTEX_WAKE_PRIVATE, INT_MAX);
  return stage;
}

uint32_t Team::wait_past(uint32_t seen) {
  uint32_t now;
  auto deadline = std::chrono::steady_clock::now() + spin_time;
  do {
    for (int i = 0; i < 32; ++i) {
      if ((now = stage_.load(std::memory_order_acquire)) != seen) return now;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while ((now = stage_.load(std::memory_order_seq_cst)) == seen) futex(stage_, FUTEX_WAIT_PRIVATE, seen);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  return now;
}

void Team::help(int thread) {
  while (int64_t done = stages_.take_part(thread)) {
    int64_t parts = stages_.parts();
    if (finished_.fetch_add(done, std::memory_order_acq_rel) + done < parts) return;
    finished_.store(0, std::memory_order_relaxed);
    if (!stages_.next(thread)) {
      running_.store(false, std::memory_order_release);
      if (thread != 0) wake();
      return;
    }
    wake();
  }
}

Team::Team(int threads, Stages& stages) : threads_(threads < 1 ? 1 : threads), stages_(stages) {
  sigset_t all, before;   // signals are the host's: workers take none
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int thread = 1; thread < threads_; ++thread) workers_.emplace_back([this, thread] { live(thread); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Team::~Team() {
  leaving_.store(true, std::memory_order_relaxed);
  wake();
  for (std::thread& worker : workers_) worker.join();
}

void Team::live(int thread) {
  FloatControl control;
  for (uint32_t stage = 0;;) {
    stage = wait_past(stage);
    if (leaving_.load(std::memory_order_relaxed)) return;
    help(thread);
  }
}

void Team::run() {
  FloatControl control;
  running_.store(true, std::memory_order_relaxed);   // before the first stage opens: late threads of the last run could finish it at once
  if (!stages_.next(0)) return;
  uint32_t stage = wake();
  help(0);
  while (running_.load(std::memory_order_acquire)) {
    stage = wait_past(stage);
    help(0);
  }
}

}  // namespace gradc::runtime
