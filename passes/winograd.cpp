// Winograd's F(m x m, 3x3) as a rewrite. A convolution Y = sum over c of X * W (windows of 3x3, stride 1) is cut into tiles of m x m outputs; with
// a = m + 2, D a tile's a x a inputs and constant matrices B, G, A (Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016):
//
//   Y = At [ sum over c of (G W Gt) o (Bt D B) ] A
//
// where o multiplies elementwise: for each of the a * a places a matrix product over the channels with the tiles as rows. In the graph:
//
//   V[t, p, c] = transform(windows(x, a, stride m))          U[p, c, k] = transform(w)
//   M[t, p, k] = contract "tpc,pck->tpk"                      y = fold(transform(M), m, stride m): tiles next to each other
//
// The gradient by x is a convolution of the cotangent with the reversed kernel (fold-of-contract made it one), so the same. The gradient by the kernel
// is the adjoint of Y by W:  dW = Gt [ sum over tiles of (Bt D B) o (A dY At) ] G. It shares V with the forward pass, or,
// where its sums are small enough to stay in cache, computes V again beside them (parts_of_sum).
//
// Each transform is a product of sparse factors, so that what several outputs need is added once; a contract with a small literal is computed as
// a map (ir/kernel.h), without its zeros.
#include "passes/winograd.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "ir/builder.h"
#include "passes/cse.h"
#include "passes/rules.h"

namespace gradc::passes {
using namespace ir;

namespace {
// A matrix by rows, and a transform: matrices that are applied one after the other.
struct Matrix {
  int64_t rows, columns;
  std::vector<double> elements;
  Matrix transposed() const {
    Matrix t{columns, rows, {}};
    for (int64_t c = 0; c < columns; ++c)
      for (int64_t r = 0; r < rows; ++r) t.elements.push_back(elements[r * columns + c]);
    return t;
  }
};
using Transform = std::vector<Matrix>;
Transform transposed(const Transform& t) {
  Transform result;
  for (size_t i = t.size(); i-- > 0;) result.push_back(t[i].transposed());
  return result;
}

struct Filtering {
  int64_t tile;                     // m
  Transform input, kernel, output;  // Bt, G, At
  int64_t window() const { return tile + 2; }
};

// Interpolation at 0, 1, -1 and infinity.
const Filtering f2{2,
                   {{4, 4, {1, 0, -1, 0, 0, 1, 1, 0, 0, -1, 1, 0, 0, 1, 0, -1}}},
                   {{4, 3, {1, 0, 0, .5, .5, .5, .5, -.5, .5, 0, 0, 1}}},
                   {{2, 4, {1, 1, 1, 0, 0, 1, -1, -1}}}};
// At 0, 1, -1, 2, -2 and infinity.
const Filtering f4{4,
                   {{6, 6, {4, 0, -5, 0, 1, 0,   0, 0, -4, 0, 1, 0,   0, -4, 0, 1, 0, 0,   0, 0, -1, 0, 1, 0,   0, -2, 0, 2, 0, 0,   0, 4, 0, -5, 0, 1}},
                    {6, 6, {1, 0, 0, 0, 0, 0,    0, 1, 1, 0, 0, 0,    0, 1, -1, 0, 0, 0,   0, 0, 0, 1, 1, 0,    0, 0, 0, 1, -1, 0,   0, 0, 0, 0, 0, 1}}},
                   {{6, 3, {1. / 4, 0, 0,   -1. / 6, -1. / 6, -1. / 6,   -1. / 6, 1. / 6, -1. / 6,   1. / 24, 1. / 12, 1. / 6,   1. / 24, -1. / 12, 1. / 6,   0, 0, 1}}},
                   {{6, 6, {1, 0, 0, 0, 0, 0,    0, 1, 1, 0, 0, 0,    0, 1, -1, 0, 0, 0,   0, 0, 0, 1, 1, 0,    0, 0, 0, 1, -1, 0,   0, 0, 0, 0, 0, 1}},
                    {4, 6, {1, 1, 0, 1, 0, 0,    0, 0, 1, 0, 2, 0,    0, 1, 0, 4, 0, 0,    0, 0, 1, 0, 8, 1}}}};

bool has(const std::string& letters, char c) { return letters.find(c) != letters.npos; }

// A contract that is a convolution, or the gradient of one by its kernel, with the letters of its indices by what they are. Indices of extent 1 have none.
struct Convolution {
  Value windows;            // that node
  Value other;              // kernel, or cotangent
  size_t first;             // axis of the windows: the first position
  std::string samples, positions, window, channels, filters;   // before the positions; i j; u v; of x; of the other operand alone
  std::string other_letters, result_letters;
  bool of_kernel;           // the gradient by the kernel
};

bool all_in(const std::string& letters, const std::string& list) {
  return std::all_of(letters.begin(), letters.end(), [&](char c) { return has(list, c); });
}
bool none_in(const std::string& letters, const std::string& list) {
  return std::none_of(letters.begin(), letters.end(), [&](char c) { return has(list, c); });
}

// The windows that an operand is, perhaps without axes of extent 1, and the letters of all its axes: ' ' for those.
std::optional<std::pair<Value, std::string>> windows_of(const Function& f, Value operand, std::string letters) {
  const Shape& seen = f.type(operand).shape;
  if (f[operand].op == Op::reshape) operand = f[operand].operands[0];
  if (f[operand].op != Op::windows) return std::nullopt;
  const Shape& shape = f.type(operand).shape;
  std::string all;
  size_t k = 0;
  for (int64_t extent : shape) {
    bool kept = k < seen.size() && seen[k] == extent && (extent != 1 || seen.size() - k >= shape.size() - all.size());
    if (!kept && extent != 1) return std::nullopt;
    all += kept ? letters[k++] : ' ';
  }
  if (k != seen.size()) return std::nullopt;
  return std::pair{operand, all};
}

std::optional<Convolution> match(const Function& f, const Node& node, bool rounded) {
  if (node.op != Op::contract || node.type.element != ElementType::f32 || (!rounded && contract_precision(node.attrs) != Precision::f32)) return std::nullopt;
  ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(node.attrs.text(Attr::spec)));
  for (int side : {0, 1}) {
    auto found = windows_of(f, node.operands[side], side == 0 ? spec.a : spec.b);
    if (!found) continue;
    const Node& view = f[found->first];
    if (view.attrs.number(Attr::value) != 0) continue;
    auto all = [&](Attr attr, int64_t value) {
      const auto& list = view.attrs.integers(attr);
      return list.size() == 2 && list[0] == value && list[1] == value;
    };
    if (!all(Attr::size, 3) || !all(Attr::stride, 1) || !all(Attr::dilation, 1)) continue;
    const std::string &x = found->second, &w = side == 0 ? spec.b : spec.a, &y = spec.result;
    size_t first = view.attrs.integers(Attr::axes)[0];
    auto part = [&](size_t from, size_t count) {
      std::string letters = x.substr(from, count);
      std::erase(letters, ' ');
      return letters;
    };
    Convolution c{found->first, node.operands[1 - side], first, part(0, first), part(first, 2), part(first + 2, 2), part(first + 4, x.npos), "", w, y, has(y, x[first + 2])};
    for (char letter : y)
      if (!has(x, letter)) c.filters += letter;
    if (c.channels.empty() || c.filters.empty()) continue;
    if (c.of_kernel) {
      bool fits = all_in(c.samples + c.positions, w) && none_in(c.samples + c.positions, y) && none_in(c.window + c.channels, w) && all_in(c.window + c.channels, y);
      if (fits) return c;
    } else {
      bool fits = none_in(c.samples + c.positions, w) && all_in(c.samples + c.positions, y) && all_in(c.window + c.channels, w) && none_in(c.window + c.channels, y);
      if (fits) return c;
    }
  }
  return std::nullopt;
}

class Rewriter {
 public:
  Rewriter(Function& from, Function& to) : from_(from), b_(to) {}

