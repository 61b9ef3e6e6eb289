/*
 * Load on a real corosync node: the counterpart of corotwist.tools.load, with
 * the same message layout, the same roles and the same keys in its report.
 *
 *   load GROUP ROLE SIZE SECONDS MEMBERS SENDERS
 *
 * ROLE is send, recv or ping.
 */
#include <corosync/cpg.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    MAGIC = 0x43504C44,
    DATA = 1,
    END = 2,
    SMALLEST = 64,
    SENDERS = 64,
    DELAYS = 1 << 20,
    SAMPLE = 16,
    TURN = 64, /* messages between looks at what came in */
    PATIENCE_S = 60
};

struct header {
    uint32_t magic, kind;
    uint64_t number;
    int64_t sentNs;
    uint32_t size, zero;
};

static cpg_handle_t handle;
static int descriptor;
static uint32_t nodeid;
static unsigned wantedMembers, wantedSenders, ended;
static int complete, pinging;
static uint64_t sent, delivered, bytes, outOfOrder, delays;
static int64_t delay[DELAYS], first, last;
static int ponged;
static struct {
    uint32_t nodeid, pid;
    uint64_t next;
} senders[SENDERS];

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what, int error)
{
    fprintf(stderr, "load: %s: error %d\n", what, error);
    exit(1);
}

static void count(uint32_t node, uint32_t pid, uint64_t number)
{
    for (int i = 0; i < SENDERS; i++) {
        if (!senders[i].nodeid) {
            senders[i].nodeid = node;
            senders[i].pid = pid;
        }
        if (senders[i].nodeid == node && senders[i].pid == pid) {
            outOfOrder += senders[i].next != number;
            senders[i].next = number + 1;
            return;
        }
    }
}

static void onMessage(cpg_handle_t h, const struct cpg_name *group, uint32_t node,
                      uint32_t pid, void *message, size_t size)
{
    struct header header;
    int64_t at;

    (void)h;
    (void)group;
    if (size < sizeof header)
        return;
    memcpy(&header, message, sizeof header);
    count(node, pid, header.number);
    if (header.kind == END) {
        ended++;
        return;
    }
    delivered++;
    bytes += size;
    if (header.number % SAMPLE && !pinging)
        return;
    at = now();
    last = at;
    if (!first)
        first = at;
    if (delays < DELAYS)
        delay[delays++] = at - header.sentNs;
    if (node == nodeid && pid == (uint32_t)getpid())
        ponged = 1;
}

static void onView(cpg_handle_t h, const struct cpg_name *group,
                   const struct cpg_address *members, size_t memberCount,
                   const struct cpg_address *left, size_t leftCount,
                   const struct cpg_address *joined, size_t joinedCount)
{
    (void)h;
    (void)group;
    (void)members;
    (void)left;
    (void)leftCount;
    (void)joined;
    (void)joinedCount;
    if (memberCount >= wantedMembers)
        complete = 1;
}

static void pump(int milliseconds)
{
    struct pollfd ready = {descriptor, POLLIN, 0};
    cs_error_t error;

    if (milliseconds && poll(&ready, 1, milliseconds) <= 0)
        return;
    error = cpg_dispatch(handle, CS_DISPATCH_ALL);
    if (error != CS_OK && error != CS_ERR_TRY_AGAIN)
        fail("dispatch", error);
}

static int offer(char *message, uint32_t kind, uint32_t size)
{
    struct header header = {MAGIC, kind, sent, now(), size, 0};
    struct iovec part = {message, size};
    cs_error_t error;

    memcpy(message, &header, sizeof header);
    error = cpg_mcast_joined(handle, CPG_TYPE_AGREED, &part, 1);
    if (error == CS_ERR_TRY_AGAIN)
        return 0;
    if (error != CS_OK)
        fail("mcast", error);
    sent++;
    return 1;
}

