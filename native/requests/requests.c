/* Requests that pyfuse3 has no handler for, taken off on their way into libfuse.
 *
 * pyfuse3 reads every request with libfuse and hands it to fuse_session_process_buf(). This file
 * has a function of that name. The dynamic linker binds pyfuse3 to it instead of libfuse's,
 * because this module is in the global scope before pyfuse3 is loaded (affs_requests_claim). A
 * request of an opcode that was asked for goes to Python, which answers it at the descriptor; all
 * others go on to libfuse as they are.
 *
 * Nothing here depends on libfuse's version but the first three members of struct fuse_buf, which
 * are part of its interface. This module is not linked with libfuse, so it cannot bring a second
 * copy of it: libfuse's own functions are those that the caller is linked with.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "affs_requests.h"

struct fuse_session;

struct fuse_buf {
    size_t size;
    int flags;
    void *memory;
};

#define BUFFER_IS_DESCRIPTOR 2
#define OPCODES 64

struct request_header {
    uint32_t length;
    uint32_t opcode;
    uint64_t unique;
    uint64_t node;
    uint32_t uid;
    uint32_t gid;
    uint32_t pid;
    uint32_t extensions;
};

typedef void process_function(struct fuse_session *, const struct fuse_buf *);
typedef int descriptor_function(struct fuse_session *);

static process_function *libfuse_process;
static descriptor_function *libfuse_descriptor;
static uint64_t wanted_opcodes;
static uint64_t seen;

/* Defined by cffi: fuse/requests.py. Called with the interpreter's lock held. */
static void affs_requests_take(int descriptor, void *request, size_t length);

/* Find the functions that a name means in the library that the caller lies in: a handle's own
 * scope begins at that library and leads to its libfuse, not to this module. */
static int bind_to_libfuse_of(void *caller)
{
    Dl_info place;
    void *library;

    if (!dladdr(caller, &place))
        return 0;
    library = dlopen(place.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    if (!library)
        return 0;
    libfuse_process = (process_function *)dlsym(library, "fuse_session_process_buf");
    libfuse_descriptor = (descriptor_function *)dlsym(library, "fuse_session_fd");
    dlclose(library);
    return libfuse_process && libfuse_descriptor;
}

__attribute__((visibility("default"))) void fuse_session_process_buf(
    struct fuse_session *session, const struct fuse_buf *buffer)
{
    const struct request_header *header = buffer->memory;

    if (!libfuse_process && !bind_to_libfuse_of(__builtin_return_address(0)))
        abort(); /* the caller is linked with libfuse, or it could not have called */
    seen++;
    if (!(buffer->flags & BUFFER_IS_DESCRIPTOR) && buffer->size >= sizeof *header &&
        header->opcode < OPCODES && wanted_opcodes >> header->opcode & 1) {
        affs_requests_take(libfuse_descriptor(session), buffer->memory, buffer->size);
        return;
    }
    libfuse_process(session, buffer);
}

int affs_requests_claim(void)
{
    Dl_info self;

    if (!dladdr((void *)&wanted_opcodes, &self))
        return -1;
    return dlopen(self.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD) ? 0 : -1;
}

void affs_requests_begin(uint64_t wanted)
{
    wanted_opcodes = wanted;
}

uint64_t affs_requests_seen(void)
{
    return seen;
}
