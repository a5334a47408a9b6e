/* A C program with two compiled models in it: trains one, saves, loads, predicts, and meets every kind of error as a code.
 * Arguments: a folder to write to. Prints "ok" and ends with 0, or says which line was wrong. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "other.h"
#include "small.h"

#define EXPECT(condition)                                                   \
  do {                                                                      \
    if (!(condition)) {                                                     \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                              \
    }                                                                       \
  } while (0)

enum { BATCH = 8, ROWS = 40 };

static uint8_t x[ROWS][4];
static uint8_t label[ROWS];

/* Two classes by the sum of four bytes. */
static void make_data(void) {
  uint32_t state = 1;
  for (int i = 0; i < ROWS; i++) {
    int sum = 0;
    for (int j = 0; j < 4; j++) {
      state = state * 1103515245u + 12345u;
      sum += x[i][j] = (uint8_t)(state >> 16);
    }
    label[i] = sum > 510;
  }
}

static double train(gradc_model* model, int epochs) {
  double loss = NAN;
  for (int epoch = 0; epoch < epochs; epoch++)
    for (int at = 0; at + BATCH <= ROWS; at += BATCH) {
      gradc_buffer batch[] = {{"x", x[at], BATCH * 4, GRADC_U8}, {"label", label + at, BATCH, GRADC_U8}};
      EXPECT(small_step(model, batch, 2, BATCH, &loss) == GRADC_OK);
    }
  return loss;
}

static void predict(gradc_model* model, float out[ROWS][2]) {
  gradc_buffer in = {"x", x, sizeof x, GRADC_U8};
  gradc_buffer result = {NULL, out, ROWS * 2 * sizeof(float), GRADC_F32};
  gradc_info info;
  EXPECT(small_get_info(model, &info) == GRADC_OK && info.exports == 1);
  result.name = "predict"; /* an export of one value calls it after itself */
  EXPECT(small_predict(model, NULL, &in, 1, ROWS, &result, 1) == GRADC_OK);
}

int main(int argc, char** argv) {
  EXPECT(argc == 2);
  make_data();
  char path[1024], message[256] = "";
  snprintf(path, sizeof path, "%s/embedded.ckpt", argv[1]);

  gradc_options options = {.threads = 2, .has_seed = 1, .seed = 7};
  gradc_model *model = NULL, *twin = NULL, *other = NULL;
  EXPECT(small_create(&options, &model, message, sizeof message) == GRADC_OK && model);
  EXPECT(other_create(NULL, &other, NULL, 0) == GRADC_OK && other);

  /* Training lowers the loss; the other model in the process is not touched. */
  gradc_info before, info;
  EXPECT(other_get_info(other, &before) == GRADC_OK);
  float* weights = malloc(9 * 4 * sizeof(float));
  gradc_tensor tensor;
  EXPECT(other_tensor_at(other, 0, &tensor) == GRADC_OK && tensor.bytes <= 9 * 4 * sizeof(float));
  EXPECT(other_read(other, tensor.name, weights, tensor.bytes) == GRADC_OK);
  EXPECT(small_use_optimizer(model, "adam") == GRADC_OK);
  double first = train(model, 1), last = train(model, 60);
  EXPECT(isfinite(first) && last < first && last < 0.3);
  float* again = malloc(tensor.bytes);
  EXPECT(other_read(other, tensor.name, again, tensor.bytes) == GRADC_OK && memcmp(weights, again, tensor.bytes) == 0);

  /* Evaluation: loss, then the reports. */
  gradc_buffer all[] = {{"x", x, sizeof x, GRADC_U8}, {"label", label, sizeof label, GRADC_U8}};
  double figures[4];
  int32_t count = 0;
  EXPECT(small_eval(model, all, 2, ROWS, figures, 4, &count) == GRADC_OK && count == 2);
  EXPECT(figures[0] < first && figures[1] > 0.9 && figures[1] <= 1);

  /* What is saved and loaded predicts the same bits. */
  float mine[ROWS][2], loaded[ROWS][2];
  predict(model, mine);
  for (int i = 0; i < ROWS; i++) EXPECT(fabsf(mine[i][0] + mine[i][1] - 1) < 1e-5f);
  EXPECT(small_save(model, path) == GRADC_OK);
  EXPECT(small_create(NULL, &twin, NULL, 0) == GRADC_OK);
  EXPECT(small_load(twin, path) == GRADC_OK);
  predict(twin, loaded);
  EXPECT(memcmp(mine, loaded, sizeof mine) == 0);

  /* Weights as a file of safetensors. */
  snprintf(path, sizeof path, "%s/embedded.safetensors", argv[1]);
  EXPECT(small_save_weights(model, path) == GRADC_OK && small_load_weights(twin, path) == GRADC_OK);

  /* Errors are codes with a message; the model stays usable. */
  double loss;
  EXPECT(small_step(model, all, 2, BATCH, &loss) == GRADC_INVALID && strlen(small_message(model)) > 0);
  gradc_buffer half[] = {{"x", x, BATCH * 4, GRADC_U8}};
  EXPECT(small_step(model, half, 1, BATCH, &loss) == GRADC_UNKNOWN_NAME && strstr(small_message(model), "label"));
  gradc_buffer floats[] = {{"x", x, BATCH * 4, GRADC_F32}, {"label", label, BATCH, GRADC_U8}};
  EXPECT(small_step(model, floats, 2, BATCH, &loss) == GRADC_INVALID);
  uint8_t wrong[BATCH] = {0, 1, 2, 0, 0, 0, 0, 0};
  gradc_buffer range[] = {{"x", x, BATCH * 4, GRADC_U8}, {"label", wrong, BATCH, GRADC_U8}};
  EXPECT(small_step(model, range, 2, BATCH, &loss) == GRADC_RANGE && strstr(small_message(model), "label"));
  EXPECT(small_load(model, "/nowhere/at/all.ckpt") == GRADC_FILE && strstr(small_message(model), "/nowhere"));
  EXPECT(small_save(model, "/nowhere/at/all.ckpt") == GRADC_FILE);
  snprintf(path, sizeof path, "%s/embedded.ckpt", argv[1]);
  EXPECT(other_load(other, path) == GRADC_OTHER_MODEL);
  EXPECT(small_use_optimizer(model, "adan") == GRADC_UNKNOWN_NAME && strstr(small_message(model), "adam"));
  EXPECT(small_set(model, "nothing", 1) == GRADC_UNKNOWN_NAME);
  double lr = 0;
  EXPECT(small_set(model, "adam.lr", 0.125) == GRADC_OK && small_get(model, "adam.lr", &lr) == GRADC_OK && lr == 0.125);
  FILE* file = fopen(path, "r+b");
  EXPECT(file && fseek(file, 40, SEEK_SET) == 0 && fputc(0x5a, file) != EOF && fclose(file) == 0);
  EXPECT(small_load(model, path) == GRADC_CORRUPT);
  predict(model, loaded);
  EXPECT(memcmp(mine, loaded, sizeof mine) == 0);

  EXPECT(small_get_info(model, &info) == GRADC_OK && info.parameters == 4 * 8 + 8 + 8 * 2 + 2 && info.kernels > 0);
  small_destroy(model);
  small_destroy(twin);
  other_destroy(other);
  free(weights);
  free(again);
  puts("ok");
  return 0;
}
