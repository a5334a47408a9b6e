// A matrix product of a dense layer or a convolution, and who can compute it: us and the libraries that were found when the benchmark was configured.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace bench {

enum class Which { forward, input_gradient, weight_gradient };

/// Numbers of elements.
struct Sizes {
  int64_t x, w, y;
  /// x and dx have the same, and so on.
  int64_t result(Which which) const { return which == Which::forward ? y : which == Which::input_gradient ? x : w; }
};

/// x[batch, in], w[in, out], dy[batch, out]; the results are y[batch, out], dx[batch, in], dw[in, out].
struct Product {
  Which which;
  int64_t batch, in, out;

  /// As rows x columns of the result and the length of the sums.
  int64_t rows() const { return which == Which::weight_gradient ? in : batch; }
  int64_t columns() const { return which == Which::input_gradient ? in : out; }
  int64_t depth() const { return which == Which::forward ? in : which == Which::input_gradient ? out : batch; }
  double flop() const { return 2.0 * double(batch) * double(in) * double(out); }
  Sizes sizes() const { return {batch * in, in * out, batch * out}; }
};

/// x[batch, side, side, channels], w[size, size, channels, filters], dy[batch, out, out, filters], and results accordingly; `padding` zeros on each side.
struct Convolution {
  Which which;
  int64_t batch, side, channels, filters, size, stride, padding;

  int64_t out() const { return (side + 2 * padding - size) / stride + 1; }
  /// As sums, products with padding included, in whatever way it is computed.
  double flop() const { return 2.0 * double(sizes().y) * double(size * size * channels); }
  Sizes sizes() const { return {batch * side * side * channels, size * size * channels * filters, batch * out() * out() * filters}; }
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

/// The operands in row-major order: of forward x and w, of the input gradient dy and w, of the weight gradient x and dy.
struct Operands {
  const float *x, *w, *dy;
};

/// A problem that is ready to run: compiled, and its operands in the layout that it likes best. That time does not count.
struct Prepared {
  std::function<void()> run;
  std::function<void(float* plain)> result;   // copies the result, in row-major order
};

template <class Problem>
struct Contender {
  std::string name;      // with its version
  std::function<Prepared(const Problem&, const Operands&)> prepare;   // gives none where the library cannot
};

/// Who was found.
std::vector<Contender<Product>> product_libraries();
std::vector<Contender<Convolution>> convolution_libraries();

/// Median seconds of a call, over repetitions that last some milliseconds together.
double median_time(double milliseconds, const std::function<void()>& call);

}  // namespace bench
