// Optimizers and schedules: their arguments become hyperparameters, their bodies graph nodes over the whole set of parameters.
#include "frontend/elaborate_optimizers.h"

#include <fmt/format.h>

#include "frontend/elaborate_builtins.h"

namespace gradc::front {

bool matches(const std::string& pattern, const std::string& path) {
  // The usual two-pointer match: on failure go back to the last * and let it take one more letter.
  size_t p = 0, s = 0, star = std::string::npos, mark = 0;
  while (s < path.size()) {
    if (p < pattern.size() && pattern[p] == '*') star = p++, mark = s;
    else if (p < pattern.size() && pattern[p] == path[s]) ++p, ++s;
    else if (star != std::string::npos) p = star + 1, s = ++mark;
    else return false;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Value Elaborator::give_arguments(const Recipe& recipe, Args args, const Span& span, const std::string& pinned) {
  auto value = std::make_shared<RecipeValue>(*recipe.value);
  const ast::Function& function = *value->function;
  value->span = span;
  if (!pinned.empty()) value->name = pinned;
  size_t next = 0;
  bool ok = true;
  auto wrong = [&](const Span& at, const std::string& message, std::vector<std::string> hints = {}) {
    fail(DiagnosticId::wrong_arguments, at, message, "", {{function.name.span, "declared here"}}, std::move(hints));
    ok = false;
  };
  for (const Arg& arg : args) {
    std::string name = arg.name;
    if (name.empty()) {
      while (next < function.parameters.size() && value->given.count(function.parameters[next].name.text)) ++next;
      if (next >= function.parameters.size()) {
        wrong(arg.span, fmt::format("`{}` takes {} arguments", function.name.text, function.parameters.size()));
        break;
      }
      name = function.parameters[next].name.text;
    }
    bool known = false;
    std::vector<std::string> names;
    for (const ast::Parameter& p : function.parameters) known = known || p.name.text == name, names.push_back(p.name.text);
    if (!known) {
      std::string near = nearest(name, names);
      wrong(arg.name_span, fmt::format("`{}` has no hyperparameter `{}`", function.name.text, name), near.empty() ? std::vector<std::string>{} : std::vector<std::string>{fmt::format("did you mean `{}`?", near)});
      continue;
    }
    if (arg.value.is<Poison>()) ok = false;
    value->given[name] = arg.value;
    if (!arg.overrides.empty()) value->overrides[name] = arg.overrides;
  }
  return ok ? Value(Recipe{value}) : Value(Poison{});
}

// ---- hyperparameters

namespace {
std::string first_parameter(const ast::Function& f) { return f.parameters.empty() ? "" : f.parameters[0].name.text; }
}  // namespace

/// A recipe's argument as what its body computes with.
Value Elaborator::hyper_value(const Value& value, const std::string& name, const Span& span) {
  auto* number = value.get<Number>();
  if (number && !number->run) {
    if (fixed.count(name)) return value;
    program::HyperT hyper;
    hyper.name = name;
    hyper.value = number->value;
    hyper.line = line_text(span);
    optimizing->hypers->try_emplace(name, hyper);
    hyper_spans.try_emplace(name, span);
    return hyperparameter(name, number->value);
  }
  if (auto* recipe = value.get<Recipe>(); recipe && recipe->value->function->kind == ast::FunctionKind::schedule) return run_schedule(*recipe, name);
  return value;
}

Value Elaborator::run_schedule(const Recipe& recipe, const std::string& name) {
  const ast::Function& function = *recipe.value->function;
  Env& env = new_env(recipe.value->env);
  calls.push_back(recipe.value->span);
  Scoped<bool> time(in_step, true);
  Scoped<bool> schedules(schedule_names, true);
  bool ok = true;
  for (const ast::Parameter& p : function.parameters) {
    auto given = recipe.value->given.find(p.name.text);
    Value value;
    Span span = recipe.value->span;
    if (given != recipe.value->given.end()) value = given->second;
    else if (p.value) value = eval(*p.value, env), span = p.value->span;
    else value = fail(DiagnosticId::wrong_arguments, recipe.value->span, fmt::format("`{}` is called without `{}`", function.name.text, p.name.text), "", {{function.name.span, "declared here"}});
    if (value.is<Poison>()) ok = false;
    else if (!value.is<Number>() && !value.is<Recipe>()) {
      fail(DiagnosticId::wrong_kind, span, fmt::format("`{}` of the schedule `{}` must be a number or a schedule, this is {}", p.name.text, function.name.text, kind_of(value)));
      ok = false;
    }
    // The first parameter is the peak: it carries the hyperparameter's own name, through schedules of schedules.
    std::string own = p.name.text == first_parameter(function) ? name : name + "." + p.name.text;
    if (own != name && optimizing->hypers->count(own) && !optimizing->hypers->at(own).line.empty() && hyper_spans[own].begin != span.begin) own = name + "." + function.name.text + "." + p.name.text;
    if (ok) env.names[p.name.text] = Binding{hyper_value(value, own, span), p.name.span};
  }
  Value result = ok ? run_statements(function.body, env) : Value(Poison{});
  if (!result.is<Poison>() && !result.is<Number>())
    result = fail(DiagnosticId::wrong_kind, function.body.span, fmt::format("the schedule `{}` must give a number, this is {}", function.name.text, kind_of(result)));
  if (auto* number = result.get<Number>(); number && number->run) {
    OptimizerRun* whole = optimizing;
    while (whole->outer) whole = whole->outer;
    whole->scheduled[name] = number->run;
  }
  calls.pop_back();
  return result;
}

/// The scope of an optimizer's body: hyperparameters, `param`, `grad`, `loss`.
bool Elaborator::bind_recipe(OptimizerRun& run_of, const Value& param) {
  const RecipeValue& recipe = *run_of.recipe;
  const ast::Function& function = *recipe.function;
  Env& env = new_env(recipe.env);
  run_of.env = &env;
  bool ok = true;
  for (const ast::Parameter& p : function.parameters) {
    auto given = recipe.given.find(p.name.text);
    Value value;
    Span span = recipe.span.known() ? recipe.span : function.span;
    if (given != recipe.given.end()) value = given->second;
    else if (p.value) value = eval(*p.value, env), span = recipe.span.known() ? recipe.span : p.value->span;
    else value = fail(DiagnosticId::wrong_arguments, span, fmt::format("`{}` is called without `{}`", function.name.text, p.name.text), "", {{function.name.span, "declared here"}});
    std::string name = run_of.path + "." + p.name.text;
    value = hyper_value(value, name, span);
    if (value.is<Poison>()) ok = false;
    if (auto overrides = recipe.overrides.find(p.name.text); overrides != recipe.overrides.end()) {
      auto set = std::make_shared<SetValue>();
      set->names = run_of.parameters;
      set->entries.assign(set->names.size(), value);
      for (const auto& [pattern, other] : overrides->second) {
        bool used = false;
        Value own = other.is<Recipe>() ? hyper_value(other, name + "." + pattern, span) : other;
        for (size_t i = 0; i < set->names.size(); ++i)
          if (matches(pattern, set->names[i])) set->entries[i] = own, used = true;
        if (!used) {
          fail(DiagnosticId::unknown_member, span, fmt::format("no trained parameter matches `{}`", pattern), "", {}, {fmt::format("parameters are named like `{}`", set->names.empty() ? "net.w" : set->names[0])});
          ok = false;
        }
      }
      value = Set{set};
    }
    env.names[p.name.text] = Binding{value, p.name.span};
  }
  Binding parameters{param, function.name.span};
  parameters.written = Binding::Written::parameters;
  env.names["param"] = parameters;
  env.names["grad"] = Binding{Lazy{Lazy::What::grad}, function.name.span};
  env.names["loss"] = Binding{Lazy{Lazy::What::loss}, function.name.span};
  return ok;
}

// ---- what a body uses

Value Elaborator::optimizer_value(Lazy::What what, const Span& span, Env& env) {
  if (!optimizing) return fail(DiagnosticId::wrong_place, span, "there is a gradient of the loss inside an optimizer only");
  const Value& point = env.find("param")->value;
  return what == Lazy::What::grad ? optimizing->gradient(point, span) : optimizing->loss(point, span);
}

Value Elaborator::optimizer_point(const Value& point, bool want_gradient, const Span& span, const Span& at) {
  if (!optimizing) return fail(DiagnosticId::wrong_place, at, "`grad_at` and `loss_at` belong into an optimizer");
  if (!point.is<Set>()) return fail(DiagnosticId::wrong_kind, span, fmt::format("a point is a set of parameters like `param`, this is {}", kind_of(point)));
  return want_gradient ? optimizing->gradient(point, at) : optimizing->loss(point, at);
}

void Elaborator::declare_slot(const ast::Declare& declare, const Span& span, Env& env) {
  OptimizerRun& r = *optimizing;
  if (declare.kind != ast::DeclareKind::state) return void(fail(DiagnosticId::wrong_place, span, fmt::format("an optimizer has `state`, not `{}`", ast::word(declare.kind))));
  std::string base = r.path + "/" + declare.name.text;
  // First values are computed in init.OPT, where `param` is what the parameters are then.
  Value first;
  std::vector<ir::Type> types;
  bool single = declare.type && declare.type->element.text != "param";
  ir::Shape leading;
  if (declare.type && !single)
    for (const ast::Dimension& d : declare.type->shape) {
      auto extent = d.size ? fix_integer(eval(*d.size, env), d.span, "a dimension") : std::nullopt;
      if (!extent || *extent < 1) return void(fail(DiagnosticId::not_whole, d.span, "the length of a history must be a positive number"));
      leading.push_back(*extent);
    }
  std::vector<std::string> names;
  if (single) {
    auto type = declared_type(*declare.type, env);
    if (!type) return;
    names = {base};
    types = {*type};
  } else {
    for (const std::string& p : r.parameters) {
      ir::Type type = program.module.variable(p)->type;
      type.shape.insert(type.shape.begin(), leading.begin(), leading.end());
      names.push_back(base + "/" + p);
      types.push_back(type);
    }
  }
  if (!names.empty() && !program.module.variable(names[0])) {
    Evaluation evaluation;
    evaluation.key = "init:" + base;
    Scoped<Emission*> to(out, r.first_values);
    Scoped<Evaluation*> as(run, &evaluation);
    Scoped<OptimizerRun*> no_gradient(optimizing, nullptr);
    Env& scope = new_env(&env);
    auto set = std::make_shared<SetValue>();
    set->names = r.parameters;
    for (const std::string& p : r.parameters) set->entries.push_back(tensor(variable(p)));
    scope.names["param"] = Binding{Set{set}, span};
    builder().loc = location(span);
    Value value = eval(*declare.value, scope);
    if (value.is<Closure>()) {
      Arg shape;
      shape.name = "shape";
      shape.value = make_list(types[0].shape);
      if (single) value = call(value, {shape}, declare.value->span);
    }
    for (size_t i = 0; i < names.size(); ++i) {
      Value entry = value.is<Set>() && !single ? value.get<Set>()->value->entries[i] : value;
      // A history starts as so many times the same.
      ir::Value v = coerce(entry, leading.empty() || entry.is<Number>() ? types[i] : program.module.variable(r.parameters[i])->type, declare.value->span, fmt::format("`{}`", declare.name.text));
      if (!v.valid()) return void(env.names[declare.name.text] = Binding{Poison{}, declare.name.span});
      v = builder().broadcast_to(v, types[i].shape);
      out->function.results.push_back({names[i], v, true});
      program.module.variables.push_back({names[i], types[i], ir::VariableKind::slot, false, location(span)});
    }
  }
  Binding binding;
  binding.span = declare.name.span;
  binding.written = Binding::Written::slot;
  binding.path = base;
  if (single) {
    binding.value = tensor(variable(base));
  } else {
    auto set = std::make_shared<SetValue>();
    set->names = r.parameters;
    for (const std::string& name : names) set->entries.push_back(tensor(variable(name)));
    binding.value = Set{set};
  }
  env.names[declare.name.text] = std::move(binding);
}

void Elaborator::assign_in_optimizer(Binding& binding, const std::string& name, const Value& value, const Span& span) {
  OptimizerRun& r = *optimizing;
  bool parameters = binding.written == Binding::Written::parameters;
  if (value.is<Poison>()) return void(binding.value = Poison{});
  if (binding.value.is<Poison>()) return;
  if (auto* t = binding.value.get<Tensor>()) {   // a scalar state
    ir::Value v = coerce(value, type(*t), span, fmt::format("`{}`", name));
    if (!v.valid()) return void(binding.value = Poison{});
    (*r.writes)[binding.path] = v;
    binding.value = tensor(v);
    return;
  }
  const SetValue& old = *binding.value.get<Set>()->value;
  auto* set = value.get<Set>();
  if (!set && !value.is<Number>())
    return void(fail(DiagnosticId::wrong_kind, span, fmt::format("`{}` is like the parameters, this is {}", name, kind_of(value))));
  auto result = std::make_shared<SetValue>();
  result->names = old.names;
  for (size_t i = 0; i < old.names.size(); ++i) {
    ir::Type wanted = type(*old.entries[i].get<Tensor>());
    ir::Value v = coerce(set ? set->value->entries[i] : value, wanted, span, fmt::format("`{}`", name));
    if (!v.valid()) return void(binding.value = Poison{});
    result->entries.push_back(tensor(v));
    if (!parameters) (*r.writes)[binding.path + "/" + old.names[i]] = v;
  }
  binding.value = Set{result};
}

Value Elaborator::run_base(const Recipe& recipe, const ast::Call& call_expr, const Span& span, Env& env) {
  OptimizerRun& outer = *optimizing;
  const ast::Argument* other = nullptr;
  for (const ast::Argument& a : call_expr.arguments) {
    if (a.name && a.name->text == "grad") other = &a;
    else return fail(DiagnosticId::wrong_arguments, a.span, "inside an optimizer, another one is called with `grad = ...` at most");
  }
  OptimizerRun inner = outer;
  inner.outer = &outer;
  inner.recipe = recipe.value.get();
  inner.path = outer.path + "." + recipe.value->name;
  if (other)
    inner.gradient = [this, &outer, other, &env](const Value& point, const Span&) -> Value {
      Env& at = new_env(&env);
      at.names["param"] = Binding{point, {}};
      Scoped<OptimizerRun*> again(optimizing, &outer);
      return eval(*other->value, at);
    };
  Binding* param = env.find("param");
  Scoped<OptimizerRun*> now(optimizing, &inner);
  calls.push_back(span);
  if (bind_recipe(inner, param->value)) {
    run_statements(inner.recipe->function->body, *inner.env);
    param->value = inner.env->names["param"].value;
  } else {
    param->value = Poison{};
  }
  calls.pop_back();
  return Nothing{};
}

}  // namespace gradc::front
