// The formatter: what it changes, and that it changes neither meaning nor itself.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "frontend/ast_dump.h"
#include "frontend/format.h"
#include "frontend/parser.h"
#include "frontend/std_files.h"

using namespace gradc;

namespace {

std::string formatted(const std::string& text) {
  Sources sources;
  const FileId file = sources.add("test.grad", text);
  Diagnostics diagnostics(sources);
  const std::optional<std::string> out = format(file, sources, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(out.has_value());
  return *out;
}

std::string tree(const std::string& text) {
  Sources sources;
  const FileId file = sources.add("test.grad", text);
  Diagnostics diagnostics(sources);
  return dump(parse(file, sources, diagnostics));
}

void check_stable(const std::string& text) {
  const std::string once = formatted(text);
  CHECK(formatted(once) == once);
  CHECK(tree(once) == tree(text));
}

}  // namespace

TEST_CASE("blanks between tokens are regular") {
  CHECK(formatted("let a=f( x,axis=- 1 )+ - b ^2*c [ :,0 : 3 ]") == "let a = f(x, axis = -1) + -b^2 * c[:, 0:3]\n");
  CHECK(formatted("let a = net{ p }( x )|>dense (10) as  head") == "let a = net{p}(x) |> dense(10) as head\n");
  CHECK(formatted("let a = adamw(decay=0.01{* . b:0,net.*:1})") == "let a = adamw(decay = 0.01 { *.b: 0, net.*: 1 })\n");
  CHECK(formatted("fn f(x:f32[n,d],k:u8<10,j : i32 in 0 .. 3)->f32 [n]{x;y}") == "fn f(x: f32[n, d], k: u8 < 10, j: i32 in 0..3) -> f32[n] { x; y }\n");
  CHECK(formatted("let a = if b{c}else{ }") == "let a = if b { c } else {}\n");
  CHECK(formatted("let a = not x and-y == (-z, )") == "let a = not x and -y == (-z,)\n");
  CHECK(formatted("train on d . t,validate on d.v{minimize -x with a() or b()}") == "train on d.t, validate on d.v { minimize -x with a() or b() }\n");
}

TEST_CASE("lines are indented by their brackets and by what they continue") {
  CHECK(formatted("fn f(x) {\nlet y = x |> a\n|> b(\n1,\n2\n)\n|> c\nlet z =\ny\nif y {\nz\n}\nelse {\nw }\n}") == R"(fn f(x) {
    let y = x |> a
              |> b(
                  1,
                  2
              )
              |> c
    let z =
        y
    if y {
        z
    }
    else {
        w }
}
)");
  CHECK(formatted("let a = f(g(\nx\n))\nlet b = x\n|> f\n|> g\nlet c = (x\n+ y)") == R"(let a = f(g(
    x
))
let b = x
    |> f
    |> g
let c = (x
    + y)
)");
}

TEST_CASE("signs and comments line up") {
  CHECK(formatted("optimizer o(lr = 1) {\nstate v=0 // velocity\nv<-v+1\nparam <- param-v // step\ng <- 1 // more\n\nlong <- 1\n}") == R"(optimizer o(lr = 1) {
    state v = 0  // velocity
    v     <- v + 1
    param <- param - v  // step
    g     <- 1          // more

    long <- 1
}
)");
  CHECK(formatted("data d(x: f32) {\ntrain = csv(\"a\")\ntest=csv(\"b\")\nfrom \"c\"\n}") == R"(data d(x: f32) {
    train = csv("a")
    test  = csv("b")
    from "c"
}
)");
}

TEST_CASE("comments and blank lines stay, without excess") {
  CHECK(formatted("\n\n// head  \n\n\n\n/// doc\nfn f(x) { // why\n\n  // inside\nx\n// last\n\n}\n// end\n\n\n") == R"(// head

/// doc
fn f(x) {  // why
    // inside
    x
    // last
}
// end
)");
  CHECK(formatted("") == "");
  CHECK(formatted("// only") == "// only\n");
}

TEST_CASE("formatting is stable and keeps the tree") {
  check_stable("fn f(x){\n// a\nlet y=x\n// b\n|>a\n|>b\n y }");
  check_stable("let a = [\n[1,2],\n\n[3,4] ] // end\nlet b=f(\n// inside\nx) ; let c=1");
  for (const StdFile& f : std_files()) {
    INFO(f.name);
    check_stable(std::string(f.text));
  }
}

TEST_CASE("the standard library and the models are formatted") {
  for (const StdFile& f : std_files()) {
    INFO(f.name);
    CHECK(formatted(std::string(f.text)) == std::string(f.text));
  }
  for (const auto& entry : std::filesystem::directory_iterator("models")) {   // tests run from the checkout's root
    if (entry.path().extension() != ".grad") continue;
    std::stringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    INFO(entry.path());
    CHECK(formatted(text.str()) == text.str());
  }
}

TEST_CASE("a file with syntax errors is left alone") {
  Sources sources;
  const FileId file = sources.add("test.grad", "let a = (");
  Diagnostics diagnostics(sources);
  CHECK_FALSE(format(file, sources, diagnostics).has_value());
  CHECK(diagnostics.errors() == 1);
}
