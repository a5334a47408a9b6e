// Which of a contract's indices become rows, lanes and the reduction, which operand has the lanes, and the kernel's body with its indices merged so.
// contract_choice.cpp tiles the loops that are left.
#include "codegen/contract_plan.h"

#include <algorithm>
#include <map>

#include "codegen/contract_roles.h"
#include "codegen/index.h"
#include "codegen/plan.h"
#include "codegen/target.h"
#include "ir/builder.h"
#include "ir/check.h"

namespace gradc::codegen {
using namespace ir;

std::optional<LinearAccess> linear_access(const Kernel& kernel, Value value, bool guarded) {
  const Function& body = kernel.body;
  IndexSpace space;
  IndexVector at;
  std::vector<Atom> variables;
  std::vector<Guard> guards;
  for (int64_t extent : body.type(value).shape) {
    at.push_back(space.variable(extent));
    variables.push_back(at.back().is_constant() ? -1 : variable_of(at.back()));   // an extent of 1 may be the constant 0
  }
  while (is_view(body[value].op)) {
    const Node& view = body[value];
    Access step = access(view, body.type(view.operands[0]).shape, at, space);
    if (!step.guards.empty() && (!guarded || step.fill != 0)) return std::nullopt;
    guards.insert(guards.end(), step.guards.begin(), step.guards.end());
    at = step.at;
    value = view.operands[0];
  }
  if (body[value].op != Op::input && body[value].op != Op::variable) return std::nullopt;
  bool buffer = body[value].op == Op::input;
  Index place = space.place(at, body.type(value).shape, buffer ? kernel.argument_layout(argument_number(body[value])) : Layout());
  LinearAccess result{value, place.constant, std::vector<int64_t>(variables.size(), 0)};
  for (auto [atom, coefficient] : place.terms) {
    const IndexSpace::Definition& d = space[atom];
    bool part = d.kind != IndexSpace::Definition::Kind::variable;
    if (part && (d.of.terms.size() != 1 || d.of.terms[0].second != 1 || d.of.constant != 0)) return std::nullopt;
    auto axis = std::find(variables.begin(), variables.end(), part ? d.of.terms[0].first : atom);
    if (axis == variables.end()) return std::nullopt;
    int number = static_cast<int>(axis - variables.begin());
    if (!part || d.kind == IndexSpace::Definition::Kind::remainder) result.strides[number] = coefficient;
    if (!part) continue;
    if (result.blocked >= 0 && (result.blocked != number || result.block != d.by)) return std::nullopt;
    result.blocked = number;
    result.block = d.by;
    if (d.kind == IndexSpace::Definition::Kind::quotient) result.block_stride = coefficient;
  }
  for (const Guard& guard : guards) {
    LinearAccess::Guard linear{guard.place.constant, guard.extent, std::vector<int64_t>(variables.size(), 0)};
    for (auto [atom, coefficient] : guard.place.terms) {
      auto axis = std::find(variables.begin(), variables.end(), atom);
      if (axis == variables.end()) return std::nullopt;
      linear.strides[axis - variables.begin()] = coefficient;
    }
    result.guards.push_back(std::move(linear));
  }
  if (result.block % 16 != 0 && result.blocked >= 0) return std::nullopt;   // vectors and unrolled steps stay within blocks
  return result;
}

namespace {
// The stride of one letter in an operand, if it is read linearly there (within blocks, if it is blocked).
std::optional<int64_t> letter_stride(const Kernel& kernel, Value operand, const std::string& letters, char c) {
  auto access = linear_access(kernel, operand);
  if (!access) return std::nullopt;
  return access->strides[letters.find(c)];
}

// Whether a letter that all have can run along the lanes: contiguous, or the same for all lanes, in both operands.
bool batch_lanes_fit(const Kernel& kernel, const Roles& roles, char c) {
  for (auto [operand, letters] : {std::pair{roles.a, &roles.spec.a}, std::pair{roles.b, &roles.spec.b}}) {
    auto stride = letter_stride(kernel, operand, *letters, c);
    if (!stride || (*stride != 1 && *stride != 0)) return false;
  }
  return true;
}
}  // namespace

Roles read_roles(const Kernel& kernel) {
  Roles roles;
  const Node& hero = kernel.body[kernel.hero];
  roles.spec = std::get<ContractSpec>(ContractSpec::parse(hero.attrs.text(Attr::spec)));
  roles.a = hero.operands[0];
  roles.b = hero.operands[1];
  for (size_t i = 0; i < roles.spec.a.size(); ++i) roles.extent[roles.spec.a[i]] = kernel.body.type(roles.a).shape[i];
  for (size_t i = 0; i < roles.spec.b.size(); ++i) roles.extent[roles.spec.b[i]] = kernel.body.type(roles.b).shape[i];
  for (size_t i = 0; i < roles.spec.result.size(); ++i) {
    char c = roles.spec.result[i];
    if (roles.extent[c] == 1) continue;
    roles.result += c;
    if (static_cast<int64_t>(i) < kernel.outer) ++roles.outer;
  }
  for (char c : roles.spec.a)
    if (!has(roles.spec.result, c)) roles.reduced += c;
  return roles;
}

// Decides the form and which operand is the lane operand (b). The form must not depend on the extent of a row index: a
// sample alone and a sample in a batch are to give the same bits.
ContractForm choose_form(const Kernel& kernel, Roles& roles, bool batch_lanes) {
  auto free_of = [&](const std::string& mine, const std::string& other) {
    std::string letters;
    for (char c : roles.spec.result)
      if (has(mine, c) && !has(other, c)) letters += c;
    return letters;
  };
  auto size_of = [&](const std::string& letters) {
    int64_t size = 1;
    for (char c : letters) size *= roles.extent[c];
    return size;
  };
  // The owner of the last index that one operand alone has becomes b.
  auto last_free = std::find_if(roles.spec.result.rbegin(), roles.spec.result.rend(), [&](char c) { return !roles.batch(c); });
  if (last_free != roles.spec.result.rend() && roles.only_a(*last_free)) roles.swap();

  std::string free_a = free_of(roles.spec.a, roles.spec.b), free_b = free_of(roles.spec.b, roles.spec.a);
  bool last_is_batch = !roles.result.empty() && roles.batch(roles.result.back());
  if (batch_lanes && last_is_batch && roles.outer < roles.result.size() && batch_lanes_fit(kernel, roles, roles.result.back())) {
    if (free_a.empty() || size_of(free_a) == 1) roles.swap();
    return ContractForm::batch_lanes;
  }
  auto dot = [&] {
    // Rows come from the operand that has more of them.
    if (size_of(free_b) > size_of(free_a)) roles.swap();
    return ContractForm::dot;
  };
  if (roles.result.empty() || last_is_batch || size_of(free_b) == 1) return dot();
  if (size_of(free_a) == 1) {
    // A matrix by a vector: lanes along the rows unless the matrix lies with its reduced index in them.
    char last_reduced = roles.reduced.empty() ? '\0' : roles.reduced.back();
    if (last_reduced && letter_stride(kernel, roles.b, roles.spec.b, last_reduced) == 1) return dot();
    return ContractForm::lanes;
  }
  if (!roles.only_b(roles.result.back())) roles.swap();
  return ContractForm::lanes;
}

namespace {
constexpr int64_t turned_depth = 2048;   // reduced elements that a packed panel of some vectors has at most

// Merges neighbouring letters of the result into rows and lanes; the others stay loops.
std::vector<Group> group_axes(const Roles& roles, ContractForm form) {
  const std::string& letters = roles.result;
  std::vector<Group> groups;
  std::vector<AxisRole> role(letters.size(), AxisRole::loop);
  auto mark_run = [&](size_t end, size_t begin_limit, AxisRole which, auto&& fits) {
    size_t i = end;
    while (i > begin_limit && role[i - 1] == AxisRole::loop && fits(letters[i - 1])) role[--i] = which;
    return i < end;
  };
  auto is_row = [&](char c) { return roles.only_a(c); };
  size_t size = letters.size(), outer = roles.outer;
  // Lanes lie wholly among the inner axes, or among the outer ones if there is nothing else: then units bound them.
  if (form == ContractForm::lanes) mark_run(size, size > outer ? outer : 0, AxisRole::lanes, [&](char c) { return roles.only_b(c); });
  // Batch lanes are one letter: neighbours need not merge in both operands.
  if (form == ContractForm::batch_lanes) role[size - 1] = AxisRole::lanes;
  bool dynamic_lanes = size > 0 && size == outer && role[size - 1] == AxisRole::lanes;
  // Rows: the last outer letters, which units bound; else the last run of inner ones.
  bool found = !dynamic_lanes && mark_run(outer, 0, AxisRole::rows, is_row);
  for (size_t end = size; !found && end > outer; --end) found = mark_run(end, outer, AxisRole::rows, is_row);
  for (size_t i = 0; i < size; ++i) {
    bool merges = i > 0 && role[i] != AxisRole::loop && role[i] == role[i - 1];
    if (!merges) groups.push_back({"", role[i], i < outer});
    groups.back().letters += letters[i];
  }
  return groups;
}

// Both operands have their reduced index in neighbouring elements, as in the gradient of a layer's input: dy[b, n] w[k, n]. To pack w
// takes a transposition of all of it for every granule of rows. With the roles exchanged dy's few rows are packed, w is read in place, one element
// for all lanes, and the tile of the result is transposed: less work as soon as the reduction is longer than a granule has rows.
bool may_turn(const ContractPlan& plan) {
  if (plan.form != ContractForm::lanes || !plan.dynamic_rows || plan.dynamic_lanes || !plan.a_access || !plan.b_access) return false;
  auto reduced_last = [](const LinearAccess& access, bool lanes) {   // a: [..., reduced], b: [..., reduced, lanes]
    size_t rank = access.strides.size();
    return access.strides[lanes ? rank - 2 : rank - 1] == 1 && !(lanes && access.strides[rank - 1] == 1);
  };
  return reduced_last(*plan.a_access, false) && reduced_last(*plan.b_access, true) && plan.depth <= turned_depth;
}
bool better_turned(const ContractPlan& plan) {
  int64_t rows = std::min(plan.rows, units_at_once(plan.kernel));
  return rows >= 8 && plan.depth > rows && plan.lanes >= 16;
}

// Exchanges rows and lanes.
void turn(Roles& roles, std::vector<Group>& groups) {
  roles.swap();
  for (Group& group : groups)
    if (group.role != AxisRole::loop) group.role = group.role == AxisRole::rows ? AxisRole::lanes : AxisRole::rows;
}

// An operand with its indices in another order, neighbours merged. Each entry of `axes` is one index of the result.
Value arrange(Builder& build, Value operand, const std::string& letters, const std::vector<std::string>& axes, const std::map<char, int64_t>& extent) {
  std::vector<int64_t> order;
  Shape shape;
  std::string placed;
  for (const std::string& axis : axes) {
    int64_t size = 1;
    for (char c : axis) {
      order.push_back(static_cast<int64_t>(letters.find(c)));
      size *= extent.at(c);
      placed += c;
    }
    shape.push_back(size);
  }
  for (size_t i = 0; i < letters.size(); ++i)   // indices of extent 1 go wherever they may
    if (!has(placed, letters[i])) order.push_back(static_cast<int64_t>(i));
  return build.reshape(build.transpose(operand, order), shape);
}

// The kernel's body with the hero's axes merged: views and sources are reshaped where maps meet them.
class Canonical {
 public:
  Canonical(const Kernel& from, ContractPlan& plan) : from_(from.body), plan_(plan), build_(plan.kernel.body), copies_(from.body.size()) {}

