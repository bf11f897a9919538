// Runs a kernel: one block after the other, the threads of a block in turn. Threads that meet at barriers are fibers.

#include "blocks.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

// Saves the callee's registers and the stack pointer, and goes on where `to` was saved (System V, x86-64).
extern "C" void switch_stacks(void **save, void *to);
asm(".text\n.globl switch_stacks\nswitch_stacks:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");

namespace {

constexpr size_t STACK = 64 << 10;

enum class State { Ready, AtBlockBarrier, AtWarpBarrier, Done };

struct Fiber {
    Thread thread; // first: the kernel's pointer to it is a pointer to the fiber
    void *stack_pointer;
    State state;
    uint32_t offered; // to a shuffle
};

// The block that runs; a thread of the process runs one at a time.
struct Block {
    const Kernel *kernel;
    void **parameters;
    std::vector<Fiber> fibers;
    Fiber *running;
    void *scheduler;
};

thread_local Block block;

[[noreturn]] void fail(const char *what) {
    fprintf(stderr, "emulator: %s: %s\n", block.kernel->name, what);
    abort();
}

void pause_fiber(Fiber *fiber, State state) {
    fiber->state = state;
    switch_stacks(&fiber->stack_pointer, block.scheduler);
}

} // namespace

extern "C" void wait_for_block(Thread *t) {
    pause_fiber(reinterpret_cast<Fiber *>(t), State::AtBlockBarrier);
}

extern "C" void wait_for_warp(Thread *t) {
    pause_fiber(reinterpret_cast<Fiber *>(t), State::AtWarpBarrier);
}

extern "C" uint32_t shuffled(Thread *t, char kind, uint32_t value, uint32_t b, uint32_t c, uint32_t members, int *inside) {
    Fiber *fiber = reinterpret_cast<Fiber *>(t);
    fiber->offered = value;
    pause_fiber(fiber, State::AtWarpBarrier);
    const int lane = t->lane, by = b & 31, segment = c >> 8 & 31, clamp = c & 31;
    const int first = lane & segment, last = first | (clamp & ~segment);
    int from = 0;
    switch (kind) {
    case 'u': from = lane - by, *inside = from >= last; break;
    case 'd': from = lane + by, *inside = from <= last; break;
    case 'b': from = lane ^ by, *inside = from <= last; break;
    default: from = first | (by & ~segment), *inside = from <= last;
    }
    const size_t source = t->warp * 32 + (*inside ? from : lane);
    const bool there = source < block.fibers.size() && block.fibers[source].state != State::Done && members >> source % 32 & 1;
    if (!there) fail("a shuffle reads from a lane that takes no part");
    const uint32_t got = block.fibers[source].offered;
    pause_fiber(fiber, State::AtWarpBarrier); // nobody may offer anew before all have read
    return got;
}

extern "C" void assertion_failed(Thread *) { fail("an assertion failed"); }

extern "C" void misaligned(const void *place, int bytes) {
    fprintf(stderr, "emulator: %d bytes at %p\n", bytes, place);
    fail("an access is not aligned");
}

namespace {

void fiber_main() {
    Fiber *fiber = block.running;
    block.kernel->thread(&fiber->thread, block.parameters);
    pause_fiber(fiber, State::Done);
}

void start(Fiber &fiber, char *stack) {
    void **top = reinterpret_cast<void **>(stack + STACK);
    *--top = nullptr; // a call would leave the stack aligned like this
    *--top = reinterpret_cast<void *>(fiber_main);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fiber.stack_pointer = top;
    fiber.state = State::Ready;
}

// Lets those go on of `count` fibers from `from` who wait for each other: all that are not done.
bool release(size_t from, size_t count, State barrier) {
    bool any = false;
    for (size_t i = from; i < from + count; i++) {
        const State state = block.fibers[i].state;
        if (state == barrier) any = true;
        else if (state != State::Done) return false;
    }
    for (size_t i = from; any && i < from + count; i++)
        if (block.fibers[i].state == barrier) block.fibers[i].state = State::Ready;
    return any;
}

// Until all fibers are done; false where they wait for each other for ever.
bool run_fibers() {
    const size_t count = block.fibers.size();
    for (size_t done = 0; done < count;) {
        bool moved = false;
        for (Fiber &fiber : block.fibers) {
            if (fiber.state != State::Ready) continue;
            moved = true;
            block.running = &fiber;
            switch_stacks(&block.scheduler, fiber.stack_pointer);
            done += fiber.state == State::Done;
        }
        for (size_t warp = 0; warp < count; warp += 32)
            moved |= release(warp, std::min<size_t>(32, count - warp), State::AtWarpBarrier);
        moved |= release(0, count, State::AtBlockBarrier);
        if (!moved) return false;
    }
    return true;
}

} // namespace

bool run(const Kernel &kernel, Size grid, Size threads, size_t dynamic, void **parameters) {
    static thread_local std::vector<char *> stacks;
    const size_t bytes = kernel.shared_bytes + dynamic;
    const Guarded shared(std::max<size_t>(bytes, 1), MAP_32BIT);
    if (!shared.mapped) return false;
    block.kernel = &kernel;
    block.parameters = parameters;
    block.fibers.resize(threads.count());
    while (kernel.waits && stacks.size() < block.fibers.size()) stacks.push_back(static_cast<char *>(aligned_alloc(16, STACK)));
    for (uint32_t z = 0; z < grid.z; z++)
        for (uint32_t y = 0; y < grid.y; y++)
            for (uint32_t x = 0; x < grid.x; x++) {
                memset(shared.start, 0xff, bytes);
                for (uint32_t i = 0; i < threads.count(); i++) {
                    Fiber &fiber = block.fibers[i];
                    fiber.thread = Thread{{i % threads.x, i / threads.x % threads.y, i / threads.x / threads.y},
                                          {threads.x, threads.y, threads.z}, {x, y, z}, {grid.x, grid.y, grid.z},
                                          shared.start, i % 32, i / 32};
                    if (kernel.waits) start(fiber, stacks[i]);
                    else kernel.thread(&fiber.thread, parameters);
                }
                if (kernel.waits && !run_fibers()) return false;
            }
    if (!shared.intact()) fail("shared memory was written outside of what the launch has");
    return true;
}
