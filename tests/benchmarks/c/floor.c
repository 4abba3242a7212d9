/* The floor: the least work a sign-in can be, by one thread. It protects nobody and is no product.

   `/login` redirects with state, nonce and challenge, kept in a signed cookie. `/callback` checks the cookie, asks the
   provider for token and userinfo over kept connections, verifies the ID token (RS256), signs a token (HS256), redirects.

   floor port= provider= issuer= client_id= client_secret= shared_secret= endpoint= public_key=PEM [ca_file=] */

#define _GNU_SOURCE
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net.h"

enum { RANDOM = 32, TEXT = 64, SMALL = 512, LARGE = 8192 };

static const char COOKIE[] = "floor";

/* A browser's connection waiting for the provider. */
typedef struct {
    Connection *browser; /* NULL once it ended */
    char nonce[TEXT], verifier[TEXT], code[SMALL], access_token[SMALL], subject[SMALL], redirect_url[LARGE];
    bool has_token;
} Callback;

typedef struct {
    const char *issuer, *client_id, *shared_secret, *endpoint;
    char basic[SMALL], callback[SMALL];
    unsigned char cookie_key[RANDOM];
    int provider_port;
    EVP_PKEY *key;
    EVP_MD_CTX *verifier;
    Pool pool;
} Floor;

static Floor server;

static void random_text(char *target) {
    unsigned char data[RANDOM];
    RAND_bytes(data, sizeof data);
    base64url(target, data, sizeof data);
}

static void sign_text(char *target, const void *key, size_t key_length, const char *text, size_t length) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    HMAC(EVP_sha256(), key, (int)key_length, (const unsigned char *)text, length, digest, NULL);
    base64url(target, digest, sizeof digest);
}

static void respond(Connection *connection, int status, const char *headers) {
    char response[LARGE * 2];
    int length = snprintf(response, sizeof response, "HTTP/1.1 %d X\r\n%sContent-Length: 0\r\n\r\n", status, headers);
    connection_write(connection, response, (size_t)length);
}

/* ------------------------------------------------------------------------------------------------------- the login */

static void login(Connection *connection, Slice query) {
    char state[TEXT], nonce[TEXT], verifier[TEXT], challenge[TEXT], mac[TEXT], value[LARGE / 2], headers[LARGE];
    unsigned char digest[SHA256_DIGEST_LENGTH];
    Slice redirect_url = parameter(query.text, query.length, "redirect_url");
    random_text(state);
    random_text(nonce);
    random_text(verifier);
    SHA256((unsigned char *)verifier, strlen(verifier), digest);
    base64url(challenge, digest, sizeof digest);
    int length = snprintf(value, sizeof value, "%s.%s.%s.%.*s", state, nonce, verifier, (int)redirect_url.length,
                          redirect_url.text != NULL ? redirect_url.text : "");
    sign_text(mac, server.cookie_key, sizeof server.cookie_key, value, (size_t)length);
    snprintf(headers, sizeof headers,
             "Location: %s/authorize?response_type=code&client_id=%s&redirect_uri=%s&scope=openid%%20email%%20profile"
             "&state=%s&nonce=%s&code_challenge=%s&code_challenge_method=S256\r\n"
             "Set-Cookie: %s=%s.%s; Path=/; HttpOnly; SameSite=Lax\r\n",
             server.issuer, server.client_id, server.callback, state, nonce, challenge, COOKIE, mac, value);
    respond(connection, 302, headers);
}

/* ---------------------------------------------------------------------------------------------------- the callback */

static Slice cut(Slice *rest, char separator) {
    const char *found = rest->text == NULL ? NULL : memchr(rest->text, separator, rest->length);
    if (found == NULL) return (Slice){NULL, 0};
    Slice part = {rest->text, (size_t)(found - rest->text)};
    *rest = (Slice){found + 1, rest->length - part.length - 1};
    return part;
}

static bool keep(char *target, size_t size, Slice part) {
    if (part.text == NULL || part.length >= size) return false;
    memcpy(target, part.text, part.length);
    target[part.length] = '\0';
    return true;
}

static bool equals(Slice part, const char *text) {
    return part.text != NULL && part.length == strlen(text) && memcmp(part.text, text, part.length) == 0;
}

