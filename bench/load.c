/* A load generator for WebSocket fan-out: one thread, epoll, closed loop.
 *
 * R rooms of C clients. The first client of each room publishes; a message is complete
 * when every client of the room has it, and then the next one goes out, so that W of
 * them are always in flight. Every text carries its run, its room and its sequence
 * number, whatever the server wraps around it: each client checks that it gets each
 * message of its room once and in order.
 *
 * Build: cc -O2 -Wall -Wextra -o load load.c        Options: ./load --help
 * The result is one line of JSON on stdout.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char HELP[] =
    "usage: load --port PORT [options]\n"
    "  --path PATH          of the handshake; %r is the room            (/)\n"
    "  --rooms R --clients C --window W                                 (1, 1, 1)\n"
    "  --bytes B            length of the text that is published        (100)\n"
    "  --hello MESSAGE      sent after the handshake; repeatable; %r\n"
    "  --ready TEXT         a client is ready when a frame has this     (at the 101)\n"
    "  --publish TEMPLATE   %p the text, %s its number, %r the room     (%p)\n"
    "  --answer FRAME=REPLY a frame that is answered\n"
    "  --messages N         each room has this many messages, then it is silent\n"
    "  --leave MESSAGE      instead of a load, the last client of the first room sends this and\n"
    "                       the first --hello in turn\n"
    "  --pace N             how many of them a second                   (20)\n"
    "  --return TEMPLATE    after the messages, print, and read a line from stdin:\n"
    "                       MISSED PID..., the messages that each room had in the meantime and\n"
    "                       the processes of the new server. Then all connect again and send\n"
    "                       this; %p is the epoch and %s the offset of the last message\n"
    "  --recovered TEXT     the frame with the text of --ready has this too if the missed\n"
    "                       messages follow\n"
    "  --concurrency N      handshakes under way                        (64)\n"
    "  --linger S           the connecting ends this long after the last client is ready (0)\n"
    "  --settle S           seconds between the last client and the load (1)\n"
    "  --warmup S --seconds S   measured are the second; 0: only connect (1, 4)\n"
    "  --hold               after connecting, print, and stay until stdin ends\n"
    "  --stall K            the last K clients of the first room stop reading when ready\n"
    "  --rest US            pause between looking at the sockets: fewer wake-ups (100)\n"
    "  --patience S         then a message counts as lost               (2)\n"
    "  --deadline S         all clients are ready by then               (60)\n"
    "  --core K             the core to run on, and to report on\n"
    "  --pid PID            a process whose CPU and memory to report; repeatable\n";

enum { SLOTS = 256, MAX_HELLO = 8, MAX_PIDS = 32, MAX_SECONDS = 600, READ_BYTES = 1 << 20 };
enum { EPOCH_BYTES = 64 };
enum { MARK_BYTES = 18 }; /* @@ RRRR rrrr ssssssss: run, room and sequence in hex */

enum state { CONNECTING, UPGRADING, JOINING, READY, STALLED, CLOSED };

struct buffer { char *data; size_t length, capacity; };

struct client {
    int fd;
    unsigned room;
    enum state state;
    bool stalls;
    bool joined, recovered;     /* after it has returned */
    char epoch[EPOCH_BYTES];    /* the position of the last message, with --return */
    uint64_t offset;
    uint32_t next;              /* the sequence number after the highest one seen */
    uint64_t seen;              /* bit n: next-1-n was seen */
    uint32_t missing;           /* below next and not seen */
    struct buffer in, out;      /* an incomplete frame; what the socket did not take */
};

struct slot { uint32_t sequence; unsigned received; bool open; uint64_t sent_at; };

struct room {
    struct client *publisher;
    unsigned members;           /* those that read */
    unsigned in_flight;
    uint32_t next;              /* the sequence number of the next message */
    struct slot slots[SLOTS];
};

struct usage {
    uint64_t at, own, pids[MAX_PIDS], sent, received;
    long idle, total, rss[MAX_PIDS];
};

