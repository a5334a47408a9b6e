// llm.c's training step behind three functions, for llmc_train.py. Compiled beside a checkout of llm.c.
#define TESTING
#include "train_gpt2.c"

static GPT2 model;
static int steps;

void start(const char* checkpoint) {
  if (steps) gpt2_free(&model);
  gpt2_build_from_checkpoint(&model, checkpoint);
  steps = 0;
}

// Forward, backward, Adam. Returns the loss.
float step(int* inputs, int* targets, int batch, int length, float rate) {
  gpt2_forward(&model, inputs, targets, batch, length);
  gpt2_zero_grad(&model);
  gpt2_backward(&model);
  gpt2_update(&model, rate, 0.9f, 0.999f, 1e-8f, 0.0f, ++steps);
  return model.mean_loss;
}