/* Opens the cookie; the state must be that of the query. */
static bool open_cookie(Callback *callback, const Message *message, Slice state) {
    char mac[TEXT];
    Slice header = http_header(message, "cookie", NULL);
    size_t name = strlen(COOKIE);
    if (header.text == NULL || header.length <= name + 1 || memcmp(header.text, COOKIE, name) != 0) return false;
    Slice rest = {header.text + name + 1, header.length - name - 1};
    Slice given = cut(&rest, '.');
    sign_text(mac, server.cookie_key, sizeof server.cookie_key, rest.text, rest.length);
    if (!equals(given, mac)) return false;
    Slice expected = cut(&rest, '.');
    if (expected.text == NULL || state.text == NULL || expected.length != state.length ||
        memcmp(expected.text, state.text, state.length) != 0)
        return false;
    Slice nonce = cut(&rest, '.'), verifier = cut(&rest, '.');
    return keep(callback->nonce, TEXT, nonce) && keep(callback->verifier, TEXT, verifier) &&
           keep(callback->redirect_url, LARGE, rest);
}

static void ask(Callback *callback) {
    char request[LARGE];
    bool reused;
    int length;
    if (callback->has_token) {
        length = snprintf(request, sizeof request,
                          "GET /userinfo HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n\r\n",
                          server.provider_port, callback->access_token);
    } else {
        char form[LARGE / 2];
        int form_length = snprintf(form, sizeof form,
                                   "grant_type=authorization_code&code=%s&redirect_uri=%s&code_verifier=%s",
                                   callback->code, server.callback, callback->verifier);
        length = snprintf(request, sizeof request,
                          "POST /token HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Basic %s\r\nContent-Type: "
                          "application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
                          server.provider_port, server.basic, form_length, form);
    }
    Connection *connection = pool_take(&server.pool, &reused);
    connection->owner = callback;
    connection_write(connection, request, (size_t)length);
}

static void begin_callback(Connection *browser, const Message *message, Slice query) {
    Callback *callback = calloc(1, sizeof *callback);
    if (!open_cookie(callback, message, parameter(query.text, query.length, "state")) ||
        !keep(callback->code, SMALL, parameter(query.text, query.length, "code"))) {
        free(callback);
        respond(browser, 400, "");
        return;
    }
    callback->browser = browser;
    browser->owner = callback;
    ask(callback);
}

/* Finds a text member of JSON that has no escapes. */
static bool member(char *target, size_t size, const char *json, size_t length, const char *name) {
    char pattern[TEXT];
    int named = snprintf(pattern, sizeof pattern, "\"%s\":\"", name);
    const char *found = memmem(json, length, pattern, (size_t)named);
    if (found == NULL) return false;
    found += named;
    const char *end = memchr(found, '"', length - (size_t)(found - json));
    return end != NULL && keep(target, size, (Slice){found, (size_t)(end - found)});
}

static bool verify_signature(const char *token, size_t length, Slice encoded) {
    unsigned char signature[SMALL];
    int size = base64url_decode(signature, sizeof signature, encoded);
    return size > 0 && EVP_DigestVerifyInit(server.verifier, NULL, EVP_sha256(), NULL, server.key) == 1 &&
           EVP_DigestVerify(server.verifier, signature, (size_t)size, (const unsigned char *)token, length) == 1;
}

static bool verify_id_token(Callback *callback, const char *token) {
    unsigned char claims[LARGE];
    char text[SMALL];
    Slice rest = {token, strlen(token)};
    cut(&rest, '.');
    Slice encoded = cut(&rest, '.');
    if (encoded.text == NULL) return false;
    int length = base64url_decode(claims, sizeof claims - 1, encoded);
    if (length < 0 || !verify_signature(token, (size_t)(rest.text - token) - 1, rest)) return false;
    const char *json = (const char *)claims, *expiry;
    claims[length] = '\0';
    if (!member(text, sizeof text, json, (size_t)length, "iss") || strcmp(text, server.issuer) != 0) return false;
    if (!member(text, sizeof text, json, (size_t)length, "aud") || strcmp(text, server.client_id) != 0) return false;
    if (!member(text, sizeof text, json, (size_t)length, "nonce") || strcmp(text, callback->nonce) != 0) return false;
    if ((expiry = strstr(json, "\"exp\":")) == NULL || atol(expiry + strlen("\"exp\":")) < time(NULL)) return false;
    return member(callback->subject, sizeof callback->subject, json, (size_t)length, "sub");
}