static struct {
    int port, rooms, clients, window, bytes, concurrency, stall, rest, core, messages, pace;
    int hellos, pids, pid[MAX_PIDS];
    const char *path, *hello[MAX_HELLO], *ready, *publish, *frame, *reply;
    const char *leave, *back, *recovered;
    double linger, settle, warmup, seconds, patience, deadline;
    bool hold;
} options = {.rooms = 1, .clients = 1, .window = 1, .bytes = 100, .concurrency = 64, .rest = 100,
             .pace = 20, .core = -1, .path = "/", .publish = "%p", .settle = 1, .warmup = 1, .seconds = 4,
             .patience = 2, .deadline = 60};

static int epoll;
static unsigned run;            /* tells this run's messages from those of an earlier one */
static struct client *clients;
static struct room *rooms;
static unsigned client_count, started, ready_count, closed_count, close_code;
static bool publishing, measuring, returning;
static uint64_t bytes_sent, bytes_received;
static uint64_t published, deliveries, doubled, reordered, given_up, strangers;
static uint64_t measure_from, per_second[MAX_SECONDS];
static uint64_t histogram[64 * 64]; /* of nanoseconds: 64 steps for every power of two */

static void fail(const char *what) {
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    if (clock_gettime(clock, &now) < 0) return 0; /* the process has ended */
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static void append(struct buffer *buffer, const void *data, size_t length) {
    if (buffer->length + length > buffer->capacity) {
        buffer->capacity = 2 * (buffer->length + length);
        buffer->data = realloc(buffer->data, buffer->capacity);
        if (!buffer->data) fail("memory");
    }
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
}

/* Replace %r, %s and %p in a template. The result is valid until the next call. */
static const char *fill(const char *template, unsigned room, uint64_t number, const char *text) {
    static char *result;
    size_t length;
    free(result);
    FILE *out = open_memstream(&result, &length);
    for (const char *c = template; *c; c++) {
        if (*c != '%') fputc(*c, out);
        else if (*++c == 'r') fprintf(out, "bench-%04x-%u", run, room);
        else if (*c == 's') fprintf(out, "%lu", number);
        else if (*c == 'p') fputs(text, out);
        else if (*c == '%') fputc('%', out);
        else fail("a template knows %r, %s, %p and %%");
    }
    fclose(out);
    return result;
}

/* --- Sockets and frames --------------------------------------------------------- */

static void watch(struct client *client, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(epoll, operation, client->fd, &event) < 0) fail("epoll_ctl");
}

static void close_client(struct client *client) {
    if (client->state == CLOSED) return;
    if (client->state < READY) {
        errno = 0;
        fail("a client was refused or closed before it was ready");
    }
    if (!client->stalls) rooms[client->room].members--;
    client->state = CLOSED;
    closed_count++;
    close(client->fd);
}

static void flush(struct client *client) {
    struct buffer *out = &client->out;
    ssize_t sent = send(client->fd, out->data, out->length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return; /* reading will tell */
    if (sent > 0) {
        out->length -= (size_t)sent;
        memmove(out->data, out->data + sent, out->length);
    }
    watch(client, EPOLL_CTL_MOD, out->length ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void send_bytes(struct client *client, const void *data, size_t length) {
    ssize_t sent = 0;
    bytes_sent += length;
    if (!client->out.length) sent = send(client->fd, data, length, MSG_NOSIGNAL);
    if (sent == (ssize_t)length) return;
    if (sent < 0) sent = 0;
    append(&client->out, (const char *)data + sent, length - (size_t)sent);
    flush(client);
}

/* A final frame. The masking key is zero: the server has the work, we do not. */
static void send_frame(struct client *client, int opcode, const char *payload, size_t length) {
    static unsigned char frame[1 << 17];
    size_t head = 2;
    if (length > sizeof frame - 16 || length > 65535) fail("a frame is too long");
    frame[0] = (unsigned char)(0x80 | opcode);
    if (length < 126) {
        frame[1] = (unsigned char)(0x80 | length);
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = (unsigned char)(length >> 8);
        frame[3] = (unsigned char)length;
        head = 4;
    }
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, payload, length);
    send_bytes(client, frame, head + 4 + length);
}

static void open_client(struct client *client) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, small = 4096;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0) fail("socket");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (client->stalls) setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0 &&
        errno != EINPROGRESS)
        fail("connect");
    watch(client, EPOLL_CTL_ADD, EPOLLOUT);
}