static void flood(char *message, uint32_t size, int64_t end)
{
    while (now() < end) {
        int taken = 1;

        for (int i = 0; i < TURN && taken; i++)
            taken = offer(message, DATA, size);
        pump(taken ? 0 : 1);
    }
}

static void ping(char *message, uint32_t size, int64_t end)
{
    while (now() < end) {
        ponged = 0;
        while (!offer(message, DATA, size))
            pump(1);
        while (!ponged)
            pump(100);
    }
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static double quantile(double share)
{
    return delays ? delay[(size_t)(share * (delays - 1))] / 1000.0 : 0;
}

static void report(const char *role, uint32_t size, double sending)
{
    double span = (last - first) / 1e9;
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    qsort(delay, delays, sizeof *delay, ascending);
    printf("{\"role\": \"%s\", \"node\": %u, \"size\": %u, \"sent\": %" PRIu64
           ", \"delivered\": %" PRIu64 ", \"bytes\": %" PRIu64
           ", \"span_s\": %.4f, \"send_s\": %.4f, \"delivered_per_s\": %.1f"
           ", \"MBps\": %.3f, \"lat_us\": {\"n\": %" PRIu64
           ", \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %.1f}"
           ", \"client_cpu_s\": %.3f, \"seq_errors\": %" PRIu64 ", \"ends\": %u}\n",
           role, nodeid, size, sent, delivered, bytes, span, sending,
           span > 0 ? delivered / span : 0, span > 0 ? bytes / span / 1e6 : 0, delays,
           quantile(.5), quantile(.9), quantile(.99), quantile(1),
           used.ru_utime.tv_sec + used.ru_stime.tv_sec +
               (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6,
           outOfOrder, ended);
}

static void join(const char *name)
{
    cpg_model_v1_data_t model = {CPG_MODEL_V1, onMessage, onView, NULL, 0};
    struct cpg_name group;
    int64_t end = now() + PATIENCE_S * 1000000000LL;
    cs_error_t error;

    while ((error = cpg_model_initialize(&handle, CPG_MODEL_V1,
                                         (cpg_model_data_t *)&model, NULL)) != CS_OK) {
        if (now() > end)
            fail("initialize", error);
        usleep(20000);
    }
    cpg_local_get(handle, &nodeid);
    cpg_fd_get(handle, &descriptor);
    group.length = strlen(name);
    memcpy(group.value, name, group.length);
    while ((error = cpg_join(handle, &group)) == CS_ERR_TRY_AGAIN)
        usleep(1000);
    if (error != CS_OK)
        fail("join", error);
}

int main(int argc, char **argv)
{
    uint32_t size;
    int64_t started, end;
    double seconds, sending;
    const char *role;
    char *message;

    if (argc != 7) {
        fprintf(stderr, "load GROUP ROLE SIZE SECONDS MEMBERS SENDERS\n");
        return 2;
    }
    role = argv[2];
    size = strtoul(argv[3], NULL, 10);
    seconds = strtod(argv[4], NULL);
    wantedMembers = strtoul(argv[5], NULL, 10);
    wantedSenders = strtoul(argv[6], NULL, 10);
    size = size < SMALLEST ? SMALLEST : size;
    message = calloc(1, size);
    pinging = !strcmp(role, "ping");
    join(argv[1]);
    end = now() + PATIENCE_S * 1000000000LL;
    while (!complete && now() < end)
        pump(50);
    started = now();
    end = started + (int64_t)(seconds * 1e9);
    if (!strcmp(role, "send"))
        flood(message, size, end);
    else if (pinging)
        ping(message, size, end);
    if (strcmp(role, "recv"))
        while (!offer(message, END, SMALLEST))
            pump(1);
    sending = (now() - started) / 1e9;
    end = now() + PATIENCE_S * 1000000000LL;
    while (ended < wantedSenders && now() < end)
        pump(50);
    report(role, size, sending);
    cpg_finalize(handle);
    return ended < wantedSenders;
}
