// The parser: what source text becomes which tree (as dumped), where statements end, and what is reported.
#include <catch2/catch.hpp>

#include "frontend/ast_dump.h"
#include "frontend/parser.h"

using namespace gradc;

namespace {

struct Parsed {
  std::string tree;
  std::vector<Diagnostic> diagnostics;
  std::string codes;   // "E0101:2:5 E0102:3:1"
  ast::File file;
};

Parsed parse_text(const std::string& text) {
  Sources sources;
  const FileId file = sources.add("test.grad", text);
  Diagnostics diagnostics(sources);
  Parsed p;
  p.file = parse(file, sources, diagnostics);
  p.tree = dump(p.file);
  p.diagnostics = diagnostics.all();
  for (const Diagnostic& d : p.diagnostics) {
    const Position at = sources.position(file, d.span.begin);
    p.codes += (p.codes.empty() ? "" : " ") + std::string(info(d.id).code) + ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
  }
  return p;
}

/// The dump of one expression.
std::string expression(const std::string& text) {
  Parsed p = parse_text("let x = " + text);
  INFO(p.codes << (p.diagnostics.empty() ? "" : " " + p.diagnostics[0].message));
  CHECK(p.diagnostics.empty());
  REQUIRE(p.tree.starts_with("let x = "));
  return p.tree.substr(8, p.tree.size() - 9);
}

/// The dump of the statements of a function.
std::string body(const std::string& text) {
  Parsed p = parse_text("fn f(x) {" + text + "}");
  INFO(p.codes << (p.diagnostics.empty() ? "" : " " + p.diagnostics[0].message));
  CHECK(p.diagnostics.empty());
  return p.tree;
}

std::string errors(const std::string& text) { return parse_text(text).codes; }

std::string first_message(const std::string& text) {
  Parsed p = parse_text(text);
  REQUIRE(!p.diagnostics.empty());
  return p.diagnostics[0].message;
}

}  // namespace

TEST_CASE("operators bind as in mathematics") {
  CHECK(expression("a + b * c") == "(+ a (* b c))");
  CHECK(expression("a - b - c") == "(- (- a b) c)");
  CHECK(expression("x @ w + b") == "(+ (@ x w) b)");
  CHECK(expression("-x ^ 2") == "(- (^ x 2))");
  CHECK(expression("a ^ b ^ c") == "(^ a (^ b c))");
  CHECK(expression("2 ^ -t") == "(^ 2 (- t))");
  CHECK(expression("a / b % c") == "(% (/ a b) c)");
  CHECK(expression("a < b and not c == d or e") == "(or (and (< a b) (not (== c d))) e)");
  CHECK(expression("0..n - 1") == "(.. 0 (- n 1))");
  CHECK(expression("0..-1") == "(.. 0 (- 1))");
  CHECK(expression("a + b |> f |> g(c)") == "(|> (|> (+ a b) f) (call g c))");
  CHECK(expression("a or b |> f") == "(|> (or a b) f)");
}

TEST_CASE("numbers, texts and names") {
  CHECK(expression("3") == "3");
  CHECK(expression("0.5") == "0.5");
  CHECK(expression("1e-3") == "0.001");
  CHECK(expression("2e3") == "2000.0");
  CHECK(expression("x * .5") == "(* x 0.5)");
  CHECK(expression("\"a \\\"b\\\"\\n\"") == "\"a \\\"b\\\"\\n\"");
  CHECK(expression("true") == "true");
  CHECK(expression("step(batch, data)") == "(call step batch data)");   // words elsewhere, names here
}

