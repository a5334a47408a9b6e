// Optimizers against their formulas, and what train blocks, data and exports give the runtime.
#include "elaborate_harness.h"

using namespace gradc;
using namespace gradc::tests;

namespace {
// One parameter w = 2 and the loss mean (w x)^2 over x = (1, 3): L(w) = 5 w^2, gradient 10 w.
const char* parabola = R"(
  data d(x: f32) { all = table [[1], [3]] }
  model net(x: f32[n]) -> f32[n] { param w: f32 = 2; x * w }
)";

struct Trained {
  Program program;
  ir::Bindings state;
};
Trained train(const std::string& optimizer, int steps, const std::string& declarations = "", const std::string& batch = "batch all") {
  Trained t{good(std::string(parabola) + declarations + "\ntrain on d.all { " + batch + "\n epochs 1\n minimize mean(net(x)^2) with " + optimizer + " }\n"), {}};
  expand(t.program);
  REQUIRE(ir::verify(t.program.module) == "");
  const program::OptimizerT& o = *t.program.image.trains[0]->step_list[0]->optimizers[0];
  call(t.program, "init", t.state);
  if (!o.init.empty()) call(t.program, o.init, t.state);
  for (int i = 1; i <= steps; ++i)
    call(t.program, o.step, t.state, {{"x", f32({2}, {1, 3})}, {"t", ir::Tensor::of({ir::ElementType::f64, {}}, {static_cast<double>(i)})}});
  return t;
}
double w_after(const std::string& optimizer, int steps, const std::string& declarations = "") { return train(optimizer, steps, declarations).state.at("@net.w").at(0); }
}  // namespace

TEST_CASE("optimizers of the library", "[elaborate]") {
  CHECK(w_after("sgd(lr = 0.01)", 2) == Approx(2 * 0.9 * 0.9));
  CHECK(w_after("gd(lr = 0.01)", 1) == Approx(1.8));
  // v1 = 0.1 * 20 = 2, w1 = 1.98; v2 = 0.9 * 2 + 0.1 * 19.8 = 3.78, w2 = 1.9422
  CHECK(w_after("momentum(lr = 0.01, beta = 0.9)", 2) == Approx(1.9422));
  // v1 = 20, w1 = 1.8; v2 = 0.9 * 20 + 18 = 36, w2 = 1.44
  CHECK(w_after("heavy_ball(lr = 0.01, beta = 0.9)", 2) == Approx(1.44));
  // v1 = 2, w1 = 1.98; gradient at 1.98 - 0.01 * 0.9 * 2 = 1.962: 19.62; v2 = 1.8 + 1.962, w2 = 1.98 - 0.03762
  CHECK(w_after("nesterov(lr = 0.01, beta = 0.9)", 2) == Approx(1.98 - 0.03762));
  CHECK(w_after("adagrad(lr = 0.1)", 2) == Approx(1.9 - 0.1 * 19 / std::sqrt(400 + 361.0)));
  CHECK(w_after("rmsprop(lr = 0.1, beta = 0.9)", 1) == Approx(2 - 0.1 / std::sqrt(0.1)));
  CHECK(w_after("adam(lr = 0.1)", 1) == Approx(1.9));
  CHECK(w_after("adamw(lr = 0.1, decay = 0.5)", 1) == Approx(2 - 0.1 * (1 + 0.5 * 2)));
  CHECK(w_after("adamw(lr = 0.1, decay = 0.5 { net.w: 0 })", 1) == Approx(1.9));
}

TEST_CASE("optimizers around others", "[elaborate]") {
  CHECK(w_after("clip_norm(sgd(lr = 0.1), limit = 1)", 1) == Approx(1.9));
  CHECK(w_after("clip_value(sgd(lr = 0.1), limit = 5)", 1) == Approx(1.5));
  CHECK(w_after("weight_decay(sgd(lr = 0.1), decay = 1)", 1) == Approx(2 - 0.1 * 22));
  // gradient at 2 + 0.5: 25
  CHECK(w_after("sam(sgd(lr = 0.01), rho = 0.5)", 1) == Approx(1.75));
  // The clipped gradient is taken where nesterov looks: |g| > 1 everywhere on the way.
  CHECK(w_after("clip_norm(nesterov(lr = 0.1, beta = 0.5), limit = 1)", 1) == Approx(1.95));
  CHECK(w_after("halves(sgd(lr = 0.01))", 1, "optimizer halves(base) { base(grad = grad)\n param <- param / 2 }") == Approx(0.9));
}

