// How a kernel is run, and memory that shows who misuses it.

#pragma once

#include <sys/mman.h>

#include "thread.h"

using KernelThread = void (*)(Thread *, void **);

struct Kernel {
    KernelThread thread;
    int shared_bytes;
    bool waits;
};

struct Size {
    uint32_t x, y, z;
    uint32_t count() const { return x * y * z; }
};

constexpr size_t PAGE = 4096;

// Memory whose last byte lies before a page that nobody may touch, so that to read or write behind it is a crash at that place.
// It begins as NaN: what a kernel reads but nobody wrote shows.
struct Guarded {
    char *mapped = nullptr, *start = nullptr;
    size_t length = 0;

    explicit Guarded(size_t bytes, int where = 0) {
        const size_t body = (bytes + PAGE - 1) / PAGE * PAGE;
        length = body + 2 * PAGE;
        void *got = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | where, -1, 0);
        if (got == MAP_FAILED) return;
        mapped = static_cast<char *>(got);
        mprotect(mapped, PAGE, PROT_NONE);
        mprotect(mapped + PAGE + body, PAGE, PROT_NONE);
        // Addresses are multiples of 16, as the widest load asks; real allocations are of 256.
        start = mapped + PAGE + (body - bytes) / 16 * 16;
        memset(start, 0xff, bytes);
    }
    Guarded(const Guarded &) = delete;
    Guarded(Guarded &&other) noexcept : mapped(other.mapped), start(other.start), length(other.length) { other.mapped = nullptr; }
    ~Guarded() {
        if (mapped) munmap(mapped, length);
    }
};

// All blocks of a launch, with `dynamic` bytes of shared memory beside the kernel's own; false where threads wait for each other
// for ever.
bool run(const Kernel &kernel, Size grid, Size threads, size_t dynamic, void **parameters);
