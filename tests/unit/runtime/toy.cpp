#include "toy.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace gradc::runtime::toy {

namespace {
// Kernels take their sizes from an i64 array among the constants: features, rows.
const int64_t* sizes(char* at) { return reinterpret_cast<const int64_t*>(at); }
float* floats(char* at) { return reinterpret_cast<float*>(at); }
uint64_t mix(uint64_t x) {
  x = (x ^ x >> 33) * 0xff51afd7ed558ccd;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53;
  return x ^ x >> 33;
}
float noise(int64_t seed, int64_t step, int64_t row) { return float(mix(uint64_t(seed) * 31 + mix(uint64_t(step) * 17 + mix(uint64_t(row)))) >> 40) / float(1 << 24) - 0.5f; }

// sizes, seed -> w, b
void init(char* const* a, int64_t, int64_t, char*) {
  for (int64_t f = 0; f < sizes(a[0])[0]; ++f) floats(a[2])[f] = noise(*sizes(a[1]), 1000, f);
  floats(a[3])[0] = 0;
}
// sizes, x, y, w, b, seed, step, row, valid -> residual; units: rows
void residual(char* const* a, int64_t begin, int64_t end, char*) {
  int64_t features = sizes(a[0])[0];
  for (int64_t i = begin; i < end; ++i) {
    float sum = floats(a[4])[0] - floats(a[2])[i];
    for (int64_t f = 0; f < features; ++f) sum += floats(a[1])[i * features + f] * floats(a[3])[f];
    sum += 0.01f * noise(*sizes(a[5]), *sizes(a[6]), *sizes(a[7]) + i);
    floats(a[9])[i] = i < *sizes(a[8]) ? sum : 0;
  }
}
// As residual, but infinite where the sum is above 5.
void poisoned(char* const* a, int64_t begin, int64_t end, char* scratch) {
  residual(a, begin, end, scratch);
  for (int64_t i = begin; i < end; ++i)
    if (std::fabs(floats(a[9])[i]) > 5) floats(a[9])[i] = INFINITY;
}
// sizes, x, residual, valid -> gradient of w; units: features. The last unit, number `features`, is the gradient of b.
void gradient(char* const* a, int64_t begin, int64_t end, char*) {
  int64_t features = sizes(a[0])[0], rows = sizes(a[0])[1];
  for (int64_t f = begin; f < end; ++f) {
    float sum = 0;
    for (int64_t i = 0; i < rows; ++i) sum += floats(a[2])[i] * (f < features ? floats(a[1])[i * features + f] : 1);
    floats(a[4])[f] = sum / float(*sizes(a[3]));
  }
}
// sizes, x, seed, step, row -> x; units: rows
void disturb(char* const* a, int64_t begin, int64_t end, char*) {
  int64_t features = sizes(a[0])[0];
  for (int64_t i = begin; i < end; ++i)
    for (int64_t f = 0; f < features; ++f)
      floats(a[5])[i * features + f] = floats(a[1])[i * features + f] + 0.01f * float(*sizes(a[4]) + i) + float(*sizes(a[3])) + 0.5f * float(f);
}
// sizes, residual, valid -> loss
void loss(char* const* a, int64_t, int64_t, char*) {
  float sum = 0;
  for (int64_t i = 0; i < sizes(a[0])[1]; ++i) sum += floats(a[1])[i] * floats(a[1])[i];
  floats(a[3])[0] = sum / 2 / float(*sizes(a[2]));
}
// sizes, gradient, lr, w, b, v -> w, b, v; units: features + 1. Momentum with beta 0.5.
void update(char* const* a, int64_t begin, int64_t end, char*) {
  int64_t features = sizes(a[0])[0];
  float lr = float(*reinterpret_cast<double*>(a[2]));
  for (int64_t f = begin; f < end; ++f) {
    float& v = floats(a[8])[f];
    v = 0.5f * v + 0.5f * floats(a[1])[f];
    (f < features ? floats(a[6])[f] : floats(a[7])[0]) -= lr * v;
  }
}
// sizes, gradient, valid, sums -> sums; units: features + 1. Adds a chunk.
void add_chunk(char* const* a, int64_t begin, int64_t end, char*) {
  for (int64_t f = begin; f < end; ++f) floats(a[4])[f] += floats(a[1])[f] * float(*sizes(a[2]));
}
// sizes, sums, count -> gradient, sums; units: features + 1
void take_sums(char* const* a, int64_t begin, int64_t end, char*) {
  for (int64_t f = begin; f < end; ++f) {
    floats(a[3])[f] = floats(a[1])[f] / float(*reinterpret_cast<double*>(a[2]));
    floats(a[4])[f] = 0;
  }
}
// sizes, residual -> sum of squares, largest
void figures(char* const* a, int64_t, int64_t, char*) {
  floats(a[2])[0] = floats(a[3])[0] = 0;
  for (int64_t i = 0; i < sizes(a[0])[1]; ++i) {
    floats(a[2])[0] += floats(a[1])[i] * floats(a[1])[i];
    floats(a[3])[0] = std::fmax(floats(a[3])[0], std::fabs(floats(a[1])[i]));
  }
}
// sum, largest, count -> loss, worst
void finish(char* const* a, int64_t, int64_t, char*) {
  floats(a[3])[0] = floats(a[0])[0] / 2 / float(*reinterpret_cast<double*>(a[2]));
  floats(a[4])[0] = floats(a[1])[0];
}
// sizes, x, w, b -> prediction; units: rows
void predict(char* const* a, int64_t begin, int64_t end, char*) {
  int64_t features = sizes(a[0])[0];
  for (int64_t i = begin; i < end; ++i) {
    floats(a[4])[i] = floats(a[3])[0];
    for (int64_t f = 0; f < features; ++f) floats(a[4])[i] += floats(a[1])[i * features + f] * floats(a[2])[f];
  }
}

using program::Place;
using program::Space;
using Shape = std::vector<int64_t>;

std::unique_ptr<program::TensorTypeT> type(ElementType element, Shape shape) {
  auto result = std::make_unique<program::TensorTypeT>();
  result->element = element;
  result->shape = std::move(shape);
  return result;
}

// Lays out places one after the other.
struct Layout {
  Space space;
  uint64_t next = 0;
  Place operator()(uint64_t bytes) {
    Place place(space, next);
    next += (bytes + 63) / 64 * 64;
    return place;
  }
};

struct Builder {
  program::ProgramT& program;
  const Options& options;
  std::vector<gradc_kernel>& kernels;

