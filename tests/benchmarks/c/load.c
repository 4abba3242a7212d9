/* The load generator: signs people in at a product, step by step, and prints what came of it as JSON.

   load port= path= endpoint= jwt=0|1 provider= control= [ca_file= client_id= client_secret=]

   It reads commands, one a line, and answers each with one line:
     new COUNT                                  forgets all sign-ins and plans so many
     run STEPS closed CONNECTIONS [limit=S]     a request follows the response before it
     run STEPS rate PER_SECOND [limit=S]        requests begin on time, whatever came of those before
   STEPS are letters: `l` GET /login at the product, `a` the provider's authorization, `c` the callback;
   `t` and `u` ask the provider for token and userinfo directly, after `o`, an authorization without a product.
   A latency counts from the moment a sign-in was due. */

#define _GNU_SOURCE
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "net.h"

enum { STATUSES = 600, TEXT = 16384, SHOWN = 300, ENDED_EARLY = 0, WRONG_REDIRECT = 1, UNFINISHED = 2 };

/* One person signing in. The texts are paths with query, or cookies; each step leaves what the next needs. */
typedef struct {
    char *address; /* of the next step */
    char *cookies;
    char *code, *access_token;
    double due;
    const char *step; /* within the steps of the run */
    Connection *connection;
    Pool *pool;
    bool reused, done;
} SignIn;

typedef struct {
    const char *path, *endpoint, *client_id;
    char basic[512];
    bool jwt;
    int port, provider_port;
    Pool product, provider, control;
    SignIn *sign_ins;
    int planned;
    bool commanded;
    /* of the current run */
    const char *steps;
    char steps_text[16];
    bool running, closed_loop;
    int connections, begun, finished, under_way, most_under_way;
    double began, rate, limit, ended;
    double *latencies;
    int succeeded;
    long failed[STATUSES];
    char example[SHOWN];
} Load;

static Load load;

static void take_step(SignIn *sign_in);

static char *copy(const char *text, size_t length) {
    char *copied = malloc(length + 1);
    memcpy(copied, text, length);
    copied[length] = '\0';
    return copied;
}

static void replace(char **target, char *text) {
    free(*target);
    *target = text;
}

/* ---------------------------------------------------------------------------------------------------- the requests */

/* A step after one that failed asks for what no server has. */
static const char *or_none(const char *text) { return text != NULL ? text : "/none"; }

static Pool *pool_of(char step) {
    if (step == 'l' || step == 'c') return &load.product;
    return step == 't' || step == 'u' ? &load.provider : &load.control;
}

static int write_request(char *request, const SignIn *sign_in) {
    switch (*sign_in->step) {
    case 'l':
        return snprintf(request, TEXT, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/html\r\n\r\n", load.path,
                        load.port);
    case 'c':
        return snprintf(request, TEXT,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/html\r\nCookie: %s\r\n\r\n",
                        or_none(sign_in->address), load.port, or_none(sign_in->cookies));
    case 'a':
        return snprintf(request, TEXT, "GET %s HTTP/1.1\r\nHost: provider\r\n\r\n", or_none(sign_in->address));
    case 'o':
        return snprintf(request, TEXT,
                        "GET /authorize?client_id=%s&redirect_uri=http%%3A%%2F%%2F127.0.0.1%%2Fcb&state=s&nonce=n"
                        " HTTP/1.1\r\nHost: provider\r\n\r\n",
                        load.client_id);
    case 't': {
        char form[1024];
        int length = snprintf(form, sizeof form,
                              "grant_type=authorization_code&code=%s&redirect_uri=http%%3A%%2F%%2F127.0.0.1%%2Fcb",
                              or_none(sign_in->code));
        return snprintf(request, TEXT,
                        "POST /token HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: %s\r\nContent-Type: "
                        "application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
                        load.provider_port, load.basic, length, form);
    }
    default:
        return snprintf(request, TEXT, "GET /userinfo HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n\r\n",
                        load.provider_port, or_none(sign_in->access_token));
    }
}