  void run(const Kernel& from, const Roles& roles, const std::vector<Group>& groups, const std::vector<std::string>& reduced) {
    for (uint32_t i = 0; i < from_.size(); ++i)
      if (from_.nodes[i].op == Op::input) source(Value{i});
    std::vector<std::string> a_axes, b_axes;
    std::string a_names, b_names, result_names, lane_letters;
    for (size_t i = 0; i < groups.size(); ++i) {
      const Group& group = groups[i];
      char name = static_cast<char>('A' + i), first = group.letters[0];
      int64_t extent = 1;
      for (char c : group.letters) extent *= roles.extent.at(c);
      shape_.push_back(extent);
      result_names += name;
      plan_.axes.push_back({group.role, extent, group.outer, has(roles.spec.a, first), has(roles.spec.b, first)});
      if (group.role == AxisRole::lanes) {
        lane_letters = group.letters;
        plan_.lane_axis = static_cast<int>(i);
        plan_.lanes = extent;
        plan_.dynamic_lanes = group.outer || from.lane_block > 0;
      } else {
        if (has(roles.spec.a, first)) a_axes.push_back(group.letters), a_names += name;
        if (has(roles.spec.b, first)) b_axes.push_back(group.letters), b_names += name;
      }
      if (group.role == AxisRole::rows) {
        plan_.row_axis = static_cast<int>(i);
        plan_.rows = extent;
        plan_.dynamic_rows = group.outer;
      }
    }
    for (size_t i = 0; i < reduced.size(); ++i) {
      char name = static_cast<char>('a' + i);
      a_axes.push_back(reduced[i]), a_names += name;
      b_axes.push_back(reduced[i]), b_names += name;
    }
    for (char c : reduced.back()) plan_.depth *= roles.extent.at(c);
    if (plan_.lane_axis >= 0) {
      char name = static_cast<char>('A' + plan_.lane_axis);
      b_axes.push_back(lane_letters), b_names += name;
      if (plan_.axes[plan_.lane_axis].in_a) a_axes.push_back(lane_letters), a_names += name;
    }
    plan_.a = arrange(build_, copy(roles.a), roles.spec.a, a_axes, roles.extent);
    plan_.b = arrange(build_, copy(roles.b), roles.spec.b, b_axes, roles.extent);
    plan_.kernel.hero = build_.contract(a_names + "," + b_names + "->" + result_names, plan_.a, plan_.b, contract_precision(from_[from.hero].attrs));
    merged_[from.hero] = plan_.kernel.hero;
    for (const Result& r : from_.results) {
      plan_.kernel.body.results.push_back({r.name, merged(r.value), r.write});
      plan_.result_shapes.push_back(from_.type(r.value).shape);
    }
    plan_.kernel.form = Form::contract;
    plan_.kernel.domain = shape_;
    plan_.kernel.units = from.units;
    plan_.kernel.parts = from.parts;
    plan_.kernel.block = from.block;
    plan_.kernel.in_place = from.in_place;
    plan_.kernel.argument_layouts = from.argument_layouts;
    plan_.kernel.result_layouts = from.result_layouts;
    plan_.kernel.lane_block = from.lane_block;
    plan_.kernel.outer = std::count_if(plan_.axes.begin(), plan_.axes.end(), [](const ContractAxis& axis) { return axis.outer; });
  }

