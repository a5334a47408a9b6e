// What expressions mean: numbers, tensors, shapes, layers, gradients, each against a value that was computed by hand.
#include "elaborate_harness.h"

using namespace gradc;
using namespace gradc::tests;

TEST_CASE("arithmetic of numbers and tensors", "[elaborate]") {
  near_to(value_of("", "x * 2 + 1"), {7, -3});
  near_to(value_of("", "(1 - x) / 2"), {-1, 1.5});
  near_to(value_of("", "x^2 - x^3"), {9 - 27, 4 + 8});
  near_to(value_of("", "x % 2"), {1, 0});
  near_to(value_of("", "where(x > 0, x, -x * 10)"), {3, 20});
  near_to(value_of("", "clip(x, -1, 1)"), {1, -1});
  near_to(value_of("", "max(x, 0) + min(0, x)"), {3, -2});
  near_to(value_of("let k = 2 ^ 3 - 1", "x * k"), {21, -14});
  near_to(value_of("fn half(y) = y / 2", "x |> half |> half"), {0.75, -0.5});
  near_to(value_of("fn power(y, k) { if k == 0 { 1.0 } else { y * power(y, k - 1) } }", "power(x, 3)"), {27, -8});
  near_to(value_of("", "let y = x\n for i in 1..4 { y = y * i }\n y"), {18, -12});
}

TEST_CASE("shapes and views", "[elaborate]") {
  near_to(value_of("", "x[:, 0:1] - x[:, 1:2]"), {5});
  near_to(value_of("", "reverse(x, 1)"), {-2, 3});
  near_to(value_of("", "concat([x, x * 2], axis = 1)"), {3, -2, 6, -4});
  near_to(value_of("", "reshape(transpose(reshape(x, [2, n])), [n, -1])"), {3, -2});
  near_to(value_of("", "sum(stack([x, 2 * x], axis = 1), axis = 2)"), {1, 2});
  near_to(value_of("", "windows(x, [2], 1, \"same\")[:, :, 0] + 0 * x"), {3, -2});
  near_to(value_of("", "pad(x, [0, 1], [0, 0])"), {0, 3, -2});
  near_to(value_of("", "flatten(reshape(x, [n, 1, 2]))"), {3, -2});
  near_to(value_of("", "let s = shape(x)\n x * s[-1] + len(s) + product(s[1:2])"), {10, 0});
}

TEST_CASE("rows by number", "[elaborate]") {
  // x = (3, -2), n = 1.
  near_to(value_of("", "gather(x, [[1, 0, 1, 2]], axis = 1, batch = 0)[:, 0]"), {-2, 3, -2, 0});
  near_to(value_of("", "gather(x, i32(x) + 2, axis = 1, batch = 1)"), {0, 3});
  near_to(value_of("", "let table = reshape(iota(6), [3, 2])\n f32(table[i32(x) - 1])"), {4, 5, 0, 0});
  near_to(value_of("", "let table = reshape(iota(6), [3, 2])\n f32(transpose(table[:, i32(x) + 2], [1, 2, 0]))"), {0, 0, 0, 0, 2, 4});
  near_to(value_of("", "let table = reshape(iota(12), [3, 2, 2])\n f32(transpose(table[1:, 1, i32(x) + 2], [1, 2, 0]))"), {0, 0, 6, 10});
  near_to(value_of("", "scatter_add([1, 1], x, 3, axis = 1)"), {0, 1, 0});
  near_to(value_of("", "scatter_add(i32(x) + 2, x, 4, axis = 1, batch = 1)"), {-2, 0, 0, 0});
  near_to(value_of("", "grad(sum(gather(x, [1, 1, 0, 5], axis = 1)^2), x)"), {6, -8});
  near_to(value_of("", "let (v, i) = top_k(x, 2)\n v + f32(i)"), {3, -1});
  near_to(value_of("", "cumulative_sum(x)"), {3, 1});
  near_to(value_of("", "f32(random_integers(4, 5, [n]))"), {4});
  near_to(value_of("", "f32(categorical(where(x > 0, 0, -inf)))"), {0});
}

TEST_CASE("reductions", "[elaborate]") {
  near_to(value_of("", "sum(x, axis = -1, keep = true) + x"), {4, -1});
  near_to(value_of("", "mean(x, axis = 1)"), {0.5});
  near_to(value_of("", "max(x, axis = 1) * min(x, axis = 1)"), {-6});
  near_to(value_of("", "f32(argmax(x)) + 10 * f32(argmin(x))"), {10});
  near_to(value_of("", "norm(x, axis = 1)"), {std::sqrt(13.0)});
  near_to(value_of("", "mean(x > 0, axis = 1)"), {0.5});
  near_to(value_of("", "sum(x, axis = 0..-1) * 0 + x"), {3, -2});
}

