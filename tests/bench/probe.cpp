// What the machine can do right now. On shared machines the same core drifts by 30% within minutes and a second core may be half
// away, so benchmarks ask this before and after each block: the limit is what was measured beside the block, and blocks between
// whose probes a core moved are dropped. A server, so that a question costs its milliseconds and no more. Questions on standard
// input, a line of JSON for each:
//   fma THREADS MILLISECONDS            {"each": [116.1, 115.8]}   GFLOP/s of each core in f32 fused multiply-adds, all at once
//   bf16 THREADS MILLISECONDS           the same for products of bf16 summed in f32 (AMX, else AVX512-BF16; 0 without either)
//   stream THREADS BYTES MILLISECONDS   {"each": [31.0, 30.2]}   GB/s of each core that reads and writes its share of three arrays of
//                                       so many bytes together, as an optimizer does with weights and moments
//   read THREADS BYTES MILLISECONDS     the same for reading one array, as prediction does with weights
//   ping THREADS MILLISECONDS           {"each": [180.2]}   nanoseconds of a message from the first core to each other one and back: where
//                                       a virtual machine's cores move apart, every step on two cores takes longer, and the figures
//                                       above do not show it
#include <fmt/format.h>
#include <immintrin.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fma.h"

using namespace bench;

namespace {

double bf16_rate(int milliseconds) {
#if defined(__AMX_BF16__)
  constexpr int request_permission = 0x1023, tile_data = 18;
  if (syscall(SYS_arch_prctl, request_permission, tile_data) != 0) return 0;
  struct alignas(64) {
    unsigned char palette = 1, start_row = 0, reserved[14] = {};
    unsigned short bytes_in_row[16] = {64, 64, 64, 64, 64, 64};
    unsigned char rows[16] = {16, 16, 16, 16, 16, 16};
  } shape;
  _tile_loadconfig(&shape);
  _tile_zero(0), _tile_zero(1), _tile_zero(2), _tile_zero(3), _tile_zero(4), _tile_zero(5);
  double result = rate(milliseconds, [] {
    for (int round = 0; round < 1000; round++) {
      _tile_dpbf16ps(0, 4, 5);
      _tile_dpbf16ps(1, 4, 5);
      _tile_dpbf16ps(2, 4, 5);
      _tile_dpbf16ps(3, 4, 5);
    }
    return 1000.0 * 4 * 16 * 16 * 32 * 2;
  });
  _tile_release();
  return result;
#elif defined(__AVX512BF16__)
  BENCH_EACH_SUM(BENCH_DECLARE)
  __m512bh x = {}, y = {};
  asm("" : "+v"(x), "+v"(y));
  double result = rate(milliseconds, [&] {
    for (int round = 0; round < 2000; round++) {
#define DOT(name)                                                     \
  name = reinterpret_cast<Lanes>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(name), x, y)); \
  asm("" : "+v"(name));
      BENCH_EACH_SUM(DOT)
    }
    return 2000.0 * sums * lanes * 4;
  });
  BENCH_EACH_SUM(BENCH_USE)
  return result;
#else
  return 0 * milliseconds;
#endif
}

struct Array {
  explicit Array(size_t count) : data(static_cast<Lanes*>(std::aligned_alloc(4096, (count * sizeof(Lanes) + 4095) / 4096 * 4096))) {
    std::memset(data.get(), 0, count * sizeof(Lanes));   // by the thread that will use it
  }
  struct Free {
    void operator()(Lanes* p) const { std::free(p); }
  };
  std::unique_ptr<Lanes, Free> data;
};

// What a core streams over. It stays from question to question, for touching new memory takes longer than the measurement.
struct Streams {
  explicit Streams(size_t count) : count(count), weights(count), first(count), second(count) {}
  size_t count;
  Array weights, first, second;
};

