#!/usr/bin/env python3
"""Compares rnn, lstm and gru, as gradc compiles them, with PyTorch's in double precision.

    python tests/oracle/recurrent.py [--gradc build/gradc] [--only WORD] [--keep FOLDER]          (a Python with PyTorch; tests/oracle/run finds it)

As in convolutions.py: sequences are a parameter x, results a state, one step of an optimizer puts the gradient in the place of the parameters. Weights are
PyTorch's, transposed (std/recurrent.grad says how). Results and all gradients must agree to 1e-5 of the largest element of each.
"""
import sys

import torch

import convolutions
from convolutions import Case

KINDS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def case(kind, n, t, d, units, sequence=True, reverse=False):
    width = GATES[kind] * units
    shapes = {"w": [d, width], "u": [units, width], "b": [width], **({"bu": [width]} if kind == "gru" else {})}

    def result(x, p):
        peer = KINDS[kind](d, units, batch_first=True, dtype=torch.float64)
        zero = torch.zeros(width, dtype=torch.float64)
        weights = {"weight_ih_l0": p["w"].T, "weight_hh_l0": p["u"].T, "bias_ih_l0": p["b"], "bias_hh_l0": p.get("bu", zero)}
        if reverse:
            x = x.flip(1)
        y, _ = torch.func.functional_call(peer, weights, (x,))
        if not sequence:
            return y[:, -1]
        return y.flip(1) if reverse else y

    options = ("" if sequence else ", sequence = false") + (", reverse = true" if reverse else "")
    return Case(kind, f"{kind}({units}{options})", [n, t, d], result, shapes, spread=units**-0.5)   # larger ones make f32 and f64 part ways over 28 steps


def cases():
    for kind in KINDS:
        yield case(kind, 3, 5, 4, 6)
        yield case(kind, 2, 7, 3, 5, sequence=False)
        yield case(kind, 4, 6, 5, 16, reverse=True)
        yield case(kind, 16, 9, 8, 32)
        yield case(kind, 1, 1, 2, 3)
        yield case(kind, 8, 28, 28, 64, sequence=False)


if __name__ == "__main__":
    sys.exit(convolutions.main(cases))
