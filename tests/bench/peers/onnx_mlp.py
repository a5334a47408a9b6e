"""ONNX Runtime predicting with a dense network at batch 1: all optimizations, and inputs and outputs bound beforehand, so that a
call from Python costs little (`--mode call` measures what it costs: a network without layers).
"""
import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from peer import arguments, dense_layers, serve, time_calls


def network(layers) -> bytes:
    nodes, weights, x = [], [], "x"
    for i, (w, b) in enumerate(layers):
        weights += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [x, f"w{i}", f"b{i}"], [f"z{i}"]))
        x = f"z{i}"
        if i + 1 < len(layers):
            nodes.append(helper.make_node("Relu", [x], [f"y{i}"]))
            x = f"y{i}"
    nodes.append(helper.make_node("Softmax" if layers else "Identity", [x], ["p"]))
    outputs = layers[-1][0].shape[1] if layers else 784
    graph = helper.make_graph(nodes, "mlp", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 784])],
                              [helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, outputs])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def main() -> None:
    options = arguments()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    layers = [] if options.mode == "call" else dense_layers(options.weights)
    session = onnxruntime.InferenceSession(network(layers), settings, providers=["CPUExecutionProvider"])
    x = numpy.random.default_rng(1).random((1, 784), numpy.float32)
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("p", "cpu")

    def run(_: int) -> None:
        session.run_with_iobinding(binding)

    for i in range(100):
        run(i)
    serve({"measure": lambda seconds: time_calls(run, lambda: None, seconds, 20),
           "version": lambda: {"version": onnxruntime.__version__}})


if __name__ == "__main__":
    main()
