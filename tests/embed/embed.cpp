// A C++ program with a compiled model in it, linked statically, a handle for each of several threads: handles are independent,
// and from the same seed they end at the same bits.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "small.h"

namespace {

struct Destroy {
  void operator()(gradc_model* model) const { small_destroy(model); }
};

class Small {
 public:
  explicit Small(int64_t seed) {
    gradc_options options{1, 1, seed};
    gradc_model* model = nullptr;
    char message[256] = "";
    if (small_create(&options, &model, message, sizeof message) != GRADC_OK) throw std::runtime_error(message);
    model_.reset(model);
  }
  double step(std::vector<uint8_t>& x, std::vector<uint8_t>& label) {
    gradc_buffer batch[] = {{"x", x.data(), x.size(), GRADC_U8}, {"label", label.data(), label.size(), GRADC_U8}};
    double loss = 0;
    check(small_step(model_.get(), batch, 2, static_cast<int64_t>(label.size()), &loss));
    return loss;
  }
  std::vector<char> parameters() {
    gradc_info info;
    check(small_get_info(model_.get(), &info));
    std::vector<char> all;
    for (int32_t i = 0; i < info.tensors; ++i) {
      gradc_tensor tensor;
      check(small_tensor_at(model_.get(), i, &tensor));
      std::vector<char> part(tensor.bytes);
      check(small_read(model_.get(), tensor.name, part.data(), part.size()));
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }

 private:
  void check(gradc_status status) {
    if (status != GRADC_OK) throw std::runtime_error(small_message(model_.get()));
  }
  std::unique_ptr<gradc_model, Destroy> model_;
};

std::vector<char> train(int64_t seed) {
  Small model(seed);
  std::vector<uint8_t> x(32), label(8);
  uint32_t state = 3;
  for (int step = 0; step < 200; ++step) {
    for (size_t i = 0; i < label.size(); ++i) {
      int sum = 0;
      for (int j = 0; j < 4; ++j) sum += x[4 * i + j] = static_cast<uint8_t>((state = state * 1103515245u + 12345u) >> 16);
      label[i] = sum > 510;
    }
    model.step(x, label);
  }
  return model.parameters();
}

}  // namespace

int main() try {
  std::vector<std::vector<char>> results(4);
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < results.size(); ++i) threads.emplace_back([&, i] { results[i] = train(i < 3 ? 11 : 12); });
  }
  bool right = !results[0].empty() && results[0] == results[1] && results[0] == results[2] && results[0] != results[3];
  std::puts(right ? "ok" : "handles disturb each other");
  return right ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return EXIT_FAILURE;
}