TEST_CASE("an optimizer's states and values", "[elaborate]") {
  const char* mine = R"(optimizer mine(lr = 0.1) {
    state k: f32 = 3
    state s = param
    state past: param[2] = 1
    k <- k + 1
    s <- s + loss
    past <- past * t
    param <- param - lr * layerwise(norm(grad)) / k
  })";
  Trained t = train("mine()", 1, mine);
  CHECK(t.state.at("@mine/k").at(0) == 4);
  CHECK(t.state.at("@mine/s/net.w").at(0) == 22);   // 2 + L(2)
  CHECK(t.state.at("@mine/past/net.w").type.shape == ir::Shape{2});
  CHECK(t.state.at("@net.w").at(0) == Approx(2 - 0.1 * 20 / 4));
  const program::OptimizerT& o = *t.program.image.trains[0]->step_list[0]->optimizers[0];
  CHECK(o.init == "init.mine");
  CHECK(o.lr == "mine.lr");
}

TEST_CASE("schedules and hyperparameters", "[elaborate]") {
  CHECK(w_after("sgd(lr = warmup(0.04, 4))", 1) == Approx(2 - 0.01 * 20));
  CHECK(w_after("sgd(lr = cosine(0.01, warmup = 2))", 1) == Approx(2 - 0.005 * 20));
  CHECK(w_after("sgd(lr = warmup(step(0.04), 4))", 1) == Approx(2 - 0.01 * 20));
  Trained t = train("sgd(lr = warmup(step(0.04, every = 3), 4))", 1);
  const program::OptimizerT& o = *t.program.image.trains[0]->step_list[0]->optimizers[0];
  std::set<std::string> names;
  for (const auto& h : o.hypers) names.insert(h->name);
  CHECK(names == std::set<std::string>{"sgd.lr", "sgd.lr.every", "sgd.lr.factor", "sgd.lr.updates"});
  CHECK(o.lr == "sgd.lr");
  Trained c = train("sgd(lr = rate)", 1, "config rate = 0.02");
  CHECK(c.state.at("@net.w").at(0) == Approx(1.6));
  CHECK(c.program.image.trains[0]->step_list[0]->optimizers[0]->lr == "rate");
}

TEST_CASE("chunks: gradients are summed by samples, then applied once", "[elaborate]") {
  Program p = good(std::string(parabola) + "train on d.all { batch 1\n accumulate 2\n epochs 1\n minimize mean(net(x)^2) with nesterov(lr = 0.01) }");
  expand(p);
  REQUIRE(ir::verify(p.module) == "");
  CHECK(p.image.trains[0]->batch == 2);
  CHECK(p.image.trains[0]->chunk == 1);
  ir::Bindings state;
  call(p, "init", state);
  call(p, "init.nesterov", state);
  for (const ir::Variable& v : p.module.variables)
    if (v.kind == ir::VariableKind::accumulator) state["@" + v.name] = ir::Tensor(v.type);
  auto valid = ir::Tensor::of({ir::ElementType::i64, {}}, {1});
  call(p, "accumulate.nesterov", state, {{"x", f32({1}, {1})}, {"valid", valid}});
  call(p, "accumulate.nesterov", state, {{"x", f32({1}, {3})}, {"valid", valid}});
  auto results = call(p, "apply.nesterov", state, {{"count", ir::Tensor::of({ir::ElementType::f64, {}}, {2})}});
  near_to(results.at("loss"), {20});
  near_to(state.at("@net.w"), {1.98});
  near_to(state.at("@accumulated/0/net.w"), {0});
}

