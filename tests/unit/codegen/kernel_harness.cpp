#include "kernel_harness.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "codegen/emit.h"
#include "ir/check.h"
#include "ir/evaluate.h"
#include "ir/text.h"

namespace gradc::codegen::test {
namespace {
constexpr char untouched = 0x5a;

class Buffer {
 public:
  explicit Buffer(size_t size) {
    size = (size + 63) / 64 * 64;
    pages_ = (size + 4095) / 4096 * 4096 + 4096;
    base_ = static_cast<char*>(mmap(nullptr, pages_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + pages_ - 4096, 4096, PROT_NONE);
    data = base_ + pages_ - 4096 - size;
    std::memset(base_, untouched, pages_ - 4096);
  }
  Buffer(Buffer&& other) noexcept : data(other.data), base_(other.base_), pages_(other.pages_) { other.base_ = nullptr; }
  ~Buffer() {
    if (base_) munmap(base_, pages_);
  }
  char* data;

 private:
  char* base_;
  size_t pages_;
};

LlvmModule build(const ir::Kernel& kernel, const Target& target, const ContractChoice* choice = nullptr) {
  LlvmModule module("test", target);
  emit_kernel(kernel, "kernel", *module, target, choice);
  optimize(*module, target);
  return module;
}

// Calls visit(logical, place) for every element.
void for_elements(const ir::Type& type, const ir::Layout& layout, const std::function<void(int64_t, int64_t)>& visit) {
  std::vector<int64_t> index(type.shape.size());
  for (int64_t i = 0; i < type.size(); ++i) {
    int64_t rest = i;
    for (size_t axis = index.size(); axis-- > 0; rest /= type.shape[axis]) index[axis] = rest % type.shape[axis];
    visit(i, ir::place(layout, type.shape, index));
  }
}
size_t stored_bytes(const ir::Type& type, const ir::Layout& layout) { return ir::stored_size(layout, type.shape) * ir::element_bytes(type.element); }

// How far results may be off: f32 sums are taken in f64 by the reference.
double tolerance(ir::ElementType element) {
  switch (element) {
    case ir::ElementType::f32: return 4e-6;
    case ir::ElementType::f64: return 1e-13;
    case ir::ElementType::bf16: return 0.02;
    default: return 0;
  }
}
}  // namespace

namespace {
std::vector<Target> those_that_run(std::initializer_list<const char*> names) {
  std::vector<Target> all;
  for (const char* name : names)
    if (host_runs(*named_target(name))) all.push_back(*named_target(name));
  return all;
}
}  // namespace

std::vector<Target> targets() { return those_that_run({"avx512", "avx2", "baseline"}); }
std::vector<Target> bf16_targets() {
  std::vector<Target> all = those_that_run({"avx512bf16"});
  // Tile registers are had for the asking, once a process: see permit_amx in runtime/machine.cpp.
  if (host_runs(*named_target("amx")) && syscall(SYS_arch_prctl, 0x1023, 18) == 0) all.push_back(*named_target("amx"));
  return all;
}

Compiled::Compiled(const ir::Kernel& kernel, const Target& target, const ContractChoice* choice) : kernel_(kernel), scratch_bytes_(scratch_bytes(kernel, target, choice)) {
  LlvmModule module = build(kernel, target, choice);
  jit_.add(emit_object(*module, target));
  function_ = jit_.lookup<gradc_kernel>("kernel");
}

std::vector<ir::Tensor> Compiled::run(const std::vector<ir::Tensor>& inputs, std::vector<int64_t> cuts) const {
  std::vector<Buffer> buffers;
  std::vector<char*> args;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ir::Tensor& input = inputs[i];
    const ir::Layout& layout = kernel_.argument_layout(i);
    size_t bytes = ir::element_bytes(input.type.element);
    buffers.emplace_back(stored_bytes(input.type, layout));
    for_elements(input.type, layout, [&](int64_t from, int64_t to) { std::memcpy(buffers.back().data + to * bytes, input.bytes().data() + from * bytes, bytes); });
    args.push_back(buffers.back().data);
  }
  const auto& outputs = kernel_.body.results;
  for (size_t r = 0; r < outputs.size(); ++r) {
    if (!kernel_.in_place.empty() && kernel_.in_place[r] >= 0) {
      args.push_back(args[kernel_.in_place[r]]);
    } else {
      buffers.emplace_back(stored_bytes(kernel_.body.type(outputs[r].value), kernel_.result_layout(r)));
      args.push_back(buffers.back().data);
    }
  }
  Buffer scratch(scratch_bytes_);
  std::memset(scratch.data, 0xff, scratch_bytes_);   // NaNs: nobody may count on what scratch holds
  cuts.push_back(kernel_.units);
  int64_t begin = 0;
  for (int64_t end : cuts) {
    function_(args.data(), begin, end, scratch.data);
    begin = end;
  }
  std::vector<ir::Tensor> results;
  for (size_t r = 0; r < outputs.size(); ++r) {
    results.emplace_back(kernel_.body.type(outputs[r].value));
    ir::Tensor& result = results.back();
    const ir::Layout& layout = kernel_.result_layout(r);
    size_t bytes = ir::element_bytes(result.type.element);
    std::vector<bool> written(stored_bytes(result.type, layout), false);
    for_elements(result.type, layout, [&](int64_t to, int64_t from) {
      std::memcpy(result.bytes().data() + to * bytes, args[inputs.size() + r] + from * bytes, bytes);
      for (size_t i = 0; i < bytes; ++i) written[from * bytes + i] = true;
    });
    for (size_t i = 0; i < written.size(); ++i) CHECK(written[i] || args[inputs.size() + r][i] == untouched, "padding of result {} at byte {} was written", r, i);
  }
  return results;
}

std::vector<ir::Tensor> run(const ir::Kernel& kernel, const std::vector<ir::Tensor>& inputs, const Target& target) {
  int64_t middle = kernel.units / 3;
  return Compiled(kernel, target).run(inputs, middle > 0 ? std::vector<int64_t>{middle} : std::vector<int64_t>{});
}

std::string assembly(const ir::Kernel& kernel, const Target& target) {
  LlvmModule module = build(kernel, target);
  return emit_assembly(*module, target);
}

std::vector<ir::Tensor> random_inputs(const ir::Kernel& kernel, uint32_t seed, double low, double high) {
  std::mt19937 random(seed);
  std::vector<ir::Tensor> inputs;
  for (const ir::Node& node : kernel.body.nodes) {
    if (node.op != ir::Op::input) continue;
    ir::Tensor tensor(node.type);
    for (int64_t i = 0; i < tensor.size(); ++i) {
      if (ir::is_float(node.type.element)) tensor.set(i, std::uniform_real_distribution<double>(low, high)(random));
      else if (node.type.element == ir::ElementType::boolean) tensor.set(i, random() % 2);
      else tensor.set(i, static_cast<int>(random() % 11) - (node.type.element == ir::ElementType::u8 ? 0 : 5));
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

double relative_error(const ir::Tensor& is, const ir::Tensor& wanted) {
  double largest = 0, difference = 0;
  for (int64_t i = 0; i < wanted.size(); ++i) {
    const double apart = std::abs(is.at(i) - wanted.at(i));
    if (std::isnan(apart)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(wanted.at(i))), difference = std::max(difference, apart);
  }
  return difference == 0 ? 0 : difference / largest;
}

std::string difference(const ir::Kernel& kernel, const std::vector<ir::Tensor>& inputs) {
  ir::Bindings bindings;
  for (size_t i = 0; i < inputs.size(); ++i) bindings[fmt::format("a{}", i)] = inputs[i];
  ir::Bindings expected = ir::evaluate(kernel.body, bindings);
  for (const Target& target : targets()) {
    std::vector<ir::Tensor> results = run(kernel, inputs, target);
    for (size_t r = 0; r < results.size(); ++r) {
      const ir::Tensor& want = expected.at(kernel.body.results[r].name);
      double limit = tolerance(want.type.element);
      double size = 0;
      for (int64_t i = 0; i < want.size(); ++i)
        if (std::isfinite(want.at(i))) size = std::max(size, std::abs(want.at(i)));
      for (int64_t i = 0; i < want.size(); ++i) {
        double x = want.at(i), y = results[r].at(i);
        if (x == y || (std::isnan(x) && std::isnan(y))) continue;
        if (std::isfinite(x) && std::abs(x - y) <= limit * (std::abs(x) + 0.1 * size)) continue;
        const ir::Node& node = kernel.body[kernel.body.results[r].value];
        return fmt::format("{}: result {} ({}) at {}: {} instead of {}\n{}", target.name, r, ir::info(node.op).name, i, y, x, ir::print(kernel.body));
      }
    }
  }
  return "";
}

std::string difference(const ir::Kernel& kernel, double low, double high) { return difference(kernel, random_inputs(kernel, 1, low, high)); }

ir::Kernel finish(ir::Form form, ir::Function body, ir::Shape domain, int64_t outer, const std::vector<ir::Value>& results, std::vector<int> in_place) {
  ir::Kernel kernel;
  kernel.form = form;
  for (size_t i = 0; i < results.size(); ++i) body.results.push_back({fmt::format("r{}", i), results[i]});
  int64_t leading = ir::shape_size(ir::Shape(domain.begin(), domain.begin() + outer)), rest = ir::shape_size(ir::Shape(domain.begin() + outer, domain.end()));
  if (form == ir::Form::map && outer == 0) kernel.units = (rest + ir::Kernel::flat_block - 1) / ir::Kernel::flat_block;
  else if (form == ir::Form::column) kernel.units = (rest + ir::Kernel::column_block - 1) / ir::Kernel::column_block;
  else kernel.units = leading;
  kernel.body = std::move(body);
  kernel.domain = std::move(domain);
  kernel.outer = outer;
  kernel.in_place = std::move(in_place);
  return kernel;
}

ir::Kernel finish_contract(ir::Function body, ir::Value hero, int64_t outer, const std::vector<ir::Value>& results, std::vector<int> in_place) {
  ir::Shape domain = body.type(hero).shape;
  ir::Kernel kernel = finish(ir::Form::contract, std::move(body), domain, outer, results, std::move(in_place));
  kernel.hero = hero;
  return kernel;
}

ir::Kernel contract_kernel(const std::string& spec, const std::map<char, int64_t>& extents, int64_t outer, ir::ElementType element, const Epilogue& epilogue, std::vector<int> in_place,
                           ir::Precision precision, const OperandViews& views, std::pair<std::string, std::string> letters) {
  auto parsed = std::get<ir::ContractSpec>(ir::ContractSpec::parse(spec));
  if (!views) letters = {parsed.a, parsed.b};
  auto shape_of = [&](const std::string& indices) {
    ir::Shape shape;
    for (char c : indices) shape.push_back(extents.at(c));
    return shape;
  };
  ir::Function body;
  ir::Builder build(body);
  ir::Value a = build.input("a0", {element, shape_of(letters.first)}), b = build.input("a1", {element, shape_of(letters.second)});
  if (views) std::tie(a, b) = views(build, a, b);
  ir::Value hero = build.contract(spec, a, b, precision);
  std::vector<ir::Value> results = epilogue ? epilogue(build, hero) : std::vector<ir::Value>{hero};
  return finish_contract(std::move(body), hero, outer, results, std::move(in_place));
}
}  // namespace gradc::codegen::test
