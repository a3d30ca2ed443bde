/*
 * A caching reverse proxy with a thread for each connection: libmicrohttpd in front, libcurl to the origin, and the cache's own
 * refresher for what no client waits for.
 *
 *     mhd_server PORT ORIGIN_HOST ORIGIN_PORT
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <curl/curl.h>
#include <microhttpd.h>

#include "swrcache.h"

#define MAX_FIELDS 128
#define MAX_PIECES 64

static swrcache_cache *cache;
static swrcache_policy *policy;
static swrcache_refresher *refresher;
static char origin[256];

/* A list of header fields with memory of its own. */
struct fields {
    swrcache_field list[MAX_FIELDS];
    size_t count;
};

static void push(struct fields *fields, const char *name, size_t name_len, const char *value, size_t value_len)
{
    swrcache_field *field;
    if (fields->count == MAX_FIELDS || name_len == 0)
        return;
    field = &fields->list[fields->count++];
    field->name = strndup(name, name_len);
    field->name_len = name_len;
    field->value = strndup(value, value_len);
    field->value_len = value_len;
}

static void clear(struct fields *fields)
{
    for (size_t i = 0; i < fields->count; i++) {
        free((char *)fields->list[i].name);
        free((char *)fields->list[i].value);
    }
    fields->count = 0;
}

static int is_hop_by_hop(const char *name)
{
    static const char *const names[] = {"connection", "proxy-connection", "keep-alive", "te", "trailer",
                                        "transfer-encoding", "upgrade", "content-length"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i]) == 0)
            return 1;
    return 0;
}

/* To the origin. */

/* An answer on its way from the origin. */
struct answer {
    swrcache_fetch *fetch;  /* NULL: it is not for the cache */
    CURL *curl;
    int todo;               /* 0 until the head is complete */
    int rc;
    int keep;               /* the body is needed here */
    long status;
    struct fields fields;
    char *body;
    size_t length;
};

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct answer *answer = arg;
    size_t length = size * count, end = length;
    const char *colon = memchr(line, ':', length);
    while (end > 0 && (line[end - 1] == '\r' || line[end - 1] == '\n'))
        end--;
    if (end >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        clear(&answer->fields);  /* what came before was 1xx */
    } else if (colon != NULL && colon != line) {
        const char *value = colon + 1;
        while (value < line + end && (*value == ' ' || *value == '\t'))
            value++;
        push(&answer->fields, line, (size_t)(colon - line), value, (size_t)(line + end - value));
    }
    return length;
}

/* Once the head is complete: what does the cache want? */
static void judge(struct answer *answer)
{
    swrcache_response response = {.struct_size = sizeof response};
    if (answer->todo != 0)
        return;
    curl_easy_getinfo(answer->curl, CURLINFO_RESPONSE_CODE, &answer->status);
    answer->todo = SWRCACHE_DO_RELAY;
    if (answer->fetch != NULL) {
        response.status = (int)answer->status;
        response.fields = answer->fields.list;
        response.field_count = answer->fields.count;
        answer->rc = swrcache_fetch_respond(answer->fetch, &response, &answer->todo);
    }
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct answer *answer = arg;
    size_t length = size * count;
    judge(answer);
    if (answer->todo == SWRCACHE_DO_STORE && answer->rc == SWRCACHE_OK)
        answer->rc = swrcache_fetch_write(answer->fetch, bytes, length);
    if (answer->keep) {
        char *body = realloc(answer->body, answer->length + length);
        if (body == NULL)
            return 0;
        memcpy(body + answer->length, bytes, length);
        answer->body = body;
        answer->length += length;
    }
    return length;
}

static struct curl_slist *append(struct curl_slist *list, const char *name, size_t name_len, const char *value, size_t value_len)
{
    char *line;
    /* curl leaves out a field without a value, unless it ends so. */
    if (asprintf(&line, value_len ? "%.*s: %.*s" : "%.*s;%.*s", (int)name_len, name, (int)value_len, value) < 0)
        return list;
    list = curl_slist_append(list, line);
    free(line);
    return list;
}

