// How each matrix lies.
//
// The products of a dense layer read matrices along both axes: x[b, k] w[k, n] has a run of k for every row b and a run of n for every k, the gradients
// have them the other way round. Row-major matrices whose rows are some power of two apart then fall on few cache sets, and each row is on a page of
// its own. Two layouts help:
//
// Blocked, [j/16, i, j%16]: a register's lanes are one line, the rows of a tile are neighbouring lines, a walk along either axis is a
//   stream. One and the same order serves a product and both its gradients; weights keep it for good. For what a contract reads or
//   computes and what rides in its epilogue (an optimizer's slots), if everybody else who touches the buffer can do with it: contracts that read it
//   in place, columns. Not rows and maps, which would walk against the order (a map that only writes is the first value of a variable: once).
// Pitched, [i, j:pitch]: each row begins on a line, and not a multiple of 1 KB after the one before. For all other matrices. Rows that are no whole
//   number of lines share them, and the masked start of one waits for the masked end of the other. Read as a row-major one is, with another
//   stride, as long as nobody merges its rows.
//
// Products of 1024x1024 on one Zen 4 core, GFLOP/s at batch 32, 128 and 512 (peak 117): forward 81, 103, 94 pitched, 109, 109, 110 blocked (row-major 90
// at 128 and 512); weight gradient with Adam 69, 105, 97 pitched, 87, 107, 111 blocked; input gradient 94, 107, 98 and 91, 108, 107.
//
// Turned: what a product computes and everybody reads through one and the same transposition lies in that order, as the heads of attention side by side for the
//   projection that follows.
//
// Buffers that callers fill or read (inputs, outputs) and literals are row-major. A variable has one layout in all entries.
#include "codegen/layout.h"

#include <algorithm>
#include <set>

#include "codegen/contract_plan.h"
#include "ir/check.h"

namespace gradc::codegen {
using namespace ir;

namespace {
constexpr int64_t line = 64, sets = 1024;   // bytes
constexpr int64_t block = 16;               // lanes of the widest register
constexpr int64_t shortest = 32;            // columns from which blocks pay

struct Buffer {
  Type type;
  std::string variable;     // its name, if it is one
  bool product = false;     // a contract would have it blocked
  Layout pairs;             // of a kernel of that form: decided by fusion
  bool inside = true;       // no caller fills or reads it
  bool may_block = false, may_pitch = false;
  std::vector<int64_t> order;   // axes from the outermost on, if it is turned

  bool blocked() const { return product && may_block; }
  Layout layout() const {
    if (!pairs.row_major()) return pairs;
    if (!order.empty()) return turned(type.shape, order);
    if (blocked()) return ir::blocked(type.shape, 1, block);
    return may_pitch ? pitched(type.shape, pitch()) : Layout();
  }
  int64_t pitch() const {
    int64_t bytes = element_bytes(type.element), row = (type.shape[1] * bytes + line - 1) / line * line;
    return (row % sets == 0 ? row + line : row) / bytes;
  }
};

Value body_input(const Kernel& kernel, size_t index) {
  for (uint32_t i = 0; i < kernel.body.size(); ++i)
    if (kernel.body.nodes[i].op == Op::input && argument_number(kernel.body.nodes[i]) == index) return Value{i};
  CHECK(false, "no argument {}", index);
  return {};
}

// How a kernel reads an argument.
struct Use {
  bool hero_operand = false;   // perhaps through views
  bool at_place = true;        // otherwise: at the place of the result or of what is summed, through maps alone
};
Use use_of(const Kernel& kernel, size_t argument) {
  const Function& body = kernel.body;
  Use use;
  std::vector<bool> from(body.size());
  from[body_input(kernel, argument).id] = true;
  for (uint32_t i = 0; i < body.size(); ++i) {
    const Node& node = body.nodes[i];
    if (std::none_of(node.operands.begin(), node.operands.end(), [&](Value v) { return from[v.id]; })) continue;
    if (Value{i} == kernel.hero) {
      use.hero_operand = true;
    } else if (!is_reduce(node.op)) {
      from[i] = true;
      bool above_hero = kernel.form == Form::contract && i < kernel.hero.id;
      if (!is_map(node.op) && !above_hero) use.at_place = false;
    }
  }
  return use;
}

class Chooser {
 public:
  Chooser(const std::vector<FusedEntry>& entries, const Target& target) : entries_(entries), target_(target) {}

  std::map<std::string, Layout> run() {
    collect();
    do write();
    while (refuse());
    std::map<std::string, Layout> layouts;
    for (const Buffer& buffer : buffers_)
      if (!buffer.variable.empty() && !buffer.layout().row_major()) layouts[buffer.variable] = buffer.layout();
    return layouts;
  }

