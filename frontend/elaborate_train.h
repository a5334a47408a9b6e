// A train block on its way to functions: what its clauses say, and the runs through its body.
#pragma once
#include "frontend/elaborate_optimizers.h"

namespace gradc::front {

/// Takes one train block apart. Its body is run once for each optimizer with training = true (again for each further point at
/// which that one wants a gradient), and once with training = false.
class TrainElaborator {
 public:
  TrainElaborator(Elaborator& e, const ast::Train& train, const Span& span, Env& scope) : e_(e), train_(train), span_(span), scope_(scope) {}
  void run();

 private:
  struct StepPlan {
    const ast::Step* step = nullptr;       // null: the block has no `step`
    std::string name, prefix;              // "critic_step", "train.critic_step"
  };
  /// What one run through the body has found.
  struct Found {
    const ast::Minimize* minimize = nullptr;
    Span minimize_span, loss_span;
    Value loss;
    struct Report { std::string name; Value value; Span span; bool shared; };   // shared: of the block, not of one of its steps
    std::vector<Report> reports;
    std::vector<Value> optimizers;
    std::vector<std::string> over;
    std::vector<Span> over_spans;
    bool assigns = false;                // parameters or states, by a statement of the block itself
    struct Load { std::string file, into, from; Span span; };
    std::vector<Load> loads;
  };
  bool read_clauses();
  bool read_data(const ast::ExprPtr&, DataSplit&, const char* use);
  std::optional<int64_t> clause(const ast::ExprPtr&, const char* name);
  std::vector<StepPlan> plan_steps();
  Found run_block(const StepPlan&, Evaluation&, bool with_optimizers);
  void run_statements(const ast::Block&, Env&, const StepPlan&, Found&, bool with_optimizers);
  void bind_fields(Env&);
  std::vector<Recipe> recipes(const StepPlan&);
  void take_loads(const Found&);
  void finish(ir::Function&) const;
  bool is_part(const std::string& path, const Span&, std::string_view clause);   // of the network: a parameter, or something that has some; else an error
  void build_step(const StepPlan&, const Recipe&, program::TrainStepT&);
  /// One function of a step: the whole update, or with chunks one of its halves.
  enum class Half { whole, accumulate, apply };
  bool build_function(const StepPlan&, const Recipe&, Half, const std::string& name, Emission& first_values, std::map<std::string, program::HyperT>& hypers);
  void build_watch(const StepPlan&, program::TrainStepT&);
  void build_direct(const StepPlan&, program::TrainStepT&);
  void build_validation(std::vector<StepPlan>);
  std::shared_ptr<const SetValue> choose_parameters(const Found&, Evaluation&);
  std::string accumulator(const StepPlan&, const std::string& name, const ir::Type&);
  void write_states(const Found&, const Evaluation&, const SetValue* parameters);
  bool check_loss(const Found&);

  static constexpr int64_t largest_chunk = 512;   // samples of one call when `batch all` takes more

  Elaborator& e_;
  const ast::Train& train_;
  Span span_;
  Env& scope_;
  DataSplit data_, validate_;
  const ast::Data* fields_ = nullptr;
  int64_t rows_ = 0;
  bool chunks_ = false;
  bool several_steps_ = false;
  std::string first_plan_;            // the step whose run through the body says what is loaded
  std::vector<std::string> chosen_;   // parameters that the step trains
  program::TrainT image_;
};

}  // namespace gradc::front
