// Every gradient rule against finite differences in f64: first derivatives, and second ones of a non-linear function of them.
#include <catch2/catch.hpp>

#include <set>

#include "ir/loop.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "passes/autodiff.h"
#include "passes/check.h"
#include "passes/pass.h"
#include "tests/unit/passes/support.h"

using namespace gradc;
using namespace gradc::passes;
using ir::Attr;
using ir::ElementType;
using ir::Function;
using ir::Op;
using ir::Shape;
using ir::Value;

namespace {
struct Maker {
  ir::Builder& b;
  Term x(Shape shape = {3, 4}) { return {&b, b.input(std::string(1, next++), {ElementType::f64, shape})}; }
  Term make(Op op, std::initializer_list<Term> operands, ir::Attrs attrs = {}) {
    std::vector<Value> values(operands.begin(), operands.end());
    return {&b, b.make(op, values, std::move(attrs))};
  }
  Term number(double n, Term like) { return {&b, b.like(n, like)}; }
  Term whole(Shape shape, std::vector<double> numbers) { return {&b, b.literal(std::move(numbers), {ElementType::i32, std::move(shape)})}; }
  Term positive(Shape shape = {3, 4}) { return apply(Op::abs, x(shape)); }
  char next = 'a';
};
struct Example {
  Op op;
  Term (*build)(Maker);
};
using Axes = std::vector<int64_t>;

template <Op op>
Term unary(Maker m) { return m.make(op, {m.x()}); }
template <Op op>
Term unary_positive(Maker m) { return m.make(op, {m.positive()}); }
template <Op op>
Term binary(Maker m) { Term x = m.x(), y = m.x(); return m.make(op, {x, y}); }
template <Op op>
Term reduction(Maker m) { return m.make(op, {m.x({2, 3, 4})}, {{Attr::axes, Axes{0, 2}}}); }

// h <- tanh(h w + x + b), whose last value and stack of squares are added.
Term recurrence(Maker m) {
  Term h = m.x({2, 3}), x = m.x({4, 2, 3}), w = m.x({3, 3}), bias = m.x({3});
  Function body;
  Maker inside{*new ir::Builder(body)};
  Term h1 = inside.x({2, 3}), x1 = inside.x({2, 3}), w1 = inside.x({3, 3}), b1 = inside.x({3});
  Term next = apply(Op::tanh, contract("mk,kn->mn", h1, w1) + x1 + broadcast(b1, {2, 3}, {1}));
  body.name = "step";
  body.results = {{"h", next}, {"y", next * next}};
  delete &inside.b;
  Value scan = ir::make_scan(m.b, {body, 4, 1, 1, false, false, {h, x, w, bias}});
  return Term{&m.b, ir::make_item(m.b, scan, 0)} + reduce(Op::reduce_sum, {&m.b, ir::make_item(m.b, scan, 1)}, {0});
}

const Example examples[] = {
    {Op::scan, recurrence},
    {Op::neg, unary<Op::neg>},
    {Op::abs, unary<Op::abs>},
    {Op::exp, unary<Op::exp>},
    {Op::log, unary_positive<Op::log>},
    {Op::log1p, unary_positive<Op::log1p>},
    {Op::sqrt, unary_positive<Op::sqrt>},
    {Op::rsqrt, unary_positive<Op::rsqrt>},
    {Op::sin, unary<Op::sin>},
    {Op::cos, unary<Op::cos>},
    {Op::tanh, unary<Op::tanh>},
    {Op::erf, unary<Op::erf>},
    {Op::sigmoid, unary<Op::sigmoid>},
    {Op::cast, [](Maker m) { return m.make(Op::cast, {m.x()}, {{Attr::element, ElementType::f64}}); }},
    {Op::add, binary<Op::add>},
    {Op::sub, binary<Op::sub>},
    {Op::mul, binary<Op::mul>},
    {Op::div, binary<Op::div>},
    {Op::rem, binary<Op::rem>},
    {Op::pow, [](Maker m) { Term x = m.positive(), y = m.x(); return m.make(Op::pow, {x, y}); }},
    {Op::pow, [](Maker m) { Term x = m.x(); return m.make(Op::pow, {x, m.number(2, x)}); }},
    {Op::pow, [](Maker m) { Term x = m.x(); return m.make(Op::pow, {x, m.number(3, x)}); }},
    {Op::pow, [](Maker m) { Term x = m.positive(); return m.make(Op::pow, {x, m.number(0.5, x)}); }},
    {Op::pow, [](Maker m) { Term x = m.positive(); return m.make(Op::pow, {x, m.number(-1.5, x)}); }},
    {Op::pow, [](Maker m) { Term x = m.x(); return m.make(Op::pow, {x, m.number(1, x)}); }},
    {Op::max, binary<Op::max>},
    {Op::min, binary<Op::min>},
    {Op::select, [](Maker m) { Term x = m.x(), y = m.x(), z = m.x(); return select(z > m.number(0, z), x * x, y * x); }},
    {Op::reshape, [](Maker m) { return m.make(Op::reshape, {m.x()}, {{Attr::shape, Axes{2, 6}}}); }},
    {Op::transpose, [](Maker m) { return m.make(Op::transpose, {m.x({2, 3, 4})}, {{Attr::axes, Axes{2, 0, 1}}}); }},
    {Op::broadcast, [](Maker m) { return m.make(Op::broadcast, {m.x()}, {{Attr::shape, Axes{3, 2, 4, 5}}, {Attr::axes, Axes{0, 2}}}); }},
    {Op::slice, [](Maker m) { return m.make(Op::slice, {m.x({5, 9})}, {{Attr::start, Axes{1, 2}}, {Attr::limit, Axes{5, 9}}, {Attr::stride, Axes{1, 3}}}); }},
    {Op::slice, [](Maker m) { return m.make(Op::slice, {m.x({5, 9})}, {{Attr::start, Axes{1, 2}}, {Attr::limit, Axes{4, 8}}, {Attr::stride, Axes{2, 4}}}); }},
    {Op::pad, [](Maker m) { return m.make(Op::pad, {m.x()}, {{Attr::low, Axes{1, 0}}, {Attr::high, Axes{2, 1}}, {Attr::interior, Axes{0, 2}}, {Attr::value, 0.5}}); }},
    {Op::after, [](Maker m) { return m.make(Op::after, {m.x(), m.x()}, {}); }},
    {Op::reverse, [](Maker m) { return m.make(Op::reverse, {m.x()}, {{Attr::axes, Axes{1}}}); }},
    {Op::windows, [](Maker m) { return m.make(Op::windows, {m.x({2, 5, 6, 2})}, {{Attr::axes, Axes{1, 2}}, {Attr::size, Axes{3, 2}}, {Attr::stride, Axes{2, 1}}, {Attr::dilation, Axes{1, 2}}, {Attr::low, Axes{1, 0}}, {Attr::high, Axes{1, 2}}, {Attr::value, 0.25}}); }},
    {Op::fold, [](Maker m) { return m.make(Op::fold, {m.x({2, 3, 3, 2})}, {{Attr::shape, Axes{2, 5, 2}}, {Attr::axes, Axes{1}}, {Attr::size, Axes{3}}, {Attr::stride, Axes{2}}, {Attr::dilation, Axes{1}}, {Attr::low, Axes{1}}, {Attr::high, Axes{1}}}); }},
    {Op::contract, [](Maker m) { Term x = m.x({3, 4}), y = m.x({4, 5}); return contract("mk,kn->mn", x, y); }},
    {Op::contract, [](Maker m) { Term x = m.x({2, 3, 4}), y = m.x({4, 2, 3}); return contract("bmk,kbm->mb", x, y); }},
    {Op::contract, [](Maker m) { Term x = m.x({3}), y = m.x({4}); return contract("i,j->ji", x, y); }},
    {Op::reduce_sum, reduction<Op::reduce_sum>},
    {Op::reduce_mean, reduction<Op::reduce_mean>},
    {Op::reduce_max, reduction<Op::reduce_max>},
    {Op::reduce_min, reduction<Op::reduce_min>},
    {Op::reduce_prod, reduction<Op::reduce_prod>},
    {Op::gather, [](Maker m) { Term x = m.x({3, 4, 2}); return m.make(Op::gather, {x, m.whole({2, 3}, {2, -1, 0, 2, 2, 9})}, {{Attr::axis, int64_t{1}}, {Attr::batch, int64_t{0}}}); }},
    {Op::gather, [](Maker m) { Term x = m.x({2, 3, 4}); return m.make(Op::gather, {x, m.whole({2, 3}, {2, 0, 0, 3, 1, 4})}, {{Attr::axis, int64_t{2}}, {Attr::batch, int64_t{1}}}); }},
    {Op::scatter_add, [](Maker m) { Term i = m.whole({2, 3}, {2, -1, 0, 2, 2, 5}); return m.make(Op::scatter_add, {i, m.x({4, 2, 3, 2})}, {{Attr::axis, int64_t{1}}, {Attr::batch, int64_t{0}}, {Attr::extent, int64_t{4}}}); }},
    {Op::scatter_add, [](Maker m) { Term i = m.whole({2, 3}, {1, 1, 0, 2, 2, 5}); return m.make(Op::scatter_add, {i, m.x({2, 4, 3})}, {{Attr::axis, int64_t{2}}, {Attr::batch, int64_t{1}}, {Attr::extent, int64_t{3}}}); }},
    {Op::mark, unary<Op::mark>},
};

// Operations whose derivative is zero or does not exist. Everything else must have an example above.
const Op without_gradient[] = {Op::sign, Op::floor, Op::ceil, Op::round, Op::not_, Op::is_finite, Op::idiv, Op::eq, Op::ne, Op::lt, Op::le, Op::gt, Op::ge, Op::and_, Op::or_, Op::argmax,
                               Op::constant, Op::literal, Op::iota, Op::input, Op::variable, Op::random, Op::stop_gradient, Op::grad,
                               Op::item};   // the walk itself takes its cotangent to the loop

Value sum_of(Term t) {
  Axes all(t.rank());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  return reduce(Op::reduce_sum, t, all);
}
// A scalar whose derivative by each element of t is another and depends on t.
Value scalar_of(Term t) {
  Value positions = t.b->reshape(t.b->cast(t.b->iota({ElementType::i32, {t.type().size()}}, 0), ElementType::f64), t.shape());
  return sum_of(apply(Op::sin, t * 0.7 + Term{t.b, positions} * 0.37));
}

void check_all(const Function& f, uint64_t seed) {
  for (const CheckedGradient& c : check_gradients(f, "y", random_arguments(f, seed))) {
    INFO(c.name << "[" << c.coordinate << "]: " << c.analytic << " but numerically " << c.numeric << ", error " << c.error << "\n" << ir::print(f));
    CHECK(c.right);
  }
}
}  // namespace

