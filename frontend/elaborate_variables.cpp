// Parameters and states: variables of the module, known by their path. The first time that a path is met, the variable is made
// and its first value is computed in the function `init`; afterwards it is the same variable, whoever comes there.
#include <fmt/format.h>

#include "frontend/elaborate_builtins.h"
#include "frontend/elaborator.h"

namespace gradc::front {

bool Elaborator::frozen(const std::string& path) const {
  for (const Frozen& f : frozen_paths)
    if (path == f.path || path.starts_with(f.path + ".")) return true;
  return false;
}

ir::Value Elaborator::initial_value(const ast::Expr& expr, Env& env, const std::optional<ir::Type>& wanted, const Span& at) {
  Value value = eval(expr, env);
  // An initialiser without its shape.
  if (value.is<Closure>() || value.is<const Builtin*>()) {
    if (!wanted) {
      fail(DiagnosticId::wrong_kind, at, "the shape must be declared for this initial value");
      return {};
    }
    Arg shape;
    shape.name = "shape";
    shape.span = shape.name_span = expr.span;
    shape.value = make_list(wanted->shape);
    value = call(value, {shape}, expr.span);
  }
  if (value.is<Poison>()) return {};
  if (wanted) {
    if (auto* list = value.get<List>()) {
      ir::Shape shape;
      auto numbers = list_numbers(*list, shape, expr.span);
      if (!numbers) return {};
      value = tensor(builder().literal(std::move(*numbers), {wanted->element, shape}));
    }
    return coerce(value, *wanted, expr.span, "the initial value");
  }
  return node(value, expr.span);
}

Value Elaborator::declare_variable(const std::string& path, ir::VariableKind kind, const std::optional<ast::TypeExpr>& declared, const ast::Expr& initial_expr, Env& env,
                                   const Span& span) {
  std::optional<ir::Type> wanted;
  if (declared) {
    wanted = declared_type(*declared, env);
    if (!wanted) return Poison{};
    if (kind == ir::VariableKind::parameter && !ir::is_float(wanted->element))
      return fail(DiagnosticId::wrong_element_type, declared->span, fmt::format("a `param` is trained and must be floating-point, not {}", ir::to_string(*wanted)), "", {}, {"`state` carries numbers of any type"});
  }
  if (made_in_scan(path, span)) return Poison{};
  if (const ir::Variable* known = program.module.variable(path)) {
    if (wanted && known->type != *wanted)
      return fail(DiagnosticId::shape_mismatch, span, fmt::format("`{}` is {} here, but {} where it was used before", path, ir::to_string(*wanted), ir::to_string(known->type)), "", {},
                  {"a layer that is applied twice has the same parameters both times"});
    return read_variable(path);
  }
  ir::Type type;
  {
    // First values are computed where nothing of the caller exists.
    Evaluation evaluation;
    evaluation.key = "init:" + path;
    Scoped<Emission*> to(out, kind == ir::VariableKind::session ? resetting : initial);
    Scoped<Evaluation*> as(run, &evaluation);
    Scoped<std::vector<const std::set<std::string>*>> no_targets(targets, {});
    builder().loc = location(span);
    ir::Value value = initial_value(initial_expr, env, wanted, span);
    if (!value.valid()) return Poison{};
    type = wanted ? *wanted : this->type(value);
    out->function.results.push_back({path, value, true});
  }
  program.module.variables.push_back({path, type, kind, false, location(span)});
  return read_variable(path);
}

Value Elaborator::read_variable(const std::string& path) {
  const ir::Variable* v = program.module.variable(path);
  if (run) {
    for (size_t i = run->substitutions.size(); i-- > 0;) {
      const SetValue& set = *run->substitutions[i];
      for (size_t k = 0; k < set.names.size(); ++k)
        if (set.names[k] == path) return set.entries[k].is<Number>() ? tensor(number_like(set.entries[k], v->type)) : set.entries[k];
    }
    if (auto it = run->assigned.find(path); it != run->assigned.end()) {
      // The memory is written at the end of the step; until then the name means the value, which is a constant to `grad`.
      auto* t = it->second.get<Tensor>();
      return t && ir::is_float(v->type.element) ? tensor(builder().make(ir::Op::stop_gradient, {t->node})) : it->second;
    }
    if (v->kind == ir::VariableKind::parameter) run->touched.insert(path);
  }
  return tensor(variable(path));
}

void Elaborator::write_variable(const std::string& path, const Value& value, const Span& value_span, const Span& at) {
  if (frozen(path)) return;
  if (!scans.empty()) return void(fail(DiagnosticId::bad_scan, at, "nothing can be assigned in a round of a loop", "", {{scans.back().at, "the loop"}}, {"a carry goes from round to round; what it is at the end can be assigned behind the loop"}));
  const ir::Variable* v = program.module.variable(path);
  ir::Value node = coerce(value, v->type, value_span, fmt::format("`{}`", path));
  if (!node.valid()) return;
  if (run->assigned.emplace(path, Value()).second) run->assigned_order.push_back(path);
  run->assigned[path] = tensor(node);
  run->assigned_at[path] = at;
}

// ---- averaged weights: states beside parameters, which every step that writes a parameter writes as well

Value Elaborator::declare_average(const std::string& path, double decay, const Span& at) {
  size_t i = 0;
  while (i < averages.size() && (averages[i].path != path || averages[i].decay != decay)) ++i;
  if (i == averages.size()) averages.push_back({path, i == 0 ? "average" : fmt::format("average{}", i + 1), decay, at});
  return Lazy{Lazy::What::average, i};
}

std::string Elaborator::average_variable(const Average& average, const std::string& parameter) {
  std::string name = average.prefix + "." + parameter;
  if (program.module.variable(name)) return name;
  const ir::Variable like = *program.module.variable(parameter);
  for (const ir::Result& result : initial->function.results)
    if (result.name == parameter) {
      ir::Value first = result.value;
      initial->function.results.push_back({name, first, true});
      break;
    }
  program.module.variables.push_back({name, like.type, ir::VariableKind::state, false, location(average.span)});
  return name;
}

Value Elaborator::averaged(const Lazy& lazy, const Span& at) {
  if (!run || declaring()) return lazy;
  const Average average = averages[lazy.index];
  auto set = std::make_shared<SetValue>();
  for (const ir::Variable& v : program.module.variables)
    if (v.kind == ir::VariableKind::parameter && (v.name == average.path || v.name.starts_with(average.path + "."))) set->names.push_back(v.name);
  if (set->names.empty()) return fail(DiagnosticId::unknown_member, at, fmt::format("`{}` has no parameters yet: nothing has applied it before this", average.path));
  for (const std::string& name : set->names) set->entries.push_back(read_variable(average_variable(average, name)));
  return Set{set};
}

void Elaborator::write_averages(const std::string& parameter, ir::Value written) {
  for (const Average& average : averages) {
    if (program.module.variable(parameter)->kind != ir::VariableKind::parameter) return;
    if (parameter != average.path && !parameter.starts_with(average.path + ".")) continue;
    std::string name = average_variable(average, parameter);
    ir::Builder& b = builder();
    ir::Value old = variable(name), t = input("t", {ir::ElementType::f64, {}});
    auto number = [&](double x) { return b.constant(x, {ir::ElementType::f64, {}}); };
    // Young averages forget sooner: what the parameters began as has no weight of its own.
    ir::Value warm = b.make(ir::Op::div, {b.make(ir::Op::add, {t, number(1)}), b.make(ir::Op::add, {t, number(10)})});
    ir::Value share = b.cast(b.make(ir::Op::sub, {number(1), b.make(ir::Op::min, {number(average.decay), warm})}), type(old).element);
    ir::Value step = b.make(ir::Op::sub, {written, old});
    out->function.results.push_back({name, b.make(ir::Op::add, {old, b.map(ir::Op::mul, {step, share})}), true});
  }
}

SetValue Elaborator::parameters_under(const std::vector<std::string>& paths) {
  SetValue set;
  for (const ir::Variable& v : program.module.variables) {
    if (v.kind != ir::VariableKind::parameter) continue;
    for (const std::string& path : paths)
      if (v.name == path || v.name.starts_with(path + ".")) {
        set.names.push_back(v.name);
        break;
      }
  }
  // Reading changes nothing in the list of variables.
  for (const std::string& name : set.names) set.entries.push_back(read_variable(name));
  return set;
}

}  // namespace gradc::front
