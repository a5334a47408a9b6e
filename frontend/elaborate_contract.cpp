// Products and sums: `@`, einsum, reductions, random numbers, slices. The IR's contract takes two operands without repeated or
// one-sided indices; everything else that an einsum may say is lowered here to reductions, masks and products.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborator.h"

namespace gradc::front {
using ir::ElementType;
using ir::Op;

Value Elaborator::matmul(const Value& left, const Value& right, const Span& sign, const Span& left_span, const Span& right_span) {
  if (left.is<Set>() || right.is<Set>() || left.is<Number>() || right.is<Number>())
    return fail(DiagnosticId::wrong_kind, sign, fmt::format("`@` of {} and {}", kind_of(left), kind_of(right)), "", {}, {"`*` multiplies by a number"});
  ir::Value a = float_node(left, left_span), b = float_node(right, right_span);
  if (!a.valid() || !b.valid()) return Poison{};
  ElementType element = promote(type(a).element, type(b).element);
  a = builder().cast(a, element);
  b = builder().cast(b, element);
  const ir::Type x = type(a), y = type(b);
  auto mismatch = [&](const std::string& why) {
    std::vector<Label> labels = {{left_span, fmt::format("this is {}", ir::to_string(x))}, {right_span, fmt::format("this is {}", ir::to_string(y))}};
    for (auto [value, span, type] : {std::tuple(&left, &left_span, &x), std::tuple(&right, &right_span, &y)}) {
      Span from = origin(*value);
      if (from.known() && sources.position(from.file, from.begin).line != sources.position(span->file, span->begin).line)
        labels.push_back({from, fmt::format("{} comes from here", ir::to_string(*type))});
    }
    return fail(DiagnosticId::shape_mismatch, sign, fmt::format("shapes do not fit for `@`: {} and {}{}", ir::to_string(x), ir::to_string(y), why), "", labels);
  };
  if (x.rank() == 0 || y.rank() == 0) return mismatch(", both need a dimension to sum over");
  int64_t sum_left = x.shape.back(), sum_right = y.rank() == 1 ? y.shape[0] : y.shape[y.rank() - 2];
  if (sum_left != sum_right) return mismatch(fmt::format("; it sums over {} on the left and {} on the right", sum_left, sum_right));
  // Letters from the right: k is summed, the axes before it on the left are a, b, ...; batch axes are shared from the right.
  std::string sa, sb, sr;
  int64_t lead = std::max<int64_t>(x.rank() - 2, 0), batch = std::max<int64_t>(y.rank() - 2, 0);
  if (batch > 0 && x.rank() > 1 && batch > lead) return mismatch("; the right side has more leading dimensions");
  for (int64_t i = 0; i < lead; ++i) sa += static_cast<char>('a' + i);
  for (int64_t i = 0; i < batch; ++i) {
    int64_t there = lead - batch + i;
    if (x.rank() > 1 && x.shape[there] != y.shape[i]) return mismatch("; the leading dimensions differ");
    sb += x.rank() > 1 ? sa[there] : static_cast<char>('a' + i);
  }
  sr = x.rank() > 1 ? sa : sb;
  if (x.rank() > 1) sa += 'M', sr += 'M';
  sa += 'K', sb += 'K';
  if (y.rank() > 1) sb += 'N', sr += 'N';
  return tensor(builder().contract(sa + "," + sb + "->" + sr, a, b));
}

namespace {
struct Indexed {
  ir::Value value;
  std::string letters;
};

Indexed sum_over(ir::Builder& b, Indexed x, const std::string& letters) {
  std::vector<int64_t> axes;
  std::string kept;
  for (size_t i = 0; i < x.letters.size(); ++i) {
    if (letters.find(x.letters[i]) != letters.npos) axes.push_back(static_cast<int64_t>(i));
    else kept += x.letters[i];
  }
  return {b.reduce(Op::reduce_sum, x.value, axes), kept};
}

// x[.., i, .., i, ..]: elements off the diagonal are masked and the second axis is summed away.
Indexed take_diagonals(ir::Builder& b, Indexed x) {
  for (size_t i = 0; i < x.letters.size(); ++i)
    for (size_t j = x.letters.find(x.letters[i], i + 1); j != x.letters.npos; j = x.letters.find(x.letters[i], i + 1)) {
      ir::Type index{ElementType::i32, b.type(x.value).shape};
      ir::Value same = b.make(Op::eq, {b.iota(index, static_cast<int64_t>(i)), b.iota(index, static_cast<int64_t>(j))});
      x.value = b.make(Op::select, {same, x.value, b.like(0, x.value)});
      x.value = b.reduce(Op::reduce_sum, x.value, {static_cast<int64_t>(j)});
      x.letters.erase(j, 1);
    }
  return x;
}

ir::Value arrange(ir::Builder& b, const Indexed& x, const std::string& order) {
  std::vector<int64_t> axes;
  for (char c : order) axes.push_back(static_cast<int64_t>(x.letters.find(c)));
  return b.transpose(x.value, axes);
}

Indexed multiply(ir::Builder& b, Indexed x, Indexed y, const std::string& keep, const std::map<char, int64_t>& extents) {
  bool sums = false;
  for (char c : x.letters) sums = sums || (keep.find(c) == keep.npos);
  if (sums) return {b.contract(x.letters + "," + y.letters + "->" + keep, x.value, y.value), keep};
  // Nothing is summed: a product of broadcasts, which fuses like any map.
  ir::Shape shape;
  for (char c : keep) shape.push_back(extents.at(c));
  auto spread = [&](Indexed z) {
    std::string order;
    std::vector<int64_t> axes;
    for (size_t i = 0; i < keep.size(); ++i)
      if (z.letters.find(keep[i]) != z.letters.npos) order += keep[i], axes.push_back(static_cast<int64_t>(i));
    return b.broadcast(arrange(b, z, order), shape, axes);
  };
  return {b.make(Op::mul, {spread(x), spread(y)}), keep};
}
}  // namespace

Value Elaborator::einsum(const std::string& text, std::vector<Value> operands, const Span& at, const std::vector<Span>& spans) {
  std::string spec;
  for (char c : text)
    if (c != ' ') spec += c;
  auto bad = [&](const std::string& why) {
    return fail(DiagnosticId::bad_einsum, at, fmt::format("\"{}\": {}", text, why), "", {}, {"the form is \"mk,kn->mn\": a letter for each dimension of each operand, then those of the result"});
  };
  size_t arrow = spec.find("->");
  if (arrow == spec.npos) return bad("there is no `->`");
  std::string result = spec.substr(arrow + 2);
  std::vector<std::string> lists(1);
  for (char c : spec.substr(0, arrow)) {
    if (c == ',') lists.emplace_back();
    else lists.back() += c;
  }
  for (const std::string& list : {spec.substr(0, arrow), result})
    for (char c : list)
      if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != ',') return bad(fmt::format("`{}` is not a letter", c));
  if (lists.size() != operands.size()) return bad(fmt::format("it names {} operands, {} are given", lists.size(), operands.size()));
  std::map<char, int64_t> extents;
  std::map<char, size_t> first;
  std::vector<Indexed> terms;
  ElementType element = ElementType::bf16;
  for (size_t i = 0; i < operands.size(); ++i) {
    ir::Value v = float_node(operands[i], spans[i]);
    if (!v.valid()) return Poison{};
    element = promote(element, type(v).element);
    if (static_cast<int64_t>(lists[i].size()) != type(v).rank())
      return bad(fmt::format("\"{}\" names {} dimensions, operand {} is {}", lists[i], lists[i].size(), i + 1, ir::to_string(type(v))));
    for (size_t k = 0; k < lists[i].size(); ++k) {
      auto [it, fresh] = extents.emplace(lists[i][k], type(v).shape[k]);
      size_t before = first.emplace(lists[i][k], i).first->second;
      if (!fresh && it->second != type(v).shape[k])
        return fail(DiagnosticId::shape_mismatch, at, fmt::format("\"{}\": {} is {} and {}", text, lists[i][k], it->second, type(v).shape[k]), "",
                    {{spans[before], fmt::format("{} is {} here", lists[i][k], it->second)}, {spans[i], fmt::format("this is {}", ir::to_string(type(v)))}});
    }
    terms.push_back({v, lists[i]});
  }
  for (size_t i = 0; i < result.size(); ++i) {
    if (!extents.count(result[i])) return bad(fmt::format("`{}` of the result is in no operand", result[i]));
    if (result.find(result[i], i + 1) != result.npos) return bad(fmt::format("`{}` is twice in the result", result[i]));
  }
  ir::Builder& b = builder();
  auto needed_after = [&](size_t i, char c) {
    if (result.find(c) != result.npos) return true;
    for (size_t k = i + 1; k < lists.size(); ++k)
      if (lists[k].find(c) != std::string::npos) return true;
    return false;
  };
  for (size_t i = 0; i < terms.size(); ++i) {
    terms[i].value = b.cast(terms[i].value, element);
    terms[i] = take_diagonals(b, terms[i]);
    std::string alone;
    for (char c : terms[i].letters) {
      bool elsewhere = result.find(c) != result.npos;
      for (size_t k = 0; k < lists.size(); ++k) elsewhere = elsewhere || (k != i && lists[k].find(c) != std::string::npos);
      if (!elsewhere) alone += c;
    }
    terms[i] = sum_over(b, terms[i], alone);
  }
  Indexed whole = terms[0];
  for (size_t i = 1; i < terms.size(); ++i) {
    std::string keep;
    for (char c : whole.letters + terms[i].letters)
      if (keep.find(c) == keep.npos && needed_after(i, c)) keep += c;
    if (i + 1 == terms.size()) keep = result;
    whole = multiply(b, whole, terms[i], keep, extents);
  }
  return tensor(arrange(b, whole, result));
}