/* Asks the origin, and feeds the cache. */
static void ask(struct answer *answer, const char *target, const char *method, const struct fields *fields, const char *body, size_t length)
{
    char *url = NULL;
    CURL *curl = answer->curl = curl_easy_init();
    struct curl_slist *lines = NULL;
    for (size_t i = 0; i < fields->count; i++)
        lines = append(lines, fields->list[i].name, fields->list[i].name_len, fields->list[i].value, fields->list[i].value_len);
    lines = curl_slist_append(lines, "Expect:");
    if (asprintf(&url, "%s%s", origin, target) < 0)
        url = NULL;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, lines);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (strcmp(method, "GET") != 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)length);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body ? body : "");
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    }
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        judge(answer);
    int failure = code == CURLE_OPERATION_TIMEDOUT ? SWRCACHE_FAIL_TIMEOUT : SWRCACHE_FAIL_ERROR;
    if (answer->fetch != NULL && code != CURLE_OK && (answer->todo == 0 || answer->todo == SWRCACHE_DO_STORE))
        swrcache_fetch_fail(answer->fetch, failure, 0, &answer->todo);
    else if (answer->todo == SWRCACHE_DO_STORE && answer->rc == SWRCACHE_OK)
        swrcache_fetch_finish(answer->fetch, &answer->todo);
    if (code != CURLE_OK)
        answer->status = 0;
    if (answer->rc != SWRCACHE_OK)
        answer->todo = SWRCACHE_DO_RELAY;
    curl_slist_free_all(lines);
    curl_easy_cleanup(curl);
    free(url);
}

static void carry(struct answer *answer)
{
    struct fields fields = {.count = 0};
    swrcache_request request = {.struct_size = sizeof request};
    do {
        answer->todo = 0;
        clear(&answer->fields);
        if (swrcache_fetch_request(answer->fetch, &request) != SWRCACHE_OK)
            return;
        for (size_t i = 0; i < request.field_count; i++) {
            const swrcache_field *field = &request.fields[i];
            push(&fields, field->name, field->name_len, field->value, field->value_len);
        }
        ask(answer, request.target, request.method, &fields, NULL, 0);
        clear(&fields);
    } while (answer->todo == SWRCACHE_DO_ASK_AGAIN);
}

/* In a thread of the refresher. */
static void refresh(void *user, swrcache_fetch *fetch)
{
    struct answer answer = {.fetch = fetch};
    (void)user;
    carry(&answer);
    clear(&answer.fields);
}

/* To the client. */

struct body {
    swrcache_reply *reply;
    struct iovec piece;
};

static void free_body(void *arg)
{
    struct body *body = arg;
    swrcache_reply_free(body->reply);
    free(body);
}

static uint64_t number(const swrcache_field *field)
{
    uint64_t number = 0;
    for (size_t i = 0; i < field->value_len; i++)
        number = number * 10 + (uint64_t)(field->value[i] - '0');
    return number;
}

/* A body that grows, as it grows. */
static ssize_t read_body(void *arg, uint64_t at, char *to, size_t max)
{
    struct body *body = arg;
    size_t count;
    (void)at;
    if (body->piece.iov_len == 0) {
        int rc = swrcache_reply_read_wait(body->reply, 60000, &body->piece, 1, &count);
        if (rc != SWRCACHE_OK)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (count == 0)
            return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (max > body->piece.iov_len)
        max = body->piece.iov_len;
    memcpy(to, body->piece.iov_base, max);
    body->piece.iov_base = (char *)body->piece.iov_base + max;
    body->piece.iov_len -= max;
    return (ssize_t)max;
}

static enum MHD_Result send_status(struct MHD_Connection *connection, unsigned status)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result sent = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return sent;
}

static enum MHD_Result deliver(struct MHD_Connection *connection, swrcache_reply *reply, const char *method)
{
    swrcache_head head = {.struct_size = sizeof head};
    struct iovec pieces[MAX_PIECES];
    struct MHD_IoVec iov[MAX_PIECES];
    struct MHD_Response *response = NULL;
    uint64_t length = 0;
    size_t count = 0;
    int ends_here = 0;  /* nobody else frees the reply */
    swrcache_reply_head(reply, &head);
    struct body *body = calloc(1, sizeof *body);
    body->reply = reply;

