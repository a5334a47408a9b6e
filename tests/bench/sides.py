"""The sides of a comparison: our compiled programs, and the peers' servers. Each measures blocks and gives losses."""
import functools
import json
import os
import pathlib
import signal
import subprocess
import time
from typing import Callable

from machine import cores
from workloads import Workload

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
WORK = BUILD / "bench"
PEER_PYTHON = BUILD / "peers" / "bin" / "python"


class Failed(Exception):
    """A side that does not run; its row is printed without it."""


def shell(*command: object, pinned: int = 0) -> str:
    """Standard output; with `pinned`, on that many cores alone."""
    result = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=WORK, preexec_fn=pin(pinned))
    if result.returncode:
        raise Failed(f"{' '.join(str(part) for part in command)}: exit code {result.returncode}: {(result.stdout + result.stderr)[:500].strip()}")
    return result.stdout


def run_measured(*command: object, environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Seconds from start to end, and the largest resident set in MB."""
    before = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=WORK, env=dict(os.environ, **(environment or {})))
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - before
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{' '.join(str(part) for part in command)}: exit code {process.returncode}")
    return seconds, usage.ru_maxrss / 1e3


def pin(threads: int) -> Callable[[], None] | None:
    """All sides of a row share the cores that the probe measures."""
    return (lambda: os.sched_setaffinity(0, cores()[:threads])) if threads else None


@functools.cache
def build(workload: Workload) -> tuple[pathlib.Path, pathlib.Path]:
    """The program, and the weights that every side starts from."""
    model, program = WORK / f"{workload.name}.grad", WORK / workload.name
    model.write_text(workload.model(WORK))
    shell(BUILD / "gradc", "build", model, "-o", program, *(["--precision", workload.precision] if workload.precision != "f32" else []))
    weights = WORK / f"{workload.name}.safetensors"
    shell(program, "weights", "--untrained", "--out", weights)
    return program, weights


class Ours:
    name, key = "gradc", "gradc"

    def __init__(self, workload: Workload, threads: int, what: str = "train"):
        self.program, self.weights = build(workload)
        self.threads, self.what = threads, what

    def measure(self, seconds: float) -> float:
        answer = json.loads(shell(self.program, "bench", "--only", self.what, "--json", "--threads", self.threads, "--seconds", seconds, pinned=self.threads))
        return answer["step_ms"] if self.what == "train" else answer["predict_us"] * 1e-3

    def losses(self, steps: int, rate: float) -> list[float]:
        log = WORK / "losses.jsonl"
        shell(self.program, "train", "--init", self.weights, "--no-shuffle", "--no-save", "--steps", steps, "--lr", rate, "--threads", self.threads, "--log", log, "--quiet")
        lines = map(json.loads, log.read_text().splitlines())
        found = ([line[key] for key in ("loss", "d.loss", "g.loss") if key in line] for line in lines if "step" in line)
        return [loss for losses in list(filter(None, found))[:steps] for loss in losses]

    def peak_mb(self) -> float:
        """The largest resident set of 10 steps of training, the data set included."""
        return run_measured(self.program, "train", "--init", self.weights, "--no-save", "--steps", 10, "--quiet", "--threads", self.threads)[1]

    def close(self) -> None:
        pass


def data_of(workload: Workload) -> pathlib.Path:
    files = {"transformer": WORK / f"{workload.network.name}.npy", "adversarial": WORK / "dcgan"}
    return files.get(workload.network.kind, pathlib.Path("/usr/share/datasets/fashion-mnist"))


class Peer:
    """A server of peers/. While it is not asked it is stopped with all that it started, so that nothing spins beside the others."""

    def __init__(self, key: str, workload: Workload, threads: int, settings: dict[str, str] | None = None):
        self.key = key
        self.name, script, mode = PEERS[key]
        if workload.network.kind == "adversarial":
            script = script.replace("train", "dcgan")
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), **(settings or {}))
        environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"   # no pool of processes that warm up beside the measurement
        if threads == 1:   # else XLA's pool, of as many threads as there are cores in its mask, is asked for one thread's work
            environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
        command = [PEER_PYTHON, ROOT / "tests" / "bench" / "peers" / script, "--network", workload.network.name, "--weights", build(workload)[1], "--data", data_of(workload), "--batch", workload.batch, "--threads", threads] + (["--mode", mode] if mode else [])
        self.started = time.perf_counter()
        self.errors = open(WORK / f"{key}.log", "w")
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment,
                                        preexec_fn=pin(threads), start_new_session=True)

    def ask(self, *words: object):
        assert self.process.stdin and self.process.stdout
        if self.process.poll() is not None:
            raise Failed(f"{self.name} has ended: see {self.errors.name}")
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            print(*words, file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise Failed(f"{self.name} has ended without an answer: see {self.errors.name}")
        os.killpg(self.process.pid, signal.SIGSTOP)
        return json.loads(answer)

    def measure(self, seconds: float) -> float:
        return self.ask("measure", seconds)["ms"]

    def losses(self, steps: int, rate: float) -> list[float]:
        return self.ask("losses", steps, rate)

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGCONT)
            self.process.communicate()
        self.errors.close()


# key in the JSON file: name, program, --mode
PEERS = {
    "eager": ("PyTorch eager", "torch_train.py", "eager"),
    "compile": ("torch.compile", "torch_train.py", "compile"),
    "jax": ("JAX", "jax_train.py", "f32"),
    "eager-autocast": ("PyTorch eager, autocast", "torch_train.py", "eager-autocast"),
    "compile-autocast": ("torch.compile, autocast", "torch_train.py", "compile-autocast"),
    "compile-bf16": ("torch.compile, all bf16", "torch_train.py", "compile-bf16"),
    "jax-bf16": ("JAX bf16", "jax_train.py", "bf16"),
    "llm.c": ("llm.c", "llmc_train.py", ""),
    "onnx": ("ONNX Runtime", "onnx_predict.py", ""),
    "onnx-call": ("its call alone", "onnx_predict.py", "call"),
}
STEP_PEERS = {"f32": ["eager", "compile", "jax", "llm.c"], "bf16": ["eager-autocast", "compile-autocast", "compile-bf16", "jax-bf16"]}


def step_peers(workload: Workload) -> list[str]:
    """Of those that are installed the ones that can train it: llm.c knows GPTs alone."""
    return [key for key in STEP_PEERS[workload.precision] if key != "llm.c" or workload.network.kind == "transformer"] if PEER_PYTHON.exists() else []