  uint32_t kernel(const char* name, gradc_kernel function) {
    program.kernels.push_back(std::make_unique<program::KernelT>());
    program.kernels.back()->symbol = name;
    kernels.push_back(function);
    return uint32_t(kernels.size() - 1);
  }
  void variable(const char* name, Shape shape, program::VariableKind kind, Place place) {
    auto variable = std::make_unique<program::VariableT>();
    variable->name = name;
    variable->type = type(ElementType::f32, shape);
    variable->kind = kind;
    variable->offset = place.offset();
    variable->line = "toy.grad:1";
    program.variables.push_back(std::move(variable));
  }
  static std::unique_ptr<program::PortT> port(const char* name, ElementType element, Shape shape, Place place) {
    auto port = std::make_unique<program::PortT>();
    port->name = name;
    port->type = type(element, shape);
    port->place = std::make_unique<Place>(place);
    return port;
  }
  program::EntryT& entry(const char* name) {
    program.entries.push_back(std::make_unique<program::EntryT>());
    program.entries.back()->name = name;
    program.entries.back()->scratch_bytes = 64;
    return *program.entries.back();
  }
  void phase(program::EntryT& entry) { entry.phases.push_back(std::make_unique<program::PhaseT>()); }
  // A strand with one call, in the entry's last phase. outputs: their types, the last arguments.
  void call(program::EntryT& entry, uint32_t kernel, std::vector<Place> args, int64_t units, int64_t grain, std::vector<Shape> outputs, const char* line) {
    auto call = std::make_unique<program::CallT>();
    call->kernel = kernel;
    call->args = std::move(args);
    call->units = uint64_t(units);
    call->grain = uint64_t(grain);
    call->outputs = uint32_t(outputs.size());
    for (Shape& shape : outputs) call->output_types.push_back(type(ElementType::f32, shape));
    call->flops = options.heavy ? 1e6 : 100;
    call->name = program.kernels[kernel]->symbol;
    call->lines = {static_cast<uint32_t>(program.lines.size())};
    program.lines.push_back(line);
    auto strand = std::make_unique<program::StrandT>();
    strand->granules = uint32_t((units + grain - 1) / grain);
    strand->calls.push_back(std::move(call));
    entry.phases.back()->strands.push_back(std::move(strand));
  }
};
}  // namespace

