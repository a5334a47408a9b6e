// The sample axis: a masked chunk means the same as a smaller batch, figures over chunks the same as over all samples at once.
#include <catch2/catch.hpp>

#include <random>

#include "ir/verify.h"
#include "passes/pass.h"
#include "passes/sample_axis.h"
#include "passes/term.h"
#include "tests/unit/passes/support.h"

using namespace gradc;
using namespace gradc::passes;
using ir::Attr;
using ir::Bindings;
using ir::ElementType;
using ir::Function;
using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::Value;
using Axes = std::vector<int64_t>;

namespace {
const Samples fields(int64_t rows) { return {{"x", "label"}, rows}; }

// Samples are a sequence of 3 vectors of 4 and a label; a layer, cross-entropy, and figures of many kinds.
Function network(int64_t rows, bool gradients) {
  Function f;
  f.name = "validate";
  ir::Builder b(f);
  Term x{&b, b.input("x", {ElementType::f64, {rows, 3, 4}})}, label{&b, b.input("label", {ElementType::u8, {rows}})};
  Term w{&b, b.variable("w", {ElementType::f64, {4, 5}})};
  // Merge samples and positions, apply the layer, take them apart again.
  Term z = contract("md,dk->mk", reshape(x, {rows * 3, 4}), w);
  Term a = reshape(apply(Op::tanh, z), {rows, 3, 5});
  Term logits = reduce(Op::reduce_mean, a, {1});
  Term e = apply(Op::exp, logits);
  Term normal = apply(Op::log, reduce(Op::reduce_sum, e, {1}));
  Term classes{&b, b.iota({ElementType::i32, {rows, 5}}, 1)};
  Term hit = classes == broadcast({&b, b.cast(label, ElementType::i32)}, {rows, 5}, {0});
  Term picked = reduce(Op::reduce_sum, select(hit, logits, like(0, logits)), {1});
  Term penalty = reduce(Op::reduce_sum, w * w, {0, 1}) * 0.01;
  Term loss = reduce(Op::reduce_mean, normal - picked, {0}) + penalty;
  Term best{&b, b.make(Op::argmax, {logits.v}, {{Attr::axis, int64_t{1}}})};
  Term right{&b, b.cast(best == Term{&b, b.cast(label, ElementType::i32)}, ElementType::f64)};
  // Positions before samples, merged: the sample is the minor factor.
  Term flipped = reshape(transpose(a, {1, 0, 2}), {3 * rows, 5});
  f.results = {{"loss", loss},
               {"accuracy", reduce(Op::reduce_mean, right, {0})},
               {"largest", reduce(Op::reduce_max, x, {0, 1, 2})},
               {"smallest label", reduce(Op::reduce_min, label, {0})},
               {"energy", apply(Op::sqrt, contract("nk,nk->", logits, logits))},
               {"mean of all", reduce(Op::reduce_mean, flipped, {0, 1})},
               {"looked up", reduce(Op::reduce_mean, {&b, b.make(Op::gather, {w.v, label.v}, {{Attr::axis, int64_t{1}}, {Attr::batch, int64_t{0}}})}, {0, 1})},
               {"by class", b.make(Op::scatter_add, {label.v, logits.v}, {{Attr::axis, int64_t{0}}, {Attr::batch, int64_t{0}}, {Attr::extent, int64_t{5}}})},
               {"counts", b.make(Op::scatter_add, {label.v, b.constant(1, {ElementType::f64, {rows}})}, {{Attr::axis, int64_t{0}}, {Attr::batch, int64_t{0}}, {Attr::extent, int64_t{5}}})},
               {"penalty", penalty}};
  if (gradients) {
    f.results.push_back({"d w", b.make(Op::grad, {loss.v, w.v})});
    f.results.push_back({"sums", reduce(Op::reduce_sum, flipped * flipped, {0})});
  }
  return f;
}

// The first rows of the fields; the rest are `filler`.
Bindings batch(const Bindings& all, int64_t from, int64_t count, int64_t rows, double filler) {
  Bindings at = all;
  for (const char* name : {"x", "label"}) {
    const Tensor& whole = all.at(name);
    ir::Type type = whole.type;
    int64_t per_sample = whole.size() / type.shape[0];
    type.shape[0] = rows;
    Tensor part = Tensor::filled(type, name == std::string("x") ? filler : 0);
    for (int64_t i = 0; i < count * per_sample; ++i) part.set(i, whole.at(from * per_sample + i));
    at[name] = part;
  }
  return at;
}
Tensor whole_number(double n) { return Tensor::filled({ElementType::i64, {}}, n); }

void check_near(const Tensor& a, const Tensor& b) {
  REQUIRE(a.type == b.type);
  for (int64_t i = 0; i < a.size(); ++i) CHECK(a.at(i) == Approx(b.at(i)).epsilon(1e-12).margin(1e-12));
}

// A function of x[rows, 4] and w[4]; whether its samples are mixed, and how.
std::string mixing(Value (*build)(ir::Builder&, Term x), int64_t rows = 6) {
  Function f;
  ir::Builder b(f);
  b.loc = {1, 7, 1};
  Value y = build(b, {&b, b.input("x", {ElementType::f64, {rows, 4}})});
  f.results.push_back({"y", y});
  auto error = check_rows(f, {{"x"}, rows}, "an export");
  if (error) CHECK(error->loc.line == 7);
  return error ? error->message : "";
}
}  // namespace

