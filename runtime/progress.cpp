// The bar is redrawn ten times a second at most, with one write, in place: no flicker. Its width follows the terminal.
#include "runtime/progress.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "runtime/json.h"

namespace gradc::runtime {

using Clock = std::chrono::steady_clock;

std::string duration_text(double seconds) {
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  int64_t whole = int64_t(seconds + 0.5);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string short_number(double value) {
  struct { double unit; const char* letter; } units[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
  for (auto& [unit, letter] : units)
    if (value >= unit) return fmt::format("{:.{}f}{}", value / unit, value >= 100 * unit ? 0 : 1, letter);
  return fmt::format("{:.0f}", value);
}

std::string figures_text(const Figures& figures, const std::string& prefix) {
  std::string text;
  for (auto& [name, value] : figures) text += fmt::format("{}{}{} {:.4g}", text.empty() ? "" : "  ", prefix, name, value);
  return text;
}

// Wide enough that lines of several epochs stand below each other.
static std::string columns_text(const Figures& figures) {
  std::string text;
  for (auto& [name, value] : figures) text += fmt::format("  {} {:<9.4g}", name, value);
  return text;
}

Progress::Progress(FILE* out) : out_(out) {
  const char* term = std::getenv("TERM");
  terminal_ = isatty(fileno(out)) && !(term && std::strcmp(term, "dumb") == 0);
  const char* no_colour = std::getenv("NO_COLOR");
  colour_ = terminal_ && !(no_colour && *no_colour);
}

double Progress::seconds_since(Clock::time_point start) const { return std::chrono::duration<double>(Clock::now() - start).count(); }

void Progress::begin(const BlockBegin& block) {
  block_ = block;
  first_cycle_ = epoch_cycle_ = block.done;
  validation_seconds_ = 0;
  begin_ = epoch_begin_ = Clock::now();
  last_draw_ = begin_;
  if (block.blocks > 1) note(fmt::format("block {} of {}{}", block.block + 1, block.blocks, block.name.empty() ? "" : ": " + block.name));
  if (block.done > 0) note(fmt::format("going on after step {} (epoch {})", block.done, block.epochs_done + 1));
}

std::string Progress::position(int64_t epoch, int64_t step) const {
  if (block_.epochs > 0) return fmt::format("epoch {:>{}}/{}", epoch, std::to_string(block_.epochs).size(), block_.epochs);
  return fmt::format("step {:>{}}/{}", step, std::to_string(block_.cycles).size(), block_.cycles);
}

void Progress::step(const StepEnd& now) {
  if (terminal_) {
    if (Clock::now() - last_draw_ >= std::chrono::milliseconds(100)) draw(now);
    return;
  }
  // In a pipe: lines at epochs; where there are none, ten in all.
  if (block_.epochs > 0 || now.step == block_.cycles || now.step % std::max<int64_t>(1, block_.cycles / 10) != 0) return;
  fmt::print(out_, "{}  {}\n", position(now.epoch, now.step), figures_text(now.means));
  std::fflush(out_);
}

void Progress::draw(const StepEnd& now) {
  last_draw_ = Clock::now();
  winsize window{};
  size_t width = ioctl(fileno(out_), TIOCGWINSZ, &window) == 0 && window.ws_col > 0 ? window.ws_col : 80;
  double working = seconds_since(begin_) - validation_seconds_, done = double(now.step - first_cycle_);
  std::string left = duration_text(done > 0 ? working / done * double(block_.cycles - now.step) : 0);
  std::string head = " " + position(now.epoch, now.step) + " ";
  std::string loss = columns_text(now.means);
  std::string rate = block_.samples_per_cycle > 0 ? fmt::format("  {} samples/s", short_number(done * double(block_.samples_per_cycle) / working))
                                                  : fmt::format("  {} steps/s", short_number(done / working));
  std::string time = "  " + left + " left";
  // What does not fit goes, the least important first.
  for (std::string* piece : {&rate, &time, &loss})
    if (head.size() + loss.size() + rate.size() + time.size() + 12 > width) piece->clear();
  size_t used = head.size() + loss.size() + rate.size() + time.size() + 3, cells = width > used ? std::min<size_t>(width - used, 40) : 0;
  double share = block_.cycles_per_epoch > 0 && block_.epochs > 0
                     ? double(now.step - (now.epoch - 1) * block_.cycles_per_epoch) / double(block_.cycles_per_epoch)
                     : double(now.step) / double(block_.cycles);
  size_t eighths = size_t(std::clamp(share, 0.0, 1.0) * double(cells) * 8);
  constexpr const char* parts[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  std::string bar;
  for (size_t cell = 0; cell < cells; ++cell) {
    size_t here = eighths > cell * 8 ? std::min<size_t>(8, eighths - cell * 8) : 0;
    bar += here == 8 ? "█" : parts[here];
  }
  if (cells > 0) bar = colour_ ? "\x1b[36m▕" + bar + "▏\x1b[0m" : "▕" + bar + "▏";
  std::string line = "\r" + head + bar + loss + rate + time + "\x1b[K";
  std::fwrite(line.data(), 1, line.size(), out_);
  std::fflush(out_);
  drawn_ = true;
}

void Progress::erase() {
  if (drawn_) fmt::print(out_, "\r\x1b[K");
  drawn_ = false;
}

void Progress::validating() { validation_begin_ = Clock::now(); }

void Progress::epoch(const EpochEnd& end) {
  erase();
  double seconds = seconds_since(epoch_begin_);
  if (!end.validation.empty()) validation_seconds_ += seconds_since(validation_begin_);
  double samples = double(end.step - epoch_cycle_) * double(block_.samples_per_cycle);
  std::string line = fmt::format(" {}{}", position(end.epoch, end.step), columns_text(end.means));
  if (!end.validation.empty()) {
    line += fmt::format("  val loss {:<9.4g}", end.validation[0].second);
    line += columns_text({end.validation.begin() + 1, end.validation.end()});
  }
  line += "  " + duration_text(seconds);
  if (samples > 0) line += fmt::format("  {} samples/s", short_number(samples / seconds));
  if (end.better) line += colour_ ? "  \x1b[32mbest\x1b[0m" : "  best";
  // An epoch of microseconds (a table of four samples) would print thousands of lines: then every hundredth, and the last.
  int64_t every = std::max<int64_t>(1, block_.epochs / 100);
  if (end.epoch % every == 0 || end.step == block_.cycles) {
    fmt::print(out_, "{}\n", terminal_ ? line : line.substr(1));
    std::fflush(out_);
  }
  epoch_begin_ = Clock::now();
  epoch_cycle_ = end.step;
}

void Progress::note(const std::string& text) {
  erase();
  fmt::print(out_, "{}{}\n", terminal_ ? " " : "", text);
  std::fflush(out_);
}

void Progress::warning(const GradientWarning& warning) {
  erase();
  std::fflush(out_);
  Warnings().warning(warning);
}

void Warnings::warning(const GradientWarning& warning) { fmt::print(stderr, "warning: step {}: {}\n", warning.step, to_string(warning)); }

void Progress::end() {
  erase();
  std::fflush(out_);
}

Result<std::unique_ptr<Log>> Log::open(const std::string& path, bool append) {
  FILE* file = std::fopen(path.c_str(), append ? "a" : "w");
  if (!file) return Error{GRADC_FILE, fmt::format("cannot write '{}': {}", path, std::strerror(errno))};
  return std::unique_ptr<Log>(new Log(file));
}

Log::~Log() { std::fclose(file_); }

void Log::begin(const BlockBegin& block) { block_ = block.blocks > 1 ? (block.name.empty() ? std::to_string(block.block + 1) : block.name) : ""; }

void Log::step(const StepEnd& end) {
  JsonObject line;
  if (!block_.empty()) line.add("block", std::string_view(block_));
  line.add("step", end.step).add("epoch", end.epoch);
  for (auto& [name, value] : end.figures) line.add(name, value);
  if (!end.gradients.empty()) {
    JsonObject norms;
    for (auto& [name, value] : end.gradients) norms.add(name, value);
    line.add("grad_norm", total_norm(end.gradients)).raw("gradients", norms.text());
  }
  fmt::print(file_, "{}\n", line.text());
}

void Log::epoch(const EpochEnd& end) {
  JsonObject line;
  if (!block_.empty()) line.add("block", std::string_view(block_));
  line.add("step", end.step).add("epoch", end.epoch);
  for (auto& [name, value] : end.means) line.add(name.substr(0, name.size() - 4) + "epoch_loss", value);   // "loss", "critic.loss"
  for (auto& [name, value] : end.validation) line.add("val_" + name, value);
  fmt::print(file_, "{}\n", line.text());
  std::fflush(file_);
}

void Log::warning(const GradientWarning& warning) {
  JsonObject line;
  if (!block_.empty()) line.add("block", std::string_view(block_));
  line.add("step", warning.step).add("epoch", warning.epoch).add("warning", name_of(warning.kind)).add("layer", std::string_view(warning.layer)).add("norm", warning.norm);
  fmt::print(file_, "{}\n", line.text());
  std::fflush(file_);
}

void Log::end() { std::fflush(file_); }

}  // namespace gradc::runtime
