// The table of built-in functions, how they get their arguments, and the arithmetic ones. Those that change shapes are in
// elaborate_builtins_shape.cpp.
#include "frontend/elaborate_builtins.h"

#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborate_optimizers.h"

namespace gradc::front {
using ir::ElementType;
using ir::Op;

namespace {
std::optional<bool> flag(BuiltinCall& c, size_t i, const char* name) {
  if (!c.given(i)) return false;
  return c.e.fix_flag(c[i], c.spans[i], fmt::format("`{}`", name));
}

template <Op op>
Value unary(BuiltinCall& c) { return c.e.map_unary(op, c[0], c.spans[0]); }

template <Op op>
Value binary(BuiltinCall& c) { return c.e.map_op(op, c[0], c[1], c.at, c.spans[0], c.spans[1]); }

template <Op op>
Value reduction(BuiltinCall& c) {
  auto keep = flag(c, 2, "keep");
  return keep ? c.e.reduce(op, c[0], c[1], *keep, c.at) : Value(Poison{});
}

// max(x), max(x, axis = 1), max(x, 1, keep = true) reduce; max(a, b) goes element by element.
template <Op op, Op reduce_op>
Value extremum(BuiltinCall& c) {
  auto keep = flag(c, 3, "keep");
  if (!keep) return Poison{};
  if (!c.given(1) || c.given(2)) return c.e.reduce(reduce_op, c[0], c[2], *keep, c.at);
  if (c.given(3)) return c.e.reduce(reduce_op, c[0], c[1], *keep, c.at);
  return c.e.map_op(op, c[0], c[1], c.at, c.spans[0], c.spans[1]);
}

Value power(BuiltinCall& c) { return c.e.power(c[0], c[1], c.at, c.spans[0], c.spans[1]); }
Value choose(BuiltinCall& c) { return c.e.where(c[0], c[1], c[2], c.at, c.spans); }
Value integer_quotient(BuiltinCall& c) {
  if (c[0].is<Number>() && c[1].is<Number>()) return scalar_map(Op::floor, {scalar_map(Op::div, {c[0], c[1]})});
  ir::Value a = c.e.node(c[0], c.spans[0], ElementType::i32), b = c.e.node(c[1], c.spans[1], ElementType::i32);
  if (!a.valid() || !b.valid()) return Poison{};
  if (!ir::is_integer(c.e.type(a).element) || !ir::is_integer(c.e.type(b).element))
    return c.e.fail(DiagnosticId::wrong_element_type, c.at, "`idiv` divides integers");
  return c.e.map_op(Op::idiv, c.e.tensor(a), c.e.tensor(b), c.at, c.spans[0], c.spans[1]);
}

Value argmin(BuiltinCall& c) {
  auto keep = flag(c, 2, "keep");
  return keep ? c.e.reduce(Op::argmax, c.e.map_unary(Op::neg, c[0], c.spans[0]), c[1], *keep, c.at) : Value(Poison{});
}

template <ElementType element>
Value cast_to(BuiltinCall& c) {
  if (c[0].is<Set>()) return c.e.fail(DiagnosticId::wrong_kind, c.at, "the parameters keep their element type");
  if (c[0].is<Number>() && ir::is_float(element)) return c[0];
  ir::Value v = c.e.node(c[0], c.spans[0], c[0].is<Flag>() || c[0].is<Number>() || c[0].is<Tensor>() ? ElementType::f32 : element);
  return v.valid() ? c.e.tensor(c.e.builder().cast(v, element)) : Value(Poison{});
}

Value cast(BuiltinCall& c) {
  auto* text = c[1].get<Text>();
  if (!text) return c.e.fail(DiagnosticId::wrong_kind, c.spans[1], "an element type is a text here: cast(x, \"f32\")");
  auto element = ir::element_from_name(text->text);
  if (!element) return c.e.fail(DiagnosticId::unknown_type, c.spans[1], fmt::format("`{}` is no element type", text->text), "", {}, {"element types are f32, f64, bf16, i32, i64, u8 and bool"});
  ir::Value v = c.e.node(c[0], c.spans[0]);
  return v.valid() ? c.e.tensor(c.e.builder().cast(v, *element)) : Value(Poison{});
}

Value stop_gradient(BuiltinCall& c) {
  if (c[0].is<Number>()) return c[0];
  if (c[0].is<Set>())
    return c.e.map_set({c[0]}, c.at, [&](const Values& v) -> Value {
      ir::Value x = c.e.node(v[0], c.at);
      return x.valid() ? c.e.tensor(c.e.builder().make(Op::stop_gradient, {x})) : Value(Poison{});
    });
  ir::Value v = c.e.node(c[0], c.spans[0]);
  return v.valid() ? c.e.tensor(c.e.builder().make(Op::stop_gradient, {v})) : Value(Poison{});
}

Value gradient(BuiltinCall& c) {
  Value target = c[1];
  if (target.is<Model>() || target.is<Path>()) {
    BuiltinCall whole{c.e, c.at, {make_list({target})}, {c.spans[1]}};
    target = find_builtin("params")->run(whole);
  }
  return c.e.gradient(c[0], target, c.at, c.spans[0], c.spans[1]);
}

Value params(BuiltinCall& c) {
  std::vector<std::string> paths;
  for (const Value& v : *c[0].get<List>()->items) {
    if (auto* model = v.get<Model>()) paths.push_back(model->function->name.text);
    else if (auto* layer = v.get<Layer>()) paths.push_back(layer->value->path);
    else if (auto* path = v.get<Path>()) paths.push_back(path->text);
    else return c.e.fail(DiagnosticId::wrong_kind, c.at, fmt::format("`params` takes models and their parts, this is {}", kind_of(v)));
  }
  if (!c.e.out) return c.e.fail(DiagnosticId::wrong_place, c.at, "parameters have values inside models and training only");
  auto set = std::make_shared<SetValue>(c.e.parameters_under(paths));
  if (set->names.empty()) return c.e.fail(DiagnosticId::unknown_member, c.at, "there are no parameters yet: the model has not been applied before this");
  return Set{set};
}

Value average(BuiltinCall& c) {
  auto* model = c[0].get<Model>();
  auto* path = c[0].get<Path>();
  if (!model && !path) return c.e.fail(DiagnosticId::wrong_kind, c.spans[0], fmt::format("`average` takes a model or a part of one, this is {}", kind_of(c[0])));
  if (!c.e.declaring()) return c.e.fail(DiagnosticId::wrong_place, c.at, "averages are declared beside the models, where training and exports see them", "", {}, {"`let smooth = average(net, 0.999)` at the level of the file"});
  auto decay = c.e.fix(c[1], c.spans[1], "the decay of an average");
  if (!decay) return Poison{};
  if (!(*decay > 0 && *decay < 1)) return c.e.fail(DiagnosticId::wrong_arguments, c.spans[1], fmt::format("the decay of an average lies between 0 and 1, this is {}", number_text(*decay)));
  return c.e.declare_average(model ? model->function->name.text : path->text, *decay, c.at);
}

// Texts, numbers and lists of numbers, one behind the other.
Value user_error(BuiltinCall& c) {
  std::string message;
  for (const Value& part : *c[0].get<List>()->items) {
    if (part.is<Poison>()) return part;
    if (auto* text = part.get<Text>()) {
      message += text->text;
    } else if (auto* number = part.get<Number>(); number && number->known) {
      message += number_text(number->value);
    } else if (part.is<List>()) {
      auto numbers = c.e.fix_integers(part, c.at, "what `error` says");
      if (!numbers) return Poison{};
      message += ir::to_string(*numbers);
    } else {
      return c.e.fail(DiagnosticId::wrong_kind, c.at, fmt::format("`error` takes texts, numbers and lists of them, this is {}", kind_of(part)));
    }
  }
  return c.e.fail(DiagnosticId::user_error, {}, message);
}

Value bernoulli(BuiltinCall& c) {
  if (!c[0].is<Number>() && !c[0].is<Tensor>()) return c.e.fail(DiagnosticId::wrong_kind, c.spans[0], fmt::format("a probability is a number, this is {}", kind_of(c[0])));
  return RandomSource{RandomSource::Kind::bernoulli, std::make_shared<const Value>(c[0])};
}

Value einsum(BuiltinCall& c) {
  auto* spec = c[0].get<Text>();
  if (!spec) return c.e.fail(DiagnosticId::wrong_kind, c.spans[0], "einsum begins with its form: einsum(\"mk,kn->mn\", a, b)");
  const Values& operands = *c[1].get<List>()->items;
  std::vector<Span> spans(c.spans.begin() + 1, c.spans.end());
  spans.resize(operands.size(), c.at);
  return c.e.einsum(spec->text, operands, c.at, spans);
}

Value grad_at(BuiltinCall& c) { return c.e.optimizer_point(c[0], true, c.spans[0], c.at); }
Value loss_at(BuiltinCall& c) { return c.e.optimizer_point(c[0], false, c.spans[0], c.at); }

#define UNARY(op) {#op, "x", unary<Op::op>}
constexpr Builtin table[] = {
  UNARY(exp), UNARY(log), UNARY(log1p), UNARY(sqrt), UNARY(rsqrt), UNARY(sin), UNARY(cos), UNARY(tanh), UNARY(erf), UNARY(sigmoid),
  UNARY(floor), UNARY(ceil), UNARY(round), UNARY(abs), UNARY(sign), UNARY(is_finite),
  {"pow", "x y", power}, {"idiv", "x y", integer_quotient}, {"rem", "x y", binary<Op::rem>},
  {"max", "x y? axis? keep?", extremum<Op::max, Op::reduce_max>}, {"min", "x y? axis? keep?", extremum<Op::min, Op::reduce_min>},
  {"where", "condition a b", choose},
  {"sum", "x axis? keep?", reduction<Op::reduce_sum>}, {"mean", "x axis? keep?", reduction<Op::reduce_mean>}, {"prod", "x axis? keep?", reduction<Op::reduce_prod>},
  {"product", "x axis? keep?", reduction<Op::reduce_prod>}, {"argmax", "x axis? keep?", reduction<Op::argmax>}, {"argmin", "x axis? keep?", argmin},
  {"cast", "x type", cast}, {"f32", "x", cast_to<ElementType::f32>}, {"f64", "x", cast_to<ElementType::f64>}, {"bf16", "x", cast_to<ElementType::bf16>},
  {"i32", "x", cast_to<ElementType::i32>}, {"i64", "x", cast_to<ElementType::i64>}, {"u8", "x", cast_to<ElementType::u8>},
  {"stop_gradient", "x", stop_gradient}, {"grad", "expression target", gradient}, {"params", "models*", params},
  {"grad_at", "parameters", grad_at}, {"loss_at", "parameters", loss_at},
  {"average", "model decay", average}, {"error", "parts*", user_error}, {"bernoulli", "p", bernoulli}, {"einsum", "form operands*", einsum},
};
#undef UNARY

std::vector<std::pair<std::string, char>> parameters_of(const Builtin& builtin) {
  std::vector<std::pair<std::string, char>> result;
  std::string word;
  for (char c : std::string(builtin.parameters) + " ") {
    if (c != ' ') {
      word += c;
      continue;
    }
    char mark = word.back();
    if (mark == '?' || mark == '*') word.pop_back();
    else mark = ' ';
    result.emplace_back(word, mark);
    word.clear();
  }
  return result;
}
}  // namespace

std::span<const Builtin> builtins() {
  static const std::vector<Builtin> all = [] {
    std::vector<Builtin> rows(std::begin(table), std::end(table));
    for (std::span<const Builtin> more : {shape_builtins(), window_builtins(), index_builtins(), loop_builtins()}) rows.insert(rows.end(), more.begin(), more.end());
    return rows;
  }();
  return all;
}

const Builtin* find_builtin(std::string_view name) {
  for (const Builtin& b : builtins())
    if (b.name == name) return &b;
  return nullptr;
}

// Views of sets are views of each entry: `stack([param, before])`. Arithmetic looks after sets by itself, and sums range over all of one.
static Value on_sets(const Builtin& builtin, BuiltinCall& c) {
  std::span<const Builtin> views = shape_builtins();
  Values sets;
  auto collect = [&](const Value& v) { if (v.is<Set>()) sets.push_back(v); };
  for (const Value& v : c.values) {
    collect(v);
    if (auto* list = v.get<List>()) std::for_each(list->items->begin(), list->items->end(), collect);
  }
  const bool view = std::any_of(views.begin(), views.end(), [&](const Builtin& b) { return b.name == builtin.name; });
  if (sets.empty() || !view) return builtin.run(c);
  return c.e.map_set(sets, c.at, [&](const Values& entries) {
    BuiltinCall each = c;
    size_t next = 0;
    auto replace = [&](Value& v) { if (v.is<Set>()) v = entries[next++]; };
    for (Value& v : each.values) {
      replace(v);
      if (auto* list = v.get<List>()) {
        Values items = *list->items;
        std::for_each(items.begin(), items.end(), replace);
        v = make_list(std::move(items));
      }
    }
    return builtin.run(each);
  });
}

Value Elaborator::call_builtin(const Builtin& builtin, Args args, const Span& span) {
  auto parameters = parameters_of(builtin);
  BuiltinCall c{*this, span, {}, {}};
  c.values.assign(parameters.size(), Nothing{});
  c.spans.assign(parameters.size(), span);
  std::string usage = fmt::format("{}({})", builtin.name, [&] {
    std::string list;
    for (const auto& [name, mark] : parameters) list += (list.empty() ? "" : ", ") + name + (mark == '*' ? "..." : mark == '?' ? "?" : "");
    return list;
  }());
  auto wrong = [&](const Span& at, const std::string& message) { return fail(DiagnosticId::wrong_arguments, at, message, "", {}, {fmt::format("it is `{}`", usage)}); };
  bool variadic = parameters.back().second == '*';
  Values rest;
  std::vector<Span> rest_spans;
  size_t next = 0;
  for (const Arg& arg : args) {
    if (arg.value.is<Poison>()) c.poisoned = true;
    size_t i = 0;
    if (arg.name.empty()) {
      i = next++;
      if (variadic && i >= parameters.size() - 1) {
        rest.push_back(arg.value);
        rest_spans.push_back(arg.span);
        continue;
      }
      if (i >= parameters.size()) return wrong(arg.span, fmt::format("`{}` takes at most {} argument{}", builtin.name, parameters.size(), parameters.size() == 1 ? "" : "s"));
    } else {
      while (i < parameters.size() && parameters[i].first != arg.name) ++i;
      if (i == parameters.size()) return wrong(arg.name_span, fmt::format("`{}` has no parameter `{}`", builtin.name, arg.name));
      if (!c.values[i].is<Nothing>()) return wrong(arg.span, fmt::format("`{}` is given twice", arg.name));
    }
    if (arg.value.is<Nothing>()) return fail(DiagnosticId::wrong_kind, arg.span, "this gives no value");
    c.values[i] = arg.value;
    c.spans[i] = arg.span;
  }
  if (c.poisoned) return Poison{};
  if (variadic) {
    c.values.back() = make_list(rest);
    c.spans.pop_back();
    c.spans.insert(c.spans.end(), rest_spans.begin(), rest_spans.end());
  }
  for (size_t i = 0; i < parameters.size(); ++i)
    if (parameters[i].second == ' ' && c.values[i].is<Nothing>()) return wrong(span, fmt::format("`{}` is called without `{}`", builtin.name, parameters[i].first));
  return on_sets(builtin, c);
}

}  // namespace gradc::front
