#include "frontend/program.h"
