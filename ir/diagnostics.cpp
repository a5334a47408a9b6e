// Sources, the table of diagnostics, and spelling suggestions. How a diagnostic looks is in diagnostics_render.cpp.
#include "ir/diagnostics.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "ir/check.h"

namespace gradc {
namespace {
constexpr DiagnosticInfo infos[] = {
#define DIAGNOSTIC(name, code, severity, title, explanation) {#name, code, Severity::severity, title, explanation},
#include "ir/diagnostics.def"
};

// Bytes that continue a UTF-8 character do not count as columns.
bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

// Damerau-Levenshtein distance in its "optimal string alignment" form: insert, delete, replace, swap neighbours.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), previous(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before = std::exchange(previous, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}
}  // namespace

const DiagnosticInfo& info(DiagnosticId id) { return infos[static_cast<size_t>(id)]; }

const std::vector<DiagnosticId>& all_diagnostics() {
  static const std::vector<DiagnosticId> ids = {
#define DIAGNOSTIC(name, ...) DiagnosticId::name,
#include "ir/diagnostics.def"
  };
  return ids;
}

FileId Sources::add(std::string path, std::string text) {
  CHECK(files_.size() <= UINT16_MAX, "too many source files");
  File& file = files_.emplace_back(File{std::move(path), std::move(text), {0}});
  for (size_t i = 0; i < file.text.size(); ++i)
    if (file.text[i] == '\n') file.line_starts.push_back(static_cast<uint32_t>(i + 1));
  return static_cast<FileId>(files_.size() - 1);
}

const std::string& Sources::path(FileId id) const { return files_.at(id).path; }
const std::string& Sources::text(FileId id) const { return files_.at(id).text; }

Position Sources::position(FileId id, uint32_t offset) const {
  if (id == 0) return {};
  const File& file = files_.at(id);
  offset = std::min<uint32_t>(offset, file.text.size());
  auto next = std::upper_bound(file.line_starts.begin(), file.line_starts.end(), offset);
  uint32_t start = *std::prev(next);
  auto characters = std::count_if(file.text.begin() + start, file.text.begin() + offset, starts_character);
  return {static_cast<uint32_t>(next - file.line_starts.begin()), static_cast<uint32_t>(characters + 1)};
}

std::string_view Sources::line(FileId id, uint32_t number) const {
  const File& file = files_.at(id);
  if (number < 1 || number > file.line_starts.size()) return "";
  std::string_view rest = std::string_view(file.text).substr(file.line_starts[number - 1]);
  rest = rest.substr(0, rest.find('\n'));
  if (rest.ends_with('\r')) rest.remove_suffix(1);
  return rest;
}

std::vector<std::string> Sources::paths() const {
  std::vector<std::string> paths;
  for (const File& file : files_) paths.push_back(file.path);
  return paths;
}

Diagnostic& Diagnostics::add(DiagnosticId id, Span span, std::string message) {
  if (info(id).severity == Severity::error) ++errors_;
  return all_.emplace_back(Diagnostic{id, span, std::move(message), "", {}, {}});
}

std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
  for (const std::string& candidate : candidates)
    if (candidate != name && lower(candidate) == lower(name)) return candidate;
  if (name.size() < 2) return "";   // any other letter would be near
  size_t limit = std::max<size_t>(name.size(), 3) / 3;
  const std::string* best = nullptr;
  for (const std::string& candidate : candidates) {
    size_t distance = edit_distance(name, candidate);
    if (distance == 0 || distance > limit || distance >= candidate.size()) continue;
    best = &candidate;
    limit = distance - 1;
    if (limit == 0) break;
  }
  return best ? *best : "";
}
}  // namespace gradc
