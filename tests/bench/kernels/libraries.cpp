// The libraries that compute matrix products and convolutions, each at its best: what can be packed before, is packed before. All are optional but Eigen.
#include <Eigen/Core>
#include <algorithm>
#include <chrono>

#include "problem.h"

#ifdef BENCH_OPENBLAS
#include <cblas.h>
extern "C" char* openblas_get_config();
#endif
#ifdef BENCH_LIBXSMM
#include <libxsmm.h>
#endif

namespace bench {

double median_time(double milliseconds, const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  auto time = [&](int calls) {
    auto start = Clock::now();
    for (int i = 0; i < calls; ++i) call();
    return std::chrono::duration<double>(Clock::now() - start).count() / calls;
  };
  time(1);
  // Groups of 20 us, so that reading the clock does not count.
  int group = int(std::clamp(20e-6 / time(1), 1.0, 10000.0));
  std::vector<double> times;
  for (double total = 0; total < milliseconds * 1e-3 || times.size() < 3; total += times.back() * group) times.push_back(time(group));
  std::nth_element(times.begin(), times.begin() + long(times.size() / 2), times.end());
  return times[times.size() / 2];
}

namespace {
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<const Matrix>;

std::shared_ptr<Array> result_of(const Product& p) { return std::make_shared<Array>(p.rows() * p.columns()); }
auto copy_from(std::shared_ptr<Array> array) {
  return [array](float* plain) { std::copy_n(array->data(), array->size(), plain); };
}

Prepared eigen(const Product& p, const Operands& o) {
  auto r = std::make_shared<Matrix>(p.rows(), p.columns());
  View x(o.x, p.batch, p.in), w(o.w, p.in, p.out), dy(o.dy, p.batch, p.out);
  std::function<void()> run;
  if (p.which == Which::forward) run = [=] { r->noalias() = x * w; };
  if (p.which == Which::input_gradient) run = [=] { r->noalias() = dy * w.transpose(); };
  if (p.which == Which::weight_gradient) run = [=] { r->noalias() = x.transpose() * dy; };
  return {run, [r](float* plain) { std::copy_n(r->data(), r->size(), plain); }};
}

#ifdef BENCH_OPENBLAS
// At batch 1 by the routines for vectors, which are faster there.
Prepared openblas(const Product& p, const Operands& o) {
  auto r = result_of(p);
  int batch = int(p.batch), in = int(p.in), out = int(p.out);
  float* c = r->data();
  std::function<void()> run;
  if (p.which == Which::forward) {
    run = [=] { cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, batch, out, in, 1, o.x, in, o.w, out, 0, c, out); };
    if (batch == 1) run = [=] { cblas_sgemv(CblasRowMajor, CblasTrans, in, out, 1, o.w, out, o.x, 1, 0, c, 1); };
  } else if (p.which == Which::input_gradient) {
    run = [=] { cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, batch, in, out, 1, o.dy, out, o.w, out, 0, c, in); };
    if (batch == 1) run = [=] { cblas_sgemv(CblasRowMajor, CblasNoTrans, in, out, 1, o.w, out, o.dy, 1, 0, c, 1); };
  } else {
    run = [=] { cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, in, out, batch, 1, o.x, in, o.dy, out, 0, c, out); };
  }
  return {run, copy_from(r)};
}
#endif

#ifdef BENCH_LIBXSMM
// libxsmm compiles small products with columns in a row; larger ones are built from them here: panels of columns, packed before, and
// blocks of rows within them, at the sizes that turn out fastest. Row-major a[rows, depth] b[depth, columns] is to it b^T a^T.
struct Blocks {
  int rows, columns;
};

Prepared libxsmm_blocks(const Product& p, const Operands& o, Blocks size) {
  const int rows = int(p.rows()), columns = int(p.columns()), depth = int(p.depth());
  const bool turned = p.which == Which::weight_gradient;   // a is stored [depth, rows]
  const float* a = p.which == Which::input_gradient ? o.dy : o.x;
  const int a_pitch = turned ? rows : depth, bm = std::min(size.rows, rows), bn = std::min(size.columns, columns);
  if (columns % bn && columns > bn && columns % bn < 8) return {};
  // Panels of bn columns: [columns / bn][depth][bn]. dy of the weight gradient is an activation like any other; it may be packed all the same.
  auto packed = std::make_shared<Array>(p.depth() * p.columns());
  for (int n = 0; n < columns; n += bn)
    for (int k = 0; k < depth; ++k)
      for (int j = 0, width = std::min(bn, columns - n); j < width; ++j)
        packed->data()[n * int64_t(depth) + int64_t(k) * width + j] = p.which == Which::input_gradient ? o.w[int64_t(n + j) * p.out + k] : (turned ? o.dy : o.w)[k * p.out + n + j];
  struct Call {
    libxsmm_smmfunction kernel;
    int64_t a, b, c;
  };
  auto calls = std::make_shared<std::vector<Call>>();
  for (int n = 0; n < columns; n += bn)
    for (int m = 0; m < rows; m += bm) {
      int width = std::min(bn, columns - n), height = std::min(bm, rows - m), flags = turned ? LIBXSMM_GEMM_FLAG_TRANS_B : LIBXSMM_GEMM_FLAG_NONE;
      float one = 1, zero = 0;
      libxsmm_smmfunction kernel = libxsmm_smmdispatch(width, height, depth, &width, &a_pitch, &columns, &one, &zero, &flags, nullptr);
      if (!kernel) return {};
      calls->push_back({kernel, turned ? m : int64_t(m) * a_pitch, n * int64_t(depth), int64_t(m) * columns + n});
    }
  auto r = result_of(p);
  auto run = [=] {
    for (const Call& call : *calls) call.kernel(packed->data() + call.b, a + call.a, r->data() + call.c);
  };
  return {run, copy_from(r)};
}

Prepared libxsmm(const Product& p, const Operands& o) {
  Prepared best;
  double least = 1e9;
  for (int columns : {16, 32, 64, 128, 256})
    for (int rows : {16, 32, 64, 128}) {
      if ((rows > 16 && rows / 2 >= p.rows()) || (columns > 16 && columns / 2 >= p.columns())) continue;
      Prepared trial = libxsmm_blocks(p, o, {rows, columns});
      if (!trial.run) continue;
      if (double time = median_time(1, trial.run); time < least) least = time, best = trial;
    }
  return best;
}
#endif
}  // namespace

#ifdef BENCH_ONEDNN
// onednn.cpp
Contender<Product> onednn_product();
std::vector<Contender<Convolution>> onednn_convolutions();
#endif

std::vector<Contender<Product>> product_libraries() {
  std::vector<Contender<Product>> all;
#ifdef BENCH_ONEDNN
  all.push_back(onednn_product());
#endif
#ifdef BENCH_OPENBLAS
  const std::string config = openblas_get_config();   // its name, its version, how it was built
  all.push_back({config.substr(0, config.find(' ', config.find(' ') + 1)), openblas});
#endif
#ifdef BENCH_LIBXSMM
  all.push_back({"libxsmm " LIBXSMM_VERSION, libxsmm});
#endif
  all.push_back({"Eigen " + std::to_string(EIGEN_WORLD_VERSION) + "." + std::to_string(EIGEN_MAJOR_VERSION) + "." + std::to_string(EIGEN_MINOR_VERSION), eigen});
  return all;
}

std::vector<Contender<Convolution>> convolution_libraries() {
#ifdef BENCH_ONEDNN
  return onednn_convolutions();
#else
  return {};
#endif
}

}  // namespace bench
