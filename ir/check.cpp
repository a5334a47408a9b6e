#include "ir/check.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace gradc {
namespace {
thread_local Doing* current = nullptr;
}

Doing::Doing(std::string what) : what_(std::move(what)), outer_(current) { current = this; }
Doing::~Doing() { current = outer_; }

void check_failed(const char* file, int line, const char* condition, const std::string& message) {
  std::string text = fmt::format("gradc: internal error at {}:{}: {}", file, line, condition);
  if (!message.empty()) text += "\n  " + message;
  for (Doing* doing = current; doing; doing = doing->outer_) text += "\n  while: " + doing->what_;
  text += "\n  This is a mistake in gradc, not in your model. To report it, run the same command with\n"
          "  `--verify` and send its output together with the model file.\n";
  std::fputs(text.c_str(), stderr);
  std::abort();
}
}  // namespace gradc
