// Contract kernels on one core against the libraries' products and the core's peak of fused multiply-adds, measured around every
// measurement: the products of dense layers, alone and with what rides in their epilogue in a network (bias and relu, relu's mask, an
// update by Adam). Not a test.
//   contract_bench [--json] [--rounds N] [--ms MILLISECONDS] [--only-ours] [BATCH IN OUT]...
// Without shapes: some of a multi-layer network. A line for each product; with --json a JSON object for each.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <random>

#include "codegen/contract.h"
#include "codegen/llvm_module.h"
#include "codegen/plan.h"
#include "ir/builder.h"
#include "product.h"
#include "runtime/image.h"

using namespace gradc;
using namespace bench;

namespace {
#ifdef __AVX512F__
typedef float Lanes __attribute__((vector_size(64)));
#else
typedef float Lanes __attribute__((vector_size(32)));
#endif
// Twelve sums hide a latency of 4 on two units. Named, because an array would live on the stack.
#define EACH_SUM(X) X(a) X(b) X(c) X(d) X(e) X(f) X(g) X(h) X(i) X(j) X(k) X(l)
double peak_gflops() {
  using Clock = std::chrono::steady_clock;
#define DECLARE(name) Lanes name = {};
  EACH_SUM(DECLARE)
  Lanes x = a + 1e-3f, y = a + 0.999f;
  auto start = Clock::now();
  for (int round = 0; round < 60000; ++round) {
#define STEP(name)     \
  name = name * y + x; \
  asm("" : "+v"(name));
    EACH_SUM(STEP)
  }
#define USE(name) asm volatile("" ::"v"(name));
  EACH_SUM(USE)
  return 60000.0 * 12 * sizeof(Lanes) / sizeof(float) * 2 / std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

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

std::shared_ptr<Array> random_array(int64_t count, float low = -1) {
  auto array = std::make_shared<Array>(count);
  std::mt19937 random(1);
  std::uniform_real_distribution<float> in(low, 1);
  for (int64_t i = 0; i < count; ++i) array->data()[i] = in(random);
  return array;
}

Prepared ours(const Product& p, const Operands& o, bool plain) {
  using ir::Shape;
  static constexpr const char* specs[] = {"mk,kn->mn", "mn,kn->mk", "mk,mn->kn"};
  const int which = static_cast<int>(p.which);
  const Shape x = {p.batch, p.in}, w = {p.in, p.out}, dy = {p.batch, p.out};
  const Shape operands[3][2] = {{x, w}, {dy, w}, {x, dy}};
  const float* data[3][2] = {{o.x, o.w}, {o.dy, o.w}, {o.x, o.dy}};
  auto kernel = std::make_shared<ir::Kernel>();
  kernel->form = ir::Form::contract;
  ir::Builder build(kernel->body);
  ir::Value a = build.input("a0", {ir::ElementType::f32, operands[which][0]}), b = build.input("a1", {ir::ElementType::f32, operands[which][1]});
  kernel->hero = build.contract(specs[which], a, b);
  std::vector<ir::Value> results = plain ? std::vector<ir::Value>{kernel->hero} : epilogue(p.which, build, kernel->hero, kernel->in_place);
  for (size_t i = 0; i < results.size(); ++i) kernel->body.results.push_back({fmt::format("r{}", i), results[i], false});
  kernel->domain = {p.rows(), p.columns()};
  kernel->outer = 1;
  kernel->units = p.rows();

  codegen::Target target = codegen::host_target();
  codegen::LlvmModule module("bench", target);
  codegen::emit_contract(*kernel, "kernel", *module, target);
  codegen::optimize(*module, target);
  auto jit = std::make_shared<codegen::Jit>();
  jit->add(codegen::emit_object(*module, target));
  auto call = jit->lookup<gradc_kernel>("kernel");

  const int64_t size = p.rows() * p.columns();
  auto result = random_array(size), m = random_array(size), v = random_array(size, 0), scratch = random_array(codegen::contract_scratch_bytes(*kernel, target) / 4 + 16);
  auto rate = random_array(1);
  auto places = std::make_shared<std::vector<char*>>();
  auto place = [&](const float* f) { places->push_back(reinterpret_cast<char*>(const_cast<float*>(f))); };
  place(data[which][0]), place(data[which][1]);
  if (!plain && p.which == Which::weight_gradient)
    for (float* f : {result->data(), m->data(), v->data(), rate->data(), result->data(), m->data(), v->data()}) place(f);
  else if (!plain) place(m->data()), place(result->data());
  else place(result->data());
  const int64_t units = kernel->units, grain = codegen::grain(units);
  auto run = [=] {
    (void)jit, (void)kernel, (void)m, (void)v, (void)rate;   // kept alive
    for (int64_t u = 0; u < units; u += grain) call(places->data(), u, std::min(u + grain, units), reinterpret_cast<char*>(scratch->data()));
  };
  return {run, [result](float* to) { std::copy_n(result->data(), result->size(), to); }};
}

struct Options {
  bool json = false, only_ours = false;
  int rounds = 5;
  double milliseconds = 10;
};

struct Figures {
  std::string name;
  Prepared prepared;
  std::vector<double> shares, gflops;   // of the peak beside it, quiet rounds alone
  double error = 0;

  static double median(std::vector<double> values) {
    if (values.empty()) return 0;
    std::nth_element(values.begin(), values.begin() + long(values.size() / 2), values.end());
    return values[values.size() / 2];
  }
};

void measure(const Product& p, const Options& options) {
  static constexpr const char* names[] = {"forward", "input gradient", "weight gradient"};
  auto x = random_array(p.batch * p.in), w = random_array(p.in * p.out), dy = random_array(p.batch * p.out);
  Operands operands{x->data(), w->data(), dy->data()};
  std::vector<Figures> all;
  all.push_back({"gradc", ours(p, operands, true), {}, {}});
  all.push_back({"fused", ours(p, operands, false), {}, {}});
  if (!options.only_ours)
    for (const Contender& c : libraries())
      if (Prepared prepared = c.prepare(p, operands); prepared.run) all.push_back({c.name, prepared, {}, {}});
  // Largest difference from our result: the libraries check us, and we check how they are called.
  std::vector<float> expected(size_t(p.rows() * p.columns())), got(expected.size());
  for (Figures& f : all) {
    f.prepared.run();
    f.prepared.result(&f == &all[0] ? expected.data() : got.data());
    if (&f == &all[0] || f.name == "fused") continue;
    for (size_t i = 0; i < got.size(); ++i) f.error = std::max(f.error, double(std::abs(got[i] - expected[i])));
  }
  std::vector<double> peaks;
  auto enough = [&] { return std::all_of(all.begin(), all.end(), [&](const Figures& f) { return int(f.shares.size()) >= options.rounds; }); };
  for (int round = 0; round < 2 * options.rounds && !enough(); ++round)
    for (Figures& f : all) {
      double before = peak_gflops(), seconds = median_time(options.milliseconds, f.prepared.run), after = peak_gflops();
      if (std::abs(before - after) > 0.05 * std::max(before, after)) continue;
      peaks.push_back((before + after) / 2);
      f.gflops.push_back(p.flop() / seconds * 1e-9);
      f.shares.push_back(f.gflops.back() / peaks.back());
    }
  if (options.json) {
    std::vector<std::string> parts;
    for (Figures& f : all) parts.push_back(fmt::format("{{\"name\": \"{}\", \"gflops\": {:.2f}, \"share\": {:.4f}, \"difference\": {:.2e}}}", f.name, f.median(f.gflops), f.median(f.shares), f.error));
    fmt::print("{{\"which\": \"{}\", \"batch\": {}, \"in\": {}, \"out\": {}, \"mflop\": {:.3f}, \"peak\": {:.2f}, \"figures\": [{}]}}\n", names[static_cast<int>(p.which)], p.batch, p.in, p.out, p.flop() * 1e-6,
               Figures::median(peaks), fmt::join(parts, ", "));
  } else {
    fmt::print("{:5} x {:5} x {:5} {:16} peak {:6.1f}", p.batch, p.in, p.out, names[static_cast<int>(p.which)], Figures::median(peaks));
    for (Figures& f : all) fmt::print("   {} {:6.1f} {:3.0f}%{}", f.name.substr(0, f.name.find(' ')), f.median(f.gflops), 100 * f.median(f.shares), f.error > 1e-2 ? fmt::format(" WRONG by {:.1e}", f.error) : "");
    fmt::print("\n");
  }
  std::fflush(stdout);
}
}  // namespace

int main(int count, char** arguments) {
  if (!getenv("OMP_NUM_THREADS")) {   // the libraries read it before main
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    execv("/proc/self/exe", arguments);
  }
  Options options;
  std::vector<int64_t> numbers;
  for (int i = 1; i < count; ++i) {
    std::string word = arguments[i];
    if (word == "--json") options.json = true;
    else if (word == "--only-ours") options.only_ours = true;
    else if (word == "--rounds" && i + 1 < count) options.rounds = std::atoi(arguments[++i]);
    else if (word == "--ms" && i + 1 < count) options.milliseconds = std::atof(arguments[++i]);
    else numbers.push_back(std::atol(word.c_str()));
  }
  if (numbers.empty()) numbers = {128, 784, 256, 128, 256, 128, 128, 128, 10, 1, 784, 256, 32, 784, 256, 512, 1024, 1024};
  for (size_t i = 0; i + 2 < numbers.size(); i += 3)
    for (Which which : {Which::forward, Which::input_gradient, Which::weight_gradient}) measure({which, numbers[i], numbers[i + 1], numbers[i + 2]}, options);
}
