// runtime/gradc.h as text, compiled into gradc.
#pragma once
#include <string_view>

namespace gradc {
std::string_view interface_text();
}