/* --------------------------------------------------------------------------------------------------- the responses */

/* Keeps the path and query of a redirect. */
static bool follow(SignIn *sign_in, const Message *message) {
    Slice location = http_header(message, "location", NULL);
    if (message->status < 300 || message->status > 399 || location.text == NULL) return false;
    const char *scheme = memmem(location.text, location.length, "://", 3);
    const char *end = location.text + location.length;
    const char *path = scheme == NULL ? location.text : memchr(scheme + 3, '/', (size_t)(end - scheme - 3));
    if (path == NULL) return false;
    replace(&sign_in->address, copy(path, (size_t)(end - path)));
    return true;
}

static void keep_cookies(SignIn *sign_in, const Message *message) {
    Buffer cookies = {0};
    for (const char *after = NULL;;) {
        Slice line = http_header(message, "set-cookie", after);
        if (line.text == NULL) break;
        after = line.text;
        const char *semicolon = memchr(line.text, ';', line.length);
        if (buffer_length(&cookies) > 0) buffer_add(&cookies, "; ", 2);
        buffer_add(&cookies, line.text, semicolon != NULL ? (size_t)(semicolon - line.text) : line.length);
    }
    replace(&sign_in->cookies, copy(buffer_length(&cookies) > 0 ? cookies.data : "", buffer_length(&cookies)));
    free(cookies.data);
}

static bool reached_endpoint(const Message *message) {
    Slice location = http_header(message, "location", NULL);
    size_t length = strlen(load.endpoint);
    if ((message->status != 302 && message->status != 303) || location.text == NULL) return false;
    if (location.length < length || memcmp(location.text, load.endpoint, length) != 0) return false;
    const char *jwt = memmem(location.text, location.length, "jwt=ey", 6);
    return !load.jwt || jwt != NULL;
}

static bool keep_member(char **target, const Message *message, const char *name) {
    char pattern[64];
    int length = snprintf(pattern, sizeof pattern, "\"%s\":\"", name);
    const char *found = memmem(message->body, message->body_length, pattern, (size_t)length);
    if (message->status != 200 || found == NULL) return false;
    found += length;
    replace(target, copy(found, strcspn(found, "\"")));
    return true;
}

static bool is_right(SignIn *sign_in, const Message *message) {
    switch (*sign_in->step) {
    case 'l': keep_cookies(sign_in, message); return follow(sign_in, message);
    case 'c': return reached_endpoint(message);
    case 'a': return follow(sign_in, message);
    case 'o': {
        if (!follow(sign_in, message)) return false;
        const char *query = strchr(sign_in->address, '?');
        Slice code = parameter(query + 1, strlen(query + 1), "code");
        replace(&sign_in->code, copy(code.text, code.length));
        return true;
    }
    case 't': return keep_member(&sign_in->access_token, message, "access_token");
    default: return message->status == 200;
    }
}

/* --------------------------------------------------------------------------------------------------------- the run */

static void finish(SignIn *sign_in, int failure, const Message *message) {
    sign_in->done = true;
    load.under_way--;
    load.finished++;
    load.ended = now();
    if (failure < 0) {
        load.latencies[load.succeeded++] = load.ended - sign_in->due;
        return;
    }
    load.failed[failure < STATUSES ? failure : STATUSES - 1]++;
    if (message != NULL && load.example[0] == '\0')
        snprintf(load.example, sizeof load.example, "%.*s", (int)message->head_length, message->head);
}

static void begin(int number, double due) {
    SignIn *sign_in = &load.sign_ins[number];
    sign_in->due = due;
    sign_in->step = load.steps;
    sign_in->done = false;
    if (++load.under_way > load.most_under_way) load.most_under_way = load.under_way;
    take_step(sign_in);
}

static void begin_next(void) {
    if (load.closed_loop && load.running && load.begun < load.planned) begin(load.begun++, now());
}