Value Elaborator::reduce(Op op, const Value& value, const Value& axis_or_all, bool keep, const Span& at) {
  const Value axis = axis_or_all.is<Text>() && axis_or_all.get<Text>()->text == "all" ? Value(Nothing{}) : axis_or_all;
  if (value.is<Poison>() || axis.is<Poison>()) return Poison{};
  if (auto* set = value.get<Set>()) return fold_set(*set, op, at);
  if (value.is<Number>() && axis.is<Nothing>()) return value;
  if (auto* list = value.get<List>(); list && axis.is<Nothing>() && op != Op::argmax) {
    // Over a list of numbers: at compile time.
    if (list->items->empty() && op == Op::reduce_sum) return 0.0;
    if (list->items->empty() && op == Op::reduce_prod) return 1.0;
    bool numbers = !list->items->empty();
    for (const Value& item : *list->items) numbers = numbers && item.is<Number>();
    if (numbers) {
      Value total = (*list->items)[0];
      Op step = op == Op::reduce_prod ? Op::mul : op == Op::reduce_max ? Op::max : op == Op::reduce_min ? Op::min : Op::add;
      for (size_t i = 1; i < list->items->size(); ++i) total = scalar_map(step, {total, (*list->items)[i]});
      if (op == Op::reduce_mean) total = scalar_map(Op::div, {total, static_cast<double>(list->items->size())});
      return total;
    }
  }
  ir::Value v = node(value, at);
  if (!v.valid()) return Poison{};
  ElementType element = type(v).element;
  if (op == Op::reduce_mean && !ir::is_float(element)) v = builder().cast(v, ElementType::f32);
  else if (element == ElementType::boolean || (element == ElementType::u8 && (op == Op::reduce_sum || op == Op::reduce_prod))) v = builder().cast(v, ElementType::i32);
  ir::Shape shape = type(v).shape;
  ir::Value result;
  std::vector<int64_t> over;
  if (op == Op::argmax) {
    auto one = this->axis(axis.is<Nothing>() ? Value(-1.0) : axis, type(v).rank(), at);
    if (!one) return Poison{};
    over = {*one};
    result = builder().make(Op::argmax, {v}, {{ir::Attr::axis, *one}});
  } else {
    auto list = axes(axis, type(v).rank(), at);
    if (!list) return Poison{};
    over = *list;
    result = builder().reduce(op, v, over);
  }
  if (keep) {
    for (int64_t a : over) shape[a] = 1;
    result = builder().reshape(result, shape);
  }
  return tensor(result);
}

