#include "passes/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "ir/builder.h"
#include "ir/check.h"
#include "ir/text.h"
#include "passes/pass.h"
#include "passes/precision.h"

namespace gradc::passes {
namespace {
using ir::Attr;
using ir::Bindings;
using ir::Builder;
using ir::ElementType;
using ir::Function;
using ir::Node;
using ir::Op;
using ir::Tensor;
using ir::Value;

std::string binding_name(const Node& node) { return (node.op == Op::variable ? "@" : "") + node.attrs.text(Attr::name); }
bool is_argument(const Node& node) { return node.op == Op::input || node.op == Op::variable; }

// The values under the types that the function has.
Bindings fitted(const Function& f, const Bindings& at) {
  Bindings fitted;
  for (const Node& node : f.nodes)
    if (is_argument(node)) {
      auto found = at.find(binding_name(node));
      CHECK(found != at.end(), "no value for {}", binding_name(node));
      fitted[binding_name(node)] = Tensor::of(node.type, found->second.numbers());
    }
  return fitted;
}

// The function with every stop_gradient held at its value for `at`: an input of its own.
Function with_held_stops(const Function& f, Bindings& at) {
  Function values = f, held = f;
  values.results.clear();
  for (uint32_t i = 0; i < f.size(); ++i) {
    if (f.nodes[i].op != Op::stop_gradient) continue;
    std::string name = fmt::format("stop {}", i);
    values.results.push_back({name, f.nodes[i].operands[0]});
    Node& node = held.nodes[i];
    node.op = Op::input;
    node.operands.clear();
    node.attrs = {{Attr::name, name}, {Attr::element, node.type.element}, {Attr::shape, node.type.shape}};
  }
  expand_gradients(values);
  for (auto& [name, value] : ir::evaluate(values, at)) at[name] = value;
  expand_gradients(held);
  return held;
}
}  // namespace

std::vector<CheckedGradient> check_gradients(const Function& function, const std::string& result, const Bindings& given, const CheckOptions& options) {
  Function f = function;
  f.results = {*function.result(result)};
  f.results[0].write = false;
  f.prune();
  to_f64(f);
  Value y = f.results[0].value;
  CHECK(f.type(y).rank() == 0, "the result that is checked is a scalar");
  Bindings at = fitted(f, given);

  std::vector<bool> below(f.size());
  below[y.id] = true;
  for (uint32_t i = f.size(); i-- > 0;)
    if (below[i])
      for (Value operand : f.nodes[i].operands) below[operand.id] = true;
  // Derivatives by every read of an argument; several reads add up.
  Function g = f;
  Builder b(g);
  std::vector<CheckedGradient> checked;
  std::map<std::string, Value> sums;
  for (uint32_t i = 0; i < f.size(); ++i) {
    const Node& node = f.nodes[i];
    if (!is_argument(node) || !below[i] || !ir::is_float(node.type.element)) continue;
    Value derivative = b.make(Op::grad, {y, Value{i}});
    auto [sum, first] = sums.emplace(binding_name(node), derivative);
    if (first)
      checked.push_back({binding_name(node), node.loc});
    else
      sum->second = b.make(Op::add, {sum->second, derivative});
  }
  for (const auto& [name, sum] : sums) g.results.push_back({"d " + name, sum});
  expand_gradients(g);
  Bindings analytic = ir::evaluate(g, at);
  Bindings point = at;
  Function held = with_held_stops(f, point);
  double value = analytic.at(result).at(0);

  std::mt19937_64 random(options.seed);
  for (CheckedGradient& c : checked) {
    const Tensor& derivative = analytic.at("d " + c.name);
    std::vector<int64_t> coordinates(derivative.size());
    for (size_t i = 0; i < coordinates.size(); ++i) coordinates[i] = static_cast<int64_t>(i);
    if (derivative.size() > options.most_coordinates) {
      std::shuffle(coordinates.begin(), coordinates.end(), random);
      coordinates.resize(options.most_coordinates);
    }
    double largest = 0;
    for (double d : derivative.numbers()) largest = std::max(largest, std::abs(d));
    c.checked = static_cast<int64_t>(coordinates.size());
    for (int64_t i : coordinates) {
      double x = point.at(c.name).at(i), d = derivative.at(i);
      auto value_at = [&](double moved) {
        point.at(c.name).set(i, moved);
        return ir::evaluate(held, point).at(result).at(0);
      };
      // A kink within the step or the rounding of the function spoils some steps, never all of them: the best one counts.
      double best = INFINITY, best_numeric = 0;
      for (double step : {1e-5, 1e-4, 1e-6, 1e-3, 1e-7}) {
        double h = step * std::max(1.0, std::abs(x));
        double numeric = (8 * (value_at(x + h) - value_at(x - h)) - (value_at(x + 2 * h) - value_at(x - 2 * h))) / (12 * h);
        double scale = std::max({std::abs(d), std::abs(numeric), 1e-3 * largest, 1e-5 * std::max(1.0, std::abs(value))});
        double error = std::abs(d - numeric) / scale;
        if (error < best || best == INFINITY) best = error, best_numeric = numeric;
        if (best < options.tolerance) break;
      }
      point.at(c.name).set(i, x);
      // Not less or equal: NaN is wrong.
      if (!(best <= c.error)) c.error = best, c.coordinate = i, c.analytic = d, c.numeric = best_numeric;
      c.right = c.right && best < options.tolerance;
    }
  }
  return checked;
}

Bindings check_point(const ir::Module& module, const Function& f, const std::map<std::string, Range>& ranges, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  auto draw = [&](const Function& function, Bindings& at) {
    for (const Node& node : function.nodes) {
      if (!is_argument(node) || at.count(binding_name(node))) continue;
      Tensor& t = at[binding_name(node)] = Tensor(node.type);
      auto range = ranges.find(binding_name(node));
      bool floating = ir::is_float(node.type.element);
      for (int64_t i = 0; i < t.size(); ++i) {
        if (range == ranges.end()) {
          t.set(i, floating ? normal(random) : static_cast<double>(random() % 2));
        } else {
          double n = std::uniform_real_distribution<double>(range->second.low, range->second.high)(random);
          t.set(i, floating ? n : std::floor(n));
        }
      }
    }
  };
  Bindings at;
  if (const Function* init = module.function("init")) {
    Bindings start;
    draw(*init, start);
    for (auto& [name, value] : ir::evaluate(*init, start)) {
      if (!name.starts_with("@")) continue;
      if (ir::is_float(value.type.element))
        for (int64_t i = 0; i < value.size(); ++i) {
          double n = value.at(i);
          value.set(i, n + 0.05 * (1 + std::abs(n)) * std::uniform_real_distribution<double>(-1, 1)(random));
        }
      at[name] = value;
    }
  }
  draw(f, at);
  return at;
}

std::vector<CheckedFunction> check_module(const ir::Module& module, const std::map<std::string, Range>& ranges, const CheckOptions& options) {
  std::map<std::string, Range> all = ranges;
  // Scalars that the runtime fills in. Not whole numbers: schedules have kinks there.
  for (auto [name, value] : {std::pair{"t", 2.3}, {"T", 1000.7}, {"epoch", 0.37}, {"val_loss", 1.3}, {"count", 3.1}}) all.emplace(name, Range{value, value});
  std::vector<CheckedFunction> checked;
  std::set<std::string> seen;   // the optimizers of a step share its loss
  for (const Function& f : module.functions) {
    for (const ir::Result& r : f.results) {
      const ir::Type& type = f.type(r.value);
      if (r.write || type.rank() != 0 || !ir::is_float(type.element) || (f.result("loss") && r.name != "loss")) continue;
      Function alone;   // without hyperparameters that only the update reads
      alone.results = {{r.name, ir::Copier(f, alone)(r.value)}};
      bool differentiable = std::any_of(alone.nodes.begin(), alone.nodes.end(), [](const Node& n) { return is_argument(n) && ir::is_float(n.type.element); });
      if (!differentiable || !seen.insert(ir::print(alone, {.locations = false})).second) continue;
      checked.push_back({f.name, r.name, check_gradients(f, r.name, check_point(module, f, all, options.seed), options)});
    }
  }
  return checked;
}
}  // namespace gradc::passes