static void take_step(SignIn *sign_in) {
    char request[TEXT];
    int length = write_request(request, sign_in);
    sign_in->pool = pool_of(*sign_in->step);
    sign_in->connection = pool_take(sign_in->pool, &sign_in->reused);
    sign_in->connection->owner = sign_in;
    connection_write(sign_in->connection, request, (size_t)length);
}

static void on_input(Connection *connection) {
    Message message;
    SignIn *sign_in = connection->owner;
    if (sign_in == NULL) { connection_close(connection); return; } /* nobody asked */
    if (http_read(&connection->in, &message) != 1) return;
    if (message.status == 100) { buffer_drop(&connection->in, message.total); return; }
    int failure = is_right(sign_in, &message) ? -1 : message.status < 400 ? WRONG_REDIRECT : message.status;
    bool last = failure >= 0 || sign_in->step[1] == '\0';
    if (last) finish(sign_in, failure, &message);
    Slice persistence = http_header(&message, "connection", NULL);
    bool closes = persistence.text != NULL && strncasecmp(persistence.text, "close", 5) == 0;
    connection->owner = NULL;
    sign_in->connection = NULL;
    buffer_drop(&connection->in, message.total);
    if (closes) connection_close(connection);
    else pool_give(sign_in->pool, connection);
    if (last) { begin_next(); return; }
    sign_in->step++;
    take_step(sign_in);
}

static void on_end(Connection *connection) {
    SignIn *sign_in = connection->owner;
    if (sign_in == NULL) {
        pool_forget(&load.product, connection);
        pool_forget(&load.provider, connection);
        pool_forget(&load.control, connection);
        return;
    }
    sign_in->connection = NULL;
    if (!load.running) return;
    if (sign_in->reused && buffer_length(&connection->in) == 0) { /* it was closed while idle */
        take_step(sign_in);
        return;
    }
    finish(sign_in, ENDED_EARLY, NULL);
    begin_next();
}

static void begin_due(void) {
    if (load.closed_loop) return;
    while (load.begun < load.planned) {
        double due = load.began + load.begun / load.rate;
        if (due > now()) return;
        begin(load.begun++, due);
    }
}

static double until_next(void) {
    double left = load.began + load.limit - now();
    if (!load.closed_loop && load.begun < load.planned) {
        double due = load.began + load.begun / load.rate - now();
        if (due < left) left = due;
    }
    return left > 0 ? left : 0;
}

/* Ends what is under way at the limit. */
static void abandon(void) {
    load.running = false;
    for (int i = 0; i < load.planned; i++) {
        SignIn *sign_in = &load.sign_ins[i];
        if (i < load.begun && sign_in->done) continue;
        load.failed[UNFINISHED]++;
        if (i < load.begun && sign_in->connection != NULL) connection_close(sign_in->connection);
    }
}

static int by_size(const void *left, const void *right) {
    double difference = *(const double *)left - *(const double *)right;
    return (difference > 0) - (difference < 0);
}

/* Returns milliseconds, by nearest rank. */
static double quantile(double part) {
    if (load.succeeded == 0) return 0;
    int rank = (int)(part * load.succeeded);
    return load.latencies[rank < load.succeeded ? rank : load.succeeded - 1] * 1000;
}

static const char *failure_name(int failure, char *text, size_t size) {
    if (failure == ENDED_EARLY) return "connection ended";
    if (failure == WRONG_REDIRECT) return "wrong redirect";
    if (failure == UNFINISHED) return "unfinished";
    snprintf(text, size, "%d", failure);
    return text;
}

static void print_example(void) {
    printf(",\"example\":\"");
    for (const char *one = load.example; *one; one++)
        if (*one >= ' ' && *one != '"' && *one != '\\') putchar(*one);
        else putchar(' ');
    printf("\"");
}

