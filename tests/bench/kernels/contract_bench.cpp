// The products of a dense layer or a convolution on one core against the libraries' and the core's peak of fused multiply-adds, measured around every measurement.
// Of a dense layer also with what rides in their epilogue in a network (bias and relu, relu's mask, an update by Adam); convolutions as sums and by Winograd's
// algorithm, whose transforms count. Ours go through the passes of every program, and are run as every program's. Not a test.
//   contract_bench [--json] [--rounds N] [--ms MILLISECONDS] [--only-ours] [--first] [BATCH IN OUT]...
//   contract_bench --convolution [...] [BATCH SIDE CHANNELS FILTERS SIZE STRIDE PADDING]...
// --first: as the first layer of a network, which reads what callers give and has no input gradient. Without shapes: some of a multi-layer network.
// A line for each product; with --json a JSON object for each.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "../fma.h"
#include "layer.h"

using namespace gradc;
using namespace bench;

namespace {
struct Options {
  bool json = false, only_ours = false, first = false, convolution = false;
  int rounds = 5;
  double milliseconds = 10;
};

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + long(values.size() / 2), values.end());
  return values[values.size() / 2];
}

struct Side {
  std::string name;
  Prepared prepared;
  bool comparable = true;               // its result is the plain product
  std::vector<double> shares, gflops;   // of the peak beside it, quiet rounds alone
  double error = 0;                     // largest difference from our first side, of the largest element
};

// The sides that are ours, the first as sums; and which one programs have.
struct Ours {
  std::vector<Side> sides;
  std::string chosen;
};

Ours ours(const Product& p, const Operands& o, bool first) {
  return {{{"gradc", Layer(p, first, true).prepare(p.which, o)}, {"fused", Layer(p, first, false).prepare(p.which, o), false}}, "gradc"};
}

Ours ours(const Convolution& c, const Operands& o, bool first) {
  using passes::Winograd;
  constexpr std::pair<const char*, Winograd> ways[] = {{"direct", Winograd::never}, {"F(2x2)", Winograd::tile2}, {"F(4x4)", Winograd::tile4}};
  const Layer direct(c, first, Winograd::never), automatic(c, first, Winograd::automatic);
  Ours result;
  for (auto& [name, how] : ways) {
    const Layer layer(c, first, how);
    if (how != Winograd::never && layer.same(direct, c.which)) continue;   // it has no such form
    result.sides.push_back({name, layer.prepare(c.which, o)});
    if (layer.same(automatic, c.which)) result.chosen = name;
  }
  return result;
}

std::vector<Contender<Product>> libraries(const Product&) { return product_libraries(); }
std::vector<Contender<Convolution>> libraries(const Convolution&) { return convolution_libraries(); }

std::string text(const Product& p) { return fmt::format("{:5} x {:5} x {:5}", p.batch, p.in, p.out); }
std::string text(const Convolution& c) { return fmt::format("{} x {}x{}x{} to {}, {}x{} / {} + {}", c.batch, c.side, c.side, c.channels, c.filters, c.size, c.size, c.stride, c.padding); }
std::string json(const Product& p) { return fmt::format("\"batch\": {}, \"in\": {}, \"out\": {}", p.batch, p.in, p.out); }
std::string json(const Convolution& c) {
  return fmt::format("\"batch\": {}, \"side\": {}, \"channels\": {}, \"filters\": {}, \"size\": {}, \"stride\": {}, \"padding\": {}", c.batch, c.side, c.channels, c.filters, c.size, c.stride, c.padding);
}

// The libraries check us, and we check how they are called. The second run finds memory as the first has left it.
void compare(std::vector<Side>& sides, int64_t size) {
  std::vector<float> expected(static_cast<size_t>(size)), got(expected.size());
  for (Side& side : sides) {
    side.prepared.run();
    side.prepared.run();
    if (!side.comparable) continue;
    side.prepared.result(&side == &sides[0] ? expected.data() : got.data());
    if (&side == &sides[0]) continue;
    double largest = 0, difference = 0;
    for (size_t i = 0; i < got.size(); ++i) largest = std::max(largest, std::abs(double(expected[i]))), difference = std::max(difference, std::abs(double(got[i]) - double(expected[i])));
    side.error = std::isfinite(got[0]) && largest > 0 ? difference / largest : INFINITY;
  }
}

