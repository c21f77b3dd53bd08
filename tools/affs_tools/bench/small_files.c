/* What one small-file operation costs: six passes over COUNT files in one directory.
 *
 *   small_files DIRECTORY COUNT
 *
 * Prints one line for each pass: its name, and microseconds for each operation. C, because an
 * interpreter would cost as much as what it measures. Ends with status 1 at the first failure.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 4096 };

static int directory;
static char chunk[CHUNK];

static void must(int condition, const char *what)
{
    if (!condition) {
        perror(what);
        exit(1);
    }
}

static void name_of(char *name, size_t size, char set, long index)
{
    (void)snprintf(name, size, "%c%06ld", set, index);
}

static void make(long index, char set, int fill)
{
    char name[32];
    name_of(name, sizeof name, set, index);
    int file = openat(directory, name, O_CREAT | O_RDWR, 0644);
    must(file >= 0, "create");
    if (fill)
        must(write(file, chunk, CHUNK) == CHUNK, "write");
    must(close(file) == 0, "close");
}

static void create_empty(long index)
{
    make(index, 'e', 0);
}

static void create_filled(long index)
{
    make(index, 'f', 1);
}

static void look(long index)
{
    struct stat status;
    char name[32];
    name_of(name, sizeof name, 'e', index);
    must(fstatat(directory, name, &status, 0) == 0, "stat");
}

static void open_close(long index)
{
    char name[32];
    name_of(name, sizeof name, 'e', index);
    int file = openat(directory, name, O_RDONLY);
    must(file >= 0, "open");
    must(close(file) == 0, "close");
}

static void open_read(long index)
{
    char name[32];
    name_of(name, sizeof name, 'f', index);
    int file = openat(directory, name, O_RDONLY);
    must(file >= 0, "open");
    must(read(file, chunk, CHUNK) == CHUNK, "read");
    must(close(file) == 0, "close");
}

static void remove_both(long index)
{
    char name[32];
    name_of(name, sizeof name, 'e', index);
    must(unlinkat(directory, name, 0) == 0, "unlink");
    name_of(name, sizeof name, 'f', index);
    must(unlinkat(directory, name, 0) == 0, "unlink");
}

static double now_us(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec * 1e-3;
}

int main(int argument_count, char **arguments)
{
    static const struct {
        const char *name;
        void (*run)(long);
        int operations;
    } passes[] = {
        {"create+close", create_empty, 1},   {"create+write 4K+close", create_filled, 1},
        {"stat", look, 1},                   {"open+close", open_close, 1},
        {"open+read 4K+close", open_read, 1}, {"unlink", remove_both, 2},
    };
    if (argument_count != 3) {
        (void)fputs("usage: small_files DIRECTORY COUNT\n", stderr);
        return 2;
    }
    long count = strtol(arguments[2], NULL, 10);
    directory = open(arguments[1], O_RDONLY | O_DIRECTORY);
    must(directory >= 0, arguments[1]);
    memset(chunk, 7, sizeof chunk);
    for (size_t pass = 0; pass < sizeof passes / sizeof passes[0]; pass++) {
        double begin = now_us();
        for (long index = 0; index < count; index++)
            passes[pass].run(index);
        double each = (now_us() - begin) / (double)(count * passes[pass].operations);
        printf("%s\t%.2f\n", passes[pass].name, each);
    }
    return 0;
}
