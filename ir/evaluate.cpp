// The walk over a function, and the rules of sources and gradient operations.
#include "ir/evaluate.h"

#include <fmt/format.h>

#include "ir/check.h"
#include "ir/evaluate_rules.h"
#include "ir/loop.h"
#include "ir/philox.h"

namespace gradc::ir {
namespace reference {

std::vector<int64_t> offsets(const Shape& extents, const std::vector<int64_t>& strides) {
  std::vector<int64_t> result = {0};
  for (size_t axis = 0; axis < extents.size(); ++axis) {
    std::vector<int64_t> longer;
    longer.reserve(result.size() * extents[axis]);
    for (int64_t base : result)
      for (int64_t i = 0; i < extents[axis]; ++i) longer.push_back(base + i * strides[axis]);
    result = std::move(longer);
  }
  return result;
}

std::vector<int64_t> pick(const std::vector<int64_t>& items, const std::vector<int64_t>& positions) {
  std::vector<int64_t> result;
  for (int64_t position : positions) result.push_back(items[position]);
  return result;
}

std::vector<int64_t> other_axes(const std::vector<int64_t>& axes, int64_t rank) {
  std::vector<int64_t> result;
  for (int64_t axis = 0, next = 0; axis < rank; ++axis) {
    if (next < static_cast<int64_t>(axes.size()) && axes[next] == axis)
      ++next;
    else
      result.push_back(axis);
  }
  return result;
}

// ---- sources

Tensor constant(const Call& c) { return Tensor::filled(c.type(), c.node.attrs.number(Attr::value)); }
Tensor literal(const Call& c) { return Tensor::of(c.type(), c.node.attrs.dense(Attr::data)); }

Tensor iota(const Call& c) {
  Tensor result(c.type());
  const int64_t axis = c.node.attrs.integer(Attr::axis), extent = c.type().shape[axis], stride = row_major_strides(c.type().shape)[axis];
  with_element(c.type().element, [&]<typename T>() {
    auto values = result.as<T>();
    for (size_t i = 0; i < values.size(); ++i) values[i] = convert<T>(static_cast<int64_t>(i) / stride % extent);
  });
  return result;
}

Tensor input(const Call& c) { return c.bindings.at(c.node.attrs.text(Attr::name)); }
Tensor variable(const Call& c) { return c.bindings.at("@" + c.node.attrs.text(Attr::name)); }

Tensor random(const Call& c) {
  const int64_t seed = c[0].as<int64_t>()[0], step = c[1].as<int64_t>()[0], row = c[2].as<int64_t>()[0];
  const uint32_t site = static_cast<uint32_t>(c.node.attrs.integer(Attr::site));
  const bool normal = c.node.attrs.text(Attr::distribution) == "normal";
  Tensor result(c.type());
  const Shape& shape = c.type().shape;
  const int64_t per_row = shape.empty() || shape[0] == 0 ? 1 : result.size() / shape[0];
  with_element(c.type().element, [&]<typename T>() {
    auto values = result.as<T>();
    for (size_t i = 0; i < values.size(); ++i) {
      PhiloxCounter words = random_words(seed, step, site, row * per_row + static_cast<int64_t>(i));
      values[i] = convert<T>(normal ? normal_number(words) : uniform_number(words));
    }
  });
  return result;
}

// ---- loops

Tensor scan(const Call& c) {
  const Loop loop(c.node);
  const Function& body = loop.body();
  Bindings round;
  auto name = [&](size_t i) { return body[loop.inputs[i]].attrs.text(Attr::name); };
  for (size_t i = 0; i < loop.inputs.size(); ++i)
    if (!loop.is_slice(i)) round[name(i)] = c[i];
  for (size_t k = 0; k < body.results.size(); ++k) c.parts.emplace_back(loop.result_type(static_cast<int64_t>(k)));
  auto place = [](Tensor& stack, int64_t t, size_t bytes) { return stack.bytes().subspan(static_cast<size_t>(t) * bytes, bytes); };
  for (int64_t i = 0; i < loop.length; ++i) {
    const int64_t t = loop.backward ? loop.length - 1 - i : i;
    for (size_t k = 0; k < loop.inputs.size(); ++k) {
      if (!loop.is_slice(k)) continue;
      Tensor slice(body.type(loop.inputs[k]));
      auto from = c[k].bytes().subspan(static_cast<size_t>(t) * slice.bytes().size(), slice.bytes().size());
      std::copy(from.begin(), from.end(), slice.bytes().begin());
      round[name(k)] = std::move(slice);
    }
    Bindings results = evaluate(body, round);
    for (size_t k = 0; k < body.results.size(); ++k) {
      Tensor& made = results.at(body.results[k].name);
      if (loop.is_carry(k)) round[name(k)] = std::move(made);
      else std::copy(made.bytes().begin(), made.bytes().end(), place(c.parts[k], t, made.bytes().size()).begin());
    }
  }
  for (int64_t k = 0; k < loop.carries; ++k) c.parts[k] = round[name(k)];
  return Tensor(c.type());
}

Tensor item(const Call& c) { return c.parts[c.node.attrs.integer(Attr::index)]; }

// ---- gradient operations

Tensor grad(const Call&) { CHECK(false, "grad is evaluated after gradients are expanded"); }
Tensor mark(const Call& c) { return c[0]; }
Tensor stop_gradient(const Call& c) { return c[0]; }

}  // namespace reference

namespace {
using Rule = Tensor (*)(const reference::Call&);
constexpr Rule rules[] = {
#define OP(name, ...) &reference::name,
#include "ir/ops.def"
};

Tensor run(const Node& node, std::span<const Tensor* const> operands, const Bindings& bindings, std::vector<Tensor>& parts) {
  Tensor result = rules[static_cast<size_t>(node.op)]({node, operands, bindings, parts});
  CHECK(result.type == node.type, "{} evaluates to {}, not {}", info(node.op).name, to_string(result.type), to_string(node.type));
  return result;
}

// Evaluates nodes in order; where `keep` is false, a value is freed after its last use.
std::vector<Tensor> run(const Function& f, const Bindings& bindings, bool keep) {
  std::string error = binding_error(f, bindings);
  CHECK(error.empty(), "{}", error);
  std::vector<uint32_t> last_use(f.size());
  for (uint32_t i = 0; i < f.size(); ++i) {
    last_use[i] = i;
    for (Value operand : f.nodes[i].operands) last_use[operand.id] = i;
  }
  for (const Result& r : f.results) last_use[r.value.id] = Value::none;

  std::vector<Tensor> values(f.size()), none;
  std::map<uint32_t, std::vector<Tensor>> parts;   // of loops
  std::vector<const Tensor*> operands;
  for (uint32_t i = 0; i < f.size(); ++i) {
    const Node& node = f.nodes[i];
    operands.clear();
    for (Value operand : node.operands) operands.push_back(&values[operand.id]);
    values[i] = run(node, operands, bindings, is_scan(node) ? parts[i] : is_item(node) ? parts[node.operands[0].id] : none);
    if (keep) continue;
    for (Value operand : node.operands)
      if (last_use[operand.id] == i) values[operand.id] = {}, parts.erase(operand.id);
  }
  return values;
}
}  // namespace

std::string binding_error(const Function& f, const Bindings& bindings) {
  for (const Node& node : f.nodes) {
    if (node.op != Op::input && node.op != Op::variable) continue;
    std::string name = (node.op == Op::variable ? "@" : "") + node.attrs.text(Attr::name);
    auto at = bindings.find(name);
    if (at == bindings.end()) return fmt::format("function {} reads {}, which has no value", f.name, name);
    if (at->second.type != node.type) return fmt::format("function {} reads {} as {}, but it is {}", f.name, name, to_string(node.type), to_string(at->second.type));
  }
  return "";
}

Bindings evaluate(const Function& f, const Bindings& bindings) {
  std::vector<Tensor> values = run(f, bindings, false);
  Bindings results;
  for (const Result& r : f.results) results[(r.write ? "@" : "") + r.name] = values[r.value.id];
  return results;
}

std::vector<Tensor> evaluate_nodes(const Function& f, const Bindings& bindings) { return run(f, bindings, true); }

Tensor evaluate_node(const Node& node, std::span<const Tensor* const> operands) {
  std::vector<Tensor> none;
  return run(node, operands, {}, none);
}

}  // namespace gradc::ir
