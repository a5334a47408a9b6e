// What happens when an exception leaves main: abort, nothing more. The C++ library's own handler would print the exception's type, for which it carries a
// demangler, 50 kB in every program. The handler is a variable of the library; whoever defines it first has it, and the runtime is linked before the library.
#include <cstdlib>
#include <exception>

namespace __cxxabiv1 {
extern std::terminate_handler __terminate_handler;
__attribute__((visibility("hidden"))) std::terminate_handler __terminate_handler = std::abort;
}  // namespace __cxxabiv1
