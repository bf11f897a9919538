// Elements of the types that matrices and images are stored in, as f64.

#pragma once

#include <cstdio>

#include "thread.h"

enum Element { F32, F64, BF16 };

inline double get(const void *from, int element, long at) {
    switch (element) {
    case F32: return static_cast<const float *>(from)[at];
    case F64: return static_cast<const double *>(from)[at];
    default: return of_bf16(static_cast<const uint16_t *>(from)[at]);
    }
}

inline void put(void *to, int element, long at, double value) {
    switch (element) {
    case F32: static_cast<float *>(to)[at] = static_cast<float>(value); break;
    case F64: static_cast<double *>(to)[at] = value; break;
    default: static_cast<uint16_t *>(to)[at] = to_bf16(static_cast<float>(value));
    }
}
