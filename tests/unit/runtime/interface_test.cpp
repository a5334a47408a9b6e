// The C interface: training through it, two models at once, and every misuse as a code and a message.
#include <catch2/catch.hpp>
#include <cmath>

#include "toy.h"

using namespace gradc::runtime;

namespace {
struct Handle {
  explicit Handle(const toy::Toy& program, int64_t seed = 7) {
    gradc_options options{1, 1, seed};
    char text[256];
    status = gradc_create(program.image(), &options, &model, text, sizeof text);
  }
  ~Handle() { gradc_destroy(model); }
  std::string message() const { return gradc_message(model); }
  gradc_model* model = nullptr;
  gradc_status status;
};
struct Batch {
  float x[24], y[8];
  gradc_buffer buffers[2];
  explicit Batch(int rows = 8) {
    for (int i = 0; i < 8; ++i) {
      y[i] = 0.25f;
      for (int f = 0; f < 3; ++f) x[i * 3 + f] = std::sin(float(i * 3 + f)), y[i] += x[i * 3 + f] * float(f + 1);
    }
    buffers[0] = {"x", x, uint64_t(rows) * 12, GRADC_F32};
    buffers[1] = {"y", y, uint64_t(rows) * 4, GRADC_F32};
  }
};
}  // namespace

TEST_CASE("the C interface trains, saves, loads and predicts") {
  std::string folder = toy::fresh_folder("interface");
  toy::Toy program;
  Handle a(program), b(program, 8);
  REQUIRE(a.status == GRADC_OK);
  REQUIRE(b.status == GRADC_OK);
  Batch batch;
  double first = 0, loss = 0;
  REQUIRE(gradc_step(a.model, batch.buffers, 2, 8, &first) == GRADC_OK);
  for (int i = 0; i < 300; ++i) REQUIRE(gradc_step(a.model, batch.buffers, 2, 8, &loss) == GRADC_OK);
  CHECK(loss < first / 100);
  double figures[2];
  int32_t count = 0;
  REQUIRE(gradc_eval(a.model, batch.buffers, 2, 8, figures, 2, &count) == GRADC_OK);
  CHECK(count == 2);
  CHECK(figures[0] == Approx(loss).epsilon(0.5));

  // The other model has its own memory: nothing of this has reached it.
  float wa[3], wb[3];
  REQUIRE(gradc_read(a.model, "line.w", wa, sizeof wa) == GRADC_OK);
  REQUIRE(gradc_read(b.model, "line.w", wb, sizeof wb) == GRADC_OK);
  CHECK(wa[2] != wb[2]);
  REQUIRE(gradc_save(a.model, (folder + "/a.ckpt").c_str()) == GRADC_OK);
  REQUIRE(gradc_load(b.model, (folder + "/a.ckpt").c_str()) == GRADC_OK);
  double la = 0, lb = 0;   // slots and counters came along: both go on alike
  for (int i = 0; i < 3; ++i) {
    REQUIRE(gradc_step(a.model, batch.buffers, 2, 8, &la) == GRADC_OK);
    REQUIRE(gradc_step(b.model, batch.buffers, 2, 8, &lb) == GRADC_OK);
    CHECK(la == lb);
  }
  float big[3 * 100], results[100], one;
  for (int i = 0; i < 300; ++i) big[i] = std::cos(float(i));
  for (int rows : {1, 2, 3, 8, 9, 64, 100}) {
    gradc_buffer in{"x", big, uint64_t(rows) * 12, GRADC_F32}, out{"result", results, uint64_t(rows) * 4, GRADC_F32};
    REQUIRE(gradc_predict(a.model, "predict", &in, 1, rows, &out, 1) == GRADC_OK);
    for (int row = 0; row < rows; ++row) {   // the same bits, whatever the chunk
      gradc_buffer single{"x", big + 3 * row, 12, GRADC_F32}, into{nullptr, &one, 4, GRADC_F32};
      REQUIRE(gradc_predict(a.model, nullptr, &single, 1, 1, &into, 1) == GRADC_OK);
      CHECK(one == results[row]);
    }
  }
  gradc_info info;
  REQUIRE(gradc_get_info(a.model, &info) == GRADC_OK);
  CHECK(std::string(info.name) == "toy");
  CHECK(info.parameters == 4);
  CHECK(info.tensors == 2);
  gradc_tensor tensor;
  REQUIRE(gradc_tensor_at(a.model, 0, &tensor) == GRADC_OK);
  CHECK(std::string(tensor.name) == "line.w");
  CHECK(tensor.rank == 1);
  CHECK(tensor.shape[0] == 3);
  float zeros[3] = {};
  REQUIRE(gradc_write(a.model, "line.w", zeros, sizeof zeros) == GRADC_OK);
  REQUIRE(gradc_save_weights(b.model, (folder + "/b.safetensors").c_str()) == GRADC_OK);
  REQUIRE(gradc_load_weights(a.model, (folder + "/b.safetensors").c_str()) == GRADC_OK);
  REQUIRE(gradc_read(a.model, "line.w", wa, sizeof wa) == GRADC_OK);
  REQUIRE(gradc_read(b.model, "line.w", wb, sizeof wb) == GRADC_OK);
  CHECK(std::memcmp(wa, wb, sizeof wa) == 0);
}

