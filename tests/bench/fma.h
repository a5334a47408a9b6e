// The loop that reaches a core's peak of f32 fused multiply-adds.
#pragma once
#include <chrono>

namespace bench {

#ifdef __AVX512F__
typedef float Lanes __attribute__((vector_size(64)));
#else
typedef float Lanes __attribute__((vector_size(32)));
#endif
constexpr int lanes = sizeof(Lanes) / sizeof(float);

// Twelve sums hide a latency of 4 on two units, and one of 6. Named, because an array would live on the stack.
#define BENCH_EACH_SUM(X) X(a) X(b) X(c) X(d) X(e) X(f) X(g) X(h) X(i) X(j) X(k) X(l)
constexpr int sums = 12;
#define BENCH_DECLARE(name) Lanes name = {};
#define BENCH_USE(name) asm volatile("" ::"v"(name));

/// Calls `work`, which says how much it has done, until the time is over: amount per nanosecond, which is 1e9 a second.
template <class Work>
double rate(double milliseconds, Work&& work) {
  using Clock = std::chrono::steady_clock;
  auto start = Clock::now();
  double amount = 0, ns = 0;
  while (ns < milliseconds * 1e6) {
    amount += work();
    ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  }
  return amount / ns;
}

/// GFLOP/s.
inline double fma_rate(double milliseconds) {
  constexpr int rounds = 20000;   // so that neither the clock nor the sums' way to memory counts
  return rate(milliseconds, [] {
    BENCH_EACH_SUM(BENCH_DECLARE)
    Lanes x = a + 1e-3f, y = a + 0.999f;
    for (int round = 0; round < rounds; round++) {
#define BENCH_STEP(name) \
  name = name * y + x;   \
  asm("" : "+v"(name));
      BENCH_EACH_SUM(BENCH_STEP)
    }
    BENCH_EACH_SUM(BENCH_USE)
    return double(rounds) * sums * lanes * 2;
  });
}

}  // namespace bench