TEST_CASE("gradients agree with finite differences") {
  for (const Example& example : examples) {
    INFO(ir::info(example.op).name);
    Function f;
    ir::Builder b(f);
    f.results.push_back({"y", scalar_of(example.build({b}))});
    REQUIRE(ir::verify(f) == "");
    for (uint64_t seed = 1; seed <= 2; ++seed) check_all(f, seed);
  }
}

TEST_CASE("second derivatives agree with finite differences") {
  for (const Example& example : examples) {
    INFO(ir::info(example.op).name);
    Function f;
    ir::Builder b(f);
    Value y = scalar_of(example.build({b}));
    Value total;
    for (uint32_t i = 0, count = f.size(); i < count; ++i)
      if (f.nodes[i].op == Op::input) {
        Value part = scalar_of({&b, b.make(Op::grad, {y, Value{i}})});
        total = total.valid() ? b.make(Op::add, {total, part}) : part;
      }
    f.results.push_back({"y", total});
    Function expanded = f;
    expand_gradients(expanded);
    CHECK(ir::verify(expanded) == "");
    check_all(f, 3);
  }
}

TEST_CASE("every operation has a checked gradient or is declared to have none") {
  std::set<Op> checked, none(std::begin(without_gradient), std::end(without_gradient));
  for (const Example& example : examples) checked.insert(example.op);
  for (Op op : ir::all_ops()) {
    INFO(ir::info(op).name);
    CHECK(checked.count(op) + none.count(op) == 1);
    if (op != Op::grad) CHECK((gradient_rule(op) != nullptr) == (checked.count(op) == 1));
  }
}

