// Diagnostics of the elaborator, and where nodes come from. Mistakes that show inside the standard library are the user's: the
// caret goes to the innermost call in the user's own file, and the library's line becomes a further label.
#include <fmt/format.h>

#include "frontend/elaborate_builtins.h"
#include "frontend/elaborator.h"

namespace gradc::front {

Value Elaborator::fail(DiagnosticId id, Span span, std::string message, std::string at_caret, std::vector<Label> labels, std::vector<std::string> hints) {
  Span primary = span;
  if (in_library(span) || !span.known()) {
    for (size_t i = calls.size(); i-- > 0;)
      if (calls[i].known() && !in_library(calls[i])) {
        primary = calls[i];
        break;
      }
    if (primary.file != span.file && span.known()) {
      labels.insert(labels.begin(), {span, at_caret.empty() ? "in the library, here" : at_caret});
      at_caret = "";
    }
  }
  // The same code is run for several functions; it is wrong once.
  std::string key = fmt::format("{}:{}:{}:{}:{}", static_cast<int>(id), primary.file, primary.begin, span.file, span.begin);
  if (!primary.known()) key += message;
  if (!reported_.insert(key).second) return Poison{};
  Diagnostic& diagnostic = diagnostics.add(id, primary, std::move(message));
  diagnostic.at_caret = std::move(at_caret);
  diagnostic.labels = std::move(labels);
  diagnostic.hints = std::move(hints);
  return Poison{};
}

ir::Loc Elaborator::location(const Span& span) const {
  Span place = span;
  if (in_library(span) || !span.known()) {
    place = {};
    for (size_t i = calls.size(); i-- > 0 && !place.known();)
      if (calls[i].known() && !in_library(calls[i])) place = calls[i];
    if (!place.known()) place = span;
  }
  if (!place.known()) return {};
  Position at = sources.position(place.file, place.begin);
  return {place.file, at.line, static_cast<uint16_t>(at.column), ir::Loc::Role::source};
}

std::string Elaborator::line_text(const Span& span) const {
  ir::Loc loc = location(span);
  return loc.known() ? fmt::format("{}:{}", sources.path(loc.file), loc.line) : "";
}

Value Elaborator::unknown_name(const std::string& name, const Span& span, Env& env) {
  std::vector<std::string> candidates;
  for (Env* scope = &env; scope; scope = scope->parent)
    for (const auto& [key, binding] : scope->names) candidates.push_back(key);
  for (const Builtin& builtin : builtins()) candidates.emplace_back(builtin.name);
  std::string near = nearest(name, candidates);
  std::vector<std::string> hints;
  if (!near.empty()) hints.push_back(fmt::format("did you mean `{}`?", near));
  return fail(DiagnosticId::unknown_name, span, fmt::format("there is no `{}` here", name), "not found", {}, hints);
}

Span Elaborator::origin(const Value& value) const {
  auto* tensor = value.get<Tensor>();
  if (!tensor) return {};
  const ir::Loc& loc = emissions_[tensor->emission].function[tensor->node].loc;
  if (!loc.known()) return {};
  // The line from its column on; enough for a label.
  std::string_view line = sources.line(loc.file, loc.line);
  const std::string& text = sources.text(loc.file);
  uint32_t begin = static_cast<uint32_t>(line.data() - text.data());
  uint32_t at = begin + std::min<uint32_t>(loc.column - 1, static_cast<uint32_t>(line.size()));
  return {loc.file, at, begin + static_cast<uint32_t>(line.size())};
}

}  // namespace gradc::front
