/* Opens one CUDA library when the first of its functions is called.

   The lines above this file are generated: LIBRARY (the file to open), companions (beginnings of the names of libraries that LIBRARY
   opens by name and that must be there before it), DRIVER (1 for the driver's library), ABSENT and UNKNOWN (the library's error codes
   for "the library is not there" and "the library is there but too old"), functions (names and what each returns), RESOLVE. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void *library;
static char reason[1024];

static void remember(const char *text) {
    if (!reason[0]) snprintf(reason, sizeof reason, "%s", text ? text : LIBRARY " could not be opened");
}

/* A library that was opened by its path is found again when another asks for it by its name. */
static void open_companions(const char *folder) {
    if (!companions[0]) return;
    DIR *listing = opendir(folder);
    if (!listing) return;
    char path[4096];
    for (const char *const *start = companions; *start; start++) {
        rewinddir(listing);
        for (struct dirent *entry; (entry = readdir(listing));) {
            if (strncmp(entry->d_name, *start, strlen(*start)) != 0) continue;
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            dlopen(path, RTLD_LAZY | RTLD_LOCAL);
        }
    }
    closedir(listing);
}

static void *open_in(const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, LIBRARY);
    if (access(path, R_OK) != 0) return NULL;
    void *opened = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (!opened) remember(dlerror());
    return opened;
}

static void open_library(void) {
    const char *folders = getenv("ATTAR_CUDA_PATH");
    char *copy = folders ? strdup(folders) : NULL;
    if (copy) {
        char *rest = NULL;
        for (char *folder = strtok_r(copy, ":", &rest); folder; folder = strtok_r(NULL, ":", &rest)) open_companions(folder);
        strcpy(copy, folders);
        for (char *folder = strtok_r(copy, ":", &rest); folder && !library; folder = strtok_r(NULL, ":", &rest))
            library = open_in(folder);
        free(copy);
    }
    if (!library) library = dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);
    if (library) return;
    remember(dlerror());
    /* Without a driver a program goes on on the processor; without another library on a machine with a driver it cannot. */
    if (!DRIVER)
        fprintf(stderr, "%s\n  hint: set ATTAR_CUDA_PATH to the folders of NVIDIA's libraries, separated by colons\n", reason);
}

static int absent_status(void) { return ABSENT; }
static int unknown_status(void) { return UNKNOWN; }
static size_t zero(void) { return 0; }
static const char *text(void) { return reason; }
static void nothing(void) {}
static int explanation(int status, const char **text) {
    (void)status;
    *text = reason;
    return 0;
}

/* The address of a function, or of one that answers in its place. Never fails; the trampoline remembers the answer. */
__attribute__((visibility("hidden"))) void *RESOLVE(unsigned index) {
    pthread_once(&once, open_library);
    void *found = library ? dlsym(library, functions[index].name) : NULL;
    if (found) return found;
    if (library) {
        fprintf(stderr, "%s has no %s: it is older than this program\n", LIBRARY, functions[index].name);
        remember(LIBRARY " is older than this program");
    }
    switch (functions[index].answer) {
    case ZERO: return (void *)zero;
    case TEXT: return (void *)text;
    case EXPLANATION: return (void *)explanation;
    case NOTHING: return (void *)nothing;
    default: return library ? (void *)unknown_status : (void *)absent_status;
    }
}
