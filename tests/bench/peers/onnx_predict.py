"""ONNX Runtime predicting with a network at batch 1: all optimizations, and inputs and outputs bound beforehand, so that a
call from Python costs little (`--mode call` measures what it costs: a network without layers).
"""
import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from peer import NETWORKS, Parameters, arguments, serve, time_calls
from networks import SIDE, walk


def network(name: str, path: str) -> tuple[bytes, str]:
    """Convolutions in the order of ONNX, channels first; the dense layer behind them reads its matrix in that order. The model, and its result's name."""
    parameters, nodes, weights, x, n, flattened = Parameters(path), [], [], "x", 0, None

    def add(op: str, *operands: numpy.ndarray, **attributes) -> None:
        nonlocal x, n
        names = [f"w{n}_{i}" for i in range(len(operands))]
        weights.extend(numpy_helper.from_array(numpy.ascontiguousarray(w), name) for w, name in zip(operands, names))
        nodes.append(helper.make_node(op, [x, *names], [f"y{n}"], **attributes))
        x, n = f"y{n}", n + 1

    for layer, shape in walk(NETWORKS[name].layers if name else ()):
        kind = layer[0]
        if kind == "conv":
            kernel, bias = parameters.next("conv")
            add("Conv", kernel.transpose(3, 2, 0, 1), bias, strides=[layer[3]] * 2, pads=[layer[4]] * 4)
        elif kind == "pool":
            add("MaxPool", kernel_shape=[layer[1]] * 2, strides=[layer[1]] * 2)
        elif kind == "flatten":
            add("Flatten")
            flattened = shape
        elif kind == "dense":
            w, bias = parameters.next("dense")
            if flattened:   # from [h, w, c] to [c, h, w]
                w = w.reshape(*flattened, -1).transpose(2, 0, 1, 3).reshape(w.shape)
            add("Gemm", w, bias)
            flattened = None
        elif kind == "relu":
            add("Relu")
        else:
            raise ValueError(f"no prediction with {kind} yet")
    add("Softmax" if name else "Identity")
    outputs = [1, 10] if name else [1, 1, SIDE, SIDE]
    graph = helper.make_graph(nodes, "network", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, SIDE, SIDE])],
                              [helper.make_tensor_value_info(x, TensorProto.FLOAT, outputs)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString(), x


def main() -> None:
    options = arguments()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    model, result = network("" if options.mode == "call" else options.network, options.weights)
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    x = numpy.random.default_rng(1).random((1, 1, SIDE, SIDE), numpy.float32)
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output(result, "cpu")

    def run(_: int) -> None:
        session.run_with_iobinding(binding)

    for i in range(100):
        run(i)
    serve({"measure": lambda seconds: time_calls(run, lambda: None, seconds, 20),
           "version": lambda: {"version": onnxruntime.__version__}})


if __name__ == "__main__":
    main()
