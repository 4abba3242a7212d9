/* Asks one address again and again and prints the longest wait for an answer: a stall of the server's event loop.

   probe port= path= interval= (milliseconds)
   It runs until its input ends, then prints one line of JSON. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

static int open_connection(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* Returns the seconds until the whole answer came. */
static double ask(int fd, const char *request) {
    char part[4096];
    Buffer answer = {0};
    Message message;
    double began = now();
    if (send(fd, request, strlen(request), 0) < 0) die("send");
    while (http_read(&answer, &message) != 1) {
        ssize_t got = recv(fd, part, sizeof part, 0);
        if (got <= 0) die("the connection ended");
        buffer_add(&answer, part, (size_t)got);
    }
    double seconds = now() - began;
    if (message.status != 200) {
        fprintf(stderr, "probe: %.*s\n", (int)message.head_length, message.head);
        exit(1);
    }
    free(answer.data);
    return seconds;
}

static bool input_ended(int milliseconds) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, milliseconds) != 0;
}

int main(int count, char **values) {
    char request[512];
    double longest = 0, total = 0;
    long asked = 0, over_5 = 0;
    int fd = open_connection(atoi(argument(count, values, "port", NULL)));
    int interval = atoi(argument(count, values, "interval", NULL));
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
             argument(count, values, "path", NULL));
    if (nice(-10) == -1) total = 0; /* the other programs of the core come after it, where that is allowed */
    while (!input_ended(interval)) {
        double seconds = ask(fd, request);
        total += seconds;
        asked++;
        if (seconds > longest) longest = seconds;
        if (seconds > 0.005) over_5++;
    }
    printf("{\"asked\":%ld,\"longest\":%.4f,\"mean\":%.4f,\"over_5_ms\":%ld}\n", asked, longest * 1000,
           asked ? total / (double)asked * 1000 : 0, over_5);
}