  Value convolution(const Convolution& c, const Filtering& by, Value x, Value other, const Shape& shape, Loc loc) {
    b_.loc = loc;
    read(c, by, shape);
    Value result = c.of_kernel ? of_kernel(c, by, x, other) : of_input(c, by, x, other);
    // From [samples, i, j, filters] or [u, v, channels, filters] to the order that is wanted.
    std::string letters = c.of_kernel ? c.window + c.channels + c.filters : c.samples + c.positions + c.filters;
    Shape whole;
    std::vector<int64_t> order;
    for (char letter : letters) whole.push_back(shape[c.result_letters.find(letter)]);
    for (char letter : c.result_letters) order.push_back(static_cast<int64_t>(letters.find(letter)));
    return b_.transpose(b_.reshape(result, whole), order);
  }

 private:
  const Function& from_;
  Builder b_;
  int64_t samples_, height_, width_, down_, across_, channels_, filters_;   // outputs: height, width; tiles: down, across
  std::array<int64_t, 2> inner_;   // extents of x without padding
  std::vector<int64_t> low_;       // padding before it
  int64_t tiles() const { return samples_ * down_ * across_; }

  int64_t extent(const std::string& letters, const std::string& list, const Shape& shape) const {
    int64_t size = 1;
    for (char letter : letters) size *= shape[list.find(letter)];
    return size;
  }

