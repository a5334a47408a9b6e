#include "passes/sums.h"

#include <numeric>

#include "ir/reduced_axes.h"
#include "passes/fusion_groups.h"
#include "passes/term.h"

namespace gradc::passes {
using namespace ir;

namespace {
constexpr int64_t least_samples = 8;         // fewer cannot share the work
constexpr int64_t least_places = 17;         // of a sample: shorter sums are elements of map kernels (reduces_in_map)
constexpr int64_t least_columns = 5;         // below that, lanes along the sum
constexpr int64_t least_elements = 1 << 14;  // what one thread sums in a microsecond or two needs no sharing

std::vector<int64_t> range(int64_t first, int64_t limit) {
  std::vector<int64_t> axes(limit - first);
  std::iota(axes.begin(), axes.end(), first);
  return axes;
}

// The sums of each sample that make up `mean`, if mean = sum(x) times or over a number; else an invalid value.
Value samples_of_mean(Term mean, Term x, const std::vector<int64_t>& inner) {
  if (!mean.is(Op::mul) && !mean.is(Op::div)) return {};
  Term total = mean.x(0);
  if (!total.is(Op::reduce_sum) || total.list(Attr::axes) != std::vector<int64_t>{0}) return {};
  Term parts = total.x(0);
  return parts.is(Op::reduce_sum) && parts.x(0).same(x) && parts.list(Attr::axes) == inner ? parts.v : Value();
}
}  // namespace

Value sum_by_samples(Builder& b, const Node& node) {
  Term x{&b, node.operands[0]};
  const int64_t summed = static_cast<int64_t>(reduced_axes(node).size());
  const Shape shape = x.shape();
  if (summed < 2 || !is_float(x.element()) || shape[0] < least_samples || node.type.size() < least_columns || x.type().size() < least_elements) return {};
  const std::vector<int64_t> inner = range(1, summed);
  const int64_t places = shape_size(Shape(shape.begin() + 1, shape.begin() + summed));
  if (places < least_places) return {};
  if (x.is(Op::mul) && x.x(0).same(x.x(1)) && x.x(0).is(Op::sub) && x.x(0).x(1).is(Op::broadcast) && x.x(0).x(1).list(Attr::axes) == range(summed, x.rank())) {
    const Term of = x.x(0).x(0), mean = x.x(0).x(1).x(0);
    if (Value parts = samples_of_mean(mean, of, inner); parts.valid()) {
      const Term means = Term{&b, parts} * (1.0 / static_cast<double>(places));
      std::vector<int64_t> axes = range(summed - 1, shape.size());
      axes[0] = 0;
      const Term near = of - broadcast(means, shape, axes), far = means - broadcast(mean, means.shape(), range(1, means.rank()));
      return reduce(Op::reduce_sum, reduce(Op::reduce_sum, near * near, inner) + far * far * static_cast<double>(places), {0});
    }
  }
  return reduce(Op::reduce_sum, reduce(Op::reduce_sum, x, inner), {0});
}

}  // namespace gradc::passes
