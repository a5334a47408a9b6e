// The products of a dense layer on one core against the libraries' and the core's peak of fused multiply-adds, measured around every measurement: alone and
// with what rides in their epilogue in a network (bias and relu, relu's mask, an update by Adam). Ours go through the passes of every program, from
// fusion to layouts and plan, so that they read and write matrices as they lie there. Not a test.
//   contract_bench [--json] [--rounds N] [--ms MILLISECONDS] [--only-ours] [--first] [BATCH IN OUT]...
// --first: as the first layer of a network, which reads what callers give and has no input gradient. Without shapes: some of a multi-layer network.
// A line for each product; with --json a JSON object for each.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include "../fma.h"
#include "codegen/layout.h"
#include "codegen/plan.h"
#include "codegen/solo.h"
#include "ir/builder.h"
#include "ir/check.h"
#include "passes/fusion.h"
#include "passes/pass.h"
#include "product.h"

using namespace gradc;
using namespace bench;

namespace {
std::shared_ptr<Array> random_array(int64_t count, float low = -1) {
  auto array = std::make_shared<Array>(count);
  std::mt19937 random(1);
  std::uniform_real_distribution<float> in(low, 1);
  for (int64_t i = 0; i < count; ++i) array->data()[i] = in(random);
  return array;
}

// The products of one layer, planned as an entry of a program. Operands are variables, as activations and gradients between other layers would lie.
class Layer {
 public:
  Layer(int64_t batch, int64_t in, int64_t out, bool first, bool plain) {
    // One row is a vector, as rewriting makes it in programs; else what is written would be a copy of the product in another shape.
    const bool one = batch == 1;
    const ir::Type x_type{f32, one ? ir::Shape{in} : ir::Shape{batch, in}}, w_type{f32, {in, out}}, y_type{f32, one ? ir::Shape{out} : ir::Shape{batch, out}};
    ir::Builder b(function_);
    function_.name = "layer";
    // The first layer's inputs are computed from what callers give.
    ir::Value x = first ? b.map(ir::Op::mul, {b.input("image", x_type), b.scalar(1, f32)}) : variable(b, "x", x_type);
    ir::Value w = variable(b, "w", w_type), dy = variable(b, "dy", y_type);
    ir::Value zero = b.scalar(0, f32);
    ir::Value y = b.contract(one ? "k,kn->n" : "bk,kn->bn", x, w), dw = b.contract(one ? "k,n->kn" : "bk,bn->kn", x, dy), dx;
    if (!first) dx = b.contract(one ? "n,kn->k" : "bn,kn->bk", dy, w);
    if (plain) {
      write("dw", dw);
    } else {
      y = b.map(ir::Op::max, {b.map(ir::Op::add, {y, variable(b, "bias", {f32, {out}})}), zero});
      if (!first) dx = b.map(ir::Op::select, {b.map(ir::Op::gt, {x, zero}), dx, zero});
      adam(b, w, dw);
    }
    write("y", y);
    if (!first) write("dx", dx);
    plan();
  }

  Prepared prepare(Which which, const Operands& o) {
    const codegen::EntryNotes::Call* call = nullptr;
    size_t result = 0;
    const char* names[][2] = {{"y", "y"}, {"dx", "dx"}, {"dw", "w"}};
    for (const codegen::EntryNotes::Call& each : notes_.calls)
      for (size_t r = 0; r < each.call.results.size(); ++r)
        for (const ir::Result& written : function_.results)
          if (written.value == each.call.results[r] && (written.name == names[int(which)][0] || written.name == names[int(which)][1])) call = &each, result = r;
    CHECK(call, "no kernel computes the product");
    const ir::Kernel& kernel = call->call.kernel;
    auto memory = std::make_shared<codegen::KernelMemory>(kernel);
    auto code = std::make_shared<codegen::NativeKernel>(kernel, target_);
    for (size_t a = 0; a < call->call.arguments.size(); ++a) memory->set(a, operand(call->call.arguments[a], o));
    return {[=] { code->run(*memory); },
            [=](float* to) {
              ir::Tensor tensor = memory->result(result);
              std::memcpy(to, tensor.bytes().data(), tensor.bytes().size());
            }};
  }

