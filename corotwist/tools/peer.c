/*
 * A client of the C library libcpg, for rings with real corosync.
 *
 *   peer GROUP
 *
 * It joins GROUP and prints one JSON object per line for everything that it is
 * told, with the time in nanoseconds.  On its standard input it takes
 *
 *   send SIZE COUNT     COUNT messages of SIZE bytes each
 *   leave               leave the group, and go on printing
 *   quit
 *
 * A message of 16 bytes or more begins with four little endian words: the
 * sender's nodeid, the sender's count of messages, SIZE, and the CRC-32 of what
 * follows; peer.py writes and reads the same.
 */
#include <corosync/cpg.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER_BYTES = 16,
    LARGEST_BYTES = 16 << 20,
    PATIENCE_MS = 60000, /* for anything that the daemon puts off */
    PAUSE_MS = 2,
    LINE_BYTES = 128
};

static cpg_handle_t handle;
static struct cpg_name group;
static unsigned nodeid;
static uint32_t sequence;
static uint32_t table[256];

static void makeTable(void)
{
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        table[n] = c;
    }
}

static uint32_t checksum(const uint8_t *data, size_t size)
{
    uint32_t c = 0xFFFFFFFFu;

    for (size_t i = 0; i < size; i++)
        c = table[(c ^ data[i]) & 0xFF] ^ (c >> 8);
    return c ^ 0xFFFFFFFFu;
}

static void put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = value >> (8 * i);
}

