// Exports: functions that the compiled program offers to others. The number of samples is free when the program runs; it is
// compiled for a few sizes of chunks, and the largest that fits is taken.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborator.h"

namespace gradc::front {

void Elaborator::elaborate_export(const ast::Function& function, const Span& span, Env& scope) {
  auto image = std::make_unique<program::ExportT>();
  image->name = function.name.text;
  image->line = line_text(span);
  for (const auto& other : program.image.exports)
    if (other->name == image->name) return void(fail(DiagnosticId::duplicate_name, function.name.span, fmt::format("there are two exports `{}`", image->name)));
  // The sample axis is the first dimension of the first parameter, by name.
  std::string samples;
  for (const ast::Parameter& p : function.parameters) {
    if (!p.type) return void(fail(DiagnosticId::bad_export, p.span, fmt::format("`{}` of the export `{}` has no type", p.name.text, image->name), "", {}, {"`image: f32[n, 28, 28]`"}));
    const ast::Name* name = p.type->shape.empty() || !p.type->shape[0].size ? nullptr : std::get_if<ast::Name>(&p.type->shape[0].size->node);
    Binding* known = name ? scope.find(name->text) : nullptr;
    bool free = name && !(known && known->value.is<Number>());
    if (!free || (!samples.empty() && name->text != samples))
      return void(fail(DiagnosticId::bad_export, p.span, fmt::format("the first dimension of `{}` must be the number of samples, a name like `n`{}", p.name.text, samples.empty() ? "" : fmt::format("; `{}` is that already", samples))));
    samples = name->text;
  }
  if (samples.empty()) return void(fail(DiagnosticId::bad_export, function.name.span, fmt::format("the export `{}` has no parameter", image->name), "", {}, {"`export predict(x: f32[n, 4]) = net(x)`"}));

  if (function.steps) {
    auto steps = fix_integer(eval(*function.steps, scope), function.steps->span, "the number of steps");
    if (!steps) return;
    if (*steps < 1) return void(fail(DiagnosticId::bad_export, function.steps->span, fmt::format("an export is for at least one step, not {}", *steps)));
    image->steps = *steps;
  }
  std::vector<int64_t> sizes = options.export_rows;
  if (image->steps > 0) sizes = {1};   // samples come one after the other
  std::sort(sizes.rbegin(), sizes.rend());   // the largest first: mistakes show better where n is not 1
  for (int64_t rows : sizes) {
    Emission& emission = new_emission(fmt::format("export.{}.{}", image->name, rows));
    emission.rows = rows;
    Evaluation evaluation;
    evaluation.key = "export." + image->name;
    evaluation.steps = image->steps;
    Scoped<Emission*> to(out, &emission);
    Scoped<Evaluation*> as(run, &evaluation);
    Scoped<std::vector<Frame>> frame(frames, {Frame{}});
    Scoped<std::vector<const std::set<std::string>*>> marks(targets, {&gradient_targets(&function, function.body)});
    Env& env = new_env(&scope);
    env.names[samples] = Binding{static_cast<double>(rows), span};
    std::vector<std::unique_ptr<program::FieldT>> inputs, outputs;
    for (const ast::Parameter& p : function.parameters) {
      auto type = declared_type(*p.type, env);
      if (!type) return;
      emission.builder.loc = location(p.span);
      bind(env, p.name, tensor(input(p.name.text, *type)));
      type->shape.erase(type->shape.begin());
      inputs.push_back(field_image(p, *type));
    }
    Value value = run_body(function, env, span);
    if (value.is<Poison>()) return;
    Values results = {value};
    bool several = value.is<Tuple>();
    if (several) results = *value.get<Tuple>()->items;
    Span at = function.body.statements.empty() ? span : function.body.statements.back()->span;
    const ast::Tuple* written = nullptr;
    if (!function.body.statements.empty())
      if (auto* last = std::get_if<ast::Evaluate>(&function.body.statements.back()->node)) written = std::get_if<ast::Tuple>(&last->value->node);
    for (size_t i = 0; i < results.size(); ++i) {
      if (results[i].is<Poison>()) return;
      if (!results[i].is<Tensor>()) return void(fail(DiagnosticId::bad_export, at, fmt::format("an export gives tensors, this is {}", kind_of(results[i]))));
      ir::Value v = node(results[i], at);
      if (!v.valid()) return;
      const ir::Type type = this->type(v);
      if (type.rank() == 0 || type.shape[0] != rows)
        return void(fail(DiagnosticId::bad_export, at, fmt::format("the first dimension of the result must be `{}`, the samples; with {} = {} this is {}", samples, samples, rows, ir::to_string(type)), "", {},
                         {"a value for each sample is needed: figures over all of them are `report`s"}));
      std::string name = image->name;
      if (several) {
        name = fmt::format("{}.{}", image->name, i);
        if (written && i < written->items.size())
          if (auto* item = std::get_if<ast::Name>(&written->items[i]->node)) name = item->text;
      }
      emission.function.results.push_back({name, v, false});
      auto field = std::make_unique<program::FieldT>();
      field->name = name;
      field->type = std::make_unique<program::TensorTypeT>();
      field->type->element = static_cast<program::ElementType>(type.element);
      field->type->shape.assign(type.shape.begin() + 1, type.shape.end());
      outputs.push_back(std::move(field));
    }
    for (const std::string& path : evaluation.assigned_order)   // states stay as they are: nothing is trained here
      if (const ir::Variable* v = program.module.variable(path); v->kind == ir::VariableKind::session)
        emission.function.results.push_back({path, evaluation.assigned[path].get<Tensor>()->node, true});
    emission.function.prune();
    finished.push_back(&emission);
    auto entry = std::make_unique<program::ExportEntryT>();
    entry->rows = rows;
    entry->entry = emission.function.name;
    image->entries.insert(image->entries.begin(), std::move(entry));
    if (image->inputs.empty()) {
      image->inputs = std::move(inputs);
      image->outputs = std::move(outputs);
    }
  }
  program.image.exports.push_back(std::move(image));
}

}  // namespace gradc::front
