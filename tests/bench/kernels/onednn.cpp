// oneDNN's primitives for dense layers (inner product) and for convolutions: forward, backward by data, backward by weights, with all layouts left to it.
// Compiled where its headers were found; versions 2 and 3 differ in how a primitive is described.
#ifdef BENCH_ONEDNN
#include <dnnl.hpp>
#include <string>
#include <unordered_map>

#include "problem.h"

namespace bench {
namespace {
using dnnl::memory;
using Format = memory::format_tag;

struct Runtime {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
};
Runtime& runtime() {
  static Runtime one;
  return one;
}

// The primitive of a kind, `what` being whatever it takes before its engine and behind it.
template <class Primitive, class... What>
typename Primitive::primitive_desc described(What&&... what) {
#if DNNL_VERSION_MAJOR >= 3
  return {runtime().engine, what...};
#else
  return {typename Primitive::desc(what...), runtime().engine};
#endif
}
template <class Primitive, class Forward, class... What>
typename Primitive::primitive_desc backward(const Forward& forward, What&&... what) {
#if DNNL_VERSION_MAJOR >= 3
  return {runtime().engine, what..., forward};
#else
  return {typename Primitive::desc(what...), runtime().engine, forward};
#endif
}

memory reorder(memory from, memory to) {
  dnnl::reorder(from, to).execute(runtime().stream, from, to);
  runtime().stream.wait();
  return to;
}

// The same values in the layout that the primitive asked for.
memory reordered(const float* data, const memory::desc& plain, const memory::desc& wanted) {
  return reorder(memory(plain, runtime().engine, const_cast<float*>(data)), memory(wanted, runtime().engine));
}

Prepared finish(dnnl::primitive primitive, std::unordered_map<int, memory> arguments, memory result, memory::desc plain) {
  auto run = [=] {
    primitive.execute(runtime().stream, arguments);
    runtime().stream.wait();
  };
  auto copy = [=](float* data) { reorder(result, memory(plain, runtime().engine, data)); };
  return {run, copy};
}

// A tensor as we have it, and as the library may choose to have it.
struct Tensor {
  memory::desc plain, any;
  Tensor(memory::dims extents, Format format) : plain(extents, memory::data_type::f32, format), any(extents, memory::data_type::f32, Format::any) {}
};

// Forward, or the gradient that is wanted, of a kind of layer that `make` describes.
template <class Forward, class BackwardData, class BackwardWeights, class Make>
Prepared prepare(Which which, const Operands& o, const Tensor& x, const Tensor& w, const Tensor& y, const Make& make) {
  dnnl::engine& engine = runtime().engine;
  auto forward = make.forward(x, w, y);
  if (which == Which::forward) {
    memory result(forward.dst_desc(), engine);
    return finish(Forward(forward), {{DNNL_ARG_SRC, reordered(o.x, x.plain, forward.src_desc())}, {DNNL_ARG_WEIGHTS, reordered(o.w, w.plain, forward.weights_desc())}, {DNNL_ARG_DST, result}}, result,
                  y.plain);
  }
  if (which == Which::input_gradient) {
    auto gradient = make.input_gradient(forward, x, w, y);
    memory result(gradient.diff_src_desc(), engine);
    return finish(BackwardData(gradient),
                  {{DNNL_ARG_DIFF_DST, reordered(o.dy, y.plain, gradient.diff_dst_desc())}, {DNNL_ARG_WEIGHTS, reordered(o.w, w.plain, gradient.weights_desc())}, {DNNL_ARG_DIFF_SRC, result}}, result, x.plain);
  }
  auto gradient = make.weight_gradient(forward, x, w, y);
  memory result(gradient.diff_weights_desc(), engine);
  return finish(BackwardWeights(gradient),
                {{DNNL_ARG_SRC, reordered(o.x, x.plain, gradient.src_desc())}, {DNNL_ARG_DIFF_DST, reordered(o.dy, y.plain, gradient.diff_dst_desc())}, {DNNL_ARG_DIFF_WEIGHTS, result}}, result, w.plain);
}

constexpr auto training = dnnl::prop_kind::forward_training;

struct Dense {
  auto forward(const Tensor& x, const Tensor& w, const Tensor& y) const { return described<dnnl::inner_product_forward>(training, x.any, w.any, y.any); }
  auto input_gradient(const dnnl::inner_product_forward::primitive_desc& forward, const Tensor& x, const Tensor& w, const Tensor& y) const {
    return backward<dnnl::inner_product_backward_data>(forward, x.any, w.any, y.any);
  }
  auto weight_gradient(const dnnl::inner_product_forward::primitive_desc& forward, const Tensor& x, const Tensor& w, const Tensor& y) const {
    return backward<dnnl::inner_product_backward_weights>(forward, x.any, w.any, y.any);
  }
};

struct Windowed {
  dnnl::algorithm algorithm;
  memory::dims stride, padding;
  auto forward(const Tensor& x, const Tensor& w, const Tensor& y) const { return described<dnnl::convolution_forward>(training, algorithm, x.any, w.any, y.any, stride, padding, padding); }
  auto input_gradient(const dnnl::convolution_forward::primitive_desc& forward, const Tensor& x, const Tensor& w, const Tensor& y) const {
    return backward<dnnl::convolution_backward_data>(forward, algorithm, x.any, w.any, y.any, stride, padding, padding);
  }
  auto weight_gradient(const dnnl::convolution_forward::primitive_desc& forward, const Tensor& x, const Tensor& w, const Tensor& y) const {
    return backward<dnnl::convolution_backward_weights>(forward, algorithm, x.any, w.any, y.any, stride, padding, padding);
  }
};

// Weights are [outputs, inputs] to oneDNN: our [in, out] is its format ba.
Prepared dense(const Product& p, const Operands& o) {
  const Tensor x({p.batch, p.in}, Format::ab), y({p.batch, p.out}, Format::ab), w({p.out, p.in}, Format::ba);
  return prepare<dnnl::inner_product_forward, dnnl::inner_product_backward_data, dnnl::inner_product_backward_weights>(p.which, o, x, w, y, Dense{});
}

// Images are [n, c, h, w] and weights [filters, channels, h, w] to oneDNN, whatever their order in memory: ours are its nhwc and hwio.
Prepared convolution(const Convolution& c, const Operands& o, dnnl::algorithm algorithm) {
  const Tensor x({c.batch, c.channels, c.side, c.side}, Format::nhwc), y({c.batch, c.filters, c.out(), c.out()}, Format::nhwc), w({c.filters, c.channels, c.size, c.size}, Format::hwio);
  try {
    return prepare<dnnl::convolution_forward, dnnl::convolution_backward_data, dnnl::convolution_backward_weights>(c.which, o, x, w, y,
                                                                                                                   Windowed{algorithm, {c.stride, c.stride}, {c.padding, c.padding}});
  } catch (const dnnl::error& error) {
    if (error.status != dnnl_unimplemented) throw;
    return {};
  }
}

std::string version() {
  const dnnl_version_t* v = dnnl_version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}
}  // namespace

Contender<Product> onednn_product() { return {"oneDNN " + version(), dense}; }

// convolution_auto is one of these two.
std::vector<Contender<Convolution>> onednn_convolutions() {
  auto by = [](dnnl::algorithm algorithm) { return [algorithm](const Convolution& c, const Operands& o) { return convolution(c, o, algorithm); }; };
  return {{"oneDNN " + version() + " direct", by(dnnl::algorithm::convolution_direct)}, {"oneDNN " + version() + " Winograd", by(dnnl::algorithm::convolution_winograd)}};
}

}  // namespace bench
#endif