TEST_CASE("calls, members, subscripts") {
  CHECK(expression("dense(10)(x)") == "(call (call dense 10) x)");
  CHECK(expression("sum(x, axis = -1)") == "(call sum x axis: (- 1))");
  CHECK(expression("fashion.train[0:5000]") == "(index (. fashion train) (: 0 5000 _))");
  CHECK(expression("x[:, 0:3, ::2, i]") == "(index x (: _ _ _) (: 0 3 _) (: _ _ 2) i)");
  CHECK(expression("normal[batch, 64]") == "(index normal batch 64)");
  CHECK(expression("bernoulli(p)[n]") == "(index (call bernoulli p) n)");
  CHECK(expression("net{params(net) - 0.1 * g}(x)") == "(call (substitute net (- (call params net) (* 0.1 g))) x)");
  CHECK(expression("x |> dense(10) as head |> relu") == "(|> (|> x (as head (call dense 10))) relu)");
  CHECK(expression("net.dense.1.w") == "(. (. (. net dense) 1) w)");
  CHECK(expression("adamw(decay = 0.01 { *.b: 0, net.head.*: 0.1 }, lr = 1)") ==
        "(call adamw decay: 0.01 {*.b: 0} {net.head.*: 0.1} lr: 1)");
  CHECK(expression("(a, b)") == "(tuple a b)");
  CHECK(expression("(a,)") == "(tuple a)");
  CHECK(expression("((a))") == "a");
  CHECK(expression("[[0, 1], [2, 3,]]") == "(list (list 0 1) (list 2 3))");
}

TEST_CASE("if is an expression") {
  CHECK(expression("if a { b } else { c }") == "(if a {b} {c})");
  CHECK(expression("if a { b } else if c { d } else { e }") == "(if a {b} {(if c {d} {e})})");
  CHECK(expression("if a == b { let y = c; y } else { c } + 1") == "(+ (if (== a b) {let y = c; y} {c}) 1)");
  CHECK(expression("if n { x }") == "(if n {x})");   // no M{p} in the head
}

TEST_CASE("line ends end statements, except inside brackets and before signs that continue") {
  CHECK(body("\n  let y = x\n    |> relu\n    |> dense(\n 3\n )\n  y\n") ==
        "fn f\n  takes x\n  body\n    let y = (|> (|> x relu) (call dense 3))\n    y\n");
  CHECK(body("\n let a = x\n -a\n") == "fn f\n  takes x\n  body\n    let a = x\n    (- a)\n");
  CHECK(body("\n let a = x\n (a)\n") == "fn f\n  takes x\n  body\n    let a = x\n    a\n");
  CHECK(body("\n let a = x\n [a]\n") == "fn f\n  takes x\n  body\n    let a = x\n    (list a)\n");
  CHECK(body("\n let a = x +\n a\n * 2\n") == "fn f\n  takes x\n  body\n    let a = (+ x (* a 2))\n");
  CHECK(body("let a = (x\n - 1\n (2)); a") == "fn f\n  takes x\n  body\n    let a = (- x (call 1 2))\n    a\n");
  CHECK(body("\n if x {\n a\n }\n else {\n b }\n") == "fn f\n  takes x\n  body\n    (if x {a} {b})\n");
}

TEST_CASE("statements") {
  CHECK(body("\n param w: f32[d, n] = zeros()\n state v = 0\n v <- v + w\n param <- param - v\n") ==
        "fn f\n  takes x\n  body\n    param w: f32[d, n] = (call zeros)\n    state v = 0\n    v <- (+ v w)\n    param <- (- param v)\n");
  CHECK(body("\n let (m, v) = g(x)\n let h(y) = y * 2\n for i in 0..6 { x = h(x) }\n") ==
        "fn f\n  takes x\n  body\n    let (m, v) = (call g x)\n    let h\n      takes y\n      body\n        (* y 2)\n"
        "    for i in (.. 0 6)\n      x = (call h x)\n");
}

TEST_CASE("declarations") {
  CHECK(parse_text("layer dense(units: int, init = glorot, bias = true)(x: f32[..., d]) -> f32[..., units] { x }").tree ==
        "layer dense (configured) -> f32[..., units]\n  configured by units: int\n  configured by init = glorot\n  configured by bias = true\n"
        "  takes x: f32[..., d]\n  body\n    x\n");
  CHECK(parse_text("/// Formula.\n/// Second line.\nfn g(x) -> (f32[n], int) = x").tree ==
        "fn g -> f32[n], int\n  documented \"Formula.\\nSecond line.\"\n  takes x\n  body\n    x\n");
  CHECK(parse_text("config width: int = 256; import \"b.grad\"").tree == "config width: int = 256\nimport \"b.grad\"\n");
  CHECK(parse_text("export predict(image: u8[n, 28], k: i32 < 10, j: i32 in -1..3) = image").tree ==
        "export predict\n  takes image: u8[n, 28]\n  takes k: i32 in _ .. 10\n  takes j: i32 in (- 1) .. 3\n  body\n    image\n");
  CHECK(parse_text("optimizer sam(base, rho = 0.05) { base(grad = grad_at(param + rho * grad / norm(grad))) }").codes.empty());
}