namespace {
// dy/dx at one point, for kinks.
double derivative_at(Term (*build)(Term), std::vector<double> x, int64_t coordinate) {
  Function f;
  ir::Builder b(f);
  Term input{&b, b.input("x", {ElementType::f64, {static_cast<int64_t>(x.size())}})};
  f.results.push_back({"d", b.make(Op::grad, {sum_of(build(input)), input.v})});
  expand_gradients(f);
  return ir::evaluate(f, {{"x", ir::Tensor::of(input.type(), x)}}).at("d").at(coordinate);
}
}  // namespace

TEST_CASE("conventions at kinks") {
  CHECK(derivative_at([](Term x) { return apply(Op::abs, x); }, {0}, 0) == 0);
  CHECK(derivative_at([](Term x) { return apply(Op::max, x, like(0, x)); }, {0}, 0) == 1);
  CHECK(derivative_at([](Term x) { return apply(Op::max, like(0, x), x); }, {0}, 0) == 0);
  CHECK(derivative_at([](Term x) { return apply(Op::min, like(0, x), x); }, {0}, 0) == 0);
  CHECK(derivative_at([](Term x) { return apply(Op::sign, x) * x; }, {-2}, 0) == -1);
  CHECK(derivative_at([](Term x) { return reduce(Op::reduce_max, x, {0}); }, {1, 3, 3}, 1) == 1);
  CHECK(derivative_at([](Term x) { return reduce(Op::reduce_max, x, {0}); }, {1, 3, 3}, 2) == 0);
  CHECK(derivative_at([](Term x) { return reduce(Op::reduce_prod, x, {0}); }, {0, 3, 4}, 0) == 12);
  CHECK(derivative_at([](Term x) { return reduce(Op::reduce_prod, x, {0}); }, {0, 3, 4}, 1) == 0);
  for (double exponent : {0.0, 1.0, 2.0, 3.0}) {
    Function f;
    ir::Builder b(f);
    Term x{&b, b.input("x", {ElementType::f64, {}})}, e{&b, b.input("e", {ElementType::f64, {}})};
    Term known = apply(Op::pow, x, like(exponent, x)), unknown = apply(Op::pow, x, e);
    f.results = {{"known", b.make(Op::grad, {known.v, x.v})}, {"by x", b.make(Op::grad, {unknown.v, x.v})}, {"by e", b.make(Op::grad, {unknown.v, e.v})}};
    expand_gradients(f);
    auto d = ir::evaluate(f, {{"x", ir::Tensor::filled(x.type(), 0)}, {"e", ir::Tensor::filled(x.type(), exponent)}});
    CHECK(d.at("known").at(0) == (exponent == 1));
    CHECK(d.at("by x").at(0) == (exponent == 1));
    CHECK(d.at("by e").at(0) == 0);
  }
}

