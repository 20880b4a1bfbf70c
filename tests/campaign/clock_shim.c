/*
 * A wall clock that can be set, for one group of processes: preloaded, it adds an offset to CLOCK_REALTIME and leaves
 * the monotonic clock alone. The offset is eight bytes (nanoseconds) in the file that TEST_CLOCK names, mapped, so that
 * a write to that file sets the clock of every process that runs or will run under it, at once.
 *
 * What waits until an absolute wall time is woken at least twice a second, so that it sees a clock that was set.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define SLICE (SECOND / 2)

static const volatile int64_t zero = 0;
static const volatile int64_t *offset = &zero;
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static long (*real_syscall)(long, ...);

__attribute__((constructor)) static void open_clock(void) {
    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    real_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    const char *path = getenv("TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) offset = page;
}

static void shift(struct timespec *at, int64_t by) {
    int64_t whole = at->tv_sec * SECOND + at->tv_nsec + by;
    at->tv_sec = whole / SECOND;
    at->tv_nsec = whole % SECOND;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    if (!real_clock_gettime) open_clock();
    int result = real_clock_gettime(which, now);
    if (result == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) shift(now, *offset);
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec at;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &at);
    now->tv_sec = at.tv_sec;
    now->tv_usec = at.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (where) *where = at.tv_sec;
    return at.tv_sec;
}

/* gRPC's and libev's ways to the clock that pass the functions above by. */
long syscall(long number, ...) {
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    if (!real_syscall) open_clock();
    if (number == SYS_clock_gettime) return clock_gettime((clockid_t)a[0], (struct timespec *)a[1]);
    if (number == SYS_futex && (a[1] & FUTEX_CLOCK_REALTIME) && a[3]) {
        struct timespec until = *(struct timespec *)a[3], slice;
        real_clock_gettime(CLOCK_REALTIME, &slice);
        shift(&slice, SLICE);
        shift(&until, -*offset);
        int ends = until.tv_sec < slice.tv_sec || (until.tv_sec == slice.tv_sec && until.tv_nsec <= slice.tv_nsec);
        long result = real_syscall(number, a[0], a[1], a[2], ends ? &until : &slice, a[4], a[5]);
        if (result == -1 && errno == ETIMEDOUT && !ends) errno = EINTR; /* a waiter asks again after EINTR */
        return result;
    }
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
