/*
 * A caching reverse proxy with a thread for each connection: libmicrohttpd in front, libcurl to the origin, and the cache's own
 * refresher for what no client waits for.
 *
 *     mhd_server PORT ORIGIN_HOST ORIGIN_PORT
 */
#define _GNU_SOURCE
#include <pthread.h>
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
#define MAX_UPLOAD (1 << 20)  /* a request's body is held while it is sent */

static swrcache_cache *cache;
static swrcache_policy *policy;
static swrcache_refresher *refresher;
static pthread_mutex_t calls_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t call_over = PTHREAD_COND_INITIALIZER;
static int calls;  /* threads that carry one out */
static int ending;
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

/* A client's request. */
struct request {
    char *uri;  /* with its query, which libmicrohttpd takes off elsewhere */
    char *body;
    size_t length;
    int is_known;  /* its head has come */
    int is_too_large;
};

/*
 * A request to the origin, in a thread of its own: a client that is slow, or goes away, does not hold up what others wait for. Of a body
 * that the cache does not take, only a few pieces are here at a time.
 */
struct call {
    swrcache_fetch *fetch;   /* NULL: the cache takes no part */
    CURL *curl;
    int todo;                /* 0 until the head is complete */
    int is_refresh;          /* in a thread of the refresher; nobody waits */
    struct fields received;
    struct fields sent;      /* where the cache takes no part: what is sent, and what the client had said */
    struct fields said;
    char *method, *own_origin, *key;
    struct request upload;   /* its own: the client may go before it is sent */

    /* Between this thread and the client's. */
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int users;
    int has_begun;           /* what follows is there */
    int status;              /* 0: nothing came */
    swrcache_reply *reply;   /* what the cache has of it */
    char piece[1 << 16];     /* what it has not */
    size_t filled, taken;
    int is_over, is_broken, is_unwanted;
};

static struct call *new_call(swrcache_fetch *fetch)
{
    struct call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->fetch = fetch;
    call->users = 1;
    pthread_mutex_init(&call->lock, NULL);
    pthread_cond_init(&call->moved, NULL);
    return call;
}

static void leave(struct call *call)
{
    pthread_mutex_lock(&call->lock);
    int users = --call->users;
    pthread_mutex_unlock(&call->lock);
    if (users > 0)
        return;
    if (!call->is_refresh)
        swrcache_fetch_free(call->fetch);
    swrcache_reply_free(call->reply);
    clear(&call->received);
    clear(&call->sent);
    clear(&call->said);
    free(call->method);
    free(call->own_origin);
    free(call->key);
    free(call->upload.uri);
    free(call->upload.body);
    pthread_cond_destroy(&call->moved);
    pthread_mutex_destroy(&call->lock);
    free(call);
}

/* The client may have what there is: a reply of the cache's, or the origin's own head. */
static void begin(struct call *call, swrcache_reply *reply, int status)
{
    pthread_mutex_lock(&call->lock);
    call->reply = reply;
    call->status = status;
    call->has_begun = 1;
    pthread_cond_broadcast(&call->moved);
    pthread_mutex_unlock(&call->lock);
}

/* Has the client follow what the cache has of this fetch, if it may yet. */
static void follow(struct call *call)
{
    swrcache_reply *reply;
    if (!call->has_begun && swrcache_fetch_reply(call->fetch, &reply) == SWRCACHE_OK)
        begin(call, reply, 200);
}

static void end(struct call *call, int is_broken)
{
    pthread_mutex_lock(&call->lock);
    call->has_begun = call->is_over = 1;
    call->is_broken = is_broken;
    pthread_cond_broadcast(&call->moved);
    pthread_mutex_unlock(&call->lock);
}

/* Hands bytes to the client, as fast as that takes them; 0 if it does not want them any more. */
static int hand_over(struct call *call, const char *bytes, size_t length)
{
    while (length > 0) {
        pthread_mutex_lock(&call->lock);
        while (call->filled > 0 && !call->is_unwanted)
            pthread_cond_wait(&call->moved, &call->lock);
        size_t n = length < sizeof call->piece ? length : sizeof call->piece;
        memcpy(call->piece, bytes, n);
        call->filled = n;
        call->taken = 0;
        int is_unwanted = call->is_unwanted;
        pthread_cond_broadcast(&call->moved);
        pthread_mutex_unlock(&call->lock);
        if (is_unwanted)
            return 0;
        bytes += n;
        length -= n;
    }
    return 1;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct call *call = arg;
    size_t length = size * count, end = length;
    const char *colon = memchr(line, ':', length);
    while (end > 0 && (line[end - 1] == '\r' || line[end - 1] == '\n'))
        end--;
    if (end >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        clear(&call->received);  /* what came before was 1xx */
    } else if (call->todo == 0 && colon != NULL && colon != line) {  /* not a trailer */
        const char *value = colon + 1;
        while (value < line + end && (*value == ' ' || *value == '\t'))
            value++;
        push(&call->received, line, (size_t)(colon - line), value, (size_t)(line + end - value));
    }
    return length;
}

