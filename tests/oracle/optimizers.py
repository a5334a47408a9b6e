"""The update formulas of the lectures, on the whole parameter vector, in double precision.

An optimizer is a function step(state, t, p, grad_at, h): t counts from 1, p is the list of parameters (changed in place), grad_at(q)
the gradient of the batch's loss at q (grad_at.loss(q) the loss), h the hyperparameters. It keeps what it likes in state.
"""
import math


def zeros(state, name, p):
    return state.setdefault(name, [0.0] * len(p))


def sgd(state, t, p, grad_at, h):
    """theta <- theta - eta g"""
    g = grad_at(p)
    for i in range(len(p)):
        p[i] -= h["lr"] * g[i]


def momentum(state, t, p, grad_at, h):
    """v <- beta v + (1 - beta) g;  theta <- theta - eta v"""
    v, g = zeros(state, "v", p), grad_at(p)
    for i in range(len(p)):
        v[i] = h["beta"] * v[i] + (1 - h["beta"]) * g[i]
        p[i] -= h["lr"] * v[i]


def heavy_ball(state, t, p, grad_at, h):
    """Polyak's form, without the factor: v <- beta v + g;  theta <- theta - eta v"""
    v, g = zeros(state, "v", p), grad_at(p)
    for i in range(len(p)):
        v[i] = h["beta"] * v[i] + g[i]
        p[i] -= h["lr"] * v[i]


def nesterov(state, t, p, grad_at, h):
    """g at theta - eta beta v;  v <- beta v + (1 - beta) g;  theta <- theta - eta v"""
    v = zeros(state, "v", p)
    g = grad_at([p[i] - h["lr"] * h["beta"] * v[i] for i in range(len(p))])
    for i in range(len(p)):
        v[i] = h["beta"] * v[i] + (1 - h["beta"]) * g[i]
        p[i] -= h["lr"] * v[i]


def adagrad(state, t, p, grad_at, h):
    """G <- G + g^2;  theta <- theta - eta / (sqrt(G) + eps) g"""
    total, g = zeros(state, "G", p), grad_at(p)
    for i in range(len(p)):
        total[i] += g[i] ** 2
        p[i] -= h["lr"] / (math.sqrt(total[i]) + h["eps"]) * g[i]


def rmsprop(state, t, p, grad_at, h):
    """E <- beta E + (1 - beta) g^2;  theta <- theta - eta / (sqrt(E) + eps) g"""
    mean, g = zeros(state, "E", p), grad_at(p)
    for i in range(len(p)):
        mean[i] = h["beta"] * mean[i] + (1 - h["beta"]) * g[i] ** 2
        p[i] -= h["lr"] / (math.sqrt(mean[i]) + h["eps"]) * g[i]


def adam(state, t, p, grad_at, h, decay=0.0):
    """m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  theta <- theta - eta / (sqrt(v hat) + eps) m hat"""
    m, v, g = zeros(state, "m", p), zeros(state, "v", p), grad_at(p)
    for i in range(len(p)):
        m[i] = h["beta1"] * m[i] + (1 - h["beta1"]) * g[i]
        v[i] = h["beta2"] * v[i] + (1 - h["beta2"]) * g[i] ** 2
        m_hat = m[i] / (1 - h["beta1"] ** t)
        v_hat = v[i] / (1 - h["beta2"] ** t)
        p[i] -= h["lr"] / (math.sqrt(v_hat) + h["eps"]) * m_hat + h["lr"] * decay * p[i]


def adamw(state, t, p, grad_at, h):
    """Adam with decoupled weight decay (Loshchilov and Hutter): theta <- theta - eta (m hat / (sqrt(v hat) + eps) + decay theta)"""
    adam(state, t, p, grad_at, h, h["decay"])


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def along(p, size, way):
    return [a + size * b for a, b in zip(p, way)]


def shortened(p, way, slope, size, grad_at, halvings):
    """Armijo's rule: the first of size, size / 2, ... that lowers the loss by 1e-4 of what the slope promises."""
    least = grad_at.loss(p)
    for _ in range(halvings):
        if grad_at.loss(along(p, size, way)) <= least + 1e-4 * size * slope:
            return size
        size /= 2
    return size