static void open_more(void) {
    while (started < client_count && started - ready_count < (unsigned)options.concurrency)
        open_client(&clients[started++]);
}

static void upgrade(struct client *client) {
    static const char REQUEST[] =
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    char request[2048];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if ((errno = error)) fail("connect");
    snprintf(request, sizeof request, REQUEST, fill(options.path, client->room, 0, ""),
             options.port);
    client->state = UPGRADING;
    watch(client, EPOLL_CTL_MOD, EPOLLIN);
    send_bytes(client, request, strlen(request));
}

static void become_ready(struct client *client) {
    client->state = READY;
    if (client->stalls) {
        client->state = STALLED;
        watch(client, EPOLL_CTL_DEL, 0);
    }
    ready_count++;
    open_more();
}

static void upgraded(struct client *client) {
    client->state = JOINING;
    for (int i = 0; i < options.hellos && !returning; i++) {
        const char *hello = fill(options.hello[i], client->room, 0, "");
        send_frame(client, 1, hello, strlen(hello));
    }
    if (returning) {
        const char *hello = fill(options.back, client->room, client->offset, client->epoch);
        send_frame(client, 1, hello, strlen(hello));
    }
    if (!options.ready) become_ready(client);
}

/* --- Messages ------------------------------------------------------------------- */

static void publish(struct room *room, unsigned number) {
    static char *text;
    struct slot *slot = &room->slots[room->next % SLOTS];
    if (!text) {
        text = malloc((size_t)options.bytes + 1);
        if (!text) fail("memory");
        memset(text, 'x', (size_t)options.bytes);
        text[options.bytes] = 0;
    }
    char mark[MARK_BYTES + 1];
    snprintf(mark, sizeof mark, "@@%04x%04x%08x", run, number & 0xffff, room->next);
    memcpy(text, mark, MARK_BYTES);
    *slot = (struct slot){.sequence = room->next, .open = true, .sent_at = now_ns()};
    room->in_flight++;
    published++;
    const char *message = fill(options.publish, number, room->next++, text);
    send_frame(room->publisher, 1, message, strlen(message));
}

static void publish_more(unsigned number) {
    struct room *room = &rooms[number];
    while (publishing && room->in_flight < (unsigned)options.window && room->members &&
           room->publisher->state == READY &&
           (!options.messages || room->next < (unsigned)options.messages))
        publish(room, number);
}

static void record(uint64_t latency, uint64_t now) {
    unsigned shift = latency < 64 ? 0 : 57 - (unsigned)__builtin_clzll(latency);
    histogram[(uint64_t)shift * 64 + (latency >> shift)]++; /* 64 to 127, once shifted */
    deliveries++;
    uint64_t second = (now - measure_from) / 1000000000;
    if (second < MAX_SECONDS) per_second[second]++;
}

/* Whether this is the first time that the client gets it. */
static bool is_new(struct client *client, uint32_t sequence) {
    if (sequence >= client->next) {
        uint32_t gap = sequence - client->next;
        client->missing += gap;
        client->seen = gap < 63 ? client->seen << (gap + 1) | 1 : 1;
        client->next = sequence + 1;
        return true;
    }
    uint32_t age = client->next - 1 - sequence;
    if (age >= 64 || client->seen >> age & 1) {
        doubled++;
        return false;
    }
    client->seen |= UINT64_C(1) << age;
    client->missing--;
    reordered++;
    return true;
}