/* Signs the token for the endpoint and redirects. */
static bool deliver(Callback *callback, const Message *message) {
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    char email[SMALL], name[SMALL], subject[SMALL], id[TEXT], claims[LARGE / 4], token[LARGE / 2], headers[LARGE * 2];
    if (!member(subject, sizeof subject, message->body, message->body_length, "sub") ||
        strcmp(subject, callback->subject) != 0 ||
        !member(email, sizeof email, message->body, message->body_length, "email") ||
        !member(name, sizeof name, message->body, message->body_length, "name"))
        return false;
    random_text(id);
    int size = snprintf(claims, sizeof claims,
                        "{\"iss\":\"jwt server\",\"aud\":\"Comm100\",\"sub\":\"comm100\",\"jti\":\"%s\",\"iat\":%ld,"
                        "\"exp\":%ld,\"email\":\"%s\",\"name\":\"%s\"}",
                        id, (long)time(NULL), (long)time(NULL) + 60, email, name);
    size_t length = base64url(token, (const unsigned char *)header, strlen(header));
    token[length++] = '.';
    length += base64url(token + length, (unsigned char *)claims, (size_t)size);
    token[length] = '.';
    sign_text(token + length + 1, server.shared_secret, strlen(server.shared_secret), token, length);
    if (callback->browser == NULL) return true;
    snprintf(headers, sizeof headers, "Location: %s?jwt=%s&redirect_url=%s\r\nSet-Cookie: %s=; Path=/; Max-Age=0\r\n",
             server.endpoint, token, callback->redirect_url, COOKIE);
    respond(callback->browser, 303, headers);
    return true;
}

static void end_callback(Callback *callback, bool failed) {
    if (callback->browser != NULL) {
        callback->browser->owner = NULL;
        if (failed) respond(callback->browser, 502, "");
    }
    free(callback);
}

static void on_answer(Connection *connection) {
    Message message;
    Callback *callback = connection->owner;
    if (callback == NULL || http_read(&connection->in, &message) != 1) return;
    bool good = message.status == 200, last = callback->has_token;
    if (good && last) good = deliver(callback, &message);
    else if (good) {
        char token[LARGE];
        good = member(token, sizeof token, message.body, message.body_length, "id_token") &&
               member(callback->access_token, SMALL, message.body, message.body_length, "access_token") &&
               verify_id_token(callback, token);
        callback->has_token = true;
    }
    buffer_drop(&connection->in, message.total);
    pool_give(&server.pool, connection);
    if (last || !good) end_callback(callback, !good);
    else ask(callback);
}

static void on_provider_end(Connection *connection) {
    if (connection->owner != NULL) end_callback(connection->owner, true);
    else pool_forget(&server.pool, connection);
}

/* -------------------------------------------------------------------------------------------------------- requests */

static void on_input(Connection *connection) {
    Message message;
    while (!connection->closed && connection->owner == NULL && http_read(&connection->in, &message) == 1) {
        Slice rest = {message.head, message.head_length};
        cut(&rest, ' ');
        Slice target = cut(&rest, ' '), query = target;
        Slice path = cut(&query, '?');
        if (equals(path, "/login")) login(connection, query);
        else if (equals(path, "/callback")) begin_callback(connection, &message, query);
        else respond(connection, equals(target, "/healthz") ? 200 : 404, "");
        buffer_drop(&connection->in, message.total);
    }
}

static void on_browser_end(Connection *connection) {
    if (connection->owner != NULL) ((Callback *)connection->owner)->browser = NULL;
}

int main(int count, char **values) {
    const char *ca_file = argument(count, values, "ca_file", ""), *port = argument(count, values, "port", NULL);
    char pair[SMALL / 2], callback[SMALL / 4];
    server.issuer = argument(count, values, "issuer", NULL);
    server.client_id = argument(count, values, "client_id", NULL);
    server.shared_secret = argument(count, values, "shared_secret", NULL);
    server.endpoint = argument(count, values, "endpoint", NULL);
    server.provider_port = atoi(argument(count, values, "provider", NULL));
    snprintf(pair, sizeof pair, "%s:%s", server.client_id, argument(count, values, "client_secret", NULL));
    EVP_EncodeBlock((unsigned char *)server.basic, (unsigned char *)pair, (int)strlen(pair));
    int length = snprintf(callback, sizeof callback, "http://127.0.0.1:%s/callback", port);
    percent_encode(server.callback, sizeof server.callback, (Slice){callback, (size_t)length});
    FILE *file = fopen(argument(count, values, "public_key", NULL), "rb");
    if (file == NULL || (server.key = PEM_read_PUBKEY(file, NULL, NULL, NULL)) == NULL) die("public_key");
    fclose(file);
    server.verifier = EVP_MD_CTX_new();
    RAND_bytes(server.cookie_key, sizeof server.cookie_key);
    loop_open();
    pool_open(&server.pool, server.provider_port, *ca_file ? tls_client(ca_file) : NULL, on_answer, on_provider_end);
    serve(atoi(port), NULL, on_input, on_browser_end);
    for (;;) loop_step(-1);
}
