// CHECK: our own mistakes. A failed check prints what was expected, the pass that was running and how to
// reproduce, then aborts. Users' mistakes never come here: they are diagnostics (diagnostics.h).
#pragma once
#include <fmt/format.h>
#include <string>

namespace gradc {
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& message);

/// Names what the compiler is doing, for internal errors: "pass fuse on function train.adam".
class Doing {
 public:
  explicit Doing(std::string what);
  ~Doing();
  Doing(const Doing&) = delete;
  Doing& operator=(const Doing&) = delete;

 private:
  std::string what_;
  Doing* outer_;
  friend void check_failed(const char*, int, const char*, const std::string&);
};
}  // namespace gradc

#define CHECK(condition, ...)                                                                       \
  do {                                                                                              \
    if (!(condition)) [[unlikely]]                                                                  \
      ::gradc::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__));         \
  } while (0)
