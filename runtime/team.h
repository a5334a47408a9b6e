// A small team of threads that run stages together: the host's thread is number 0. A stage is over when its parts are finished, not when all
// threads have arrived: one that the system has taken away, and that holds no part, is not waited for. Who has nothing to do spins for
// about 20 us and then sleeps, so that a team larger than the machine, or a busy machine, costs little.
#pragma once
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace gradc::runtime {

/// What a team runs: stages, one after the other, each cut into parts that any thread may take.
class Stages {
 public:
  virtual ~Stages() = default;
  /// Takes parts of the open stage and runs them until none is left; how many this thread has run. A thread that comes late, even after the
  /// last stage, finds nothing to take.
  virtual int64_t take_part(int thread) = 0;
  /// How many parts the open stage has. Asked while one of them is not reported as finished.
  virtual int64_t parts() const = 0;
  /// Opens the next stage, at the start of a run the first one. False: there is none. Called by the thread that finished the last part of the one before.
  virtual bool next(int thread) = 0;
};

class Team {
 public:
  /// `stages` must live as long as the team: threads that are late look at it after a run.
  Team(int threads, Stages& stages);
  ~Team();
  int threads() const { return threads_; }
  /// Runs all stages; the caller takes part.
  void run();

 private:
  void live(int thread);
  void help(int thread);
  uint32_t wake();
  uint32_t wait_past(uint32_t seen);

  const int threads_;
  Stages& stages_;
  alignas(64) std::atomic<int64_t> finished_{0};   // parts of the open stage
  alignas(64) std::atomic<uint32_t> stage_{0};     // counts what is worth looking up for; also the futex that sleepers wait on
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> running_{false}, leaving_{false};
  std::vector<std::thread> workers_;
};

}  // namespace gradc::runtime