TEST_CASE("a target of grad is opaque until gradients are expanded") {
  // y = a * x with a = mark(x): by a alone, not the total derivative. stop_gradient passes values only.
  Function f;
  ir::Builder b(f);
  Term x{&b, b.input("x", {ElementType::f64, {}})};
  Term a = apply(Op::mark, x), s = apply(Op::stop_gradient, x), y = a * x * s;
  f.results = {{"partial", b.make(Op::grad, {y.v, a.v})}, {"total", b.make(Op::grad, {y.v, x.v})}};
  expand_gradients(f);
  CHECK(ir::verify(f) == "");
  for (const ir::Node& node : f.nodes) CHECK(ir::info(node.op).kind != ir::OpKind::gradient);
  auto d = ir::evaluate(f, {{"x", ir::Tensor::filled(x.type(), 3)}});
  CHECK(d.at("partial").at(0) == 9);
  CHECK(d.at("total").at(0) == 18);
}

TEST_CASE("what depends through integers or bools alone has derivative zero") {
  Function f;
  ir::Builder b(f);
  Term x{&b, b.input("x", {ElementType::f64, {4}})};
  Term step{&b, b.cast(x >= like(0, x), ElementType::f64)};
  f.results = {{"d", b.make(Op::grad, {sum_of(step), x.v})}};
  expand_gradients(f);
  auto d = ir::evaluate(f, {{"x", ir::Tensor::of(x.type(), {-1, 0, 1, 2})}}).at("d");
  for (int i = 0; i < 4; ++i) CHECK(d.at(i) == 0);
}

TEST_CASE("what only an inner gradient has lost has derivative zero") {
  // d(sum(w x + c))/dx = w does not know c any more.
  Function f;
  ir::Builder b(f);
  Term x{&b, b.input("x", {ElementType::f64, {4}})}, w{&b, b.variable("w", x.type())}, c{&b, b.variable("c", x.type())};
  Term g{&b, b.make(Op::grad, {sum_of(w * x + c), x.v})};
  Value penalty = sum_of(g * g);
  f.results = {{"dw", b.make(Op::grad, {penalty, w.v})}, {"dc", b.make(Op::grad, {penalty, c.v})}};
  ir::Bindings at = random_arguments(f, 1);
  expand_gradients(f);
  auto d = ir::evaluate(f, at);
  for (int i = 0; i < 4; ++i) {
    CHECK(d.at("dw").at(i) == 2 * at.at("@w").at(i));
    CHECK(d.at("dc").at(i) == 0);
  }
}

TEST_CASE("cotangents say what they are the gradient of") {
  Function f;
  ir::Builder b(f);
  b.loc = {1, 12, 3};
  Term x{&b, b.input("x", {ElementType::f64, {4}})};
  Term y = apply(Op::exp, x);
  b.loc.line = 13;
  Value loss = sum_of(y);
  b.loc.line = 20;
  f.results = {{"d", b.make(Op::grad, {loss, x.v})}};
  expand_gradients(f);
  const ir::Node& d = f[f.results[0].value];
  CHECK(d.op == Op::mul);
  CHECK(d.loc == ir::Loc{1, 12, 3, ir::Loc::Role::gradient});
}

