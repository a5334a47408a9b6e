// Train blocks: clauses, runs through the body, validation. The functions with updates are in elaborate_update.cpp.
#include "frontend/elaborate_train.h"

#include <fmt/format.h>

namespace gradc::front {

void Elaborator::elaborate_train(const ast::Train& train, const Span& span, Env& scope) { TrainElaborator(*this, train, span, scope).run(); }

std::optional<int64_t> TrainElaborator::clause(const ast::ExprPtr& e, const char* name) {
  if (!e) return 0;
  auto number = e_.fix_integer(e_.eval(*e, scope_), e->span, fmt::format("`{}`", name));
  if (number && *number < 1) {
    e_.fail(DiagnosticId::bad_training, e->span, fmt::format("`{}` must be positive, not {}", name, *number));
    return std::nullopt;
  }
  return number;
}

bool TrainElaborator::read_data(const ast::ExprPtr& e, DataSplit& split, const char* use) {
  if (!e) return true;
  Value value = e_.eval(*e, scope_);
  if (value.is<Poison>()) return false;
  auto* given = value.get<DataSplit>();
  if (!given) {
    std::vector<std::string> hints;
    if (auto* data = value.get<DataRef>(); data && !data->data->splits.empty()) hints.push_back(fmt::format("name a split: `{}.{}`", data->data->name.text, data->data->splits[0].name.text));
    e_.fail(DiagnosticId::wrong_kind, e->span, fmt::format("{} a split of a data set, this is {}", use, kind_of(value)), "", {}, hints);
    return false;
  }
  split = *given;
  return e_.use_split(split, e->span);
}

bool TrainElaborator::read_clauses() {
  auto batch = clause(train_.batch, "batch"), accumulate = clause(train_.accumulate, "accumulate"), epochs = clause(train_.epochs, "epochs"), steps = clause(train_.steps, "steps");
  if (!read_data(train_.on, data_, "training reads") || !read_data(train_.validate, validate_, "validation reads")) return false;
  if (!batch || !accumulate || !epochs || !steps) return false;
  auto wrong = [&](const std::string& message, std::vector<std::string> hints = {}) { return e_.fail(DiagnosticId::bad_training, span_, message, "", {}, std::move(hints)), false; };
  if (!*epochs && !*steps) return wrong("the block does not say how long to train", {"`epochs 10`, or `train for 1000 steps { ... }`"});
  image_.epochs = *epochs;
  image_.steps = *steps;
  if (train_.on) {
    fields_ = e_.find_data(data_.data);
    if (!*batch && !train_.batch_all) return wrong("the block does not say how many samples a step takes", {"`batch 128`, or `batch all`"});
    int64_t samples = e_.known_samples(data_);   // 0: only the files know
    if (*batch && samples && *batch > samples) {
      e_.fail(DiagnosticId::bad_training, train_.batch->span, fmt::format("a batch of {} is larger than the data, which has {} samples", *batch, samples), "", {}, {"`batch all` takes everything there is"});
      return false;
    }
    // A small table is one batch; files are run through in chunks.
    bool whole = train_.batch_all && samples > 0 && samples <= largest_chunk;
    chunks_ = (train_.batch_all && !whole) || *accumulate > 1;
    rows_ = whole ? samples : train_.batch_all ? largest_chunk : *batch;
    image_.batch = whole ? samples : train_.batch_all ? 0 : *batch * std::max<int64_t>(*accumulate, 1);
  } else {
    if (!*steps) return wrong("training without data needs a number of steps", {"`train for 1000 steps { ... }`"});
    if (train_.validate) return wrong("there is no data to train on, but some to validate on");
    rows_ = *batch;
    image_.batch = *batch;
  }
  image_.chunk = rows_;
  image_.data = data_.data;
  image_.split = data_.split;
  image_.validate_data = validate_.data;
  image_.validate_split = validate_.split;
  if (train_.stop) {
    auto patience = clause(train_.stop->epochs, "stop early");
    if (!patience) return false;
    image_.patience = *patience;
    if (!train_.validate) return wrong("early stopping looks at the validation loss, but there is no validation", {"`train on data.train, validate on data.test { ... }`"});
  }
  if (train_.watch) {
    auto every = clause(train_.watch->every, "watch gradients every");
    if (!every) return false;
    image_.watch_every = *every ? *every : 50;
  }
  if (train_.validate && validate_.data != data_.data) {
    const ast::Data* other = e_.find_data(validate_.data);
    if (other->fields.size() != fields_->fields.size()) {
      e_.fail(DiagnosticId::bad_training, train_.validate->span, fmt::format("validation data must have the fields of the training data: `{}` has others than `{}`", validate_.data, data_.data));
      return false;
    }
  }
  return true;
}

std::vector<TrainElaborator::StepPlan> TrainElaborator::plan_steps() {
  std::string prefix = e_.several_trains ? "train." + image_.name : "train";
  std::vector<StepPlan> plans;
  for (const auto& statement : train_.body.statements)
    if (auto* step = std::get_if<ast::Step>(&statement->node)) plans.push_back({step, step->name.text, prefix + "." + step->name.text});
  if (plans.empty()) plans.push_back({nullptr, "", prefix});
  return plans;
}

static bool reports_anything(const ast::Block& block) {
  return std::any_of(block.statements.begin(), block.statements.end(), [](const auto& statement) {
    auto* step = std::get_if<ast::Step>(&statement->node);
    return std::holds_alternative<ast::Report>(statement->node) || (step && reports_anything(step->body));
  });
}

void TrainElaborator::bind_fields(Env& env) {
  if (rows_ > 0) env.names["batch"] = Binding{static_cast<double>(rows_), span_};
  if (!fields_) return;
  for (const ast::Parameter& field : fields_->fields) {
    auto type = e_.field_type(field, *fields_);
    if (!type) continue;
    type->shape.insert(type->shape.begin(), rows_);
    e_.builder().loc = e_.location(field.span);
    e_.bind(env, field.name, e_.tensor(e_.input(field.name.text, *type)));
  }
}

void TrainElaborator::run_statements(const ast::Block& block, Env& env, const StepPlan& plan, Found& found, bool with_optimizers) {
  for (const auto& statement : block.statements) {
    const Span& at = statement->span;
    if (auto* freeze = std::get_if<ast::Freeze>(&statement->node)) {
      for (const auto& target : freeze->targets)
        if (std::string path = e_.path_of(*target, env); !path.empty()) e_.frozen_paths.push_back({path, target->span});
    } else if (auto* report = std::get_if<ast::Report>(&statement->node)) {
      found.reports.push_back({report->name.text, e_.eval(*report->value, env), report->value->span, &block == &train_.body});
    } else if (auto* step = std::get_if<ast::Step>(&statement->node)) {
      if (step == plan.step) run_statements(step->body, e_.new_env(&env), plan, found, with_optimizers);
    } else if (auto* minimize = std::get_if<ast::Minimize>(&statement->node)) {
      if (plan.step && &block == &train_.body) {
        e_.fail(DiagnosticId::bad_training, at, "a block with steps has a `minimize` in each step, and none outside");
        continue;
      }
      if (found.minimize) {
        e_.fail(DiagnosticId::bad_training, at, "a step has one `minimize`", "this is another one", {{found.minimize_span, "the first one"}}, {"add the losses, or write two `step` blocks"});
        continue;
      }
      found.minimize = minimize;
      found.minimize_span = at;
      found.loss_span = minimize->loss->span;
      found.loss = e_.eval(*minimize->loss, env);
      for (const auto& over : minimize->over)
        if (std::string path = e_.path_of(*over, env); !path.empty()) found.over.push_back(path), found.over_spans.push_back(over->span);
      if (!with_optimizers) continue;
      for (const auto& optimizer : minimize->optimizers) found.optimizers.push_back(e_.eval(*optimizer, env));
    } else if (auto* load = std::get_if<ast::Load>(&statement->node)) {
      if (&block != &train_.body) {
        e_.fail(DiagnosticId::bad_training, at, "`load` belongs to the block, not to one of its steps: it happens once, before the first of them");
        continue;
      }
      std::string into = load->into ? e_.path_of(*load->into, env) : "";
      if (load->into && into.empty()) continue;
      found.loads.push_back({load->file.text, into, load->prefix ? load->prefix->text : into, at});
    } else if (auto* assign = std::get_if<ast::Assign>(&statement->node); assign && assign->update && !e_.run->training) {
      continue;   // validation looks at the parameters as they are
    } else {
      if (auto* update = std::get_if<ast::Assign>(&statement->node)) found.assigns = found.assigns || update->update;
      e_.run_statement(*statement, env);
    }
  }
}

TrainElaborator::Found TrainElaborator::run_block(const StepPlan& plan, Evaluation& evaluation, bool with_optimizers) {
  Scoped<Evaluation*> as(e_.run, &evaluation);
  Scoped<OptimizerRun*> no_optimizer(e_.optimizing, nullptr);
  Scoped<std::vector<Frame>> frames(e_.frames, {Frame{}});
  Scoped<std::vector<const std::set<std::string>*>> targets(e_.targets, {&e_.gradient_targets(&train_, train_.body)});
  Scoped<std::vector<Frozen>> frozen(e_.frozen_paths, {});
  Scoped<bool> time(e_.in_step, true);
  Scoped<bool> not_pure(e_.pure, false);
  evaluation.key = plan.prefix;
  Env& env = e_.new_env(&scope_);
  bind_fields(env);
  Found found;
  run_statements(train_.body, e_.new_env(&env), plan, found, with_optimizers);
  evaluation.frozen = e_.frozen_paths;
  return found;
}

bool TrainElaborator::check_loss(const Found& found) {
  if (found.loss.is<Poison>()) return false;
  auto* t = found.loss.get<Tensor>();
  if (!t) {
    e_.fail(DiagnosticId::gradient_not_scalar, found.loss_span, fmt::format("the loss must be a scalar tensor, this is {}", kind_of(found.loss)));
    return false;
  }
  const ir::Type& type = e_.type(*t);
  if (type.rank() != 0 || !ir::is_float(type.element)) {
    e_.fail(DiagnosticId::gradient_not_scalar, found.loss_span, fmt::format("the loss must be a floating-point scalar, this is {}", ir::to_string(type)), "", {}, {"`mean(...)` averages over the batch"});
    return false;
  }
  return true;
}

void TrainElaborator::take_loads(const Found& found) {
  for (const Found::Load& load : found.loads) {
    if (!load.into.empty() && !is_part(load.into, load.span, "load ... into")) continue;
    auto image = std::make_unique<program::LoadT>();
    image->file = load.file;
    image->into = load.into;
    image->from = load.from;
    image->line = e_.line_text(load.span);
    image_.loads.push_back(std::move(image));
  }
}

std::vector<Recipe> TrainElaborator::recipes(const StepPlan& plan) {
  // The optimizers' arguments are numbers; a run in a function that is thrown away gives them.
  Emission& scratch = e_.new_emission("scratch");
  scratch.rows = rows_;
  Scoped<Emission*> to(e_.out, &scratch);
  Evaluation evaluation;
  evaluation.training = true;
  Found found = run_block(plan, evaluation, true);
  std::vector<Recipe> result;
  auto add = [&](const Value& value, const Span& span) {
    if (value.is<Poison>()) return;
    auto* recipe = value.get<Recipe>();
    if (!recipe || recipe->value->function->kind != ast::FunctionKind::optimizer)
      return void(e_.fail(DiagnosticId::wrong_kind, span, fmt::format("an optimizer is needed after `with`, this is {}", kind_of(value)), "", {}, {"`with adam(lr = 1e-3)`"}));
    for (const Recipe& other : result)
      if (other.value->name == recipe->value->name)
        return void(e_.fail(DiagnosticId::duplicate_name, span, fmt::format("there are two optimizers named `{}` to choose from", recipe->value->name), "", {}, {"`sgd(lr = 0.1) as fast` gives one another name"}));
    result.push_back(*recipe);
  };
  if (plan.name == first_plan_) take_loads(found);
  if (!found.minimize) return result;
  check_loss(found);
  for (size_t i = 0; i < found.optimizers.size(); ++i) add(found.optimizers[i], found.minimize->optimizers[i]->span);
  if (found.minimize->optimizers.empty()) e_.fail(DiagnosticId::bad_training, found.minimize_span, "`minimize` does not say how", "", {}, {"`minimize ... with adam(lr = 1e-3)`"});
  for (const Recipe& extra : e_.extra_optimizers(scope_)) {
    bool known = false;
    for (const Recipe& r : result) known = known || r.value->name == extra.value->name;
    if (!known) result.push_back(extra);
  }
  return result;
}

// With several steps the loss that counts is that of the step after `stop early on`, or of the first: it is the figure "loss", those of the others
// are "STEP.loss". The block's body is run once for each step; what belongs to none of them is reported once.
void TrainElaborator::build_validation(std::vector<StepPlan> plans) {
  if (train_.stop && train_.stop->step) {
    std::vector<std::string> names;
    for (const StepPlan& p : plans) names.push_back(p.name);
    auto counts = std::find(names.begin(), names.end(), train_.stop->step->text);
    if (counts == names.end()) {
      std::string near = nearest(train_.stop->step->text, names);
      e_.fail(DiagnosticId::unknown_name, train_.stop->step->span, fmt::format("there is no step `{}`", train_.stop->step->text), "", {},
              near.empty() ? std::vector<std::string>{} : std::vector<std::string>{fmt::format("did you mean `{}`?", near)});
      return;
    }
    std::rotate(plans.begin(), plans.begin() + (counts - names.begin()), plans.begin() + (counts - names.begin()) + 1);
  }
  Emission& emission = e_.new_emission(e_.several_trains ? "validate." + image_.name : "validate");
  emission.rows = rows_;
  Scoped<Emission*> to(e_.out, &emission);
  auto result = [&](const std::string& name, const Value& value, const Span& at, const char* what, bool table = false) {
    if (value.is<Poison>()) return;
    ir::Value v = value.is<Number>() || value.is<Tensor>() ? e_.float_node(value, at) : ir::Value{};
    if (!v.valid() || e_.type(v).rank() > (table ? 2 : 0)) {
      std::string is = v.valid() ? ir::to_string(e_.type(v)) : kind_of(value);
      e_.fail(DiagnosticId::bad_training, at, fmt::format("{} `{}` must be a scalar{}, this is {}", what, name, table ? " or a table" : "", is), "", {}, {"`mean(...)` averages over the batch"});
      return;
    }
    emission.function.results.push_back({name, v, false});
  };
  std::vector<Found::Report> reports;
  for (const StepPlan& plan : plans) {
    const bool counts = &plan == &plans[0];
    Evaluation evaluation;
    Found found = run_block(plan, evaluation, false);
    std::string name = counts ? "loss" : plan.name + ".loss";
    if (found.minimize) {
      if (!check_loss(found)) return;
      result(name, found.loss, found.loss_span, "the loss");
    } else if (!found.reports.empty()) {
      result(name, found.reports[0].value, found.reports[0].span, "the report");   // direct assignments: the first figure stands for a loss
    }
    for (const Found::Report& report : found.reports)
      if (counts || !report.shared) reports.push_back(report);
  }
  for (const Found::Report& report : reports) {
    if (report.name == "loss" || std::find(image_.reports.begin(), image_.reports.end(), report.name) != image_.reports.end()) {
      e_.fail(DiagnosticId::duplicate_name, report.span, fmt::format("there are two figures named `{}`", report.name));
      continue;
    }
    result(report.name, report.value, report.span, "the report", true);
    image_.reports.push_back(report.name);
  }
  emission.function.prune();
  image_.validate = std::make_unique<program::AccumulatedT>();
  image_.validate->entry = emission.function.name;
  image_.validate->rows = rows_;
  e_.finished.push_back(&emission);
}

void TrainElaborator::run() {
  image_.name = train_.name ? train_.name->text : "train";
  if (!read_clauses()) return;
  std::vector<StepPlan> plans = plan_steps();
  first_plan_ = plans[0].name;
  several_steps_ = plans.size() > 1;
  int errors = e_.diagnostics.errors();
  for (const StepPlan& plan : plans) {
    auto step = std::make_unique<program::TrainStepT>();
    step->name = plan.name;
    if (plan.step) {
      auto repeat = clause(plan.step->repeat, "repeat");
      if (!repeat) continue;
      step->repeat = std::max<int64_t>(*repeat, 1);
    }
    std::vector<Recipe> offered = recipes(plan);
    if (e_.diagnostics.errors() > errors) continue;   // each optimizer would only say it again
    if (offered.empty()) build_direct(plan, *step);
    for (const Recipe& recipe : offered) build_step(plan, recipe, *step);
    if (train_.watch && e_.diagnostics.errors() == errors) build_watch(plan, *step);
    image_.step_list.push_back(std::move(step));
  }
  if (e_.diagnostics.errors() > errors) return;
  if (train_.on || reports_anything(train_.body)) build_validation(plans);   // without data figures are of noise: the same at each look
  if (fields_ && fields_->augment) e_.elaborate_augment(*fields_, rows_, "augment." + image_.name);
  e_.program.image.trains.push_back(std::make_unique<program::TrainT>(std::move(image_)));
}

}  // namespace gradc::front