 private:
  static constexpr ir::ElementType f32 = ir::ElementType::f32;
  ir::Module module_;
  ir::Function function_;
  codegen::Target target_ = codegen::host_target(false);
  codegen::EntryNotes notes_;

  void know(const std::string& name, const ir::Type& type) {
    if (!module_.variable(name)) module_.variables.push_back({name, type, ir::VariableKind::state, false, {}});
  }
  ir::Value variable(ir::Builder& b, const std::string& name, const ir::Type& type) {
    know(name, type);
    return b.variable(name, type);
  }
  void write(const std::string& name, ir::Value value) {
    know(name, function_.type(value));
    function_.results.push_back({name, value, true});
  }

  void adam(ir::Builder& b, ir::Value w, ir::Value gradient) {
    using ir::Op;
    const ir::Type& type = b.type(gradient);
    ir::Value m = variable(b, "m", type), v = variable(b, "v", type), rate = variable(b, "rate", {f32, {}});
    auto mix = [&](double keep, ir::Value old, ir::Value fresh) { return b.map(Op::add, {b.map(Op::mul, {b.scalar(keep, f32), old}), b.map(Op::mul, {b.scalar(1 - keep, f32), fresh})}); };
    ir::Value next_m = mix(0.9, m, gradient), next_v = mix(0.999, v, b.map(Op::mul, {gradient, gradient}));
    write("w", b.map(Op::sub, {w, b.map(Op::div, {b.map(Op::mul, {rate, next_m}), b.map(Op::add, {b.map(Op::sqrt, {next_v}), b.scalar(1e-8, f32)})})}));
    write("m", next_m), write("v", next_v);
  }

  void plan() {
    passes::optimize(function_);
    passes::prepare_for_fusion(function_);
    std::vector<ir::KernelCall> calls = passes::fuse(function_);
    program::ProgramT program;
    codegen::KernelTable kernels;
    codegen::place_variables(module_, program, codegen::choose_layouts({{&function_, &calls}}, target_));
    notes_ = codegen::plan_entry(module_, function_, std::move(calls), kernels, program);
  }

  ir::Tensor operand(ir::Value value, const Operands& o) const {
    const ir::Node& node = function_[value];
    const std::string name = node.op == ir::Op::variable ? node.attrs.text(ir::Attr::name) : "x";
    ir::Tensor tensor(node.type);
    const float* data = name == "x" ? o.x : name == "w" ? o.w : name == "dy" ? o.dy : nullptr;
    auto made = data ? nullptr : random_array(tensor.size(), name == "v" ? 0 : -1);
    std::memcpy(tensor.bytes().data(), data ? data : made->data(), tensor.bytes().size());
    return tensor;
  }
};

struct Options {
  bool json = false, only_ours = false, first = false;
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
  all.push_back({"gradc", Layer(p.batch, p.in, p.out, options.first, true).prepare(p.which, operands), {}, {}});
  all.push_back({"fused", Layer(p.batch, p.in, p.out, options.first, false).prepare(p.which, operands), {}, {}});
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
      double before = fma_rate(1), seconds = median_time(options.milliseconds, f.prepared.run), after = fma_rate(1);
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
    else if (word == "--first") options.first = true;
    else if (word == "--rounds" && i + 1 < count) options.rounds = std::atoi(arguments[++i]);
    else if (word == "--ms" && i + 1 < count) options.milliseconds = std::atof(arguments[++i]);
    else numbers.push_back(std::atol(word.c_str()));
  }
  if (numbers.empty()) numbers = {128, 784, 256, 128, 256, 128, 128, 128, 10, 1, 784, 256, 32, 784, 256, 512, 1024, 1024};
  for (size_t i = 0; i + 2 < numbers.size(); i += 3)
    for (Which which : {Which::forward, Which::input_gradient, Which::weight_gradient})
      if (!options.first || which != Which::input_gradient) measure({which, numbers[i], numbers[i + 1], numbers[i + 2]}, options);
}