/* The cache learns of what it took no part in: something may have been written. */
static void passed(struct call *call, const swrcache_response *response)
{
    swrcache_request request = {.struct_size = sizeof request, .method = call->method, .key = call->key, .key_len = SWRCACHE_NUL};
    request.fields = call->said.list;
    request.field_count = call->said.count;
    request.origin = call->own_origin;
    request.target = call->upload.uri;
    swrcache_passed(cache, policy, &request, response);
}

static int status_of(struct call *call)
{
    long status = 0;
    curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

/* The client gets what the origin says as it is, unless it has begun with what the cache has taken of it. */
static void begin_relay(struct call *call)
{
    if (!call->has_begun)
        begin(call, NULL, status_of(call));
}

/* Once the head is complete: what does the cache want? */
static void judge(struct call *call)
{
    swrcache_response response = {.struct_size = sizeof response, .fields = call->received.list, .field_count = call->received.count};
    if (call->todo != 0)
        return;
    response.status = status_of(call);
    call->todo = SWRCACHE_DO_RELAY;
    if (call->fetch == NULL)
        passed(call, &response);
    else
        swrcache_fetch_respond(call->fetch, &response, &call->todo);
    if (call->todo == SWRCACHE_DO_STORE)
        follow(call);
    else if (call->todo == SWRCACHE_DO_RELAY)
        begin_relay(call);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct call *call = arg;
    size_t length = size * count;
    judge(call);
    if (call->todo == SWRCACHE_DO_STORE && swrcache_fetch_write(call->fetch, bytes, length) != SWRCACHE_OK) {
        swrcache_fetch_finish(call->fetch, &call->todo);  /* it outgrows the cache: first what that has taken, then the rest */
        follow(call);
        begin_relay(call);
    }
    if (call->todo == SWRCACHE_DO_RELAY)
        return hand_over(call, bytes, length) ? length : 0;
    return call->todo == SWRCACHE_DO_STORE ? length : 0;
}

static struct curl_slist *append(struct curl_slist *list, const swrcache_field *field)
{
    char *line;
    /* curl leaves out a field without a value, unless it ends so. */
    const char *form = field->value_len ? "%.*s: %.*s" : "%.*s;%.*s";
    if (asprintf(&line, form, (int)field->name_len, field->name, (int)field->value_len, field->value) < 0)
        return list;
    list = curl_slist_append(list, line);
    free(line);
    return list;
}

/* Asks the origin, and feeds the cache and the client with what comes; whether it came whole. */
static int ask(struct call *call, const swrcache_request *request)
{
    char *url = NULL;
    CURL *curl = call->curl = curl_easy_init();
    struct curl_slist *lines = curl_slist_append(curl_slist_append(NULL, "Expect:"), "Accept:");
    call->todo = 0;
    clear(&call->received);
    for (size_t i = 0; i < request->field_count; i++)
        lines = append(lines, &request->fields[i]);
    if (asprintf(&url, "%s%s", origin, request->target) < 0)
        url = NULL;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 60L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 60L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, lines);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (strcmp(request->method, "GET") != 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)call->upload.length);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->upload.body ? call->upload.body : "");
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    }
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        judge(call);
    if (call->fetch != NULL && code != CURLE_OK && (call->todo == 0 || call->todo == SWRCACHE_DO_STORE)) {
        int failure = code == CURLE_OPERATION_TIMEDOUT ? SWRCACHE_FAIL_TIMEOUT : SWRCACHE_FAIL_ERROR;
        swrcache_fetch_fail(call->fetch, failure, 0, &call->todo);
    } else if (call->todo == SWRCACHE_DO_STORE) {
        swrcache_fetch_finish(call->fetch, &call->todo);
    }
    curl_slist_free_all(lines);
    curl_easy_cleanup(curl);
    free(url);
    return code == CURLE_OK;
}

