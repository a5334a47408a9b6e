#include "ir/random_graph.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ir/random_generator.h"

namespace gradc::ir {
namespace random_graphs {

const std::vector<ElementType> all_elements = {ElementType::f32, ElementType::f64, ElementType::i32, ElementType::i64, ElementType::u8, ElementType::boolean};

Known input_range(ElementType element) {
  if (is_float(element)) return {-1, 1};
  if (element == ElementType::i32) return {-8, 8};
  return {0, element == ElementType::boolean ? 1.0 : 8.0};
}

Generator::Generator(uint64_t seed, const RandomGraphOptions& options) : random_(seed), options_(options) {
  f_.name = fmt::format("random.{}", seed);
  std::vector<int64_t> all = {1, 2, 3, 4, 5, 7, 8, 16, 17, 31, 33};
  for (int i = 0; i < 4; ++i) extents_.push_back(random_.one_of(all));
}

RandomGraph Generator::run() {
  using Make = Value (Generator::*)();
  struct Row {
    int weight;
    Make make;
  };
  static const std::vector<Row> rows = {
      {14, &Generator::unary},   {6, &Generator::choosing_unary}, {2, &Generator::discontinuous_unary}, {30, &Generator::binary}, {5, &Generator::choice},
      {4, &Generator::compare},  {3, &Generator::logic},          {6, &Generator::integer},             {4, &Generator::cast},    {6, &Generator::reshape},
      {7, &Generator::transpose}, {8, &Generator::broadcast},     {5, &Generator::slice},               {4, &Generator::pad},     {3, &Generator::reverse},
      {4, &Generator::windows},  {2, &Generator::fold},           {14, &Generator::contract},           {12, &Generator::reduce}, {2, &Generator::product},
      {2, &Generator::argmax},   {2, &Generator::source},         {1, &Generator::random},              {4, &Generator::softmax}, {4, &Generator::normalise},
      {6, &Generator::dense},     {3, &Generator::after},         {4, &Generator::gather},              {3, &Generator::scatter_add},
      {3, &Generator::loop}};
  int total = 0;
  for (const Row& row : rows) total += row.weight;
  for (int64_t i = random_.between(1, 3); i > 0; --i) fresh({float_element(), shape()});
  int made = 0;
  for (int attempt = 0; made < options_.operations && attempt < 40 * options_.operations; ++attempt) {
    int64_t at = random_.below(total);
    size_t row = 0;
    while (at >= rows[row].weight) at -= rows[row++].weight;
    b_.loc = {1, static_cast<uint32_t>(made + 1), static_cast<uint16_t>(row + 1)};
    Value v = (this->*rows[row].make)();
    if (!v.valid()) continue;
    pool_.push_back(v);
    ++made;
  }
  return finish();
}

Value Generator::node(Op op, std::vector<Value> operands, Known known, Attrs attrs) {
  std::vector<Type> types;
  for (Value v : operands) {
    if (!v.valid()) return {};
    types.push_back(f_.type(v));
  }
  Inferred type = infer_type(op, types, attrs);
  if (!std::holds_alternative<Type>(type) || std::get<Type>(type).size() > options_.largest) return {};
  if (is_float(std::get<Type>(type).element)) {
    if (!(known.low >= -largest_number && known.high <= largest_number)) return {};
    if (!(known.error <= 1e-4 * std::max(1.0, known.magnitude()))) return {};
  } else {
    known = integer_range(std::get<Type>(type).element, known);
  }
  known_.push_back(known);
  return b_.make(op, operands, std::move(attrs));
}

Shape Generator::shape() {
  Shape shape;
  int64_t rank = random_.chance(60) ? 2 : random_.below(5);
  while (static_cast<int64_t>(shape.size()) < rank) {
    int64_t next = extent();
    if (shape_size(shape) * next > options_.largest) break;
    shape.push_back(next);
  }
  return shape;
}

Value Generator::fresh(const Type& t) {
  known_.push_back(input_range(t.element));
  bool variable = random_.chance(30);
  Value v = variable ? b_.variable(fmt::format("v{}", variables_++), t) : b_.input(fmt::format("x{}", inputs_++), t);
  pool_.push_back(v);
  return v;
}

Value Generator::constant(double value, const Type& t) {
  known_.push_back({value, value});
  Value scalar = b_.scalar(value, t.element);
  if (t.shape.empty()) return scalar;
  known_.push_back({value, value});
  return b_.broadcast(scalar, t.shape, {});
}

Value Generator::of_type(const Type& t, bool exact) {
  if (t.size() > options_.largest) return {};
  Value old = random_.chance(60) ? pick([&](Value v) { return type(v) == t && (known(v).exact || !exact); }) : Value{};
  if (old.valid()) return old;
  if (random_.chance(25)) {
    static const std::vector<double> numbers = {0.5, 1, 2, -1, 0.25, 3};
    double value = random_.one_of(numbers);
    return constant(is_float(t.element) ? value : t.element == ElementType::boolean ? value > 0 : std::floor(std::abs(value)), t);
  }
  if (t.rank() > 0 && random_.chance(50)) {
    Shape small;
    std::vector<int64_t> axes;
    for (int64_t axis = 0; axis < t.rank(); ++axis)
      if (random_.chance(axis + 1 == t.rank() ? 70 : 30)) small.push_back(t.shape[axis]), axes.push_back(axis);
    Value source = pick([&](Value v) { return type(v) == Type{t.element, small} && (known(v).exact || !exact); });
    if (!source.valid()) source = fresh({t.element, small});
    if (small == t.shape) return source;
    return node(Op::broadcast, {source}, known(source), {{Attr::shape, t.shape}, {Attr::axes, axes}});
  }
  return fresh(t);
}

Value Generator::within(Value v, double low, double high) {
  if (!v.valid() || (known(v).low >= low && known(v).high <= high)) return v;
  if (high < 1 || (low > 0 && high < 1 + low)) return {};
  if (low <= -1) return map(Op::tanh, v);
  Value s = map(Op::sigmoid, v);
  return low <= 0 ? s : arithmetic(Op::add, s, constant(low, type(v)));
}

RandomGraph Generator::finish() {
  RandomGraph graph;
  std::vector<size_t> uses(f_.size());
  for (const Node& n : f_.nodes)
    for (Value v : n.operands) ++uses[v.id];
  std::vector<Value> candidates;   // what nobody uses, and now and then something in the middle
  for (Value v : pool_)
    if (!is_source(f_[v].op) && (uses[v.id] == 0 || random_.chance(10))) candidates.push_back(v);
  if (candidates.empty()) candidates.push_back(pool_.back());
  random_.shuffle(candidates);
  candidates.resize(std::min<size_t>(candidates.size(), static_cast<size_t>(random_.between(2, 8))));
  for (Value v : candidates) {
    std::string name = fmt::format("r{}", f_.results.size());
    graph.tolerance[name] = known(v).error;
    f_.results.push_back({name, v});
  }
  for (uint32_t i = 0; i < f_.size(); ++i) {
    if (f_.nodes[i].op != Op::variable || random_.chance(60)) continue;
    Value v = pick([&](Value v) { return type(v) == f_.nodes[i].type && !is_source(f_[v].op); });
    const std::string& name = f_.nodes[i].attrs.text(Attr::name);
    if (!v.valid()) continue;
    graph.tolerance["@" + name] = known(v).error;
    f_.results.push_back({name, v, true});
  }
  graph.function = std::move(f_);
  graph.function.prune();
  return graph;
}

}  // namespace random_graphs

RandomGraph random_graph(uint64_t seed, const RandomGraphOptions& options) { return random_graphs::Generator(seed, options).run(); }

Bindings random_bindings(const Function& f, uint64_t seed, int nan_percent) {
  random_graphs::Random random(seed ^ 0x5DEECE66D);
  Bindings bindings;
  for (const Node& node : f.nodes) {
    if (node.op != Op::input && node.op != Op::variable) continue;
    std::string name = (node.op == Op::variable ? "@" : "") + node.attrs.text(Attr::name);
    if (bindings.contains(name)) continue;
    Tensor& t = bindings[name] = Tensor(node.type);
    bool coarse = random.chance(25);
    const random_graphs::Known range = random_graphs::input_range(node.type.element);
    for (int64_t i = 0; i < t.size(); ++i) {
      if (!is_float(node.type.element))
        t.set(i, static_cast<double>(random.between(static_cast<int64_t>(range.low), static_cast<int64_t>(range.high))));
      else if (nan_percent > 0 && random.chance(nan_percent))
        t.set(i, NAN);
      else
        t.set(i, coarse ? static_cast<double>(random.between(-4, 4)) / 4 : random.unit() * 2 - 1);
    }
  }
  return bindings;
}

std::string difference(const Bindings& expected, const Bindings& actual, const std::map<std::string, double>& tolerance) {
  for (const auto& [name, a] : expected) {
    auto other = actual.find(name);
    if (other == actual.end()) return fmt::format("{} is missing", name);
    const Tensor& b = other->second;
    if (a.type != b.type) return fmt::format("{} is {} and {}", name, to_string(a.type), to_string(b.type));
    auto allowed = tolerance.find(name);
    double most = allowed == tolerance.end() ? 0 : allowed->second;
    for (int64_t i = 0; i < a.size(); ++i) {
      double x = a.at(i), y = b.at(i);
      if (x == y || (std::isnan(x) && std::isnan(y)) || std::abs(x - y) <= most) continue;
      std::vector<int64_t> place;
      for (int64_t stride : row_major_strides(a.type.shape)) place.push_back(i / stride % a.type.shape[place.size()]);
      return fmt::format("{}[{}]: {} and {} differ by more than {}", name, fmt::join(place, ", "), x, y, most);
    }
  }
  return "";
}
}  // namespace gradc::ir
