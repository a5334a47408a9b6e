// Elaborates snippets and evaluates what comes out, for the tests of the elaborator.
#pragma once
#include <catch2/catch.hpp>

#include <set>

#include "frontend/elaborate.h"
#include "ir/evaluate.h"
#include "ir/verify.h"
#include "passes/pass.h"

namespace gradc::tests {

struct Elaborated {
  Sources sources;
  Diagnostics diagnostics{sources};
  std::optional<Program> program;
  std::string text() const { return diagnostics.render(false); }
  std::set<DiagnosticId> ids() const {
    std::set<DiagnosticId> ids;
    for (const Diagnostic& d : diagnostics.all()) ids.insert(d.id);
    return ids;
  }
};

inline std::unique_ptr<Elaborated> run_elaborator(const std::string& text, const ElaborateOptions& options = {}) {
  auto result = std::make_unique<Elaborated>();
  FileId file = result->sources.add("test.grad", text);
  result->program = elaborate(file, result->sources, result->diagnostics, options);
  return result;
}

/// A program that must be right.
inline Program good(const std::string& text, const ElaborateOptions& options = {}) {
  auto result = run_elaborator(text, options);
  INFO(result->text());
  REQUIRE(result->program.has_value());
  std::string wrong = ir::verify(result->program->module);
  INFO(wrong);
  REQUIRE(wrong.empty());
  return std::move(*result->program);
}

inline void expand(Program& p) {
  for (ir::Function& f : p.module.functions) passes::expand_gradients(f);
}

/// Runs a function; what it writes is kept in `state`. Scalar inputs that are not given get the values that the runtime
/// would give: `seed` 1, `t` 1, hyperparameters their defaults.
inline ir::Bindings call(const Program& p, const std::string& name, ir::Bindings& state, const ir::Bindings& inputs = {}) {
  const ir::Function* f = p.module.function(name);
  INFO("function " << name);
  REQUIRE(f);
  ir::Bindings given = state;
  for (const auto& [key, value] : inputs) given[key] = value;
  std::map<std::string, double> scalars = {{"seed", 1}, {"step", 0}, {"row", 0}, {"t", 1}, {"T", 100}, {"epoch", 0}, {"count", 1}};
  for (const auto& h : p.image.config) scalars[h->name] = h->value;
  for (const auto& t : p.image.trains)
    for (const auto& s : t->step_list)
      for (const auto& o : s->optimizers)
        for (const auto& h : o->hypers) scalars[h->name] = h->value;
  for (const ir::Node& node : f->nodes)
    if (node.op == ir::Op::input) {
      const std::string& input = node.attrs.text(ir::Attr::name);
      if (!given.count(input) && scalars.count(input)) given[input] = ir::Tensor::of(node.type, {scalars.at(input)});
    }
  std::string missing = ir::binding_error(*f, given);
  INFO(missing);
  REQUIRE(missing.empty());
  ir::Bindings results = ir::evaluate(*f, given);
  for (const auto& [key, value] : results)
    if (key[0] == '@') state[key] = value;
  return results;
}

inline ir::Tensor f32(ir::Shape shape, std::initializer_list<double> values) { return ir::Tensor::of({ir::ElementType::f32, std::move(shape)}, values); }

inline void near_to(const ir::Tensor& t, std::initializer_list<double> wanted) {
  REQUIRE(t.size() == static_cast<int64_t>(wanted.size()));
  int64_t i = 0;
  for (double w : wanted) {
    INFO("element " << i);
    CHECK(t.at(i) == Approx(w).epsilon(1e-5).margin(1e-6));
    ++i;
  }
}

/// The value of `export f(x: f32[n, 2]) = body` for one sample.
inline ir::Tensor value_of(const std::string& declarations, const std::string& body, std::initializer_list<double> x = {3, -2}) {
  Program p = good(declarations + "\nexport f(x: f32[n, 2]) { " + body + " }\n", {{}, {1}, {}, ""});
  expand(p);
  ir::Bindings state;
  call(p, "init", state);
  return call(p, "export.f.1", state, {{"x", f32({1, 2}, x)}}).at("f");
}

}  // namespace gradc::tests