TEST_CASE("a masked chunk means the same as a batch of its valid rows") {
  Function small = network(5, true), masked = network(8, true), plain = network(8, true);
  REQUIRE_FALSE(mask_samples(masked, fields(8)));
  CHECK(ir::verify(masked) == "");
  for (Function* f : {&small, &masked, &plain}) expand_gradients(*f);
  Bindings all = random_arguments(plain, 1);
  Bindings at = batch(all, 0, 5, 8, 0);
  at["valid"] = whole_number(5);
  Bindings expected = ir::evaluate(small, batch(all, 0, 5, 5, 0)), actual = ir::evaluate(masked, at);
  for (const auto& [name, value] : expected) {
    INFO(name);
    check_near(value, actual.at(name));
  }
  all["valid"] = whole_number(8);
  expected = ir::evaluate(plain, all), actual = ir::evaluate(masked, all);
  for (const auto& [name, value] : expected) check_near(value, actual.at(name));
}

TEST_CASE("rows that are no samples may hold anything") {
  Function small = network(5, false), masked = network(8, false);
  REQUIRE_FALSE(mask_samples(masked, fields(8)));
  Bindings all = random_arguments(network(8, false), 2), at = batch(all, 0, 5, 8, NAN);
  at["valid"] = whole_number(5);
  Bindings expected = ir::evaluate(small, batch(all, 0, 5, 5, 0)), actual = ir::evaluate(masked, at);
  for (const auto& [name, value] : expected) check_near(value, actual.at(name));
}

TEST_CASE("figures over chunks are figures over all samples") {
  const int64_t total = 21, rows = 8;
  Function whole = network(total, true);
  auto split = std::get<Split>(split_samples(network(rows, false), fields(rows)));
  CHECK(ir::verify(split.accumulate) == "");
  CHECK(ir::verify(split.finish) == "");
  CHECK(split.finish.name == "validate.finish");
  for (const ir::Node& node : split.finish.nodes)
    if (node.op == Op::input) CHECK(node.attrs.text(Attr::name) != "x");
  for (Function* f : {&whole, &split.accumulate, &split.finish}) {
    expand_gradients(*f);
    optimize(*f);
  }
  Bindings all = random_arguments(whole, 3), sums;
  for (int64_t from = 0; from < total; from += rows) {
    int64_t count = std::min(rows, total - from);
    Bindings at = batch(all, from, count, rows, 0);
    at["valid"] = whole_number(static_cast<double>(count));
    for (const auto& [name, value] : ir::evaluate(split.accumulate, at)) {
      Combine combine = split.combine.at(std::stoul(name.substr(1)));
      Tensor& sum = sums.try_emplace(name, value).first->second;
      if (from > 0)
        for (int64_t i = 0; i < sum.size(); ++i) {
          double a = sum.at(i), b = value.at(i);
          sum.set(i, combine == Combine::add ? a + b : combine == Combine::max ? std::max(a, b) : std::min(a, b));
        }
    }
  }
  sums["count"] = Tensor::filled({ElementType::f64, {}}, total);
  sums["@w"] = all.at("@w");
  Bindings expected = ir::evaluate(whole, all), actual = ir::evaluate(split.finish, sums);
  CHECK(actual.size() == 10);
  for (const auto& [name, value] : actual) {
    INFO(name);
    check_near(expected.at(name), value);
  }
}

