// scan(f, init, xs): a loop in the program. f is run once, at compile time, on stand-ins for the carries and for one slice of each sequence; what that adds to the
// function becomes the body of a `scan` node:
//   - nodes that depend on no stand-in are the same in all rounds and stay outside, where they are computed once (variables, hyperparameters, masks);
//   - values from outside become captures, but for numbers, which are written down again;
//   - what an inner `grad` differentiates through comes in, too: a capture would end the path to its target.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborate_builtins.h"
#include "ir/loop.h"

namespace gradc::front {
using ir::ElementType;
using ir::Op;

namespace {
// Carries, slices and outputs are values of any structure: tensors, numbers, and tuples, lists and sets of them.
const Values* items_of(const Value& v) {
  if (auto* tuple = v.get<Tuple>()) return tuple->items.get();
  if (auto* list = v.get<List>()) return list->items.get();
  if (auto* set = v.get<Set>()) return &set->value->entries;
  return nullptr;
}

bool same_structure(const Value& a, const Value& b) {
  const Values *x = items_of(a), *y = items_of(b);
  if ((x != nullptr) != (y != nullptr)) return false;
  if (!x) return true;
  return x->size() == y->size() && std::equal(x->begin(), x->end(), y->begin(), same_structure);
}

void collect(const Value& v, Values& leaves) {
  const Values* items = items_of(v);
  if (!items) return leaves.push_back(v);
  for (const Value& item : *items) collect(item, leaves);
}

// The structure of `like` with other leaves.
Value rebuild(Elaborator& e, const Value& like, const std::vector<ir::Value>& leaves, size_t& next) {
  const Values* items = items_of(like);
  if (!items) return e.tensor(leaves[next++]);
  Values made;
  for (const Value& item : *items) made.push_back(rebuild(e, item, leaves, next));
  if (like.is<Tuple>()) return make_tuple(std::move(made));
  if (like.is<List>()) return make_list(std::move(made));
  auto set = std::make_shared<SetValue>(*like.get<Set>()->value);
  set->entries = std::move(made);
  return Set{set};
}
Value rebuild(Elaborator& e, const Value& like, const std::vector<ir::Value>& leaves) {
  size_t next = 0;
  return rebuild(e, like, leaves, next);
}

// Takes the body out of the function into which it has been elaborated, from node `begin` on.
class Extraction {
 public:
  Extraction(Emission& out, size_t begin, const std::vector<ir::Value>& stand_ins) : out_(out), f_(out.function), begin_(static_cast<uint32_t>(begin)), b_(body), map_(f_.size()) {
    for (ir::Value v : stand_ins) {
      b_.loc = f_[v].loc;
      map_[v.id] = b_.input(f_[v].attrs.text(ir::Attr::name), f_.type(v));
    }
    find_inner();
  }

  ir::Function body;
  std::vector<ir::Value> captures;   // of the function, when it is finished

  bool inner(ir::Value v) const { return inner_[v.id]; }
  bool uses(ir::Value v) const {
    return std::any_of(f_.nodes.begin() + begin_, f_.nodes.end(), [&](const ir::Node& node) { return std::find(node.operands.begin(), node.operands.end(), v) != node.operands.end(); });
  }

  void result(ir::Value v) { body.results.push_back({fmt::format("r{}", body.results.size()), take(v), false}); }

  // The function without the round.
  void finish() {
    std::vector<ir::Value> moved(f_.size());
    std::vector<ir::Node> kept;
    for (uint32_t i = 0; i < f_.size(); ++i) {
      if (i >= begin_ && inner_[i]) continue;
      for (ir::Value& operand : f_.nodes[i].operands) operand = moved[operand.id];
      moved[i] = ir::Value{static_cast<uint32_t>(kept.size())};
      kept.push_back(std::move(f_.nodes[i]));
    }
    f_.nodes = std::move(kept);
    for (auto* cache : {&out_.inputs, &out_.variables})
      for (auto& [name, v] : *cache) v = moved[v.id];
    for (auto& [scalar, v] : out_.scalars) v = moved[v.id];
    for (ir::Value& v : captures) v = moved[v.id];
  }

 private:
  Emission& out_;
  ir::Function& f_;
  uint32_t begin_;
  ir::Builder b_;
  std::vector<ir::Value> map_;
  std::vector<bool> inner_, target_, through_;   // through: between a target from outside and what is differentiated inside

