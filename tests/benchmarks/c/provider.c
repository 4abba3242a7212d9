/* A stub OpenID provider: discovery, keys, authorization, token, userinfo; each call answered after an optional delay.

   `/authorize` signs the ID token for the nonce it is given, so the calls that a benchmark times cost no signature.
   A second, plain port serves `/authorize` for the load generator, `/delay?ms=`, and `/counts`.

   provider issuer= port= control= client_id= client_secret= key=PEM kid= jwks=FILE [certificate= certificate_key=] */

#define _GNU_SOURCE
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "net.h"

enum { SUFFIX = 16, SMALL = 256, LARGE = 8192, SHA256_TEXT = 43 };

/* One sign-in: its number and a random suffix make the code and the access token. */
typedef struct {
    char suffix[SUFFIX + 1];
    char challenge[SHA256_TEXT + 1];
    char *id_token; /* NULL once the code is redeemed */
} SignIn;

typedef struct Delayed Delayed;
struct Delayed {
    double due;
    Connection *connection; /* NULL once it ended */
    Delayed *next;
    size_t length;
    char response[];
};

typedef struct {
    const char *issuer, *client_id, *client_secret, *kid;
    char basic[LARGE]; /* the Authorization header of the client */
    char *jwks;
    EVP_PKEY *key;
    SignIn *sign_ins;
    unsigned used, capacity;
    double delay; /* seconds */
    Delayed *first, *last;
    long discoveries, key_fetches, authorizations, tokens, userinfos, refused;
} Provider;

static Provider provider;

static void respond(Connection *connection, double delay, int status, const char *headers, const char *body) {
    char head[LARGE + SMALL];
    int length = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\n%sContent-Length: %zu\r\n\r\n", status, headers,
                          strlen(body));
    if (delay <= 0) {
        Buffer whole = {0};
        buffer_add(&whole, head, (size_t)length);
        buffer_add(&whole, body, strlen(body));
        connection_write(connection, whole.data, buffer_length(&whole));
        free(whole.data);
        return;
    }
    Delayed *delayed = malloc(sizeof *delayed + (size_t)length + strlen(body));
    *delayed = (Delayed){.due = now() + delay, .connection = connection, .length = (size_t)length + strlen(body)};
    memcpy(delayed->response, head, (size_t)length);
    memcpy(delayed->response + length, body, strlen(body));
    connection->owner = delayed;
    if (provider.last != NULL) provider.last->next = delayed;
    else provider.first = delayed;
    provider.last = delayed;
}

static void respond_json(Connection *connection, double delay, const char *body) {
    respond(connection, delay, 200, "Content-Type: application/json\r\nCache-Control: no-store\r\n", body);
}

static void refuse(Connection *connection, const char *why) {
    char body[SMALL];
    provider.refused++;
    snprintf(body, sizeof body, "{\"error\":\"invalid_grant\",\"error_description\":\"%s\"}", why);
    respond(connection, provider.delay, 400, "Content-Type: application/json\r\n", body);
}

/* Sends the responses that are due; returns the seconds until the next, or -1. The delay is the same for all. */
static double send_due(void) {
    while (provider.first != NULL) {
        Delayed *delayed = provider.first;
        double left = delayed->due - now();
        if (left > 0) return left;
        provider.first = delayed->next;
        if (provider.first == NULL) provider.last = NULL;
        if (delayed->connection != NULL) {
            delayed->connection->owner = NULL;
            connection_write(delayed->connection, delayed->response, delayed->length);
        }
        free(delayed);
    }
    return -1;
}

/* ---------------------------------------------------------------------------------------------------- the ID token */

static void access_token(char *target, size_t size, unsigned number) {
    snprintf(target, size, "at-%u-%s", number, provider.sign_ins[number].suffix);
}

static char *sign_id_token(unsigned number, const char *nonce) {
    char header[SMALL], claims[LARGE], token[SMALL], hash_text[SHA256_TEXT + 1];
    unsigned char digest[SHA256_DIGEST_LENGTH], signature[1024];
    size_t signature_length = sizeof signature;
    access_token(token, sizeof token, number);
    SHA256((unsigned char *)token, strlen(token), digest);
    base64url(hash_text, digest, SHA256_DIGEST_LENGTH / 2); /* at_hash: OpenID Connect Core, section 3.1.3.6 */
    snprintf(header, sizeof header, "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", provider.kid);
    snprintf(claims, sizeof claims,
             "{\"iss\":\"%s\",\"sub\":\"person-%u\",\"aud\":\"%s\",\"iat\":%ld,\"exp\":%ld,\"auth_time\":%ld,"
             "\"nonce\":\"%s\",\"at_hash\":\"%s\"}",
             provider.issuer, number, provider.client_id, (long)time(NULL), (long)time(NULL) + 3600, (long)time(NULL),
             nonce, hash_text);
    char *signed_token = malloc(LARGE * 2 + sizeof signature * 2);
    size_t length = base64url(signed_token, (unsigned char *)header, strlen(header));
    signed_token[length++] = '.';
    length += base64url(signed_token + length, (unsigned char *)claims, strlen(claims));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, provider.key) != 1 ||
        EVP_DigestSign(context, signature, &signature_length, (unsigned char *)signed_token, length) != 1)
        die("sign");
    EVP_MD_CTX_free(context);
    signed_token[length++] = '.';
    length += base64url(signed_token + length, signature, signature_length);
    return realloc(signed_token, length + 1);
}

