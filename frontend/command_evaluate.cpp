// gradc opt --run: functions of a module under the reference evaluator, on values that are given or drawn.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "frontend/command.h"
#include "frontend/command_graph.h"
#include "frontend/npy.h"
#include "ir/diagnostics.h"
#include "ir/evaluate.h"
#include "passes/pass.h"

namespace gradc::command {
namespace {

using ir::Tensor;
using ir::Type;

// Scalars that the runtime fills in (runtime/program.fbs): their values at the first step.
std::optional<double> usual_scalar(std::string_view name, int64_t seed, int64_t rows) {
  const std::pair<std::string_view, double> table[] = {
      {"seed", static_cast<double>(seed)}, {"step", 0},  {"row", 0},   {"valid", static_cast<double>(rows)}, {"count", static_cast<double>(rows)},
      {"t", 1},                            {"T", 1000}, {"epoch", 0}, {"val_loss", std::numeric_limits<double>::infinity()},
  };
  for (auto [known, value] : table)
    if (known == name) return value;
  return std::nullopt;
}

// splitmix64: well mixed numbers from consecutive ones.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// Floats in multiples of 1/1024 from -2 to 2, integers from 0 to 9, bools even: from seed and name alone.
Tensor drawn(const Type& type, std::string_view name, int64_t seed) {
  uint64_t key = mix(static_cast<uint64_t>(seed));
  for (char c : name) key = mix(key ^ static_cast<unsigned char>(c));
  Tensor tensor(type);
  for (int64_t i = 0; i < tensor.size(); ++i) {
    uint64_t bits = mix(key + static_cast<uint64_t>(i));
    if (ir::is_float(type.element))
      tensor.set(i, static_cast<double>(static_cast<int64_t>(bits % 4097) - 2048) / 1024);
    else
      tensor.set(i, static_cast<double>(bits % (type.element == ir::ElementType::boolean ? 2 : 10)));
  }
  return tensor;
}

/// "3.5" or a file; nothing after a diagnostic.
std::optional<Tensor> given(const std::string& name, const std::string& text, const Type& type, Diagnostics& diagnostics) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return Tensor::filled(type, value);
  std::optional<std::string> bytes = read_file(text, diagnostics);
  if (!bytes) return std::nullopt;
  std::string why;
  if (std::optional<Tensor> tensor = read_npy(*bytes, why)) {
    if (tensor->type == type) return tensor;
    why = fmt::format("it holds {}, but {} is {}", to_string(tensor->type), name, to_string(type));
  }
  diagnostics.add(DiagnosticId::bad_input, {}, fmt::format("`{}` cannot be the value of {}: {}", text, name, why));
  return std::nullopt;
}

std::string number_text(double value, ir::ElementType element) {
  if (element == ir::ElementType::boolean) return value != 0 ? "true" : "false";
  if (!ir::is_float(element)) return fmt::format("{:.0f}", value);
  return std::isnan(value) ? "nan" : fmt::format("{:.6g}", value);   // the sign of a NaN is the processor's whim
}

std::string numbers(const Tensor& tensor, int64_t axis, int64_t& next) {
  if (axis == tensor.type.rank()) return number_text(tensor.at(next++), tensor.type.element);
  std::string text = "[";
  for (int64_t i = 0; i < tensor.type.shape[axis]; ++i) text += (i ? ", " : "") + numbers(tensor, axis + 1, next);
  return text + "]";
}

constexpr int64_t shown_whole = 64;   // larger tensors are summed up

std::string describe(const Tensor& tensor) {
  int64_t next = 0;
  if (tensor.size() <= shown_whole) return numbers(tensor, 0, next);
  double low = tensor.at(0), high = low, sum = 0, squares = 0;
  std::string first;
  for (int64_t i = 0; i < tensor.size(); ++i) {
    double x = tensor.at(i);
    low = std::min(low, x), high = std::max(high, x), sum += x, squares += x * x;
    if (i < 4) first += number_text(x, tensor.type.element) + ", ";
  }
  return fmt::format("[{}...] from {:.6g} to {:.6g}, mean {:.6g}, norm {:.6g}", first, low, high, sum / static_cast<double>(tensor.size()), std::sqrt(squares));
}

/// A value for every input and variable of the function.
std::optional<ir::Bindings> bind(const ir::Function& function, const std::map<std::string, std::string>& texts, const ir::Bindings& variables, int64_t seed,
                                 Diagnostics& diagnostics) {
  int64_t rows = 1;
  for (const ir::Node& node : function.nodes)
    if (node.op == ir::Op::input && node.type.rank() > 0) {
      rows = node.type.shape[0];
      break;
    }
  ir::Bindings bindings;
  for (const ir::Node& node : function.nodes) {
    if (node.op != ir::Op::input && node.op != ir::Op::variable) continue;
    std::string name = (node.op == ir::Op::variable ? "@" : "") + node.attrs.text(ir::Attr::name);
    if (bindings.contains(name)) continue;
    std::optional<Tensor> value;
    if (auto text = texts.find(name); text != texts.end()) {
      value = given(name, text->second, node.type, diagnostics);
      if (!value) return std::nullopt;
    } else if (auto known = variables.find(name); known != variables.end()) {
      value = known->second;
    } else if (auto usual = usual_scalar(name, seed, rows); usual && node.op == ir::Op::input && node.type.rank() == 0) {
      value = Tensor::filled(node.type, *usual);
    } else if (node.op == ir::Op::input && node.type == Type{ir::ElementType::f64, {}}) {
      value = Tensor::filled(node.type, 0.1);   // a hyperparameter
    } else {
      value = drawn(node.type, name, seed);
    }
    bindings.emplace(std::move(name), std::move(*value));
  }
  return bindings;
}

}  // namespace

bool run_functions(const ir::Module& module, const std::vector<std::string>& inputs, int64_t seed, Diagnostics& diagnostics) {
  std::map<std::string, std::string> texts;
  for (const std::string& input : inputs) {
    size_t equals = input.find('=');
    std::string name = input.substr(0, equals);
    bool read = false;
    for (const ir::Function& function : module.functions)
      for (const ir::Node& node : function.nodes)
        read |= (node.op == ir::Op::input && name == node.attrs.text(ir::Attr::name)) || (node.op == ir::Op::variable && name == "@" + node.attrs.text(ir::Attr::name));
    if (equals == std::string::npos || !read) {
      diagnostics.add(DiagnosticId::bad_input, {}, equals == std::string::npos ? fmt::format("`{}` is not NAME=VALUE", input) : fmt::format("no function reads {}", name));
      return false;
    }
    texts[name] = input.substr(equals + 1);
  }
  ir::Bindings variables;   // what init functions have left
  for (ir::Function function : module.functions) {
    passes::expand_gradients(function);
    auto bindings = bind(function, texts, variables, seed, diagnostics);
    if (!bindings) return false;
    ir::Bindings results = ir::evaluate(function, *bindings);
    fmt::print("{}\n", function.name);
    for (const ir::Result& result : function.results) {
      const Tensor& value = results.at((result.write ? "@" : "") + result.name);
      fmt::print("  {}{} : {} = {}\n", result.write ? "@" : "", result.name, to_string(value.type), describe(value));
      if (result.write && function.name.starts_with("init")) variables.insert_or_assign("@" + result.name, value);
    }
  }
  return true;
}

}  // namespace gradc::command
