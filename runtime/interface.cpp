// The C interface over Model, TrainRun, Evaluator and Predictor. Every function catches what may be thrown below it (memory only) and turns errors
// into a status and a message.
#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <new>

#include "runtime/checkpoint.h"
#include "runtime/evaluate.h"
#include "runtime/gradc.h"
#include "runtime/machine.h"
#include "runtime/predict.h"
#include "runtime/weights.h"
#include "runtime/update.h"

using namespace gradc::runtime;
namespace program = gradc::program;

struct gradc_model {
  std::unique_ptr<Model> model;
  TrainRun run;                        // of the last train block; no steps: nothing to train
  TrainState state;
  std::vector<const Variable*> tensors;
  std::string message;
};

namespace {

// Rows in the caller's buffers.
class BufferRows : public RowSource {
 public:
  BufferRows(const gradc_buffer* buffers, int32_t count, int64_t rows) : buffers_(buffers), count_(count), rows_(rows) {}
  void fill(Entry& entry, int64_t first, int64_t count) override {
    for (const Port& port : entry.inputs)
      for (int32_t i = 0; i < count_; ++i)
        if (port.name == buffers_[i].name)
          fill_port(port, static_cast<const uint8_t*>(buffers_[i].data) + size_t(first) * (buffers_[i].bytes / size_t(rows_)), count);
  }
  // Every input of the entry must be there, with the right type and size; values within `fields`' ranges.
  Status check(const Entry& entry, const std::vector<FieldType>& fields) const {
    for (const Port& port : entry.inputs) {
      if (port.type.shape.empty()) return Error{GRADC_INTERNAL, fmt::format("'{}' is a scalar that the runtime does not know", port.name)};
      const gradc_buffer* found = nullptr;
      for (int32_t i = 0; i < count_; ++i)
        if (buffers_[i].name && port.name == buffers_[i].name) found = &buffers_[i];
      if (!found) return Error{GRADC_UNKNOWN_NAME, fmt::format("the input '{}' is not given", port.name)};
      uint64_t wanted = port.bytes / uint64_t(port.type.shape[0]) * uint64_t(rows_);
      if (int(found->element) != int(port.type.element))
        return Error{GRADC_INVALID, fmt::format("the input '{}' holds {}, given is {}", port.name, info(port.type.element).name,
                                                size_t(found->element) < std::size(element_infos) ? element_infos[found->element].name : "something unknown")};
      if (found->bytes != wanted) return Error{GRADC_INVALID, fmt::format("{} rows of '{}' are {} bytes, given are {}", rows_, port.name, wanted, found->bytes)};
      if (!found->data && wanted > 0) return Error{GRADC_INVALID, fmt::format("the input '{}' is null", port.name)};
      for (const FieldType& field : fields)
        if (field.name == port.name) GRADC_TRY(check_range(field, static_cast<const uint8_t*>(found->data), rows_, "input"));
    }
    return {};
  }