  void read(const Convolution& c, const Filtering& by, const Shape& shape) {
    const Shape& seen = from_.type(c.windows).shape;   // [samples, i, j, u, v, channels]
    const Shape& other = from_.type(c.other).shape;
    size_t first = c.first;
    samples_ = shape_size(Shape(seen.begin(), seen.begin() + static_cast<int64_t>(first)));
    height_ = seen[first], width_ = seen[first + 1];
    channels_ = shape_size(Shape(seen.begin() + static_cast<int64_t>(first) + 4, seen.end()));
    filters_ = extent(c.filters, c.other_letters, other);
    down_ = (height_ + by.tile - 1) / by.tile, across_ = (width_ + by.tile - 1) / by.tile;
    const Attrs& padding = from_[c.windows].attrs;
    low_ = padding.integers(Attr::low);
    for (int i : {0, 1}) inner_[i] = (i ? width_ : height_) + 2 - low_[i] - padding.integers(Attr::high)[i];
  }

  // The matrices along one axis of a value.
  Value along(Value x, int64_t axis, const Transform& transform) {
    for (const Matrix& matrix : transform) {
      std::string letters, result;
      for (int64_t i = 0; i < b_.type(x).rank(); ++i) letters += static_cast<char>('a' + i);
      result = letters;
      result[axis] = 'z';
      Value literal = b_.literal(matrix.elements, {ElementType::f32, {matrix.rows, matrix.columns}});
      x = b_.contract(letters + ",z" + letters[axis] + "->" + result, x, literal);
    }
    return x;
  }
  Value both(Value x, int64_t axis, const Transform& transform) { return along(along(x, axis, transform), axis + 1, transform); }

  // Tiles of so many places along both axes, as [tile, place, place, ...rest]. What lies outside is zero.
  Value tiles_of(Value x, int64_t places, int64_t stride, int64_t channels, std::vector<int64_t> low) {
    // [samples, h, w, channels]
    const Shape& shape = b_.type(x).shape;
    std::vector<int64_t> high;
    for (int i : {0, 1}) high.push_back(((i ? across_ : down_) - 1) * stride + places - shape[1 + i] - low[i]);
    Value seen = b_.make(Op::windows, {x}, {{Attr::axes, std::vector<int64_t>{1, 2}}, {Attr::size, std::vector<int64_t>(2, places)}, {Attr::stride, std::vector<int64_t>(2, stride)},
                                            {Attr::dilation, std::vector<int64_t>(2, 1)}, {Attr::low, low}, {Attr::high, high}, {Attr::value, 0.0}});
    return b_.reshape(seen, {tiles(), places, places, channels});
  }

  // The gradient of a small kernel adds up within tiles' transforms while these are in cache: for each of so many parts of the tiles apart, which
  // threads share. The sums of a large one would leave the cache each time; transforms are stored then. 1: no parts.
  int64_t parts_of_sum(int64_t places) const {
    constexpr int64_t near = 640 << 10, most = 8, least_tiles = 32;
    if (places * channels_ * filters_ * 4 > near) return 1;
    for (int64_t parts = most; parts > 1; --parts)
      if (tiles() % parts == 0 && tiles() / parts >= least_tiles) return parts;
    return 1;
  }

  Value input_windows(const Filtering& by, Value x) {
    Value whole = b_.reshape(x, {samples_, inner_[0], inner_[1], channels_});
    return tiles_of(whole, by.window(), by.tile, channels_, low_);
  }

  Value of_input(const Convolution& c, const Filtering& by, Value x, Value kernel) {
    const int64_t window = by.window(), places = window * window;
    std::vector<int64_t> order;
    for (char letter : c.window + c.channels + c.filters) order.push_back(static_cast<int64_t>(c.other_letters.find(letter)));
    Value u = both(b_.reshape(b_.transpose(kernel, order), {3, 3, channels_, filters_}), 0, by.kernel);
    Value m = b_.contract("tpc,pck->tpk", b_.reshape(both(input_windows(by, x), 1, by.input), {tiles(), places, channels_}), b_.reshape(u, {places, channels_, filters_}));
    Value y = both(b_.reshape(m, {tiles(), window, window, filters_}), 1, by.output);
    const std::vector<int64_t> size(2, by.tile);
    return b_.make(Op::fold, {b_.reshape(y, {samples_, down_, across_, by.tile, by.tile, filters_})},
                   {{Attr::shape, Shape{samples_, height_, width_, filters_}}, {Attr::axes, std::vector<int64_t>{1, 2}}, {Attr::size, size}, {Attr::stride, size}, {Attr::dilation, std::vector<int64_t>(2, 1)},
                    {Attr::low, std::vector<int64_t>(2, 0)}, {Attr::high, std::vector<int64_t>{down_ * by.tile - height_, across_ * by.tile - width_}}});
  }