Value Elaborator::random(RandomSource source, const ir::Shape& shape, const Span& at) {
  ir::Builder& b = builder();
  std::string key = fmt::format("{}:{}", run->key, run->randoms++);
  int site = sites_.emplace(key, static_cast<int>(sites_.size()) + 1).first->second;
  ir::Type index{ElementType::i64, {}};
  ir::Value seed = input("seed", index);
  ir::Value step = step_key();
  // Along the sample axis the element number counts samples of the epoch, so that chunk sizes change nothing.
  bool by_sample = out->rows > 0 && !shape.empty() && shape[0] == out->rows;
  ir::Value row = by_sample ? input("row", index) : b.constant(0, index);
  std::string distribution = source.kind == RandomSource::Kind::normal ? "normal" : "uniform";
  ir::Value v = b.make(Op::random, {seed, step, row},
                       {{ir::Attr::distribution, distribution}, {ir::Attr::site, int64_t{site}}, {ir::Attr::element, ElementType::f32}, {ir::Attr::shape, shape}});
  if (source.kind != RandomSource::Kind::bernoulli) return tensor(v);
  Value below = map_op(Op::lt, tensor(v), *source.probability, at, at, at);
  if (!below.is<Tensor>()) return below;
  return tensor(b.cast(below.get<Tensor>()->node, ElementType::f32));
}

