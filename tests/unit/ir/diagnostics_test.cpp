// What a diagnostic looks like, to the letter.
#include <catch2/catch.hpp>

#include "ir/diagnostics.h"

using namespace gradc;

namespace {
// The span of the nth occurrence of `what` in a file.
Span find(const Sources& sources, FileId file, std::string_view what, int nth = 0) {
  size_t at = sources.text(file).find(what);
  while (nth-- > 0) at = sources.text(file).find(what, at + 1);
  REQUIRE(at != std::string::npos);
  return {file, static_cast<uint32_t>(at), static_cast<uint32_t>(at + what.size())};
}
}  // namespace

TEST_CASE("positions count lines and characters from 1") {
  Sources sources;
  FileId file = sources.add("a.grad", "ab\nβγ = 1\r\n\nlast");
  CHECK(sources.position(file, 0).line == 1);
  CHECK(sources.position(file, 3).line == 2);
  Position equals = sources.position(file, find(sources, file, "=").begin);
  CHECK(equals.line == 2);
  CHECK(equals.column == 4);
  Position end = sources.position(file, 10000);
  CHECK(end.line == 4);
  CHECK(end.column == 5);
  CHECK(sources.line(file, 2) == "βγ = 1");
  CHECK(sources.line(file, 3) == "");
  CHECK(sources.line(file, 4) == "last");
  CHECK(sources.line(file, 5) == "");
  CHECK(sources.paths() == std::vector<std::string>{"", "a.grad"});
}

TEST_CASE("texts stay where they are while files are added") {
  Sources sources;
  FileId file = sources.add("a", "short");
  const std::string* text = &sources.text(file);
  for (int i = 0; i < 100; ++i) sources.add("b", "x");
  CHECK(text == &sources.text(file));
}

TEST_CASE("a diagnostic shows line, caret and help") {
  Sources sources;
  FileId file = sources.add("net.grad", "model net(x: f32[n, 4]) {\n    x |> rleu\n}\n");
  Diagnostics diagnostics(sources);
  Diagnostic& d = diagnostics.add(DiagnosticId::unexpected_token, find(sources, file, "rleu"), "nothing is called `rleu`");
  d.at_caret = "unknown name";
  d.hints = {"did you mean `relu`?"};
  CHECK(diagnostics.failed());
  CHECK(diagnostics.render(false) ==
        "error[E0101]: nothing is called `rleu`\n"
        " --> net.grad:2:10\n"
        "  |\n"
        "2 |     x |> rleu\n"
        "  |          ^^^^ unknown name\n"
        "  |\n"
        "  = help: did you mean `relu`?\n");
}

TEST_CASE("labels stand on their lines, in other files too, and the gutter fits the longest number") {
  Sources sources;
  FileId lib = sources.add("std/layers.grad", "layer dense(units: int)(x: f32[..., d]) {\n    param w: f32[d, units] = init()\n}\n");
  FileId file = sources.add("net.grad", "let x = image\n\nlet w = ones([300, 10])\n\n\n\n\n\n\n\nlet y = x @ w\n");
  Diagnostics diagnostics(sources);
  Diagnostic& d = diagnostics.add(DiagnosticId::unexpected_token, find(sources, file, "@"), "the inner dimensions of `@` differ: 784 and 300");
  d.at_caret = "needs equal dimensions";
  d.labels = {{find(sources, file, "x", 1), "f32[128, 784]"},
              {find(sources, file, "w", 1), "f32[300, 10]"},
              {find(sources, file, "w"), "w is made here"},
              {find(sources, lib, "w: f32[d, units]"), "declared here"}};
  CHECK(diagnostics.render(false) ==
        "error[E0101]: the inner dimensions of `@` differ: 784 and 300\n"
        "  --> net.grad:11:11\n"
        "   |\n"
        " 3 | let w = ones([300, 10])\n"
        "   |     - w is made here\n"
        "...\n"
        "11 | let y = x @ w\n"
        "   |         - ^ - f32[300, 10]\n"
        "   |         | |\n"
        "   |         | needs equal dimensions\n"
        "   |         f32[128, 784]\n"
        "   |\n"
        "  ::: std/layers.grad:2:11\n"
        "   |\n"
        " 2 |     param w: f32[d, units] = init()\n"
        "   |           ---------------- declared here\n");
}