static long hex(const char *digits, int count) {
    long value = 0;
    for (int i = 0; i < count; i++) {
        unsigned char c = (unsigned char)digits[i];
        value = value << 4 | (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return value;
}

static void on_message(struct client *client, const char *mark, uint64_t now) {
    if (hex(mark + 2, 4) != (long)run) return; /* the history of an earlier run */
    if (hex(mark + 6, 4) != (long)(client->room & 0xffff)) {
        strangers++;
        return;
    }
    uint32_t sequence = (uint32_t)hex(mark + 10, 8);
    struct room *room = &rooms[client->room];
    struct slot *slot = &room->slots[sequence % SLOTS];
    if (!is_new(client, sequence) || slot->sequence != sequence || !slot->open) return;
    if (measuring) record(now - slot->sent_at, now);
    if (++slot->received >= room->members) {
        slot->open = false;
        room->in_flight--;
        publish_more(client->room);
    }
}

static void note_position(struct client *client, const char *payload, size_t length) {
    static const char EPOCH[] = "\"epoch\":\"", OFFSET[] = "\"offset\":";
    const char *end = payload + length;
    const char *epoch = memmem(payload, length, EPOCH, sizeof EPOCH - 1);
    const char *offset = memmem(payload, length, OFFSET, sizeof OFFSET - 1);
    if (epoch) {
        const char *from = epoch + sizeof EPOCH - 1;
        const char *quote = memchr(from, '"', (size_t)(end - from));
        if (!quote || quote - from >= EPOCH_BYTES) fail("an epoch is too long");
        memcpy(client->epoch, from, (size_t)(quote - from));
        client->epoch[quote - from] = 0;
    }
    if (!offset) return;
    client->offset = 0;
    for (const char *c = offset + sizeof OFFSET - 1; c < end && *c >= '0' && *c <= '9'; c++)
        client->offset = client->offset * 10 + (uint64_t)(*c - '0');
}

/* A client that returns is ready when it has joined and received every message that it missed,
 * or when the server says that it could not be recovered. */
static void on_text_of_returning(struct client *client, const char *payload, size_t length,
                                 uint64_t now) {
    const char *mark = memmem(payload, length, "@@", 2);
    if (mark && payload + length - mark >= MARK_BYTES) {
        on_message(client, mark, now);
    } else if (memmem(payload, length, options.ready, strlen(options.ready))) {
        client->joined = true;
        client->recovered = memmem(payload, length, options.recovered, strlen(options.recovered));
    }
    bool is_current = client->next == rooms[client->room].next && !client->missing;
    if (client->joined && (is_current || !client->recovered)) become_ready(client);
}

static void on_text(struct client *client, const char *payload, size_t length, uint64_t now) {
    if (options.frame && length == strlen(options.frame) &&
        !memcmp(payload, options.frame, length)) {
        send_frame(client, 1, options.reply, strlen(options.reply));
        return;
    }
    if (options.back) note_position(client, payload, length);
    if (client->state == JOINING && returning) {
        on_text_of_returning(client, payload, length, now);
        return;
    }
    if (client->state == JOINING) {
        if (memmem(payload, length, options.ready, strlen(options.ready))) become_ready(client);
        return;
    }
    const char *mark = memmem(payload, length, "@@", 2);
    if (mark && payload + length - mark >= MARK_BYTES) on_message(client, mark, now);
}

/* How many of the bytes were whole frames. */
static size_t parse(struct client *client, const char *data, size_t length, uint64_t now) {
    size_t at = 0;
    while (client->state != CLOSED && client->state != STALLED && length - at >= 2) {
        const unsigned char *head = (const unsigned char *)data + at;
        size_t payload = head[1] & 0x7f, offset = 2;
        if (payload >= 126) {
            offset = payload == 126 ? 4 : 10;
            if (length - at < offset) break;
            payload = 0;
            for (size_t i = 2; i < offset; i++) payload = payload << 8 | head[i];
        }
        if (length - at < offset + payload) break;
        const char *body = data + at + offset;
        int opcode = head[0] & 0x0f;
        if (opcode == 1 || opcode == 2) on_text(client, body, payload, now);
        else if (opcode == 9) send_frame(client, 10, body, payload);
        else if (opcode == 8) {
            close_code = payload < 2 ? 1005 : head[offset] * 256u + head[offset + 1];
            close_client(client);
        }
        at += offset + payload;
    }
    return at;
}

static void on_readable(struct client *client) {
    static char data[READ_BYTES];
    struct buffer *in = &client->in;
    size_t length = in->length, used = 0;
    if (length > READ_BYTES / 2) fail("a frame is too long");
    if (length) memcpy(data, in->data, length);
    ssize_t got = recv(client->fd, data + length, READ_BYTES - length, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) close_client(client);
        return;
    }
    length += (size_t)got;
    bytes_received += (uint64_t)got;
    if (client->state == UPGRADING) {
        char *end = memmem(data, length, "\r\n\r\n", 4);
        if (end) {
            if (strncmp(data, "HTTP/1.1 101", 12)) close_client(client);
            used = (size_t)(end - data) + 4;
            upgraded(client);
        }
    }
    if (client->state >= JOINING) used += parse(client, data + used, length - used, now_ns());
    in->length = 0;
    if (used < length && client->state != CLOSED) append(in, data + used, length - used);
}

/* --- The run -------------------------------------------------------------------- */

static void give_up(void) {
    uint64_t before = now_ns() - (uint64_t)(options.patience * 1e9);
    for (unsigned number = 0; number < (unsigned)options.rooms; number++) {
        struct room *room = &rooms[number];
        if (!room->in_flight) continue;
        for (struct slot *slot = room->slots; slot < room->slots + SLOTS; slot++)
            if (slot->open && (slot->sent_at < before || slot->received >= room->members)) {
                if (slot->sent_at < before) given_up++;
                slot->open = false;
                room->in_flight--;
            }
        publish_more(number);
    }
}

/* Handle what comes until a time. False when stdin ended. */
static bool serve_until(uint64_t end, bool (*done)(void)) {
    struct epoll_event events[512];
    struct timespec rest = {.tv_nsec = options.rest * 1000L};
    uint64_t next_check = 0;
    for (uint64_t now; (now = now_ns()) < end && !(done && done());) {
        uint64_t wait = (end - now) / 1000000 + 1;
        int count = epoll_wait(epoll, events, 512, wait > 50 ? 50 : (int)wait);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (!client) return false;
            if (client->state == CLOSED) continue;
            if (client->state == CONNECTING) upgrade(client);
            else if (events[i].events & EPOLLOUT) flush(client);
            else on_readable(client);
        }
        if (now > next_check) {
            give_up();
            next_check = now + 100000000;
        }
        /* Else every frame that arrives would wake us, at a cost for the server too. */
        if (measuring && count < 512) nanosleep(&rest, NULL);
    }
    return true;
}

