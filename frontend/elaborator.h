// The elaborator's state and its parts, one group of methods per file. Internal to frontend/elaborate*.cpp.
//
// Two contexts matter at any time. The *emission* is the IR function that tensors become nodes of. The *evaluation* is one
// run through the user's code inside it: is it training, what do parameters stand for, which states have been assigned. An
// optimizer that takes gradients at two points has one emission with two evaluations.
#pragma once
#include <deque>
#include <functional>
#include <set>

#include "frontend/elaborate.h"
#include "frontend/value.h"
#include "ir/builder.h"

namespace gradc::front {

/// An IR function under construction. Inputs and variables are read through one node each.
struct Emission {
  Emission(int id, std::string name) : id(id), builder(function) { function.name = std::move(name); }
  Emission(const Emission&) = delete;
  const int id;
  ir::Function function;
  ir::Builder builder;
  std::map<std::string, ir::Value> inputs, variables;
  std::map<const Scalar*, ir::Value> scalars;
  std::vector<ScalarPtr> kept;    // keeps the keys of `scalars` alive
  int64_t rows = 0;               // extent of the sample axis; 0: there is none
  ir::Value key;                  // inside of a scan: what its random numbers have for the step
  bool initial = false;           // gives first values: random numbers do not depend on step and row
};

/// What a `freeze` names.
struct Frozen {
  std::string path;
  Span span;
};

/// One run through code of the user inside an emission.
struct Evaluation {
  bool training = false;
  int64_t steps = 0;                                // of an incremental export: how many calls a session lasts
  std::string key;                                  // random sites: this and a running number
  int randoms = 0;
  std::map<std::string, Value> assigned;            // variables after `<-`
  std::vector<std::string> assigned_order;
  std::map<std::string, Span> assigned_at;
  std::vector<const SetValue*> substitutions;       // innermost last
  std::set<std::string> touched;                    // parameters that were read
  std::vector<Frozen> frozen;                       // when the run is over
};

/// The body of a layer, model or train block that is being run: where names of what it declares start.
struct Frame {
  std::string path;
  std::map<std::string, int> ordinals;
  std::string suffix;             // ".3" inside the loop's iteration 3
};

struct Arg {
  std::string name;               // "" if positional
  Span name_span, span;
  Value value;
  std::vector<std::pair<std::string, Value>> overrides;   // pattern and value, for optimizers
};
using Args = std::vector<Arg>;

/// A loop whose round is being run.
struct ScanRun {
  size_t frames;                  // as deep as the scan itself
  std::vector<std::string> made;  // paths of layers that the round has made
  Span at;
};

struct OptimizerRun;   // elaborate_optimizers.cpp

class Elaborator {
 public:
  Elaborator(Sources&, Diagnostics&, const ElaborateOptions&, std::set<std::string> fixed);

  // ---- elaborate.cpp: files, scopes, the whole
  std::optional<Program> elaborate(FileId model_file);
  void load_library();
  void load_file(const ast::File&, Env& scope);
  void import_file(const ast::Import&, const ast::File& importer, const Span&, Env& scope);
  void choose_precision(const ast::File&);
  void declare_config(const ast::Config&, Env& scope);

  // ---- elaborate_report.cpp: diagnostics and source locations
  Value fail(DiagnosticId, Span, std::string message, std::string at_caret = "", std::vector<Label> labels = {}, std::vector<std::string> hints = {});
  bool in_library(const Span& span) const { return library_files_.count(span.file) != 0; }
  ir::Loc location(const Span&) const;
  std::string line_text(const Span&) const;          // "fashion.grad:12"
  Value unknown_name(const std::string&, const Span&, Env&);
  Span origin(const Value&) const;                   // the source line that a tensor's node came from, as a span

  // ---- elaborate_numbers.cpp: compile-time values
  std::optional<double> fix(const Value&, const Span&, const std::string& use);            // a number that the build needs
  std::optional<int64_t> fix_integer(const Value&, const Span&, const std::string& use);
  std::optional<bool> fix_flag(const Value&, const Span&, const std::string& use);
  std::optional<std::vector<int64_t>> fix_integers(const Value&, const Span&, const std::string& use);   // a number or a list
  std::optional<std::vector<int64_t>> fix_shape(const Value&, const Span&, const std::string& use);
  std::optional<std::vector<int64_t>> axes(const Value&, int64_t rank, const Span&);        // -1, [1, 2], 0..-1: sorted
  std::optional<int64_t> axis(const Value&, int64_t rank, const Span&);
  std::optional<std::vector<double>> list_numbers(const Value&, ir::Shape&, const Span&, bool report = true);   // nested lists, rectangular

