/* The C interface of a compiled model: create, load, save, step, eval, predict, look inside. The executables' main uses the same
 * functions underneath. No function exits, prints or keeps state outside the handle; two models live in one process side by side.
 * A handle is used by one thread at a time; different handles are independent.
 *
 * Every function that can fail returns a status; gradc_message gives the text of the handle's last failure. */
#ifndef GRADC_GRADC_H
#define GRADC_GRADC_H
#include "runtime/image.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gradc_status {
  GRADC_OK = 0,
  GRADC_INVALID = 1,      /* an argument makes no sense: null, wrong size, wrong element type */
  GRADC_UNKNOWN_NAME = 2, /* no such parameter, hyperparameter, optimizer, export, input */
  GRADC_RANGE = 3,        /* a value outside the range that the model file declares */
  GRADC_FILE = 4,         /* a file that cannot be opened, read or written */
  GRADC_CORRUPT = 5,      /* a truncated or damaged file */
  GRADC_OTHER_MODEL = 6,  /* a checkpoint or weights that belong to another model */
  GRADC_NOT_FINITE = 7,   /* the loss is not finite; nothing was updated */
  GRADC_MACHINE = 8,      /* this processor lacks what the model was compiled for */
  GRADC_MEMORY = 9,
  GRADC_INTERNAL = 10
} gradc_status;

typedef enum gradc_element {
  GRADC_F32, GRADC_F64, GRADC_BF16, GRADC_I32, GRADC_I64, GRADC_U8, GRADC_BOOLEAN
} gradc_element;

typedef struct gradc_model gradc_model;

/* 0 everywhere is a good default. */
typedef struct gradc_options {
  int32_t threads;  /* at most, or 0: the least of affinity, control-group quota and cores is never passed */
  int32_t has_seed; /* else the model file's seed */
  int64_t seed;
} gradc_options;

/* Data going in or out: `bytes` must be exactly rows x bytes of one sample. Row-major, any alignment. */
typedef struct gradc_buffer {
  const char* name;
  void* data; /* inputs are not written */
  uint64_t bytes;
  gradc_element element;
} gradc_buffer;

typedef struct gradc_tensor {
  const char* name;
  const int64_t* shape;
  int32_t rank;
  gradc_element element;
  uint64_t bytes;
  int32_t trained; /* a parameter that is not frozen; 0: a state or a frozen parameter */
} gradc_tensor;

typedef struct gradc_info {
  const char* name;
  int64_t parameters;      /* numbers in all parameters */
  uint64_t variable_bytes; /* parameters, states, slots of all optimizers */
  uint64_t arena_bytes;
  uint64_t scratch_bytes;  /* of all threads */
  int64_t kernels;
  int32_t threads;
  int32_t tensors;         /* parameters and states, for gradc_tensor_at */
  int32_t exports;
} gradc_info;

/* Creates a model with its first values. On failure *model is null and the text goes to message (if not null). */
gradc_status gradc_create(const gradc_image* image, const gradc_options* options, gradc_model** model, char* message, uint64_t message_size);
void gradc_destroy(gradc_model* model);
const char* gradc_message(const gradc_model* model);
gradc_status gradc_get_info(gradc_model* model, gradc_info* info);

/* Checkpoints: everything that training needs to go on. A save that fails leaves the file as it was. */
gradc_status gradc_save(gradc_model* model, const char* path);
gradc_status gradc_load(gradc_model* model, const char* path);
/* Weights by name, in safetensors files. */
gradc_status gradc_save_weights(gradc_model* model, const char* path);
gradc_status gradc_load_weights(gradc_model* model, const char* path);

/* Hyperparameters: "adam.lr", "rate"; a part after the last dot where it is unique ("lr"). */
gradc_status gradc_set(gradc_model* model, const char* name, double value);
gradc_status gradc_get(gradc_model* model, const char* name, double* value);
/* Chooses among the optimizers that the model was compiled with, and gives its state the first values.
   Of several steps: "NAME" for all that have it, "STEP=NAME" for one; the others have the one that they name first. */
gradc_status gradc_use_optimizer(gradc_model* model, const char* name);

/* One update on a batch: the data's fields by name, `rows` samples: the compiled batch (any number where the model accumulates). */
gradc_status gradc_step(gradc_model* model, const gradc_buffer* inputs, int32_t count, int64_t rows, double* loss);
/* Loss and reports over `rows` samples of the validation's fields. values: the figures in order, `capacity` at most; *figures: how many there are. */
gradc_status gradc_eval(gradc_model* model, const gradc_buffer* inputs, int32_t count, int64_t rows, double* values, int32_t capacity, int32_t* figures);
/* An export, by name (null: the first). Any number of rows. Those of an export `for N steps` come one after the other, N from reset to reset, in any number of calls. */
gradc_status gradc_predict(gradc_model* model, const char* name, const gradc_buffer* inputs, int32_t count, int64_t rows,
                           const gradc_buffer* outputs, int32_t output_count);

/* Begins anew: what exports `for N steps` remember of the rows so far is forgotten. */
gradc_status gradc_reset(gradc_model* model);

/* Parameters and states. The pointers in *tensor live as long as the model. */
gradc_status gradc_tensor_at(gradc_model* model, int32_t index, gradc_tensor* tensor);
gradc_status gradc_tensor_named(gradc_model* model, const char* name, gradc_tensor* tensor);
gradc_status gradc_read(gradc_model* model, const char* name, void* data, uint64_t bytes);
gradc_status gradc_write(gradc_model* model, const char* name, const void* data, uint64_t bytes);

/* What an executable made from this image does, from its arguments to its exit status. It prints; the others do not. */
int gradc_main(const gradc_image* image, int argc, const char* const* argv);

#ifdef __cplusplus
}
#endif
#endif