TEST_CASE("a penalty on gradients can be trained: derivatives of a network through an inner grad") {
  Function f;
  ir::Builder b(f);
  Term x{&b, b.input("x", {ElementType::f64, {6, 3}})}, w1{&b, b.variable("w1", {ElementType::f64, {3, 4}})}, w2{&b, b.variable("w2", {ElementType::f64, {4}})};
  Term mix = apply(Op::mark, x);
  Term score = contract("mk,k->m", apply(Op::tanh, contract("mk,kn->mn", mix, w1)), w2);
  Term g{&b, b.make(Op::grad, {sum_of(score), mix.v})};
  Term norm = apply(Op::sqrt, reduce(Op::reduce_sum, g * g, {1}));
  Term penalty = reduce(Op::reduce_mean, (norm - 1) * (norm - 1), {0});
  Term held = apply(Op::stop_gradient, score);   // check_gradients holds it fixed, too
  f.results.push_back({"y", Term{&b, sum_of(held * score)} + penalty * 10});
  auto checked = check_gradients(f, "y", random_arguments(f, 1));
  CHECK(checked.size() == 3);
  for (const CheckedGradient& c : checked) {
    INFO(c.name << "[" << c.coordinate << "]: " << c.analytic << " but numerically " << c.numeric);
    CHECK(c.right);
  }
  // Optimizing changes no derivative.
  Function d = f;
  d.results.push_back({"d", ir::Builder(d).make(Op::grad, {f.results[0].value, w1.v})});
  expand_gradients(d);
  Function optimized = d;
  optimize(optimized);
  check_same_values(d, optimized, 2, 1e-12);
}

TEST_CASE("a wrong gradient is found") {
  Function f;
  ir::Builder b(f);
  Term x{&b, b.input("x", {ElementType::f64, {4}})};
  Term wrong = apply(Op::floor, x) * x;   // its derivative is floor(x); at 1 it jumps, where no step agrees
  f.results.push_back({"y", sum_of(wrong)});
  auto at = [&](double value) { return check_gradients(f, "y", {{"x", ir::Tensor::filled(x.type(), value)}})[0]; };
  CHECK(at(1.5).right);
  CHECK_FALSE(at(1.0).right);
}

TEST_CASE("a module's losses are checked where init leaves its variables, each once") {
  Sources sources;
  Diagnostics diagnostics(sources);
  auto module = ir::parse_module(sources.add("m.gir", R"(module m

parameter @w : f32[3]

function init {
  %1 = constant {value = 4} : f32[3]
  return write @w = %1
}
function train.a {
  %x = input : f32[2, 3]
  %label = input : u8[2]
  %t = input : f64[]
  @w = variable : f32[3]
  %p = mark @w
  %d = contract %x, %p {spec = "nk,k->n"}
  %l = cast %label {element = f32}
  %e = sub %d, %l
  %r = sqrt @w
  %s = reduce_sum %r {axes = [0]}
  %q = mul %e, %e
  %m = reduce_mean %q {axes = [0]}
  %loss = add %m, %s
  %g = grad %loss, %p
  %lr = constant {value = 0.1} : f32[3]
  %u = mul %g, %lr
  %n = sub @w, %u
  return loss = %loss, write @w = %n, norm = %s
}
function train.b {
  %x = input : f32[2, 3]
  %label = input : u8[2]
  %t = input : f64[]
  @w = variable : f32[3]
  %p = mark @w
  %d = contract %x, %p {spec = "nk,k->n"}
  %l = cast %label {element = f32}
  %e = sub %d, %l
  %r = sqrt @w
  %s = reduce_sum %r {axes = [0]}
  %q = mul %e, %e
  %m = reduce_mean %q {axes = [0]}
  %loss = add %m, %s
  return loss = %loss
})"), sources, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(module);
  auto checked = check_module(*module, {{"x", {-1, 1}}, {"label", {0, 10}}});
  REQUIRE(checked.size() == 1);
  CHECK(checked[0].function == "train.a");
  CHECK(checked[0].result == "loss");
  REQUIRE(checked[0].gradients.size() == 2);
  CHECK(checked[0].gradients[0].name == "x");
  CHECK(checked[0].gradients[1].name == "@w");
  for (const auto& c : checked[0].gradients) CHECK(c.right);   // sqrt of a negative weight would be NaN
}