static void report(void) {
    char text[16], *comma = "";
    qsort(load.latencies, (size_t)load.succeeded, sizeof *load.latencies, by_size);
    printf("{\"planned\":%d,\"succeeded\":%d,\"seconds\":%.6f,\"p50\":%.4f,\"p99\":%.4f,\"max\":%.4f,"
           "\"opened\":%ld,\"most_under_way\":%d,\"failed\":{",
           load.planned, load.succeeded, load.ended - load.began, quantile(0.5), quantile(0.99), quantile(1),
           load.product.opened + load.provider.opened, load.most_under_way);
    for (int i = 0; i < STATUSES; i++) {
        if (load.failed[i] == 0) continue;
        printf("%s\"%s\":%ld", comma, failure_name(i, text, sizeof text), load.failed[i]);
        comma = ",";
    }
    printf("}");
    if (load.example[0] != '\0') print_example();
    printf("}\n");
    fflush(stdout);
}

static void run(const char *steps, const char *kind, double value, double limit) {
    snprintf(load.steps_text, sizeof load.steps_text, "%s", steps);
    load.steps = load.steps_text;
    load.closed_loop = strcmp(kind, "closed") == 0;
    load.connections = (int)value;
    load.rate = value;
    load.limit = limit;
    load.begun = load.finished = load.under_way = load.most_under_way = load.succeeded = 0;
    load.product.opened = load.provider.opened = 0;
    load.example[0] = '\0';
    memset(load.failed, 0, sizeof load.failed);
    load.latencies = malloc((size_t)load.planned * sizeof *load.latencies);
    load.running = true;
    load.began = load.ended = now();
    if (load.closed_loop)
        for (int i = 0; i < load.connections; i++) begin_next();
    while (load.finished < load.planned && now() < load.began + load.limit) {
        begin_due();
        loop_step(until_next());
    }
    abandon();
    report();
    free(load.latencies);
}

static void plan(int count) {
    for (int i = 0; i < load.planned; i++) {
        SignIn *sign_in = &load.sign_ins[i];
        free(sign_in->address);
        free(sign_in->cookies);
        free(sign_in->code);
        free(sign_in->access_token);
    }
    load.planned = count;
    free(load.sign_ins);
    load.sign_ins = calloc((size_t)count, sizeof *load.sign_ins);
    printf("{\"planned\":%d}\n", count);
    fflush(stdout);
}

/* Within a run a command waits: it must not begin another. */
static void on_command(int fd) {
    (void)fd;
    load.commanded = true;
}

static void obey(void) {
    char line[256];
    if (fgets(line, sizeof line, stdin) == NULL) exit(0);
    char steps[16], kind[16];
    double value, limit = 60;
    int count;
    if (sscanf(line, "new %d", &count) == 1) plan(count);
    else if (sscanf(line, "run %15s %15s %lf limit=%lf", steps, kind, &value, &limit) >= 3) run(steps, kind, value, limit);
    else {
        fprintf(stderr, "unknown command: %s", line);
        exit(2);
    }
}

int main(int count, char **values) {
    const char *ca_file = argument(count, values, "ca_file", "");
    const char *client_id = argument(count, values, "client_id", "");
    char pair[256];
    load.port = atoi(argument(count, values, "port", NULL));
    load.path = argument(count, values, "path", NULL);
    load.endpoint = argument(count, values, "endpoint", NULL);
    load.jwt = *argument(count, values, "jwt", NULL) == '1';
    load.provider_port = atoi(argument(count, values, "provider", NULL));
    load.client_id = client_id;
    snprintf(pair, sizeof pair, "%s:%s", client_id, argument(count, values, "client_secret", ""));
    strcpy(load.basic, "Basic ");
    EVP_EncodeBlock((unsigned char *)load.basic + strlen("Basic "), (unsigned char *)pair, (int)strlen(pair));
    loop_open();
    pool_open(&load.product, load.port, NULL, on_input, on_end);
    pool_open(&load.provider, load.provider_port, *ca_file ? tls_client(ca_file) : NULL, on_input, on_end);
    pool_open(&load.control, atoi(argument(count, values, "control", NULL)), NULL, on_input, on_end);
    setvbuf(stdin, NULL, _IONBF, 0);
    loop_watch(STDIN_FILENO, on_command);
    for (;;) {
        loop_step(-1);
        if (load.commanded) obey();
        load.commanded = false;
    }
}