static void carry(struct call *call)
{
    swrcache_request request = {.struct_size = sizeof request};
    int is_whole = 0;
    if (call->fetch != NULL) {
        do {
            if (swrcache_fetch_request(call->fetch, &request) != SWRCACHE_OK)
                break;
            is_whole = ask(call, &request);
        } while (call->todo == SWRCACHE_DO_ASK_AGAIN);
    } else {
        request.method = call->method;
        request.target = call->upload.uri;
        request.fields = call->sent.list;
        request.field_count = call->sent.count;
        is_whole = ask(call, &request);
    }
    if (call->todo == SWRCACHE_DO_REPLY)
        follow(call);
    end(call, !is_whole);
    leave(call);
}

/* A thread of its own for a call that a client waits for. */
static void *run(void *call)
{
    carry(call);
    pthread_mutex_lock(&calls_lock);
    calls--;
    pthread_cond_broadcast(&call_over);
    pthread_mutex_unlock(&calls_lock);
    return NULL;
}

static int start(struct call *call)
{
    pthread_t thread;
    pthread_mutex_lock(&calls_lock);
    int failed = pthread_create(&thread, NULL, run, call);
    calls += !failed;
    pthread_mutex_unlock(&calls_lock);
    if (!failed)
        pthread_detach(thread);
    return !failed;
}

static void wait_for_calls(void)
{
    pthread_mutex_lock(&calls_lock);
    while (calls > 0)
        pthread_cond_wait(&call_over, &calls_lock);
    pthread_mutex_unlock(&calls_lock);
}

/* In a thread of the refresher. */
static void refresh(void *user, swrcache_fetch *fetch)
{
    struct call *call = new_call(fetch);
    (void)user;
    if (call != NULL) {
        call->is_refresh = 1;
        carry(call);
    }
}

/* A thread that compresses stored pages once, for all clients that take them so. */
static void *encode(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&ending, __ATOMIC_ACQUIRE))
        swrcache_encode(cache, 200);
    return NULL;
}

/* To the client. */

/* What an answer's body is read from: a reply of the cache's, and then what the call that fetches it hands over. */
struct body {
    swrcache_reply *reply;
    struct call *call;
    struct iovec pieces[MAX_PIECES];  /* of the reply, and to be sent */
    size_t count, at;
};

static void free_body(void *arg)
{
    struct body *body = arg;
    swrcache_reply_free(body->reply);
    if (body->call != NULL) {
        pthread_mutex_lock(&body->call->lock);
        body->call->is_unwanted = 1;
        pthread_cond_broadcast(&body->call->moved);
        pthread_mutex_unlock(&body->call->lock);
        leave(body->call);
    }
    free(body);
}

static ssize_t read_call(struct call *call, char *to, size_t max)
{
    ssize_t got = MHD_CONTENT_READER_END_OF_STREAM;
    if (call == NULL)
        return got;
    pthread_mutex_lock(&call->lock);
    while (call->filled == 0 && !call->is_over)
        pthread_cond_wait(&call->moved, &call->lock);
    if (call->filled > 0) {
        size_t left = call->filled - call->taken, n = left < max ? left : max;
        memcpy(to, call->piece + call->taken, n);
        call->taken += n;
        if (call->taken == call->filled)
            call->filled = 0;
        got = (ssize_t)n;
    } else if (call->is_broken) {
        got = MHD_CONTENT_READER_END_WITH_ERROR;
    }
    pthread_cond_broadcast(&call->moved);
    pthread_mutex_unlock(&call->lock);
    return got;
}

/* A body, as it comes. */
static ssize_t read_body(void *arg, uint64_t position, char *to, size_t max)
{
    struct body *body = arg;
    (void)position;
    if (body->reply == NULL)
        return read_call(body->call, to, max);
    if (body->at == body->count) {
        body->at = 0;
        int rc = swrcache_reply_read_wait(body->reply, 60000, body->pieces, MAX_PIECES, &body->count);
        if (rc == SWRCACHE_EOUTGROWN) {
            swrcache_reply_free(body->reply);
            body->reply = NULL;
            return read_call(body->call, to, max);
        }
        if (rc != SWRCACHE_OK)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (body->count == 0)
            return MHD_CONTENT_READER_END_OF_STREAM;
    }
    struct iovec *piece = &body->pieces[body->at];
    if (max > piece->iov_len)
        max = piece->iov_len;
    memcpy(to, piece->iov_base, max);
    piece->iov_base = (char *)piece->iov_base + max;
    piece->iov_len -= max;
    body->at += piece->iov_len == 0;
    return (ssize_t)max;
}

