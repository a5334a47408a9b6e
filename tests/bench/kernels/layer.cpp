#include "layer.h"

#include <cstring>
#include <numeric>
#include <random>

#include "codegen/compile.h"
#include "codegen/layout.h"
#include "codegen/llvm_module.h"
#include "codegen/plan.h"
#include "ir/check.h"
#include "ir/text.h"
#include "passes/fusion.h"
#include "passes/pass.h"
#include "runtime/model.h"

namespace bench {
using namespace gradc;
using ir::Op, ir::Value;

namespace {
constexpr ir::ElementType f32 = ir::ElementType::f32;
constexpr Which each[] = {Which::forward, Which::input_gradient, Which::weight_gradient};
constexpr const char* result_names[] = {"y", "dx", "dw"};

// A program with one entry, in memory.
struct Running {
  std::vector<uint8_t> program;
  std::vector<gradc_kernel> kernels;
  codegen::Jit jit;
  gradc_image image;
  std::unique_ptr<runtime::Model> model;
  runtime::Entry* entry;
};
}  // namespace

std::shared_ptr<Array> random_array(int64_t count, float low) {
  auto array = std::make_shared<Array>(count);
  std::mt19937 random(1);
  std::uniform_real_distribution<float> in(low, 1);
  for (int64_t i = 0; i < count; ++i) array->data()[i] = in(random);
  return array;
}

Layer::Layer(const Product& p, bool first, bool plain) : first_(first), plain_(plain), target_(codegen::host_target(false)) {
  // One row is a vector, as rewriting makes it in programs; else what is written would be a copy of the product in another shape.
  const bool one = p.batch == 1;
  auto rows = [&](int64_t width) { return ir::Type{f32, one ? ir::Shape{width} : ir::Shape{p.batch, width}}; };
  build({rows(p.in), {f32, {p.in, p.out}}, rows(p.out)}, [one](ir::Builder& b, Value x, Value w) { return b.contract(one ? "k,kn->n" : "bk,kn->bn", x, w); }, passes::Winograd::never);
}

Layer::Layer(const Convolution& c, bool first, passes::Winograd how) : first_(first), plain_(true), target_(codegen::host_target(false)) {
  auto image = [&](int64_t side, int64_t channels) { return ir::Type{f32, {c.batch, side, side, channels}}; };
  auto both = [](int64_t number) { return std::vector<int64_t>(2, number); };
  build({image(c.side, c.channels), {f32, {c.size, c.size, c.channels, c.filters}}, image(c.out(), c.filters)},
        [&](ir::Builder& b, Value x, Value w) {
          using ir::Attr;
          Value windows = b.make(Op::windows, {x}, {{Attr::axes, std::vector<int64_t>{1, 2}}, {Attr::size, both(c.size)}, {Attr::stride, both(c.stride)}, {Attr::dilation, both(1)},
                                                    {Attr::low, both(c.padding)}, {Attr::high, both(c.padding)}, {Attr::value, 0.0}});
          return b.contract("nijuvc,uvck->nijk", windows, w);
        },
        how);
}

void Layer::build(const Types& types, const Forward& forward, passes::Winograd how) {
  for (Which which : each) {
    if (first_ && which == Which::input_gradient) continue;
    ir::Function& f = functions_[int(which)] = function(which, types, forward);
    passes::expand_gradients(f);
    passes::optimize(f);
    passes::use_winograd(f, how);
  }
}

ir::Function Layer::function(Which which, const Types& types, const Forward& forward) {
  ir::Function f;
  f.name = result_names[int(which)];
  ir::Builder b(f);
  Value x = first_ ? b.input("x", types.x) : variable(b, "x", types.x), w = variable(b, "w", types.w);
  Value result = forward(b, x, w);
  if (which != Which::forward) {
    std::vector<int64_t> axes(size_t(types.y.rank()));
    std::iota(axes.begin(), axes.end(), 0);
    Value loss = b.reduce(Op::reduce_sum, b.map(Op::mul, {result, variable(b, "dy", types.y)}), axes);
    result = b.make(Op::grad, {loss, which == Which::input_gradient ? x : w});
  }
  if (plain_) write(f, f.name, result);
  else write_epilogue(b, which, x, w, result);
  return f;
}

Value Layer::variable(ir::Builder& b, const std::string& name, const ir::Type& type) {
  if (!module_.variable(name)) module_.variables.push_back({name, type, ir::VariableKind::state, false, {}});
  for (uint32_t i = 0; i < b.function.size(); ++i)
    if (const ir::Node& node = b.function.nodes[i]; node.op == Op::variable && node.attrs.text(ir::Attr::name) == name) return Value{i};
  return b.variable(name, type);
}

void Layer::write(ir::Function& f, const std::string& name, Value value) {
  if (!module_.variable(name)) module_.variables.push_back({name, f.type(value), ir::VariableKind::state, false, {}});
  f.results.push_back({name, value, true});
}

void Layer::write_epilogue(ir::Builder& b, Which which, Value x, Value w, Value result) {
  Value zero = b.scalar(0, f32);
  const ir::Type type = b.type(result);
  if (which == Which::forward) return write(b.function, "y", b.map(Op::max, {b.map(Op::add, {result, variable(b, "bias", {f32, {type.shape.back()}})}), zero}));
  if (which == Which::input_gradient) return write(b.function, "dx", b.map(Op::select, {b.map(Op::gt, {x, zero}), result, zero}));
  Value m = variable(b, "m", type), v = variable(b, "v", type), rate = variable(b, "rate", {f32, {}});
  auto mix = [&](double keep, Value old, Value fresh) { return b.map(Op::add, {b.map(Op::mul, {b.scalar(keep, f32), old}), b.map(Op::mul, {b.scalar(1 - keep, f32), fresh})}); };
  Value next_m = mix(0.9, m, result), next_v = mix(0.999, v, b.map(Op::mul, {result, result}));
  write(b.function, "w", b.map(Op::sub, {w, b.map(Op::div, {b.map(Op::mul, {rate, next_m}), b.map(Op::add, {b.map(Op::sqrt, {next_v}), b.scalar(1e-8, f32)})})}));
  write(b.function, "m", next_m), write(b.function, "v", next_v);
}

bool Layer::same(const Layer& other, Which which) const { return ir::print(functions_[int(which)]) == ir::print(other.functions_[int(which)]); }

Prepared Layer::prepare(Which which, const Operands& o) const {
  // All of them have a say in how matrices lie; the wanted one becomes a program.
  std::array<ir::Function, 3> functions;
  std::array<std::vector<ir::KernelCall>, 3> calls;
  std::vector<codegen::FusedEntry> entries;
  for (size_t i = 0; i < functions_.size(); ++i) {
    if (functions_[i].results.empty()) continue;
    functions[i] = functions_[i];
    passes::prepare_for_fusion(functions[i]);
    calls[i] = passes::fuse(functions[i]);
    entries.push_back({&functions[i], &calls[i]});
  }
  program::ProgramT program;
  codegen::KernelTable kernels;
  codegen::place_variables(module_, program, codegen::choose_layouts(entries, target_));
  codegen::plan_entry(module_, functions[int(which)], std::move(calls[int(which)]), kernels, program);
  std::vector<codegen::Object> objects = codegen::compile(kernels, {target_, 1, false, false});
  codegen::finish_program(kernels, objects, target_, program);

  auto running = std::make_shared<Running>();
  running->program = codegen::serialize(program);
  for (const codegen::Object& object : objects) running->jit.add(object.code);
  for (uint32_t i = 0; i < objects.size(); ++i) running->kernels.push_back(running->jit.lookup<gradc_kernel>(kernels.symbol(i)));
  running->image = {running->program.data(), running->program.size(), running->kernels.data(), 0};
  auto model = runtime::Model::create(&running->image, 1, nullptr);
  CHECK(model, "{}", model.error().message);
  running->model = std::move(*model);
  running->entry = running->model->entry(functions[int(which)].name);
  for (runtime::Variable& v : running->model->variables) {
    const float* data = v.name == "x" ? o.x : v.name == "w" ? o.w : v.name == "dy" ? o.dy : nullptr;
    v.write(data ? data : random_array(int64_t(v.bytes / sizeof(float)), v.name == "v" ? 0 : -1)->data());
  }
  for (runtime::Port& port : running->entry->inputs) std::memcpy(port.data, o.x, port.bytes);
  return {[=] { running->model->run(*running->entry); },
          [=](float* to) { running->model->variable(result_names[int(which)])->read(to); }};
}

}  // namespace bench
