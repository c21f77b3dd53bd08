/* Requests that pyfuse3 has no handler for, taken off on their way into libfuse.
 *
 * pyfuse3 reads every request with libfuse and hands it to fuse_session_process_buf(). This file
 * has a function of that name. The dynamic linker binds pyfuse3 to it instead of libfuse's,
 * because this module is in the global scope before pyfuse3 is loaded (affs_requests_claim). A
 * request of an opcode that was asked for goes to Python, which answers it at the descriptor; all
 * others go on to libfuse as they are.
 *
 * WRITEs are taken off as well, where channel.c reads the requests (libfuse else leaves their data
 * in a pipe). A long one is handed over with the memory that it was read into: whoever reads
 * requests finds other memory in its place, so the data is not copied.
 *
 * Nothing here depends on libfuse's version but the first three members of struct fuse_buf, which
 * are part of its interface. This module is not linked with libfuse, so it cannot bring a second
 * copy of it: libfuse's own functions are those that the caller is linked with.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "affs_requests.h"
#include "channel.h"

struct fuse_session;

struct fuse_buf {
    size_t size;
    int flags;
    void *memory;
};

#define BUFFER_IS_DESCRIPTOR 2
#define OPCODES 64
#define HANDED_OVER_MIN (768 << 10) /* less would be kept in memory of more than its size */
#define SPARES_MAX 64

typedef void process_function(struct fuse_session *, const struct fuse_buf *);
typedef int descriptor_function(struct fuse_session *);

/* All of the length that libfuse reads requests into. Memory comes back from any thread. */
static pthread_mutex_t spares_lock = PTHREAD_MUTEX_INITIALIZER;
static void *spares[SPARES_MAX];
static unsigned spare_count;

static process_function *libfuse_process;
static descriptor_function *libfuse_descriptor;
static uint64_t wanted_opcodes;
static uint64_t seen;

/* Defined by cffi: fuse/requests.py. Called with the interpreter's lock held. */
static int affs_requests_take(int descriptor, void *request, size_t length);
static int64_t affs_requests_take_write(int descriptor, void *request, size_t length,
                                        int handed_over);

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
    channel_bind(library);
    dlclose(library);
    return libfuse_process && libfuse_descriptor;
}

static void *take_spare(void)
{
    void *memory;

    pthread_mutex_lock(&spares_lock);
    memory = spare_count ? spares[--spare_count] : NULL;
    pthread_mutex_unlock(&spares_lock);
    return memory;
}

/* From here, since Python would let go of the interpreter's lock and wait to get it back. */
static void answer_write(int descriptor, uint64_t unique, uint32_t written)
{
    struct {
        struct answer_header header;
        uint32_t written;
        uint32_t padding;
    } answer = {{sizeof answer, 0, unique}, written, 0};
    ssize_t done = write(descriptor, &answer, sizeof answer);

    (void)done; /* whoever asked was killed, or the mount is gone */
}

/* Python could not even begin: there is nobody else who would answer. */
static void answer_failure(int descriptor, uint64_t unique)
{
    struct answer_header answer = {sizeof answer, -EIO, unique};
    ssize_t done = write(descriptor, &answer, sizeof answer);

    (void)done;
}

/* The buffer is the caller's, which fills it anew for the next request. */
static void take_write(int descriptor, struct fuse_buf *buffer)
{
    void *request = buffer->memory;
    size_t length = buffer->size;
    uint64_t unique = ((const struct request_header *)request)->unique;
    int handed_over = length >= HANDED_OVER_MIN;
    int64_t written;

    if (handed_over)
        buffer->memory = take_spare(); /* libfuse allocates where there is none */
    written = affs_requests_take_write(descriptor, request, length, handed_over);
    if (written >= 0)
        answer_write(descriptor, unique, (uint32_t)written);
    else if (written == AFFS_TAKE_FAILED)
        answer_failure(descriptor, unique);
}

__attribute__((visibility("default"))) void fuse_session_process_buf(
    struct fuse_session *session, const struct fuse_buf *buffer)
{
    const struct request_header *header = buffer->memory;

    if (!libfuse_process && !bind_to_libfuse_of(__builtin_return_address(0)))
        abort(); /* the caller is linked with libfuse, or it could not have called */
    seen++;
    if (!(buffer->flags & BUFFER_IS_DESCRIPTOR) && buffer->size >= sizeof *header &&
        header->opcode < OPCODES) {
        if (header->opcode == OPCODE_INIT)
            channel_begin(session, libfuse_descriptor(session), buffer->memory, buffer->size);
        if (wanted_opcodes >> header->opcode & 1) {
            if (header->opcode != OPCODE_WRITE) {
                int descriptor = libfuse_descriptor(session);
                uint64_t unique = header->unique;

                if (affs_requests_take(descriptor, buffer->memory, buffer->size))
                    answer_failure(descriptor, unique);
                return;
            }
            if (affs_requests_channel() && buffer->size >= WRITE_HEADERS_SIZE) {
                take_write(libfuse_descriptor(session), (struct fuse_buf *)(uintptr_t)buffer);
                return;
            }
        }
    }
    libfuse_process(session, buffer);
}

void affs_requests_give_back(void *memory)
{
    pthread_mutex_lock(&spares_lock);
    if (spare_count < SPARES_MAX) {
        spares[spare_count++] = memory;
        memory = NULL;
    }
    pthread_mutex_unlock(&spares_lock);
    free(memory);
}

void affs_requests_trim(void)
{
    void *memory = take_spare();

    if (!memory)
        return;
    do {
        free(memory);
    } while ((memory = take_spare()));
#ifdef __GLIBC__
    malloc_trim(0); /* it keeps what lies below anything else */
#endif
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
