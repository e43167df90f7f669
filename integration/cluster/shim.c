/* Makes the wall clock of a process wrong and its disk slow, as a file says that is mapped into memory:
 * two numbers, nanoseconds added to the wall clock and microseconds by which each sync is late. The
 * monotonic clock stays right, as it does on real machines. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int64_t offset_ns;
    volatile int64_t sync_us;
};

static struct control *control;

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("TRIBUNE_SHIM");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *map = mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (map != MAP_FAILED)
        control = map;
}

static void shift(struct timespec *time)
{
    if (!control)
        return;
    int64_t all = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + control->offset_ns;
    time->tv_sec = all / 1000000000;
    time->tv_nsec = all % 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        shift(time);
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into)
        *into = now.tv_sec;
    return now.tv_sec;
}

static void be_late(void)
{
    if (control && control->sync_us > 0)
        usleep((useconds_t)control->sync_us);
}

int fsync(int file)
{
    be_late();
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
    be_late();
    return (int)syscall(SYS_fdatasync, file);
}