  void find_inner() {
    target_.resize(f_.size());
    through_.resize(f_.size());
    inner_.resize(f_.size());
    for (uint32_t i = begin_; i < f_.size(); ++i)
      if (f_.nodes[i].op == Op::grad) target_[f_.nodes[i].operands[1].id] = true;
    for (uint32_t i = 0; i < f_.size(); ++i) {
      const ir::Node& node = f_.nodes[i];
      through_[i] = target_[i];
      inner_[i] = map_[i].valid() || (i >= begin_ && (node.op == Op::random || node.op == Op::grad));
      for (ir::Value operand : node.operands) {
        through_[i] = through_[i] || through_[operand.id];
        inner_[i] = inner_[i] || inner_[operand.id];
      }
      if (i >= begin_ && through_[i] && !(target_[i] && node.op == Op::variable)) inner_[i] = true;
    }
  }

  // A number, or views of one.
  bool is_number(ir::Value v) const {
    while (ir::is_view(f_[v].op) || f_[v].op == Op::cast) v = f_[v].operands[0];
    return f_[v].op == Op::constant || f_[v].op == Op::iota;
  }

  ir::Value take(ir::Value root) {
    std::vector<ir::Value> stack = {root};
    while (!stack.empty()) {
      ir::Value v = stack.back();
      if (map_[v.id].valid()) {
        stack.pop_back();
        continue;
      }
      const ir::Node& node = f_[v];
      if (!inner_[v.id] && !is_number(v) && (!through_[v.id] || target_[v.id])) {
        stack.pop_back();
        b_.loc = node.loc;
        map_[v.id] = b_.input(fmt::format("k{}", captures.size()), node.type);
        captures.push_back(v);
        continue;
      }
      bool ready = true;
      for (ir::Value operand : node.operands)
        if (!map_[operand.id].valid()) stack.push_back(operand), ready = false;
      if (!ready) continue;
      stack.pop_back();
      ir::Node copy = node;
      for (ir::Value& operand : copy.operands) operand = map_[operand.id];
      map_[v.id] = body.append(std::move(copy));
    }
    return map_[root.id];
  }
};

class Scan {
 public:
  explicit Scan(BuiltinCall& c) : c_(c), e_(c.e) {}

  Value run() {
    if (!e_.out || !e_.run) return e_.fail(DiagnosticId::wrong_place, c_.at, "`scan` runs inside of models and training only");
    if (!take_operands()) return Poison{};
    const size_t begin = e_.out->function.size();
    std::vector<ir::Value> stand_ins;
    for (size_t i = 0; i < carries_.size(); ++i) stand_ins.push_back(e_.builder().input(fmt::format("carry{}", i), e_.type(carries_[i])));
    for (size_t i = 0; i < slices_.size(); ++i) {
      ir::Type type = e_.type(slices_[i]);
      type.shape.erase(type.shape.begin());
      stand_ins.push_back(e_.builder().input(fmt::format("x{}", i), type));
    }
    const ir::Value key = e_.builder().input("key", {ElementType::i64, {}});
    Value given = step(stand_ins, key);
    if (given.is<Poison>()) return given;
    std::vector<ir::Value> results;
    if (!take_results(given, results)) return Poison{};

    Emission& out = *e_.out;
    stand_ins.push_back(key);
    Extraction body(out, begin, stand_ins);
    const bool keyed = body.uses(key);
    for (ir::Value v : results) body.result(v);
    body.finish();
    if (keyed) slices_.push_back(keys());
    else drop_input(body.body, carries_.size() + slices_.size());
    body.body.name = name();
    return build(std::move(body.body), body.captures);
  }

 private:
  BuiltinCall& c_;
  Elaborator& e_;
  std::vector<ir::Value> carries_, slices_;
  int64_t length_ = 0, chunk_ = 0;
  bool backward_ = false;
  Value output_;   // as f gives it
  bool has_output_ = true;

  bool wrong(const Span& at, std::string message, std::vector<std::string> hints = {}) {
    e_.fail(DiagnosticId::bad_scan, at, std::move(message), "", {}, std::move(hints));
    return false;
  }

  bool leaves(size_t argument, std::vector<ir::Value>& nodes) {
    if (!c_.given(argument)) return true;
    Values values;
    collect(c_[argument], values);
    for (const Value& v : values) {
      ir::Value node = e_.node(v, c_.spans[argument]);
      if (!node.valid()) return false;
      nodes.push_back(node);
    }
    return true;
  }

