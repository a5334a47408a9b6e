// The verifier: what must hold of every graph, after every pass. It knows no operation: types come from the shape rules.
#pragma once
#include <string>

#include "ir/graph.h"

namespace gradc::ir {

/// What is wrong, one line per finding ("%12 = contract ...: contract: index k is 784 and 10"), or "" if all is right:
/// - operands come before their users and their number is the operation's;
/// - attributes are exactly those of the operation's row;
/// - the type is what the shape rule says;
/// - inputs have names of their own, and all reads of a variable one type;
/// - results have names of their own and existing values; a write has its variable's type.
std::string verify(const Function&);
/// Also: functions and variables have names of their own, and functions read and write variables of the module with their types.
std::string verify(const Module&);

}  // namespace gradc::ir
