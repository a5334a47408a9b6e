// Our side: the products of one layer, planned by the passes of every program and run by the runtime of every program.
#pragma once
#include <array>

#include "codegen/target.h"
#include "ir/builder.h"
#include "passes/winograd.h"
#include "problem.h"

namespace bench {

/// A layer between others: x, w and dy are variables, as activations and gradients would lie there, and so is the result. Each product is a function of its own, its gradients
/// derived by the compiler; whatever it computes counts, such as the transforms of Winograd's algorithm.
class Layer {
 public:
  /// first: it reads what callers give, and has no input gradient. plain: without what rides in the epilogue of its products in a network (bias and relu, relu's mask, an
  /// update by Adam).
  Layer(const Product&, bool first, bool plain);
  Layer(const Convolution&, bool first, gradc::passes::Winograd);

  /// Whether the two compute that product in the same way.
  bool same(const Layer&, Which) const;
  Prepared prepare(Which, const Operands&) const;

 private:
  struct Types {
    gradc::ir::Type x, w, y;
  };
  using Forward = std::function<gradc::ir::Value(gradc::ir::Builder&, gradc::ir::Value x, gradc::ir::Value w)>;

  void build(const Types&, const Forward&, gradc::passes::Winograd);
  gradc::ir::Function function(Which, const Types&, const Forward&);
  gradc::ir::Value variable(gradc::ir::Builder&, const std::string& name, const gradc::ir::Type&);
  void write(gradc::ir::Function&, const std::string& name, gradc::ir::Value);
  void write_epilogue(gradc::ir::Builder&, Which, gradc::ir::Value x, gradc::ir::Value w, gradc::ir::Value result);

  bool first_, plain_;
  gradc::codegen::Target target_;
  gradc::ir::Module module_;
  std::array<gradc::ir::Function, 3> functions_;   // by Which, optimized
};

std::shared_ptr<Array> random_array(int64_t count, float low = -1);

}  // namespace bench
