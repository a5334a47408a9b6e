// Calls of every kind: functions, layers that are configured and applied, models, optimizers and schedules that get their
// arguments; and pipes, which are calls with the value in first place.
#include <fmt/format.h>

#include "frontend/elaborate_builtins.h"
#include "frontend/elaborate_optimizers.h"
#include "frontend/elaborator.h"

namespace gradc::front {

Args Elaborator::eval_arguments(const std::vector<ast::Argument>& arguments, Env& env) {
  Args args;
  for (const ast::Argument& a : arguments) {
    Arg arg;
    if (a.name) arg.name = a.name->text, arg.name_span = a.name->span;
    arg.span = a.value->span;
    arg.value = eval(*a.value, env);
    for (const ast::Override& o : a.overrides) arg.overrides.emplace_back(o.pattern, eval(*o.value, env));
    args.push_back(std::move(arg));
  }
  return args;
}

std::string Elaborator::full_path(const std::string& name) const {
  if (frames.empty()) return name;
  const Frame& frame = frames.back();
  return (frame.path.empty() ? "" : frame.path + ".") + name + frame.suffix;
}

std::string Elaborator::new_name(const std::string& kind) {
  if (frames.empty()) return kind;
  std::string path = full_path(fmt::format("{}{}", kind, ++frames.back().ordinals[kind]));
  note_made_in_scan(path);
  return path;
}

// ---- binding

bool Elaborator::bind_arguments(const ast::Function& function, const std::vector<ast::Parameter>& parameters, Args& args, Env& callee, const Span& call, bool* partial) {
  std::vector<Arg*> given(parameters.size(), nullptr);
  std::vector<Label> declared = {{function.name.span, "declared here"}};
  bool ok = true;
  auto wrong = [&](const Span& span, const std::string& message, std::vector<std::string> hints = {}) {
    fail(DiagnosticId::wrong_arguments, span, message, "", declared, std::move(hints));
    ok = false;
  };
  size_t next = 0;
  for (Arg& arg : args) {
    size_t i = parameters.size();
    if (!arg.name.empty()) {
      std::vector<std::string> names;
      for (size_t k = 0; k < parameters.size(); ++k) {
        names.push_back(parameters[k].name.text);
        if (parameters[k].name.text == arg.name) i = k;
      }
      if (i == parameters.size()) {
        std::string near = nearest(arg.name, names);
        wrong(arg.name_span, fmt::format("`{}` has no parameter `{}`", function.name.text, arg.name),
              near.empty() ? std::vector<std::string>{} : std::vector<std::string>{fmt::format("did you mean `{}`?", near)});
        continue;
      }
    } else {
      while (next < parameters.size() && (given[next] || callee.names.count(parameters[next].name.text))) ++next;
      i = next;
      if (i >= parameters.size()) {
        wrong(arg.span, fmt::format("`{}` takes {} argument{}, {} are given", function.name.text, parameters.size(), parameters.size() == 1 ? "" : "s", args.size()));
        break;
      }
    }
    if (given[i]) {
      wrong(arg.span, fmt::format("`{}` is given twice", parameters[i].name.text));
      continue;
    }
    if (!arg.overrides.empty()) wrong(arg.span, "values by parameter names are for optimizers only");
    given[i] = &arg;
  }
  if (!ok) return false;
  std::string missing;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ast::Parameter& p = parameters[i];
    if (given[i] || p.value || callee.names.count(p.name.text)) continue;
    if (partial && p.name.text == "shape") *partial = true;
    else missing += fmt::format("{}`{}`", missing.empty() ? "" : ", ", p.name.text);
  }
  if (!missing.empty()) wrong(call, fmt::format("`{}` is called without {}", function.name.text, missing));
  if (!ok || (partial && *partial)) return ok;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ast::Parameter& p = parameters[i];
    if (callee.names.count(p.name.text)) continue;   // given to a partial application
    Value value = given[i] ? given[i]->value : eval(*p.value, callee);
    Span span = given[i] ? given[i]->span : p.value->span;
    if (value.is<Nothing>()) value = fail(DiagnosticId::wrong_kind, span, "this gives no value");
    if (value.is<Poison>()) ok = false;
    else if (p.type && !match(*p.type, value, callee, {fmt::format("`{}` of `{}`", p.name.text, function.name.text), span, function.name.text})) ok = false;
    bind(callee, p.name, value);
  }
  return ok;
}

// ---- functions

Value Elaborator::run_body(const ast::Function& function, Env& env, const Span& call) {
  Value value = run_statements(function.body, env);
  if (value.is<Poison>() || function.results.empty()) return value;
  Span at = function.body.statements.empty() ? function.body.span : function.body.statements.back()->span;
  std::string what = fmt::format("the result of `{}`", function.name.text);
  if (function.results.size() == 1) {
    if (!match(function.results[0], value, env, {what, at, function.name.text})) return Poison{};
    return value;
  }
  auto* tuple = value.get<Tuple>();
  if (!tuple || tuple->items->size() != function.results.size())
    return fail(DiagnosticId::wrong_kind, at, fmt::format("{} must be a tuple of {}, this is {}", what, function.results.size(), kind_of(value)));
  Values items = *tuple->items;
  for (size_t i = 0; i < items.size(); ++i)
    if (!match(function.results[i], items[i], env, {what, at, function.name.text})) return Poison{};
  return make_tuple(std::move(items));
}

