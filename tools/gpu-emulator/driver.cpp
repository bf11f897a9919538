// The part of the CUDA driver that Attar calls, on the CPU. PTX is translated by ptx.py and compiled when a
// kernel is first asked for. It shows what kernels compute and what they touch; it says nothing of time.

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>

#include "blocks.h"

namespace {

enum Result { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_IMAGE = 200, NOT_FOUND = 500, LAUNCH_FAILED = 719 };

// A card as Attar's code asks for it: compute capability 9.0, memory pools.
enum Attribute { THREADS_PER_BLOCK = 1, SHARED_PER_BLOCK = 8, WARP_SIZE = 10, MULTIPROCESSORS = 16, MAJOR = 75, MINOR = 76, POOLS = 115 };

constexpr size_t SHARED = 48 << 10;
constexpr uint32_t MOST_THREADS = 1024, MOST_BLOCKS = 65535;

struct Module {
    std::string ptx;
};

struct Function {
    std::string name;
    Kernel kernel;
    size_t launches = 0;
};

std::mutex lock;
std::map<uint64_t, Guarded> allocations;
std::map<std::string, Function *> functions;

// What streams, contexts and handles are here: everything happens at once and in order.
void *const ANYTHING = &lock;

int complain(Result result, const std::string &what) {
    fprintf(stderr, "emulator: %s\n", what.c_str());
    return result;
}

std::string own_folder() {
    Dl_info info;
    dladdr(&lock, &info);
    const std::string file = info.dli_fname;
    return file.substr(0, file.rfind('/'));
}

void write_file(const std::string &file, const std::string &text) {
    FILE *out = fopen(file.c_str(), "w");
    if (!out) return;
    fwrite(text.data(), 1, text.size(), out);
    fclose(out);
}

// Number of launches by kernel, where EMULATOR_COUNT is set.
void report() {
    if (!getenv("EMULATOR_COUNT")) return;
    std::map<std::string, size_t> launches;
    size_t all = 0;
    for (const auto &[key, function] : functions) launches[function->name] += function->launches, all += function->launches;
    for (const auto &[name, count] : launches) fprintf(stderr, "emulator: %8zu %s\n", count, name.c_str());
    fprintf(stderr, "emulator: %8zu launches\n", all);
}

// The library of a kernel, compiled before or now.
void *library(const Module &module, const std::string &name) {
    char hash[17];
    snprintf(hash, sizeof hash, "%016zx", std::hash<std::string>()(module.ptx + name));
    const std::string base = KERNELS "/" + std::string(hash), so = base + ".so";
    if (access(so.c_str(), R_OK)) {
        write_file(base + ".ptx", module.ptx);
        // Python and the compiler must not find the libraries of this folder.
        const std::string command = "unset LD_LIBRARY_PATH; python3 " SOURCES "/ptx.py " + base + ".ptx '" + name + "' " + base +
                                    ".c && cc -O1 -w -fno-strict-aliasing -fwrapv -fPIC -shared -I " SOURCES " -o " + base + ".part " + base +
                                    ".c " + own_folder() + "/emulator.so -lm && mv " + base + ".part " + so;
        if (system(command.c_str())) return nullptr;
        unlink((base + ".ptx").c_str());
    }
    void *loaded = dlopen(so.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!loaded) complain(INVALID_IMAGE, dlerror());
    return loaded;
}

} // namespace

