// Drawings of graphs.
#include <catch2/catch.hpp>

#include "ir/builder.h"
#include "ir/dot.h"

using namespace gradc::ir;
using enum ElementType;

namespace {
Module example() {
  Module module;
  module.name = "net";
  module.files = {"", "net.grad"};
  module.variables = {{"w", {f32, {3, 2}}}};
  Function f;
  f.name = "step";
  Builder b(f);
  b.loc = {1, 2, 3};
  Value x = b.input("x <\"&\">", {f32, {4, 3}}), w = b.variable("w", {f32, {3, 2}});
  Value y = b.contract("mk,kn->mn", x, w);
  b.loc.role = Loc::Role::gradient;
  Value zero = b.scalar(0, f32);
  Value z = b.map(Op::max, {y, zero});
  f.results = {{"y", z}, {"w", w, true}, {"zero", zero}};
  module.functions.push_back(f);
  return module;
}
}  // namespace

TEST_CASE("a drawing shows nodes by kind, constants in their users, results and writes") {
  Module module = example();
  std::string text = dot(module.functions[0], &module);
  INFO(text);
  const std::string nodes = text.substr(text.find("    n0"));
  CHECK(nodes == R"(    n0 [label = <<b>x &lt;&quot;&amp;&quot;&gt;</b><br/>f32[4, 3]<br/><font point-size="9" color="#777777">net.grad:2</font>>, fillcolor = "#d8f3dc"];
    n1 [label = <<b>w</b><br/>f32[3, 2]<br/><font point-size="9" color="#777777">net.grad:2</font>>, fillcolor = "#e8d7f7"];
    n2 [label = <<b>contract(%&quot;x &lt;\&quot;&amp;\&quot;&gt;&quot;, @w) {spec = &quot;mk,kn-&gt;mn&quot;}</b><br/>%2 : f32[4, 2]<br/><font point-size="9" color="#777777">net.grad:2</font>>, fillcolor = "#ffc9b9"];
    n3 [label = <<b>constant {value = 0}</b><br/>f32[]<br/><font point-size="9" color="#777777">gradient of net.grad:2</font>>, fillcolor = "#d8f3dc"];
    n4 [label = <<b>max(%2, 0)</b><br/>%5 : f32[4, 2]<br/><font point-size="9" color="#777777">gradient of net.grad:2</font>>, fillcolor = "#fff6d5"];
  r0 [label = "y", shape = ellipse, fillcolor = "#ffffff"];
  r1 [label = "write @w", shape = house, fillcolor = "#e8d7f7"];
  r2 [label = "zero", shape = ellipse, fillcolor = "#ffffff"];
  n0 -> n2;
  n1 -> n2;
  n2 -> n4;
  n4 -> r0;
  n1 -> r1 [style = dashed];
  n3 -> r2;
}
)");
  CHECK(dot(module).find("label = \"step\"") != std::string::npos);
}

TEST_CASE("kernels are boxes, joined by the values that they pass on") {
  Function f;
  f.name = "f";
  Builder b(f);
  Value x = b.input("x", {f32, {8}}), y = b.make(Op::exp, {x}), z = b.make(Op::neg, {y});
  f.results = {{"z", z}};
  auto kernel = [](Op op) {
    Kernel k;
    Builder body(k.body);
    k.body.results = {{"r0", body.make(op, {body.input("a0", {f32, {8}})})}};
    k.domain = {8};
    return k;
  };
  std::vector<KernelCall> calls = {{kernel(Op::exp), {x}, {y}}, {kernel(Op::neg), {y}, {z}}};
  std::string text = dot(f, calls);
  INFO(text);
  CHECK(text.find("label = \"map 8: exp\"") != std::string::npos);
  CHECK(text.substr(text.find("  r0 [")) == "  r0 [label = \"z\", shape = ellipse, fillcolor = \"#ffffff\"];\n  n0 -> n1;\n  n1 -> n2;\n  n2 -> r0;\n}\n");
}

TEST_CASE("svg is laid out by Graphviz, or says what is missing") {
  Svg drawing = svg(dot(example()));
  INFO(drawing.error);
  if (drawing.error.empty())
    CHECK(drawing.text.find("</svg>") != std::string::npos);
  else
    CHECK(drawing.error == "drawing SVG needs Graphviz: install the package graphviz, or ask for the format dot");
  if (drawing.error.empty()) CHECK(svg("digraph {").error == "`dot` failed with status 1");
}