template <class Problem>
void measure(const Problem& p, const Options& options) {
  static constexpr const char* names[] = {"forward", "input gradient", "weight gradient"};
  const Sizes sizes = p.sizes();
  auto x = random_array(sizes.x), w = random_array(sizes.w), dy = random_array(sizes.y);
  const Operands operands{x->data(), w->data(), dy->data()};
  auto [all, chosen] = ours(p, operands, options.first);
  if (!options.only_ours)
    for (const auto& c : libraries(p))
      if (Prepared prepared = c.prepare(p, operands); prepared.run) all.push_back({c.name, prepared});
  compare(all, sizes.result(p.which));
  std::vector<double> peaks;
  auto enough = [&] { return std::all_of(all.begin(), all.end(), [&](const Side& side) { return int(side.shares.size()) >= options.rounds; }); };
  for (int round = 0; round < 2 * options.rounds && !enough(); ++round)
    for (Side& side : all) {
      double before = fma_rate(1), seconds = median_time(options.milliseconds, side.prepared.run), after = fma_rate(1);
      if (std::abs(before - after) > 0.05 * std::max(before, after)) continue;
      peaks.push_back((before + after) / 2);
      side.gflops.push_back(p.flop() / seconds * 1e-9);
      side.shares.push_back(side.gflops.back() / peaks.back());
    }
  if (options.json) {
    std::vector<std::string> parts;
    for (Side& side : all) parts.push_back(fmt::format("{{\"name\": \"{}\", \"gflops\": {:.2f}, \"share\": {:.4f}, \"difference\": {:.2e}}}", side.name, median(side.gflops), median(side.shares), side.error));
    fmt::print("{{\"which\": \"{}\", {}, \"mflop\": {:.3f}, \"peak\": {:.2f}, \"chosen\": \"{}\", \"figures\": [{}]}}\n", names[static_cast<int>(p.which)], json(p), p.flop() * 1e-6, median(peaks), chosen,
               fmt::join(parts, ", "));
  } else {
    fmt::print("{} {:16} peak {:6.1f}", text(p), names[static_cast<int>(p.which)], median(peaks));
    for (Side& side : all)
      fmt::print("   {}{} {:6.1f} {:3.0f}%{}", side.name, side.name == chosen ? "*" : "", median(side.gflops), 100 * median(side.shares), side.error > 1e-4 ? fmt::format(" WRONG by {:.1e}", side.error) : "");
    fmt::print("\n");
  }
  std::fflush(stdout);
}
}  // namespace

int main(int count, char** arguments) {
  if (!getenv("OMP_NUM_THREADS")) {   // the libraries read it before main
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    execv("/proc/self/exe", arguments);
  }
  Options options;
  std::vector<int64_t> n;
  for (int i = 1; i < count; ++i) {
    std::string word = arguments[i];
    if (word == "--json") options.json = true;
    else if (word == "--only-ours") options.only_ours = true;
    else if (word == "--first") options.first = true;
    else if (word == "--convolution") options.convolution = true;
    else if (word == "--rounds" && i + 1 < count) options.rounds = std::atoi(arguments[++i]);
    else if (word == "--ms" && i + 1 < count) options.milliseconds = std::atof(arguments[++i]);
    else n.push_back(std::atol(word.c_str()));
  }
  if (n.empty() && options.convolution) n = {32, 28, 32, 32, 3, 1, 1, 32, 28, 16, 32, 3, 2, 1, 32, 28, 16, 32, 1, 2, 0};
  if (n.empty()) n = {128, 784, 256, 128, 256, 128, 128, 128, 10, 1, 784, 256, 32, 784, 256, 512, 1024, 1024};
  const size_t numbers = options.convolution ? 7 : 3;
  for (size_t i = 0; i + numbers <= n.size(); i += numbers)
    for (Which which : {Which::forward, Which::input_gradient, Which::weight_gradient}) {
      if (options.first && which == Which::input_gradient) continue;
      if (options.convolution) measure(Convolution{which, n[i], n[i + 1], n[i + 2], n[i + 3], n[i + 4], n[i + 5], n[i + 6]}, options);
      else measure(Product{which, n[i], n[i + 1], n[i + 2]}, options);
    }
}
