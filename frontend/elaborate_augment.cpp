// `augment` in data: a function of its own, from the fields of some samples to those that it assigns, which the reader of the training data runs.
// Its random numbers belong to the place in the epoch's order (`row`), the number of the epoch (`step`) and the seed. It is compiled for fewer samples
// than a batch has, so that what it computes with stays in cache.
#include <fmt/format.h>

#include "frontend/elaborator.h"

namespace gradc::front {

// Samples of one call: few, and no waste at the end of a batch if that can be had.
static int64_t augmented_at_once(int64_t rows) {
  constexpr int64_t most = 32, least = 8;
  for (int64_t n = std::min(rows, most); n >= least; --n)
    if (rows % n == 0) return n;
  return std::min(rows, most);
}

void Elaborator::elaborate_augment(const ast::Data& data, int64_t rows, const std::string& name) {
  rows = augmented_at_once(rows);
  Emission& emission = new_emission(name);
  emission.rows = rows;
  Evaluation evaluation;
  evaluation.training = true;
  evaluation.key = name;
  Scoped<Emission*> to(out, &emission);
  Scoped<Evaluation*> as(run, &evaluation);
  Scoped<std::vector<Frame>> no_layers(frames, {});
  Scoped<bool> no_assignments(pure, true);
  Scoped<std::vector<const std::set<std::string>*>> marks(targets, {&gradient_targets(&data, *data.augment)});
  Env& fields = new_env(data_scopes_.at(&data));
  fields.names["batch"] = Binding{static_cast<double>(rows), data.name.span};
  for (const ast::Parameter& field : data.fields) {
    auto type = field_type(field, data);
    if (!type) return;
    type->shape.insert(type->shape.begin(), rows);
    emission.builder.loc = location(field.span);
    Binding& binding = fields.names[field.name.text] = Binding{tensor(input(field.name.text, *type)), field.name.span};
    binding.written = Binding::Written::field;
    binding.path = field.name.text;
  }
  run_statements(*data.augment, new_env(&fields));
  for (const ast::Parameter& field : data.fields) {
    auto* value = fields.names[field.name.text].value.get<Tensor>();
    if (value && value->node != emission.inputs.at(field.name.text)) emission.function.results.push_back({field.name.text, value->node, false});
  }
  if (emission.function.results.empty()) return void(diagnostics.failed() ? Value() : fail(DiagnosticId::bad_data, data.augment->span, "this assigns no field", "", {}, {"`image <- random_flip(image)`"}));
  emission.function.prune();
  finished.push_back(&emission);
}

// The field keeps its type: what is computed in floating point is rounded, and limited to what a u8 holds.
void Elaborator::assign_field(Binding& binding, const Value& value, const Span& span) {
  if (value.is<Poison>() || binding.value.is<Poison>()) return;
  const ir::Type wanted = type(*binding.value.get<Tensor>());
  ir::Value v = value.is<Number>() ? number_like(value, wanted) : node(value, span, wanted.element);
  if (!v.valid()) return;
  const ir::Type given = type(v);
  if (given.shape != wanted.shape)
    return void(fail(DiagnosticId::shape_mismatch, span, fmt::format("the field `{}` is {} for these samples, but this is {}", binding.path, ir::to_string(wanted), ir::to_string(given))));
  if (given.element == wanted.element) return void(binding.value = tensor(v));
  if (given.element == ir::ElementType::boolean || wanted.element == ir::ElementType::boolean)
    return void(fail(DiagnosticId::wrong_element_type, span, fmt::format("the field `{}` is {}, but this is {}", binding.path, ir::to_string(wanted), ir::to_string(given))));
  if (ir::is_float(given.element) && !ir::is_float(wanted.element)) v = builder().make(ir::Op::round, {v});
  if (wanted.element == ir::ElementType::u8) {
    v = builder().make(ir::Op::max, {v, builder().constant(0, given)});
    v = builder().make(ir::Op::min, {v, builder().constant(255, given)});
  }
  binding.value = tensor(builder().cast(v, wanted.element));
}

}  // namespace gradc::front
