// grad(expression, target): one `grad` node for each target tensor. The passes expand them; here it is made sure that there is
// something to expand. A name that is differentiated by is a mark from the moment it is bound: what is computed from it later
// sees the mark, so that the derivative is the partial one by that name and nothing behind it.
#include <fmt/format.h>

#include "frontend/elaborator.h"

namespace gradc::front {
using ir::Op;

Value Elaborator::mark(const Value& value) {
  auto* t = value.get<Tensor>();
  if (!t || !out || t->emission != out->id || !ir::is_float(type(*t).element)) return value;
  return tensor(builder().make(Op::mark, {t->node}));
}

std::vector<bool> Elaborator::reached(ir::Value root) const {
  std::vector<bool> seen(out->function.size());
  std::vector<ir::Value> stack = {root};
  while (!stack.empty()) {
    ir::Value v = stack.back();
    stack.pop_back();
    const ir::Node& node = out->function[v];
    // Integers and bools have no cotangent; stop_gradient ends it.
    bool tuple = ir::info(node.op).traits & ir::tuple;
    if (seen[v.id] || (!tuple && !ir::is_float(node.type.element)) || node.op == Op::stop_gradient) continue;
    seen[v.id] = true;
    stack.insert(stack.end(), node.operands.begin(), node.operands.end());
  }
  return seen;
}

Value Elaborator::gradient(const Value& expression, const Value& target, const Span& at, const Span& expression_span, const Span& target_span) {
  if (expression.is<Poison>() || target.is<Poison>()) return Poison{};
  if (!expression.is<Tensor>())
    return fail(DiagnosticId::gradient_not_scalar, expression_span, fmt::format("only a scalar tensor can be differentiated, this is {}", kind_of(expression)));
  ir::Value e = node(expression, expression_span);
  if (!e.valid()) return Poison{};
  if (type(e).rank() != 0 || !ir::is_float(type(e).element))
    return fail(DiagnosticId::gradient_not_scalar, expression_span, fmt::format("only a floating-point scalar can be differentiated, this is {}", ir::to_string(type(e))), "", {},
                {"`sum(...)` or `mean(...)` makes a scalar"});
  if (auto* list = target.get<List>() ? target.get<List>()->items.get() : target.get<Tuple>() ? target.get<Tuple>()->items.get() : nullptr) {
    Values results;
    for (const Value& item : *list) results.push_back(gradient(expression, item, at, expression_span, target_span));
    return target.is<List>() ? make_list(std::move(results)) : make_tuple(std::move(results));
  }
  if (auto* set = target.get<Set>()) {
    auto result = std::make_shared<SetValue>();
    result->names = set->value->names;
    std::vector<bool> reach = reached(e);
    for (size_t i = 0; i < set->value->names.size(); ++i) {
      ir::Value t = node(set->value->entries[i], target_span);
      if (!t.valid()) return Poison{};
      if (!reach[t.id]) return fail(DiagnosticId::gradient_unreached, target_span, fmt::format("the expression does not depend on the parameter `{}`", set->value->names[i]));
      result->entries.push_back(tensor(builder().make(Op::grad, {e, t})));
    }
    return Set{result};
  }
  if (!target.is<Tensor>()) return fail(DiagnosticId::wrong_kind, target_span, fmt::format("there is no derivative by {}", kind_of(target)));
  ir::Value t = node(target, target_span);
  if (!t.valid()) return Poison{};
  if (!ir::is_float(type(t).element))
    return fail(DiagnosticId::gradient_by_integer, target_span, fmt::format("there is no derivative by {}: integers and bools have none", ir::to_string(type(t))), "", {}, {"cast first, `let x = f32(image)`, and use x where the expression is computed"});
  if (!reached(e)[t.id])
    return fail(DiagnosticId::gradient_unreached, target_span, "the expression does not depend on this", "", {{expression_span, "differentiated here"}},
                {"a name is differentiated by as it was bound; comparisons, integers and `stop_gradient` end the path"});
  return tensor(builder().make(Op::grad, {e, t}));
}

}  // namespace gradc::front