 private:
  const std::vector<FusedEntry>& entries_;
  const Target& target_;
  std::vector<Buffer> buffers_;
  std::map<std::string, size_t> variables_;
  // An entry, or the body of a loop in it: its kernels, and the buffer of each value.
  struct Scope {
    std::vector<KernelCall>* calls;
    std::vector<size_t> of;
  };
  std::vector<Scope> scopes_;

  size_t add(const Type& type, const std::string& variable = "") {
    Buffer buffer{type, variable};
    if (type.rank() == 2 && type.shape[0] > 1 && type.shape[1] > 1) {
      buffer.may_pitch = buffer.pitch() <= 2 * type.shape[1];   // more were a waste
      buffer.may_block = (type.element == ElementType::f32 || type.element == ElementType::f64) && type.shape[1] >= shortest && type.shape[1] % block == 0;
    }
    buffers_.push_back(buffer);
    return buffers_.size() - 1;
  }
  size_t variable(const std::string& name, const Type& type) {
    auto [at, fresh] = variables_.try_emplace(name, 0);
    if (fresh) at->second = add(type, name);
    return at->second;
  }

  void collect() {
    for (const FusedEntry& entry : entries_) {
      const Function& f = *entry.function;
      std::vector<size_t> of(f.size());
      std::map<Value, std::string> written;
      auto callers = [&](Value v) { buffers_[of[v.id]].inside = buffers_[of[v.id]].may_block = buffers_[of[v.id]].may_pitch = false; };
      for (const Result& r : f.results)
        if (r.write) written[r.value] = r.name;
      for (uint32_t i = 0; i < f.size(); ++i) {
        const Node& node = f.nodes[i];
        auto name = written.find(Value{i});
        if (node.op == Op::variable) of[i] = variable(node.attrs.text(Attr::name), node.type);
        else if (name != written.end()) of[i] = variable(name->second, node.type);
        else of[i] = add(node.type);
        if (node.op == Op::input || node.op == Op::literal) callers(Value{i});
      }
      for (const Result& r : f.results)
        if (!r.write) callers(r.value);
      scopes_.push_back({entry.calls, std::move(of)});
    }
    for (size_t s = 0; s < scopes_.size(); ++s)   // grows
      for (size_t c = 0; c < scopes_[s].calls->size(); ++c)
        if ((*scopes_[s].calls)[c].loop) collect((*scopes_[s].calls)[c], s);
    for (size_t s = 0; s < scopes_.size(); ++s) turn(s);
    for_calls([&](size_t e, const KernelCall& call) {
      if (call.kernel.form == Form::pairs) buffer(e, call.results[0]).pairs = call.kernel.result_layout(0);
      if (call.kernel.form != Form::contract) return;
      for (size_t a = 0; a < call.arguments.size(); ++a) {
        Buffer& b = buffer(e, call.arguments[a]);
        b.product = b.product || b.type.shape == call.kernel.domain || use_of(call.kernel, a).hero_operand;
      }
      for (Value v : call.results) buffer(e, v).product = true;
    });
  }

  void turn(size_t e) {
    std::map<Value, std::set<std::vector<int64_t>>> read;   // how; {}: otherwise
    for (const KernelCall& call : *scopes_[e].calls) {
      if (call.loop)
        for (Value v : call.arguments) read[v].insert(std::vector<int64_t>{});
      const Function& body = call.kernel.body;
      for (size_t a = 0; a < call.arguments.size(); ++a)
        for (const Node& node : body.nodes)
          for (Value operand : node.operands)
            if (operand == body_input(call.kernel, a)) read[call.arguments[a]].insert(node.op == Op::transpose ? node.attrs.integers(Attr::axes) : std::vector<int64_t>{});
    }
    for (const KernelCall& call : *scopes_[e].calls)
      for (Value v : call.results)
        if (Buffer& b = buffer(e, v); call.kernel.form == Form::contract && b.type.rank() > 2 && b.inside && b.variable.empty() && read[v].size() == 1) b.order = *read[v].begin();
  }

