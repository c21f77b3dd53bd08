/* The way between libfuse and the kernel, for the two things that libfuse does not do.
 *
 * libfuse lets a program read its requests and write its answers (fuse_session_custom_io, since
 * 3.13). Both are plain read and writev here, so that the data of a WRITE arrives in memory instead
 * of a pipe. The answer to INIT, which says what the filesystem can do, gets one flag more:
 * HANDLE_KILLPRIV_V2. By it the kernel leaves taking setuid and setgid to the daemon and tells it
 * whose write does so, and it does not ask for security.capability before each write any more.
 */
#include <dlfcn.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "affs_requests.h"
#include "channel.h"

#define HANDLE_KILLPRIV_V2 (1u << 28)

/* Both have their flags as the fourth member of four bytes. */
#define INIT_FLAGS_AT 12

struct fuse_custom_io {
    ssize_t (*writev)(int descriptor, struct iovec *parts, int count, void *user);
    ssize_t (*read)(int descriptor, void *memory, size_t length, void *user);
    ssize_t (*splice_receive)(int, off_t *, int, off_t *, size_t, unsigned, void *);
    ssize_t (*splice_send)(int, off_t *, int, off_t *, size_t, unsigned, void *);
};

typedef int custom_io_function(struct fuse_session *, const struct fuse_custom_io *, int);

static custom_io_function *libfuse_custom_io;
static int use_channel = 1;
static int channel = AFFS_CHANNEL_NONE;
static uint64_t init_unique; /* of an INIT whose answer gets the flag */
static int init_waits;

static void add_flag(const struct answer_header *head, const struct iovec *body)
{
    char *flags_at = (char *)body->iov_base + INIT_FLAGS_AT;
    uint32_t flags;

    if (head->error || body->iov_len < INIT_FLAGS_AT + sizeof flags)
        return;
    memcpy(&flags, flags_at, sizeof flags);
    flags |= HANDLE_KILLPRIV_V2;
    memcpy(flags_at, &flags, sizeof flags);
    channel = AFFS_CHANNEL_KILLS;
}

static ssize_t write_answer(int descriptor, struct iovec *parts, int count, void *user)
{
    (void)user;
    if (init_waits && count >= 2 && parts[0].iov_len == sizeof(struct answer_header)) {
        const struct answer_header *head = parts[0].iov_base;
        if (head->unique == init_unique) {
            init_waits = 0;
            add_flag(head, &parts[1]);
        }
    }
    return writev(descriptor, parts, count);
}

static ssize_t read_request(int descriptor, void *memory, size_t length, void *user)
{
    (void)user;
    return read(descriptor, memory, length);
}

void channel_bind(void *library)
{
    /* The version whose structure has the four members above; newer libfuse has it as well. */
    libfuse_custom_io =
        (custom_io_function *)dlvsym(library, "fuse_session_custom_io", "FUSE_3.0");
}

void channel_begin(struct fuse_session *session, int descriptor, const void *request, size_t length)
{
    static const struct fuse_custom_io io = {.writev = write_answer, .read = read_request};
    const struct request_header *header = request;
    uint32_t offered;

    channel = AFFS_CHANNEL_NONE;
    init_waits = 0;
    if (!use_channel || !libfuse_custom_io || length < sizeof *header + INIT_FLAGS_AT + 4 ||
        libfuse_custom_io(session, &io, descriptor))
        return;
    channel = AFFS_CHANNEL_PLAIN;
    memcpy(&offered, (const char *)request + sizeof *header + INIT_FLAGS_AT, sizeof offered);
    if (offered & HANDLE_KILLPRIV_V2) {
        init_unique = header->unique;
        init_waits = 1;
    }
}

void affs_requests_use_channel(int on)
{
    use_channel = on;
}

int affs_requests_channel(void)
{
    return channel;
}
