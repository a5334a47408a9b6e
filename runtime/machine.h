// What this process may use of the machine: threads, processor features; and the floating-point control word inside a step.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace gradc::runtime {

/// The least of the cores in our affinity mask (two hardware threads of a core count once) and the control group's quota.
int usable_cores();
/// Threads for a user who asks for so many (0: as many as pay). More than there are cores take turns on them: 3 on 2 cores took twice the
/// time of 1, measured while phases ended when all threads had arrived.
int threads_that_pay(int asked);

/// From one thread's scratch to the next one's: staggered, so that they do not fall on the same sets.
constexpr uint64_t scratch_stride(uint64_t bytes) { return ((bytes < 64 ? 64 : bytes) + 4095) / 4096 * 4096 + 128; }

/// Those of `needed` (spelled as in /proc/cpuinfo) that this processor lacks.
std::vector<std::string> missing_features(const std::vector<std::string>& needed);

/// A figure of this process in bytes, by its name in /proc/self/status ("RssAnon": memory of its own, "VmHWM": the most so far, files that it maps
/// included); 0 if the kernel does not say.
int64_t process_bytes(const char* name);
/// Linux gives the tile registers of AMX to processes that ask for them, once and for all their threads. Whether we have them now.
bool permit_amx();

/// While it lives: round to nearest, all exceptions masked, denormals flushed. Then the caller's setting again.
class FloatControl {
 public:
  FloatControl();
  ~FloatControl();

 private:
  uint32_t saved_;
};

}  // namespace gradc::runtime
