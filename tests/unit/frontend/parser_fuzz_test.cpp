// Damaged source never crashes the parser or the formatter, every loop of theirs ends, and what they accept keeps its
// meaning when formatted. The library's files are damaged in the ways that typing damages files: characters and tokens
// lost, doubled, swapped, cut off.
#include <catch2/catch.hpp>

#include <random>

#include "frontend/ast_dump.h"
#include "frontend/format.h"
#include "frontend/lexer.h"
#include "frontend/parser.h"
#include "frontend/std_files.h"

using namespace gradc;

namespace {

constexpr std::string_view inserted[] = {"(", ")", "[", "]", "{", "}", ",", ";", ":", "=", "<-", "|>", "..", "...", "-", "+", "^", "\n", "\"", "//", "\xC3\xA9", "\x01",
                                          "let ", "for ", "if ", "else ", "in ", "as ", "fn ", "train ", "param ", "state ", "minimize ", "with ", "1e", "9", ".", "\n}\n"};

std::string damage(std::string text, std::mt19937& random) {
  const auto below = [&](size_t n) { return n == 0 ? size_t{0} : random() % n; };
  const size_t changes = 1 + below(4);
  for (size_t i = 0; i < changes; ++i) {
    const size_t at = below(text.size()), length = 1 + below(12);
    switch (below(5)) {
      case 0: text.erase(at, length); break;
      case 1: text.insert(at, inserted[below(std::size(inserted))]); break;
      case 2: text.insert(at, text.substr(below(text.size()), length)); break;
      case 3: text.resize(below(8) == 0 ? at : text.size()); break;
      case 4: std::swap(text[at], text[below(text.size())]); break;
    }
    if (text.empty()) text = " ";
  }
  return text;
}

}  // namespace

TEST_CASE("damaged source is parsed, reported and formatted without harm") {
  std::mt19937 random(7);
  int accepted = 0, refused = 0;
  for (int round = 0; round < 500; ++round) {
    const auto& files = std_files();
    const std::string text = damage(std::string(files[random() % files.size()].text), random);
    Sources sources;
    const FileId file = sources.add("damaged.grad", text);
    Diagnostics diagnostics(sources);
    const std::string tree = dump(parse(file, sources, diagnostics));
    for (const Diagnostic& d : diagnostics.all()) {
      REQUIRE(d.span.begin <= d.span.end);
      REQUIRE(d.span.end <= text.size());
      REQUIRE_FALSE(d.message.empty());
    }
    const bool failed = diagnostics.failed();
    REQUIRE((failed || tree.find("<invalid>") == std::string::npos));
    const std::optional<std::string> out = format(file, sources, diagnostics);
    REQUIRE(out.has_value() == !failed);
    ++(failed ? refused : accepted);
    if (!out) continue;
    const FileId again = sources.add("formatted.grad", *out);
    INFO(text);
    INFO(*out);
    REQUIRE(dump(parse(again, sources, diagnostics)) == tree);
    REQUIRE(format(again, sources, diagnostics) == *out);
    REQUIRE_FALSE(diagnostics.failed());
  }
  CHECK(accepted > 30);   // both paths are exercised
  CHECK(refused > 100);
}
