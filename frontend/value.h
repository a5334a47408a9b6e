// The values that exist while a model file runs at compile time. Numbers, lists, functions, layers are known now; a tensor is
// a node of the graph that is being built; a number may be both: a value and, if it stems from a hyperparameter or from the
// time of a training step, the f64 expression that computes it when the program runs.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "frontend/ast.h"
#include "ir/graph.h"

namespace gradc::front {

struct Value;
struct Env;
using Values = std::vector<Value>;

/// An expression over run-time scalars, all f64 or bool, of rank 0. It belongs to no function: each function that needs it
/// builds its nodes (Elaborator::materialise).
struct Scalar;
using ScalarPtr = std::shared_ptr<const Scalar>;
struct Scalar {
  ir::Op op = ir::Op::constant;   // constant, input, or a map
  std::vector<ScalarPtr> operands;
  double value = 0;               // of a constant
  std::string input;              // of an input: "adam.lr", "t"
  bool flag = false;              // gives a bool
};

struct Poison {};    // stands for a value that an error has been reported about; whatever touches it becomes poison without a word
struct Nothing {};   // of a block without a value
struct Number {
  double value = 0;
  ScalarPtr run;        // null: known for good
  bool known = true;    // false: `value` means nothing, only the running program knows (t, epoch, ...)
};
struct Flag {
  bool value = false;
  ScalarPtr run;
  bool known = true;
};
struct Text { std::string text; };
struct Tensor {
  ir::Value node;
  int emission = 0;     // which function it is a node of
};
struct Range { double begin = 0, end = 0; };
struct List { std::shared_ptr<const Values> items; };
struct Tuple { std::shared_ptr<const Values> items; };

/// A fn, a local function, or one of these with some arguments given (an initialiser without its shape).
struct Closure {
  const ast::Function* function = nullptr;
  Env* env = nullptr;
  std::shared_ptr<const std::map<std::string, Value>> given;   // null: none
};
struct Builtin;   // elaborate_builtins.h
/// `dense`: a layer that has not been configured.
struct LayerKind { const ast::Function* function = nullptr; Env* env = nullptr; };
/// `dense(10)`: configured; every application has the same parameters, those under `path`. An empty path is a layer that gets its
/// name where it is applied.
struct LayerValue {
  const ast::Function* function = nullptr;
  Env* env = nullptr;    // holds the configuration
  std::string path;
};
struct Layer { std::shared_ptr<LayerValue> value; };

/// Values of parameters by name, in the order of the module's variables; arithmetic goes entry by entry.
struct SetValue {
  std::vector<std::string> names;
  Values entries;        // tensors or numbers
  bool reduced = false;  // by `layerwise`: one number per parameter
};
struct Set { std::shared_ptr<const SetValue> value; };

struct Model {
  const ast::Function* function = nullptr;
  Env* env = nullptr;
  std::shared_ptr<const SetValue> parameters;   // of M{p}; else null
};
/// What `net.body` names: everything whose path starts so.
struct Path { std::string text; };

/// An optimizer or a schedule with its arguments.
struct RecipeValue {
  const ast::Function* function = nullptr;
  Env* env = nullptr;                    // where it was defined
  std::string name;                      // "adam", or as pinned
  std::map<std::string, Value> given;    // by parameter
  std::map<std::string, std::vector<std::pair<std::string, Value>>> overrides;   // by parameter: pattern and value
  Span span;
};
struct Recipe { std::shared_ptr<const RecipeValue> value; };

struct DataSplit { std::string data, split; int64_t first = 0, last = -1; };
struct DataRef { const ast::Data* data = nullptr; };
struct RandomSource { enum class Kind : uint8_t { normal, uniform, bernoulli } kind; std::shared_ptr<const Value> probability; };

/// Evaluated when its name is used: `grad` and `loss` inside an optimizer; averaged weights, which are another set of nodes in each function.
struct Lazy {
  enum class What : uint8_t { grad, loss, average } what;
  size_t index = 0;     // of the average
};

struct Value {
  std::variant<Poison, Nothing, Number, Flag, Text, Tensor, Range, List, Tuple, Closure, const Builtin*, LayerKind, Layer, Model, Path, Set, Recipe,
               DataSplit, DataRef, RandomSource, Lazy> v;
  Value() = default;
  template <typename T, typename = std::enable_if_t<!std::is_same_v<std::decay_t<T>, Value>>>
  Value(T&& x) : v(std::forward<T>(x)) {}
  Value(double x) : v(Number{x, nullptr, true}) {}
  template <typename T> bool is() const { return std::holds_alternative<T>(v); }
  template <typename T> const T* get() const { return std::get_if<T>(&v); }
};

inline Value make_list(Values items) { return List{std::make_shared<const Values>(std::move(items))}; }
inline Value make_tuple(Values items) { return Tuple{std::make_shared<const Values>(std::move(items))}; }
Value make_list(const std::vector<int64_t>& items);

/// "a number", "a tensor", "a layer": for messages.
std::string kind_of(const Value&);

/// Names of a scope. Scopes live as long as the elaborator.
struct Binding {
  Value value;
  Span span;                // where the name was introduced
  bool variable = false;    // a `let`, which a `for` may rebind
  enum class Written : uint8_t { no, variable, slot, parameters, field } written = Written::no;   // what `<-` assigns
  std::string path;         // of that variable, or the name of that field
};
struct Env {
  Env* parent = nullptr;
  std::map<std::string, Binding> names;
  Binding* find(const std::string& name);
};

// ---- numbers

Number run_time_input(std::string name);                         // known only when the program runs
Number hyperparameter(std::string name, double value);           // both
/// op(a, b, ...) on compile-time numbers and flags, in f64; the result keeps the expression if an operand has one.
/// The operation is one of the maps; comparisons and logic give flags.
Value scalar_map(ir::Op, const std::vector<Value>& operands);
/// The names of the inputs that an expression reads.
void collect_inputs(const ScalarPtr&, std::vector<std::string>&);
/// "256", "0.5": without a trailing ".0".
std::string number_text(double);

}  // namespace gradc::front