Toy::Toy(const Options& o) {
  Builder build{tables_, o, kernels_};
  int64_t features = o.features, rows = o.batch, all = features + 1;
  uint32_t k_init = build.kernel("init", init), k_residual = build.kernel("residual", o.poison ? poisoned : residual), k_gradient = build.kernel("gradient", gradient),
           k_loss = build.kernel("loss", loss), k_update = build.kernel("update", update), k_add = build.kernel("add_chunk", add_chunk),
           k_take = build.kernel("take_sums", take_sums), k_figures = build.kernel("figures", figures), k_finish = build.kernel("finish", finish),
           k_predict = build.kernel("predict", predict);
  Layout variables{Space::variables}, arena{Space::arena};
  Place w = variables(uint64_t(features) * 4), b = variables(4), v = variables(uint64_t(all) * 4), sums = variables(uint64_t(all) * 4);
  build.variable("line.w", {features}, program::VariableKind::parameter, w);
  build.variable("line.b", {}, program::VariableKind::parameter, b);
  build.variable("sgd.v", {all}, program::VariableKind::slot, v);
  build.variable("sums", {all}, program::VariableKind::accumulator, sums);
  tables_.variables_bytes = variables.next;
  Place x = arena(uint64_t(rows * features) * 4), y = arena(uint64_t(rows) * 4), r = arena(uint64_t(rows) * 4), g = arena(uint64_t(all) * 4), l = arena(4),
        seed = arena(8), step = arena(8), row = arena(8), valid = arena(8), lr = arena(8), count = arena(8), sum = arena(4), most = arena(4), worst = arena(4);
  tables_.constants.resize(128);
  int64_t numbers[2] = {features, rows}, one_row[2] = {features, 1};
  std::memcpy(tables_.constants.data(), numbers, 16);
  std::memcpy(tables_.constants.data() + 64, one_row, 16);
  Place dims(Space::constants, 0);

  program::EntryT& e_init = build.entry("init");
  e_init.inputs.push_back(Builder::port("seed", ElementType::i64, {}, seed));
  e_init.writes = {"line.w", "line.b"};
  build.phase(e_init);
  build.call(e_init, k_init, {dims, seed, w, b}, 1, 1, {{features}, {}}, "toy.grad:1");

  auto batch_inputs = [&](program::EntryT& entry) {
    entry.inputs.push_back(Builder::port("x", ElementType::f32, {rows, features}, x));
    entry.inputs.push_back(Builder::port("y", ElementType::f32, {rows}, y));
    entry.inputs.push_back(Builder::port("seed", ElementType::i64, {}, seed));
    entry.inputs.push_back(Builder::port("step", ElementType::i64, {}, step));
    entry.inputs.push_back(Builder::port("row", ElementType::i64, {}, row));
    entry.inputs.push_back(Builder::port("valid", ElementType::i64, {}, valid));
    build.phase(entry);
    build.call(entry, k_residual, {dims, x, y, w, b, seed, step, row, valid, r}, rows, 2, {{rows}}, "toy.grad:2");
  };
  program::EntryT& e_step = build.entry("train.sgd");
  batch_inputs(e_step);
  build.phase(e_step);
  build.call(e_step, k_gradient, {dims, x, r, valid, g}, all, 1, {{all}}, "gradient of toy.grad:2");
  build.call(e_step, k_loss, {dims, r, valid, l}, 1, 1, {{}}, "toy.grad:3");
  build.phase(e_step);
  e_step.first_update = 2;
  e_step.outputs.push_back(Builder::port("loss", ElementType::f32, {}, l));
  if (o.accumulate) {
    build.call(e_step, k_add, {dims, g, valid, sums, sums}, all, 1, {{all}}, "toy.grad:4");
    e_step.writes = {"sums"};
    program::EntryT& e_apply = build.entry("apply.sgd");
    e_apply.inputs.push_back(Builder::port("count", ElementType::f64, {}, count));
    e_apply.inputs.push_back(Builder::port("sgd.lr", ElementType::f64, {}, lr));
    e_apply.writes = {"line.w", "line.b", "sgd.v", "sums"};
    build.phase(e_apply);
    build.call(e_apply, k_take, {dims, sums, count, g, sums}, all, 1, {{all}, {all}}, "toy.grad:4");
    build.phase(e_apply);
    build.call(e_apply, k_update, {dims, g, lr, w, b, v, w, b, v}, all, 1, {{features}, {}, {all}}, "toy.grad:4");
    e_apply.first_update = 0;
  } else {
    e_step.inputs.push_back(Builder::port("sgd.lr", ElementType::f64, {}, lr));
    build.call(e_step, k_update, {dims, g, lr, w, b, v, w, b, v}, all, 1, {{features}, {}, {all}}, "toy.grad:4");
    e_step.writes = {"line.w", "line.b", "sgd.v"};
  }
  program::EntryT& e_validate = build.entry("validate");
  batch_inputs(e_validate);
  build.phase(e_validate);
  build.call(e_validate, k_figures, {dims, r, sum, most}, 1, 1, {{}, {}}, "toy.grad:5");
  e_validate.outputs.push_back(Builder::port("sum", ElementType::f32, {}, sum));
  e_validate.outputs.push_back(Builder::port("most", ElementType::f32, {}, most));
  e_validate.first_update = 2;
  program::EntryT& e_finish = build.entry("validate.finish");
  e_finish.inputs.push_back(Builder::port("sum", ElementType::f32, {}, sum));
  e_finish.inputs.push_back(Builder::port("most", ElementType::f32, {}, most));
  e_finish.inputs.push_back(Builder::port("count", ElementType::f64, {}, count));
  build.phase(e_finish);
  build.call(e_finish, k_finish, {sum, most, count, l, worst}, 1, 1, {{}, {}}, "toy.grad:5");
  e_finish.outputs.push_back(Builder::port("loss", ElementType::f32, {}, l));
  e_finish.outputs.push_back(Builder::port("worst", ElementType::f32, {}, worst));
  e_finish.first_update = 1;
  for (int64_t chunk : {int64_t(1), rows}) {
    program::EntryT& e_predict = build.entry(chunk == 1 ? "export.predict.1" : "export.predict.n");
    e_predict.inputs.push_back(Builder::port("x", ElementType::f32, {chunk, features}, x));
    e_predict.outputs.push_back(Builder::port("result", ElementType::f32, {chunk}, r));
    build.phase(e_predict);
    build.call(e_predict, k_predict, {Place(Space::constants, chunk == 1 ? 64 : 0), x, w, b, r}, chunk, 2, {{chunk}}, "toy.grad:6");
    e_predict.first_update = 1;
  }
  if (o.augment) {
    program::EntryT& e_augment = build.entry("augment.");
    Place raw = arena(uint64_t(3 * features) * 4), made = arena(uint64_t(3 * features) * 4);
    e_augment.inputs.push_back(Builder::port("x", ElementType::f32, {3, features}, raw));
    e_augment.inputs.push_back(Builder::port("seed", ElementType::i64, {}, seed));
    e_augment.inputs.push_back(Builder::port("step", ElementType::i64, {}, step));
    e_augment.inputs.push_back(Builder::port("row", ElementType::i64, {}, row));
    e_augment.outputs.push_back(Builder::port("x", ElementType::f32, {3, features}, made));
    build.phase(e_augment);
    build.call(e_augment, build.kernel("disturb", disturb), {dims, raw, seed, step, row, made}, 3, 2, {{3, features}}, "toy.grad:7");
    e_augment.first_update = 1;
  }
  for (auto& entry : tables_.entries) entry->arena_bytes = arena.next;

  auto data = std::make_unique<program::DataSetT>();
  data->name = "points";
  data->directory = o.idx_folder;
  auto field = [](const char* name, Shape shape) {
    auto result = std::make_unique<program::FieldT>();
    result->name = name;
    result->type = type(ElementType::f32, shape);
    return result;
  };
  data->fields.push_back(field("x", {features}));
  data->fields.push_back(field("y", {}));
  for (const char* name : {"train", "test"}) {
    auto split = std::make_unique<program::SplitT>();
    split->name = name;
    split->line = "toy.grad:9";
    split->kind = program::SourceKind::table;
    int64_t samples = *name == 't' && name[1] == 'r' ? o.samples : 11;
    for (int64_t i = 0; i < samples; ++i) {
      double target = 0.25;
      for (int64_t f = 0; f < features; ++f) {
        double value = noise(99, int64_t(name[1]), i * features + f);
        split->rows.push_back(value);
        target += value * double(f + 1);
      }
      split->rows.push_back(target);
    }
    data->splits.push_back(std::move(split));
  }
  tables_.data.push_back(std::move(data));

  auto train = std::make_unique<program::TrainT>();
  train->data = train->validate_data = "points";
  train->split = "train";
  train->validate_split = "test";
  train->batch = o.accumulate ? 0 : o.batch;
  train->chunk = o.batch;
  train->epochs = o.epochs;
  train->patience = o.patience;
  train->reports = {"worst"};
  train->validate = std::make_unique<program::AccumulatedT>();
  train->validate->entry = "validate";
  train->validate->finish = "validate.finish";
  train->validate->combine = {program::Combine::add, program::Combine::max};
  train->validate->rows = rows;
  auto step_block = std::make_unique<program::TrainStepT>();
  auto optimizer = std::make_unique<program::OptimizerT>();
  optimizer->name = "sgd";
  optimizer->step = "train.sgd";
  optimizer->apply = o.accumulate ? "apply.sgd" : "";
  optimizer->lr = "sgd.lr";
  optimizer->hypers.push_back(std::make_unique<program::HyperT>());
  optimizer->hypers.back()->name = "sgd.lr";
  optimizer->hypers.back()->value = o.lr;
  step_block->optimizers.push_back(std::move(optimizer));
  train->step_list.push_back(std::move(step_block));
  tables_.trains.push_back(std::move(train));

  auto exported = std::make_unique<program::ExportT>();
  exported->name = "predict";
  for (auto [count_rows, entry] : {std::pair<int64_t, const char*>{1, "export.predict.1"}, {rows, "export.predict.n"}}) {
    exported->entries.push_back(std::make_unique<program::ExportEntryT>());
    exported->entries.back()->rows = count_rows;
    exported->entries.back()->entry = entry;
  }
  exported->inputs.push_back(field("x", {features}));
  exported->outputs.push_back(field("result", {}));
  tables_.exports.push_back(std::move(exported));

  tables_.abi = GRADC_ABI;
  tables_.name = "toy";
  tables_.source = "toy.grad";
  tables_.target = "any";
  tables_.seed = 7;
  tables_.init = "init";
  pack();
}

void Toy::pack() {
  flatbuffers::FlatBufferBuilder builder;
  program::FinishProgramBuffer(builder, program::Program::Pack(builder, &tables_));
  buffer_.assign(builder.GetSize() / 8 + 1, 0);
  std::memcpy(buffer_.data(), builder.GetBufferPointer(), builder.GetSize());
  image_ = {reinterpret_cast<const uint8_t*>(buffer_.data()), builder.GetSize(), kernels_.data()};
}

std::string fresh_folder(const std::string& name) {
  std::string path = (std::filesystem::temp_directory_path() / ("gradc-tests-" + std::to_string(getpid())) / name).string();
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

void write_file(const std::string& path, const std::string& content) { std::ofstream(path, std::ios::binary) << content; }

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace gradc::runtime::toy