TEST_CASE("several steps, freezing, direct assignments", "[elaborate]") {
  Program p = good(R"(
    data d(x: f32) { all = table [[1], [3]] }
    model a(x: f32[n]) { param w: f32 = 1; x * w }
    model b(x: f32[n]) { param w: f32 = 2; x * w }
    train on d.all { batch 2; epochs 1
      step first repeat 5 { minimize mean((a(x) - b(x))^2) over a with sgd(lr = 0.1) }
      step second { minimize mean((a(x) - b(x))^2) over b with adam() or sgd() } }
  )");
  REQUIRE(p.image.trains[0]->step_list.size() == 2);
  CHECK(p.image.trains[0]->step_list[0]->repeat == 5);
  const ir::Function* f = p.module.function("train.first.sgd");
  REQUIRE(f);
  CHECK(f->result("a.w"));
  CHECK_FALSE(f->result("b.w"));
  CHECK(p.module.function("train.second.adam")->result("second.adam/m/b.w"));

  Program frozen = good(R"(
    data d(x: f32[3], y: f32) { all = table [[1, 2, 3, 4]] }
    model net(x: f32[n, 3]) -> f32[n] { let body = dense(4)
      x |> body |> dense(1) |> flatten(from = 0) }
    train on d.all { batch all; epochs 1
      freeze net.body
      minimize mse(net(x), y) with sgd() }
  )");
  CHECK_FALSE(frozen.module.function("train.sgd")->result("net.body.w"));
  CHECK(frozen.module.function("train.sgd")->result("net.dense1.w"));
  CHECK(frozen.module.variable("net.body.w")->frozen);

  Program rule = good(R"(
    config eta = 0.5
    data d(x: f32[2], y: f32) { all = table [[1, 2, 1]] }
    model unit(x: f32[n, 2]) -> f32[n] { param w: f32[2] = zeros(); step(x @ w - 1) }
    train on d.all { batch 1; epochs 1
      let miss = y - unit(x)
      unit.w <- unit.w + eta * (miss @ x)
      report errors = mean(unit(x) != y) }
  )");
  ir::Bindings state;
  call(rule, "init", state);
  near_to(call(rule, "train.update", state, {{"x", f32({1, 2}, {1, 2})}, {"y", f32({1}, {1})}}).at("loss"), {0});
  near_to(state.at("@unit.w"), {0.5, 1});
}

TEST_CASE("validation has the figures of all steps, and of the one that counts first", "[elaborate]") {
  const std::string text = R"(
    data d(x: f32) { all = table [[1], [3]] }
    model a(x: f32[n]) { param w: f32 = 1; x * w }
    model b(x: f32[n]) { param w: f32 = 2; x * w }
    train on d.all, validate on d.all { batch 2; epochs 1
      STOP
      report both = mean(a(x) + b(x))
      step first { minimize mean((a(x) - b(x))^2) over a with sgd(lr = 0.1); report high = mean(a(x)) }
      step second { minimize mean(b(x)) over b with sgd(); report low = mean(b(x)) } }
  )";
  auto figures = [&](const std::string& stop) {
    std::string with = text;
    Program p = good(with.replace(with.find("STOP"), 4, stop));
    std::vector<std::string> names;
    for (const ir::Result& r : p.module.function("validate")->results) names.push_back(r.name);
    return names;
  };
  CHECK(figures("") == std::vector<std::string>{"loss", "second.loss", "both", "high", "low"});
  CHECK(figures("stop early on second after 2 epochs without lower loss") == std::vector<std::string>{"loss", "first.loss", "both", "low", "high"});
}

TEST_CASE("averaged weights follow what is written", "[elaborate]") {
  Program p = good(R"(
    data d(x: f32) { all = table [[1], [3]] }
    model net(x: f32[n]) { param w: f32 = 2; x * w }
    let slow = average(net, 0.5)
    let again = average(net, 0.5)
    let slower = average(net, 0.9)
    train on d.all { batch all; epochs 1
      minimize mean((net(x) + net{slow}(x))^2) / 2 with sgd(lr = 0.1) }
    export mean(x: f32[n]) = net{slow}(x) + 10 * net{slower}(x)
  )");
  CHECK(p.module.variable("average.net.w")->kind == ir::VariableKind::state);
  CHECK(p.module.variable("average2.net.w"));
  CHECK_FALSE(p.module.variable("average3.net.w"));
  expand(p);
  ir::Bindings state;
  call(p, "init", state);
  near_to(state.at("@average.net.w"), {2});
  // w - 0.1 mean(x^2) (w + average): the average is a constant of the step. t = 1: d = min(0.5, 2 / 11).
  call(p, "train.sgd", state, {{"x", f32({2}, {1, 3})}});
  near_to(state.at("@net.w"), {0});
  near_to(state.at("@average.net.w"), {2 * 2.0 / 11});
  near_to(state.at("@average2.net.w"), {2 * 2.0 / 11});
  call(p, "train.sgd", state, {{"x", f32({2}, {1, 3})}, {"t", ir::Tensor::of({ir::ElementType::f64, {}}, {100})}});
  const double w = -0.5 * 4 / 11;
  near_to(state.at("@net.w"), {w});
  near_to(state.at("@average.net.w"), {0.5 * 4 / 11 + 0.5 * w});
  near_to(state.at("@average2.net.w"), {0.9 * 4 / 11 + 0.1 * w});
}