/* Finds the sign-in of `PREFIX-NUMBER-SUFFIX`. */
static bool find(const char *text, const char *prefix, unsigned *number) {
    char suffix[SUFFIX + 1] = "", format[SMALL];
    snprintf(format, sizeof format, "%s-%%u-%%%ds", prefix, SUFFIX);
    return sscanf(text, format, number, suffix) == 2 && *number < provider.used &&
           strcmp(suffix, provider.sign_ins[*number].suffix) == 0;
}

/* ---------------------------------------------------------------------------------------------------- the endpoints */

static void authorize(Connection *connection, const char *query, size_t length) {
    char redirect_uri[LARGE / 2], nonce[SMALL * 2], headers[LARGE];
    Slice state = parameter(query, length, "state");
    Slice challenge = parameter(query, length, "code_challenge");
    percent_decode(redirect_uri, sizeof redirect_uri, parameter(query, length, "redirect_uri"));
    percent_decode(nonce, sizeof nonce, parameter(query, length, "nonce"));
    if (provider.used == provider.capacity) {
        provider.capacity = provider.capacity * 2 + 1024;
        provider.sign_ins = realloc(provider.sign_ins, provider.capacity * sizeof *provider.sign_ins);
    }
    unsigned number = provider.used++;
    SignIn *sign_in = &provider.sign_ins[number];
    unsigned char random[SUFFIX / 2];
    *sign_in = (SignIn){0};
    RAND_bytes(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) sprintf(sign_in->suffix + 2 * i, "%02x", random[i]);
    percent_decode(sign_in->challenge, sizeof sign_in->challenge, challenge);
    sign_in->id_token = sign_id_token(number, nonce);
    provider.authorizations++;
    snprintf(headers, sizeof headers, "Location: %s%ccode=code-%u-%s&state=%.*s\r\n", redirect_uri,
             strchr(redirect_uri, '?') != NULL ? '&' : '?', number, sign_in->suffix, (int)state.length, state.text);
    respond(connection, 0, 302, headers, "");
}

static bool is_client(const Message *message) {
    Slice header = http_header(message, "authorization", NULL);
    if (header.text != NULL)
        return header.length == strlen(provider.basic) && memcmp(header.text, provider.basic, header.length) == 0;
    char secret[LARGE];
    percent_decode(secret, sizeof secret, parameter(message->body, message->body_length, "client_secret"));
    return strcmp(secret, provider.client_secret) == 0;
}

static bool is_challenged(const SignIn *sign_in, const Message *message) {
    if (sign_in->challenge[0] == '\0') return true;
    char verifier[SMALL], text[SHA256_TEXT + 1];
    unsigned char digest[SHA256_DIGEST_LENGTH];
    size_t length = percent_decode(verifier, sizeof verifier,
                                   parameter(message->body, message->body_length, "code_verifier"));
    SHA256((unsigned char *)verifier, length, digest);
    base64url(text, digest, sizeof digest);
    return strcmp(text, sign_in->challenge) == 0;
}

static void token(Connection *connection, const Message *message) {
    char code[SMALL], access[SMALL], body[LARGE];
    unsigned number;
    percent_decode(code, sizeof code, parameter(message->body, message->body_length, "code"));
    if (!is_client(message)) { refuse(connection, "not the client"); return; }
    if (!find(code, "code", &number)) { refuse(connection, "unknown code"); return; }
    SignIn *sign_in = &provider.sign_ins[number];
    if (sign_in->id_token == NULL) { refuse(connection, "the code was redeemed before"); return; }
    if (!is_challenged(sign_in, message)) { refuse(connection, "not the verifier"); return; }
    access_token(access, sizeof access, number);
    snprintf(body, sizeof body,
             "{\"access_token\":\"%s\",\"token_type\":\"Bearer\",\"expires_in\":3600,\"scope\":\"openid email profile\","
             "\"id_token\":\"%s\"}",
             access, sign_in->id_token);
    free(sign_in->id_token);
    sign_in->id_token = NULL;
    provider.tokens++;
    respond_json(connection, provider.delay, body);
}

static void userinfo(Connection *connection, const Message *message) {
    char text[SMALL] = "", body[LARGE];
    unsigned number;
    Slice header = http_header(message, "authorization", NULL);
    if (header.text != NULL && header.length < sizeof text) memcpy(text, header.text, header.length);
    if (strncasecmp(text, "bearer ", 7) != 0 || !find(text + 7, "at", &number)) {
        refuse(connection, "unknown access token");
        return;
    }
    snprintf(body, sizeof body,
             "{\"sub\":\"person-%u\",\"email\":\"agent%u@acme.example\",\"email_verified\":true,\"name\":\"Agent %u\"}",
             number, number, number);
    provider.userinfos++;
    respond_json(connection, provider.delay, body);
}

