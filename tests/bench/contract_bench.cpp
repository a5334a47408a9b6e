// Contract kernels on one core against Eigen's product and the core's peak of fused multiply-adds, measured around each run:
// the products of a multi-layer network (forward, input gradient, weight gradient). GFLOP/s, best of some repetitions each,
// because the machine may be shared; and each with what rides in its epilogue in a network (bias and relu, relu's mask, an update by
// Adam), for which Eigen's time is the plain product's. Not a test.
//   contract_bench [milliseconds per measurement [M N K]]
#include <fmt/format.h>

#include <Eigen/Core>
#include <chrono>
#include <cstdlib>
#include <random>

#include "codegen/contract.h"
#include "codegen/llvm_module.h"
#include "codegen/plan.h"
#include "ir/builder.h"
#include "runtime/image.h"

using namespace gradc;

namespace {
double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The best time of one call, over repetitions that last some milliseconds together.
template <typename F>
double best_time(double milliseconds, F&& call) {
  call();
  double start = seconds(), best = 1e9;
  do {
    double before = seconds();
    call();
    best = std::min(best, seconds() - before);
  } while (seconds() - start < milliseconds * 1e-3);
  return best;
}

#ifdef __AVX512F__
typedef float Lanes __attribute__((vector_size(64)));
#else
typedef float Lanes __attribute__((vector_size(32)));
#endif
// Twelve sums hide a latency of 4 on two units. Named, because an array would live on the stack.
#define EACH_SUM(X) X(a) X(b) X(c) X(d) X(e) X(f) X(g) X(h) X(i) X(j) X(k) X(l)
double peak_gflops() {
#define DECLARE(name) Lanes name = {};
  EACH_SUM(DECLARE)
  Lanes x = a + 1e-3f, y = a + 0.999f;
  double best = best_time(3, [&] {
    for (int round = 0; round < 20000; ++round) {
#define STEP(name)     \
  name = name * y + x; \
  asm("" : "+v"(name));
      EACH_SUM(STEP)
    }
  });
#define USE(name) asm volatile("" ::"v"(name));
  EACH_SUM(USE)
  return 20000.0 * 12 * sizeof(Lanes) / sizeof(float) * 2 / best * 1e-9;
}

struct Aligned {
  explicit Aligned(int64_t elements) : data(static_cast<float*>(std::aligned_alloc(64, (elements * 4 + 127) / 64 * 64))), size(elements) {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> in(-1, 1);
    for (int64_t i = 0; i < elements; ++i) data[i] = in(random);
  }
  ~Aligned() { std::free(data); }
  float* data;
  int64_t size;
};

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<Matrix>;

// One product of a layer with `batch` rows, `in` inputs and `out` outputs.
enum class Which { forward, input_gradient, weight_gradient };

// What rides in the epilogue, given the product: results, and the inputs that they overwrite.
std::vector<ir::Value> epilogue(Which which, ir::Builder& b, ir::Value product, std::vector<int>& in_place) {
  using ir::Op;
  const ir::Type type = b.type(product);
  ir::Value zero = b.like(0, product);
  if (which == Which::forward) {
    ir::Value bias = b.broadcast(b.input("a2", {type.element, {type.shape[1]}}), type.shape, {1});
    return {b.make(Op::max, {b.make(Op::add, {product, bias}), zero})};
  }
  if (which == Which::input_gradient) return {b.make(Op::select, {b.make(Op::gt, {b.input("a2", type), zero}), product, zero})};
  in_place = {2, 3, 4};
  ir::Value w = b.input("a2", type), m = b.input("a3", type), v = b.input("a4", type);
  ir::Value rate = b.broadcast_to(b.input("a5", {type.element, {}}), type.shape);
  auto mix = [&](double keep, ir::Value old, ir::Value fresh) { return b.make(Op::add, {b.make(Op::mul, {b.like(keep, old), old}), b.make(Op::mul, {b.like(1 - keep, fresh), fresh})}); };
  ir::Value next_m = mix(0.9, m, product), next_v = mix(0.999, v, b.make(Op::mul, {product, product}));
  ir::Value root = b.make(Op::add, {b.make(Op::sqrt, {next_v}), b.like(1e-8, product)});
  return {b.make(Op::sub, {w, b.make(Op::div, {b.make(Op::mul, {rate, next_m}), root})}), next_m, next_v};
}

void measure(Which which, bool plain, int64_t batch, int64_t in, int64_t out, double milliseconds) {
  using ir::Shape;
  struct Row {
    const char* name;
    const char* spec;
    Shape a, b, result;
  };
  const Row rows[] = {{"forward", "mk,kn->mn", {batch, in}, {in, out}, {batch, out}},
                      {"input gradient", "mn,kn->mk", {batch, out}, {in, out}, {batch, in}},
                      {"weight gradient", "mk,mn->kn", {batch, in}, {batch, out}, {in, out}}};
  const Row& row = rows[static_cast<int>(which)];
  ir::Kernel kernel;
  kernel.form = ir::Form::contract;
  ir::Builder build(kernel.body);
  ir::Value a = build.input("a0", {ir::ElementType::f32, row.a}), b = build.input("a1", {ir::ElementType::f32, row.b});
  kernel.hero = build.contract(row.spec, a, b);
  std::vector<ir::Value> results = plain ? std::vector<ir::Value>{kernel.hero} : epilogue(which, build, kernel.hero, kernel.in_place);
  for (size_t i = 0; i < results.size(); ++i) kernel.body.results.push_back({fmt::format("r{}", i), results[i], false});
  kernel.domain = row.result;
  kernel.outer = 1;
  kernel.units = row.result[0];

  double start = seconds();
  codegen::Target target = codegen::host_target();
  codegen::LlvmModule module("bench", target);
  codegen::emit_contract(kernel, "kernel", *module, target);
  codegen::optimize(*module, target);
  codegen::Jit jit;
  jit.add(codegen::emit_object(*module, target));
  auto call = jit.lookup<gradc_kernel>("kernel");
  double compile = seconds() - start;

  Aligned x(ir::shape_size(row.a)), y(ir::shape_size(row.b)), r(ir::shape_size(row.result)), m(r.size), v(r.size);
  for (int64_t i = 0; i < v.size; ++i) v.data[i] = std::abs(v.data[i]);
  float rate = 1e-3f;
  Aligned scratch(codegen::contract_scratch_bytes(kernel, target) / 4 + 16);
  std::vector<void*> places = {x.data, y.data};
  if (!plain && which == Which::weight_gradient) places.insert(places.end(), {r.data, m.data, v.data, &rate, r.data, m.data, v.data});
  else if (!plain) places.insert(places.end(), {m.data, r.data});
  else places.push_back(r.data);
  auto args = reinterpret_cast<char* const*>(places.data());
  View ex(x.data, row.a[0], row.a[1]), ey(y.data, row.b[0], row.b[1]);
  Matrix er(row.result[0], row.result[1]);
  auto eigen = [&] {
    if (which == Which::forward) er.noalias() = ex * ey;
    if (which == Which::input_gradient) er.noalias() = ex * ey.transpose();
    if (which == Which::weight_gradient) er.noalias() = ex.transpose() * ey;
  };
  int64_t grain = codegen::grain(kernel.units);
  auto whole = [&] { call(args, 0, kernel.units, reinterpret_cast<char*>(scratch.data)); };
  auto granules = [&] {
    for (int64_t u = 0; u < kernel.units; u += grain) call(args, u, std::min(u + grain, kernel.units), reinterpret_cast<char*>(scratch.data));
  };
  double before = peak_gflops();
  double ours = best_time(milliseconds, granules), one = best_time(milliseconds, whole), theirs = best_time(milliseconds, eigen);
  double peak = std::max(before, peak_gflops());
  float error = plain ? (View(r.data, row.result[0], row.result[1]) - er).cwiseAbs().maxCoeff() : 0;
  double flops = 2.0 * batch * in * out * 1e-9;
  fmt::print("{:5} x {:5} x {:5} {:16}{}: granules {:6.1f}  whole {:6.1f}  Eigen {:6.1f}  peak {:6.1f}  ({:3.0f}% of peak, {:.2f} x Eigen, difference {:.1e}, compiled in {:.0f} ms)\n", batch, in, out, row.name,
             plain ? "" : " +", flops / ours, flops / one, flops / theirs, peak, 100 * flops / ours / peak, theirs / ours, error, compile * 1e3);
}
}  // namespace

int main(int count, char** arguments) {
  double milliseconds = count > 1 ? std::atof(arguments[1]) : 20;
  std::vector<std::array<int64_t, 3>> layers = {{128, 784, 256}, {128, 256, 128}, {128, 128, 10}, {1, 784, 256}, {32, 784, 256}, {512, 1024, 1024}};
  if (count > 4) layers = {{std::atol(arguments[2]), std::atol(arguments[3]), std::atol(arguments[4])}};
  for (auto [batch, in, out] : layers)
    for (Which which : {Which::forward, Which::input_gradient, Which::weight_gradient})
      for (bool plain : {true, false}) measure(which, plain, batch, in, out, milliseconds);
}
