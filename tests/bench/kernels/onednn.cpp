// oneDNN's primitives for dense layers (inner product: forward, backward by data, backward by weights), with all layouts left to it.
// Compiled where its headers were found; versions 2 and 3 differ in how a primitive is described.
#ifdef BENCH_ONEDNN
#include <dnnl.hpp>
#include <string>
#include <unordered_map>

#include "product.h"

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

memory::desc described(int64_t rows, int64_t columns, Format format) { return {{rows, columns}, memory::data_type::f32, format}; }

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

Prepared prepare(const Product& p, const Operands& o) {
  dnnl::engine& engine = runtime().engine;
  // Weights are [outputs, inputs] to oneDNN: our [in, out] is its format ba.
  const memory::desc x = described(p.batch, p.in, Format::ab), y = described(p.batch, p.out, Format::ab), w = described(p.out, p.in, Format::ba);
  const memory::desc any_x = described(p.batch, p.in, Format::any), any_y = described(p.batch, p.out, Format::any), any_w = described(p.out, p.in, Format::any);
#if DNNL_VERSION_MAJOR >= 3
  dnnl::inner_product_forward::primitive_desc forward(engine, dnnl::prop_kind::forward_training, any_x, any_w, any_y);
#else
  dnnl::inner_product_forward::primitive_desc forward({dnnl::prop_kind::forward_training, any_x, any_w, any_y}, engine);
#endif
  if (p.which == Which::forward) {
    memory result(forward.dst_desc(), engine);
    return finish(dnnl::inner_product_forward(forward), {{DNNL_ARG_SRC, reordered(o.x, x, forward.src_desc())}, {DNNL_ARG_WEIGHTS, reordered(o.w, w, forward.weights_desc())}, {DNNL_ARG_DST, result}},
                  result, y);
  }
  if (p.which == Which::input_gradient) {
#if DNNL_VERSION_MAJOR >= 3
    dnnl::inner_product_backward_data::primitive_desc backward(engine, any_x, any_w, any_y, forward);
#else
    dnnl::inner_product_backward_data::primitive_desc backward({any_x, any_w, any_y}, engine, forward);
#endif
    memory result(backward.diff_src_desc(), engine);
    return finish(dnnl::inner_product_backward_data(backward),
                  {{DNNL_ARG_DIFF_DST, reordered(o.dy, y, backward.diff_dst_desc())}, {DNNL_ARG_WEIGHTS, reordered(o.w, w, backward.weights_desc())}, {DNNL_ARG_DIFF_SRC, result}}, result, x);
  }
#if DNNL_VERSION_MAJOR >= 3
  dnnl::inner_product_backward_weights::primitive_desc backward(engine, any_x, any_w, any_y, forward);
#else
  dnnl::inner_product_backward_weights::primitive_desc backward({any_x, any_w, any_y}, engine, forward);
#endif
  memory result(backward.diff_weights_desc(), engine);
  return finish(dnnl::inner_product_backward_weights(backward),
                {{DNNL_ARG_SRC, reordered(o.x, x, backward.src_desc())}, {DNNL_ARG_DIFF_DST, reordered(o.dy, y, backward.diff_dst_desc())}, {DNNL_ARG_DIFF_WEIGHTS, result}}, result, w);
}
}  // namespace

Contender onednn() {
  const dnnl_version_t* v = dnnl_version();
  return {"oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch), prepare};
}

}  // namespace bench
#endif
