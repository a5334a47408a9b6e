// A small team of threads that run one function together: the host's thread is number 0. Between runs, and at barriers inside
// one, threads spin for about 20 us and then sleep, so that a team larger than the machine, or a busy machine, costs little.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace gradc::runtime {

/// All threads wait for each other. Whoever arrives last opens it for the rest.
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(uint32_t(threads)) {}
  void wait() {
    if (arrive()) open();
  }
  /// The two halves of wait: true for the thread that arrives last. It has the others' data, may do what needs one thread alone, and must open.
  bool arrive();
  void open();

 private:
  const uint32_t threads_;
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};   // also the futex that sleepers wait on
  std::atomic<uint32_t> sleepers_{0};
};

class Team {
 public:
  using Function = void (*)(void* context, int thread, Barrier& barrier);

  explicit Team(int threads);
  ~Team();
  int threads() const { return threads_; }
  /// Runs function(context, thread, barrier) on every thread and returns when all are done. One thread: a plain call.
  void run(Function function, void* context);

 private:
  void work(int thread);
  const int threads_;
  Barrier barrier_;
  Function function_ = nullptr;   // null tells the workers to leave
  void* context_ = nullptr;
  std::vector<std::thread> workers_;
};

}  // namespace gradc::runtime