  // ---- elaborate_tensors.cpp: nodes
  ir::Builder& builder() { return out->builder; }
  // By value: a reference would dangle as soon as another node is appended.
  ir::Type type(const Tensor& t) const { return emissions_[t.emission].function.type(t.node); }
  ir::Type type(ir::Value v) const { return out->function.type(v); }
  Value tensor(ir::Value v) const { return Tensor{v, out->id}; }
  ir::Value materialise(const ScalarPtr&);                                  // a rank-0 f64 or bool node
  /// The node of a tensor, or of a number or list as a tensor of the preferred element type. Invalid after an error.
  ir::Value node(const Value&, const Span&, ir::ElementType preferred = ir::ElementType::f32);
  ir::Value float_node(const Value&, const Span&);                          // integers and bools are cast to f32
  ir::Value number_like(const Value& number, ir::Type);                     // a number as a constant of that type
  ir::Value input(const std::string& name, const ir::Type&);
  ir::Value variable(const std::string& name);
  bool is_tensor_like(const Value&) const;                                  // a tensor, or a list of numbers
  Value map_unary(ir::Op, const Value&, const Span&);
  Value map_binary(ast::BinaryOp, const Value&, const Value&, const Span& sign, const Span& left, const Span& right);
  Value map_op(ir::Op, const Value&, const Value&, const Span& sign, const Span& left, const Span& right);
  std::optional<ir::Shape> common_shape(const std::vector<std::pair<ir::Type, Span>>&, const std::vector<Value>& origins, const Span& at, const std::string& what);
  ir::ElementType promote(ir::ElementType, ir::ElementType) const;
  Value where(const Value&, const Value&, const Value&, const Span&, const std::vector<Span>&);
  Value matmul(const Value&, const Value&, const Span&, const Span&, const Span&);
  Value einsum(const std::string& spec, std::vector<Value> operands, const Span& at, const std::vector<Span>&);
  Value reduce(ir::Op, const Value&, const Value& axis, bool keep, const Span&);
  Value power(const Value&, const Value&, const Span& sign, const Span& left, const Span& right);
  Value random(RandomSource, const ir::Shape&, const Span&);
  Value subscript(const Value&, const ast::Index&, Env&, const Span&);
  ir::Value coerce(const Value&, const ir::Type&, const Span&, const std::string& what);   // for writes and first values: numbers fill

  // ---- elaborate_types.cpp: signatures, named dimensions
  struct TypeUse { std::string what; Span value; std::string owner; };
  bool match(const ast::TypeExpr&, Value&, Env& names, const TypeUse&);
  bool match_shape(const ast::TypeExpr&, const ir::Shape&, Env& names, const TypeUse&);
  std::optional<ir::Type> declared_type(const ast::TypeExpr&, Env&);        // all dimensions known
  std::optional<ir::ElementType> element_type(const ast::TypeExpr&);
  bool fits_memory(const std::vector<int64_t>& shape, const Span&);         // a bound on what can be meant seriously
  std::string type_text(const ast::TypeExpr&) const;

  // ---- elaborate_expressions.cpp
  Value eval(const ast::Expr&, Env&);
  Value eval_name(const ast::Name&, const Span&, Env&);
  Value eval_member(const ast::Member&, const Span&, Env&);
  Value eval_index(const ast::Index&, const Span&, Env&);
  Value eval_if(const ast::If&, Env&);
  Value eval_binary(const ast::Binary&, Env&);
  Value member_of_path(const std::string& path, const ast::Ident& name, const Span&);
  std::string path_of(const ast::Expr&, Env&);       // of a model, layer or group, "" if it is none (reported)

