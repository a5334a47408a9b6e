// Files and messages, for all subcommands.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "frontend/command.h"
#include "ir/diagnostics.h"

namespace gradc::command {
namespace {

struct CloseFile {
  void operator()(FILE* file) const {
    if (file && file != stdin) fclose(file);
  }
};

// What a whole file is found beside: a misspelt path is mostly a misspelt last part.
std::string nearest_path(const std::string& path) {
  namespace fs = std::filesystem;
  fs::path wanted(path);
  fs::path folder = wanted.has_parent_path() ? wanted.parent_path() : fs::path(".");
  std::vector<std::string> names;
  std::error_code ignored;
  for (auto& entry : fs::directory_iterator(folder, ignored)) names.push_back(entry.path().filename().string());
  std::string found = nearest(wanted.filename().string(), names);
  if (found.empty()) return "";
  return wanted.has_parent_path() ? (wanted.parent_path() / found).string() : found;
}

}  // namespace

std::optional<std::string> read_file(const std::string& path, Diagnostics& diagnostics) {
  std::error_code ignored;
  if (path != "-" && std::filesystem::is_directory(path, ignored)) {
    diagnostics.add(DiagnosticId::cannot_read, {}, fmt::format("cannot read `{}`: it is a folder", path));
    return std::nullopt;
  }
  std::unique_ptr<FILE, CloseFile> file(path == "-" ? stdin : fopen(path.c_str(), "rb"));
  if (!file) {
    int reason = errno;
    auto& diagnostic = diagnostics.add(DiagnosticId::cannot_read, {}, fmt::format("cannot read `{}`: {}", path, strerror(reason)));
    if (reason == ENOENT)
      if (std::string other = nearest_path(path); !other.empty()) diagnostic.hints.push_back(fmt::format("did you mean `{}`?", other));
    return std::nullopt;
  }
  std::string text;
  char buffer[1 << 16];
  while (size_t count = fread(buffer, 1, sizeof buffer, file.get())) text.append(buffer, count);
  if (ferror(file.get())) {
    diagnostics.add(DiagnosticId::cannot_read, {}, fmt::format("cannot read `{}`: {}", path, strerror(errno)));
    return std::nullopt;
  }
  return text;
}

bool write_file(const std::string& path, std::string_view text, Diagnostics& diagnostics) {
  if (path.empty() || path == "-") {
    fwrite(text.data(), 1, text.size(), stdout);
    return fflush(stdout) == 0;
  }
  std::string temporary = fmt::format("{}.{}.tmp", path, getpid());
  auto fail = [&] {
    int reason = errno;
    unlink(temporary.c_str());
    diagnostics.add(DiagnosticId::cannot_write, {}, fmt::format("cannot write `{}`: {}", path, strerror(reason)));
    return false;
  };
  FILE* file = fopen(temporary.c_str(), "wb");
  if (!file) return fail();
  bool written = fwrite(text.data(), 1, text.size(), file) == text.size();
  if (fclose(file) != 0 || !written || rename(temporary.c_str(), path.c_str()) != 0) return fail();
  return true;
}

int report(const Diagnostics& diagnostics) {
  bool color = isatty(STDERR_FILENO) && !getenv("NO_COLOR");
  fflush(stdout);
  std::string text = diagnostics.render(color);
  fwrite(text.data(), 1, text.size(), stderr);
  return diagnostics.failed() ? Exit::failed : Exit::ok;
}

std::string wrap(std::string_view text, size_t width, size_t indent) {
  std::string out, line;
  auto flush = [&] {
    if (!line.empty()) out += std::string(indent, ' ') + line + "\n";
    line.clear();
  };
  for (const std::string& word : split_list(text, ' ')) {
    if (!line.empty() && indent + line.size() + 1 + word.size() > width) flush();
    line += (line.empty() ? "" : " ") + word;
  }
  flush();
  return out;
}

std::vector<std::string> split_list(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

std::optional<std::map<std::string, double>> parse_settings(const std::vector<std::string>& settings) {
  std::map<std::string, double> values;
  for (const std::string& setting : settings) {
    size_t equals = setting.find('=');
    const char *begin = setting.data() + equals + 1, *end = setting.data() + setting.size();
    double value = 0;
    if (equals == std::string::npos || equals == 0 || begin == end || std::from_chars(begin, end, value).ptr != end) {
      fmt::print(stderr, "gradc: --set takes NAME=VALUE with a number, not `{}`\n", setting);
      return std::nullopt;
    }
    values[setting.substr(0, equals)] = value;
  }
  return values;
}

}  // namespace gradc::command