 private:
  const Function& from_;
  ContractPlan& plan_;
  Builder build_;
  std::vector<Value> copies_;
  std::map<Value, Value> merged_;
  Shape shape_;

  void source(Value v) { copies_[v.id] = plan_.kernel.body.append(from_[v]); }

  Value copy(Value v) {
    if (copies_[v.id].valid()) return copies_[v.id];
    Node node = from_[v];
    for (Value& operand : node.operands) operand = copy(operand);
    return copies_[v.id] = plan_.kernel.body.append(std::move(node));
  }

  // Whether a view keeps the elements in their row-major order: it only changes extents of 1, or nothing.
  bool same_order(Value v) const;

  // A value of the hero's shape, in the merged shape.
  Value merged(Value v) {
    auto [place, fresh] = merged_.try_emplace(v);
    if (!fresh) return place->second;
    const Node& node = from_[v];
    Value made;
    if (is_map(node.op)) {
      std::vector<Value> operands;
      for (Value operand : node.operands) operands.push_back(merged(operand));
      build_.loc = node.loc;
      made = build_.make(node.op, operands, node.attrs);
    } else if (node.op == Op::constant) {
      made = build_.constant(node.attrs.number(Attr::value), {node.type.element, shape_});
    } else if (same_order(v)) {
      made = merged(node.operands[0]);
    } else {
      made = build_.reshape(copy(v), shape_);
    }
    return merged_[v] = made;
  }
};

bool Canonical::same_order(Value v) const {
  const Node& view = from_[v];
  if (!is_view(view.op) || view.type.size() != from_.type(view.operands[0]).size()) return false;
  IndexSpace space;
  IndexVector at;
  for (int64_t extent : view.type.shape) at.push_back(space.variable(extent));
  Access from = access(view, from_.type(view.operands[0]).shape, at, space);
  return from.guards.empty() && space.linear(from.at, from_.type(view.operands[0]).shape) == space.linear(at, view.type.shape);
}

// The lane operand where it is stored in pairs along the reduction.
std::optional<LinearAccess> paired_access(const Kernel& from, const ContractPlan& plan) {
  Value v = plan.b;
  while (is_view(plan.kernel.body[v].op)) v = plan.kernel.body[v].operands[0];
  const Node& node = plan.kernel.body[v];
  if (node.op != Op::input || node.type.element != ElementType::bf16 || plan.form != ContractForm::lanes) return std::nullopt;
  const Node& hero = from.body[from.hero];
  ContractSpec spec = std::get<ContractSpec>(ContractSpec::parse(hero.attrs.text(Attr::spec)));
  for (auto [operand, letters] : {std::pair{hero.operands[0], &spec.a}, std::pair{hero.operands[1], &spec.b}}) {
    const Node& matrix = from.body[operand];
    if (matrix.op != Op::input || argument_number(matrix) != argument_number(node) || letters->size() != 2) continue;
    int64_t axis = has(spec.result, (*letters)[0]);   // the summed one
    const Layout& layout = from.argument_layout(argument_number(node));
    bool one_each = !has(spec.result, (*letters)[axis]) && has(spec.result, (*letters)[1 - axis]);
    if (one_each && layout.digits.size() == 4 && layout == paired(matrix.type.shape, axis)) return LinearAccess{v, 0, {16, 1}, 1, 16, plan.depth / 2 * 16};
  }
  return std::nullopt;
}
}  // namespace

void merge_indices(const Kernel& kernel, const Roles& roles, const std::vector<Group>& groups, const std::vector<std::string>& reduced, ContractPlan& plan) {
  Canonical(kernel, plan).run(kernel, roles, groups, reduced);
}

ContractPlan arrange_contract(const Kernel& kernel, const Target& target, std::optional<bool> turned) {
  const Precision precision = contract_precision(kernel.body[kernel.hero].attrs);
  auto arrange_as = [&](bool batch_lanes, bool exchanged = false) {
    ContractPlan plan;
    plan.turned = exchanged;
    Roles roles = read_roles(kernel);
    plan.form = choose_form(kernel, roles, batch_lanes);
    std::vector<Group> groups = group_axes(roles, plan.form);
    if (exchanged) turn(roles, groups);
    merge_indices(kernel, roles, groups, {roles.reduced}, plan);
    plan.a_access = linear_access(plan.kernel, plan.a);
    plan.b_access = linear_access(plan.kernel, plan.b);
    plan.precision = precision;
    // Pairs are packed from strided operands of f32, or element by element.
    for (auto [access, operand] : {std::pair{&plan.a_access, plan.a}, std::pair{&plan.b_access, plan.b}})
      if (plan.pairs() && *access && ((*access)->blocked >= 0 || plan.kernel.body.type(operand).element != ElementType::f32)) access->reset();
    if (auto access = target.amx ? std::nullopt : paired_access(kernel, plan)) plan.b_access = access, plan.paired = true;
    return plan;
  };
  ContractPlan plan = arrange_as(precision == Precision::f32);
  // Batch lanes are read in place; merged reduced indices may not allow that.
  if (plan.form == ContractForm::batch_lanes && (!plan.a_access || !plan.b_access)) plan = arrange_as(false);
  if (plan.form == ContractForm::lanes && !plan.a_access)
    if (auto lines = arrange_lines(kernel, target)) return *lines;
  const bool may = may_turn(plan);
  if (may && turned.value_or(better_turned(plan))) plan = arrange_as(false, true);
  plan.may_turn = may;
  return plan;
}

ContractPlan plan_contract(const Kernel& kernel, const Target& target, const ContractChoice* choice) {
  ContractPlan plan = arrange_contract(kernel, target, choice ? std::optional(choice->turned) : std::nullopt);
  choose_tiles(plan, target, choice);
  return plan;
}

void share_out_columns(Kernel& kernel, bool weight_stays) {
  constexpr int64_t most_rows = 64;           // from there on rows are units enough, and layers need no barrier between them
  // Measured at 784 x 256 by one row, on two threads: prediction takes 4.8 us instead of 7.8; a training step 68 us instead of 55, since updates
  // are shared out by rows: half of the weight comes from the other core's cache.
  const double least_flops = weight_stays ? 2e5 : 1e6;
  Roles roles = read_roles(kernel);
  if (roles.result.size() > 2 || choose_form(kernel, roles, true) != ContractForm::lanes) return;
  char last = roles.result.back();
  int64_t rows = 1, lanes = roles.extent[last], depth = 1;
  for (char c : roles.result)
    if (c != last) rows *= roles.extent[c];
  for (char c : roles.reduced) depth *= roles.extent[c];
  if (!roles.only_b(last) || letter_stride(kernel, roles.b, roles.spec.b, last) != 1) return;
  if (rows > most_rows || lanes < 4 * rows || lanes < 2 * Kernel::column_block) return;
  if (2.0 * static_cast<double>(rows) * static_cast<double>(lanes) * static_cast<double>(depth) < least_flops) return;
  kernel.lane_block = Kernel::column_block;
  kernel.outer = 0;
  kernel.units = (lanes + kernel.lane_block - 1) / kernel.lane_block;
}

}  // namespace gradc::codegen