static enum MHD_Result send_status(struct MHD_Connection *connection, unsigned status)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result sent = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return sent;
}

static void add_fields(struct MHD_Response *response, const swrcache_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *name = strndup(fields[i].name, fields[i].name_len), *value = strndup(fields[i].value, fields[i].value_len);
        if (name && value && !is_hop_by_hop(name))
            MHD_add_response_header(response, name, value);
        free(name);
        free(value);
    }
}

/* The length that a head announces. */
static uint64_t announced(const swrcache_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fields[i].name_len == 14 && strncasecmp(fields[i].name, "Content-Length", 14) == 0) {
            uint64_t number = 0;
            for (size_t at = 0; at < fields[i].value_len; at++)
                number = number * 10 + (uint64_t)(fields[i].value[at] - '0');
            return number;
        }
    }
    return MHD_SIZE_UNKNOWN;
}

/* A body that is all there goes out as it lies in the cache; others are read as they come. */
static struct MHD_Response *response_of(struct body *body, uint64_t length)
{
    struct MHD_IoVec iov[MAX_PIECES];
    uint64_t there = 0;
    if (body->reply && length != MHD_SIZE_UNKNOWN)
        swrcache_reply_read(body->reply, body->pieces, MAX_PIECES, &body->count);
    for (size_t i = 0; i < body->count; i++) {
        iov[i].iov_base = body->pieces[i].iov_base;
        iov[i].iov_len = body->pieces[i].iov_len;
        there += body->pieces[i].iov_len;
    }
    if (body->count > 0 && there == length)
        return MHD_create_response_from_iovec(iov, (unsigned)body->count, free_body, body);
    return MHD_create_response_from_callback(length, 65536, read_body, body, free_body);
}

/* Sends a reply of the cache's, or what a call hands over, or the one and then the other. */
static enum MHD_Result deliver(struct MHD_Connection *connection, swrcache_reply *reply, struct call *call)
{
    swrcache_head head = {.struct_size = sizeof head};
    struct body *body = calloc(1, sizeof *body);
    body->reply = reply;
    body->call = call;
    if (reply != NULL) {
        swrcache_reply_head(reply, &head);
    } else {
        head.status = call->status;
        head.fields = call->received.list;
        head.field_count = call->received.count;
    }
    struct MHD_Response *response = response_of(body, announced(head.fields, head.field_count));
    if (response == NULL) {
        free_body(body);
        return MHD_NO;
    }
    add_fields(response, head.fields, head.field_count);
    if (reply != NULL)
        MHD_add_response_header(response, "X-Cache", swrcache_status_name(head.cache_status));
    enum MHD_Result sent = MHD_queue_response(connection, (unsigned)head.status, response);
    MHD_destroy_response(response);
    return sent;
}

/* Has a thread carry a call out, and the client get what comes of it. */
static enum MHD_Result lead(struct MHD_Connection *connection, struct call *call)
{
    call->users = 2;
    if (!start(call)) {
        call->users = 1;
        leave(call);
        return send_status(connection, 503);
    }
    pthread_mutex_lock(&call->lock);
    while (!call->has_begun)
        pthread_cond_wait(&call->moved, &call->lock);
    swrcache_reply *reply = call->reply;
    call->reply = NULL;
    pthread_mutex_unlock(&call->lock);
    if (reply != NULL || call->status != 0)
        return deliver(connection, reply, call);
    unsigned status = call->todo == SWRCACHE_DO_GATEWAY_TIMEOUT ? 504 : 502;
    leave(call);
    return send_status(connection, status);
}

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

/* What tells resources apart: the URL. To be freed; NULL, and the cache takes no part, without memory. */
static char *key_of(const char *own_origin, const char *uri)
{
    char *key = NULL;
    return asprintf(&key, "%s%s", own_origin ? own_origin : "", uri) < 0 ? NULL : key;
}

/* A request that the cache takes no part in. */
static enum MHD_Result pass(struct MHD_Connection *connection, const char *method, struct request *from)
{
    struct call *call = new_call(NULL);
    if (call == NULL)
        return MHD_NO;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, add_field, &call->said);
    for (size_t i = 0; i < call->said.count; i++) {
        const swrcache_field *field = &call->said.list[i];
        if (!is_hop_by_hop(field->name))
            push(&call->sent, field->name, field->name_len, field->value, field->value_len);
    }
    call->method = strdup(method);
    call->own_origin = own_origin(connection);
    call->key = key_of(call->own_origin, from->uri);
    call->upload = *from;
    from->body = from->uri = NULL;
    return lead(connection, call);
}

