"""A two-layer network and its gradient in plain Python floats (IEEE double), written out from the formulas of backpropagation.

Nothing here comes from gradc: it is what the compiled programs are compared with. Parameters are a dict from name to a flat list
in row-major order, so that optimizers need not know about shapes.

    a1 = tanh(x W1 + b1)         logits = a1 W2 + b2         loss = mean over samples of -log softmax(logits)[label]
    delta2 = (softmax - onehot) / samples        dW2 = a1^T delta2      db2 = sum delta2
    delta1 = (delta2 W2^T) * (1 - a1^2)          dW1 = x^T delta1       db1 = sum delta1
"""
import json
import math
import random
import struct

INPUTS, HIDDEN, CLASSES = 4, 6, 3
# The names that gradc gives to the parameters of `x |> dense(6) |> tanh |> dense(3)` in a model called net.
W1, B1, W2, B2 = "net.dense1.w", "net.dense1.b", "net.dense2.w", "net.dense2.b"
SHAPES = {W1: [INPUTS, HIDDEN], B1: [HIDDEN], W2: [HIDDEN, CLASSES], B2: [CLASSES]}


def samples(count, seed=7):
    """(x, label) pairs. Inputs are multiples of 1/64, so that f32 holds them exactly."""
    source = random.Random(seed)
    result = []
    for _ in range(count):
        x = [source.randint(-128, 128) / 64 for _ in range(INPUTS)]
        score = [x[0] + x[1], x[1] * x[2] - x[0], x[3] - x[2] + 0.5 * source.uniform(-1, 1)]
        result.append((x, score.index(max(score))))
    return result


def f32(value):
    """The nearest single."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def initial_weights(seed=3):
    source = random.Random(seed)
    return {name: [f32(source.gauss(0, 0.5)) for _ in range(math.prod(shape))] for name, shape in SHAPES.items()}


def loss_and_gradient(parameters, batch):
    w1, b1, w2, b2 = (parameters[name] for name in (W1, B1, W2, B2))
    gradient = {name: [0.0] * len(values) for name, values in parameters.items()}
    dw1, db1, dw2, db2 = (gradient[name] for name in (W1, B1, W2, B2))
    loss = 0.0
    for x, label in batch:
        a1 = [math.tanh(math.fsum([b1[j]] + [x[i] * w1[i * HIDDEN + j] for i in range(INPUTS)])) for j in range(HIDDEN)]
        logits = [math.fsum([b2[k]] + [a1[j] * w2[j * CLASSES + k] for j in range(HIDDEN)]) for k in range(CLASSES)]
        top = max(logits)
        normalizer = top + math.log(sum(math.exp(z - top) for z in logits))
        loss += (normalizer - logits[label]) / len(batch)
        delta2 = [(math.exp(z - normalizer) - (k == label)) / len(batch) for k, z in enumerate(logits)]
        delta1 = [sum(delta2[k] * w2[j * CLASSES + k] for k in range(CLASSES)) * (1 - a1[j] ** 2) for j in range(HIDDEN)]
        for k in range(CLASSES):
            db2[k] += delta2[k]
            for j in range(HIDDEN):
                dw2[j * CLASSES + k] += a1[j] * delta2[k]
        for j in range(HIDDEN):
            db1[j] += delta1[j]
            for i in range(INPUTS):
                dw1[i * HIDDEN + j] += x[i] * delta1[j]
    return loss, gradient


def write_safetensors(path, tensors):
    """The safetensors form: length of a JSON header (u64), header, data; everything little-endian."""
    header, data = {}, b""
    for name, values in tensors.items():
        piece = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": SHAPES[name], "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path):
    """name -> (shape, flat list)"""
    with open(path, "rb") as file:
        raw = file.read()
    length = struct.unpack_from("<Q", raw)[0]
    header = json.loads(raw[8 : 8 + length])
    result = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        assert entry["dtype"] == "F32", f"{name} is {entry['dtype']}"
        result[name] = (entry["shape"], list(struct.unpack(f"<{(end - begin) // 4}f", raw[8 + length + begin : 8 + length + end])))
    return result


def self_check():
    """The gradient against central differences."""
    parameters, batch = initial_weights(), samples(5)
    _, gradient = loss_and_gradient(parameters, batch)
    worst, step = 0.0, 1e-5
    for name, values in parameters.items():
        for index in range(len(values)):
            sides = []
            for sign in (1, -1):
                moved = {key: list(value) for key, value in parameters.items()}
                moved[name][index] += sign * step
                sides.append(loss_and_gradient(moved, batch)[0])
            numeric = (sides[0] - sides[1]) / (2 * step)
            worst = max(worst, abs(numeric - gradient[name][index]) / (1e-3 + abs(numeric)))
    assert worst < 1e-6, f"the oracle's own gradient is wrong: relative error {worst}"
    return worst