// `ready` is called between touching the memory and measuring.
template <class Ready>
double stream_rate(std::unique_ptr<Streams>& streams, size_t bytes, int milliseconds, Ready&& ready) {
  const size_t count = bytes / 3 / sizeof(Lanes) + 1;
  if (!streams || streams->count != count) streams = std::make_unique<Streams>(count);
  Lanes *__restrict w = streams->weights.data.get(), *__restrict m = streams->first.data.get(), *__restrict v = streams->second.data.get();
  auto pass = [&] {
    for (size_t i = 0; i < count; i++) {
      m[i] = m[i] * 0.9f + 1e-3f;
      v[i] = v[i] * 0.99f + 1e-3f;
      w[i] = w[i] - m[i] * v[i];
    }
    asm volatile("" ::: "memory");
    return 6.0 * double(count) * sizeof(Lanes);
  };
  pass();
  ready();
  return rate(milliseconds, pass);
}

template <class Ready>
double read_rate(size_t bytes, int milliseconds, Ready&& ready) {
  size_t count = bytes / sizeof(Lanes) / sums * sums + sums;
  Array weights(count);
  const Lanes* w = weights.data.get();
  BENCH_EACH_SUM(BENCH_DECLARE)
  auto pass = [&] {
    for (const Lanes* p = w; p < w + count;) {
#define READ(name) name += *p++;
      BENCH_EACH_SUM(READ)
    }
    asm volatile("" ::: "memory");
    return double(count) * sizeof(Lanes);
  };
  pass();
  ready();
  double result = rate(milliseconds, pass);
  BENCH_EACH_SUM(BENCH_USE)
  return result;
}

std::vector<int> allowed_cores() {
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof allowed, &allowed);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; core++)
    if (CPU_ISSET(core, &allowed)) cores.push_back(core);
  return cores;
}

void stay_on(int core) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(core, &mask);
  sched_setaffinity(0, sizeof mask, &mask);   // where it is refused, the figure is of some core
}

double ping_nanoseconds(int core, int other, int milliseconds) {
  alignas(64) std::atomic<int> ball = 0;   // even: at the first core; negative: over
  std::jthread partner([&] {
    stay_on(other);
    for (int seen = 0; seen >= 0; seen = ball.load(std::memory_order_acquire))
      if (seen & 1) ball.store(seen + 1, std::memory_order_release);
  });
  stay_on(core);
  int next = 0;
  auto exchange = [&] {
    ball.store(next + 1, std::memory_order_release);
    next += 2;
    while (ball.load(std::memory_order_acquire) != next) {}
    return 1.0;
  };
  for (int i = 0; i < 100; i++) exchange();
  double result = 1 / rate(milliseconds, exchange);
  ball = -1;
  return result;
}

}  // namespace

int main() {
  const std::vector<int> cores = allowed_cores();
  std::vector<std::unique_ptr<Streams>> streams(cores.size());
  std::string what;
  int threads = 0, milliseconds = 0;
  while (std::cin >> what >> threads) {
    double bytes = 0;
    if (what == "stream" || what == "read") std::cin >> bytes;
    std::cin >> milliseconds;
    if (what == "ping") {
      std::vector<double> figures;
      std::jthread([&] {   // which is bound to a core
        for (size_t i = 1; i < std::min(size_t(threads), cores.size()); i++) figures.push_back(ping_nanoseconds(cores[0], cores[i], milliseconds));
      }).join();
      fmt::print("{{\"each\": [{:.1f}]}}\n", fmt::join(figures, ", "));
      std::fflush(stdout);
      continue;
    }
    std::vector<double> figures(std::clamp<size_t>(size_t(threads), 1, cores.size()));
    std::barrier together(std::ptrdiff_t(figures.size()));
    std::vector<std::jthread> team;
    for (size_t i = 0; i < figures.size(); i++)
      team.emplace_back([&, i] {
        stay_on(cores[i]);
        auto ready = [&] { together.arrive_and_wait(); };
        const size_t share = size_t(bytes / double(figures.size()));
        if (what == "stream") figures[i] = stream_rate(streams[i], share, milliseconds, ready);
        else if (what == "read") figures[i] = read_rate(share, milliseconds, ready);
        else ready(), figures[i] = what == "bf16" ? bf16_rate(milliseconds) : fma_rate(milliseconds);
      });
    team.clear();   // joins
    fmt::print("{{\"each\": [{:.2f}]}}\n", fmt::join(figures, ", "));
    std::fflush(stdout);
  }
}