namespace {
constexpr size_t deepest = 150;
bool any_poison(const Args& args) {
  for (const Arg& arg : args)
    if (arg.value.is<Poison>()) return true;
  return false;
}
}  // namespace

Value Elaborator::call_function(const Closure& closure, Args args, const Span& span) {
  if (any_poison(args)) return Poison{};
  const ast::Function& function = *closure.function;
  if (calls.size() > deepest) return fail(DiagnosticId::too_deep, span, fmt::format("calls of `{}` are more than {} deep", function.name.text, deepest));
  Env& env = new_env(closure.env);
  if (closure.given)
    for (const auto& [name, value] : *closure.given) env.names[name] = Binding{value, span};
  calls.push_back(span);
  targets.push_back(&gradient_targets(&function, function.body));
  Scoped<bool> is_pure(pure, pure || function.kind == ast::FunctionKind::fn);
  Scoped<int> loops(loop_depth, 0);
  Scoped<bool> no_schedules(schedule_names, false);
  bool partial = false;
  Value result = Poison{};
  if (bind_arguments(function, function.parameters, args, env, span, &partial)) {
    if (partial) {
      auto given = std::make_shared<std::map<std::string, Value>>();
      if (closure.given) *given = *closure.given;
      size_t next = 0;
      for (const Arg& arg : args) {
        std::string name = arg.name;
        if (name.empty()) {
          while (given->count(function.parameters[next].name.text)) ++next;
          name = function.parameters[next].name.text;
        }
        (*given)[name] = arg.value;
      }
      result = Closure{&function, closure.env, given};
    } else {
      result = run_body(function, env, span);
    }
  }
  targets.pop_back();
  calls.pop_back();
  return result;
}

// ---- layers and models

Value Elaborator::configure(const LayerKind& kind, Args args, const Span& span, const std::string& name_hint, bool pinned) {
  if (any_poison(args)) return Poison{};
  Env& env = new_env(kind.env);
  calls.push_back(span);
  bool ok = bind_arguments(*kind.function, kind.function->config, args, env, span);
  calls.pop_back();
  if (!ok) return Poison{};
  auto value = std::make_shared<LayerValue>();
  value->function = kind.function;
  value->env = &env;
  if (name_hint.empty()) {
    value->path = new_name(kind.function->name.text);
  } else {
    // A name that is bound again in the same body is another layer.
    int count = frames.empty() || pinned ? 1 : ++frames.back().ordinals["let " + name_hint];
    value->path = full_path(count == 1 ? name_hint : fmt::format("{}{}", name_hint, count));
    note_made_in_scan(value->path);
  }
  return Layer{value};
}

Value Elaborator::apply(const std::string& path, const ast::Function& function, Env& config, Args args, const Span& span, std::shared_ptr<const SetValue> substitution) {
  if (any_poison(args)) return Poison{};
  if (!out || !run) return fail(DiagnosticId::wrong_place, span, fmt::format("`{}` is applied outside of models and training", function.name.text));
  if (calls.size() > deepest) return fail(DiagnosticId::too_deep, span, fmt::format("calls of `{}` are more than {} deep", function.name.text, deepest));
  bool training = run->training && !frozen(path);
  bool takes_training = false;
  for (const ast::Parameter& p : function.parameters) takes_training = takes_training || p.name.text == "training";
  for (size_t i = 0; i < args.size() && !takes_training; ++i) {
    if (args[i].name != "training") continue;
    auto flag = fix_flag(args[i].value, args[i].span, "`training`");
    if (!flag) return Poison{};
    training = *flag;
    args.erase(args.begin() + static_cast<int64_t>(i));
    break;
  }
  Env& env = new_env(&config);
  calls.push_back(span);
  frames.push_back({path, {}, ""});
  targets.push_back(&gradient_targets(&function, function.body));
  if (substitution) run->substitutions.push_back(substitution.get());
  Value result = Poison{};
  {
    Scoped<bool> mode(run->training, training);
    Scoped<bool> not_pure(pure, false);
    Scoped<int> loops(loop_depth, 0);
    Scoped<OptimizerRun*> not_optimizing(optimizing, nullptr);
    if (bind_arguments(function, function.parameters, args, env, span)) result = run_body(function, env, span);
  }
  if (substitution) run->substitutions.pop_back();
  targets.pop_back();
  frames.pop_back();
  calls.pop_back();
  return result;
}

// ---- calls

