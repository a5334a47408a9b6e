// The functions that train: one per step and optimizer, or with chunks two, `accumulate` and `apply`.
//
// With chunks the optimizer's body is run twice. In `accumulate` the k-th gradient that it asks for is added, weighted by the
// chunk's samples, to accumulators, and what it assigns is dropped; in `apply` the k-th gradient is the accumulated sum over the
// number of samples. That works as long as no point depends on a gradient of the same step.
#include <fmt/format.h>

#include <deque>
#include <numeric>

#include "frontend/elaborate_train.h"

namespace gradc::front {
using ir::ElementType;
using ir::Op;

namespace {
bool same_point(const SetValue& a, const SetValue& b) {
  for (size_t i = 0; i < a.entries.size(); ++i) {
    auto* x = a.entries[i].get<Tensor>();
    auto* y = b.entries[i].get<Tensor>();
    if (!x || !y || x->node != y->node) return false;
  }
  return a.names == b.names;
}
}  // namespace

// A step that reads nothing of the samples takes no batch: fields that it does not use are no inputs of it.
void TrainElaborator::finish(ir::Function& function) const {
  function.prune();
  if (!fields_ || chunks_) return;
  const std::vector<std::vector<ir::Value>> users = function.users();
  std::vector<ir::Value> map(function.size());
  std::vector<ir::Node> kept;
  std::vector<bool> given(function.size());
  for (const ir::Result& r : function.results) given[r.value.id] = true;
  for (uint32_t i = 0; i < function.size(); ++i) {
    ir::Node& node = function.nodes[i];
    const bool field = node.op == Op::input && std::any_of(fields_->fields.begin(), fields_->fields.end(), [&](const ast::Parameter& f) { return f.name.text == node.attrs.text(ir::Attr::name); });
    if (field && users[i].empty() && !given[i]) continue;
    for (ir::Value& operand : node.operands) operand = map[operand.id];
    map[i] = ir::Value{static_cast<uint32_t>(kept.size())};
    kept.push_back(std::move(node));
  }
  function.nodes = std::move(kept);
  for (ir::Result& r : function.results) r.value = map[r.value.id];
}

bool TrainElaborator::is_part(const std::string& path, const Span& span, std::string_view clause) {
  const std::string model = path.substr(0, path.find('.'));
  bool applied = false;
  const std::string parent = path.substr(0, path.rfind('.') == path.npos ? 0 : path.rfind('.') + 1);
  std::vector<std::string> siblings;
  for (const ir::Variable& v : e_.program.module.variables) {
    if (v.name == path || v.name.starts_with(path + ".")) return true;
    applied = applied || v.name.starts_with(model + ".");
    if (!v.name.starts_with(parent)) continue;
    std::string sibling = v.name.substr(0, v.name.find('.', parent.size()));
    if (std::find(siblings.begin(), siblings.end(), sibling) == siblings.end()) siblings.push_back(sibling);
  }
  std::vector<std::string> hints;
  if (std::string near = nearest(path, siblings); !near.empty()) hints.push_back(fmt::format("did you mean `{}`?", near));
  else if (!siblings.empty()) hints.push_back(fmt::format("there {} `{}`", siblings.size() == 1 ? "is" : "are", fmt::join(siblings, "`, `")));
  else if (!applied) hints.push_back(fmt::format("`{}` has no parameters before its first use, and nothing has applied it yet", model));
  e_.fail(DiagnosticId::unknown_member, span, fmt::format("`{} {}` names no parameter", clause, path), "", {}, hints);
  return false;
}

std::shared_ptr<const SetValue> TrainElaborator::choose_parameters(const Found& found, Evaluation& evaluation) {
  auto set = std::make_shared<SetValue>();
  std::vector<std::string> unreached;
  std::vector<bool> reached = e_.reached(found.loss.get<Tensor>()->node);
  auto frozen = [&](const std::string& name) {
    for (const Frozen& f : evaluation.frozen)
      if (name == f.path || name.starts_with(f.path + ".")) return true;
    return false;
  };
  for (const Frozen& f : evaluation.frozen) is_part(f.path, f.span, "freeze");
  for (size_t i = 0; i < found.over.size(); ++i)
    if (!is_part(found.over[i], found.over_spans[i], "over")) return nullptr;
  for (ir::Variable& v : e_.program.module.variables) {
    if (v.kind != ir::VariableKind::parameter) continue;
    if (frozen(v.name)) {
      v.frozen = !e_.several_trains && !several_steps_;   // another block or step may train it
      continue;
    }
    auto read = e_.out->variables.find(v.name);
    bool depends = read != e_.out->variables.end() && reached[read->second.id];
    bool under = found.over.empty();
    for (const std::string& path : found.over) under = under || v.name == path || v.name.starts_with(path + ".");
    if (!under || (found.over.empty() && !depends)) continue;
    if (!depends) {
      unreached.push_back(v.name);
      continue;
    }
    set->names.push_back(v.name);
    set->entries.push_back(e_.tensor(read->second));
  }
  if (!set->names.empty() && unreached.empty()) return set;
  if (!set->names.empty()) {
    e_.fail(DiagnosticId::gradient_unreached, found.loss_span, fmt::format("the loss does not depend on the parameter `{}`", unreached[0]), "", {},
            {fmt::format("`freeze {}` leaves it as it is", unreached[0])});
    return nullptr;
  }
  std::vector<std::string> hints;
  if (!evaluation.touched.empty()) hints.push_back("comparisons, `step`, integers, `stop_gradient` and `freeze` end the path from the loss to the parameters");
  std::vector<Label> labels;
  if (!found.over.empty()) labels.push_back({found.over_spans[0], unreached.empty() ? "all of this is frozen" : "the loss does not depend on this"});
  e_.fail(DiagnosticId::gradient_unreached, found.loss_span, found.over.empty() ? "the loss depends on no parameter that could be trained" : fmt::format("this step trains nothing: its loss depends on no parameter of `{}` that could be trained", fmt::join(found.over, "`, `")),
          "", labels, hints);
  return nullptr;
}

std::string TrainElaborator::accumulator(const StepPlan& plan, const std::string& name, const ir::Type& type) {
  std::string full = "accumulated/" + (plan.prefix == "train" ? "" : plan.prefix.substr(6) + "/") + name;
  if (!e_.program.module.variable(full)) e_.program.module.variables.push_back({full, type, ir::VariableKind::accumulator, false, e_.location(span_)});
  return full;
}

void TrainElaborator::write_states(const Found& found, const Evaluation& evaluation, const SetValue* parameters) {
  for (const std::string& path : evaluation.assigned_order) {
    bool ours = found.over.empty();   // models outside of `over` keep their states
    for (const std::string& over : found.over) ours = ours || path == over || path.starts_with(over + ".");
    if (!ours) continue;
    const Span& at = evaluation.assigned_at.at(path);
    bool trained = false;
    for (size_t i = 0; parameters && i < parameters->names.size(); ++i) trained = trained || parameters->names[i] == path;
    if (trained) {
      e_.fail(DiagnosticId::bad_training, at, fmt::format("`{}` is trained by `minimize` and cannot be assigned as well", path), "", {{found.minimize_span, "trained here"}}, {fmt::format("`freeze {}`", path)});
      continue;
    }
    auto* t = evaluation.assigned.at(path).get<Tensor>();
    if (!t) continue;
    e_.out->function.results.push_back({path, t->node, true});
    e_.write_averages(path, t->node);
  }
}

bool TrainElaborator::build_function(const StepPlan& plan, const Recipe& recipe, Half half, const std::string& name, Emission& first_values, std::map<std::string, program::HyperT>& hypers) {
  Emission& emission = e_.new_emission(name);
  emission.rows = half == Half::apply ? 0 : rows_;
  Scoped<Emission*> to(e_.out, &emission);
  ir::Builder& b = emission.builder;
  Found found;
  auto base = std::make_shared<Evaluation>();
  base->training = true;
  std::shared_ptr<const SetValue> parameters;
  if (half == Half::apply) {
    auto set = std::make_shared<SetValue>();
    set->names = chosen_;
    for (const std::string& p : chosen_) set->entries.push_back(e_.tensor(e_.variable(p)));
    parameters = set;
  } else {
    found = run_block(plan, *base, false);
    if (!check_loss(found)) return false;
    parameters = choose_parameters(found, *base);
    if (!parameters) return false;
    chosen_ = parameters->names;
  }

  struct Point {
    std::shared_ptr<const SetValue> at, targets;   // where; the marks that stand for it in the loss
    std::shared_ptr<Evaluation> evaluation;
    ir::Value loss;
    bool differentiated = false;
    Value gradient;
  };
  std::deque<Point> points;   // pointers into it are kept
  std::vector<std::string> accumulators;
  ir::Loc here = e_.location(recipe.value->span.known() ? recipe.value->span : found.minimize_span);
  here.role = ir::Loc::Role::update;
  ir::Value samples;
  auto over_count = [&](const std::string& variable) {
    if (!samples.valid()) samples = b.cast(e_.input("count", {ElementType::f64, {}}), ElementType::f32);
    return b.map(Op::div, {e_.variable(variable), samples});
  };
  auto point_at = [&](const Value& where) -> Point* {
    auto* set = where.get<Set>();
    if (!set) return nullptr;
    for (Point& p : points)
      if (same_point(*p.at, *set->value)) return &p;
    Point p;
    p.at = set->value;
    if (half == Half::apply) {
      points.push_back(std::move(p));
      return &points.back();
    }
    if (same_point(*set->value, *parameters)) {
      p.targets = parameters;
      p.evaluation = base;
      p.loss = found.loss.get<Tensor>()->node;
    } else {
      auto marked = std::make_shared<SetValue>();
      marked->names = set->value->names;
      for (size_t i = 0; i < marked->names.size(); ++i) {
        ir::Value v = e_.coerce(set->value->entries[i], e_.program.module.variable(marked->names[i])->type, span_, "a point");
        if (!v.valid()) return nullptr;
        marked->entries.push_back(e_.mark(e_.tensor(v)));
      }
      p.targets = marked;
      p.evaluation = std::make_shared<Evaluation>();
      p.evaluation->training = true;
      p.evaluation->substitutions = {p.targets.get()};
      Found again = run_block(plan, *p.evaluation, false);
      if (!check_loss(again)) return nullptr;
      p.loss = again.loss.get<Tensor>()->node;
    }
    points.push_back(std::move(p));
    return &points.back();
  };

  std::map<std::string, ir::Value> writes;
  OptimizerRun update;
  update.recipe = recipe.value.get();
  update.path = name.substr(name.find('.') + 1);
  update.first_values = &first_values;
  update.parameters = chosen_;
  update.writes = &writes;
  update.hypers = &hypers;
  update.gradient = [&](const Value& where, const Span& at) -> Value {
    if (where.is<Poison>()) return Poison{};
    Point* p = point_at(where);
    if (!p) return Poison{};
    if (p->differentiated) return p->gradient;
    size_t index = 0;
    for (const Point& other : points) index += other.differentiated;
    p->differentiated = true;
    auto result = std::make_shared<SetValue>();
    result->names = chosen_;
    if (half == Half::accumulate) {
      // The point must be known before the first chunk.
      for (const Value& entry : p->at->entries) {
        std::vector<bool> from = e_.reached(e_.node(entry, at));
        for (const Point& other : points)
          if (auto* g = other.gradient.get<Set>())
            for (const Value& v : g->value->entries)
              if (from[v.get<Tensor>()->node.id])
                return e_.fail(DiagnosticId::not_supported, at, "a gradient at a point that depends on another gradient of the same step needs the data twice: not with `batch all` or `accumulate`");
      }
    }
    ir::Loc outer = b.loc;
    b.loc = e_.location(found.loss_span.known() ? found.loss_span : span_);
    for (size_t i = 0; i < chosen_.size(); ++i) {
      ir::Type type = e_.program.module.variable(chosen_[i])->type;
      std::string sum = chunks_ ? accumulator(plan, fmt::format("{}/{}", index, chosen_[i]), type) : "";
      if (half == Half::apply) {
        result->entries.push_back(e_.tensor(over_count(sum)));
        accumulators.push_back(sum);
        continue;
      }
      ir::Value target = p->targets->entries[i].get<Tensor>()->node;
      if (!e_.reached(p->loss)[target.id]) return e_.fail(DiagnosticId::gradient_unreached, at, fmt::format("the loss does not depend on the parameter `{}` there", chosen_[i]));
      ir::Value g = b.make(Op::grad, {p->loss, target});
      result->entries.push_back(e_.tensor(g));
      if (half == Half::accumulate) {
        ir::Value weight = b.cast(e_.input("valid", {ElementType::i64, {}}), ElementType::f32);
        emission.function.results.push_back({sum, b.make(Op::add, {e_.variable(sum), b.map(Op::mul, {g, weight})}), true});
      }
    }
    b.loc = outer;
    p->gradient = Set{result};
    return p->gradient;
  };
  update.loss = [&](const Value& where, const Span& at) -> Value {
    if (where.is<Poison>()) return Poison{};
    Point* p = point_at(where);
    if (!p) return Poison{};
    if (chunks_) {
      bool here_only = same_point(*p->at, *parameters);
      if (!here_only) return e_.fail(DiagnosticId::not_supported, at, "`loss_at` another point is not there with `batch all` or `accumulate`");
      if (half == Half::apply) return e_.tensor(over_count(accumulator(plan, "loss", {ElementType::f32, {}})));
    }
    return e_.tensor(p->loss);
  };

  Evaluation of_update;
  of_update.training = true;
  of_update.key = plan.prefix + "/update";
  Value after;
  {
    Scoped<Evaluation*> as(e_.run, &of_update);
    Scoped<OptimizerRun*> now(e_.optimizing, &update);
    Scoped<bool> time(e_.in_step, true);
    Scoped<ir::Loc> at(b.loc, here);
    e_.calls.push_back(recipe.value->span.known() ? recipe.value->span : span_);
    bool bound = e_.bind_recipe(update, Set{parameters});
    if (bound) e_.run_statements(recipe.value->function->body, *update.env);
    if (bound) after = update.env->names["param"].value;
    e_.calls.pop_back();
  }
  auto* moved = after.get<Set>();
  if (!moved) return false;
  if (points.empty() && half != Half::apply) {
    e_.fail(DiagnosticId::bad_training, recipe.value->span, fmt::format("the optimizer `{}` uses no gradient", recipe.value->name));
    return false;
  }

  auto& results = emission.function.results;
  Scoped<ir::Loc> at(b.loc, here);
  std::string loss_sum = chunks_ ? accumulator(plan, "loss", {ElementType::f32, {}}) : "";
  if (half != Half::apply) {
    // What is logged comes from the parameters themselves if the optimizer looks there at all.
    const Point* logged = &points[0];
    for (const Point& p : points)
      if (p.evaluation == base) logged = &p;
    results.insert(results.begin(), {"loss", logged->loss, false});
    write_states(found, *logged->evaluation, parameters.get());
    if (half == Half::accumulate) {
      ir::Value weight = b.cast(e_.input("valid", {ElementType::i64, {}}), ElementType::f32);
      results.push_back({loss_sum, b.make(Op::add, {e_.variable(loss_sum), b.make(Op::mul, {b.cast(logged->loss, ElementType::f32), weight})}), true});
    }
  } else {
    results.push_back({"loss", over_count(loss_sum), false});
    accumulators.push_back(loss_sum);
  }
  if (half != Half::accumulate) {
    bool any = false;
    for (size_t i = 0; i < chosen_.size(); ++i) {
      ir::Value v = moved->value->entries[i].get<Tensor>()->node;
      if (v == parameters->entries[i].get<Tensor>()->node) continue;
      any = true;
      results.push_back({chosen_[i], v, true});
      e_.write_averages(chosen_[i], v);
    }
    if (!any) e_.fail(DiagnosticId::bad_training, recipe.value->function->name.span, fmt::format("the optimizer `{}` never assigns `param`", recipe.value->name));
    for (const auto& [variable, v] : writes) results.push_back({variable, v, true});
  }
  // What is logged as the learning rate, if it is not the same in every step: the optimizer's own, or that of the one inside.
  if (half != Half::accumulate) {
    auto rate = update.scheduled.find(update.path + ".lr");
    if (rate == update.scheduled.end()) rate = std::find_if(update.scheduled.begin(), update.scheduled.end(), [](const auto& each) { return each.first.ends_with(".lr"); });
    if (rate != update.scheduled.end()) results.push_back({"lr", e_.materialise(rate->second), false});
  }
  if (half == Half::apply)
    for (const std::string& sum : accumulators) results.push_back({sum, b.constant(0, e_.program.module.variable(sum)->type), true});
  finish(emission.function);
  e_.finished.push_back(&emission);
  return true;
}

void TrainElaborator::build_step(const StepPlan& plan, const Recipe& recipe, program::TrainStepT& step) {
  std::string tag = (plan.prefix == "train" ? "" : plan.prefix.substr(6) + ".") + recipe.value->name;
  Emission& first_values = e_.new_emission("init." + tag);
  first_values.initial = true;
  std::map<std::string, program::HyperT> hypers;
  auto image = std::make_unique<program::OptimizerT>();
  image->name = recipe.value->name;
  size_t init_at = e_.finished.size();
  if (chunks_) {
    image->step = "accumulate." + tag;
    image->apply = "apply." + tag;
    if (!build_function(plan, recipe, Half::accumulate, image->step, first_values, hypers)) return;
    if (!build_function(plan, recipe, Half::apply, image->apply, first_values, hypers)) return;
  } else {
    image->step = "train." + tag;
    if (!build_function(plan, recipe, Half::whole, image->step, first_values, hypers)) return;
  }
  if (!first_values.function.results.empty()) {
    first_values.function.prune();
    image->init = first_values.function.name;
    e_.finished.insert(e_.finished.begin() + static_cast<int64_t>(init_at), &first_values);
  }
  // --lr: the optimizer's own, or that of the one inside; a config value if the file says so.
  for (const auto& [name, hyper] : hypers)
    if (name == tag + ".lr") image->lr = name;
  for (const auto& [name, hyper] : hypers)
    if (image->lr.empty() && name.ends_with(".lr")) image->lr = name;
  if (auto given = recipe.value->given.find("lr"); image->lr.empty() && given != recipe.value->given.end())
    if (auto* number = given->second.get<Number>(); number && number->run && number->run->op == Op::input) image->lr = number->run->input;
  for (auto& [name, hyper] : hypers) image->hypers.push_back(std::make_unique<program::HyperT>(hyper));
  step.optimizers.push_back(std::move(image));
}

// Norms are of the gradient at the parameters, whatever the optimizer looks at: one function for all of them. It is a function of its own, not a
// further result of the step, whose weight gradients live in registers only: with it the step keeps its kernels, and its bits.
void TrainElaborator::build_watch(const StepPlan& plan, program::TrainStepT& step) {
  Emission& emission = e_.new_emission(plan.prefix == "train" ? "watch" : "watch" + plan.prefix.substr(5));
  emission.rows = chunks_ ? 0 : rows_;
  Scoped<Emission*> to(e_.out, &emission);
  ir::Builder& b = emission.builder;
  auto add = [&](const std::string& parameter, ir::Value gradient) {
    ir::Value g = b.cast(gradient, ElementType::f32);
    std::vector<int64_t> axes(e_.type(g).rank());
    std::iota(axes.begin(), axes.end(), 0);
    emission.function.results.push_back({parameter, b.reduce(Op::reduce_sum, b.make(Op::mul, {g, g}), axes), false});
  };
  Scoped<ir::Loc> at(b.loc, e_.location(train_.watch->span));
  if (chunks_) {   // what `apply` divides and uses: the first gradient that the optimizer asks for
    ir::Value samples = b.cast(e_.input("count", {ElementType::f64, {}}), ElementType::f32);
    for (const std::string& p : chosen_) add(p, b.map(Op::div, {e_.variable(accumulator(plan, "0/" + p, e_.program.module.variable(p)->type)), samples}));
  } else {
    Evaluation evaluation;
    evaluation.training = true;
    Found found = run_block(plan, evaluation, false);
    if (!found.minimize)
      return void(e_.fail(DiagnosticId::bad_training, train_.watch->span, "there are no gradients to watch: parameters are assigned directly", "", {}, {"`minimize LOSS with OPTIMIZER` takes gradients"}));
    if (!check_loss(found)) return;
    auto parameters = choose_parameters(found, evaluation);
    if (!parameters) return;
    for (size_t i = 0; i < parameters->names.size(); ++i)
      add(parameters->names[i], b.make(Op::grad, {found.loss.get<Tensor>()->node, parameters->entries[i].get<Tensor>()->node}));
  }
  finish(emission.function);
  e_.finished.push_back(&emission);
  step.watch = emission.function.name;
}

void TrainElaborator::build_direct(const StepPlan& plan, program::TrainStepT& step) {
  if (chunks_) return void(e_.fail(DiagnosticId::not_supported, span_, "direct assignments need whole batches: not with `batch all` of files or `accumulate`"));
  int errors = e_.diagnostics.errors();
  Emission& emission = e_.new_emission(plan.prefix + ".update");
  emission.rows = rows_;
  Scoped<Emission*> to(e_.out, &emission);
  Evaluation evaluation;
  evaluation.training = true;
  Found found = run_block(plan, evaluation, false);
  if (!found.assigns) {   // states that layers write are no training
    if (e_.diagnostics.errors() == errors) e_.fail(DiagnosticId::bad_training, plan.step ? plan.step->name.span : span_, plan.step ? fmt::format("the step `{}` trains nothing", plan.name) : "nothing is trained here", "", {}, {"`minimize loss with adam()`, or an assignment like `net.w <- net.w + 0.1 * ...`"});
    return;
  }
  if (found.reports.empty()) return void(e_.fail(DiagnosticId::bad_training, span_, "training by assignments needs a `report`: the first one is shown as the loss"));
  ir::Value figure = e_.float_node(found.reports[0].value, found.reports[0].span);
  if (!figure.valid()) return;
  if (e_.type(figure).rank() != 0) return void(e_.fail(DiagnosticId::bad_training, found.reports[0].span, fmt::format("a report must be a scalar, this is {}", ir::to_string(e_.type(figure)))));
  emission.function.results.push_back({"loss", figure, false});
  write_states(found, evaluation, nullptr);
  finish(emission.function);
  e_.finished.push_back(&emission);
  auto image = std::make_unique<program::OptimizerT>();
  image->name = "update";
  image->step = emission.function.name;
  step.optimizers.push_back(std::move(image));
}

}  // namespace gradc::front