static bool all_ready(void) { return ready_count == client_count; }

static bool drained(void) {
    for (int i = 0; i < options.rooms; i++)
        if (rooms[i].in_flight) return false;
    return true;
}

static uint64_t after(double seconds) { return now_ns() + (uint64_t)(seconds * 1e9); }

static struct usage read_usage(void) {
    struct usage usage = {.at = now_ns(), .own = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
                          .sent = bytes_sent, .received = bytes_received};
    char path[64], line[512], name[16];
    for (int i = 0; i < options.pids; i++) {
        clockid_t clock;
        if (!clock_getcpuclockid(options.pid[i], &clock)) usage.pids[i] = clock_ns(clock);
        snprintf(path, sizeof path, "/proc/%d/statm", options.pid[i]);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        if (fscanf(file, "%*d %ld", &usage.rss[i]) != 1) usage.rss[i] = 0;
        usage.rss[i] *= sysconf(_SC_PAGESIZE) / 1024;
        fclose(file);
    }
    FILE *file = fopen("/proc/stat", "r");
    snprintf(name, sizeof name, "cpu%d ", options.core);
    while (file && fgets(line, sizeof line, file)) {
        long t[8] = {0};
        if (strncmp(line, name, strlen(name))) continue;
        sscanf(line, "%*s %ld %ld %ld %ld %ld %ld %ld %ld", t, t + 1, t + 2, t + 3, t + 4, t + 5,
               t + 6, t + 7);
        usage.idle = t[3] + t[4];
        for (int i = 0; i < 8; i++) usage.total += t[i];
    }
    if (file) fclose(file);
    return usage;
}

