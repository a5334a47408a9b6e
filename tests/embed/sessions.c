/* An export for a number of steps through the C interface: what it remembers belongs to the handle, rows of one call and of several are the same, and a
 * reset forgets all of it. */
#include <stdio.h>
#include <stdlib.h>

#include "sums.h"

static gradc_model *create(void) {
  gradc_model *model = NULL;
  if (sums_create(NULL, &model, NULL, 0) != GRADC_OK) exit(1);
  return model;
}

static gradc_status feed(gradc_model *model, float *x, float *y, int rows) {
  gradc_buffer in = {"x", x, sizeof(float) * (size_t)rows, GRADC_F32}, out = {"sum", y, sizeof(float) * (size_t)rows, GRADC_F32};
  return sums_predict(model, "sum", &in, 1, rows, &out, 1);
}

#define CHECK(condition) \
  if (!(condition)) return printf("line %d: %s\n", __LINE__, #condition), 1

int main(void) {
  float x[] = {1, 20, 300, 4000, 50000}, y[5] = {0}, z[5] = {0};
  gradc_model *first = create(), *second = create();
  CHECK(feed(first, x, y, 4) == GRADC_OK);
  CHECK(y[0] == 1 && y[1] == 21 && y[2] == 321 && y[3] == 4321);
  CHECK(feed(second, x + 1, z, 1) == GRADC_OK && z[0] == 20);
  CHECK(feed(first, x, y, 1) == GRADC_RANGE);
  CHECK(feed(second, x + 2, z + 1, 3) == GRADC_OK && z[1] == 320 && z[3] == 54320);
  CHECK(sums_reset(first) == GRADC_OK);
  CHECK(feed(first, x, y, 5) == GRADC_RANGE);
  CHECK(feed(first, x, y, 2) == GRADC_OK && y[0] == 1 && y[1] == 21);
  sums_destroy(first);
  sums_destroy(second);
  puts("ok");
  return 0;
}