TEST_CASE("what cannot be computed in chunks is an error with its place") {
  auto split = [](Value (*build)(Term)) {
    Function f;
    ir::Builder b(f);
    b.loc = {1, 9, 2};
    f.results.push_back({"r", build({&b, b.input("x", {ElementType::f64, {6, 4}})})});
    auto result = split_samples(f, {{"x"}, 6});
    auto* error = std::get_if<SampleError>(&result);
    if (error) CHECK(error->loc.line == 9);
    return error ? error->message : "";
  };
  CHECK(split([](Term x) { return reduce(Op::reduce_sum, x, {0, 1}).v; }) == "");
  CHECK(split([](Term x) { return reduce(Op::reduce_sum, x, {1}).v; }) == "\"r\" has a value per sample: take their mean or sum");
  CHECK(split([](Term x) {
          Term centred = x - broadcast(reduce(Op::reduce_mean, x, {0}), x.shape(), {1});
          return reduce(Op::reduce_mean, centred * centred, {0, 1}).v;
        }) == "this is taken over all samples and then used for each of them: it cannot be computed in chunks");
  CHECK(split([](Term x) { return reduce(Op::reduce_prod, x, {0, 1}).v; }) == "reduce_prod over samples cannot be computed in chunks");
  CHECK(split([](Term x) { return reduce(Op::reduce_sum, contract("nk,mk->nm", x, transpose(transpose(x, {1, 0}), {1, 0})), {0, 1}).v; }) ==
        "this multiplies samples with one another");
}

TEST_CASE("exports keep samples apart") {
  auto softmax = [](ir::Builder& b, Term x) {
    Term e = apply(Op::exp, x - broadcast(reduce(Op::reduce_max, x, {1}), x.shape(), {0}));
    return (e / broadcast(reduce(Op::reduce_sum, e, {1}), x.shape(), {0})).v;
  };
  CHECK(mixing(softmax) == "");
  CHECK(mixing(softmax, 1) == "");
  CHECK(mixing([](ir::Builder& b, Term x) { return contract("nk,kj->nj", x, {&b, b.variable("w", {ElementType::f64, {4, 6}})}).v; }) == "");
  CHECK(mixing([](ir::Builder& b, Term x) { return reshape(reshape(x, {24}), {6, 2, 2}).v; }) == "");
  CHECK(mixing([](ir::Builder& b, Term x) { return (x - broadcast(reduce(Op::reduce_mean, x, {0}), x.shape(), {1})).v; }) ==
        "this is taken over all samples: in an export each sample must be computed from itself alone");
  CHECK(mixing([](ir::Builder& b, Term x) { return contract("nk,nj->kj", x, x).v; }) == "this is taken over all samples: in an export each sample must be computed from itself alone");
  CHECK(mixing([](ir::Builder& b, Term x) { return contract("nk,mk->nm", x, x).v; }) == "this multiplies samples with one another");
  CHECK(mixing([](ir::Builder& b, Term x) { return transpose(x, {1, 0}).v; }) == "\"y\" does not have its samples along its first axis");
  CHECK(mixing([](ir::Builder& b, Term x) { return b.slice(x, {1, 0}, {6, 4}, {1, 1}); }) == "this takes some of the samples");
  CHECK(mixing([](ir::Builder& b, Term x) { return b.make(Op::reverse, {x.v}, {{Attr::axes, Axes{0}}}); }) == "this reverses the sample axis");
  CHECK(mixing([](ir::Builder& b, Term x) { return b.make(Op::argmax, {x.v}, {{Attr::axis, int64_t{0}}}); }) == "this takes the position of the largest sample");
  auto rows = [](ir::Builder& b, Value x, Value index, int64_t axis, int64_t batch) { return b.make(Op::gather, {x, index}, {{Attr::axis, axis}, {Attr::batch, batch}}); };
  static auto gather = rows;
  CHECK(mixing([](ir::Builder& b, Term x) { return gather(b, b.variable("w", {ElementType::f64, {7, 3}}), b.cast(x, ElementType::i32), 0, 0); }) == "");
  CHECK(mixing([](ir::Builder& b, Term x) { return gather(b, x, b.cast(x, ElementType::i32), 1, 1); }) == "");
  CHECK(mixing([](ir::Builder& b, Term x) { return gather(b, x, b.literal({1, 2}, {ElementType::i32, {2}}), 1, 0); }) == "");
  CHECK(mixing([](ir::Builder& b, Term x) { return gather(b, x, b.iota({ElementType::i32, {6}}, 0), 0, 0); }) == "this reads samples by their numbers");
  CHECK(mixing([](ir::Builder& b, Term x) { return gather(b, x, b.cast(x, ElementType::i32), 1, 0); }) == "this reads other samples by their numbers");
  CHECK(mixing([](ir::Builder& b, Term x) { return b.make(Op::scatter_add, {b.cast(x, ElementType::i32), x.v}, {{Attr::axis, int64_t{1}}, {Attr::batch, int64_t{1}}, {Attr::extent, int64_t{3}}}); }) == "");
  CHECK(mixing([](ir::Builder& b, Term x) { return b.make(Op::scatter_add, {b.cast(x, ElementType::i32), x.v}, {{Attr::axis, int64_t{0}}, {Attr::batch, int64_t{0}}, {Attr::extent, int64_t{3}}}); }) ==
        "this is taken over all samples: in an export each sample must be computed from itself alone");
  CHECK(mixing([](ir::Builder& b, Term x) { return reshape(x, {4, 6}).v; }) == "this splits the sample axis");
  CHECK(mixing([](ir::Builder& b, Term x) { return (x + transpose(reshape(transpose(x, {1, 0}), {4, 6}), {1, 0})).v; }) == "");
}

