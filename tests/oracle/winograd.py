#!/usr/bin/env python3
"""Errors of 3x3 convolutions and their gradients, as sums and by Winograd's algorithm, against PyTorch in double precision.

    python tests/oracle/winograd.py [--gradc build/gradc]          (a Python with PyTorch; tests/oracle/run finds it)

Of every shape of a VGG on 28 x 28 pictures and of ResNet-20 on these and on 32 x 32, at batch 8: the largest error of an element, relative to the
largest element, of the values and of the gradients by the image and by the kernel.
"""
import argparse
import os
import pathlib
import sys
import tempfile

import torch

from convolutions import compare, conv

SHAPES = [(28, 32, 32), (14, 32, 64), (14, 64, 64), (7, 64, 128), (7, 128, 128), (28, 16, 16), (14, 32, 32), (7, 64, 64), (32, 16, 16), (16, 32, 32), (8, 64, 64)]
BOUNDS = {"never": 6e-6, "tile2": 3e-6, "tile4": 3e-5}
PARTS = {"y": "y", "x": "dx", "f.k": "dk"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gradc", default=os.environ.get("GRADC", "build/gradc"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = [conv("conv2d", [8, side, side, channels], filters, 3) for side, channels, filters in SHAPES]
    with tempfile.TemporaryDirectory(prefix="oracle-") as folder:
        errors = {how: [row for _, row in compare(cases, number, pathlib.Path(folder), os.path.abspath(options.gradc), "--winograd", how)] for number, how in enumerate(BOUNDS)}
    print(f"{'3x3 at batch 8':<20}" + "".join(f"{how + ' ' + part:>13}" for how in BOUNDS for part in PARTS.values()))
    failed = 0
    for i, (side, channels, filters) in enumerate(SHAPES):
        row = [(errors[how][i][key], BOUNDS[how]) for how in BOUNDS for key in PARTS]
        failed += sum(not error <= bound for error, bound in row)
        print(f"{f'{side}x{side}, {channels} to {filters}':<20}" + "".join(f"{error:13.1e}" for error, _ in row))
    if failed:
        print(f"{failed} above the bounds {BOUNDS}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