static void discovery(Connection *connection) {
    char body[LARGE];
    const char *issuer = provider.issuer;
    snprintf(body, sizeof body,
             "{\"issuer\":\"%s\",\"authorization_endpoint\":\"%s/authorize\",\"token_endpoint\":\"%s/token\","
             "\"userinfo_endpoint\":\"%s/userinfo\",\"jwks_uri\":\"%s/jwks\",\"response_types_supported\":[\"code\"],"
             "\"response_modes_supported\":[\"query\"],\"grant_types_supported\":[\"authorization_code\"],"
             "\"subject_types_supported\":[\"public\"],\"id_token_signing_alg_values_supported\":[\"RS256\"],"
             "\"token_endpoint_auth_methods_supported\":[\"client_secret_basic\",\"client_secret_post\"],"
             "\"code_challenge_methods_supported\":[\"S256\"],\"scopes_supported\":[\"openid\",\"email\",\"profile\"]}",
             issuer, issuer, issuer, issuer, issuer);
    provider.discoveries++;
    respond_json(connection, 0, body);
}

static void counts(Connection *connection) {
    char body[SMALL * 2];
    snprintf(body, sizeof body,
             "{\"discoveries\":%ld,\"key_fetches\":%ld,\"authorizations\":%ld,\"tokens\":%ld,\"userinfos\":%ld,"
             "\"refused\":%ld}",
             provider.discoveries, provider.key_fetches, provider.authorizations, provider.tokens, provider.userinfos,
             provider.refused);
    respond_json(connection, 0, body);
}

static bool is_path(Slice path, const char *name) {
    return path.length == strlen(name) && memcmp(path.text, name, path.length) == 0;
}

static void handle(Connection *connection, const Message *message) {
    const char *target = memchr(message->head, ' ', message->head_length);
    if (target == NULL) { connection_close(connection); return; }
    target++;
    const char *end = memchr(target, ' ', message->head_length - (size_t)(target - message->head));
    if (end == NULL) { connection_close(connection); return; }
    const char *mark = memchr(target, '?', (size_t)(end - target));
    Slice path = {target, (size_t)((mark != NULL ? mark : end) - target)};
    const char *query = mark != NULL ? mark + 1 : end;
    if (is_path(path, "/token")) token(connection, message);
    else if (is_path(path, "/userinfo")) userinfo(connection, message);
    else if (is_path(path, "/authorize")) authorize(connection, query, (size_t)(end - query));
    else if (is_path(path, "/.well-known/openid-configuration")) discovery(connection);
    else if (is_path(path, "/jwks")) { provider.key_fetches++; respond_json(connection, 0, provider.jwks); }
    else if (is_path(path, "/counts")) counts(connection);
    else if (is_path(path, "/delay")) {
        Slice given = parameter(query, (size_t)(end - query), "ms");
        provider.delay = given.text != NULL ? atof(given.text) / 1000 : 0;
        respond_json(connection, 0, "{}");
    } else respond(connection, 0, 404, "", "");
}

static void on_input(Connection *connection) {
    Message message;
    int found;
    while (!connection->closed && (found = http_read(&connection->in, &message)) == 1) {
        handle(connection, &message);
        buffer_drop(&connection->in, message.total);
    }
}

static void on_end(Connection *connection) {
    if (connection->owner != NULL) ((Delayed *)connection->owner)->connection = NULL;
}

static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, LARGE);
    if (file == NULL || fread(text, 1, LARGE - 1, file) == 0) die(path);
    fclose(file);
    return text;
}

int main(int count, char **values) {
    const char *certificate = argument(count, values, "certificate", "");
    provider.issuer = argument(count, values, "issuer", NULL);
    provider.client_id = argument(count, values, "client_id", NULL);
    provider.client_secret = argument(count, values, "client_secret", NULL);
    provider.kid = argument(count, values, "kid", NULL);
    provider.jwks = read_file(argument(count, values, "jwks", NULL));
    FILE *file = fopen(argument(count, values, "key", NULL), "rb");
    if (file == NULL || (provider.key = PEM_read_PrivateKey(file, NULL, NULL, NULL)) == NULL) die("key");
    fclose(file);
    char pair[SMALL];
    snprintf(pair, sizeof pair, "%s:%s", provider.client_id, provider.client_secret);
    strcpy(provider.basic, "Basic ");
    EVP_EncodeBlock((unsigned char *)provider.basic + strlen("Basic "), (unsigned char *)pair, (int)strlen(pair));
    SSL_CTX *tls = *certificate ? tls_server(certificate, argument(count, values, "certificate_key", NULL)) : NULL;
    loop_open();
    serve(atoi(argument(count, values, "port", NULL)), tls, on_input, on_end);
    serve(atoi(argument(count, values, "control", NULL)), NULL, on_input, on_end);
    for (;;) loop_step(send_due());
}