extern "C" {

int cuInit(unsigned) { return SUCCESS; }
int cuGetExportTable(const void **table, const void *) { return *table = nullptr, NOT_FOUND; } // NVRTC asks
int cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, ordinal == 0 ? SUCCESS : INVALID_VALUE; }
int cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }
int cuDeviceGetName(char *name, int length, int) { return snprintf(name, length, "emulator"), SUCCESS; }
int cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = 4ull << 30, SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
    case THREADS_PER_BLOCK: *value = MOST_THREADS; break;
    case SHARED_PER_BLOCK: *value = SHARED; break;
    case WARP_SIZE: *value = 32; break;
    case MULTIPROCESSORS: *value = 132; break;
    case MAJOR: *value = 9; break;
    case MINOR: *value = 0; break;
    case POOLS: *value = 1; break;
    default: *value = 0;
    }
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int) { return *context = ANYTHING, SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
int cuCtxSetCurrent(void *) { return SUCCESS; }
int cuCtxGetCurrent(void **context) { return *context = ANYTHING, SUCCESS; }
int cuCtxSynchronize() { return SUCCESS; }
int cuDeviceGetDefaultMemPool(void **pool, int) { return *pool = ANYTHING, SUCCESS; }
int cuMemPoolSetAttribute(void *, int, void *) { return SUCCESS; }
int cuStreamCreate(void **stream, unsigned) { return *stream = ANYTHING, SUCCESS; }
int cuStreamDestroy_v2(void *) { return SUCCESS; }
int cuStreamSynchronize(void *) { return SUCCESS; }
int cuStreamWaitEvent(void *, void *, unsigned) { return SUCCESS; }
int cuStreamIsCapturing(void *, int *status) { return *status = 0, SUCCESS; }
int cuEventCreate(void **event, unsigned) { return *event = ANYTHING, SUCCESS; }
int cuEventDestroy_v2(void *) { return SUCCESS; }
int cuEventRecord(void *, void *) { return SUCCESS; }
int cuEventSynchronize(void *) { return SUCCESS; }
int cuEventElapsedTime_v2(float *milliseconds, void *, void *) { return *milliseconds = 1.0f, SUCCESS; }
int cuGetErrorString(int error, const char **text) {
    static thread_local char buffer[32];
    snprintf(buffer, sizeof buffer, "error %d of the emulator", error);
    return *text = buffer, SUCCESS;
}
int cuGetErrorName(int error, const char **text) { return cuGetErrorString(error, text); }

// Little, so that workspaces are small.
int cuMemGetInfo_v2(size_t *free, size_t *total) { return *free = 64 << 20, *total = 4ull << 30, SUCCESS; }
int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    if (bytes == 0) return INVALID_VALUE;
    Guarded memory(bytes);
    if (!memory.mapped) return OUT_OF_MEMORY;
    const std::lock_guard guard(lock);
    *address = reinterpret_cast<uint64_t>(memory.start);
    allocations.emplace(*address, std::move(memory));
    return SUCCESS;
}
int cuMemAllocAsync(uint64_t *address, size_t bytes, void *) { return cuMemAlloc_v2(address, bytes); }
int cuMemFree_v2(uint64_t address) {
    const std::lock_guard guard(lock);
    const auto memory = allocations.find(address);
    if (!address) return SUCCESS;
    if (memory == allocations.end()) return complain(INVALID_VALUE, "freed what was not allocated");
    if (!memory->second.intact()) {
        complain(LAUNCH_FAILED, "a kernel wrote just outside of " + std::to_string(memory->second.bytes) + " bytes");
        abort();
    }
    return allocations.erase(memory), SUCCESS;
}
int cuMemFreeAsync(uint64_t address, void *) { return cuMemFree_v2(address); }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *) {
    return memcpy(reinterpret_cast<void *>(to), from, bytes), SUCCESS;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *) {
    return memcpy(to, reinterpret_cast<void *>(from), bytes), SUCCESS;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *) {
    return memmove(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes), SUCCESS;
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void *) {
    return memset(reinterpret_cast<void *>(to), value, bytes), SUCCESS;
}

int cuModuleLoadData(void **module, const void *image) {
    return *module = new Module{static_cast<const char *>(image)}, SUCCESS; // never unloaded
}
int cuModuleUnload(void *) { return SUCCESS; }
int cuModuleGetFunction(void **function, void *opened, const char *name) {
    const std::lock_guard guard(lock);
    static const int reports = atexit(report);
    (void)reports;
    const Module &module = *static_cast<Module *>(opened);
    if (module.ptx.find(std::string(".entry ") + name + "(") == std::string::npos) return NOT_FOUND;
    const std::string key = name + module.ptx;
    if (!functions.count(key)) {
        void *loaded = library(module, name);
        if (!loaded) return complain(INVALID_IMAGE, std::string("cannot translate ") + name);
        const auto number = [&](const char *fact) { return *static_cast<const int *>(dlsym(loaded, fact)); };
        const auto thread = reinterpret_cast<KernelThread>(dlsym(loaded, "kernel_thread"));
        auto *made = new Function{name, {}};
        made->kernel = Kernel{made->name.c_str(), thread, number("shared_bytes"), number("waits") != 0};
        functions[key] = made;
    }
    return *function = functions[key], SUCCESS;
}
int cuFuncSetAttribute(void *, int, int) { return SUCCESS; }

int cuLaunchKernel(void *asked, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void *, void **parameters, void **) {
    Function &function = *static_cast<Function *>(asked);
    const Size grid{gx, gy, gz}, threads{bx, by, bz};
    const bool fits = gx && gy && gz && gx <= INT32_MAX && gy <= MOST_BLOCKS && gz <= MOST_BLOCKS && threads.count() &&
                      threads.count() <= MOST_THREADS && bz <= 64 && function.kernel.shared_bytes + shared <= SHARED;
    if (!fits) return complain(INVALID_VALUE, "a launch of " + function.name + " that no card would take");
    {
        const std::lock_guard guard(lock);
        function.launches++;
    }
    if (run(function.kernel, grid, threads, shared, parameters)) return SUCCESS;
    return complain(LAUNCH_FAILED, "threads of " + function.name + " wait for each other for ever");
}

} // extern "C"
