#include "ir/diagnostics.h"
