// How the runtime reports what goes wrong: a code of the C interface and a message for a person. No exceptions: the runtime lives
// inside other people's programs.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "runtime/gradc.h"

namespace gradc::runtime {

struct Error {
  gradc_status code = GRADC_INTERNAL;
  std::string message;
};

/// Success, or an error that must be looked at.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}
  explicit operator bool() const { return !error_; }
  Error& error() { return *error_; }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() { return *std::get_if<0>(&state_); }
  const T& operator*() const { return *std::get_if<0>(&state_); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  Error& error() { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

/// Returns the error from the enclosing function.
#define GRADC_TRY(expression) \
  if (auto status_ = (expression); !status_) return std::move(status_.error())

}  // namespace gradc::runtime
