// Whole files from the design: convolutions, two networks against each other, attention, optimizers that differentiate twice.
// They elaborate to valid graphs with the parameters, functions and hyperparameters that the file means.
#include <algorithm>

#include "elaborate_harness.h"

using namespace gradc;
using namespace gradc::tests;

namespace {
int count_variables(const Program& p, const std::string& prefix) {
  return static_cast<int>(std::count_if(p.module.variables.begin(), p.module.variables.end(), [&](const ir::Variable& v) { return v.name.starts_with(prefix); }));
}
}  // namespace

TEST_CASE("a convolutional network with statistics, full batches in chunks, and saliency", "[elaborate]") {
  Program p = good(R"grad(
data fashion(image: u8[28, 28], label: u8 < 10) {
    train = idx("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    test  = idx("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    from "/usr/share/datasets/fashion-mnist"
}
layer conv2d(filters: int, size: int, stride = 1, padding = "same")(x: f32[n, h, w, c]) {
    param k: f32[size, size, c, filters] = he_normal()
    param b: f32[filters] = zeros()
    einsum("nijuvc,uvck->nijk", windows(x, [size, size], stride, padding), k) + b
}
fn max_pool(x, size) = max(windows(x, [size, size], size, "valid", value = -inf), axis = [3, 4])
model net(image: f32[n, 28, 28]) -> f32[n, 10] {
    reshape(image, [n, 28, 28, 1]) |> conv2d(8, 3) |> batch_norm() |> relu |> max_pool(2)
          |> conv2d(16, 5, padding = "valid") |> layer_norm() |> relu |> flatten |> dropout(0.5) |> dense(10)
}
train on fashion.train, validate on fashion.test {
    batch all
    epochs 10
    let logits = net(image / 255)
    minimize cross_entropy(logits, label) with gd(lr = 0.1) or clip_norm(momentum(lr = exponential(0.3)), limit = 1)
    report accuracy = accuracy(logits, label)
}
export predict(image: u8[n, 28, 28]) = softmax(net(image / 255))
export saliency(image: u8[n, 28, 28], label: u8[n] < 10) {
    let x = image / 255
    abs(grad(sum(pick(net(x), label)), x))
}
)grad");
  CHECK(p.module.variable("net.conv2d2.k")->type.shape == ir::Shape{5, 5, 8, 16});
  CHECK(p.module.variable("net.batch_norm1.mu")->kind == ir::VariableKind::state);
  CHECK(p.module.function("accumulate.gd")->result("net.batch_norm1.mu"));
  CHECK_FALSE(p.module.function("apply.gd")->result("net.batch_norm1.mu"));
  CHECK(count_variables(p, "accumulated/") == 11);
  CHECK(p.image.trains[0]->batch == 0);
  CHECK(p.image.trains[0]->step_list[0]->optimizers[1]->lr == "clip_norm.momentum.lr");
}

TEST_CASE("two networks against each other, with a penalty on a gradient", "[elaborate]") {
  Program p = good(R"grad(
data fashion(image: u8[28, 28], label: u8 < 10) {
    train = idx("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
}
model generator(z: f32[n, 64]) -> f32[n, 28, 28] { z |> dense(128) |> relu |> dense(784) |> tanh |> reshape([n, 28, 28]) }
model critic(x: f32[n, 28, 28]) -> f32[n] { x |> flatten |> dense(128) |> leaky_relu(0.2) |> dense(1) |> flatten(from = 0) }
train on fashion.train {
    batch 64
    epochs 20
    let real = image / 127.5 - 1
    step critic_step repeat 5 {
        let fake = stop_gradient(generator(normal[batch, 64]))
        let e    = uniform[batch, 1, 1]
        let mix  = e * real + (1 - e) * fake
        let g    = grad(sum(critic(mix)), mix)
        minimize mean(critic(fake)) - mean(critic(real)) + 10 * mean((norm(g, axis = [1, 2]) - 1)^2)
            over critic with adam(lr = 1e-4, beta1 = 0, beta2 = 0.9)
    }
    step generator_step {
        minimize -mean(critic(generator(normal[batch, 64]))) over generator with adam(lr = 1e-4, beta1 = 0, beta2 = 0.9)
    }
}
export sample(z: f32[n, 64]) = generator(z)
)grad");
  CHECK(count_variables(p, "critic_step.adam/") == 8);
  CHECK(count_variables(p, "generator_step.adam/") == 8);
  CHECK_FALSE(p.module.function("train.critic_step.adam")->result("generator.dense1.w"));
  expand(p);
  CHECK(ir::verify(p.module) == "");
}

TEST_CASE("attention, loops of blocks, an optimizer around another with values by name", "[elaborate]") {
  Program p = good(R"grad(
data d(x: f32[6, 8], y: f32[6, 8]) { all = npy("x.npy", "y.npy") }
layer attention(heads: int, causal = false)(x: f32[n, t, d], memory = x) {
    let split(y) = reshape(y, [n, -1, heads, d / heads])
    let (q, k, v) = (split(x |> dense(d)), split(memory |> dense(d)), split(memory |> dense(d)))
    let scores = einsum("nqhe,nkhe->nhqk", q, k) / sqrt(d / heads)
    let masked = if causal { where(reshape(iota(t), [t, 1]) >= reshape(iota(t), [1, t]), scores, -inf) } else { scores }
    einsum("nhqk,nkhe->nqhe", softmax(masked), v) |> flatten(from = 2) |> dense(d)
}
layer encoder_block(heads: int, hidden: int)(x: f32[n, t, d]) {
    let a = layer_norm()(x + attention(heads)(x))
    layer_norm()(a + (a |> dense(hidden) |> relu |> dense(d)))
}
model net(x: f32[n, t, d]) { 
    let y = x
    for i in 0..2 { y = y |> encoder_block(heads = 2, hidden = 4 * d) }
    y |> attention(2, causal = true)
}
train on d.all { batch 3; epochs 1; minimize mse(net(x), y) with sam(adamw(decay = 0.1 {*.b: 0, *.gain: 0}, lr = cosine(1e-3) { net.attention1.*: 1e-2 }), rho = 0.1) }
export f(x: f32[n, 6, 8]) = net(x)
)grad");
  CHECK(p.module.variable("net.encoder_block1.1.attention1.dense4.w"));
  CHECK(p.module.variable("net.attention1.dense1.w"));
  CHECK(p.module.function("train.sam")->result("net.attention1.dense1.b"));
}

TEST_CASE("several train blocks, Hessian-vector products, schedules of schedules", "[elaborate]") {
  Program p = good(R"grad(
data d(x: f32[4], y: f32) { all = csv("x.csv"); train = all[0:100]; test = all[100:150] }
optimizer newton_cg(lr = 1, damp = 1e-3) {
    let v = grad
    let hv = grad(dot(grad, v), param) + damp * v
    param <- param - lr * (dot(v, v) / dot(v, hv)) * v
}
optimizer look(lr = 0.1) {
    let p = param - lr * grad
    param <- param - lr * grad * where(loss_at(p) < loss, 1, 0.5)
}
model net(x: f32[n, 4]) -> f32[n] { let f = dense(8)
   x |> f |> tanh |> dense(1) |> flatten(from = 0) }
model head(x: f32[n, 4]) -> f32[n] { param w: f32[4] = normal(0.1)
   param s: f32 = 1
   x @ w * s }
train first on d.train, validate on d.test { batch 10; epochs 1
    minimize mse(net(x), y) + 0.01 * sum(params(net)^2) with newton_cg() or look() or sgd(lr = rate) or sgd(lr = warmup(cosine(0.1), 10)) as slow }
train second on d.all { batch 10; accumulate 3; for 100 steps
    freeze net
    minimize hinge(head(x) + net(x), 2 * y - 1) + binary_cross_entropy(head(x), y, from_logits = true) with nesterov() or adam() }
config rate = 0.1
export f(x: f32[n, 4]) { (net(x), head(x) > 0, argmax(x)) }
)grad");
  REQUIRE(p.image.trains.size() == 2);
  CHECK(p.image.trains[0]->validate_split == "test");
  CHECK(p.image.trains[1]->steps == 100);
  CHECK(p.module.function("validate.second"));
  CHECK(p.image.trains[0]->step_list[0]->optimizers[3]->name == "slow");
  CHECK_FALSE(p.module.function("apply.second.adam")->result("net.f.w"));
  expand(p);
  CHECK(ir::verify(p.module) == "");
}
