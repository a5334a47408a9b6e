// Compile-time values: kinds, scopes, and arithmetic on numbers that may have a run-time expression.
#include "frontend/value.h"

#include <fmt/format.h>

#include <cmath>

#include "ir/check.h"

namespace gradc::front {

Value make_list(const std::vector<int64_t>& items) {
  Values values;
  for (int64_t item : items) values.push_back(static_cast<double>(item));
  return make_list(std::move(values));
}

std::string kind_of(const Value& value) {
  // In the order of the alternatives.
  static constexpr const char* names[] = {"an error", "nothing", "a number", "a bool", "a text", "a tensor", "a range", "a list", "a tuple", "a function",
                                          "a function", "a layer", "a layer", "a model", "a group of parameters", "a set of parameters", "an optimizer",
                                          "a data split", "a data set", "a random source", "a gradient"};
  static_assert(std::size(names) == std::variant_size_v<decltype(Value::v)>);
  if (auto* recipe = value.get<Recipe>()) return recipe->value->function->kind == ast::FunctionKind::schedule ? "a schedule" : "an optimizer";
  return names[value.v.index()];
}

Binding* Env::find(const std::string& name) {
  for (Env* env = this; env; env = env->parent)
    if (auto it = env->names.find(name); it != env->names.end()) return &it->second;
  return nullptr;
}

std::string number_text(double value) { return fmt::format("{}", value); }

namespace {
ScalarPtr input_scalar(std::string name) {
  auto scalar = std::make_shared<Scalar>();
  scalar->op = ir::Op::input;
  scalar->input = std::move(name);
  return scalar;
}

ScalarPtr as_scalar(double value, bool flag, const ScalarPtr& run) {
  if (run) return run;
  auto scalar = std::make_shared<Scalar>();
  scalar->value = value;
  scalar->flag = flag;
  return scalar;
}

// What the maps of ops.def mean on doubles; bools are 0 and 1.
struct ScalarRule {
  ir::Op op;
  bool gives_flag;
  double (*run)(const double*);
};
#define RULE(op, flag, e) {ir::Op::op, flag, [](const double* x) -> double { (void)x; return e; }}
const ScalarRule rules[] = {
  RULE(neg, false, -x[0]), RULE(abs, false, std::fabs(x[0])), RULE(sign, false, x[0] > 0 ? 1 : x[0] < 0 ? -1 : x[0]),
  RULE(exp, false, std::exp(x[0])), RULE(log, false, std::log(x[0])), RULE(log1p, false, std::log1p(x[0])),
  RULE(sqrt, false, std::sqrt(x[0])), RULE(rsqrt, false, 1 / std::sqrt(x[0])), RULE(sin, false, std::sin(x[0])), RULE(cos, false, std::cos(x[0])),
  RULE(tanh, false, std::tanh(x[0])), RULE(erf, false, std::erf(x[0])), RULE(sigmoid, false, 1 / (1 + std::exp(-x[0]))),
  RULE(floor, false, std::floor(x[0])), RULE(ceil, false, std::ceil(x[0])), RULE(round, false, std::nearbyint(x[0])),
  RULE(not_, true, x[0] == 0), RULE(is_finite, true, std::isfinite(x[0])),
  RULE(add, false, x[0] + x[1]), RULE(sub, false, x[0] - x[1]), RULE(mul, false, x[0] * x[1]), RULE(div, false, x[0] / x[1]),
  RULE(rem, false, x[0] - x[1] * std::floor(x[0] / x[1])), RULE(pow, false, std::pow(x[0], x[1])),
  RULE(max, false, std::isnan(x[0]) || x[0] > x[1] ? x[0] : x[1]), RULE(min, false, std::isnan(x[0]) || x[0] < x[1] ? x[0] : x[1]),
  RULE(eq, true, x[0] == x[1]), RULE(ne, true, x[0] != x[1]), RULE(lt, true, x[0] < x[1]), RULE(le, true, x[0] <= x[1]),
  RULE(gt, true, x[0] > x[1]), RULE(ge, true, x[0] >= x[1]), RULE(and_, true, x[0] != 0 && x[1] != 0), RULE(or_, true, x[0] != 0 || x[1] != 0),
  RULE(select, false, x[0] != 0 ? x[1] : x[2]),
};
#undef RULE
}  // namespace

Number run_time_input(std::string name) { return {0, input_scalar(std::move(name)), false}; }
Number hyperparameter(std::string name, double value) { return {value, input_scalar(std::move(name)), true}; }

Value scalar_map(ir::Op op, const std::vector<Value>& operands) {
  const ScalarRule* rule = nullptr;
  for (const ScalarRule& r : rules)
    if (r.op == op) rule = &r;
  CHECK(rule, "no arithmetic on numbers for {}", ir::info(op).name);
  std::vector<double> numbers;
  std::vector<ScalarPtr> expressions;
  bool known = true, run = false;
  for (const Value& operand : operands) {
    auto* number = operand.get<Number>();
    auto* flag = operand.get<Flag>();
    CHECK(number || flag, "arithmetic on {}", kind_of(operand));
    double value = number ? number->value : flag->value;
    const ScalarPtr& expression = number ? number->run : flag->run;
    known = known && (number ? number->known : flag->known);
    run = run || expression != nullptr;
    numbers.push_back(value);
    expressions.push_back(as_scalar(value, flag != nullptr, expression));
  }
  double value = known ? rule->run(numbers.data()) : 0;
  ScalarPtr expression;
  if (run) {
    auto scalar = std::make_shared<Scalar>();
    scalar->op = op;
    scalar->operands = std::move(expressions);
    scalar->flag = rule->gives_flag;
    expression = std::move(scalar);
  }
  if (rule->gives_flag) return Flag{value != 0, expression, known};
  return Number{value, expression, known};
}

void collect_inputs(const ScalarPtr& scalar, std::vector<std::string>& names) {
  if (!scalar) return;
  if (scalar->op == ir::Op::input) names.push_back(scalar->input);
  for (const ScalarPtr& operand : scalar->operands) collect_inputs(operand, names);
}

}  // namespace gradc::front