def hessian_times(grad_at, p, v):
    """H v, by central differences of the gradient."""
    size = 1e-5 / math.sqrt(dot(v, v))
    ahead, behind = grad_at(along(p, size, v)), grad_at(along(p, -size, v))
    return [(a - b) / (2 * size) for a, b in zip(ahead, behind)]


def newton_cg(state, t, p, grad_at, h):
    """theta <- theta - eta d with (H + damping) d = g by conjugate gradients (Nocedal and Wright, algorithm 7.1)"""
    g = grad_at(p)
    d, rest = [0.0] * len(p), [-x for x in g]
    way, left = rest, dot(rest, rest)
    enough = h["tolerance"] ** 2 * left
    for _ in range(h["iterations"]):
        product = along(hessian_times(grad_at, p, way), h["damping"], way)
        curvature = dot(way, product)
        if curvature <= 0 or left <= enough:
            break
        size = left / curvature
        d, rest = along(d, size, way), along(rest, -size, product)
        left, before = dot(rest, rest), left
        way = along(rest, left / before, way)
    if not any(d):
        d = [-x for x in g]
    p[:] = along(p, shortened(p, d, dot(g, d), h["lr"], grad_at, h["halvings"]), d)


def lbfgs(state, t, p, grad_at, h):
    """The two loops of algorithm 7.4 in Nocedal and Wright over the last pairs of steps and changes of the gradient"""
    g = grad_at(p)
    pairs = state.setdefault("pairs", [])
    if "before" in state:
        pairs.insert(0, (along(p, -1, state["before"]), along(g, -1, state["slope"])))
        del pairs[h["history"] :]
    good = [(s, y, dot(s, y)) for s, y in pairs if dot(s, y) > 0]
    d, taken = [-x for x in g], []
    for s, y, sy in good:
        taken.append(dot(s, d) / sy)
        d = along(d, -taken[-1], y)
    newest = pairs and dot(*pairs[0])
    scale = newest / dot(pairs[0][1], pairs[0][1]) if newest and newest > 0 else 1 / max(1, math.sqrt(dot(g, g)))
    d = [scale * x for x in d]
    for (s, y, sy), a in reversed(list(zip(good, taken))):
        d = along(d, a - dot(y, d) / sy, s)
    state["before"], state["slope"] = list(p), g
    p[:] = along(p, shortened(p, d, dot(g, d), h["lr"], grad_at, h["halvings"]), d)


def sam(state, t, p, grad_at, h):
    """g at theta + rho g / ||g||;  theta <- theta - eta g (Foret et al.)"""
    g = grad_at(p)
    g = grad_at(along(p, h["rho"] / math.sqrt(dot(g, g)), g))
    p[:] = along(p, -h["lr"], g)


ALL = {
    "sgd": (sgd, {"lr": 0.1}),
    "momentum": (momentum, {"lr": 0.3, "beta": 0.9}),
    "heavy_ball": (heavy_ball, {"lr": 0.03, "beta": 0.9}),
    "nesterov": (nesterov, {"lr": 0.3, "beta": 0.9}),
    "adagrad": (adagrad, {"lr": 0.1, "eps": 1e-8}),
    "rmsprop": (rmsprop, {"lr": 0.01, "beta": 0.9, "eps": 1e-8}),
    "adam": (adam, {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
    "adamw": (adamw, {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.05}),
    "sam": (sam, {"base": "sgd", "lr": 0.1, "rho": 0.05}),
}

# All samples in each step: these believe what they see. Fewer steps, since each multiplies what rounding has changed.
SECOND_ORDER = {
    "newton_cg": (newton_cg, {"lr": 1.0, "damping": 0.5, "tolerance": 1e-6, "iterations": 4, "halvings": 4}),
    "lbfgs": (lbfgs, {"lr": 1.0, "history": 4, "halvings": 4}),
}
