#define _GNU_SOURCE
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, CHUNK = 16384 };

typedef enum { WATCH, LISTENER, CONNECTION } Kind;

/* What epoll returns: the kind tells how to treat the file. */
typedef struct {
    Kind kind;
    int fd;
    SSL_CTX *tls;
    void (*on_ready)(int);
    void (*on_input)(Connection *);
    void (*on_end)(Connection *);
} Source;

typedef struct {
    Source source; /* first: epoll holds a Source */
    Connection connection;
} Socket;

static int epoll_fd = -1;
static Connection *graveyard;

void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

const char *argument(int count, char **values, const char *name, const char *otherwise) {
    size_t length = strlen(name);
    for (int i = 1; i < count; i++)
        if (strncmp(values[i], name, length) == 0 && values[i][length] == '=') return values[i] + length + 1;
    if (otherwise == NULL) {
        fprintf(stderr, "missing: %s=\n", name);
        exit(2);
    }
    return otherwise;
}

double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ------------------------------------------------------------------------------------------------------- buffers */

size_t buffer_length(const Buffer *buffer) { return buffer->end - buffer->start; }

static void buffer_room(Buffer *buffer, size_t length) {
    if (buffer->start > 0 && buffer->end + length > buffer->capacity) {
        memmove(buffer->data, buffer->data + buffer->start, buffer_length(buffer));
        buffer->end -= buffer->start;
        buffer->start = 0;
    }
    if (buffer->end + length > buffer->capacity) {
        buffer->capacity = (buffer->end + length) * 2;
        buffer->data = realloc(buffer->data, buffer->capacity);
        if (buffer->data == NULL) die("realloc");
    }
}

void buffer_add(Buffer *buffer, const char *data, size_t length) {
    buffer_room(buffer, length);
    memcpy(buffer->data + buffer->end, data, length);
    buffer->end += length;
}

void buffer_drop(Buffer *buffer, size_t length) {
    buffer->start += length;
    if (buffer->start == buffer->end) buffer->start = buffer->end = 0;
}

/* ----------------------------------------------------------------------------------------------------------- loop */

void loop_open(void) {
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* the runner may be killed */
    epoll_fd = epoll_create1(0);
    if (epoll_fd < 0) die("epoll_create1");
}

static void watch(Source *source, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(epoll_fd, operation, source->fd, &event) < 0) die("epoll_ctl");
}

void loop_watch(int fd, void (*on_ready)(int)) {
    Source *source = calloc(1, sizeof *source);
    *source = (Source){.kind = WATCH, .fd = fd, .on_ready = on_ready};
    watch(source, EPOLL_CTL_ADD, EPOLLIN);
}

static Source *source_of(Connection *connection) {
    return (Source *)((char *)connection - offsetof(Socket, connection));
}

static Connection *open_socket(int fd, SSL_CTX *tls, bool accepted) {
    Socket *opened = calloc(1, sizeof *opened);
    if (opened == NULL) die("calloc");
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    opened->source = (Source){.kind = CONNECTION, .fd = fd};
    opened->connection.fd = fd;
    opened->connection.connecting = !accepted;
    if (tls != NULL) {
        opened->connection.ssl = SSL_new(tls);
        SSL_set_fd(opened->connection.ssl, fd);
        if (accepted) SSL_set_accept_state(opened->connection.ssl);
        else SSL_set_connect_state(opened->connection.ssl);
    }
    return &opened->connection;
}

void connection_close(Connection *connection) {
    if (connection->closed) return;
    connection->closed = true;
    if (connection->ssl != NULL) {
        ERR_clear_error();
        if (SSL_is_init_finished(connection->ssl)) SSL_shutdown(connection->ssl);
        SSL_free(connection->ssl);
        connection->ssl = NULL;
    }
    close(connection->fd);
    if (connection->on_end != NULL) connection->on_end(connection);
    connection->next = graveyard;
    graveyard = connection;
}