  bool take_operands() {
    if (!leaves(1, carries_) || !leaves(2, slices_)) return false;
    if (c_.given(3)) {
      auto length = e_.fix_integer(c_[3], c_.spans[3], "`length`");
      if (!length) return false;
      if (*length < 1) return wrong(c_.spans[3], fmt::format("a loop of {} rounds", *length));
      length_ = *length;
    }
    for (ir::Value x : slices_) {
      const ir::Type type = e_.type(x);
      if (type.rank() == 0) return wrong(c_.spans[2], "the sequences that `scan` goes along have the steps as their first dimension, this is a scalar");
      if (length_ != 0 && type.shape[0] != length_)
        return wrong(c_.spans[2], fmt::format("{} has {} slices along its first dimension, but the loop has {} rounds", ir::to_string(type), type.shape[0], length_));
      length_ = type.shape[0];
    }
    if (length_ == 0) return wrong(c_.at, "how many rounds the loop has is not known", {"`scan(f, init, xs)` goes along the first dimension of xs, `scan(f, init, length = 10)` does without"});
    if (c_.given(4)) {
      auto reverse = e_.fix_flag(c_[4], c_.spans[4], "`reverse`");
      if (!reverse) return false;
      backward_ = *reverse;
    }
    if (c_.given(5)) {
      auto chunk = e_.fix_integer(c_[5], c_.spans[5], "`checkpoint`");
      if (!chunk) return false;
      if (*chunk < 1 || length_ % *chunk != 0) return wrong(c_.spans[5], fmt::format("chunks of {} rounds do not divide {} rounds", *chunk, length_));
      chunk_ = *chunk == length_ ? 0 : *chunk;
    }
    return true;
  }

  Value step(const std::vector<ir::Value>& stand_ins, ir::Value key) {
    Args args;
    auto add = [&](size_t argument, size_t first, size_t count) {
      if (!c_.given(argument)) return;
      Arg arg;
      arg.span = c_.spans[argument];
      arg.value = rebuild(e_, c_[argument], {stand_ins.begin() + static_cast<int64_t>(first), stand_ins.begin() + static_cast<int64_t>(first + count)});
      args.push_back(std::move(arg));
    };
    add(1, 0, carries_.size());
    add(2, carries_.size(), slices_.size());
    Scoped<ir::Value> keyed(e_.out->key, key);
    e_.scans.push_back({e_.frames.size(), {}, c_.at});
    Value result = e_.call(c_[0], std::move(args), c_.spans[0]);
    e_.scans.pop_back();
    if (result.is<Nothing>()) result = e_.fail(DiagnosticId::wrong_kind, c_.spans[0], "this gives no value");
    return result;
  }

  // What f gives: (new carry, output), or a new carry alone; without a carry the output.
  bool take_results(const Value& given, std::vector<ir::Value>& results) {
    Value carry;
    if (!c_.given(1)) {
      output_ = given;
    } else if (same_structure(given, c_[1])) {
      carry = given;
      has_output_ = false;
    } else if (const Values* pair = items_of(given); pair && pair->size() == 2 && same_structure((*pair)[0], c_[1])) {
      carry = (*pair)[0];
      output_ = (*pair)[1];
    } else {
      return wrong(c_.spans[0], fmt::format("a round gives the new carry, or (new carry, output); this gives {}", kind_of(given)), {"the new carry has the structure of the first one: as many tensors, in the same tuples"});
    }
    if (c_.given(1)) {
      Values values;
      collect(carry, values);
      for (size_t i = 0; i < values.size(); ++i) {
        const ir::Type wanted = e_.type(carries_[i]);
        if (values[i].is<Poison>()) return false;
        const bool number = values[i].is<Number>() || values[i].is<Flag>();
        ir::Value v = number ? e_.number_like(values[i], wanted) : e_.node(values[i], c_.spans[0]);
        if (!v.valid()) return false;
        if (e_.type(v) != wanted)
          return wrong(c_.spans[0], fmt::format("a carry is {} when a round begins and {} when it ends", ir::to_string(wanted), ir::to_string(e_.type(v))),
                       {"the first value says what a carry is: `fill(0, [n, d])` makes zeros of a shape, `f32(x)` another element type"});
        results.push_back(v);
      }
    }
    if (!has_output_) return true;
    Values values;
    collect(output_, values);
    for (const Value& value : values) {
      ir::Value v = e_.node(value, c_.spans[0]);
      if (!v.valid()) return false;
      results.push_back(v);
    }
    return true;
  }

  // Randomness of a round: the step of what is around, and a part that differs from round to round and from loop to loop around.
  ir::Value keys() {
    constexpr double factors[] = {0x9E3779B97F4A7p0, 0xD1B54A32D192Fp0, 0x8CB92BA72F3D9p0};   // odd
    ir::Builder& b = e_.builder();
    const ir::Type scalar{ElementType::i64, {}}, list{ElementType::i64, {length_}};
    ir::Value step = e_.step_key();
    ir::Value round = b.make(Op::add, {b.iota(list, 0), b.constant(1, list)});
    ir::Value part = b.make(Op::mul, {round, b.constant(factors[e_.scans.size() % 3], list)});
    return b.make(Op::add, {part, b.broadcast(step, list.shape, {})});
  }