  // Captures are the buffers outside. What a loop cuts in slices or puts together is row-major.
  void collect(const KernelCall& call, size_t outside) {
    LoopCall& loop = *call.loop;
    std::vector<size_t> of(loop.body.size());
    auto plain = [&](size_t buffer) { buffers_[buffer].may_block = buffers_[buffer].may_pitch = buffers_[buffer].inside = false; };
    for (uint32_t i = 0; i < loop.body.size(); ++i) {
      of[i] = add(loop.body.nodes[i].type);
      if (loop.body.nodes[i].op == Op::literal) plain(of[i]);
    }
    const std::vector<Value> inputs = loop.body.inputs();
    for (size_t k = 0; k < inputs.size(); ++k) {
      const size_t there = scopes_[outside].of[call.arguments[k].id];
      if (static_cast<int64_t>(k) >= loop.carries + loop.slices) of[inputs[k].id] = there;
      else plain(of[inputs[k].id]), plain(there);
    }
    for (const Result& r : loop.body.results) plain(of[r.value.id]);
    for (Value v : call.results) plain(scopes_[outside].of[v.id]);
    scopes_.push_back({&loop.calls, std::move(of)});
  }

  // Calls visit(scope, call) for all kernels.
  template <class Visit>
  void for_calls(Visit visit) {
    for (size_t s = 0; s < scopes_.size(); ++s)
      for (KernelCall& call : *scopes_[s].calls) visit(s, call);
  }
  Buffer& buffer(size_t scope, Value v) { return buffers_[scopes_[scope].of[v.id]]; }

  void write() {
    for_calls([&](size_t e, KernelCall& call) {
      call.kernel.argument_layouts.clear(), call.kernel.result_layouts.clear();
      for (Value v : call.arguments) call.kernel.argument_layouts.push_back(buffer(e, v).layout());
      for (Value v : call.results) call.kernel.result_layouts.push_back(buffer(e, v).layout());
    });
  }

  // Whether somebody had to be given a plainer buffer.
  bool refuse() {
    bool changed = false;
    for_calls([&](size_t e, const KernelCall& call) {
      if (call.loop) return;   // its kernels say what fits
      for (size_t a = 0; a < call.arguments.size(); ++a) {
        Buffer& b = buffer(e, call.arguments[a]);
        bool fits = b.layout().row_major() || !b.pairs.row_major() || !b.order.empty() || (b.blocked() ? reads_blocks(call.kernel, a) : reads_rows(call.kernel, a));
        if (fits) continue;
        (b.blocked() ? b.may_block : b.may_pitch) = false;
        changed = true;
      }
      for (Value v : call.results) {
        Buffer& b = buffer(e, v);
        bool fits = !b.blocked() || (b.type.shape == call.kernel.domain && (call.kernel.form == Form::contract || (call.kernel.form == Form::map && !b.variable.empty())));
        if (fits) continue;
        b.may_block = false;
        changed = true;
      }
    });
    return changed;
  }

  bool reads_blocks(const Kernel& kernel, size_t argument) const {
    Use use = use_of(kernel, argument);
    const Shape& shape = kernel.body.type(body_input(kernel, argument)).shape;
    if (!use.at_place || (!use.hero_operand && shape != kernel.domain)) return false;
    if (kernel.form == Form::column || kernel.form == Form::pairs) return true;
    if (kernel.form != Form::contract) return false;
    if (!use.hero_operand) return true;
    ContractPlan plan = plan_contract(kernel, target_);
    auto in_place = [&](const std::optional<LinearAccess>& access) { return access && argument_number(plan.kernel.body[access->input]) == argument; };
    return plan.form != ContractForm::dot && (in_place(plan.a_access) || in_place(plan.b_access));
  }

  bool reads_rows(const Kernel& kernel, size_t argument) const {
    const Function& body = kernel.body;
    // A sum over several axes runs on from row to row; its order is not to depend on how they lie.
    if (kernel.form == Form::row && kernel.domain.size() > static_cast<size_t>(kernel.outer) + 1) return false;
    std::vector<bool> seen(body.size()), reshaped(body.size());
    for (uint32_t i = 0; i < body.size(); ++i) {
      const Node& node = body.nodes[i];
      if (node.op == Op::input) seen[i] = argument_number(node) == argument;
      if (!is_view(node.op) || !seen[node.operands[0].id]) continue;
      seen[i] = true;
      reshaped[i] = reshaped[node.operands[0].id] || node.op == Op::reshape;
      if (reshaped[i] && !linear_access(kernel, Value{i})) return false;
    }
    if (kernel.form != Form::contract) return true;
    // The plan merges indices.
    Kernel plain = kernel;
    plain.argument_layouts[argument] = {};
    ContractPlan with = plan_contract(kernel, target_), without = plan_contract(plain, target_);
    return with.a_access.has_value() == without.a_access.has_value() && with.b_access.has_value() == without.b_access.has_value();
  }
};
}  // namespace

std::map<std::string, Layout> choose_layouts(const std::vector<FusedEntry>& entries, const Target& target) {
  Doing doing("choosing layouts");
  return Chooser(entries, target).run();
}

}  // namespace gradc::codegen