static void wait_for_writing(Connection *connection, bool wanted) {
    if (connection->awaits_writing == wanted) return;
    connection->awaits_writing = wanted;
    watch(source_of(connection), EPOLL_CTL_MOD, EPOLLIN | (wanted ? EPOLLOUT : 0));
}

/* Sends what it can; what is left waits until the socket takes more. */
static void flush(Connection *connection) {
    Buffer *out = &connection->out;
    if (connection->connecting) return;
    while (buffer_length(out) > 0) {
        ssize_t sent;
        if (connection->ssl != NULL) {
            ERR_clear_error();
            sent = SSL_write(connection->ssl, out->data + out->start, (int)buffer_length(out));
            if (sent <= 0) {
                int why = SSL_get_error(connection->ssl, (int)sent);
                if (why == SSL_ERROR_WANT_READ) break;
                if (why == SSL_ERROR_WANT_WRITE) { wait_for_writing(connection, true); return; }
                connection_close(connection);
                return;
            }
        } else {
            sent = send(connection->fd, out->data + out->start, buffer_length(out), MSG_NOSIGNAL);
            if (sent < 0) {
                if (errno == EAGAIN) { wait_for_writing(connection, true); return; }
                connection_close(connection);
                return;
            }
        }
        buffer_drop(out, (size_t)sent);
    }
    wait_for_writing(connection, false);
}

void connection_write(Connection *connection, const char *data, size_t length) {
    buffer_add(&connection->out, data, length);
    flush(connection);
}

/* Reads all there is; tells whether there is something new. Closes at the end. */
static bool fill(Connection *connection) {
    bool some = false;
    for (;;) {
        buffer_room(&connection->in, CHUNK);
        char *target = connection->in.data + connection->in.end;
        ssize_t got;
        if (connection->ssl != NULL) {
            ERR_clear_error();
            got = SSL_read(connection->ssl, target, CHUNK);
            if (got <= 0) {
                int why = SSL_get_error(connection->ssl, (int)got);
                if (why == SSL_ERROR_WANT_READ) return some;
                if (why == SSL_ERROR_WANT_WRITE) { wait_for_writing(connection, true); return some; }
            }
        } else {
            got = recv(connection->fd, target, CHUNK, 0);
            if (got < 0 && errno == EAGAIN) return some;
        }
        if (got <= 0) {
            if (some) connection->on_input(connection); /* the last bytes, then the end */
            connection_close(connection);
            return false;
        }
        connection->in.end += (size_t)got;
        some = true;
        if (connection->ssl == NULL && got < CHUNK) return true;
    }
}

static void on_socket(Connection *connection, uint32_t events) {
    if (connection->closed) return;
    if (connection->connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) { connection_close(connection); return; }
        connection->connecting = false;
    }
    if (connection->connecting) return;
    bool handshaking = connection->ssl != NULL && !SSL_is_init_finished(connection->ssl);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && fill(connection)) connection->on_input(connection);
    if (!connection->closed && ((events & EPOLLOUT) || handshaking)) flush(connection);
}

static void on_listener(Source *listener) {
    for (;;) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        Connection *connection = open_socket(fd, listener->tls, true);
        connection->on_input = listener->on_input;
        connection->on_end = listener->on_end;
        watch(source_of(connection), EPOLL_CTL_ADD, EPOLLIN);
    }
}

void loop_step(double seconds) {
    struct epoll_event events[EVENTS];
    struct timespec wait = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    int count = epoll_pwait2(epoll_fd, events, EVENTS, seconds < 0 ? NULL : &wait, NULL);
    for (int i = 0; i < count; i++) {
        Source *source = events[i].data.ptr;
        if (source->kind == WATCH) source->on_ready(source->fd);
        else if (source->kind == LISTENER) on_listener(source);
        else on_socket(&((Socket *)source)->connection, events[i].events);
    }
    while (graveyard != NULL) {
        Connection *dead = graveyard;
        graveyard = dead->next;
        free(dead->in.data);
        free(dead->out.data);
        free(source_of(dead));
    }
}