TEST_CASE("data") {
  const Parsed p = parse_text(R"(data d(x: f32[2], y: u8 < 2) {
    train = idx("a.gz", "b.gz")
    all = csv("t.csv"); two = npy("x.npy", "y.npy")
    xor = table [[0, 0, 0], [0, 1, 1]]
    noise = generate(i < 100) { (normal[2], 0) }
    small = train[0:5000]
    from "/data"
  })");
  CHECK(p.codes == "");
  CHECK(p.tree ==
        "data d\n  field x: f32[2]\n  field y: u8 in _ .. 2\n  split train = idx \"a.gz\" \"b.gz\"\n  split all = csv \"t.csv\"\n"
        "  split two = npy \"x.npy\" \"y.npy\"\n  split xor = table (list (list 0 0 0) (list 0 1 1))\n  split noise = generate i < 100\n"
        "    (tuple (index normal 2) 0)\n  split small = part (index train (: 0 5000 _))\n  from \"/data\"\n");
}

TEST_CASE("train") {
  const Parsed p = parse_text(R"(train first on d.train[0:50000], validate on d.test {
    batch 128
    accumulate 4
    epochs 10
    stop early on critic after 3 epochs without lower loss
    watch gradients every 20 steps
    load "f.safetensors" into net.body from "encoder."
    freeze net.body, net.head
    let real = image / 255
    step critic repeat 5 {
      minimize loss(real)
        over net, net.head
        with adam(lr = 1e-4) or sgd()
    }
    net.w <- net.w + 1
    report accuracy = mean(real)
  }
  train for 100 steps { minimize f() }
  train on d.train { batch all; for 20 steps; watch gradients; for i in 0..2 { freeze m } })");
  CHECK(p.codes == "");
  CHECK(p.tree ==
        "train first on (index (. d train) (: 0 50000 _)) validate (. d test)\n  batch 128\n  accumulate 4\n  epochs 10\n"
        "  stop early on critic after 3\n  watch gradients every 20\n  body\n    load \"f.safetensors\" into (. net body) from \"encoder.\"\n"
        "    freeze (list (. net body) (. net head))\n    let real = (/ image 255)\n    step critic repeat 5\n"
        "      minimize (call loss real) over (list net (. net head)) with (list (call adam lr: 0.0001) (call sgd))\n"
        "    (. net w) <- (+ (. net w) 1)\n    report accuracy = (call mean real)\n"
        "train on _ validate _\n  for 100 steps\n  body\n    minimize (call f)\n"
        "train on (. d train) validate _\n  batch all\n  for 20 steps\n  watch gradients every _\n  body\n    for i in (.. 0 2)\n      freeze (list m)\n");
}

TEST_CASE("comments and documentation") {
  const Parsed p = parse_text("// A file.\n// Second line.\n\n/// Doc.\nfn f(x) = x // end\n// between\nfn g(x) = x");
  CHECK(p.codes == "");
  CHECK(p.file.doc == "A file.\nSecond line.");
  CHECK(p.tree == "fn f\n  documented \"Doc.\"\n  takes x\n  body\n    x\nfn g\n  takes x\n  body\n    x\n");
}

TEST_CASE("spans cover what was written") {
  const std::string text = "fn f(x) { let y = dense(10)(x) + 1\n y }";
  const Parsed p = parse_text(text);
  const auto& f = std::get<ast::Function>(p.file.items[0].node);
  const auto part = [&](Span s) { return text.substr(s.begin, s.end - s.begin); };
  CHECK(part(f.span) == text);
  CHECK(part(f.name.span) == "f");
  const auto& let = std::get<ast::Let>(f.body.statements[0]->node);
  CHECK(part(f.body.statements[0]->span) == "let y = dense(10)(x) + 1");
  CHECK(part(let.value->span) == "dense(10)(x) + 1");
  const auto& sum = std::get<ast::Binary>(let.value->node);
  CHECK(part(sum.left->span) == "dense(10)(x)");
  CHECK(part(sum.sign) == "+");
}

