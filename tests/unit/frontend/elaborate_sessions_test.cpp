// Exports for a number of steps: what they remember, what it begins with, and that the same layers are what they were elsewhere. Data of texts.
#include "elaborate_harness.h"

using namespace gradc;
using namespace gradc::tests;

TEST_CASE("an export for a number of steps remembers, and the same layer elsewhere does not", "[elaborate]") {
  Program p = good(R"grad(
layer smooth(x: f32[n, 2]) {
    param gain: f32[2] = 2
    state seen: f32 = 0
    if incremental {
        session past: f32[2] = [1, -1]
        session rows: f32[steps, 2] = 0
        past <- 0.5 * past + x[0]
        rows <- where(reshape(iota(steps) == position, [steps, 1]), x, rows)
        seen <- seen + 1
        gain * past + sum(rows, axis = 0) + seen * 0
    } else {
        gain * x
    }
}
model net(x: f32[n, 2]) = x |> smooth
export step(x: f32[n, 2]) for 3 steps = reshape(net(x), [n, 2])
export plain(x: f32[n, 2]) = net(x)
)grad",
                   {{}, {1, 8}, {}, ""});
  expand(p);
  CHECK(p.image.reset == "reset");
  CHECK(p.image.exports[0]->steps == 3);
  CHECK(p.image.exports[0]->entries.size() == 1);   // samples come one by one
  CHECK(p.image.exports[1]->entries.size() == 2);
  CHECK(ir::kind_name(p.module.variable("net.smooth1.past")->kind) == "session");
  CHECK(p.module.variable("net.smooth1.rows")->type.shape == ir::Shape{3, 2});
  CHECK_FALSE(p.module.function("init")->result("net.smooth1.past"));
  CHECK_FALSE(p.module.function("export.step.1")->result("net.smooth1.seen"));   // states are what training left
  CHECK_FALSE(p.module.function("export.plain.8")->result("net.smooth1.past"));
  ir::Bindings state;
  call(p, "init", state);
  auto step = [&](int position, std::initializer_list<double> x) {
    return call(p, "export.step.1", state, {{"x", f32({1, 2}, x)}, {"position", ir::Tensor::of({ir::ElementType::i64, {}}, {double(position)})}}).at("step");
  };
  for (int again = 0; again < 2; ++again) {
    call(p, "reset", state);
    near_to(step(0, {4, 8}), {2 * 4.5 + 4, 2 * 7.5 + 8});
    near_to(step(1, {1, 0}), {2 * 3.25 + 5, 2 * 3.75 + 8});
  }
  near_to(call(p, "export.plain.1", state, {{"x", f32({1, 2}, {4, 8})}}).at("plain"), {8, 16});
}

TEST_CASE("data of a text have a vocabulary, learned where training reads", "[elaborate]") {
  Program p = good(R"grad(
data tale(window: token[9], bytes: u8[9]) {
    all         = text("tale.txt", tokens = "pairs", vocabulary = 2 * 200)
    more        = text("more.txt")
    part, valid = split(all, 0.9)
    from "/texts"
}
model net(tokens: token[n, t]) = one_hot(tokens, tale.vocabulary) |> dense(tale.vocabulary)
train on tale.part[0:5000], validate on tale.valid {
    batch 4
    epochs 1
    let loss = cross_entropy(net(window[:, 0:-1]), window[:, 1:])
    minimize loss with adam()
    report bits = bits(loss) / mean(f32(bytes[:, 1:]))
}
)grad");
  const program::DataSetT& data = *p.image.data[0];
  CHECK(data.tokens->kind == program::TokenKind::pairs);
  CHECK(data.tokens->size == 400);
  CHECK(data.tokens->learn == "part[0:5000]");
  CHECK(data.fields[0]->high == 400);
  CHECK_FALSE(data.fields[1]->has_range);
  CHECK(p.module.variable("net.dense1.w")->type.shape == ir::Shape{400, 400});
}
