// Contract kernels against the reference evaluation: every kind of spec, odd sizes, every target that this machine runs, and
// the same bits however the units are split.
#include "codegen/contract.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "codegen/contract_plan.h"
#include "codegen/target.h"
#include "ir/builder.h"
#include "ir/text.h"
#include "tests/unit/codegen/kernel_runner.h"

using namespace gradc;
using namespace gradc::codegen;
using gradc::testing::CompiledKernel;
using ir::Attr, ir::Builder, ir::ElementType, ir::Kernel, ir::Op, ir::Shape, ir::Value;

namespace {
std::vector<Target> targets() {
  std::vector<Target> result;
  for (const char* name : {"avx512", "avx2", "baseline"})
    if (Target target = *named_target(name); host_runs(target)) result.push_back(target);
  return result;
}

void set_schedule(Kernel& kernel, int64_t outer) {
  kernel.form = ir::Form::contract;
  kernel.domain = kernel.body.type(kernel.hero).shape;
  kernel.outer = outer;
  kernel.units = 1;
  for (int64_t i = 0; i < outer; ++i) kernel.units *= kernel.domain[i];
}

using Epilogue = std::function<Value(Builder&, Value)>;

Kernel contract_kernel(const std::string& spec, const std::map<char, int64_t>& extents, int64_t outer, ElementType element = ElementType::f32, const Epilogue& epilogue = {}) {
  auto parsed = std::get<ir::ContractSpec>(ir::ContractSpec::parse(spec));
  auto shape_of = [&](const std::string& letters) {
    Shape shape;
    for (char c : letters) shape.push_back(extents.at(c));
    return shape;
  };
  Kernel kernel;
  Builder build(kernel.body);
  Value a = build.input("a0", {element, shape_of(parsed.a)}), b = build.input("a1", {element, shape_of(parsed.b)});
  kernel.hero = build.contract(spec, a, b);
  kernel.body.results = {{"r0", epilogue ? epilogue(build, kernel.hero) : kernel.hero, false}};
  set_schedule(kernel, outer);
  return kernel;
}

int64_t reduced_size(const Kernel& kernel) {
  const ir::Node& hero = kernel.body[kernel.hero];
  int64_t all = 1;
  auto spec = std::get<ir::ContractSpec>(ir::ContractSpec::parse(hero.attrs.text(Attr::spec)));
  for (size_t i = 0; i < spec.a.size(); ++i)
    if (spec.result.find(spec.a[i]) == spec.result.npos) all *= kernel.body.type(hero.operands[0]).shape[i];
  return all;
}

std::vector<int64_t> random_cuts(int64_t units, std::mt19937& random) {
  std::vector<int64_t> cuts;
  if (units < 2) return cuts;
  for (int64_t at = 0;;) {
    at += std::uniform_int_distribution<int64_t>(1, std::max<int64_t>(units / 2, 1))(random);
    if (at >= units) return cuts;
    cuts.push_back(at);
  }
}

void check(const Kernel& kernel, std::mt19937& random, const std::vector<Target>& on = targets(), double tolerance = 1) {
  INFO(ir::print(kernel.body) << "outer " << kernel.outer << ", units " << kernel.units);
  auto inputs = testing::random_inputs(kernel, random);
  auto expected = ir::evaluate(kernel.body, inputs);
  ElementType element = kernel.body.type(kernel.hero).element;
  double unit = element == ElementType::f64 ? 1e-15 : 3e-7;
  for (const Target& target : on) {
    INFO(target.name);
    CompiledKernel compiled;
    compiled.scratch = contract_scratch_bytes(kernel, target);
    testing::compile(compiled, kernel, target, [](auto&... arguments) { emit_contract(arguments...); });
    auto whole = testing::run(kernel, compiled, inputs, {});
    for (auto& [name, value] : expected) {
      double difference = testing::largest_difference(whole.at(name), value);
      INFO(name << " differs by " << difference);
      double largest = 1;
      for (double x : value.numbers()) largest = std::max(largest, std::abs(x));
      CHECK(difference <= tolerance * unit * largest * static_cast<double>(10 + reduced_size(kernel)));
    }
    for (int round = 0; round < 2; ++round) {
      auto cuts = random_cuts(kernel.units, random);
      INFO("cut at " << fmt::format("{}", cuts));
      CHECK(testing::run(kernel, compiled, inputs, cuts) == whole);
    }
  }
}
}  // namespace

