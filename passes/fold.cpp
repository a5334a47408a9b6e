#include "passes/fold.h"

#include <bit>
#include <cmath>

#include "ir/evaluate.h"

namespace gradc::passes {
namespace {
using ir::Attr;
using ir::Function;
using ir::Node;
using ir::Op;
using ir::Tensor;
using ir::Type;
using ir::Value;

constexpr int64_t most_elements = 4096;

bool is_number(const Node& node) { return node.op == Op::constant; }
bool is_known(const Node& node) { return node.op == Op::constant || node.op == Op::literal; }

Tensor tensor_of(const Node& node, const Type& type) {
  return is_number(node) ? Tensor::filled(type, node.attrs.number(Attr::value)) : Tensor::of(type, node.attrs.dense(Attr::data));
}

// Attributes hold doubles: an i64 beyond 2^53 stays an operation.
bool exact(const std::vector<double>& numbers, ir::ElementType element) {
  if (element != ir::ElementType::i64) return true;
  for (double n : numbers)
    if (std::abs(n) >= 0x1p53) return false;
  return true;
}
bool uniform(const std::vector<double>& numbers) {
  for (double n : numbers)
    if (std::bit_cast<uint64_t>(n) != std::bit_cast<uint64_t>(numbers[0])) return false;
  return !numbers.empty();
}

// Computed zeros are positive (the float contract leaves their sign open), so that equal numbers are equal nodes.
void become(Node& node, std::vector<double> numbers) {
  for (double& n : numbers)
    if (n == 0) n = 0;
  ir::Attrs attrs{{Attr::element, node.type.element}, {Attr::shape, node.type.shape}};
  if (uniform(numbers)) {
    node.op = Op::constant;
    attrs.set(Attr::value, numbers[0]);
  } else {
    node.op = Op::literal;
    attrs.set(Attr::data, std::make_shared<const ir::Dense>(numbers));
  }
  node.operands.clear();
  node.attrs = std::move(attrs);
}
}  // namespace

int fold_constants(Function& f) {
  int count = 0;
  for (Node& node : f.nodes) {
    if (node.op == Op::literal && uniform(node.attrs.dense(Attr::data))) {
      become(node, node.attrs.dense(Attr::data));
      ++count;
    }
    ir::OpKind kind = ir::info(node.op).kind;
    if (kind == ir::OpKind::source || kind == ir::OpKind::gradient || kind == ir::OpKind::loop || node.type.size() == 0) continue;
    bool numbers = true, known = true;
    int64_t elements = node.type.size();
    for (Value operand : node.operands) {
      numbers = numbers && is_number(f[operand]);
      known = known && is_known(f[operand]);
      elements = std::max(elements, f.type(operand).size());
    }
    bool one_element = numbers && kind == ir::OpKind::map;
    if (!known || (!one_element && elements > most_elements)) continue;
    std::vector<Tensor> operands;
    for (Value operand : node.operands) {
      Type type = f.type(operand);
      if (one_element) type.shape.clear();
      operands.push_back(tensor_of(f[operand], type));
    }
    std::vector<const Tensor*> pointers;
    for (const Tensor& t : operands) pointers.push_back(&t);
    Node small = node;
    if (one_element) small.type.shape.clear();
    std::vector<double> result = ir::evaluate_node(small, pointers).numbers();
    if (!exact(result, node.type.element)) continue;
    become(node, result);
    ++count;
  }
  return count;
}
}  // namespace gradc::passes
