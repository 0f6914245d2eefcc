#!/usr/bin/env python3
"""compare_npy.py NAME GOT EXPECTED: |got - expected| <= 1e-5 * max(1, max|expected|), or exit 1."""

import sys

import npy


def main():
    name, got_path, expected_path = sys.argv[1:]
    got_shape, got = npy.read(got_path)
    expected_shape, expected = npy.read(expected_path)
    if got_shape != expected_shape:
        sys.exit(f"{name}: shape {got_shape}, expected {expected_shape}")
    bound = 1e-5 * max(1.0, max(map(abs, expected)))
    errors = [abs(a - b) for a, b in zip(got, expected)]
    # A NaN would vanish in max(); it fails every comparison, so look for what is not within.
    if not all(error <= bound for error in errors):
        sys.exit(f"{name}: differs from {expected_path} by more than {bound:.1e}")
    largest = max(errors)
    print(f"  {name:<8} largest difference to the model's own {largest:.1e}, allowed {bound:.1e}")


if __name__ == "__main__":
    main()