TEST_CASE("a step through the C interface may have fewer rows, and more where it accumulates") {
  toy::Toy plain;
  Handle a(plain);
  Batch few(5);
  double loss = 0;
  CHECK(gradc_step(a.model, few.buffers, 2, 5, &loss) == GRADC_OK);
  CHECK(std::isfinite(loss));
  std::vector<float> x(60), y(20);
  gradc_buffer many[] = {{"x", x.data(), 240, GRADC_F32}, {"y", y.data(), 80, GRADC_F32}};
  CHECK(gradc_step(a.model, many, 2, 20, &loss) == GRADC_INVALID);
  toy::Options options;
  options.accumulate = true;
  toy::Toy chunks(options);
  Handle b(chunks);
  CHECK(gradc_step(b.model, many, 2, 20, &loss) == GRADC_OK);
  // A step that knows nothing of `valid` takes whole batches alone.
  for (auto& entry : plain.tables().entries)
    for (auto& port : entry->inputs)
      if (entry->name == "train.sgd" && port->name == "valid") port->name = "seed";
  plain.pack();
  Handle c(plain);
  CHECK(gradc_step(c.model, few.buffers, 2, 5, &loss) == GRADC_INVALID);
  CHECK_THAT(c.message(), Catch::Contains("has 8 samples, not 5"));
}

TEST_CASE("misuse of the C interface") {
  toy::Toy program;
  Handle a(program);
  Batch batch;
  double value = 0;
  CHECK(gradc_create(nullptr, nullptr, nullptr, nullptr, 0) == GRADC_INVALID);
  gradc_model* none = nullptr;
  char text[24];
  CHECK(gradc_create(nullptr, nullptr, &none, text, sizeof text) == GRADC_INVALID);
  CHECK(std::string(text) == "no program in the image");
  CHECK(gradc_step(nullptr, batch.buffers, 2, 8, &value) == GRADC_INVALID);
  CHECK(gradc_step(a.model, batch.buffers, 1, 8, &value) == GRADC_UNKNOWN_NAME);
  CHECK_THAT(a.message(), Catch::Contains("'y' is not given"));
  CHECK(gradc_step(a.model, batch.buffers, 2, 0, &value) == GRADC_INVALID);
  CHECK(gradc_step(a.model, batch.buffers, 2, 7, &value) == GRADC_INVALID);
  CHECK_THAT(a.message(), Catch::Contains("7 rows of 'x' are 84 bytes, given are 96"));
  batch.buffers[0].element = GRADC_I32;
  CHECK(gradc_step(a.model, batch.buffers, 2, 8, &value) == GRADC_INVALID);
  CHECK_THAT(a.message(), Catch::Contains("f32") && Catch::Contains("i32"));
  CHECK(gradc_set(a.model, "sgd.lrr", 1) == GRADC_UNKNOWN_NAME);
  CHECK_THAT(a.message(), Catch::Contains("did you mean 'sgd.lr'?"));
  CHECK(gradc_set(a.model, "lr", 0.5) == GRADC_OK);
  CHECK(gradc_get(a.model, "sgd.lr", &value) == GRADC_OK);
  CHECK(value == 0.5);
  CHECK(gradc_use_optimizer(a.model, "adam") == GRADC_UNKNOWN_NAME);
  CHECK(gradc_use_optimizer(a.model, "sgd") == GRADC_OK);
  CHECK(gradc_load(a.model, "/nonexistent") == GRADC_FILE);
  CHECK(gradc_save(a.model, "/nonexistent/a.ckpt") == GRADC_FILE);
  CHECK(gradc_load(a.model, nullptr) == GRADC_INVALID);
  CHECK(gradc_read(a.model, "line.v", text, 4) == GRADC_UNKNOWN_NAME);
  CHECK(gradc_read(a.model, "line.w", text, 4) == GRADC_INVALID);
  CHECK(gradc_tensor_at(a.model, 2, nullptr) == GRADC_INVALID);
  CHECK(gradc_predict(a.model, "sample", nullptr, 0, 1, nullptr, 0) == GRADC_UNKNOWN_NAME);
  batch.buffers[0].element = GRADC_F32;
  batch.x[4] = NAN;
  CHECK(gradc_step(a.model, batch.buffers, 2, 8, &value) == GRADC_NOT_FINITE);
  CHECK_THAT(a.message(), Catch::Contains("'x'") && Catch::Contains("not finite"));
}

TEST_CASE("inputs of the C interface are checked against declared ranges") {
  toy::Toy program;
  for (auto& field : program.tables().data[0]->fields)
    if (field->name == "y") field->has_range = true, field->low = -100, field->high = 100;
  program.pack();
  Handle a(program);
  Batch batch;
  double loss = 0;
  CHECK(gradc_step(a.model, batch.buffers, 2, 8, &loss) == GRADC_OK);
  batch.y[3] = 100;
  CHECK(gradc_step(a.model, batch.buffers, 2, 8, &loss) == GRADC_RANGE);
  CHECK_THAT(a.message(), Catch::Contains("sample 3") && Catch::Contains("'y' is 100"));
}