TEST_CASE("samples are followed through windows, merged axes and back") {
  Function f;
  ir::Builder b(f);
  Term x{&b, b.input("x", {ElementType::f64, {6, 8, 8, 3}})};
  Axes two = {2, 2}, none = {0, 0}, ones = {1, 1};
  Value w = b.make(Op::windows, {x.v}, {{Attr::axes, Axes{1, 2}}, {Attr::size, two}, {Attr::stride, two}, {Attr::dilation, ones}, {Attr::low, none}, {Attr::high, none}, {Attr::value, 0.0}});
  Value pooled = b.reduce(Op::reduce_max, w, {3, 4});
  Value merged = b.reshape(b.transpose(pooled, {1, 0, 2, 3}), {4 * 6 * 4, 3});
  SampleAxes axes = find_sample_axes(f, {{"x"}, 6});
  CHECK(!axes.mixed);
  CHECK(axes.of[w.id] == SampleAxis{0});
  CHECK(axes.of[merged.id] == SampleAxis{0, 4, 4});
}

TEST_CASE("random numbers keyed by the row run over samples, others do not") {
  Function f;
  ir::Builder b(f);
  auto scalar = [&](const char* name) { return b.input(name, {ElementType::i64, {}}); };
  Value seed = scalar("seed"), step = scalar("step"), row = scalar("row"), zero = b.scalar(0, ElementType::i64);
  auto draw = [&](Value key, Shape shape) {
    return b.make(Op::random, {seed, step, key}, {{Attr::distribution, std::string("normal")}, {Attr::site, int64_t{1}}, {Attr::element, ElementType::f32}, {Attr::shape, shape}});
  };
  Value mask = draw(row, {6, 4}), weights = draw(zero, {6, 4}), scale = draw(row, {});
  SampleAxes axes = find_sample_axes(f, {{"x"}, 6});
  CHECK(axes.of[mask.id] == SampleAxis{0});
  CHECK_FALSE(axes.of[weights.id].runs());
  CHECK_FALSE(axes.of[scale.id].runs());
}
