// Convolutions with 3x3 windows by Winograd's minimal filtering: fewer products, at the cost of two transforms with small constant matrices.
#pragma once
#include <cstdint>

#include "ir/graph.h"

namespace gradc::passes {

/// Which tiles of outputs: F(2x2, 3x3) needs 16 products for 4 outputs where the sum needs 36, and errs as little; F(4x4, 3x3) needs 36 for 16 instead
/// of 144, and errs by some 1e-6 of the largest value.
enum class Winograd : uint8_t { never, tile2, tile4, automatic };

/// Rewrites f32 convolutions over 3x3 windows of stride 1, and gradients of their kernels, into transforms by constants and one batched contract.
/// automatic: those that a model of the time finds faster so. Says how many. rounded: also convolutions of a precision below f32, which are computed in f32
/// then: more precisely than asked for, and faster where there is no AMX (a VGG at batch 128 on one Zen 4 core: 255 ms a step with products of bf16).
int use_winograd(ir::Function&, Winograd = Winograd::automatic, bool rounded = false);

}  // namespace gradc::passes