Value Elaborator::subscript(const Value& object, const ast::Index& index, Env& env, const Span& at) {
  struct Part {
    bool range = false;
    int64_t begin = 0, end = 0, stride = 1;
  };
  // `single`: the value of a subscript that is no range.
  auto part = [&](const ast::Subscript& s, const Value& single, int64_t extent, const std::string& of) -> std::optional<Part> {
    auto number = [&](const ast::ExprPtr& e, int64_t otherwise, bool& ok) {
      if (!e) return otherwise;
      auto n = fix_integer(s.range ? eval(*e, env) : single, e->span, "a subscript");
      ok = ok && n.has_value();
      return n ? (*n < 0 ? *n + extent : *n) : 0;
    };
    bool ok = true;
    Part p;
    p.range = s.range;
    if (!s.range) {
      p.begin = number(s.index, 0, ok);
      p.end = p.begin + 1;
    } else {
      p.begin = number(s.begin, 0, ok);
      p.end = number(s.end, extent, ok);
      if (s.stride) {
        auto stride = fix_integer(eval(*s.stride, env), s.stride->span, "a stride");
        ok = ok && stride.has_value();
        p.stride = stride.value_or(1);
      }
    }
    if (!ok) return std::nullopt;
    if (p.begin < 0 || p.end > extent || p.begin > p.end || p.stride < 1 || (!s.range && p.begin >= extent) || (s.range && p.begin == p.end && extent > 0 && !object.is<List>())) {
      std::string text = s.range ? fmt::format("{}:{}{}", p.begin, p.end, p.stride != 1 ? fmt::format(":{}", p.stride) : "") : fmt::format("{}", p.begin);
      fail(DiagnosticId::bad_subscript, s.span, fmt::format("subscript {} is outside of {}", text, of));
      return std::nullopt;
    }
    return p;
  };
  auto single = [&](const ast::Subscript& s) { return s.range ? Value() : eval(*s.index, env); };
  if (object.is<List>() || object.is<Tuple>()) {
    const Values& items = object.is<List>() ? *object.get<List>()->items : *object.get<Tuple>()->items;
    if (index.subscripts.size() != 1) return fail(DiagnosticId::bad_subscript, at, "a list takes one subscript");
    auto p = part(index.subscripts[0], single(index.subscripts[0]), static_cast<int64_t>(items.size()), fmt::format("a list of {}", items.size()));
    if (!p) return Poison{};
    if (!p->range) return items[p->begin];
    Values some;
    for (int64_t i = p->begin; i < p->end; i += p->stride) some.push_back(items[i]);
    return make_list(std::move(some));
  }
  ir::Value v = node(object, at);
  if (!v.valid()) return Poison{};
  ir::Type t = type(v);
  if (static_cast<int64_t>(index.subscripts.size()) > t.rank())
    return fail(DiagnosticId::bad_subscript, at, fmt::format("{} subscripts for {}", index.subscripts.size(), ir::to_string(t)));
  std::vector<int64_t> start(t.rank(), 0), limit = t.shape, stride(t.rank(), 1);
  ir::Shape kept;
  ir::Value rows;   // a subscript that is a tensor
  int64_t axis = 0;
  for (int64_t i = 0; i < t.rank(); ++i) {
    if (i >= static_cast<int64_t>(index.subscripts.size())) {
      kept.push_back(t.shape[i]);
      continue;
    }
    const ast::Subscript& s = index.subscripts[i];
    const Value given = single(s);
    if (given.is<Tensor>()) {
      if (rows.valid()) return fail(DiagnosticId::bad_subscript, s.span, "one subscript may be a tensor, this is the second");
      rows = node(given, s.span);
      if (!rows.valid()) return Poison{};
      if (!ir::is_integer(type(rows).element))
        return fail(DiagnosticId::bad_subscript, s.span, fmt::format("a subscript is a number or a tensor of integers, this is {}", ir::to_string(type(rows))), "", {}, {"`i32(x)` truncates"});
      axis = static_cast<int64_t>(kept.size());
      kept.push_back(t.shape[i]);
      continue;
    }
    auto p = part(s, given, t.shape[i], fmt::format("dimension {} of {}", i, ir::to_string(t)));
    if (!p) return Poison{};
    start[i] = p->begin, limit[i] = p->end, stride[i] = p->stride;
    if (p->range) kept.push_back((p->end - p->begin + p->stride - 1) / p->stride);
  }
  v = builder().reshape(builder().slice(v, start, limit, stride), kept);
  return tensor(rows.valid() ? builder().make(Op::gather, {v, rows}, {{ir::Attr::axis, axis}, {ir::Attr::batch, int64_t{0}}}) : v);
}

}  // namespace gradc::front
