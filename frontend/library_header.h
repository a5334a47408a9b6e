// The C header that `gradc build --emit lib` writes beside the libraries.
#pragma once
#include <string>

#include "runtime/program_generated.h"

namespace gradc {

/// A name that C accepts: what is not a letter, digit or underscore becomes one.
std::string identifier(const std::string& name);

/// Declares PREFIX_create and the other functions of runtime/gradc.h for this model, and says in its comments what the model has: inputs,
/// outputs, optimizers, parameters.
std::string library_header(const std::string& prefix, const program::ProgramT&);

}  // namespace gradc
