// What the machine can do right now: fused multiply-adds per second of each core, all cores at once. On shared machines the
// same core drifts by 30% within minutes, so benchmarks run this before and after each block and drop blocks where it moved.
//   fma_probe [threads [milliseconds]]   ->   {"gflops": [116.1, 115.8]}
#include <fmt/format.h>
#include <sched.h>

#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

#ifdef __AVX512F__
typedef float Lanes __attribute__((vector_size(64)));
#else
typedef float Lanes __attribute__((vector_size(32)));
#endif

// Twelve accumulators hide a latency of 4 on two units. Named, because an array would live on the stack.
#define EACH_SUM(X) X(a) X(b) X(c) X(d) X(e) X(f) X(g) X(h) X(i) X(j) X(k) X(l)
constexpr int accumulators = 12;

double gflops_of_core(int core, int milliseconds) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(core, &mask);
  sched_setaffinity(0, sizeof mask, &mask);   // where it is refused, the figure is of some core
#define DECLARE(name) Lanes name = {};
  EACH_SUM(DECLARE)
  Lanes x = a + 1e-3f, y = a + 0.999f;
  using Clock = std::chrono::steady_clock;
  auto start = Clock::now();
  double steps = 0, seconds = 0;
  while (seconds * 1e3 < milliseconds) {
    for (int round = 0; round < 2000; round++) {
#define STEP(name)     \
  name = name * y + x; \
  asm("" : "+v"(name));
      EACH_SUM(STEP)
    }
    steps += 2000;
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
#define USE(name) asm volatile("" ::"v"(name));
  EACH_SUM(USE)
  return steps * accumulators * (sizeof(Lanes) / sizeof(float)) * 2 / seconds * 1e-9;
}

}  // namespace

int main(int count, char** arguments) {
  int threads = count > 1 ? atoi(arguments[1]) : static_cast<int>(std::thread::hardware_concurrency());
  int milliseconds = count > 2 ? atoi(arguments[2]) : 20;
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof allowed, &allowed);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE && static_cast<int>(cores.size()) < threads; core++)
    if (CPU_ISSET(core, &allowed)) cores.push_back(core);
  std::vector<double> figures(cores.size());
  std::vector<std::jthread> team;
  for (size_t i = 0; i < cores.size(); i++) team.emplace_back([&, i] { figures[i] = gflops_of_core(cores[i], milliseconds); });
  team.clear();   // joins
  fmt::print("{{\"gflops\": [{:.1f}]}}\n", fmt::join(figures, ", "));
}
