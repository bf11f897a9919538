// How a kernel is run, and memory that shows who misuses it.

#pragma once

#include <sys/mman.h>

#include "thread.h"

using KernelThread = void (*)(Thread *, void **);

struct Kernel {
    const char *name;
    KernelThread thread;
    int shared_bytes;
    bool waits;
};

struct Size {
    uint32_t x, y, z;
    uint32_t count() const { return x * y * z; }
};

constexpr size_t PAGE = 4096;

// Memory that ends, up to 15 bytes, at a page that nobody may touch: to read or write far behind it is a crash at that place. It and
// what lies around it begin as NaN: what a kernel reads but nobody wrote shows, and so does what it writes just behind.
struct Guarded {
    char *mapped = nullptr, *start = nullptr;
    size_t bytes = 0, body = 0;

    explicit Guarded(size_t bytes, int where = 0) : bytes(bytes), body((bytes + PAGE - 1) / PAGE * PAGE) {
        void *got = mmap(nullptr, body + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | where, -1, 0);
        if (got == MAP_FAILED) return;
        mapped = static_cast<char *>(got);
        mprotect(mapped, PAGE, PROT_NONE);
        mprotect(mapped + PAGE + body, PAGE, PROT_NONE);
        // Addresses are multiples of 16, as the widest load asks; real allocations are of 256.
        start = mapped + PAGE + (body - bytes) / 16 * 16;
        memset(mapped + PAGE, 0xff, body);
    }
    Guarded(const Guarded &) = delete;
    Guarded(Guarded &&other) noexcept : mapped(other.mapped), start(other.start), bytes(other.bytes), body(other.body) {
        other.mapped = nullptr;
    }
    ~Guarded() {
        if (mapped) munmap(mapped, body + 2 * PAGE);
    }

    // Whether nobody wrote around it.
    bool intact() const {
        for (const char *at = mapped + PAGE; at < mapped + PAGE + body; at++)
            if ((at < start || at >= start + bytes) && *at != '\xff') return false;
        return true;
    }
};

// All blocks of a launch, with `dynamic` bytes of shared memory beside the kernel's own; false where threads wait for each other
// for ever.
bool run(const Kernel &kernel, Size grid, Size threads, size_t dynamic, void **parameters);