 private:
  const gradc_buffer* buffers_;
  int32_t count_;
  int64_t rows_;
};

std::vector<FieldType> fields_of(const Model& model, const flatbuffers::String* data) {
  std::vector<FieldType> fields;
  if (const program::DataSet* set = find_data(*model.program(), text(data)); set && set->fields())
    for (auto* field : *set->fields()) fields.push_back(to_field(field));
  return fields;
}

template <class Function>
gradc_status guarded(gradc_model* model, Function function) {
  if (!model) return GRADC_INVALID;
  try {
    Status status = function();
    if (status) return GRADC_OK;
    model->message = std::move(status.error().message);
    return status.error().code;
  } catch (const std::bad_alloc&) {
    model->message.clear();   // nothing that could need memory
    return GRADC_MEMORY;
  }
}

Status use_optimizer(gradc_model* handle, const std::string& name) {
  size_t blocks = size(handle->model->program()->trains());
  if (blocks == 0) return Error{GRADC_INVALID, "this program has nothing to train"};
  auto run = TrainRun::create(*handle->model, blocks - 1, name.empty() ? std::vector<std::string>{} : std::vector<std::string>{name});
  if (!run) return std::move(run.error());
  handle->run = std::move(*run);
  for (StepRun& step : handle->run.steps) handle->model->initialize(step.optimizer);
  return {};
}

Result<Variable*> find_tensor(gradc_model* handle, const char* name) {
  if (!name) return Error{GRADC_INVALID, "a name is null"};
  Variable* variable = handle->model->variable(name);
  if (variable && variable->belongs_to_model()) return variable;
  std::vector<std::string> names;
  for (const Variable* each : handle->tensors) names.push_back(each->name);
  return Error{GRADC_UNKNOWN_NAME, fmt::format("no parameter or state is called '{}'{}", name, suggestion(name, names))};
}

void describe(const Variable& variable, gradc_tensor* tensor) {
  bool trained = variable.kind == program::VariableKind::parameter && !variable.frozen;
  *tensor = {variable.name.c_str(), variable.type.shape.data(), int32_t(variable.type.shape.size()), gradc_element(variable.type.element), variable.bytes, trained};
}

// The signature strings of interface.def, from the declarations.
template <class T>
constexpr char code() {
  if constexpr (std::is_void_v<T>) return 'v';
  else if constexpr (std::is_pointer_v<T>) return 'p';
  else if constexpr (std::is_same_v<T, double>) return 'd';
  else return sizeof(T) == 8 ? 'l' : 'i';
}
template <class R, class... A>
constexpr bool has_signature(R (*)(A...), std::string_view text) {
  const char expected[] = {code<R>(), '(', code<A>()..., ')'};
  return text == std::string_view(expected, sizeof expected);
}
#define GRADC_FUNCTION(name, signature) static_assert(has_signature(gradc_##name, signature), "interface.def: " #name);
#include "runtime/interface.def"
#undef GRADC_FUNCTION

}  // namespace

