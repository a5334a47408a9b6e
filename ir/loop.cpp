#include "ir/loop.h"

#include "ir/check.h"

namespace gradc::ir {

Loop::Loop(const Node& scan)
    : function(scan.attrs.function(Attr::body)), length(scan.attrs.integer(Attr::length)), carries(scan.attrs.integer(Attr::carries)), slices(scan.attrs.integer(Attr::slices)),
      backward(scan.attrs.flag(Attr::backward)), recompute(scan.attrs.flag(Attr::recompute)), inputs(function->inputs()) {}

Type Loop::stacked(Type type) const {
  type.shape.insert(type.shape.begin(), length);
  return type;
}

Type Loop::result_type(int64_t index) const {
  CHECK(index >= 0 && index < static_cast<int64_t>(function->results.size()), "a loop has no result {}", index);
  const Type& type = function->type(function->results[index].value);
  return index < carries ? type : stacked(type);
}

Attrs scan_attrs(Function body, int64_t length, int64_t carries, int64_t slices, bool backward, bool recompute) {
  Attrs attrs{{Attr::length, length}, {Attr::carries, carries}, {Attr::slices, slices}, {Attr::body, std::make_shared<const Function>(std::move(body))}};
  if (backward) attrs.set(Attr::backward, int64_t{1});
  if (recompute) attrs.set(Attr::recompute, int64_t{1});
  return attrs;
}

Value make_scan(Builder& b, LoopSpec spec) {
  return b.make(Op::scan, spec.operands, scan_attrs(std::move(spec.body), spec.length, spec.carries, spec.slices, spec.backward, spec.recompute));
}

Value make_item(Builder& b, Value scan, int64_t index) {
  Type type = Loop(b.function[scan]).result_type(index);
  return b.make(Op::item, {scan}, {{Attr::index, index}, {Attr::element, type.element}, {Attr::shape, type.shape}});
}

}  // namespace gradc::ir