TEST_CASE("a caret inside a label is drawn over it, lines two apart show the one between") {
  Sources sources;
  FileId file = sources.add("a.grad", "let a = f(1)\n\n\tlet b = f(\"é\", a)");
  Diagnostics diagnostics(sources);
  Diagnostic& d = diagnostics.add(DiagnosticId::unexpected_token, find(sources, file, "\"é\""), "expected a number");
  d.labels = {{find(sources, file, "f(\"é\", a)"), "in this call"}, {find(sources, file, "f(1)"), ""}};
  CHECK(diagnostics.render(false) ==
        "error[E0101]: expected a number\n"
        " --> a.grad:3:12\n"
        "  |\n"
        "1 | let a = f(1)\n"
        "  |         ----\n"
        "2 |\n"
        "3 |     let b = f(\"é\", a)\n"
        "  |             --^^^---- in this call\n");
}

TEST_CASE("spans of several lines, of nothing and at the end of a file") {
  Sources sources;
  FileId file = sources.add("a.grad", "train on x {\n  batch 1\n}");
  Diagnostics diagnostics(sources);
  diagnostics.add(DiagnosticId::unexpected_token, {file, 6, 24}, "wrong block");
  diagnostics.add(DiagnosticId::unexpected_token, {file, 5, 5}, "missing name");
  diagnostics.add(DiagnosticId::unexpected_token, {file, 24, 24}, "unexpected end of file");
  CHECK(diagnostics.errors() == 3);
  CHECK(diagnostics.render(false) ==
        "error[E0101]: wrong block\n"
        " --> a.grad:1:7\n"
        "  |\n"
        "1 | train on x {\n"
        "  |       ^^^^^^\n"
        "\n"
        "error[E0101]: missing name\n"
        " --> a.grad:1:6\n"
        "  |\n"
        "1 | train on x {\n"
        "  |      ^\n"
        "\n"
        "error[E0101]: unexpected end of file\n"
        " --> a.grad:3:2\n"
        "  |\n"
        "3 | }\n"
        "  |  ^\n");
}

TEST_CASE("without a place there is only the message, and equal errors appear once") {
  Sources sources;
  Diagnostics diagnostics(sources);
  for (int i = 0; i < 3; ++i) diagnostics.add(DiagnosticId::ir_syntax, {}, "cannot read `x.gir`").hints = {"is it there?"};
  CHECK(diagnostics.render(false) == "error[E0501]: cannot read `x.gir`\n  = help: is it there?\n");
}

TEST_CASE("colour wraps the same text") {
  Sources sources;
  FileId file = sources.add("a.grad", "let x = y\n");
  Diagnostics diagnostics(sources);
  diagnostics.add(DiagnosticId::unexpected_token, find(sources, file, "y"), "no `y`").at_caret = "here";
  CHECK(diagnostics.render(true) ==
        "\033[1;31merror[E0101]\033[0m\033[1m: no `y`\033[0m\n"
        " \033[1;34m--> \033[0ma.grad:1:9\n"
        "\033[1;34m  |\033[0m\n"
        "\033[1;34m1 |\033[0m let x = y\n"
        "\033[1;34m  |\033[0m         \033[1;31m^\033[0m \033[1;31mhere\033[0m\n");
}

TEST_CASE("every diagnostic has a code of its own and an explanation") {
  std::vector<std::string> codes;
  for (DiagnosticId id : all_diagnostics()) {
    const DiagnosticInfo& row = info(id);
    INFO(row.name);
    CHECK(row.code.size() == 5);
    CHECK((row.severity == Severity::error || row.severity == Severity::warning));
    CHECK(row.explanation.ends_with("."));
    CHECK(std::find(codes.begin(), codes.end(), row.code) == codes.end());
    codes.emplace_back(row.code);
  }
  CHECK(info(DiagnosticId::ir_syntax).name == "ir_syntax");
  CHECK(info(DiagnosticId::ir_syntax).code == "E0501");
}

TEST_CASE("the nearest name") {
  std::vector<std::string> names = {"relu", "sigmoid", "softmax", "reshape", "x", "cross_entropy", "lr"};
  CHECK(nearest("rleu", names) == "relu");
  CHECK(nearest("relo", names) == "relu");
  CHECK(nearest("Relu", names) == "relu");
  CHECK(nearest("sofmtax", names) == "softmax");
  CHECK(nearest("crossentropy", names) == "cross_entropy");
  CHECK(nearest("ls", names) == "lr");
  CHECK(nearest("rl", names) == "lr");
  CHECK(nearest("y", names) == "");
  CHECK(nearest("tanh", names) == "");
  CHECK(nearest("relu", names) == "");
}