static double microseconds(double quantile) {
    uint64_t wanted = (uint64_t)((double)deliveries * quantile), sum = 0;
    for (size_t i = 0; i < sizeof histogram / sizeof *histogram; i++) {
        sum += histogram[i];
        if (sum && sum >= wanted) {
            uint64_t shift = i < 128 ? 0 : i / 64 - 1;
            return (double)((i - shift * 64) << shift) / 1e3;
        }
    }
    return 0;
}

static void print_usage(const struct usage *from, const struct usage *to) {
    double wall = (double)(to->at - from->at);
    printf("\"seconds\": %.4f, \"generator_cpu\": %.4f", wall / 1e9,
           (double)(to->own - from->own) / wall);
    printf(", \"bytes_sent\": %lu, \"bytes_received\": %lu", to->sent - from->sent,
           to->received - from->received);
    if (to->total > from->total)
        printf(", \"core_idle\": %.4f",
               (double)(to->idle - from->idle) / (double)(to->total - from->total));
    printf(", \"processes\": [");
    for (int i = 0; i < options.pids; i++)
        printf("%s{\"pid\": %d, \"cpu_seconds\": %.6f, \"rss_kb\": [%ld, %ld]}", i ? ", " : "",
               options.pid[i],
               to->pids[i] < from->pids[i] ? -1 : (double)(to->pids[i] - from->pids[i]) / 1e9,
               from->rss[i], to->rss[i]);
    printf("]");
}

/* Messages of their rooms that clients have not received. */
static uint64_t count_lost(void) {
    uint64_t lost = 0;
    for (unsigned i = 0; i < client_count; i++)
        if (clients[i].state == READY || clients[i].joined)
            lost += clients[i].missing + rooms[clients[i].room].next - clients[i].next;
    return lost;
}

static void print_load(const struct usage *from, const struct usage *to) {
    uint64_t in_flight = 0;
    for (int i = 0; i < options.rooms; i++) in_flight += rooms[i].in_flight;
    printf(", \"load\": {\"published\": %lu, \"deliveries\": %lu, \"lost\": %lu, \"doubled\": %lu, "
           "\"reordered\": %lu, \"strangers\": %lu, \"given_up\": %lu, \"closed\": %u, "
           "\"close_code\": %u, ",
           published, deliveries, count_lost(), doubled, reordered, strangers, given_up + in_flight,
           closed_count, close_code);
    printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f, ",
           microseconds(.5), microseconds(.99), microseconds(.999), microseconds(1));
    print_usage(from, to);
    printf(", \"per_second\": [");
    for (int i = 0; i < (int)options.seconds && i < MAX_SECONDS; i++)
        printf("%s%lu", i ? ", " : "", per_second[i]);
    printf("]}");
}