TEST_CASE("matrix products of many sizes", "[contract]") {
  std::mt19937 random(1);
  for (const char* spec : {"mk,kn->mn", "km,kn->mn", "mk,nk->mn", "km,nk->mn"})
    for (auto [m, n, k] : {std::array{1, 1, 1}, {1, 10, 7}, {14, 32, 16}, {13, 33, 5}, {29, 10, 128}, {5, 1, 40}, {1, 200, 30}, {65, 47, 19}, {3, 130, 64}, {40, 16, 3}})
      check(contract_kernel(spec, {{'m', m}, {'n', n}, {'k', k}}, 1), random);
}

TEST_CASE("every number of rows gives the same bits as single rows", "[contract]") {
  std::mt19937 random(2);
  Kernel kernel = contract_kernel("mk,kn->mn", {{'m', 100}, {'n', 40}, {'k', 37}}, 1);
  auto inputs = testing::random_inputs(kernel, random);
  for (const Target& target : targets()) {
    INFO(target.name);
    CompiledKernel compiled;
    compiled.scratch = contract_scratch_bytes(kernel, target);
    testing::compile(compiled, kernel, target, [](auto&... arguments) { emit_contract(arguments...); });
    std::vector<int64_t> single;
    for (int64_t i = 1; i < 100; ++i) single.push_back(i);
    auto expected = testing::run(kernel, compiled, inputs, single);
    for (int64_t height = 2; height < 60; ++height) CHECK(testing::run(kernel, compiled, inputs, {height, 99 - height % 7}) == expected);
    // A batch of one is a kernel of its own.
    Kernel alone = contract_kernel("mk,kn->mn", {{'m', 1}, {'n', 40}, {'k', 37}}, 1);
    CompiledKernel row;
    row.scratch = contract_scratch_bytes(alone, target);
    testing::compile(row, alone, target, [](auto&... arguments) { emit_contract(arguments...); });
    ir::Tensor first(alone.body.nodes[0].type);
    std::memcpy(first.bytes().data(), inputs.at("a0").bytes().data(), first.bytes().size());
    auto result = testing::run(alone, row, {{"a0", first}, {"a1", inputs.at("a1")}}, {});
    CHECK(std::memcmp(result.at("r0").bytes().data(), expected.at("r0").bytes().data(), 40 * 4) == 0);
  }
}

TEST_CASE("batches, vectors, scalars and several indices of a kind", "[contract]") {
  std::mt19937 random(3);
  std::map<char, int64_t> e = {{'a', 3}, {'b', 2}, {'m', 9}, {'i', 4}, {'n', 21}, {'j', 5}, {'k', 18}, {'l', 3}};
  for (const char* spec : {"bmk,bkn->bmn", "abmk,abnk->abmn", "mk,k->m", "k,kn->n", "km,k->m", "k,k->", "m,n->mn", "b,b->b", "bm,bn->bmn", "bmk,bkn->mnb", "mik,knj->minj",
                           "imk,nkj->minj", "mkl,lkn->mn", "klm,lkn->nm", "mib,njb->mnbij", "bk,bk->b", "kb,kb->b", "kb,kmb->mb", "bmk,bkn->nbm", "bmik,kn->bmin", "m,m->m", "mk,kn->nm"}) {
    int64_t rank = static_cast<int64_t>(std::get<ir::ContractSpec>(ir::ContractSpec::parse(spec)).result.size());
    for (int64_t outer = 0; outer <= rank; ++outer) check(contract_kernel(spec, e, outer), random);
  }
}

