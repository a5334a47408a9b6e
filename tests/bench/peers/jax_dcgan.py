"""The adversaries of adversaries.py in JAX: a round is one jitted function whose parameters and moments are donated."""
import jax
import jax.numpy as jnp

from peer import Parameters, Trainer, arguments
from rounds import Rounds

BETA1, BETA2, EPSILON = 0.5, 0.999, 1e-8


def norm(x, layer):
    axes = (0, 1, 2)
    mean = jnp.mean(x, axes)
    return (x - mean) * jax.lax.rsqrt(jnp.mean(x * x, axes) - mean * mean + 1e-5) * layer[0] + layer[1]


def convolution(x, layer):
    return jax.lax.conv_general_dilated(x, layer[0], (2, 2), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")) + layer[1]


def transposed(x, layer):
    return jax.lax.conv_general_dilated(x, layer[0][::-1, ::-1], (1, 1), [(2, 2)] * 2, lhs_dilation=(2, 2), dimension_numbers=("NHWC", "HWIO", "NHWC")) + layer[1]


def generator(p, z):
    x = (z @ p["dense1"][0] + p["dense1"][1]).reshape(-1, 7, 7, 64)
    x = transposed(jax.nn.relu(norm(x, p["batch_norm1"])), p["conv_transpose2d1"])
    return jnp.tanh(transposed(jax.nn.relu(norm(x, p["batch_norm2"])), p["conv_transpose2d2"]))


def critic(p, x):
    x = convolution(jax.nn.leaky_relu(convolution(x, p["conv2d1"]), 0.2), p["conv2d2"])
    x = jax.nn.leaky_relu(norm(x, p["batch_norm1"]), 0.2)
    return (x.reshape(x.shape[0], -1) @ p["dense1"][0] + p["dense1"][1])[:, 0]


def critics_loss(c, g, images, noise):
    fake = jax.lax.stop_gradient(generator(g, noise))
    return jnp.mean(jax.nn.softplus(critic(c, fake))) + jnp.mean(jax.nn.softplus(-critic(c, images)))


def generators_loss(g, c, noise):
    return jnp.mean(jax.nn.softplus(-critic(c, generator(g, noise))))


def adam(state, gradients, rate):
    p, first, second, t = state
    t = t + 1
    first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradients)
    size, scale = rate / (1 - BETA1**t), 1 / (1 - BETA2**t)
    return jax.tree.map(lambda p, m, v: p - size * m / (jnp.sqrt(v * scale) + EPSILON), p, first, second), first, second, t


def update(state, images, noise, next_noise):
    g, c, rate = state
    a, gradients = jax.value_and_grad(critics_loss)(c[0], g[0], images, noise)
    c = adam(c, gradients, rate)
    b, gradients = jax.value_and_grad(generators_loss)(g[0], c[0], next_noise)
    return (a, b), (adam(g, gradients, rate), c, rate)


def main() -> None:
    options = arguments()
    jitted = jax.jit(update, donate_argnums=0)

    def start(rate: float):
        file = Parameters(options.weights)
        pairs = lambda model, names, parts: {name: tuple(jnp.array(file.tensor(f"{model}.{name}.{part}")) for part in parts) for name in names}
        g = pairs("generator", ("dense1",), "wb") | pairs("generator", ("conv_transpose2d1", "conv_transpose2d2"), "kb") | pairs("generator", ("batch_norm1", "batch_norm2"), ("gain", "bias"))
        c = pairs("critic", ("dense1",), "wb") | pairs("critic", ("conv2d1", "conv2d2"), "kb") | pairs("critic", ("batch_norm1",), ("gain", "bias"))
        fresh = lambda p: (p, jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p), jnp.float32(0))
        return fresh(g), fresh(c), jnp.float32(rate)

    convert = lambda *arrays: tuple(map(jnp.array, arrays))
    Trainer(jax.__version__, start, lambda state, batch: jitted(state, *batch), jax.block_until_ready, Rounds(options.data, options.batch, convert)).serve()


if __name__ == "__main__":
    main()