  Value of_kernel(const Convolution& c, const Filtering& by, Value x, Value cotangent) {
    const int64_t window = by.window(), places = window * window;
    std::vector<int64_t> order;
    for (char letter : c.samples + c.positions + c.filters) order.push_back(static_cast<int64_t>(c.other_letters.find(letter)));
    Value dy = b_.reshape(b_.transpose(cotangent, order), {samples_, height_, width_, filters_});
    const int64_t parts = parts_of_sum(places);
    if (parts > 1) {   // both transforms and the products in one phase, so that transforms need not be kept: that of x is computed again
      x = b_.make(Op::after, {x, cotangent});
      dy = b_.make(Op::after, {dy, cotangent});
    }
    Value z = both(tiles_of(dy, by.tile, by.tile, filters_, {0, 0}), 1, transposed(by.output));
    Value v = both(input_windows(by, x), 1, by.input);
    Value s;
    if (parts > 1) {
      Value in_parts = b_.contract("xtpc,xtpk->xpck", b_.reshape(v, {parts, tiles() / parts, places, channels_}), b_.reshape(z, {parts, tiles() / parts, places, filters_}));
      s = b_.reduce(Op::reduce_sum, in_parts, {0});
    } else {
      s = b_.contract("tpc,tpk->pck", b_.reshape(v, {tiles(), places, channels_}), b_.reshape(z, {tiles(), places, filters_}));
    }
    return both(b_.reshape(s, {window, window, channels_, filters_}), 0, transposed(by.kernel));
  }
};

// The way that takes the fewest cycles of a core, about.
std::optional<Filtering> choose(const Function& f, const Convolution& c, Winograd how) {
  if (how == Winograd::never) return std::nullopt;
  if (how == Winograd::tile2) return f2;
  if (how == Winograd::tile4) return f4;
  const Shape& seen = f.type(c.windows).shape;
  const size_t first = c.first;
  int64_t channels = shape_size(Shape(seen.begin() + static_cast<int64_t>(first) + 4, seen.end())), filters = 1;
  for (char letter : c.filters) filters *= f.type(c.other).shape[c.other_letters.find(letter)];
  constexpr int64_t lanes = 16, fewest = 8;   // channels below which neither transforms nor products fill registers
  if (channels < fewest || filters < fewest) return std::nullopt;
  // Cycles for a vector of the kernel's transform and for one of a tile's, measured on Zen 4; products reach 85% of the peak in either way.
  constexpr double of_kernel = 700, of_place = 10, reached = 0.85;
  auto vectors = [](int64_t n) { return static_cast<double>((n + lanes - 1) / lanes); };
  const double samples = static_cast<double>(shape_size(Shape(seen.begin(), seen.begin() + static_cast<int64_t>(first))));
  const double height = static_cast<double>(seen[first]), width = static_cast<double>(seen[first + 1]);
  const double kernel = static_cast<double>(channels) * vectors(filters);
  double least = samples * height * width * 9 * kernel / reached;
  std::optional<Filtering> best;
  for (const Filtering* by : {&f2, &f4}) {
    double m = static_cast<double>(by->tile), places = (m + 2) * (m + 2);
    double tiles = samples * std::ceil(height / m) * std::ceil(width / m);
    double cycles = tiles * places * (kernel / reached + of_place * (vectors(channels) + vectors(filters))) + of_kernel * kernel;
    if (cycles < least) least = cycles, best = *by;
  }
  return best;
}
}  // namespace

int use_winograd(Function& f, Winograd how, bool rounded) {
  int count = 0;
  Function out;
  out.name = f.name;
  Rewriter rewriter(f, out);
  std::vector<Value> map(f.size());
  for (uint32_t i = 0; i < f.size(); ++i) {
    const Node& node = f.nodes[i];
    if (std::optional<Convolution> c = match(f, node, rounded)) {
      if (std::optional<Filtering> by = choose(f, *c, how)) {
        map[i] = rewriter.convolution(*c, *by, map[f[c->windows].operands[0].id], map[c->other.id], node.type.shape, node.loc);
        ++count;
        continue;
      }
    }
    Node copy = node;
    for (Value& operand : copy.operands) operand = map[operand.id];
    map[i] = out.append(std::move(copy));
  }
  if (count == 0) return 0;
  out.results = std::move(f.results);
  for (Result& r : out.results) r.value = map[r.value.id];
  f = std::move(out);
  apply_rules(f, view_rules());   // no reshape between a result and who reads it
  merge_common(f);                // transforms that a convolution and a gradient share
  f.prune();
  return count;
}

}  // namespace gradc::passes