static enum MHD_Result serve(struct MHD_Connection *connection, const char *method, struct request *from)
{
    struct fields fields = {.count = 0};
    swrcache_request request = {.struct_size = sizeof request, .method = method, .key_len = SWRCACHE_NUL};
    swrcache_decision decision = {.struct_size = sizeof decision};
    struct call *call;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, add_field, &fields);
    request.fields = fields.list;
    request.field_count = fields.count;
    char *own = own_origin(connection), *key = key_of(own, from->uri);
    request.key = key;
    request.origin = own;
    request.target = from->uri;
    swrcache_lookup_wait(cache, policy, &request, &decision);
    free(own);
    free(key);
    clear(&fields);
    switch (decision.action) {
    case SWRCACHE_SERVE:
        if (decision.fetch && swrcache_refresher_submit(refresher, decision.fetch) != SWRCACHE_OK)
            swrcache_fetch_free(decision.fetch);
        return deliver(connection, decision.reply, NULL);
    case SWRCACHE_FETCH:
        if ((call = new_call(decision.fetch)) != NULL)
            return lead(connection, call);
        swrcache_fetch_free(decision.fetch);
        return MHD_NO;
    case SWRCACHE_GATEWAY_TIMEOUT:
        return send_status(connection, 504);
    default:
        return pass(connection, method, from);
    }
}

/* The first that is heard of a request. */
static void *on_uri(void *arg, const char *uri, struct MHD_Connection *connection)
{
    struct request *request = calloc(1, sizeof *request);
    (void)arg;
    (void)connection;
    if (request != NULL)
        request->uri = strdup(uri);
    return request;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path, const char *method, const char *version, const char *data, size_t *size, void **state)
{
    struct request *request = *state;
    (void)arg;
    (void)path;
    (void)version;
    if (request == NULL || request->uri == NULL)
        return MHD_NO;
    if (!request->is_known) {
        request->is_known = 1;
        return MHD_YES;
    }
    if (*size > 0) {
        char *bytes = request->length + *size > MAX_UPLOAD ? NULL : realloc(request->body, request->length + *size);
        request->is_too_large |= bytes == NULL;
        if (bytes != NULL) {
            memcpy(bytes + request->length, data, *size);
            request->body = bytes;
            request->length += *size;
        }
        *size = 0;
        return MHD_YES;
    }
    return request->is_too_large ? send_status(connection, 413) : serve(connection, method, request);
}

static void on_done(void *arg, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode why)
{
    struct request *request = *state;
    (void)arg;
    (void)connection;
    (void)why;
    if (request) {
        free(request->uri);
        free(request->body);
    }
    free(request);
}

int main(int argc, char **argv)
{
    swrcache_options options = {.struct_size = sizeof options};
    swrcache_refresher_options refreshing = {.struct_size = sizeof refreshing};
    sigset_t ends;
    pthread_t encoder;
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
        (rc = swrcache_policy_set(policy, "compress", "br gzip")) != SWRCACHE_OK ||
        (rc = swrcache_refresher_new(cache, &refreshing, &refresher)) != SWRCACHE_OK) {
        fprintf(stderr, "swrcache: %s: %s\n", swrcache_strerror(rc), swrcache_last_error());
        return 1;
    }
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, (uint16_t)atoi(argv[1]), NULL, NULL,
        on_request, NULL, MHD_OPTION_URI_LOG_CALLBACK, on_uri, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_done, NULL, MHD_OPTION_CONNECTION_LIMIT, 4096u,
        MHD_OPTION_LISTEN_BACKLOG_SIZE, 2048u, MHD_OPTION_THREAD_STACK_SIZE, (size_t)256 * 1024, MHD_OPTION_END);
    if (daemon == NULL || pthread_create(&encoder, NULL, encode, NULL) != 0)
        return 1;

    sigdelset(&ends, SIGPIPE);
    sigwait(&ends, &signal);

    MHD_stop_daemon(daemon);
    wait_for_calls();
    __atomic_store_n(&ending, 1, __ATOMIC_RELEASE);
    pthread_join(encoder, NULL);
    swrcache_refresher_free(refresher);
    swrcache_policy_free(policy);
    swrcache_close(cache);
    curl_global_cleanup();
    return 0;
}