TEST_CASE("long reductions wait in scratch between blocks", "[contract]") {
  std::mt19937 random(4);
  for (const char* spec : {"mk,kn->mn", "km,kn->mn", "mk,nk->mn", "mk,k->m"}) check(contract_kernel(spec, {{'m', 70}, {'n', 50}, {'k', 5003}}, 1), random);
}

TEST_CASE("contracts in f64", "[contract]") {
  std::mt19937 random(5);
  for (const char* spec : {"mk,kn->mn", "mk,nk->mn", "mk,k->m", "bmk,bkn->bmn"})
    check(contract_kernel(spec, {{'b', 2}, {'m', 17}, {'n', 19}, {'k', 23}}, 1, ElementType::f64), random);
}

namespace {
// Adds an input and views that show it with the given shape: what fusion may leave between a buffer and a contract.
class RandomViews {
 public:
  RandomViews(Builder& build, std::mt19937& random) : build_(build), random_(random) {}

  Value operand(const Shape& shape, ElementType element) {
    int views = pick(0, 3);
    return make(shape, element, views);
  }

 private:
  Builder& build_;
  std::mt19937& random_;
  int inputs_ = 0;

  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  // A value of this shape that ends in `views` views: each choice makes the operand that a view needs.
  Value make(const Shape& shape, ElementType element, int views) {
    int64_t rank = static_cast<int64_t>(shape.size());
    if (views == 0) {
      ElementType stored = pick(0, 5) ? element : element == ElementType::f32 ? (pick(0, 1) ? ElementType::u8 : ElementType::f64) : ElementType::f32;
      return build_.cast(build_.input("a" + std::to_string(inputs_++), {stored, shape}), element);
    }
    auto next = [&](const Shape& s) { return make(s, element, views - 1); };
    auto spread = [&](int64_t value) { return std::vector<int64_t>(rank, value); };
    switch (pick(0, 7)) {
      case 0: {
        std::vector<int64_t> axes(rank);
        for (int64_t i = 0; i < rank; ++i) axes[i] = i;
        std::shuffle(axes.begin(), axes.end(), random_);
        Shape from(rank);
        for (int64_t i = 0; i < rank; ++i) from[axes[i]] = shape[i];
        return build_.transpose(next(from), axes);
      }
      case 1: {   // merged or split differently
        int64_t size = ir::shape_size(shape), left = 1;
        for (int64_t d : {2, 3, 4, 5, 7})
          if (size % d == 0 && pick(0, 1)) left = d;
        return build_.reshape(next({left, size / left}), shape);
      }
      case 2: {
        Shape kept;
        std::vector<int64_t> axes;
        for (int64_t i = 0; i < rank; ++i)
          if (pick(0, 2)) axes.push_back(i), kept.push_back(shape[i]);
        return build_.broadcast(next(kept), shape, axes);
      }
      case 3: {
        auto start = spread(0), limit = shape, stride = spread(1);
        Shape from = shape;
        for (int64_t i = 0; i < rank; ++i) {
          start[i] = pick(0, 2), stride[i] = pick(1, 2);
          limit[i] = start[i] + (shape[i] - 1) * stride[i] + 1;
          from[i] = limit[i] + pick(0, 1);
        }
        return build_.slice(next(from), start, limit, stride);
      }
      case 4: {
        auto low = spread(0), high = spread(0), interior = spread(0);
        Shape from = shape;
        for (int64_t i = 0; i < rank; ++i) {
          if (shape[i] >= 3) from[i] -= low[i] = pick(0, 1);
          if (shape[i] >= 3) from[i] -= high[i] = pick(0, 1);
          if (from[i] % 2 == 1 && pick(0, 3) == 0) interior[i] = 1, from[i] = (from[i] + 1) / 2;
        }
        return build_.make(Op::pad, {next(from)}, {{Attr::low, low}, {Attr::high, high}, {Attr::interior, interior}, {Attr::value, pick(0, 1) * 0.5}});
      }
      case 5: {
        std::vector<int64_t> axes;
        for (int64_t i = 0; i < rank; ++i)
          if (pick(0, 1)) axes.push_back(i);
        return build_.make(Op::reverse, {next(shape)}, {{Attr::axes, axes}});
      }
      default: {   // a window over one axis: [positions, size] from one that is as long as they reach
        if (rank < 2) return next(shape);
        int64_t axis = pick(0, static_cast<int>(rank) - 2);
        int64_t stride = pick(1, 2), dilation = pick(1, 2), reach = stride * (shape[axis] - 1) + dilation * (shape[axis + 1] - 1) + 1;
        int64_t low = reach > 2 ? pick(0, 1) : 0, high = reach > 2 ? pick(0, 1) : 0;
        Shape from = shape;
        from.erase(from.begin() + axis + 1);
        from[axis] = reach - low - high;
        using List = std::vector<int64_t>;
        return build_.make(Op::windows, {next(from)},
                           {{Attr::axes, List{axis}}, {Attr::size, List{shape[axis + 1]}}, {Attr::stride, List{stride}}, {Attr::dilation, List{dilation}}, {Attr::low, List{low}}, {Attr::high, List{high}}, {Attr::value, 0.25}});
      }
    }
  }
};

Kernel random_kernel(std::mt19937& random) {
  auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  ir::ContractSpec spec;
  std::map<char, int64_t> extents;
  const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 33, 40};
  char next = 'a';
  int64_t budget = 60000;
  auto letters = [&](int most, std::initializer_list<std::string*> lists) {
    for (int count = pick(0, most); count > 0; --count) {
      int64_t size = sizes[pick(0, std::size(sizes) - 1)];
      if (size > budget) size = 1;
      budget /= size;
      extents[next] = size;
      for (std::string* list : lists) *list += next;
      ++next;
    }
  };
  letters(2, {&spec.a, &spec.b});   // reduced
  letters(pick(0, 2), {&spec.a, &spec.b, &spec.result});
  letters(2, {&spec.a, &spec.result});
  letters(2, {&spec.b, &spec.result});
  for (std::string* list : {&spec.a, &spec.b, &spec.result}) std::shuffle(list->begin(), list->end(), random);
  auto shape_of = [&](const std::string& list) {
    Shape shape;
    for (char c : list) shape.push_back(extents.at(c));
    return shape;
  };
  Kernel kernel;
  Builder build(kernel.body);
  ElementType element = pick(0, 4) ? ElementType::f32 : ElementType::f64;
  RandomViews views(build, random);
  Value a = views.operand(shape_of(spec.a), element), b = views.operand(shape_of(spec.b), element);
  kernel.hero = build.contract(spec.text(), a, b);
  Value result = kernel.hero;
  if (pick(0, 1)) {   // a bias, an activation, another result
    Value bias = views.operand(build.type(result).shape, element);
    result = build.make(Op::add, {result, bias});
    if (pick(0, 1)) result = build.make(Op::max, {result, build.like(0, result)});
    if (pick(0, 1)) kernel.body.results.push_back({"r0", build.make(Op::mul, {result, bias}), false});
  }
  kernel.body.results.push_back({"r" + std::to_string(kernel.body.results.size()), result, false});
  set_schedule(kernel, pick(0, static_cast<int>(spec.result.size())));
  return kernel;
}
}  // namespace

TEST_CASE("random contracts of random views", "[contract]") {
  std::mt19937 random(getenv("SEED") ? atoi(getenv("SEED")) : 6);
  auto all = targets();
  for (int round = 0; round < (getenv("ROUNDS") ? atoi(getenv("ROUNDS")) : 150); ++round) check(random_kernel(random), random, {all[round % all.size()]}, 20);
}
