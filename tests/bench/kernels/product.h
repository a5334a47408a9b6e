// A matrix product of a dense layer, and who can compute it: us and the libraries that were found when the benchmark was configured.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace bench {

enum class Which { forward, input_gradient, weight_gradient };

/// x[batch, in], w[in, out], dy[batch, out]; the results are y[batch, out], dx[batch, in], dw[in, out].
struct Product {
  Which which;
  int64_t batch, in, out;

  /// As rows x columns of the result and the length of the sums.
  int64_t rows() const { return which == Which::weight_gradient ? in : batch; }
  int64_t columns() const { return which == Which::input_gradient ? in : out; }
  int64_t depth() const { return which == Which::forward ? in : which == Which::input_gradient ? out : batch; }
  double flop() const { return 2.0 * double(batch) * double(in) * double(out); }
};

/// Aligned floats.
class Array {
 public:
  explicit Array(int64_t count) : data_(static_cast<float*>(std::aligned_alloc(64, size_t(count * 4 + 127) / 64 * 64))), size_(count) {}
  float* data() const { return data_.get(); }
  int64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  int64_t size_;
};

/// The operands, row by row: of forward x and w, of the input gradient dy and w, of the weight gradient x and dy.
struct Operands {
  const float *x, *w, *dy;
};

/// A product that is ready to run: compiled, and its operands in the layout that it likes best. That time does not count.
struct Prepared {
  std::function<void()> run;
  std::function<void(float* plain)> result;   // copies the result, row by row
};

struct Contender {
  std::string name;      // with its version
  std::function<Prepared(const Product&, const Operands&)> prepare;   // gives none where the library cannot
};

/// Who was found.
std::vector<Contender> libraries();

/// Median seconds of a call, over repetitions that last some milliseconds together.
double median_time(double milliseconds, const std::function<void()>& call);

}  // namespace bench
