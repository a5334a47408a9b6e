// Contract kernels on one core against Eigen's product and the core's peak of fused multiply-adds, measured around each run:
// the products of a multi-layer network (forward, input gradient, weight gradient). GFLOP/s, best of some repetitions each,
// because the machine may be shared. Not a test.
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

void measure(Which which, int64_t batch, int64_t in, int64_t out, double milliseconds) {
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
  kernel.body.results = {{"r0", kernel.hero, false}};
  kernel.domain = row.result;
  kernel.outer = 1;
  kernel.units = row.result[0];

  codegen::Target target = codegen::host_target();
  codegen::LlvmModule module("bench", target);
  codegen::emit_contract(kernel, "kernel", *module, target);
  codegen::optimize(*module, target);
  codegen::Jit jit;
  jit.add(codegen::emit_object(*module, target));
  auto call = jit.lookup<gradc_kernel>("kernel");

  Aligned x(ir::shape_size(row.a)), y(ir::shape_size(row.b)), r(ir::shape_size(row.result));
  Aligned scratch(codegen::contract_scratch_bytes(kernel, target) / 4 + 16);
  char* args[] = {reinterpret_cast<char*>(x.data), reinterpret_cast<char*>(y.data), reinterpret_cast<char*>(r.data)};
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
  float error = (View(r.data, row.result[0], row.result[1]) - er).cwiseAbs().maxCoeff();
  double flops = 2.0 * batch * in * out * 1e-9;
  fmt::print("{:16} {:5} x {:5} x {:5}: granules {:6.1f}  whole {:6.1f}  Eigen {:6.1f}  peak {:6.1f}  ({:3.0f}% of peak, {:.2f} x Eigen, difference {:.1e})\n", row.name, batch, in, out,
             flops / ours, flops / one, flops / theirs, peak, 100 * flops / ours / peak, theirs / ours, error);
}
}  // namespace

int main(int count, char** arguments) {
  double milliseconds = count > 1 ? std::atof(arguments[1]) : 20;
  std::vector<std::array<int64_t, 3>> layers = {{128, 784, 256}, {128, 256, 128}, {128, 128, 10}, {1, 784, 256}, {32, 784, 256}, {512, 1024, 1024}};
  if (count > 4) layers = {{std::atol(arguments[2]), std::atol(arguments[3]), std::atol(arguments[4])}};
  for (auto [batch, in, out] : layers)
    for (Which which : {Which::forward, Which::input_gradient, Which::weight_gradient}) measure(which, batch, in, out, milliseconds);
}
