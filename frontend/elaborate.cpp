// The whole of it: the library, the model file and what it imports get scopes; then training, validation and exports are
// elaborated one after the other. Hyperparameters that a shape or an `if` turned out to need are plain numbers in a second run.
#include "frontend/elaborate.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "frontend/elaborator.h"
#include "frontend/parser.h"
#include "frontend/std_files.h"

namespace gradc::front {

Elaborator::Elaborator(Sources& sources, Diagnostics& diagnostics, const ElaborateOptions& options, std::set<std::string> fixed_names)
    : sources(sources), diagnostics(diagnostics), options(options), fixed(std::move(fixed_names)) {}

Emission& Elaborator::new_emission(std::string name) {
  emissions_.emplace_back(static_cast<int>(emissions_.size()), std::move(name));
  return emissions_.back();
}

Env& Elaborator::new_env(Env* parent) {
  envs_.emplace_back();
  envs_.back().parent = parent;
  return envs_.back();
}

void Elaborator::load_library() {
  library_ = &new_env(nullptr);
  std::map<std::string, FileId> known;   // from an earlier run
  std::vector<std::string> paths = sources.paths();
  for (size_t i = 1; i < paths.size(); ++i) known.emplace(paths[i], static_cast<FileId>(i));
  for (const StdFile& file : std_files()) {
    auto it = known.find(std::string(file.name));
    FileId id = it != known.end() ? it->second : sources.add(std::string(file.name), std::string(file.text));
    library_files_.insert(id);
    files_.push_back(parse(id, sources, diagnostics));
    load_file(files_.back(), *library_);
  }
}

void Elaborator::import_file(const ast::Import& import, const ast::File& importer, const Span& span, Env& scope) {
  std::filesystem::path path = import.file.text;
  if (path.is_relative()) path = (options.directory.empty() ? std::filesystem::path(sources.path(importer.file)).parent_path() : std::filesystem::path(options.directory)) / path;
  std::string name = path.lexically_normal().string();
  auto [it, fresh] = imported_.emplace(name, nullptr);
  if (fresh) {
    FileId id = 0;
    std::vector<std::string> paths = sources.paths();
    for (size_t i = 1; i < paths.size(); ++i)
      if (paths[i] == name) id = static_cast<FileId>(i);
    if (!id) {
      std::ifstream in(name, std::ios::binary);
      if (!in || std::filesystem::is_directory(name)) return void(fail(DiagnosticId::cannot_read, import.file.span, fmt::format("cannot read `{}`", name)));
      std::stringstream text;
      text << in.rdbuf();
      id = sources.add(name, text.str());
    }
    it->second = &new_env(library_);
    files_.push_back(parse(id, sources, diagnostics));
    load_file(files_.back(), *it->second);
  }
  if (!it->second) return;
  for (const auto& [key, binding] : it->second->names) scope.names.emplace(key, binding);
}

void Elaborator::declare_config(const ast::Config& config, Env& scope) {
  const std::string& name = config.name.text;
  configs.push_back(name);
  Value value = eval(*config.value, scope);
  if (config.type && !value.is<Poison>()) match(*config.type, value, scope, {fmt::format("`{}`", name), config.value->span, ""});
  auto* number = value.get<Number>();
  auto* flag = value.get<Flag>();
  if (auto set = options.set.find(name); set != options.set.end()) {
    if (!number && !flag) return void(fail(DiagnosticId::bad_config, config.name.span, fmt::format("`--set {}` gives a number, but `{}` is {}", name, name, kind_of(value))));
    value = flag ? Value(Flag{set->second != 0, nullptr, true}) : Value(set->second);
    if (config.type) match(*config.type, value, scope, {fmt::format("`{}`, from `--set`,", name), config.name.span, ""});
  } else if (number && !number->run && !fixed.count(name)) {
    auto hyper = std::make_unique<program::HyperT>();
    hyper->name = name;
    hyper->value = number->value;
    hyper->line = line_text(config.name.span);
    program.image.config.push_back(std::move(hyper));
    value = hyperparameter(name, number->value);
  } else if (!number && !flag && !value.is<Text>() && !value.is<Poison>()) {
    value = fail(DiagnosticId::bad_config, config.value->span, fmt::format("a `config` is a number, a bool or a text, this is {}", kind_of(value)));
  }
  scope.names[name] = Binding{value, config.name.span};
}

// Of the model file alone: what an imported file is computed with is for its user to say.
void Elaborator::choose_precision(const ast::File& file) {
  const ast::Ident* chosen = nullptr;
  for (const ast::Item& item : file.items) {
    auto* precision = std::get_if<ast::PrecisionMode>(&item.node);
    if (!precision) continue;
    const ast::Ident& mode = precision->mode;
    if (chosen) fail(DiagnosticId::repeated_setting, mode.span, "`precision` is given twice", "", {{chosen->span, "the first time"}});
    else if (!ir::precision_from_name(mode.text)) fail(DiagnosticId::unknown_precision, mode.span, fmt::format("there is no precision `{}`", mode.text), "", {}, {"precisions are f32, bf16 and bf16x3"});
    chosen = &mode;
    program.image.precision = mode.text;
  }
}

void Elaborator::load_file(const ast::File& file, Env& scope) {
  // Functions first: they may stand below their use.
  for (const ast::Item& item : file.items) {
    auto* f = std::get_if<ast::Function>(&item.node);
    if (!f || f->kind == ast::FunctionKind::export_) continue;
    std::string key = f->name.text;
    Value value;
    switch (f->kind) {
      case ast::FunctionKind::layer: value = LayerKind{f, &scope}; break;
      case ast::FunctionKind::model: value = Model{f, &scope, nullptr}; break;
      case ast::FunctionKind::schedule:
        key = "schedule " + key;
        [[fallthrough]];
      case ast::FunctionKind::optimizer: {
        auto recipe = std::make_shared<RecipeValue>();
        recipe->function = f;
        recipe->env = &scope;
        recipe->name = f->name.text;
        value = Recipe{recipe};
        break;
      }
      default: value = Closure{f, &scope, nullptr};
    }
    if (auto it = scope.names.find(key); it != scope.names.end())
      fail(DiagnosticId::duplicate_name, f->name.span, fmt::format("`{}` is declared twice", f->name.text), "", {{it->second.span, "the first time"}});
    scope.names[key] = Binding{value, f->name.span};
  }
  Scoped<Env*> here(file_scope, &scope);
  for (const ast::Item& item : file.items) {
    auto once = [&](const ast::Ident& name) {
      if (auto it = scope.names.find(name.text); it != scope.names.end() && it->second.span.file == name.span.file)
        fail(DiagnosticId::duplicate_name, name.span, fmt::format("`{}` is declared twice", name.text), "", {{it->second.span, "the first time"}});
    };
    if (auto* import = std::get_if<ast::Import>(&item.node)) import_file(*import, file, item.span, scope);
    if (auto* config = std::get_if<ast::Config>(&item.node)) once(config->name), declare_config(*config, scope);
    if (auto* constant = std::get_if<ast::Constant>(&item.node)) {
      for (const ast::Ident& name : constant->let.names) once(name);
      run_let(constant->let, scope);
      for (const ast::Ident& name : constant->let.names) scope.names[name.text].variable = false;
    }
    if (auto* data = std::get_if<ast::Data>(&item.node)) {
      once(data->name);
      scope.names[data->name.text] = Binding{DataRef{data}, data->name.span};
      declare_data(*data, scope);
    }
  }
}

std::vector<Recipe> Elaborator::extra_optimizers(Env& scope) {
  std::vector<Recipe> result;
  for (const std::string& text : options.optimizers) {
    // Parsed as if it stood in a train block of a file of its own.
    std::string path = "--optimizers " + text;
    FileId id = 0;
    std::vector<std::string> paths = sources.paths();
    for (size_t i = 1; i < paths.size(); ++i)
      if (paths[i] == path) id = static_cast<FileId>(i);
    if (!id) id = sources.add(path, "train { minimize 0 with " + text + " }\n");
    int errors = diagnostics.errors();
    files_.push_back(parse(id, sources, diagnostics));
    if (diagnostics.errors() > errors) continue;
    for (const ast::Item& item : files_.back().items)
      if (auto* train = std::get_if<ast::Train>(&item.node))
        for (const auto& statement : train->body.statements)
          if (auto* minimize = std::get_if<ast::Minimize>(&statement->node))
            for (const auto& e : minimize->optimizers) {
              Value value = eval(*e, scope);
              auto* recipe = value.get<Recipe>();
              if (recipe && recipe->value->function->kind == ast::FunctionKind::optimizer) result.push_back(*recipe);
              else if (!value.is<Poison>()) fail(DiagnosticId::wrong_kind, e->span, fmt::format("`{}` is no optimizer but {}", text, kind_of(value)));
            }
  }
  return result;
}

std::optional<Program> Elaborator::elaborate(FileId model_file) {
  load_library();
  files_.push_back(parse(model_file, sources, diagnostics));
  const ast::File& file = files_.back();
  if (diagnostics.failed()) return std::nullopt;   // what a broken text would mean is anybody's guess
  choose_precision(file);
  Env& scope = new_env(library_);
  file_scope = &scope;

  // Constants at file level may be tensors: they are nodes of a function of their own and copied to where they are used.
  constants = &new_emission("constants");
  Evaluation evaluation;
  Emission& first_values = new_emission("init");
  first_values.initial = true;
  initial = &first_values;
  Emission& sessions = new_emission("reset");
  sessions.initial = true;
  resetting = &sessions;
  {
    Scoped<Emission*> to(out, constants);
    Scoped<Evaluation*> as(run, &evaluation);
    evaluation.key = "constants";
    load_file(file, scope);
    for (const auto& [name, value] : options.set) {
      bool known = std::find(configs.begin(), configs.end(), name) != configs.end();
      if (known) continue;
      std::string near = nearest(name, configs);
      fail(DiagnosticId::bad_config, {}, fmt::format("`--set {}`: the model has no such config value", name), "", {}, near.empty() ? std::vector<std::string>{} : std::vector<std::string>{fmt::format("did you mean `{}`?", near)});
    }
  }
  int trains = 0;
  std::set<std::string> train_names;
  for (const ast::Item& item : file.items) trains += std::holds_alternative<ast::Train>(item.node);
  several_trains = trains > 1;
  for (const ast::Item& item : file.items) {
    if (auto* train = std::get_if<ast::Train>(&item.node)) {
      if (!train_names.insert(train->name ? train->name->text : "train").second)
        fail(DiagnosticId::duplicate_name, item.span, "several train blocks need different names", "", {}, {"`train pretraining on ... { ... }`"});
      else elaborate_train(*train, item.span, scope);
    }
  }
  for (const ast::Item& item : file.items)
    if (auto* f = std::get_if<ast::Function>(&item.node); f && f->kind == ast::FunctionKind::export_) elaborate_export(*f, item.span, scope);
  if (diagnostics.failed() || fixed_grew) return std::nullopt;

  ir::Module& module = program.module;
  std::filesystem::path path = sources.path(model_file);
  module.name = path.stem().string();
  module.files = sources.paths();
  first_values.function.prune();
  module.functions.push_back(std::move(first_values.function));
  if (!sessions.function.results.empty()) {
    sessions.function.prune();
    module.functions.push_back(std::move(sessions.function));
    program.image.reset = "reset";
  }
  for (Emission* e : finished) module.functions.push_back(std::move(e->function));
  for (const auto& data : program.image.data) {
    if (!data->tokens) continue;
    for (const auto& split : data->splits)
      if (data->tokens->learn.empty() && split->kind == program::SourceKind::text) data->tokens->learn = split->name;
    for (auto train = program.image.trains.rbegin(); train != program.image.trains.rend(); ++train)   // in the end the first
      if ((*train)->data == data->name) data->tokens->learn = (*train)->split;
  }
  program.image.name = module.name;
  program.image.source = path.filename().string();
  program.image.init = "init";
  return std::move(program);
}

}  // namespace gradc::front

namespace gradc {

std::optional<Program> elaborate(FileId model_file, Sources& sources, Diagnostics& diagnostics, const ElaborateOptions& options) {
  std::set<std::string> fixed;
  for (;;) {
    // A run that finds further hyperparameters to be needed at build is repeated with them as plain numbers; its warnings are dropped.
    Diagnostics found(sources);
    front::Elaborator elaborator(sources, found, options, fixed);
    std::optional<Program> program = elaborator.elaborate(model_file);
    if (!program && !found.failed() && elaborator.fixed.size() > fixed.size()) {
      fixed = elaborator.fixed;
      continue;
    }
    for (const Diagnostic& d : found.all()) {
      Diagnostic& copy = diagnostics.add(d.id, d.span, d.message);
      copy.at_caret = d.at_caret;
      copy.labels = d.labels;
      copy.hints = d.hints;
    }
    return program;
  }
}

}  // namespace gradc
