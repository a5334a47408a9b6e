// Statements: scopes, `let`, loops that are unrolled, and what `<-` assigns.
#include <fmt/format.h>

#include "frontend/elaborator.h"

namespace gradc::front {
namespace {
template <typename... F>
struct Overloaded : F... { using F::operator()...; };

// Names that stand as the second argument of a call of `grad`, anywhere inside.
struct TargetFinder {
  std::set<std::string>& names;

  void block(const ast::Block& b) {
    for (const auto& s : b.statements) statement(*s);
  }
  void optional(const ast::ExprPtr& e) {
    if (e) expression(*e);
  }
  void statement(const ast::Stmt& s) {
    std::visit(Overloaded{
      [&](const ast::Evaluate& x) { expression(*x.value); },
      [&](const ast::Let& x) { expression(*x.value); },
      [&](const ast::Define& x) { block(x.function->body); },
      [&](const ast::Declare& x) { optional(x.value); },
      [&](const ast::Assign& x) { expression(*x.value); },
      [&](const ast::For& x) { expression(*x.range), block(x.body); },
      [&](const ast::Minimize& x) { expression(*x.loss); },
      [&](const ast::Report& x) { expression(*x.value); },
      [&](const ast::Load&) {},
      [&](const ast::Freeze&) {},
      [&](const ast::Step& x) { block(x.body); },
    }, s.node);
  }
  void expression(const ast::Expr& e) {
    std::visit(Overloaded{
      [&](const ast::List& x) { for (const auto& i : x.items) expression(*i); },
      [&](const ast::Tuple& x) { for (const auto& i : x.items) expression(*i); },
      [&](const ast::Call& x) {
        auto* callee = std::get_if<ast::Name>(&x.callee->node);
        if (callee && callee->text == "grad" && x.arguments.size() == 2) target(*x.arguments[1].value);
        expression(*x.callee);
        for (const ast::Argument& a : x.arguments) expression(*a.value);
      },
      [&](const ast::Pipe& x) { expression(*x.value), expression(*x.stage); },
      [&](const ast::Pinned& x) { expression(*x.value); },
      [&](const ast::Member& x) { expression(*x.object); },
      [&](const ast::Substitute& x) { expression(*x.model), expression(*x.parameters); },
      [&](const ast::Index& x) { expression(*x.object); },
      [&](const ast::Unary& x) { expression(*x.operand); },
      [&](const ast::Binary& x) { expression(*x.left), expression(*x.right); },
      [&](const ast::If& x) {
        expression(*x.condition), block(x.then);
        if (x.otherwise) block(*x.otherwise);
      },
      [&](const auto&) {},
    }, e.node);
  }
  void target(const ast::Expr& e) {
    if (auto* name = std::get_if<ast::Name>(&e.node)) names.insert(name->text);
    if (auto* list = std::get_if<ast::List>(&e.node))
      for (const auto& i : list->items) target(*i);
    if (auto* tuple = std::get_if<ast::Tuple>(&e.node))
      for (const auto& i : tuple->items) target(*i);
  }
};
}  // namespace

const std::set<std::string>& Elaborator::gradient_targets(const void* key, const ast::Block& body) {
  auto [it, fresh] = gradient_targets_.try_emplace(key);
  if (fresh) TargetFinder{it->second}.block(body);
  return it->second;
}

void Elaborator::bind(Env& env, const ast::Ident& name, Value value, bool variable) {
  if (!targets.empty() && targets.back()->count(name.text)) value = mark(value);
  env.names[name.text] = Binding{std::move(value), name.span, variable};
}

Value Elaborator::run_block(const ast::Block& block, Env& outer) { return run_statements(block, new_env(&outer)); }

Value Elaborator::run_statements(const ast::Block& block, Env& env) {
  Value last = Nothing{};
  for (const auto& statement : block.statements) {
    last = run_statement(*statement, env);
    // After an `if bad { error(...) }` the rest would only say it again, in other words.
    if (last.is<Poison>() && std::holds_alternative<ast::Evaluate>(statement->node)) break;
  }
  return last;
}

Value Elaborator::run_statement(const ast::Stmt& statement, Env& env) {
  const Span& span = statement.span;
  auto training_only = [&](const char* what) -> Value { return fail(DiagnosticId::wrong_place, span, fmt::format("`{}` belongs into a `train` block, not inside another one", what)); };
  return std::visit(Overloaded{
    [&](const ast::Evaluate& x) -> Value { return eval(*x.value, env); },
    [&](const ast::Let& x) -> Value { return run_let(x, env), Nothing{}; },
    [&](const ast::Define& x) -> Value {
      env.names[x.function->name.text] = Binding{Closure{x.function.get(), &env, nullptr}, x.function->name.span};
      return Nothing{};
    },
    [&](const ast::Declare& x) -> Value { return run_declare(x, span, env), Nothing{}; },
    [&](const ast::Assign& x) -> Value { return run_assign(x, span, env), Nothing{}; },
    [&](const ast::For& x) -> Value { return run_for(x, env), Nothing{}; },
    [&](const ast::Minimize&) -> Value { return training_only("minimize"); },
    [&](const ast::Report&) -> Value { return training_only("report"); },
    [&](const ast::Load&) -> Value { return training_only("load"); },
    [&](const ast::Freeze&) -> Value { return training_only("freeze"); },
    [&](const ast::Step&) -> Value { return training_only("step"); },
  }, statement.node);
}

void Elaborator::run_let(const ast::Let& let, Env& env) {
  // A layer gets the name that it is bound to.
  Value value;
  auto* call = std::get_if<ast::Call>(&let.value->node);
  if (call && !let.tuple && let.names.size() == 1) {
    ir::Loc outer = out ? builder().loc : ir::Loc{};
    if (out && !in_library(let.value->span)) builder().loc = location(let.value->span);
    value = eval_call(*call, let.value->span, env, let.names[0].text);
    if (out) builder().loc = outer;
  } else {
    value = eval(*let.value, env);
  }
  if (!let.tuple) {
    if (let.type) match(*let.type, value, env, {fmt::format("`{}`", let.names[0].text), let.value->span, ""});
    if (value.is<Nothing>()) value = fail(DiagnosticId::wrong_kind, let.value->span, "this gives no value");
    bind(env, let.names[0], std::move(value), true);
    return;
  }
  const Values* items = nullptr;
  if (auto* tuple = value.get<Tuple>()) items = tuple->items.get();
  if (auto* list = value.get<List>()) items = list->items.get();
  if (!items && !value.is<Poison>()) value = fail(DiagnosticId::wrong_kind, let.value->span, fmt::format("{} names need a tuple, this is {}", let.names.size(), kind_of(value)));
  if (items && items->size() != let.names.size()) {
    value = fail(DiagnosticId::wrong_kind, let.value->span, fmt::format("{} names for a tuple of {}", let.names.size(), items->size()));
    items = nullptr;
  }
  for (size_t i = 0; i < let.names.size(); ++i) bind(env, let.names[i], items ? (*items)[i] : Value(Poison{}), true);
}

void Elaborator::run_for(const ast::For& loop, Env& env) {
  Value range = eval(*loop.range, env);
  Values items;
  if (auto* r = range.get<Range>()) {
    if (r->end - r->begin > 100000) return void(fail(DiagnosticId::wrong_kind, loop.range->span, "the loop has more than 100000 rounds; it is unrolled when compiling"));
    for (double i = r->begin; i < r->end; ++i) items.emplace_back(i);
  } else if (auto* list = range.get<List>()) {
    items = *list->items;
  } else {
    if (!range.is<Poison>()) fail(DiagnosticId::wrong_kind, loop.range->span, fmt::format("`for` runs over a range or a list, this is {}", kind_of(range)));
    return;
  }
  Scoped depth(loop_depth, loop_depth + 1);
  // Each round starts with the same ordinals: what it declares differs by the round's number.
  std::string suffix;
  std::map<std::string, int> ordinals;
  size_t frame = frames.size();
  if (frame) suffix = frames.back().suffix, ordinals = frames.back().ordinals;
  for (size_t i = 0; i < items.size(); ++i) {
    if (frame) {
      frames.back().ordinals = ordinals;
      frames.back().suffix = fmt::format("{}.{}", suffix, range.is<Range>() ? static_cast<int64_t>(items[i].get<Number>()->value) : static_cast<int64_t>(i));
    }
    Env& round = new_env(&env);
    round.names[loop.name.text] = Binding{items[i], loop.name.span};
    run_statements(loop.body, round);
  }
  if (frame) frames.back().suffix = suffix;
}

void Elaborator::run_assign(const ast::Assign& assign, const Span& span, Env& env) {
  auto* name = std::get_if<ast::Name>(&assign.target->node);
  Binding* binding = name ? env.find(name->text) : nullptr;
  if (!assign.update) {
    Value value = eval(*assign.value, env);
    if (!name) return void(fail(DiagnosticId::wrong_place, assign.target->span, "only a name can be given another value"));
    if (!binding) return void(unknown_name(name->text, assign.target->span, env));
    if (!binding->variable) return void(fail(DiagnosticId::wrong_place, assign.target->span, fmt::format("`{}` is not a `let` and cannot be given another value", name->text), "", {{binding->span, "introduced here"}}));
    if (loop_depth == 0)
      return void(fail(DiagnosticId::wrong_place, span, "`=` gives a name another value only inside `for`", "", {{binding->span, "introduced here"}}, {fmt::format("`let {} = ...` makes a new one", name->text)}));
    if (!targets.empty() && targets.back()->count(name->text)) value = mark(value);
    binding->value = std::move(value);
    return;
  }
  if (name && !binding) return void(unknown_name(name->text, assign.target->span, env));
  if (binding && (binding->written == Binding::Written::slot || binding->written == Binding::Written::parameters)) {
    Value value = eval(*assign.value, env);
    return assign_in_optimizer(*binding, name->text, value, assign.value->span);
  }
  if (binding && binding->written == Binding::Written::field) return assign_field(*binding, eval(*assign.value, env), assign.value->span);
  std::string path;
  if (binding && binding->written == Binding::Written::variable) path = binding->path;
  else if (!name && std::holds_alternative<ast::Member>(assign.target->node)) path = path_of(*assign.target, env);
  else return void(fail(DiagnosticId::wrong_place, assign.target->span, "`<-` assigns a `param`, a `state` or a model's parameter", "this is none", binding ? std::vector<Label>{{binding->span, "introduced here"}} : std::vector<Label>{}));
  Value value = eval(*assign.value, env);
  if (path.empty() || (binding && binding->value.is<Poison>())) return;
  if (pure) return void(fail(DiagnosticId::wrong_place, span, "a `fn` cannot assign"));
  if (!run || !program.module.variable(path)) return void(fail(DiagnosticId::unknown_member, assign.target->span, fmt::format("there is no parameter or state `{}`", path)));
  write_variable(path, value, assign.value->span, span);
  if (binding) binding->value = read_variable(path);
}

void Elaborator::run_declare(const ast::Declare& declare, const Span& span, Env& env) {
  if (optimizing) return declare_slot(declare, span, env);
  if (pure || frames.empty()) {
    fail(DiagnosticId::wrong_place, span, fmt::format("a `{}` belongs into a layer or a model", ast::word(declare.kind)));
    Binding& binding = env.names[declare.name.text] = Binding{Poison{}, declare.name.span};
    binding.written = Binding::Written::variable;   // so that assigning it is no further mistake
    return;
  }
  const bool session = declare.kind == ast::DeclareKind::session;
  if (session && !(run && run->steps > 0)) {
    fail(DiagnosticId::wrong_place, span, "a `session` exists in an export for a number of steps alone", "", {}, {"`if incremental { session ... }`, and `export next(token: token[n]) for 64 steps = ...`"});
    Binding& binding = env.names[declare.name.text] = Binding{Poison{}, declare.name.span};
    binding.written = Binding::Written::variable;   // so that assigning it is no further mistake
    return;
  }
  const Frame& frame = frames.back();
  std::string path = frame.path + frame.suffix;
  path += (path.empty() ? "" : ".") + declare.name.text;
  Value value = declare_variable(path, session ? ir::VariableKind::session : declare.kind == ast::DeclareKind::state ? ir::VariableKind::state : ir::VariableKind::parameter, declare.type, *declare.value, env, span);
  if (!targets.empty() && targets.back()->count(declare.name.text)) value = mark(value);
  Binding binding{std::move(value), declare.name.span};
  binding.written = Binding::Written::variable;
  binding.path = path;
  env.names[declare.name.text] = std::move(binding);
}

}  // namespace gradc::front