    /* What is there goes out as it lies in the cache; what grows, or is in too many pieces, is read as it comes. */
    uint64_t announced = MHD_SIZE_UNKNOWN;
    for (size_t i = 0; i < head.field_count; i++)
        if (head.fields[i].name_len == 14 && strncasecmp(head.fields[i].name, "Content-Length", 14) == 0)
            announced = number(&head.fields[i]);
    if (strcmp(method, "HEAD") == 0)
        head.body_length = -1;  /* nothing will be read */
    int rc = head.body_length >= 0 ? swrcache_reply_read(reply, pieces, MAX_PIECES, &count) : SWRCACHE_EAGAIN;
    for (size_t i = 0; i < count; i++) {
        iov[i].iov_base = pieces[i].iov_base;
        iov[i].iov_len = pieces[i].iov_len;
        length += pieces[i].iov_len;
    }
    if (rc == SWRCACHE_OK && length == (uint64_t)head.body_length) {
        response = count ? MHD_create_response_from_iovec(iov, (unsigned)count, free_body, body)
                         : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        ends_here = count == 0;
    } else if (count == 0 && (rc == SWRCACHE_EAGAIN || rc == SWRCACHE_OK)) {
        response = MHD_create_response_from_callback(announced, 65536, read_body, body, free_body);
    } else {
        /* Some of it has been taken, and the rest is to come: in one piece. */
        char *whole = malloc((size_t)head.body_length + 1);
        uint64_t at = 0;
        while (rc == SWRCACHE_OK && count > 0) {
            for (size_t i = 0; i < count; at += pieces[i++].iov_len)
                memcpy(whole + at, pieces[i].iov_base, pieces[i].iov_len);
            rc = swrcache_reply_read_wait(reply, 60000, pieces, MAX_PIECES, &count);
        }
        ends_here = 1;
        response = rc != SWRCACHE_OK ? NULL : MHD_create_response_from_buffer(at, whole, MHD_RESPMEM_MUST_FREE);
        if (response == NULL)
            free(whole);
    }
    if (response == NULL) {
        free_body(body);
        return MHD_NO;
    }
    for (size_t i = 0; i < head.field_count; i++) {
        char *name = strndup(head.fields[i].name, head.fields[i].name_len);
        char *value = strndup(head.fields[i].value, head.fields[i].value_len);
        if (strcasecmp(name, "Content-Length") != 0)
            MHD_add_response_header(response, name, value);
        free(name);
        free(value);
    }
    MHD_add_response_header(response, "X-Cache", swrcache_status_name(head.cache_status));
    enum MHD_Result sent = MHD_queue_response(connection, (unsigned)head.status, response);
    MHD_destroy_response(response);
    if (ends_here)  /* not before: the fields are the reply's */
        free_body(body);
    return sent;
}

static enum MHD_Result relay(struct MHD_Connection *connection, struct answer *answer)
{
    if (answer->status == 0)
        return send_status(connection, answer->todo == SWRCACHE_DO_GATEWAY_TIMEOUT ? 504 : 502);
    struct MHD_Response *response = MHD_create_response_from_buffer(answer->length, answer->body, MHD_RESPMEM_MUST_FREE);
    answer->body = NULL;
    for (size_t i = 0; i < answer->fields.count; i++)
        if (!is_hop_by_hop(answer->fields.list[i].name))
            MHD_add_response_header(response, answer->fields.list[i].name, answer->fields.list[i].value);
    enum MHD_Result sent = MHD_queue_response(connection, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    return sent;
}

/* A request's body, collected. */
struct upload {
    char *bytes;
    size_t length;
};

static enum MHD_Result add_field(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    push(arg, name, strlen(name), value ? value : "", value ? strlen(value) : 0);
    return MHD_YES;
}

/* The scheme and authority that the client asked for; to be freed. */
static char *own_origin(struct MHD_Connection *connection)
{
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    char *own = NULL;
    return asprintf(&own, "http://%s", host ? host : "") < 0 ? NULL : own;
}

/* The cache learns of what it took no part in: something may have been written. */
static void passed(struct MHD_Connection *connection, const char *uri, const char *method, const struct fields *fields, const struct answer *answer)
{
    swrcache_request request = {.struct_size = sizeof request, .method = method, .key = uri, .key_len = SWRCACHE_NUL};
    swrcache_response response = {.struct_size = sizeof response, .status = (int)answer->status};
    char *own = own_origin(connection);
    request.fields = fields->list;
    request.field_count = fields->count;
    request.origin = own;
    request.target = uri;
    response.fields = answer->fields.list;
    response.field_count = answer->fields.count;
    swrcache_passed(cache, policy, &request, &response);
    free(own);
}

static enum MHD_Result pass(struct MHD_Connection *connection, const char *uri, const char *method, struct fields *fields, struct upload *upload)
{
    struct answer answer = {.keep = 1};
    struct fields sent = {.count = 0};
    for (size_t i = 0; i < fields->count; i++)
        if (!is_hop_by_hop(fields->list[i].name))
            push(&sent, fields->list[i].name, fields->list[i].name_len, fields->list[i].value, fields->list[i].value_len);
    ask(&answer, uri, method, &sent, upload->bytes, upload->length);
    if (answer.status != 0)
        passed(connection, uri, method, fields, &answer);
    enum MHD_Result done = relay(connection, &answer);
    clear(&answer.fields);
    clear(&sent);
    free(answer.body);
    return done;
}

static enum MHD_Result lead(struct MHD_Connection *connection, swrcache_fetch *fetch, const char *method)
{
    struct answer answer = {.fetch = fetch, .keep = 1};
    swrcache_reply *reply;
    enum MHD_Result done;
    carry(&answer);
    if (answer.todo == SWRCACHE_DO_REPLY && swrcache_fetch_reply(fetch, &reply) == SWRCACHE_OK)
        done = deliver(connection, reply, method);
    else
        done = relay(connection, &answer);
    swrcache_fetch_free(fetch);
    clear(&answer.fields);
    free(answer.body);
    return done;
}

static enum MHD_Result serve(struct MHD_Connection *connection, const char *uri, const char *method, struct upload *upload)
{
    struct fields fields = {.count = 0};
    swrcache_request request = {.struct_size = sizeof request};
    swrcache_decision decision = {.struct_size = sizeof decision};
    enum MHD_Result done;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, add_field, &fields);
    request.method = method;
    request.key = uri;
    request.key_len = SWRCACHE_NUL;
    request.fields = fields.list;
    request.field_count = fields.count;
    char *own = own_origin(connection);
    request.origin = own;
    request.target = uri;
    swrcache_lookup_wait(cache, policy, &request, &decision);
    free(own);
    switch (decision.action) {
    case SWRCACHE_SERVE:
        if (decision.fetch && swrcache_refresher_submit(refresher, decision.fetch) != SWRCACHE_OK)
            swrcache_fetch_free(decision.fetch);
        done = deliver(connection, decision.reply, method);
        break;
    case SWRCACHE_FETCH:
        done = lead(connection, decision.fetch, method);
        break;
    case SWRCACHE_GATEWAY_TIMEOUT:
        done = send_status(connection, 504);
        break;
    default:
        done = pass(connection, uri, method, &fields, upload);
    }
    clear(&fields);
    return done;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *uri, const char *method, const char *version, const char *data, size_t *size, void **state)
{
    struct upload *upload = *state;
    (void)arg;
    (void)version;
    if (upload == NULL) {
        *state = calloc(1, sizeof *upload);
        return MHD_YES;
    }
    if (*size > 0) {
        char *bytes = realloc(upload->bytes, upload->length + *size);
        if (bytes == NULL)
            return MHD_NO;
        memcpy(bytes + upload->length, data, *size);
        upload->bytes = bytes;
        upload->length += *size;
        *size = 0;
        return MHD_YES;
    }
    return serve(connection, uri, method, upload);
}