TEST_CASE("second-order methods on a quadratic", "[elaborate]") {
  // 1/2 sum (A w - b)^2 with two parameter tensors and a Hessian that is not diagonal: Newton's method is there after one step.
  auto after = [](const std::string& optimizer, int steps) {
    Program p = good(R"(
      data d(x: f32[3], y: f32) { all = table [[1, 2, 0, 3], [0, 1, 1, -1], [2, 0, 1, 0.5], [1, 1, 1, 2], [0, 3, -1, 4]] }
      model net(x: f32[n, 3]) -> f32[n] = x |> dense(1) |> flatten(from = 0)
      train on d.all { batch all; epochs 1
        minimize squared_error(net(x), y) with )" + optimizer + " }");
    expand(p);
    ir::Bindings state;
    call(p, "init", state);
    state["@net.dense1.w"] = f32({3, 1}, {1, -2, 3});
    std::string name = optimizer.substr(0, optimizer.find('('));
    if (p.module.function("init." + name)) call(p, "init." + name, state);
    double loss = 0;
    for (int i = 1; i <= steps; ++i)
      loss = call(p, "train." + name, state, {{"x", f32({5, 3}, {1, 2, 0, 0, 1, 1, 2, 0, 1, 1, 1, 1, 0, 3, -1})}, {"y", f32({5}, {3, -1, 0.5, 2, 4})}, {"t", ir::Tensor::of({ir::ElementType::f64, {}}, {double(i)})}}).at("loss").at(0);
    return std::pair(loss, state);
  };
  auto [first, newton] = after("newton_cg()", 1);
  CHECK(first > 10);
  auto [second, still] = after("newton_cg()", 2);
  auto [third, last] = after("newton_cg()", 3);
  CHECK(second == Approx(third).epsilon(1e-5));   // nothing is left to gain
  for (int i = 0; i < 3; ++i) CHECK(newton.at("@net.dense1.w").at(i) == Approx(last.at("@net.dense1.w").at(i)).epsilon(1e-3));
  CHECK(after("lbfgs(history = 4)", 30).first == Approx(second).epsilon(1e-3));
}

TEST_CASE("adahessian divides by the curvature", "[elaborate]") {
  // The Hessian is diagonal, diag(c): z * (H z) = c whatever the signs z. One step: lr m / sqrt(c^2) with m = g = c w.
  Program p = good(R"(
    data d(x: f32) { all = table [[1]] }
    model net(x: f32[n]) { param w: f32[3] = [1, -2, 0.5]; sum(x) * 0.5 * sum([2, 5, 40] * w^2) }
    train on d.all { batch all; epochs 1; minimize net(x) with adahessian(lr = 0.1) }
  )");
  expand(p);
  ir::Bindings state;
  call(p, "init", state);
  call(p, "init.adahessian", state);
  call(p, "train.adahessian", state, {{"x", f32({1}, {1})}});
  near_to(state.at("@net.w"), {0.9, -1.8, 0.45});
}