/* What takes a number or a text. The others are handled where they are parsed. */
static const struct {
    const char *name;
    int *integer;
    double *number;
    const char **text;
} KNOWN[] = {
    {"port", .integer = &options.port}, {"rooms", .integer = &options.rooms},
    {"clients", .integer = &options.clients}, {"window", .integer = &options.window},
    {"bytes", .integer = &options.bytes}, {"stall", .integer = &options.stall},
    {"concurrency", .integer = &options.concurrency}, {"rest", .integer = &options.rest},
    {"core", .integer = &options.core}, {"messages", .integer = &options.messages},
    {"pace", .integer = &options.pace}, {"linger", .number = &options.linger}, {"settle", .number = &options.settle},
    {"warmup", .number = &options.warmup}, {"seconds", .number = &options.seconds},
    {"patience", .number = &options.patience}, {"deadline", .number = &options.deadline},
    {"path", .text = &options.path}, {"ready", .text = &options.ready},
    {"publish", .text = &options.publish}, {"leave", .text = &options.leave},
    {"return", .text = &options.back}, {"recovered", .text = &options.recovered}};

static bool set_option(const char *name, char *value) {
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
        if (strcmp(name, KNOWN[i].name)) continue;
        if (KNOWN[i].integer) *KNOWN[i].integer = atoi(value);
        if (KNOWN[i].number) *KNOWN[i].number = atof(value);
        if (KNOWN[i].text) *KNOWN[i].text = value;
        return true;
    }
    if (!strcmp(name, "hello") && options.hellos < MAX_HELLO) {
        options.hello[options.hellos++] = value;
    } else if (!strcmp(name, "pid") && options.pids < MAX_PIDS) {
        options.pid[options.pids++] = atoi(value);
    } else if (!strcmp(name, "answer") && strchr(value, '=')) {
        options.frame = strsep(&value, "=");
        options.reply = value;
    } else {
        return false;
    }
    return true;
}

static void parse_options(int count, char **values) {
    bool valid = true;
    for (int i = 1; i < count && valid; i++) {
        if (!strcmp(values[i], "--hold")) options.hold = true;
        else if (strncmp(values[i], "--", 2) || i + 1 == count) valid = false;
        else valid = set_option(values[i] + 2, values[i + 1]), i++;
    }
    if (!valid || !options.port || options.rooms < 1 || options.clients < 1 ||
        options.window < 1 || options.window > SLOTS / 4 || options.bytes < MARK_BYTES ||
        options.stall >= options.clients || options.pace < 1 ||
        (options.leave && !options.hellos) ||
        (options.back && !(options.ready && options.recovered))) {
        fputs(HELP, stderr);
        exit(2);
    }
}

static void prepare(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (options.core >= 0) {
        cpu_set_t cores;
        CPU_ZERO(&cores);
        CPU_SET((size_t)options.core, &cores);
        if (sched_setaffinity(0, sizeof cores, &cores) < 0) fail("sched_setaffinity");
    }
    prctl(PR_SET_TIMERSLACK, 1UL);
    run = (unsigned)getpid() & 0xffff;
    epoll = epoll_create1(0);
    client_count = (unsigned)(options.rooms * options.clients);
    clients = calloc(client_count, sizeof *clients);
    rooms = calloc((size_t)options.rooms, sizeof *rooms);
    if (epoll < 0 || !clients || !rooms) fail("memory");
    for (unsigned i = 0; i < client_count; i++) {
        clients[i].room = i / (unsigned)options.clients;
        clients[i].stalls = i < (unsigned)options.clients &&
                            i >= (unsigned)(options.clients - options.stall);
        if (!clients[i].stalls) rooms[clients[i].room].members++;
        if (i % (unsigned)options.clients == 0) rooms[clients[i].room].publisher = &clients[i];
    }
}

static void connect_all(const char *name) {
    struct usage from = read_usage();
    open_more();
    serve_until(after(options.deadline), all_ready);
    if (!all_ready()) {
        char reason[128];
        snprintf(reason, sizeof reason, "%u of %u clients were ready in time, %lu messages missing",
                 ready_count, client_count, count_lost());
        errno = 0;
        fail(reason);
    }
    serve_until(after(options.linger), NULL);
    struct usage to = read_usage();
    printf("\"%s\": {", name);
    print_usage(&from, &to);
    printf("}");
}