static uint32_t get32(const uint8_t *at)
{
    return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static int64_t nanoseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int64_t milliseconds(void)
{
    return nanoseconds() / 1000000;
}

/* The beginning of a line. */
static void event(const char *name)
{
    printf("{\"t\": %" PRId64 ", \"event\": \"%s\"", nanoseconds(), name);
}

static void die(const char *what, int code)
{
    event("gone");
    printf(", \"why\": \"%s\", \"code\": %d}\n", what, code);
    fflush(stdout);
    exit(1);
}

static void delivered(cpg_handle_t h, const struct cpg_name *name, uint32_t from,
                      uint32_t pid, void *message, size_t length)
{
    const uint8_t *data = message;
    int intact = 1;
    long number = -1;

    if (length >= HEADER_BYTES) {
        number = get32(data + 4);
        intact = get32(data) == from && get32(data + 8) == length &&
                 get32(data + 12) ==
                     checksum(data + HEADER_BYTES, length - HEADER_BYTES);
    }
    event("message");
    printf(", \"nodeid\": %u, \"pid\": %u, \"length\": %zu, "
           "\"sequence\": %ld, \"digest\": %u, \"intact\": %s}\n",
           from, pid, length, number, checksum(data, length),
           intact ? "true" : "false");
}

static void printProcesses(const char *key, const struct cpg_address *list,
                           size_t count)
{
    printf(", \"%s\": [", key);
    for (size_t i = 0; i < count; i++)
        printf("%s[%u, %u, %u]", i ? ", " : "", list[i].nodeid, list[i].pid,
               list[i].reason);
    printf("]");
}

static void viewChanged(cpg_handle_t h, const struct cpg_name *name,
                        const struct cpg_address *members, size_t memberCount,
                        const struct cpg_address *left, size_t leftCount,
                        const struct cpg_address *joined, size_t joinedCount)
{
    event("view");
    printProcesses("members", members, memberCount);
    printProcesses("left", left, leftCount);
    printProcesses("joined", joined, joinedCount);
    printf("}\n");
}

static void ringChanged(cpg_handle_t h, struct cpg_ring_id ring, uint32_t count,
                        const uint32_t *members)
{
    event("ring");
    printf(", \"representative\": %u, \"sequence\": %" PRIu64
           ", \"members\": [",
           ring.nodeid, ring.seq);
    for (uint32_t i = 0; i < count; i++)
        printf("%s%u", i ? ", " : "", members[i]);
    printf("]}\n");
}

static void dispatch(void)
{
    int code = cpg_dispatch(handle, CS_DISPATCH_ALL);

    if (code != CS_OK && code != CS_ERR_TRY_AGAIN)
        die("dispatch", code);
    fflush(stdout);
}

/* Did the daemon say "later"?  Then hear what it has to say meanwhile. */
static int postponed(int code, const char *what, int64_t deadline)
{
    struct timespec pause = {0, PAUSE_MS * 1000000L};

    if (code == CS_OK)
        return 0;
    if (code != CS_ERR_TRY_AGAIN || milliseconds() > deadline)
        die(what, code);
    dispatch();
    nanosleep(&pause, NULL);
    return 1;
}

static void sendOne(uint8_t *data, size_t size)
{
    struct iovec part = {data, size};
    int64_t deadline = milliseconds() + PATIENCE_MS;

    for (size_t i = 0; i < size; i++)
        data[i] = nodeid + sequence + i;
    if (size >= HEADER_BYTES) {
        put32(data, nodeid);
        put32(data + 4, sequence);
        put32(data + 8, size);
        put32(data + 12, checksum(data + HEADER_BYTES, size - HEADER_BYTES));
    }
    while (postponed(cpg_mcast_joined(handle, CPG_TYPE_AGREED, &part, 1), "send",
                     deadline))
        ;
    sequence++;
}

static void sendMany(size_t size, unsigned count)
{
    uint8_t *data = malloc(size ? size : 1);

    if (!data || size > LARGEST_BYTES)
        die("size", 0);
    /* On file before the first of them leaves. */
    event("sending");
    printf(", \"first\": %u, \"size\": %zu, \"count\": %u}\n", sequence, size,
           count);
    fflush(stdout);
    for (unsigned i = 0; i < count; i++) {
        sendOne(data, size);
        dispatch();
    }
    free(data);
    event("sent");
    printf(", \"size\": %zu, \"count\": %u}\n", size, count);
    fflush(stdout);
}

static void leave(void)
{
    int64_t deadline = milliseconds() + PATIENCE_MS;

    event("leaving");
    printf("}\n");
    fflush(stdout);
    while (postponed(cpg_leave(handle, &group), "leave", deadline))
        ;
}

static void obey(const char *line)
{
    size_t size;
    unsigned count;

    if (sscanf(line, "send %zu %u", &size, &count) == 2)
        sendMany(size, count);
    else if (!strcmp(line, "leave"))
        leave();
    else if (!strcmp(line, "quit"))
        exit(0);
    else
        die("command", 0);
}

/* Commands come from a pipe, several at once or in parts. */
static void readCommands(void)
{
    static char buffer[LINE_BYTES * 16];
    static size_t used;
    char *end;
    ssize_t got = read(0, buffer + used, sizeof buffer - used - 1);

    if (got <= 0)
        exit(0);
    used += got;
    buffer[used] = 0;
    while ((end = strchr(buffer, '\n'))) {
        char line[LINE_BYTES] = {0};
        size_t length = end - buffer;

        if (length >= sizeof line)
            die("command", 0);
        memcpy(line, buffer, length);
        used -= length + 1;
        memmove(buffer, end + 1, used + 1);
        obey(line);
    }
}

static void connectAndJoin(void)
{
    cpg_model_v1_data_t model = {CPG_MODEL_V1, delivered, viewChanged, ringChanged,
                                 0};
    struct timespec pause = {0, 20 * 1000000L};
    int64_t deadline = milliseconds() + PATIENCE_MS;
    int code;

    while ((code = cpg_model_initialize(&handle, CPG_MODEL_V1,
                                        (cpg_model_data_t *)&model, NULL)) != CS_OK) {
        if (milliseconds() > deadline)
            die("initialize", code);
        nanosleep(&pause, NULL);
    }
    if ((code = cpg_local_get(handle, &nodeid)) != CS_OK)
        die("nodeid", code);
    while (postponed(cpg_join(handle, &group), "join", deadline))
        ;
    event("ready");
    printf(", \"nodeid\": %u, \"pid\": %d}\n", nodeid, getpid());
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct pollfd ready[2] = {{0, POLLIN, 0}, {-1, POLLIN, 0}};

    if (argc != 2 || strlen(argv[1]) > CPG_MAX_NAME_LENGTH) {
        fprintf(stderr, "usage: peer GROUP\n");
        return 2;
    }
    group.length = strlen(argv[1]);
    memcpy(group.value, argv[1], group.length);
    makeTable();
    connectAndJoin();
    cpg_fd_get(handle, &ready[1].fd);
    for (;;) {
        dispatch();
        if (poll(ready, 2, -1) < 0)
            die("poll", 0);
        if (ready[0].revents)
            readCommands();
    }
}
