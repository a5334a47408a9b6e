// Asking Linux what we may use. Containers limit processors by affinity or by a quota of time; both count.
#include "runtime/machine.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace gradc::runtime {

static std::string first_line(const std::string& path) {
  std::string line;
  if (FILE* file = std::fopen(path.c_str(), "r")) {
    char buffer[4096];
    if (std::fgets(buffer, sizeof buffer, file)) line = buffer;
    std::fclose(file);
  }
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

static int cores_in_affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return std::max<int>(1, int(sysconf(_SC_NPROCESSORS_ONLN)));
  std::vector<std::string> cores;   // a core is named by the list of its hardware threads
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    std::string siblings = first_line(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    if (siblings.empty()) siblings = fmt::format("{}", cpu);
    if (std::find(cores.begin(), cores.end(), siblings) == cores.end()) cores.push_back(siblings);
  }
  return std::max<int>(1, int(cores.size()));
}

// Processors that the control group's quota amounts to, or infinity. Every group on the way to the root may set one (version 2); version 1 is
// looked up at the mount only, which is what a container sees.
static double quota() {
  double least = INFINITY;
  std::string group = first_line("/proc/self/cgroup");
  size_t colon = group.rfind(':');
  std::string path = colon == std::string::npos ? "/" : group.substr(colon + 1);
  while (true) {
    std::string line = first_line("/sys/fs/cgroup" + (path == "/" ? "" : path) + "/cpu.max");
    long long limit = 0, period = 0;
    if (std::sscanf(line.c_str(), "%lld %lld", &limit, &period) == 2 && period > 0) least = std::min(least, double(limit) / double(period));
    if (path.empty() || path == "/") break;
    path = path.substr(0, path.rfind('/'));
  }
  std::string limit = first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), period = first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (!limit.empty() && !period.empty() && std::atof(limit.c_str()) > 0 && std::atof(period.c_str()) > 0)
    least = std::min(least, std::atof(limit.c_str()) / std::atof(period.c_str()));
  return least;
}

int usable_cores() {
  double limit = std::min(double(cores_in_affinity()), quota());
  return std::max(1, int(std::floor(limit + 0.01)));
}

int threads_that_pay(int asked) { return asked > 0 ? std::min(asked, usable_cores()) : usable_cores(); }

int64_t process_bytes(const char* name) {
  long long kilobytes = 0;
  if (FILE* file = std::fopen("/proc/self/status", "r")) {
    char line[256];
    size_t length = std::strlen(name);
    while (std::fgets(line, sizeof line, file))
      if (std::strncmp(line, name, length) == 0 && line[length] == ':') kilobytes = std::atoll(line + length + 1);
    std::fclose(file);
  }
  return kilobytes * 1024;
}

std::vector<std::string> missing_features(const std::vector<std::string>& needed) {
  if (needed.empty()) return {};
  std::string flags;
  if (FILE* file = std::fopen("/proc/cpuinfo", "r")) {
    char line[16384];
    while (std::fgets(line, sizeof line, file))
      if (std::strncmp(line, "flags", 5) == 0) {
        flags = line;
        break;
      }
    std::fclose(file);
  }
  if (flags.empty()) return {};   // nothing is known: let it run
  for (char& c : flags)
    if (c == '\n' || c == '\t' || c == ':') c = ' ';
  flags += ' ';
  std::vector<std::string> missing;
  for (const std::string& feature : needed)
    if (flags.find(" " + feature + " ") == std::string::npos) missing.push_back(feature);
  return missing;
}

bool permit_amx() {
#if defined(__x86_64__)
  constexpr long request_permission = 0x1023, tile_data = 18;   // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA (asm/prctl.h, Documentation/arch/x86/xstate.rst)
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

#if defined(__x86_64__)
static constexpr uint32_t inside_step = 0x1f80 | 0x8000 | 0x0040;   // exceptions masked, flush to zero, denormals are zero
FloatControl::FloatControl() : saved_(_mm_getcsr()) { _mm_setcsr(inside_step); }
FloatControl::~FloatControl() { _mm_setcsr(saved_); }
#else
FloatControl::FloatControl() : saved_(0) {}
FloatControl::~FloatControl() {}
#endif

}  // namespace gradc::runtime
