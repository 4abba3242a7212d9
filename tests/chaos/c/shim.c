/* Preloaded into a replica: moves its clocks, and decides what a lookup of a name below `.chaos.test` gives.

   The file $CHAOS_ORDERS, mapped into memory, has the orders: seconds to add to the wall clock, the kind of lookup, and
   seconds to add to the monotonic clock, by which a program waits. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { FOUND = 0, NO_SUCH_NAME = 1, NO_ANSWER = 2, SECONDS_WITHOUT_ANSWER = 10 };

typedef struct {
    double seconds_ahead;
    double lookup;
    double seconds_skipped;
} Orders;

typedef int Lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static const volatile Orders *orders;
static Lookup *system_lookup;

__attribute__((constructor)) static void begin(void) {
    system_lookup = (Lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *path = getenv("CHAOS_ORDERS");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof(Orders), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) orders = mapped;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int status = (int)syscall(SYS_clock_gettime, id, now);
    if (status == 0 && orders != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        now->tv_sec += (time_t)orders->seconds_ahead;
    if (status == 0 && orders != NULL && id == CLOCK_MONOTONIC) now->tv_sec += (time_t)orders->seconds_skipped;
    return status;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result != NULL) *result = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict result, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    result->tv_sec = now.tv_sec;
    result->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    size_t length = node == NULL ? 0 : strlen(node);
    if (orders == NULL || length < 11 || strcmp(node + length - 11, ".chaos.test") != 0)
        return system_lookup(node, service, hints, found);
    if (orders->lookup == NO_SUCH_NAME) return EAI_NONAME;
    if (orders->lookup == NO_ANSWER) {
        sleep(SECONDS_WITHOUT_ANSWER);
        return EAI_AGAIN;
    }
    return system_lookup("127.0.0.1", service, hints, found);
}