/* ------------------------------------------------------------------------------------------- servers and clients */

SSL_CTX *tls_server(const char *certificate, const char *key) {
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (tls == NULL || SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
        die(certificate);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return tls;
}

SSL_CTX *tls_client(const char *ca_file) {
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL || SSL_CTX_load_verify_locations(tls, ca_file, NULL) != 1) die(ca_file);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return tls;
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

void serve(int port, SSL_CTX *tls, void (*on_input)(Connection *), void (*on_end)(Connection *)) {
    struct sockaddr_in address = loopback(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0) die("listen");
    Source *source = calloc(1, sizeof *source);
    *source = (Source){.kind = LISTENER, .fd = fd, .tls = tls, .on_input = on_input, .on_end = on_end};
    watch(source, EPOLL_CTL_ADD, EPOLLIN);
}

void pool_open(Pool *pool, int port, SSL_CTX *tls, void (*on_input)(Connection *), void (*on_end)(Connection *)) {
    *pool = (Pool){.address = loopback(port), .tls = tls, .on_input = on_input, .on_end = on_end};
}

Connection *pool_take(Pool *pool, bool *reused) {
    Connection *connection = pool->idle;
    *reused = connection != NULL;
    if (connection != NULL) {
        pool->idle = connection->next;
        connection->next = NULL;
        return connection;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    if (connect(fd, (struct sockaddr *)&pool->address, sizeof pool->address) < 0 && errno != EINPROGRESS) die("connect");
    pool->opened++;
    connection = open_socket(fd, pool->tls, false);
    connection->on_input = pool->on_input;
    connection->on_end = pool->on_end;
    connection->awaits_writing = true;
    if (pool->tls != NULL) /* the certificate names the loopback address */
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(connection->ssl), "127.0.0.1");
    watch(source_of(connection), EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    return connection;
}

void pool_give(Pool *pool, Connection *connection) {
    connection->owner = NULL;
    connection->next = pool->idle;
    pool->idle = connection;
}

void pool_forget(Pool *pool, Connection *connection) {
    for (Connection **link = &pool->idle; *link != NULL; link = &(*link)->next)
        if (*link == connection) { *link = connection->next; return; }
}

/* ----------------------------------------------------------------------------------------------------------- HTTP */

/* The length of a chunked body at `start`, 0 if more is needed. */
static size_t chunked_length(const char *start, const char *end) {
    const char *at = start;
    for (;;) {
        const char *line = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (line == NULL) return 0;
        size_t size = strtoul(at, NULL, 16);
        if ((size_t)(end - line) < size + 4) return 0;
        at = line + 2 + size + 2;
        if (size == 0) return (size_t)(at - start); /* no trailers: nothing here sends any */
    }
}

int http_read(const Buffer *buffer, Message *message) {
    const char *start = buffer->data + buffer->start, *end = buffer->data + buffer->end;
    size_t length = buffer_length(buffer);
    const char *blank = length == 0 ? NULL : memmem(start, length, "\r\n\r\n", 4);
    if (blank == NULL) return 0;
    *message = (Message){.head = start, .head_length = (size_t)(blank - start) + 2, .body = blank + 4};
    if (length > 12 && memcmp(start, "HTTP/1.", 7) == 0) message->status = atoi(start + 9);
    Slice given = http_header(message, "content-length", NULL);
    Slice coded = http_header(message, "transfer-encoding", NULL);
    size_t body = 0;
    if (given.text != NULL) body = strtoul(given.text, NULL, 10);
    else if (coded.text != NULL && (body = chunked_length(message->body, end)) == 0) return 0;
    if ((size_t)(end - message->body) < body) return 0;
    message->body_length = body;
    message->total = (size_t)(message->body - start) + body;
    return 1;
}

Slice http_header(const Message *message, const char *name, const char *after) {
    size_t length = strlen(name);
    const char *end = message->head + message->head_length;
    const char *line = after != NULL ? after : message->head;
    while ((line = memchr(line, '\n', (size_t)(end - line))) != NULL && ++line < end) {
        if ((size_t)(end - line) <= length || line[length] != ':' || strncasecmp(line, name, length) != 0) continue;
        const char *value = line + length + 1;
        while (*value == ' ') value++;
        return (Slice){value, (size_t)((const char *)memchr(value, '\r', (size_t)(end - value)) - value)};
    }
    return (Slice){NULL, 0};
}

Slice parameter(const char *text, size_t length, const char *name) {
    size_t wanted = strlen(name);
    const char *end = text + length;
    while (text < end) {
        const char *next = memchr(text, '&', (size_t)(end - text));
        if (next == NULL) next = end;
        if ((size_t)(next - text) > wanted && text[wanted] == '=' && memcmp(text, name, wanted) == 0)
            return (Slice){text + wanted + 1, (size_t)(next - text) - wanted - 1};
        text = next + 1;
    }
    return (Slice){NULL, 0};
}

static int hex(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

size_t percent_decode(char *target, size_t size, Slice encoded) {
    size_t length = 0;
    for (size_t i = 0; i < encoded.length && length + 1 < size; i++) {
        char one = encoded.text[i];
        if (one == '%' && i + 2 < encoded.length && hex(encoded.text[i + 1]) >= 0 && hex(encoded.text[i + 2]) >= 0) {
            one = (char)(hex(encoded.text[i + 1]) * 16 + hex(encoded.text[i + 2]));
            i += 2;
        }
        target[length++] = one;
    }
    target[length] = '\0';
    return length;
}

size_t percent_encode(char *target, size_t size, Slice plain) {
    static const char digits[] = "0123456789ABCDEF";
    size_t length = 0;
    for (size_t i = 0; i < plain.length && length + 4 < size; i++) {
        unsigned char one = (unsigned char)plain.text[i];
        if ((one >= '0' && one <= '9') || ((one | 0x20) >= 'a' && (one | 0x20) <= 'z') || strchr("-._~", one) != NULL) {
            target[length++] = (char)one;
        } else {
            target[length++] = '%';
            target[length++] = digits[one >> 4];
            target[length++] = digits[one & 15];
        }
    }
    target[length] = '\0';
    return length;
}

/* ------------------------------------------------------------------------------------------------------ base64url */

size_t base64url(char *target, const unsigned char *data, size_t length) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t out = 0;
    uint32_t bits = 0;
    int held = 0;
    for (size_t i = 0; i < length; i++) {
        bits = bits << 8 | data[i];
        for (held += 8; held >= 6; held -= 6) target[out++] = alphabet[bits >> (held - 6) & 63];
    }
    if (held > 0) target[out++] = alphabet[bits << (6 - held) & 63];
    target[out] = '\0';
    return out;
}

static int sextet(char one) {
    if (one >= 'A' && one <= 'Z') return one - 'A';
    if (one >= 'a' && one <= 'z') return one - 'a' + 26;
    if (one >= '0' && one <= '9') return one - '0' + 52;
    return one == '-' ? 62 : one == '_' ? 63 : -1;
}

int base64url_decode(unsigned char *target, size_t size, Slice encoded) {
    size_t out = 0;
    uint32_t bits = 0;
    int held = 0;
    for (size_t i = 0; i < encoded.length; i++) {
        int value = sextet(encoded.text[i]);
        if (value < 0) return -1;
        bits = bits << 6 | (uint32_t)value;
        if ((held += 6) < 8) continue;
        held -= 8;
        if (out == size) return -1;
        target[out++] = (unsigned char)(bits >> held & 255);
    }
    return (int)out;
}