  // ---- elaborate_statements.cpp
  Value run_block(const ast::Block&, Env& outer);    // a scope of its own
  Value run_statements(const ast::Block&, Env&);
  Value run_statement(const ast::Stmt&, Env&);
  void run_let(const ast::Let&, Env&);
  void run_for(const ast::For&, Env&);
  void run_assign(const ast::Assign&, const Span&, Env&);
  void run_declare(const ast::Declare&, const Span&, Env&);
  void bind(Env&, const ast::Ident&, Value, bool variable = false);
  const std::set<std::string>& gradient_targets(const void* key, const ast::Block&);   // names that `grad` differentiates by, inside

  // ---- elaborate_calls.cpp
  Args eval_arguments(const std::vector<ast::Argument>&, Env&);
  Value eval_call(const ast::Call&, const Span&, Env&, const std::string& name_hint = "");
  Value eval_callee(const ast::Expr&, Env&);
  Value eval_pipe(const ast::Pipe&, const Span&, Env&);
  Value eval_pinned(const ast::Pinned&, const Span&, Env&);
  Value eval_pinned_layer(const ast::Call&, const std::string& name, Env&, const Span&);
  Value call(const Value& callee, Args, const Span&, const std::string& name_hint = "", bool pinned = false);
  Value call_function(const Closure&, Args, const Span&);
  bool bind_arguments(const ast::Function&, const std::vector<ast::Parameter>&, Args&, Env& callee, const Span& call, bool* partial = nullptr);
  Value configure(const LayerKind&, Args, const Span&, const std::string& name_hint, bool pinned);
  Value optimizer_value(Lazy::What, const Span&, Env&);   // `grad` and `loss` inside an optimizer
  Value apply(const std::string& path, const ast::Function&, Env& config, Args, const Span&, std::shared_ptr<const SetValue> substitution = nullptr);
  Value run_body(const ast::Function&, Env&, const Span& call);
  std::string new_name(const std::string& kind);     // a name that is free in the current frame
  std::string full_path(const std::string& name) const;

  Value optimizer_point(const Value& parameters, bool gradient, const Span&, const Span& at);   // grad_at, loss_at
  Value give_arguments(const Recipe&, Args, const Span&, const std::string& pinned);
  Value hyper_value(const Value&, const std::string& name, const Span&);
  Value run_schedule(const Recipe&, const std::string& name);
  bool bind_recipe(OptimizerRun&, const Value& param);
  Value run_base(const Recipe&, const ast::Call&, const Span&, Env&);

  // ---- elaborate_builtins*.cpp
  Value call_builtin(const Builtin&, Args, const Span&);

  // ---- elaborate_variables.cpp: parameters and states
  Value declare_variable(const std::string& path, ir::VariableKind, const std::optional<ast::TypeExpr>&, const ast::Expr& initial, Env&, const Span&);
  ir::Value initial_value(const ast::Expr&, Env&, const std::optional<ir::Type>&, const Span&);
  Value read_variable(const std::string& path);
  bool frozen(const std::string& path) const;
  void write_variable(const std::string& path, const Value&, const Span& value, const Span& at);
  SetValue parameters_under(const std::vector<std::string>& paths);
  Value declare_average(const std::string& path, double decay, const Span&);
  Value averaged(const Lazy&, const Span&);          // the averages of a declaration, as nodes of this function
  void write_averages(const std::string& parameter, ir::Value written);   // what a step that assigns the parameter adds to its results

  // ---- elaborate_gradients.cpp
  Value gradient(const Value& expression, const Value& target, const Span& at, const Span& expression_span, const Span& target_span);
  std::vector<bool> reached(ir::Value root) const;   // by cotangents
  Value mark(const Value&);

  // ---- elaborate_loops.cpp
  ir::Value step_key();                                    // i64: which step, for random numbers
  void note_made_in_scan(const std::string& path);         // a layer is made, perhaps in a round
  bool made_in_scan(const std::string& path, const Span&); // reports it

  // ---- elaborate_sets.cpp: values over all parameters
  /// f for each parameter, with the entry of every operand that is a set and other operands as they are.
  Value map_set(const Values& operands, const Span&, const std::function<Value(const Values&)>& f);
  Value fold_set(const Set&, ir::Op, const Span&);