static void on_done(void *arg, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode why)
{
    struct upload *upload = *state;
    (void)arg;
    (void)connection;
    (void)why;
    if (upload)
        free(upload->bytes);
    free(upload);
}

int main(int argc, char **argv)
{
    swrcache_options options = {.struct_size = sizeof options};
    swrcache_refresher_options refreshing = {.struct_size = sizeof refreshing};
    sigset_t ends;
    int signal, rc;
    if (argc != 4) {
        fprintf(stderr, "usage: %s PORT ORIGIN_HOST ORIGIN_PORT\n", argv[0]);
        return 2;
    }
    snprintf(origin, sizeof origin, "http://%s:%s", argv[2], argv[3]);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    curl_global_init(CURL_GLOBAL_DEFAULT);

    options.memory = SWRCACHE_PRIVATE;
    options.size = 64 << 20;
    refreshing.threads = 4;
    refreshing.queue = 64;
    refreshing.carry = refresh;
    if ((rc = swrcache_open(&options, &cache)) != SWRCACHE_OK || (rc = swrcache_policy_new(&policy)) != SWRCACHE_OK ||
        (rc = swrcache_refresher_new(cache, &refreshing, &refresher)) != SWRCACHE_OK) {
        fprintf(stderr, "swrcache: %s: %s\n", swrcache_strerror(rc), swrcache_last_error());
        return 1;
    }
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, (uint16_t)atoi(argv[1]), NULL, NULL,
        on_request, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_done, NULL, MHD_OPTION_CONNECTION_LIMIT, 4096u,
        MHD_OPTION_LISTEN_BACKLOG_SIZE, 2048u, MHD_OPTION_THREAD_STACK_SIZE, (size_t)256 * 1024, MHD_OPTION_END);
    if (daemon == NULL)
        return 1;

    sigdelset(&ends, SIGPIPE);
    sigwait(&ends, &signal);

    MHD_stop_daemon(daemon);
    swrcache_refresher_free(refresher);
    swrcache_policy_free(policy);
    swrcache_close(cache);
    curl_global_cleanup();
    return 0;
}
