// Kernels to machine code, and functions to entries of the compiled program.
#pragma once
#include "ir/kernel.h"
