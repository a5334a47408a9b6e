// Expressions: each kind of the syntax tree gives a value. Every node that is built on the way gets the innermost place in the
// user's own file.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "frontend/elaborate_builtins.h"
#include "frontend/elaborator.h"

namespace gradc::front {
namespace {
// Restores the location that nodes get when an expression is done.
class AtPlace {
 public:
  AtPlace(Elaborator& e, const Span& span) : builder_(e.out ? &e.out->builder : nullptr) {
    if (!builder_) return;
    old_ = builder_->loc;
    if (e.in_library(span) || !span.known()) return;
    builder_->loc = e.location(span);
    if (e.optimizing) builder_->loc.role = ir::Loc::Role::update;
  }
  ~AtPlace() {
    if (builder_) builder_->loc = old_;
  }

 private:
  ir::Builder* builder_;
  ir::Loc old_;
};

template <typename... F>
struct Overloaded : F... { using F::operator()...; };
}  // namespace

Value Elaborator::eval(const ast::Expr& expr, Env& env) {
  AtPlace place(*this, expr.span);
  const Span& span = expr.span;
  return std::visit(Overloaded{
    [&](const ast::Invalid&) -> Value { return Poison{}; },
    [&](const ast::Number& x) -> Value { return x.value; },
    [&](const ast::Text& x) -> Value { return Text{x.value}; },
    [&](const ast::Bool& x) -> Value { return Flag{x.value, nullptr, true}; },
    [&](const ast::Name& x) -> Value { return eval_name(x, span, env); },
    [&](const ast::List& x) -> Value {
      Values items;
      for (const auto& item : x.items) items.push_back(eval(*item, env));
      for (const Value& item : items)
        if (item.is<Poison>()) return Poison{};
      return make_list(std::move(items));
    },
    [&](const ast::Tuple& x) -> Value {
      Values items;
      for (const auto& item : x.items) items.push_back(eval(*item, env));
      return make_tuple(std::move(items));
    },
    [&](const ast::Call& x) -> Value { return eval_call(x, span, env); },
    [&](const ast::Pipe& x) -> Value { return eval_pipe(x, span, env); },
    [&](const ast::Pinned& x) -> Value { return eval_pinned(x, span, env); },
    [&](const ast::Member& x) -> Value { return eval_member(x, span, env); },
    [&](const ast::Substitute& x) -> Value {
      Value model = eval(*x.model, env), set = eval(*x.parameters, env);
      if (model.is<Poison>() || set.is<Poison>()) return Poison{};
      auto* m = model.get<Model>();
      auto* p = set.get<Set>();
      if (!m) return fail(DiagnosticId::wrong_kind, x.model->span, fmt::format("only a model's parameters can be replaced, this is {}", kind_of(model)));
      if (!p) return fail(DiagnosticId::wrong_kind, x.parameters->span, fmt::format("a set of parameters is needed, this is {}", kind_of(set)), "", {}, {"`params(net)` is one"});
      return Model{m->function, m->env, p->value};
    },
    [&](const ast::Index& x) -> Value { return eval_index(x, span, env); },
    [&](const ast::Unary& x) -> Value {
      Value operand = eval(*x.operand, env);
      if (x.op == ast::UnaryOp::logical_not && operand.is<Number>()) return fail(DiagnosticId::wrong_kind, span, "`not` of a number");
      return map_unary(x.op == ast::UnaryOp::negate ? ir::Op::neg : ir::Op::not_, operand, span);
    },
    [&](const ast::Binary& x) -> Value { return eval_binary(x, env); },
    [&](const ast::Range& x) -> Value {
      auto begin = fix_integer(eval(*x.begin, env), x.begin->span, "a range"), end = fix_integer(eval(*x.end, env), x.end->span, "a range");
      if (!begin || !end) return Poison{};
      return Range{static_cast<double>(*begin), static_cast<double>(*end)};
    },
    [&](const ast::If& x) -> Value { return eval_if(x, env); },
  }, expr.node);
}

Value Elaborator::eval_binary(const ast::Binary& x, Env& env) {
  Value left = eval(*x.left, env);
  // `and`, `or` on compile-time values leave the right side alone if the left one decides.
  if (auto* flag = left.get<Flag>(); flag && !flag->run) {
    if (x.op == ast::BinaryOp::logical_and && !flag->value) return left;
    if (x.op == ast::BinaryOp::logical_or && flag->value) return left;
  }
  Value right = eval(*x.right, env);
  return map_binary(x.op, left, right, x.sign, x.left->span, x.right->span);
}

Value Elaborator::eval_name(const ast::Name& name, const Span& span, Env& env) {
  if (Binding* binding = env.find(name.text)) {
    if (auto* lazy = binding->value.get<Lazy>()) return lazy->what == Lazy::What::average ? averaged(*lazy, span) : optimizer_value(lazy->what, span, env);
    return binding->value;
  }
  if (name.text == "training") return Flag{run && run->training, nullptr, true};
  if (name.text == "incremental") return Flag{run && run->steps > 0, nullptr, true};
  if (name.text == "steps" && run && run->steps > 0) return static_cast<double>(run->steps);
  if (name.text == "position" && run && run->steps > 0) return tensor(builder().cast(input("position", {ir::ElementType::i64, {}}), ir::ElementType::i32));
  if (name.text == "all") return Text{"all"};   // every axis
  if (name.text == "inf") return std::numeric_limits<double>::infinity();
  if (name.text == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (name.text == "pi") return 3.14159265358979323846;
  if (in_step && (name.text == "t" || name.text == "T" || name.text == "epoch" || name.text == "val_loss")) return run_time_input(name.text);
  if (const Builtin* builtin = find_builtin(name.text)) return builtin;
  if (name.text == "steps" || name.text == "position")
    return fail(DiagnosticId::wrong_place, span, fmt::format("`{}` has a value in exports for a number of steps alone", name.text), "", {}, {"`if incremental { ... }`, and `export next(token: token[n]) for 64 steps = ...`"});
  if (Binding* schedule = env.find("schedule " + name.text)) return schedule->value;
  return unknown_name(name.text, span, env);
}

Value Elaborator::eval_if(const ast::If& x, Env& env) {
  auto condition = fix_flag(eval(*x.condition, env), x.condition->span, "the condition of `if`");
  if (!condition) return Poison{};
  if (*condition) return run_block(x.then, env);
  return x.otherwise ? run_block(*x.otherwise, env) : Value(Nothing{});
}

Value Elaborator::member_of_path(const std::string& path, const ast::Ident& name, const Span& span) {
  std::string full = path.empty() ? name.text : path + "." + name.text;
  if (program.module.variable(full)) {
    if (!out) return Path{full};
    return read_variable(full);
  }
  std::string prefix = full + ".";
  std::vector<std::string> children;
  for (const ir::Variable& v : program.module.variables) {
    if (v.name.starts_with(prefix)) return Path{full};
    if (v.name.starts_with(path + ".")) children.push_back(v.name.substr(path.size() + 1, v.name.find('.', path.size() + 1) - path.size() - 1));
  }
  std::string near = nearest(name.text, children);
  std::vector<std::string> hints;
  if (!near.empty()) hints.push_back(fmt::format("did you mean `{}`?", near));
  if (children.empty()) hints.push_back(fmt::format("`{}` has no parameters before its first use", path));
  return fail(DiagnosticId::unknown_member, name.span, fmt::format("there is no `{}` in `{}`", name.text, path), "", {}, hints);
}

Value Elaborator::eval_member(const ast::Member& x, const Span& span, Env& env) {
  Value object = eval(*x.object, env);
  if (object.is<Poison>()) return object;
  if (auto* model = object.get<Model>()) return member_of_path(model->function->name.text, x.name, span);
  if (auto* layer = object.get<Layer>()) return member_of_path(layer->value->path, x.name, span);
  if (auto* path = object.get<Path>()) return member_of_path(path->text, x.name, span);
  if (auto* data = object.get<DataRef>()) {
    std::vector<std::string> names;
    for (const ast::Split& split : data->data->splits) {
      if (split.name.text == x.name.text) return DataSplit{data->data->name.text, split.name.text};
      names.push_back(split.name.text);
    }
    const bool text = std::any_of(data->data->splits.begin(), data->data->splits.end(), [](const ast::Split& split) { return split.kind == ast::SourceKind::text; });
    for (const auto& image : program.image.data)
      if (image->name == data->data->name.text && image->tokens) {
        if (x.name.text == "vocabulary") return static_cast<double>(image->tokens->size);
        names.emplace_back("vocabulary");
      }
    if (text && x.name.text == "vocabulary") return Poison{};   // what is wrong with it was told
    std::string near = nearest(x.name.text, names);
    return fail(DiagnosticId::unknown_member, x.name.span, fmt::format("`{}` has no split `{}`", data->data->name.text, x.name.text), "", {{data->data->name.span, "declared here"}},
                near.empty() ? std::vector<std::string>{} : std::vector<std::string>{fmt::format("did you mean `{}`?", near)});
  }
  return fail(DiagnosticId::unknown_member, x.name.span, fmt::format("{} has no member `{}`", kind_of(object), x.name.text));
}

std::string Elaborator::path_of(const ast::Expr& expr, Env& env) {
  if (auto* member = std::get_if<ast::Member>(&expr.node)) {
    std::string outer = path_of(*member->object, env);
    return outer.empty() ? "" : outer + "." + member->name.text;
  }
  Value value = eval(expr, env);
  if (auto* model = value.get<Model>()) return model->function->name.text;
  if (auto* layer = value.get<Layer>()) return layer->value->path;
  if (auto* path = value.get<Path>()) return path->text;
  if (!value.is<Poison>()) fail(DiagnosticId::wrong_kind, expr.span, fmt::format("a model or a part of one is needed here, this is {}", kind_of(value)));
  return "";
}

Value Elaborator::eval_index(const ast::Index& x, const Span& span, Env& env) {
  // normal[...] and uniform[...] are sources of random numbers whatever functions have these names.
  Value object;
  auto* name = std::get_if<ast::Name>(&x.object->node);
  if (name && name->text == "normal") object = RandomSource{RandomSource::Kind::normal, nullptr};
  else if (name && name->text == "uniform") object = RandomSource{RandomSource::Kind::uniform, nullptr};
  else object = eval(*x.object, env);
  if (object.is<Poison>()) return object;
  if (auto* source = object.get<RandomSource>()) {
    if (!out || !run) return fail(DiagnosticId::wrong_place, span, "random numbers are drawn inside models, layers and training only");
    ir::Shape shape;
    for (const ast::Subscript& s : x.subscripts) {
      if (s.range) return fail(DiagnosticId::bad_subscript, s.span, "a random tensor is given by its dimensions");
      Value extent = eval(*s.index, env);
      if (auto* set = extent.get<Set>())   // like the parameters
        return map_set({*set}, span, [&](const Values& v) -> Value {
          ir::Value like = node(v[0], span);
          return like.valid() ? random(*source, type(like).shape, span) : Poison{};
        });
      auto extents = fix_shape(extent, s.span, "a random tensor's shape");
      if (!extents) return Poison{};
      shape.insert(shape.end(), extents->begin(), extents->end());
    }
    return random(*source, shape, span);
  }
  if (auto* split = object.get<DataSplit>()) {
    DataSplit part = *split;
    if (x.subscripts.size() != 1 || !x.subscripts[0].range || x.subscripts[0].stride) return fail(DiagnosticId::bad_subscript, span, "a part of a split is written `data.split[0:1000]`");
    const ast::Subscript& s = x.subscripts[0];
    std::optional<int64_t> begin = s.begin ? fix_integer(eval(*s.begin, env), s.begin->span, "a sample's number") : 0;
    std::optional<int64_t> end = s.end ? fix_integer(eval(*s.end, env), s.end->span, "a sample's number") : -1;
    if (!begin || !end) return Poison{};
    part.last = *end < 0 ? part.last : part.first + *end;
    part.first += *begin;
    return part;
  }
  if (auto* set = object.get<Set>()) return map_set({*set}, span, [&](const Values& v) { return subscript(v[0], x, env, span); });   // of a history, say
  return subscript(object, x, env, span);
}

}  // namespace gradc::front