TEST_CASE("products", "[elaborate]") {
  near_to(value_of("", "x @ [[1, 2], [3, 4]]"), {-3, -2});
  near_to(value_of("", "x @ [1, 2]"), {-1});
  near_to(value_of("", "einsum(\"ni,nj->nij\", x, x)"), {9, -6, -6, 4});
  near_to(value_of("", "einsum(\"ni->n\", x)"), {1});
  near_to(value_of("", "einsum(\"nij,i->nj\", einsum(\"ni,nj->nij\", x, x), [1, 0])"), {9, -6});
  near_to(value_of("", "einsum(\"nii->n\", einsum(\"ni,nj->nij\", x, x))"), {13});
  near_to(value_of("", "einsum(\"ni,nj,nk->n\", x, x, x)"), {1});
}

TEST_CASE("gradients are partial by the name", "[elaborate]") {
  near_to(value_of("", "grad(sum(x^3), x)"), {27, 12});
  // a = x + 0 is another name: the derivative by a alone.
  near_to(value_of("", "let a = x + 0\n grad(sum(a * x), a)"), {3, -2});
  near_to(value_of("", "let a = reshape(x, [n, 2])\n grad(sum(a * x), a)"), {3, -2});
  near_to(value_of("", "grad(sum(x * stop_gradient(x)), x)"), {3, -2});
  near_to(value_of("", "let g = grad(sum(x^3), x)\n let y = x\n grad(sum(grad(sum(y^3), y) * y), y)"), {9 * 9.0, 9 * 4.0});
  near_to(value_of("", "grad(norm(0 * x), x)"), {0, 0});
}

TEST_CASE("layers, instances and names", "[elaborate]") {
  Program p = good(R"(
    layer affine(k: int, init = constant(0.5))(x: f32[..., d]) -> f32[..., k] {
      param w: f32[d, k] = init()
      x @ w
    }
    model net(x: f32[n, 2]) -> f32[n, 1] {
      let twice = affine(2)
      let y = x |> twice |> twice |> affine(3) |> affine(3) as head
      for i in 0..2 { y = y |> affine(3) }
      y |> affine(1)
    }
    export f(x: f32[n, 2]) = net(x)
  )", {{}, {1}, {}, ""});
  std::vector<std::string> names;
  for (const ir::Variable& v : p.module.variables) names.push_back(v.name);
  CHECK(names == std::vector<std::string>{"net.twice.w", "net.affine1.w", "net.head.w", "net.affine2.0.w", "net.affine2.1.w", "net.affine3.w"});
  ir::Bindings state;
  call(p, "init", state);
  CHECK(state.at("@net.twice.w").at(0) == 0.5);
  near_to(call(p, "export.f.1", state, {{"x", f32({1, 2}, {3, -2})}}).at("f"), {0.5 * 2 * 0.5 * 1.5 * 1.5 * 1.5 * 1.5});
}

TEST_CASE("state, training and random numbers", "[elaborate]") {
  Program p = good(R"(
    layer counted()(x: f32[n, d]) {
      state seen: f32[d] = zeros()
      seen <- seen + sum(x, axis = 0)
      if training { x * seen } else { x }
    }
    data d(x: f32[2]) { all = table [[1, 2], [3, 4]] }
    model net(x: f32[n, 2]) { param w: f32[2] = ones(); (x |> counted()) * w }
    train on d.all { batch all; epochs 1
      minimize mean(net(x) * uniform[batch, 2]) with sgd(lr = 0.1) }
  )");
  expand(p);
  ir::Bindings state;
  call(p, "init", state);
  auto results = call(p, "train.sgd", state, {{"x", f32({2, 2}, {1, 2, 3, 4})}});
  near_to(state.at("@net.counted1.seen"), {4, 6});
  CHECK(p.module.function("validate")->result("loss"));
  for (const ir::Result& r : p.module.function("validate")->results) CHECK(!r.write);
}

TEST_CASE("hyperparameters are inputs until a shape needs them", "[elaborate]") {
  const char* text = "config width = 4\nconfig rate = 0.25\nmodel net(x: f32[n, 2]) = x |> dense(width / 2)\nexport f(x: f32[n, 2]) = net(x) * rate + width\n";
  Program p = good(text, {{}, {1}, {}, ""});
  REQUIRE(p.image.config.size() == 1);
  CHECK(p.image.config[0]->name == "rate");
  CHECK(p.module.function("export.f.1")->input("rate").valid());
  CHECK(p.module.variable("net.dense1.w")->type.shape == ir::Shape{2, 2});
  Program q = good(text, {{{"width", 16}, {"rate", 2}}, {1}, {}, ""});
  CHECK(q.image.config.empty());
  CHECK(q.module.variable("net.dense1.w")->type.shape == ir::Shape{2, 8});
}
