"""What end-to-end tests share: a compiler, programs made by it, small data files."""
import gzip
import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRADC = os.path.abspath(os.environ.get("GRADC", ROOT / "build" / "gradc"))
MODELS = ROOT / "models"
JARGON = pathlib.Path("/usr/share/doc/jargon-text/jargon.txt.gz")
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")
TIME_LIMIT_S = 120


class Result:
    def __init__(self, process):
        self.code, self.out, self.err = process.returncode, process.stdout, process.stderr

    def json(self):
        return json.loads(self.out)


class EndToEnd(unittest.TestCase):
    """A test class has a folder of its own; what it builds there all its tests use."""

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory(prefix="gradc-e2e-")
        cls.folder = pathlib.Path(cls._folder.name)

    @classmethod
    def tearDownClass(cls):
        cls._folder.cleanup()

    @classmethod
    def command(cls, *arguments, code=0, cwd=None, **options):
        """Runs a command; any other exit status than `code` (None: anything that is no crash) is a failure."""
        arguments = [str(part) for part in arguments]
        environment = {**os.environ, "GRADC_CACHE": str(cls.folder / "cache"), "NO_COLOR": "1", **options.pop("env", {})}
        process = subprocess.run(arguments, cwd=cwd or cls.folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, timeout=TIME_LIMIT_S, **options)
        result = Result(process)
        wrong = result.code not in (0, 1, 2) if code is None else result.code != code
        if wrong:
            raise AssertionError(f"{' '.join(arguments)}: exit code {result.code}, expected {code}\n{result.out}{result.err}")
        return result

    @classmethod
    def build(cls, model, *options, name=None):
        """Compiles a shipped model (its name) or a text; gives the program's path."""
        if "\n" in model:
            source = cls.folder / f"{name}.grad"
            source.write_text(model)
        else:
            source = MODELS / f"{model}.grad"
        program = cls.folder / (name or model)
        cls.command(GRADC, "build", source, "-o", program, *options)
        return program

    def fails(self, *arguments, says, code=1, **options):
        """An error that is told: every one of `says` stands in the message, which starts with "error"."""
        result = self.command(*arguments, code=code, **options)
        for words in [says] if isinstance(says, str) else says:
            self.assertIn(words, result.err)
        self.assertRegex(result.err, r"(?m)^error")
        return result


def processor_has(feature):
    with open("/proc/cpuinfo") as lines:
        return any(line.startswith("flags") and feature in line.split() for line in lines)


def log_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_idx(path, values, shape, kind=8):
    """An IDX file of bytes; .gz compresses."""
    data = struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + bytes(values)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def read_npy(path):
    """(shape, flat list) of an NPY file of f32."""
    raw = path.read_bytes()
    length = struct.unpack_from("<H", raw, 8)[0]
    header = eval(raw[10 : 10 + length])   # a literal dict, as the format asks
    assert header["descr"] == "<f4", header
    return header["shape"], list(struct.unpack(f"<{(len(raw) - 10 - length) // 4}f", raw[10 + length :]))


# A problem that is learnt at once: two classes by the sign of the sum of four bytes.
SMALL = """// A small classifier, for tests.
config rate = 0.5

data points(x: u8[4], label: u8 < 2) {
    train = idx("x.idx", "y.idx")
}

model net(x: f32[n, 4]) -> f32[n, 2] { x |> dense(8) |> tanh |> dense(2) }

train on points.train, validate on points.train {
    batch 8
    epochs 5
    let logits = net(x / 255)
    minimize cross_entropy(logits, label) with adam(lr = 0.02) or sgd(lr = rate) or nesterov(lr = rate)
    report accuracy = accuracy(logits, label)
}

export predict(x: u8[n, 4]) = softmax(net(x / 255))
"""


def write_small_data(folder, count=200):
    state, rows, labels = 12345, [], []
    for _ in range(count):
        row = []
        for _ in range(4):
            state = (state * 1103515245 + 12345) % 2**31
            row.append(state >> 16 & 255)
        rows += row
        labels.append(int(sum(row) > 510))
    write_idx(folder / "x.idx", rows, [count, 4])
    write_idx(folder / "y.idx", labels, [count])
    return rows, labels
