// The functions that the language has and the library cannot write: each a row of a table with its parameters.
#pragma once
#include <span>

#include "frontend/elaborator.h"

namespace gradc::front {

/// The arguments of a builtin, in the order of its parameters; Nothing where an optional one is not given.
struct BuiltinCall {
  Elaborator& e;
  Span at;                       // the whole call
  std::vector<Value> values;
  std::vector<Span> spans;       // the call's where not given
  bool poisoned = false;
  const Value& operator[](size_t i) const { return values[i]; }
  bool given(size_t i) const { return !values[i].is<Nothing>(); }
};

struct Builtin {
  std::string_view name;
  /// "x axis? keep?": names, those with ? may be left out, a last one with * takes all that remain.
  std::string_view parameters;
  Value (*run)(BuiltinCall&);
};

std::span<const Builtin> builtins();
std::span<const Builtin> shape_builtins();   // those of elaborate_builtins_shape.cpp
std::span<const Builtin> loop_builtins();     // of elaborate_loops.cpp
std::span<const Builtin> window_builtins();   // and of elaborate_builtins_windows.cpp
std::span<const Builtin> index_builtins();    // and of elaborate_builtins_index.cpp
const Builtin* find_builtin(std::string_view name);

}  // namespace gradc::front
