/* What the benchmark's three C programs share: an epoll loop, connections with or without TLS, HTTP/1.1, base64url. */

#ifndef NET_H
#define NET_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    char *data;
    size_t start, end, capacity;
} Buffer;

typedef struct Connection Connection;
struct Connection {
    int fd;
    SSL *ssl;
    bool connecting, closed, awaits_writing;
    Buffer in, out;
    void *owner;
    void (*on_input)(Connection *);  /* more bytes are in `in` */
    void (*on_end)(Connection *);    /* the connection is closed; it is freed after the current events */
    Connection *next;
};

/* Connections to one server; the idle ones are kept. */
typedef struct {
    struct sockaddr_in address;
    SSL_CTX *tls;
    Connection *idle;
    void (*on_input)(Connection *);
    void (*on_end)(Connection *);
    long opened;
} Pool;

/* A whole message at the start of a buffer. */
typedef struct {
    const char *head, *body;
    size_t head_length, body_length, total;
    int status; /* 0 in a request */
} Message;

typedef struct {
    const char *text;
    size_t length;
} Slice;

void die(const char *what);
const char *argument(int count, char **values, const char *name, const char *otherwise);
double now(void); /* seconds, monotonic */

void buffer_add(Buffer *buffer, const char *data, size_t length);
void buffer_drop(Buffer *buffer, size_t length);
size_t buffer_length(const Buffer *buffer);

void loop_open(void);
void loop_step(double seconds); /* waits that long at most; for ever if negative */
void loop_watch(int fd, void (*on_ready)(int fd));

SSL_CTX *tls_server(const char *certificate, const char *key);
SSL_CTX *tls_client(const char *ca_file);

void serve(int port, SSL_CTX *tls, void (*on_input)(Connection *), void (*on_end)(Connection *));
void connection_write(Connection *connection, const char *data, size_t length);
void connection_close(Connection *connection);

void pool_open(Pool *pool, int port, SSL_CTX *tls, void (*on_input)(Connection *), void (*on_end)(Connection *));
Connection *pool_take(Pool *pool, bool *reused);
void pool_give(Pool *pool, Connection *connection);
void pool_forget(Pool *pool, Connection *connection); /* an idle connection ended */

int http_read(const Buffer *buffer, Message *message); /* 1 whole, 0 more is needed, -1 not HTTP */
Slice http_header(const Message *message, const char *name, const char *after); /* text is NULL if there is none */
Slice parameter(const char *text, size_t length, const char *name); /* of a query or form, still encoded */
size_t percent_decode(char *target, size_t size, Slice encoded);
size_t percent_encode(char *target, size_t size, Slice plain);

size_t base64url(char *target, const unsigned char *data, size_t length);
int base64url_decode(unsigned char *target, size_t size, Slice encoded); /* the length, or -1 */

#endif
