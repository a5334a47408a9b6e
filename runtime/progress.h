// What a person sees of training: a bar that is redrawn in place on a terminal, plain lines in a pipe; and the log for programs.
#pragma once
#include <chrono>
#include <cstdio>
#include <string>

#include "runtime/trainer.h"

namespace gradc::runtime {

/// "1.9 s", "3:07", "2:05:40".
std::string duration_text(double seconds);
/// "152k", "1.3M".
std::string short_number(double value);
/// "loss 0.3456  accuracy 0.8812".
std::string figures_text(const Figures& figures, const std::string& prefix = "");

class Progress : public Observer {
 public:
  /// Writes to `out`: a bar if it is a terminal, else lines.
  explicit Progress(FILE* out);
  void begin(const BlockBegin&) override;
  void step(const StepEnd&) override;
  void validating() override;
  void epoch(const EpochEnd&) override;
  void warning(const GradientWarning&) override;
  void note(const std::string&) override;
  void end() override;

 private:
  void draw(const StepEnd& now);
  void erase();
  double seconds_since(std::chrono::steady_clock::time_point start) const;
  std::string position(int64_t epoch, int64_t step) const;

  FILE* out_;
  bool terminal_, colour_, drawn_ = false;
  BlockBegin block_{};
  int64_t first_cycle_ = 0, epoch_cycle_ = 0;   // where this run, and this epoch, began
  double validation_seconds_ = 0;
  std::chrono::steady_clock::time_point begin_, epoch_begin_, last_draw_, validation_begin_;
};

/// What --quiet leaves of it: warnings, to stderr.
class Warnings : public Observer {
 public:
  void warning(const GradientWarning&) override;
};

/// --log: one JSON object a line, a step, an epoch or a warning. No times: the same seed gives the same log.
class Log : public Observer {
 public:
  static Result<std::unique_ptr<Log>> open(const std::string& path, bool append);
  ~Log() override;
  void begin(const BlockBegin&) override;
  void step(const StepEnd&) override;
  void epoch(const EpochEnd&) override;
  void warning(const GradientWarning&) override;
  void end() override;

 private:
  explicit Log(FILE* file) : file_(file) {}
  FILE* file_;
  std::string block_;
};

}  // namespace gradc::runtime