extern "C" {

gradc_status gradc_create(const gradc_image* image, const gradc_options* options, gradc_model** out, char* message, uint64_t message_size) {
  if (!out) return GRADC_INVALID;
  *out = nullptr;
  auto refuse = [&](const Error& error) {
    if (message && message_size > 0) {
      size_t length = std::min<size_t>(error.message.size(), message_size - 1);
      std::memcpy(message, error.message.data(), length);
      message[length] = 0;
    }
    return error.code;
  };
  try {
    auto model = Model::create(image, threads_that_pay(options ? options->threads : 0), options && options->has_seed ? &options->seed : nullptr);
    if (!model) return refuse(model.error());
    auto handle = std::make_unique<gradc_model>();
    handle->model = std::move(*model);
    for (const Variable& variable : handle->model->variables)
      if (variable.belongs_to_model()) handle->tensors.push_back(&variable);
    if (size(handle->model->program()->trains()) > 0)
      if (auto status = use_optimizer(handle.get(), ""); !status) return refuse(status.error());
    *out = handle.release();
    return GRADC_OK;
  } catch (const std::bad_alloc&) {
    return GRADC_MEMORY;
  }
}

void gradc_destroy(gradc_model* model) { delete model; }

const char* gradc_message(const gradc_model* model) { return model ? model->message.c_str() : "the model is null"; }

gradc_status gradc_get_info(gradc_model* model, gradc_info* out) {
  return guarded(model, [&]() -> Status {
    if (!out) return Error{GRADC_INVALID, "info is null"};
    Model& m = *model->model;
    *out = {};
    const auto* name = m.program()->name();
    out->name = name ? name->c_str() : "model";
    for (const Variable& variable : m.variables)
      if (variable.kind == program::VariableKind::parameter) out->parameters += variable.type.elements();
    out->variable_bytes = m.program()->variables_bytes();
    out->arena_bytes = m.arena_bytes();
    out->scratch_bytes = m.scratch_bytes();
    out->kernels = size(m.program()->kernels());
    out->threads = m.threads();
    out->tensors = int32_t(model->tensors.size());
    out->exports = int32_t(size(m.program()->exports()));
    return {};
  });
}

gradc_status gradc_save(gradc_model* model, const char* path) {
  return guarded(model, [&]() -> Status {
    if (!path) return Error{GRADC_INVALID, "the path is null"};
    model->state.stage = std::max<int64_t>(0, int64_t(size(model->model->program()->trains())) - 1);
    model->state.steps.clear();
    for (const StepRun& step : model->run.steps)
      model->state.steps.push_back({text(step.source->name()), text(step.optimizer->name()), step.executions, step.updates});
    return save_checkpoint(path, *model->model, model->state, model->run.chosen());
  });
}

gradc_status gradc_load(gradc_model* model, const char* path) {
  return guarded(model, [&]() -> Status {
    if (!path) return Error{GRADC_INVALID, "the path is null"};
    auto state = load_checkpoint(path, *model->model, Purpose::resume);
    if (!state) return std::move(state.error());
    model->state = std::move(*state);
    for (size_t s = 0; s < model->run.steps.size() && s < model->state.steps.size(); ++s) {
      StepRun& step = model->run.steps[s];
      for (uint32_t o = 0; o < size(step.source->optimizers()); ++o)
        if (const program::Optimizer* optimizer = step.source->optimizers()->Get(o); text(optimizer->name()) == model->state.steps[s].optimizer) {
          step.optimizer = optimizer;
          step.step = model->model->entry(optimizer->step());
          step.apply = model->model->entry(optimizer->apply());
        }
      step.executions = model->state.steps[s].executions;
      step.updates = model->state.steps[s].updates;
    }
    return {};
  });
}

gradc_status gradc_save_weights(gradc_model* model, const char* path) {
  return guarded(model, [&]() -> Status { return path ? save_weights(path, *model->model) : Status(Error{GRADC_INVALID, "the path is null"}); });
}

gradc_status gradc_load_weights(gradc_model* model, const char* path) {
  return guarded(model, [&]() -> Status { return path ? load_weights(path, *model->model) : Status(Error{GRADC_INVALID, "the path is null"}); });
}

gradc_status gradc_set(gradc_model* model, const char* name, double value) {
  return guarded(model, [&]() -> Status {
    auto hypers = model->model->find_hypers(name ? name : "", model->run.chosen());
    if (!hypers) return std::move(hypers.error());
    for (Hyper* hyper : *hypers) hyper->value = value;
    return {};
  });
}

gradc_status gradc_get(gradc_model* model, const char* name, double* value) {
  return guarded(model, [&]() -> Status {
    auto hypers = model->model->find_hypers(name ? name : "", model->run.chosen());
    if (!hypers) return std::move(hypers.error());
    if (value) *value = hypers->front()->value;
    return {};
  });
}

gradc_status gradc_use_optimizer(gradc_model* model, const char* name) {
  return guarded(model, [&]() -> Status { return use_optimizer(model, name ? name : ""); });
}

gradc_status gradc_step(gradc_model* model, const gradc_buffer* inputs, int32_t count, int64_t rows, double* loss) {
  return guarded(model, [&]() -> Status {
    if (model->run.steps.empty()) return Error{GRADC_INVALID, "this program has nothing to train"};
    if (rows <= 0 || count < 0 || (count > 0 && !inputs)) return Error{GRADC_INVALID, "no rows are given"};
    BufferRows source(inputs, count, rows);
    std::vector<FieldType> fields = fields_of(*model->model, model->run.source->data());
    for (const StepRun& step : model->run.steps) GRADC_TRY(source.check(*step.step, fields));
    GRADC_TRY(model->run.check_rows(rows));
    for (size_t s = 0; s < model->run.steps.size(); ++s)
      for (int64_t repeat = 0; repeat < std::max<int64_t>(1, model->run.steps[s].source->repeat()); ++repeat) {
        auto result = execute(*model->model, model->run, model->run.steps[s], source, 0, rows);
        if (!result) return std::move(result.error());
        if (loss && s == 0) *loss = result->loss;
      }
    ++model->state.cycles;
    ++model->state.cycle;
    return {};
  });
}

gradc_status gradc_eval(gradc_model* model, const gradc_buffer* inputs, int32_t count, int64_t rows, double* values, int32_t capacity, int32_t* figures) {
  return guarded(model, [&]() -> Status {
    if (!model->run.source) return Error{GRADC_INVALID, "this program has nothing to evaluate"};
    if (rows <= 0 || count < 0 || (count > 0 && !inputs)) return Error{GRADC_INVALID, "no rows are given"};
    auto evaluator = Evaluator::create(*model->model, model->run.source->validate());
    if (!evaluator) return std::move(evaluator.error());
    BufferRows source(inputs, count, rows);
    GRADC_TRY(source.check(evaluator->entry(), fields_of(*model->model, text(model->run.source->validate_data()).empty() ? model->run.source->data()
                                                                                                                        : model->run.source->validate_data())));
    Figures result = evaluator->run(*model->model, source, rows);
    for (int32_t i = 0; i < capacity && size_t(i) < result.size() && values; ++i) values[i] = result[size_t(i)].second;
    if (figures) *figures = int32_t(result.size());
    return {};
  });
}

gradc_status gradc_predict(gradc_model* model, const char* name, const gradc_buffer* inputs, int32_t count, int64_t rows, const gradc_buffer* outputs,
                           int32_t output_count) {
  return guarded(model, [&]() -> Status {
    if (rows <= 0 || count < 0 || (count > 0 && !inputs) || (output_count > 0 && !outputs)) return Error{GRADC_INVALID, "no rows are given"};
    auto predictor = Predictor::create(*model->model, name ? name : "");
    if (!predictor) return std::move(predictor.error());
    BufferRows source(inputs, count, rows);
    GRADC_TRY(source.check(*predictor->smallest(), predictor->inputs()));
    std::vector<char*> results;
    std::vector<std::vector<char>> unwanted;   // outputs that the caller does not ask for
    unwanted.reserve(predictor->outputs().size());
    for (const FieldType& field : predictor->outputs()) {
      const gradc_buffer* found = nullptr;
      for (int32_t i = 0; i < output_count; ++i)
        if (outputs[i].name ? field.name == outputs[i].name : output_count == 1) found = &outputs[i];
      uint64_t bytes = field.type.bytes() * uint64_t(rows);
      if (found && (found->bytes != bytes || int(found->element) != int(field.type.element) || !found->data))
        return Error{GRADC_INVALID, fmt::format("the output '{}' is {} bytes of {} for {} rows", field.name, bytes, info(field.type.element).name, rows)};
      if (!found) unwanted.emplace_back(bytes);
      results.push_back(found ? static_cast<char*>(found->data) : unwanted.back().data());
    }
    for (int32_t i = 0; i < output_count; ++i)
      if (outputs[i].name && std::none_of(predictor->outputs().begin(), predictor->outputs().end(), [&](const FieldType& field) { return field.name == outputs[i].name; }))
        return Error{GRADC_UNKNOWN_NAME, fmt::format("'{}' has no output '{}'", predictor->name(), outputs[i].name)};
    return predictor->run(*model->model, source, rows, results);
  });
}

gradc_status gradc_reset(gradc_model* model) {
  return guarded(model, [&]() -> Status {
    model->model->reset_sessions();
    return {};
  });
}

gradc_status gradc_tensor_at(gradc_model* model, int32_t index, gradc_tensor* tensor) {
  return guarded(model, [&]() -> Status {
    if (!tensor || index < 0 || size_t(index) >= model->tensors.size()) return Error{GRADC_INVALID, fmt::format("there are {} tensors", model->tensors.size())};
    describe(*model->tensors[size_t(index)], tensor);
    return {};
  });
}

gradc_status gradc_tensor_named(gradc_model* model, const char* name, gradc_tensor* tensor) {
  return guarded(model, [&]() -> Status {
    auto variable = find_tensor(model, name);
    if (!variable) return std::move(variable.error());
    if (tensor) describe(**variable, tensor);
    return {};
  });
}

gradc_status gradc_read(gradc_model* model, const char* name, void* data, uint64_t bytes) {
  return guarded(model, [&]() -> Status {
    auto variable = find_tensor(model, name);
    if (!variable) return std::move(variable.error());
    if (!data || bytes != (*variable)->bytes) return Error{GRADC_INVALID, fmt::format("'{}' has {} bytes", name, (*variable)->bytes)};
    (*variable)->read(data);
    return {};
  });
}

gradc_status gradc_write(gradc_model* model, const char* name, const void* data, uint64_t bytes) {
  return guarded(model, [&]() -> Status {
    auto variable = find_tensor(model, name);
    if (!variable) return std::move(variable.error());
    if (!data || bytes != (*variable)->bytes) return Error{GRADC_INVALID, fmt::format("'{}' has {} bytes", name, (*variable)->bytes)};
    (*variable)->write(data);
    return {};
  });
}

}  // extern "C"
