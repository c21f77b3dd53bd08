/* The face of native/requests/ towards Python (cffi, native/build_requests.py). */

/* Let libraries that are loaded from now on find fuse_session_process_buf here. 0, or -1. */
int affs_requests_claim(void);

/* Take requests of the opcodes whose bits are set (below 64). WRITE (16) is among them only where
 * this module reads the requests itself (affs_requests_channel). */
void affs_requests_begin(uint64_t wanted);

/* Requests that came by so far, of whatever opcode. */
uint64_t affs_requests_seen(void);

/* Whether to read requests and to write libfuse's answers from here, from the first request on:
 * only so do WRITEs pass by, and can more be asked of the kernel than libfuse does. On at first. */
void affs_requests_use_channel(int on);

#define AFFS_CHANNEL_NONE 0  /* not yet, not wanted, or libfuse is too old */
#define AFFS_CHANNEL_PLAIN 1 /* ours, but the kernel has no HANDLE_KILLPRIV_V2 */
#define AFFS_CHANNEL_KILLS 2 /* and who writes is told by FUSE_WRITE_KILL_SUIDGID */
int affs_requests_channel(void);

/* What Python's side gives back when it could not even begin to answer: C answers EIO then. */
#define AFFS_TAKE_FAILED -2

/* The memory of a long WRITE, from whoever it was handed to. */
void affs_requests_give_back(void *memory);

/* Free what waits to be used again. */
void affs_requests_trim(void);