TEST_CASE("mistakes are reported where they are, several in a run") {
  CHECK(errors("fn f(x) {\n  let y = * 2\n  let z = x +\n  let = 3\n  z z\n}\nfn g(x = x\n\nfn h(x) = )") ==
        "E0101:2:11 E0101:3:14 E0101:4:7 E0101:5:5 E0102:7:11 E0101:9:11");
  CHECK(errors("model m(x) {\n  x |> dense(10\n}\nlet a = ]\n") == "E0102:2:16 E0101:4:9");
  CHECK(errors("fn f(x) {\n  x\n\nfn g(x) = x") == "E0102:2:4");
  CHECK(errors("data d(x: f32) {\n train = foo(3)\n from \"a\"\n from \"b\"\n test = idx(3)\n}") == "E0101:2:10 E0107:4:2 E0101:5:13");
  CHECK(errors("train on d.t {\n batch 3\n batch 4\n epochs\n stop early\n minimize x\n}") == "E0107:3:2 E0101:4:8 E0101:5:12");
  CHECK(errors("fn f(x) { minimize x }") == "E0108:1:11");
  CHECK(errors("minimize x") == "E0108:1:1");
  CHECK(errors("fn f(x) { f(a = 1, 2) }") == "E0110:1:20");
  CHECK(errors("fn f(x) = 0 < x < 1") == "E0111:1:17");
  CHECK(errors("fn f(x) { x + 1 <- 2; x.y = 3; x.y <- 3 }") == "E0109:1:11 E0109:1:23");
  CHECK(errors("let a = 2x # what\nlet b = \"open\nlet c = 1e999") == "E0104:1:9 E0105:1:12 E0103:2:9 E0104:3:9");
  CHECK(errors("} } )") == "E0101:1:1");
  CHECK(errors("fn f(x)(y) = x") == "E0101:1:8");
  CHECK(errors("") == "");
}

TEST_CASE("messages say what was expected and give a hint") {
  CHECK(first_message("fn f(x) {\n  x |> dense(10\n}") == "expected `)`, found a new line with `}`");
  CHECK(first_message("fn f(x) { x y }") == "expected the end of the statement, found `y`");
  CHECK(first_message("fn f(x) =") == "expected an expression, found the end of the file");
  CHECK(first_message("fn (x) = x") == "expected a name after `fn`, found `(`");
  CHECK(parse_text("modle m(x) = x").diagnostics[0].hints == std::vector<std::string>{"did you mean `model`?"});
  CHECK(parse_text("let a = 1 # b").diagnostics[0].hints == std::vector<std::string>{"a comment begins with `//`"});
}

TEST_CASE("deep nesting and long chains are refused, not fatal") {
  const auto repeat = [](const std::string& s, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += s;
    return out;
  };
  const int many = 100000;
  CHECK(errors("let a = " + repeat("(", many)).substr(0, 5) == "E0106");
  CHECK(errors("let a = " + repeat("[", many)).substr(0, 5) == "E0106");
  CHECK(errors("let a = " + repeat("f(", many)).substr(0, 5) == "E0106");
  CHECK(errors("let a = " + repeat("-", many) + "1").substr(0, 5) == "E0106");
  CHECK(errors("let a = " + repeat("not ", many) + "1").substr(0, 5) == "E0106");
  CHECK(errors("let a = 1" + repeat(" ^ 1", many)).substr(0, 5) == "E0106");
  CHECK(errors("let a = 1" + repeat(" + 1", many)).substr(0, 5) == "E0106");
  CHECK(errors("let a = 1" + repeat(" |> f", many)).substr(0, 5) == "E0106");
  CHECK(errors("let a = f" + repeat("(1)", many)).substr(0, 5) == "E0106");
  CHECK(errors("let a = " + repeat("if a { b } else ", many)).substr(0, 5) == "E0106");
  CHECK(errors("fn f(x) " + repeat("{ if x ", many)).substr(0, 5) == "E0106");
  CHECK(errors("fn f(x) " + repeat("{ for i in x ", many)).substr(0, 5) == "E0106");
  CHECK(errors("let a = 1" + repeat(" + 1", 900)) == "");
}
