"""The update formulas of the lectures, on the whole parameter vector, in double precision.

An optimizer is a function step(state, t, p, grad_at, h): t counts from 1, p is the list of parameters (changed in place), grad_at(q)
the gradient of the batch's loss at q, h the hyperparameters. It keeps what it likes in state.
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


ALL = {
    "sgd": (sgd, {"lr": 0.1}),
    "momentum": (momentum, {"lr": 0.3, "beta": 0.9}),
    "heavy_ball": (heavy_ball, {"lr": 0.03, "beta": 0.9}),
    "nesterov": (nesterov, {"lr": 0.3, "beta": 0.9}),
    "adagrad": (adagrad, {"lr": 0.1, "eps": 1e-8}),
    "rmsprop": (rmsprop, {"lr": 0.01, "beta": 0.9, "eps": 1e-8}),
    "adam": (adam, {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
    "adamw": (adamw, {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.05}),
}