  static void drop_input(ir::Function& body, size_t number) {
    const ir::Value in = body.inputs()[number];
    body.nodes.erase(body.nodes.begin() + in.id);
    auto shift = [&](ir::Value& v) { v.id -= v.id > in.id; };
    for (ir::Node& node : body.nodes)
      for (ir::Value& operand : node.operands) shift(operand);
    for (ir::Result& r : body.results) shift(r.value);
  }

  std::string name() const {
    auto* closure = c_[0].get<Closure>();
    return closure ? closure->function->name.text : "round";
  }

  Value build(ir::Function body, const std::vector<ir::Value>& captures) {
    ir::Builder& b = e_.builder();
    const int64_t carries = static_cast<int64_t>(carries_.size()), slices = static_cast<int64_t>(slices_.size()), count = static_cast<int64_t>(body.results.size());
    std::vector<ir::Value> operands = carries_;
    for (ir::Value x : slices_) operands.push_back(chunk_ ? b.reshape(x, chunked(e_.type(x).shape)) : x);
    operands.insert(operands.end(), captures.begin(), captures.end());
    int64_t rounds = length_;
    if (chunk_) {
      body = chunk_of(std::move(body), operands, carries, slices);
      rounds = length_ / chunk_;
    }
    ir::Value scan = ir::make_scan(b, {std::move(body), rounds, carries, slices, backward_, chunk_ > 0, operands});
    std::vector<ir::Value> last, stacks;
    for (int64_t i = 0; i < count; ++i) {
      ir::Value item = ir::make_item(b, scan, i);
      if (i >= carries && chunk_) {
        ir::Shape shape = e_.type(item).shape;
        shape.erase(shape.begin());
        shape[0] = length_;
        item = b.reshape(item, shape);
      }
      (i < carries ? last : stacks).push_back(item);
    }
    Value carry = c_.given(1) ? rebuild(e_, c_[1], last) : Value(Nothing{});
    if (!has_output_) return carry;
    Value output = rebuild(e_, output_, stacks);
    return c_.given(1) ? make_tuple({carry, output}) : output;
  }

  ir::Shape chunked(ir::Shape shape) const {
    shape[0] = chunk_;
    shape.insert(shape.begin(), length_ / chunk_);
    return shape;
  }

  // A round of the loop over chunks: the loop over one.
  ir::Function chunk_of(ir::Function round, const std::vector<ir::Value>& operands, int64_t carries, int64_t slices) {
    ir::Function body;
    ir::Builder b(body);
    b.loc = e_.builder().loc;
    body.name = round.name + ".chunk";
    const std::vector<ir::Value> inputs = round.inputs();
    std::vector<ir::Value> given;
    for (size_t i = 0; i < operands.size(); ++i) {
      ir::Type type = e_.type(operands[i]);
      if (static_cast<int64_t>(i) >= carries && static_cast<int64_t>(i) < carries + slices) type.shape.erase(type.shape.begin());
      given.push_back(b.input(round[inputs[i]].attrs.text(ir::Attr::name), type));
    }
    const int64_t count = static_cast<int64_t>(round.results.size());
    ir::Value scan = ir::make_scan(b, {std::move(round), chunk_, carries, slices, backward_, false, given});
    for (int64_t i = 0; i < count; ++i) body.results.push_back({fmt::format("r{}", i), ir::make_item(b, scan, i), false});
    return body;
  }
};

Value scan(BuiltinCall& c) { return Scan(c).run(); }

constexpr Builtin table[] = {{"scan", "f init? xs? length? reverse? checkpoint?", scan}};
}  // namespace

std::span<const Builtin> loop_builtins() { return table; }

ir::Value Elaborator::step_key() {
  if (out->key.valid()) return out->key;
  const ir::Type index{ElementType::i64, {}};
  return out->initial ? builder().constant(0, index) : input("step", index);
}

void Elaborator::note_made_in_scan(const std::string& path) {
  if (!scans.empty() && scans.back().frames == frames.size()) scans.back().made.push_back(path);
}

bool Elaborator::made_in_scan(const std::string& path, const Span& span) {
  for (const ScanRun& scan : scans)
    for (const std::string& made : scan.made)
      if (path == made || path.starts_with(made + ".")) {
        fail(DiagnosticId::bad_scan, span, fmt::format("`{}` would be a new parameter in each round of a loop", path), "", {{scan.at, "the loop"}},
             {"`let cell = dense(10)` before the `scan` makes one layer that all rounds share"});
        return true;
      }
  return false;
}

}  // namespace gradc::front