static void start_publishing(void) {
    serve_until(after(options.settle), NULL);
    publishing = true;
    for (unsigned i = 0; i < (unsigned)options.rooms; i++) publish_more(i);
}

static void run_load(void) {
    struct usage from, to;
    start_publishing();
    serve_until(after(options.warmup), NULL);
    from = read_usage();
    measure_from = from.at;
    measuring = true;
    serve_until(after(options.seconds), NULL);
    to = read_usage();
    measuring = publishing = false;
    serve_until(after(options.patience + 1), drained);
    serve_until(after(.1), NULL); /* what comes twice comes a little later */
    print_load(&from, &to);
}

/* The last client of the first room leaves it and enters it again, and again. */
static void run_churn(void) {
    struct client *client = &clients[options.clients - 1];
    serve_until(after(options.settle), NULL);
    struct usage from = read_usage();
    unsigned count = (unsigned)(options.seconds * options.pace) & ~1u;
    for (unsigned sent = 0; sent < count && client->state == READY; sent++) {
        const char *message = fill(sent % 2 ? options.hello[0] : options.leave, 0, 0, "");
        send_frame(client, 1, message, strlen(message));
        serve_until(from.at + (uint64_t)((sent + 1) * 1e9 / options.pace), NULL);
    }
    serve_until(after(options.linger), NULL);
    struct usage to = read_usage();
    printf(", \"churn\": {\"messages\": %u, \"closed\": %u, ", count, closed_count);
    print_usage(&from, &to);
    printf("}");
}

static void publish_messages(void) {
    start_publishing();
    serve_until(after(options.patience + 1), drained);
    publishing = false;
    errno = 0;
    if (count_lost()) fail("not all messages arrived");
    printf(", \"run\": %u", run);
}

/* Wait on stdin, while the sockets are served. */
static void await_input(void) {
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &input);
    while (serve_until(after(1), NULL)) continue;
    epoll_ctl(epoll, EPOLL_CTL_DEL, 0, NULL);
}

/* Read how many messages each room had while all were away, and which processes serve now. */
static uint32_t read_missed(void) {
    char line[512], *next = line;
    if (!fgets(line, sizeof line, stdin)) exit(0);
    long missed = strtol(next, &next, 10);
    options.pids = 0;
    for (long pid; (pid = strtol(next, &next, 10)) > 0 && options.pids < MAX_PIDS;)
        options.pid[options.pids++] = (int)pid;
    return (uint32_t)missed;
}

static void connect_again(uint32_t missed) {
    unsigned recovered = 0;
    for (unsigned i = 0; i < client_count; i++) {
        struct client *client = &clients[i];
        if (client->state != CLOSED) close_client(client);
        client->state = CONNECTING;
        client->in.length = client->out.length = 0;
        rooms[client->room].members++;
    }
    for (int i = 0; i < options.rooms; i++) rooms[i].next += missed;
    returning = true;
    started = ready_count = closed_count = 0;
    printf("{");
    connect_all("return");
    serve_until(after(.3), NULL); /* what comes twice comes a little later */
    for (unsigned i = 0; i < client_count; i++) recovered += clients[i].recovered;
    printf(", \"recovered\": %u, \"lost\": %lu, \"doubled\": %lu, \"reordered\": %lu, "
           "\"strangers\": %lu, \"closed\": %u}\n",
           recovered, count_lost(), doubled, reordered, strangers, closed_count);
    fflush(stdout);
}

int main(int count, char **values) {
    parse_options(count, values);
    prepare();

    printf("{\"clients\": %u, ", client_count);
    connect_all("connect");
    if (options.leave) run_churn();
    else if (options.back) publish_messages();
    else if (options.seconds > 0) run_load();
    printf("}\n");
    fflush(stdout);
    if (options.hold || options.back) await_input();
    if (options.back) connect_again(read_missed());
    return 0;
}
