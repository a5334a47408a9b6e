// Barriers and the team. A worker's life: barrier, function, barrier. The host arrives last at the first of them, as a rule, and so starts
// everyone with one store. Measured: three spinning threads on two cores made a step of 0.29 ms take 8, hence the sleep.
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

void Barrier::open() {
  arrived_.store(0, std::memory_order_relaxed);
  // Sequentially consistent against the sleeper's increment: either we see the sleeper, or it sees the new generation.
  generation_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst)) futex(generation_, FUTEX_WAKE_PRIVATE, INT_MAX);
}

bool Barrier::arrive() {
  uint32_t generation = generation_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) return true;
  auto deadline = std::chrono::steady_clock::now() + spin_time;
  do {
    for (int i = 0; i < 32; ++i) {
      if (generation_.load(std::memory_order_acquire) != generation) return false;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (generation_.load(std::memory_order_seq_cst) == generation) futex(generation_, FUTEX_WAIT_PRIVATE, generation);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

Team::Team(int threads) : threads_(threads < 1 ? 1 : threads), barrier_(threads_) {
  sigset_t all, before;   // signals are the host's: workers take none
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int thread = 1; thread < threads_; ++thread) workers_.emplace_back([this, thread] { work(thread); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Team::~Team() {
  function_ = nullptr;
  if (threads_ > 1) barrier_.wait();
  for (std::thread& worker : workers_) worker.join();
}

void Team::work(int thread) {
  FloatControl control;
  while (true) {
    barrier_.wait();
    if (!function_) return;
    function_(context_, thread, barrier_);
    barrier_.wait();
  }
}

void Team::run(Function function, void* context) {
  FloatControl control;
  if (threads_ == 1) return function(context, 0, barrier_);
  function_ = function;
  context_ = context;
  barrier_.wait();
  function(context, 0, barrier_);
  barrier_.wait();
}

}  // namespace gradc::runtime