TEST_CASE("parameters of a model as a value", "[elaborate]") {
  Program p = good(R"(
    data d(x: f32) { all = table [[1], [3]] }
    model net(x: f32[n]) { param w: f32 = 2; x * w }
    train on d.all { batch 2; epochs 1
      let inner = mean(net(x)^2)
      let p = params(net)
      minimize mean(net{p - 0.01 * grad(inner, p)}(x)^2) with sgd(lr = 0.01) }
  )");
  expand(p);
  ir::Bindings state;
  call(p, "init", state);
  auto results = call(p, "train.sgd", state, {{"x", f32({2}, {1, 3})}});
  near_to(results.at("loss"), {5 * 1.8 * 1.8});
  // d/dw 5 (0.9 w)^2 = 10 * 0.81 w
  near_to(state.at("@net.w"), {2 - 0.01 * 16.2});
}

TEST_CASE("gradients that are watched", "[elaborate]") {
  // Of the batch (1, 3) at w = 2: 10 w, whatever the optimizer looks at.
  Program whole = good(std::string(parabola) + "train on d.all { batch all\n epochs 1\n watch gradients\n minimize mean(net(x)^2) with nesterov(lr = 0.01) or sgd(lr = 0.1) }");
  const program::TrainT& t = *whole.image.trains[0];
  CHECK(t.watch_every == 50);
  CHECK(t.step_list[0]->watch == "watch");
  ir::Bindings state;
  expand(whole);
  call(whole, "init", state);
  near_to(call(whole, "watch", state, {{"x", f32({2}, {1, 3})}}).at("net.w"), {400});
  // In chunks: of what was accumulated, here 2 samples with the gradients 4 and 36.
  Program chunks = good(std::string(parabola) + "train on d.all { batch 1\n accumulate 2\n epochs 1\n watch gradients every 7 steps\n minimize mean(net(x)^2) with sgd(lr = 0.1) }");
  CHECK(chunks.image.trains[0]->watch_every == 7);
  expand(chunks);
  ir::Bindings sums;
  call(chunks, "init", sums);
  sums["@accumulated/0/net.w"] = f32({}, {40});
  near_to(call(chunks, "watch", sums, {{"count", ir::Tensor::of({ir::ElementType::f64, {}}, {2})}}).at("net.w"), {400});
  CHECK(good(std::string(parabola) + "train on d.all { batch all\n epochs 1\n minimize mean(net(x)^2) with sgd() }").image.trains[0]->step_list[0]->watch == "");
}

TEST_CASE("data and exports as the runtime sees them", "[elaborate]") {
  Program p = good(R"(
    data d(image: u8[2, 2], label: u8 < 10) {
      train = idx("a.gz", "b.gz")
      test = idx("c", "d")
      small = train[0:100]
      from "/data"
    }
    model net(image: f32[n, 2, 2]) -> f32[n, 10] { image |> flatten |> dense(10) }
    train on d.train[0:50], validate on d.test { batch 4; epochs 3; stop early after 2 epochs without lower loss
      let logits = net(image / 255)
      minimize cross_entropy(logits, label) with adam() or sgd(lr = 0.5)
      report accuracy = accuracy(logits, label) }
    export predict(image: u8[n, 2, 2]) { let y = net(image / 255)
      (softmax(y), argmax(y)) }
  )", {{}, {1, 16}, {"rmsprop(lr = 0.2)"}, ""});
  const program::DataSetT& d = *p.image.data[0];
  CHECK(d.directory == "/data");
  CHECK(d.fields[1]->has_range);
  CHECK(d.fields[1]->high == 10);
  REQUIRE(d.splits.size() == 4);
  CHECK(d.splits[2]->selections[0]->last == 100);
  CHECK(d.splits[3]->name == "train[0:50]");
  const program::TrainT& t = *p.image.trains[0];
  CHECK(t.split == "train[0:50]");
  CHECK(t.validate_split == "test");
  CHECK(t.patience == 2);
  CHECK(t.reports == std::vector<std::string>{"accuracy"});
  REQUIRE(t.step_list[0]->optimizers.size() == 3);
  CHECK(t.step_list[0]->optimizers[2]->name == "rmsprop");
  REQUIRE(p.image.exports.size() == 1);
  const program::ExportT& e = *p.image.exports[0];
  CHECK(e.entries[0]->entry == "export.predict.1");
  CHECK(e.entries[1]->rows == 16);
  CHECK(e.outputs[0]->type->shape == std::vector<int64_t>{10});
  CHECK(e.outputs[1]->type->element == program::ElementType::i32);
  CHECK(p.module.function("train.adam")->input("label").valid());
}
