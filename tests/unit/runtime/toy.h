// A program made by hand: linear regression with noise and momentum, its kernels written in C++. What the compiler would emit, small enough to
// know every number.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "runtime/model.h"

namespace gradc::runtime::toy {

struct Options {
  int64_t features = 3, batch = 8, epochs = 5, patience = 0, samples = 40;
  bool accumulate = false;         // batch: all, in chunks of `batch`
  bool heavy = false;              // pretend that the kernels are worth several threads
  double lr = 0.1;
  std::string idx_folder;          // else the data are a table
  bool augment = false;            // noise on x, for 3 samples at a time
  bool poison = false;             // the forward kernel gives infinity at large weights
};

/// Owns the image of one program.
class Toy {
 public:
  explicit Toy(const Options& options = {});
  const gradc_image* image() const { return &image_; }
  program::ProgramT& tables() { return tables_; }
  void pack();   // after changes to tables()

 private:
  program::ProgramT tables_;
  std::vector<uint64_t> buffer_;
  std::vector<gradc_kernel> kernels_;
  gradc_image image_{};
};

inline std::unique_ptr<Model> make(const Toy& toy, int threads = 1, int64_t seed = 7) {
  auto model = Model::create(toy.image(), threads, &seed);
  return model ? std::move(*model) : nullptr;
}

/// A folder of our own under build/, empty.
std::string fresh_folder(const std::string& name);
void write_file(const std::string& path, const std::string& content);
std::string read_file(const std::string& path);

}  // namespace gradc::runtime::toy
