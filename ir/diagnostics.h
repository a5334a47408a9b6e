// Diagnostics: what a user sees when a model file, an IR file or a command line is wrong. Several errors a run; each with
// file, line, column, the source line, a caret, further places (both shapes of a mismatch) and, where one is near, a suggestion.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace gradc {

/// One row per diagnostic in diagnostics.def. `gradc explain E0203` prints the long text.
enum class DiagnosticId : uint16_t {
#define DIAGNOSTIC(name, code, severity, title, explanation) name,
#include "ir/diagnostics.def"
};

enum class Severity : uint8_t { error, warning };

struct DiagnosticInfo {
  std::string_view name, code;
  Severity severity;
  std::string_view title, explanation;
};
const DiagnosticInfo& info(DiagnosticId);
const std::vector<DiagnosticId>& all_diagnostics();

using FileId = uint16_t;   // the same numbers as Loc::file and Module::files; 0 is no file

/// A stretch of a source file, in bytes.
struct Span {
  FileId file = 0;
  uint32_t begin = 0, end = 0;
  bool known() const { return file != 0; }
};

struct Position {
  uint32_t line = 0, column = 0;   // from 1; columns count characters (UTF-8), not bytes
};

/// The texts of all files that take part in a compilation. References and views stay valid while more files are added.
class Sources {
 public:
  FileId add(std::string path, std::string text);
  const std::string& path(FileId) const;
  const std::string& text(FileId) const;
  Position position(FileId, uint32_t offset) const;
  std::string_view line(FileId, uint32_t number) const;   // without its end; "" if there is none
  std::vector<std::string> paths() const;                 // what Module::files holds

 private:
  struct File {
    std::string path, text;
    std::vector<uint32_t> line_starts;
  };
  std::deque<File> files_ = std::deque<File>(1);
};

/// A further place that a diagnostic points at: "w is f32[784, 256] from here".
struct Label {
  Span span;
  std::string text;
};

struct Diagnostic {
  DiagnosticId id;
  Span span;                    // where the caret goes; unknown for command lines and whole files
  std::string message;          // one sentence, lower case, no full stop
  std::string at_caret;         // a few words beside the caret; may be empty
  std::vector<Label> labels;
  std::vector<std::string> hints;   // "did you mean `relu`?"
};

class Diagnostics {
 public:
  explicit Diagnostics(const Sources& sources) : sources_(sources) {}
  /// Adds a diagnostic; the reference stays valid until the next one, to add labels and hints.
  Diagnostic& add(DiagnosticId, Span, std::string message);
  bool failed() const { return errors_ > 0; }
  int errors() const { return errors_; }
  const std::vector<Diagnostic>& all() const { return all_; }
  /// All diagnostics as text, in order, equal ones once (an error in a loop or a layer is found at each turn), with colours for
  /// a terminal if asked.
  std::string render(bool color) const;
  std::string render(const Diagnostic&, bool color) const;

 private:
  const Sources& sources_;
  std::vector<Diagnostic> all_;
  int errors_ = 0;
};

/// The candidate nearest to a misspelt name (edit distance with swaps of neighbours, at most a third of its letters), or "".
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace gradc