  // ---- elaborate_optimizers.cpp, elaborate_train.cpp, elaborate_data.cpp, elaborate_exports.cpp
  void declare_slot(const ast::Declare&, const Span&, Env&);
  void assign_in_optimizer(Binding&, const std::string& name, const Value&, const Span&);
  void declare_data(const ast::Data&, Env& scope);
  void elaborate_augment(const ast::Data&, int64_t rows, const std::string& name);
  void assign_field(Binding&, const Value&, const Span&);
  void declare_table(const ast::Split&, const ast::Data&, const program::DataSetT&, program::SplitT&, Env&);
  void declare_pictures(const ast::Split&, const ast::Data&, const program::DataSetT&, program::SplitT&, Env&);
  void declare_text(const ast::Split&, const ast::Data&, program::DataSetT&, program::SplitT&, Env&);
  void declare_part(const ast::Split&, const program::DataSetT&, program::SplitT&, Env&);
  void declare_share(const ast::Split&, const program::DataSetT&, program::SplitT&, Env&);
  const ast::Data* find_data(const std::string& name) const;
  std::optional<ir::Type> field_type(const ast::Parameter&, const ast::Data&);   // of one sample
  int64_t known_samples(const DataSplit&) const;                                 // 0: only the files know
  bool use_split(DataSplit&, const Span&);                                       // makes a split of a part of one
  std::unique_ptr<program::FieldT> field_image(const ast::Parameter&, const ir::Type&);
  std::vector<Recipe> extra_optimizers(Env& scope);
  void elaborate_train(const ast::Train&, const Span&, Env& scope);
  void elaborate_export(const ast::Function&, const Span&, Env& scope);

  // ---- state
  Sources& sources;
  Diagnostics& diagnostics;
  const ElaborateOptions& options;
  Program program;
  std::set<std::string> fixed;        // hyperparameters that the build needs: plain numbers from the start
  bool fixed_grew = false;            // then everything is elaborated again
  std::map<std::string, Span> hyper_spans;

  Emission* out = nullptr;
  Evaluation* run = nullptr;
  Emission* initial = nullptr;        // function `init`
  Emission* constants = nullptr;      // of the file's own level
  bool declaring() const { return out == constants; }
  Emission* resetting = nullptr;      // function `reset`: first values of sessions
  OptimizerRun* optimizing = nullptr;
  std::vector<Frozen> frozen_paths;
  std::vector<Span> calls;            // call sites, outermost first
  std::vector<Frame> frames;
  std::vector<ScanRun> scans;         // innermost last
  std::vector<const std::set<std::string>*> targets;   // names to mark, innermost last
  int loop_depth = 0;
  bool schedule_names = false;        // names of calls are looked up among the schedules first
  bool layerwise = false;             // sums over a set give one number per parameter
  bool pure = false;                  // inside a fn: nothing can be declared or assigned
  bool in_step = false;               // t, T, epoch and val_loss have a meaning

  struct Average { std::string path, prefix; double decay; Span span; };
  std::vector<Average> averages;
  std::string average_variable(const Average&, const std::string& parameter);

  bool several_trains = false;
  Env* file_scope = nullptr;          // of the file that is being loaded, afterwards of the model file
  std::vector<std::string> configs;
  std::vector<Emission*> finished;    // functions of the module, in order

  Emission& new_emission(std::string name);
  Env& new_env(Env* parent);
  Emission& emission(int id) { return emissions_[id]; }

 private:
  std::deque<Emission> emissions_;
  std::deque<Env> envs_;
  std::deque<ast::File> files_;
  std::set<FileId> library_files_;
  std::map<std::string, Env*> imported_;   // by path
  std::map<const void*, std::set<std::string>> gradient_targets_;
  std::map<std::string, int> sites_;
  std::set<std::string> reported_;
  Env* library_ = nullptr;
  std::vector<const ast::Data*> data_;
  std::map<const ast::Data*, Env*> data_scopes_;   // what an `augment` block sees
};

/// Sets a member for a scope.
template <typename T>
class Scoped {
 public:
  Scoped(T& place, T value) : place_(place), old_(std::move(place)) { place_ = std::move(value); }
  ~Scoped() { place_ = std::move(old_); }
  Scoped(const Scoped&) = delete;

 private:
  T& place_;
  T old_;
};

}  // namespace gradc::front