Value Elaborator::call(const Value& callee, Args args, const Span& span, const std::string& name_hint, bool pinned) {
  if (callee.is<Poison>()) return Poison{};
  if (auto* closure = callee.get<Closure>()) return call_function(*closure, std::move(args), span);
  if (auto* builtin = callee.get<const Builtin*>()) return call_builtin(**builtin, std::move(args), span);
  if (auto* kind = callee.get<LayerKind>()) {
    if (kind->function->has_config) return configure(*kind, std::move(args), span, name_hint, pinned);
    return apply(pinned ? full_path(name_hint) : new_name(kind->function->name.text), *kind->function, *kind->env, std::move(args), span);
  }
  if (auto* layer = callee.get<Layer>()) return apply(layer->value->path, *layer->value->function, *layer->value->env, std::move(args), span);
  if (auto* model = callee.get<Model>()) return apply(model->function->name.text, *model->function, *model->env, std::move(args), span, model->parameters);
  if (auto* recipe = callee.get<Recipe>()) return give_arguments(*recipe, std::move(args), span, pinned ? name_hint : "");
  return fail(DiagnosticId::wrong_kind, span, fmt::format("{} cannot be called", kind_of(callee)));
}

Value Elaborator::eval_callee(const ast::Expr& callee, Env& env) {
  auto* name = std::get_if<ast::Name>(&callee.node);
  if (!name) return eval(callee, env);
  // Inside an optimizer, `grad` alone is the gradient and `grad(e, x)` still the function.
  Binding* binding = env.find(name->text);
  if (name->text == "grad" && (!binding || binding->value.is<Lazy>())) return find_builtin("grad");
  if (schedule_names)
    if (Binding* schedule = env.find("schedule " + name->text)) return schedule->value;
  return eval(callee, env);
}

Value Elaborator::eval_call(const ast::Call& x, const Span& span, Env& env, const std::string& name_hint) {
  auto* name = std::get_if<ast::Name>(&x.callee->node);
  if (name && name->text == "layerwise" && !env.find("layerwise")) {
    Scoped<bool> each(layerwise, true);
    if (x.arguments.size() != 1) return fail(DiagnosticId::wrong_arguments, span, "`layerwise` takes one expression");
    return eval(*x.arguments[0].value, env);
  }
  Value callee = eval_callee(*x.callee, env);
  if (auto* recipe = callee.get<Recipe>()) {
    if (optimizing && recipe->value->function->kind == ast::FunctionKind::optimizer) return run_base(*recipe, x, span, env);
    Scoped<bool> schedules(schedule_names, true);
    return call(callee, eval_arguments(x.arguments, env), span, name_hint);
  }
  return call(callee, eval_arguments(x.arguments, env), span, name_hint);
}

Value Elaborator::eval_pipe(const ast::Pipe& x, const Span& span, Env& env) {
  Arg value;
  value.span = x.value->span;
  value.value = eval(*x.value, env);
  if (value.value.is<Nothing>()) value.value = fail(DiagnosticId::wrong_kind, x.value->span, "this gives no value");
  const ast::Expr* stage = x.stage.get();
  const Span at = stage->span;
  ir::Loc outer = out ? builder().loc : ir::Loc{};
  if (out && !in_library(at)) builder().loc = location(at);   // a stage is a line of its own in long pipes
  std::string pinned;
  if (auto* pin = std::get_if<ast::Pinned>(&stage->node)) {
    pinned = pin->name.text;
    stage = pin->value.get();
  }
  Value result;
  if (auto* c = std::get_if<ast::Call>(&stage->node)) {
    // `layer(a)(b) as name`: the name is the layer's.
    const auto* configured = pinned.empty() ? nullptr : std::get_if<ast::Call>(&c->callee->node);
    Value callee = configured ? eval_pinned_layer(*configured, pinned, env, at) : eval(*c->callee, env);
    Args args = eval_arguments(c->arguments, env);
    auto* kind = callee.get<LayerKind>();
    if (kind && kind->function->has_config) {
      result = call(configure(*kind, std::move(args), at, pinned, !pinned.empty()), {value}, at);
    } else {
      args.insert(args.begin(), value);
      result = call(callee, std::move(args), at, pinned, !pinned.empty());
    }
  } else {
    Value callee = eval(*stage, env);
    auto* kind = callee.get<LayerKind>();
    if (kind && kind->function->has_config) callee = configure(*kind, {}, at, pinned, !pinned.empty());
    result = call(callee, {value}, at, pinned, !pinned.empty());
  }
  if (out) builder().loc = outer;
  return result;
}

Value Elaborator::eval_pinned_layer(const ast::Call& c, const std::string& name, Env& env, const Span& at) {
  Value callee = eval_callee(*c.callee, env);
  auto* kind = callee.get<LayerKind>();
  return kind && kind->function->has_config ? configure(*kind, eval_arguments(c.arguments, env), at, name, true) : call(callee, eval_arguments(c.arguments, env), at);
}

Value Elaborator::eval_pinned(const ast::Pinned& x, const Span& span, Env& env) {
  auto* c = std::get_if<ast::Call>(&x.value->node);
  Value callee = c ? eval_callee(*c->callee, env) : eval(*x.value, env);
  Scoped<bool> schedules(schedule_names, schedule_names || callee.is<Recipe>());
  if (!c && callee.is<Poison>()) return callee;
  return call(callee, c ? eval_arguments(c->arguments, env) : Args{}, span, x.name.text, true);
}

}  // namespace gradc::front
