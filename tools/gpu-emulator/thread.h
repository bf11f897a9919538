/* What a translated kernel knows: the thread that it is, and what the instructions of PTX need. */

#pragma once

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct Thread {
    uint32_t tid[3], ntid[3], ctaid[3], nctaid[3];
    /* Shared memory of the block; below 4 GiB, because PTX holds its addresses in 32 bits. */
    char *shared;
    uint32_t lane, warp;
};

#ifdef __cplusplus
extern "C" {
#endif

/* bar.sync: returns when all threads of the block that are still running have come here. */
void wait_for_block(struct Thread *t);

/* bar.warp.sync: the same for the threads of a warp. */
void wait_for_warp(struct Thread *t);

/* shfl.sync with the lane or distance `b`, the clamp `c` and the members of the instruction; `kind` is u, d, b or i. `inside` says
   whether the value is that of another lane. */
uint32_t shuffled(struct Thread *t, char kind, uint32_t value, uint32_t b, uint32_t c, uint32_t members, int *inside);

/* Ends the program: a card reads and writes words at multiples of their size only. */
void misaligned(const void *place, int bytes);

void assertion_failed(struct Thread *t);

#ifdef __cplusplus
}
#endif

static inline void aligned(const void *place, int bytes) {
    if ((uint64_t)place % bytes) misaligned(place, bytes);
}

static inline float as_float(uint32_t x) { float y; memcpy(&y, &x, sizeof y); return y; }
static inline double as_double(uint64_t x) { double y; memcpy(&y, &x, sizeof y); return y; }
static inline uint32_t of_float(float x) { uint32_t y; memcpy(&y, &x, sizeof y); return y; }
static inline uint64_t of_double(double x) { uint64_t y; memcpy(&y, &x, sizeof y); return y; }

/* To a float, cut off. */
static inline float toward_zero(double x) {
    const float y = (float)x;
    return fabs(y) > fabs(x) ? nextafterf(y, 0.0f) : y;
}

static inline float of_bf16(uint16_t x) { return as_float((uint32_t)x << 16); }

/* To the nearest, ties to even. */
static inline uint16_t to_bf16(float x) {
    const uint32_t bits = of_float(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

#ifndef __cplusplus
static inline float of_f16(uint16_t x) { _Float16 y; memcpy(&y, &x, sizeof y); return y; }
static inline uint16_t to_f16(float x) { const _Float16 y = x; uint16_t bits; memcpy(&bits, &y, sizeof bits); return bits; }
#endif

/* prmt: four bytes chosen from eight; a choice with its high bit set repeats the sign. */
static inline uint32_t permuted(uint32_t a, uint32_t b, uint32_t choices) {
    const uint64_t bytes = (uint64_t)b << 32 | a;
    uint32_t result = 0;
    for (int i = 0; i < 4; i++) {
        const uint32_t choice = choices >> 4 * i & 15;
        uint8_t byte = bytes >> 8 * (choice & 7);
        if (choice & 8) byte = byte & 0x80 ? 0xff : 0;
        result |= (uint32_t)byte << 8 * i;
    }
    return result;
}

static inline uint64_t ones(uint32_t length) { return length >= 64 ? ~0ull : (1ull << length) - 1; }

/* bfe and bfi: `length` bits from `start`. */
static inline uint64_t extracted(uint64_t x, uint32_t start, uint32_t length) {
    return (start & 255) > 63 ? 0 : x >> (start & 255) & ones(length & 255);
}

static inline uint64_t inserted(uint64_t from, uint64_t into, uint32_t start, uint32_t length) {
    if ((start & 255) > 63) return into;
    const uint64_t mask = ones(length & 255) << (start & 255);
    return (into & ~mask) | (from << (start & 255) & mask);
}

/* lop3: any function of three bits, by its table. */
static inline uint32_t by_table(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
    uint32_t result = 0;
    for (int i = 0; i < 8; i++)
        if (table >> i & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return result;
}

/* shf: 64 bits shifted, of which 32 are kept. */
static inline uint32_t funnel(int left, int wraps, uint32_t low, uint32_t high, uint32_t by) {
    by = wraps ? by & 31 : by > 32 ? 32 : by;
    const uint64_t both = (uint64_t)high << 32 | low;
    return left ? (uint32_t)(both << by >> 32) : (uint32_t)(both >> by);
}
