// One optimizer at work in one function: what its body sees as `param`, `grad` and `loss`, and what it assigns.
#pragma once
#include <functional>

#include "frontend/elaborator.h"

namespace gradc::front {

/// The loss at some parameters: a run of the train block with these in the place of the model's own.
struct LossAt {
  std::shared_ptr<const SetValue> point;   // null: the parameters themselves
  Value loss;
  std::shared_ptr<Evaluation> evaluation;
  Span span;                               // of the loss
};

/// What an optimizer's body is run in. A base optimizer has one of its own inside the outer one's.
struct OptimizerRun {
  OptimizerRun* outer = nullptr;
  std::string path;                        // "clip_norm.adam": prefix of hyperparameters; slots use it too
  const RecipeValue* recipe = nullptr;
  Env* env = nullptr;                      // the body's scope
  Emission* first_values = nullptr;        // init.OPT
  std::vector<std::string> parameters;
  std::function<Value(const Value& point, const Span&)> gradient;
  std::function<Value(const Value& point, const Span&)> loss;
  std::map<std::string, ir::Value>* writes = nullptr;          // slots by variable; parameters are taken from `param` at the end
  std::map<std::string, program::HyperT>* hypers = nullptr;    // by name
  std::map<std::string, ScalarPtr> scheduled;                  // hyperparameters that follow a schedule: what it gives in this step
};

/// "*.b" against "net.dense1.b".
bool matches(const std::string& pattern, const std::string& path);

}  // namespace gradc::front
