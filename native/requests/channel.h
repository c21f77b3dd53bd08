/* What of the FUSE protocol is looked at before libfuse (linux/fuse.h), and the channel to the
 * kernel that libfuse then uses (channel.c). */
#ifndef AFFS_CHANNEL_H
#define AFFS_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#define OPCODE_WRITE 16
#define OPCODE_INIT 26

struct fuse_session;

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

struct answer_header {
    uint32_t length;
    int32_t error;
    uint64_t unique;
};

#define WRITE_HEADERS_SIZE (sizeof(struct request_header) + 40)

/* Find what libfuse has for it; library: of dlopen. */
void channel_bind(void *library);

/* INIT has come: from now on requests are read, and libfuse's answers written, here. */
void channel_begin(struct fuse_session *session, int descriptor, const void *request,
                   size_t length);

#endif
