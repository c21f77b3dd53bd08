/* The face of native/requests/requests.c towards Python (cffi, native/build_requests.py). */

/* Let libraries that are loaded from now on find fuse_session_process_buf here. 0, or -1. */
int affs_requests_claim(void);

/* Take requests of the opcodes whose bits are set (below 64). */
void affs_requests_begin(uint64_t wanted);

/* Requests that came by so far, of whatever opcode. */
uint64_t affs_requests_seen(void);
