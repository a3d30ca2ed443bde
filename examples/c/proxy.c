/*
 * A caching reverse proxy on libevent's evhttp, in one thread.
 *
 * Everything that may take time is an event: an answer of the origin, a ring of the cache (another request's fetch has moved),
 * a timer (a request has waited long enough). What the cache decides is carried out in carry_out(), what became of a fetch in
 * settle().
 */
#define _GNU_SOURCE
#include "proxy.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>

#define MAX_FIELDS 128
#define ORIGIN 512
#define MAX_PIECES 64

/* A client's request while it is here. */
struct client {
    struct evhttp_request *request;  /* NULL once the client has gone away */
    struct event *timer;             /* when it has waited long enough */
    uint64_t until;
    swrcache_reply *reply;           /* what it follows while it grows */
    struct call *call;               /* the fetch that it leads */
    int waiting;                     /* for the fetch of another */
    TAILQ_ENTRY(client) link;
};

/* A request to the origin. */
struct call {
    struct evhttp_connection *connection;
    swrcache_fetch *fetch;           /* NULL: the request only passes through */
    struct client *client;           /* NULL: nobody waits */
    enum evhttp_cmd_type method;
    struct event *cleanup;
};

static struct {
    struct event_base *base;
    swrcache_cache *cache;
    swrcache_policy *policy;
    swrcache_watch *watch;
    const char *origin_host;
    unsigned short origin_port;
    TAILQ_HEAD(, client) parked;     /* waiting, or following a body that grows */
} proxy;

static void look_up(struct client *client, int turn);

/* Where the fields of a request are handed to the cache: no copies, the strings are evhttp's. */
static size_t fields_of(struct evkeyvalq *headers, swrcache_field *fields)
{
    size_t count = 0;
    struct evkeyval *header;
    TAILQ_FOREACH(header, headers, next) {
        if (count == MAX_FIELDS)
            break;
        fields[count].name = header->key;
        fields[count].name_len = SWRCACHE_NUL;
        fields[count].value = header->value;
        fields[count].value_len = SWRCACHE_NUL;
        count++;
    }
    return count;
}

/* The request as the cache wants it; `fields` and `origin` are room for it. */
static void describe(struct evhttp_request *from, swrcache_request *request, swrcache_field *fields, char origin[ORIGIN])
{
    static const struct { enum evhttp_cmd_type command; const char *name; } methods[] = {
        {EVHTTP_REQ_GET, "GET"}, {EVHTTP_REQ_HEAD, "HEAD"}, {EVHTTP_REQ_POST, "POST"}, {EVHTTP_REQ_PUT, "PUT"},
        {EVHTTP_REQ_DELETE, "DELETE"}, {EVHTTP_REQ_OPTIONS, "OPTIONS"}, {EVHTTP_REQ_PATCH, "PATCH"}};
    request->method = "OTHER";
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (methods[i].command == evhttp_request_get_command(from))
            request->method = methods[i].name;
    request->key = evhttp_request_get_uri(from);
    request->key_len = SWRCACHE_NUL;
    request->fields = fields;
    request->field_count = fields_of(evhttp_request_get_input_headers(from), fields);
    const char *host = evhttp_find_header(evhttp_request_get_input_headers(from), "Host");
    snprintf(origin, ORIGIN, "http://%s", host ? host : "");
    request->origin = origin;
    request->target = evhttp_request_get_uri(from);
}

static void add_field(struct evkeyvalq *headers, const swrcache_field *field)
{
    char *name = strndup(field->name, field->name_len), *value = strndup(field->value, field->value_len);
    if (name && value)
        evhttp_add_header(headers, name, value);
    free(name);
    free(value);
}

static int is_hop_by_hop(const char *name)
{
    static const char *const names[] = {"connection", "proxy-connection", "keep-alive", "te", "trailer",
                                        "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i]) == 0)
            return 1;
    return 0;
}

/* The life of a client's request. */

static void forget(struct client *client)
{
    if (client->waiting || client->reply)
        TAILQ_REMOVE(&proxy.parked, client, link);
    if (client->call)
        client->call->client = NULL;  /* the fetch goes on without it */
    if (client->timer)
        event_free(client->timer);
    swrcache_reply_free(client->reply);
    free(client);
}

static void on_gone(struct evhttp_connection *connection, void *arg)
{
    (void)connection;
    forget(arg);
}

static struct evhttp_request *done(struct client *client)
{
    struct evhttp_request *request = client->request;
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), NULL, NULL);
    forget(client);
    return request;
}

static void send_error(struct client *client, int status)
{
    struct evhttp_request *request = done(client);
    evhttp_send_reply(request, status, NULL, NULL);
}

/* Bytes of the cache go out without being copied; the last of a piece frees what holds them. */

struct hold {
    swrcache_reply *reply;
    int count;
};

static void release(const void *data, size_t length, void *arg)
{
    struct hold *hold = arg;
    (void)data;
    (void)length;
    if (--hold->count == 0) {
        swrcache_reply_free(hold->reply);
        free(hold);
    }
}

/* Adds what there is; 0 at the end, SWRCACHE_EAGAIN if there will be more, SWRCACHE_EBROKEN. */
static int add_body(struct hold *hold, struct evbuffer *out)
{
    struct iovec pieces[MAX_PIECES];
    size_t count;
    int rc;
    while ((rc = swrcache_reply_read(hold->reply, pieces, MAX_PIECES, &count)) == SWRCACHE_OK && count > 0) {
        for (size_t i = 0; i < count; i++) {
            hold->count++;
            if (evbuffer_add_reference(out, pieces[i].iov_base, pieces[i].iov_len, release, hold) != 0)
                hold->count--;
        }
    }
    return rc;
}

/* Copies what there is of a body that grows: each piece would have to hold the reply, which still reads on. */
static int copy_body(swrcache_reply *reply, struct evbuffer *out)
{
    struct iovec pieces[MAX_PIECES];
    size_t count;
    int rc;
    while ((rc = swrcache_reply_read(reply, pieces, MAX_PIECES, &count)) == SWRCACHE_OK && count > 0)
        for (size_t i = 0; i < count; i++)
            evbuffer_add(out, pieces[i].iov_base, pieces[i].iov_len);
    return rc;
}

/* Goes on with a body that grows. */
static void follow(struct client *client)
{
    struct evbuffer *body = evbuffer_new();
    int rc = copy_body(client->reply, body);
    if (evbuffer_get_length(body) > 0)
        evhttp_send_reply_chunk(client->request, body);
    evbuffer_free(body);
    if (rc == SWRCACHE_EAGAIN)
        return;
    struct evhttp_request *request = done(client);
    if (rc == SWRCACHE_OK)
        evhttp_send_reply_end(request);
    else  /* the client shall see that this is not the whole */
        evhttp_connection_free(evhttp_request_get_connection(request));
}

static void deliver(struct client *client, swrcache_reply *reply)
{
    swrcache_head head = {.struct_size = sizeof head};
    struct evkeyvalq *headers = evhttp_request_get_output_headers(client->request);
    if (swrcache_reply_head(reply, &head) != SWRCACHE_OK) {
        swrcache_reply_free(reply);
        send_error(client, 500);
        return;
    }
    for (size_t i = 0; i < head.field_count; i++)
        add_field(headers, &head.fields[i]);
    evhttp_add_header(headers, "X-Cache", swrcache_status_name(head.cache_status));
    if (head.body_length < 0) {
        client->reply = reply;
        TAILQ_INSERT_TAIL(&proxy.parked, client, link);
        evhttp_send_reply_start(client->request, head.status, NULL);
        follow(client);
        return;
    }

    struct hold *hold = malloc(sizeof *hold);
    struct evbuffer *body = evbuffer_new();
    *hold = (struct hold){reply, 1};
    int rc = add_body(hold, body);
    if (rc == SWRCACHE_EAGAIN) {
        /* The length is known, the bytes are still to come. */
        client->reply = reply;
        TAILQ_INSERT_TAIL(&proxy.parked, client, link);
        evhttp_send_reply_start(client->request, head.status, NULL);
        struct evbuffer *copy = evbuffer_new();
        evbuffer_add(copy, evbuffer_pullup(body, -1), evbuffer_get_length(body));
        if (evbuffer_get_length(copy) > 0)
            evhttp_send_reply_chunk(client->request, copy);
        evbuffer_free(copy);
        hold->count = -1;  /* the client frees it */
        evbuffer_free(body);
        free(hold);
        follow(client);
        return;
    }
    struct evhttp_request *request = done(client);
    if (rc == SWRCACHE_OK)
        evhttp_send_reply(request, head.status, NULL, body);
    else
        evhttp_connection_free(evhttp_request_get_connection(request));
    evbuffer_free(body);
    release(NULL, 0, hold);
}

/* Sends what the origin said as it is. */
static void relay(struct client *client, struct evhttp_request *answer)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(client->request);
    struct evkeyval *header;
    if (answer == NULL) {
        send_error(client, 502);
        return;
    }
    TAILQ_FOREACH(header, evhttp_request_get_input_headers(answer), next)
        if (!is_hop_by_hop(header->key))
            evhttp_add_header(headers, header->key, header->value);
    struct evhttp_request *request = done(client);
    evhttp_send_reply(request, evhttp_request_get_response_code(answer), NULL, evhttp_request_get_input_buffer(answer));
}

/* What became of a fetch. */
static void settle(struct call *call, int todo, struct evhttp_request *answer)
{
    swrcache_reply *reply = NULL;
    struct client *client = call->client;
    if (client == NULL)
        return;
    call->client = NULL;
    client->call = NULL;
    if (todo == SWRCACHE_DO_REPLY && swrcache_fetch_reply(call->fetch, &reply) == SWRCACHE_OK)
        deliver(client, reply);
    else if (todo == SWRCACHE_DO_GATEWAY_TIMEOUT)
        send_error(client, 504);
    else
        relay(client, answer);
}

/* Feeds the cache with what the origin sent. */
static int fill(swrcache_fetch *fetch, struct evhttp_request *answer, int *todo)
{
    swrcache_field fields[MAX_FIELDS];
    swrcache_response response = {.struct_size = sizeof response};
    response.status = evhttp_request_get_response_code(answer);
    response.fields = fields;
    response.field_count = fields_of(evhttp_request_get_input_headers(answer), fields);
    int rc = swrcache_fetch_respond(fetch, &response, todo);
    if (rc != SWRCACHE_OK || *todo != SWRCACHE_DO_STORE)
        return rc;
    struct evbuffer *body = evhttp_request_get_input_buffer(answer);
    int pieces = evbuffer_peek(body, -1, NULL, NULL, 0);
    struct evbuffer_iovec *iov = calloc((size_t)pieces + 1, sizeof *iov);
    evbuffer_peek(body, -1, NULL, iov, pieces);
    for (int i = 0; i < pieces && rc == SWRCACHE_OK; i++)
        rc = swrcache_fetch_write(fetch, iov[i].iov_base, iov[i].iov_len);
    free(iov);
    return rc == SWRCACHE_OK ? swrcache_fetch_finish(fetch, todo) : rc;
}

static void on_cleanup(evutil_socket_t fd, short what, void *arg)
{
    struct call *call = arg;
    (void)fd;
    (void)what;
    event_free(call->cleanup);
    evhttp_connection_free(call->connection);
    swrcache_fetch_free(call->fetch);
    free(call);
}

/* The cache learns of what it took no part in: something may have been written. */
static void passed(struct evhttp_request *request, struct evhttp_request *answer)
{
    swrcache_field sent[MAX_FIELDS], received[MAX_FIELDS];
    swrcache_request said = {.struct_size = sizeof said};
    swrcache_response response = {.struct_size = sizeof response};
    char origin[ORIGIN];
    describe(request, &said, sent, origin);
    response.status = evhttp_request_get_response_code(answer);
    response.fields = received;
    response.field_count = fields_of(evhttp_request_get_input_headers(answer), received);
    swrcache_passed(proxy.cache, proxy.policy, &said, &response);
}

static void ask_origin(struct client *client, swrcache_fetch *fetch, struct evhttp_request *from);

static void on_answer(struct evhttp_request *answer, void *arg)
{
    struct call *call = arg;
    int todo = SWRCACHE_DO_RELAY;
    if (answer != NULL && evhttp_request_get_response_code(answer) == 0)
        answer = NULL;
    if (call->fetch == NULL) {
        if (call->client != NULL && answer != NULL)
            passed(call->client->request, answer);
        settle(call, todo, answer);
    } else if (answer == NULL) {
        swrcache_fetch_fail(call->fetch, SWRCACHE_FAIL_ERROR, 0, &todo);
        settle(call, todo, NULL);
    } else {
        if (fill(call->fetch, answer, &todo) != SWRCACHE_OK)
            todo = SWRCACHE_DO_RELAY;
        if (todo == SWRCACHE_DO_ASK_AGAIN) {
            ask_origin(call->client, call->fetch, answer);
            call->client = NULL;
            call->fetch = NULL;
        } else {
            settle(call, todo, answer);
        }
    }
    /* evhttp still uses the connection after this call. */
    call->cleanup = event_new(proxy.base, -1, 0, on_cleanup, call);
    event_active(call->cleanup, 0, 0);
}

/* Asks the origin: for the cache, or (fetch is NULL) for this client alone. */
static void ask_origin(struct client *client, swrcache_fetch *fetch, struct evhttp_request *from)
{
    struct call *call = calloc(1, sizeof *call);
    call->fetch = fetch;
    call->client = fetch == NULL || !swrcache_fetch_is_refresh(fetch) ? client : NULL;
    if (call->client)
        client->call = call;
    call->method = fetch ? EVHTTP_REQ_GET : evhttp_request_get_command(from);
    call->connection = evhttp_connection_base_new(proxy.base, NULL, proxy.origin_host, proxy.origin_port);
    evhttp_connection_set_timeout(call->connection, 60);

    struct evhttp_request *request = evhttp_request_new(on_answer, call);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    if (fetch) {
        const swrcache_field *fields;
        size_t count;
        if (swrcache_fetch_fields(fetch, &fields, &count) == SWRCACHE_OK)
            for (size_t i = 0; i < count; i++)
                add_field(headers, &fields[i]);
    } else {
        struct evkeyval *header;
        TAILQ_FOREACH(header, evhttp_request_get_input_headers(from), next)
            if (!is_hop_by_hop(header->key))
                evhttp_add_header(headers, header->key, header->value);
        evbuffer_add_buffer(evhttp_request_get_output_buffer(request), evhttp_request_get_input_buffer(from));
    }
    evhttp_add_header(headers, "Connection", "close");
    evhttp_make_request(call->connection, request, call->method, evhttp_request_get_uri(from));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;
    swrcache_reply *stale;
    (void)fd;
    (void)what;
    if (client->waiting) {
        TAILQ_REMOVE(&proxy.parked, client, link);
        client->waiting = 0;
        look_up(client, SWRCACHE_TIMED_OUT);
    } else if (client->call && swrcache_fetch_stale(client->call->fetch, &stale) == SWRCACHE_OK) {
        /* The origin is too slow for this client; the fetch goes on. */
        client->call->client = NULL;
        client->call = NULL;
        deliver(client, stale);
    }
}

static void wake_at(struct client *client, uint64_t until)
{
    uint64_t now = 0, left;
    swrcache_now(proxy.cache, &now);
    if (client->timer == NULL)
        client->timer = evtimer_new(proxy.base, on_timer, client);
    else if (client->until <= until)
        return;  /* the first deadline holds */
    client->until = until;
    left = until > now ? until - now : 0;
    struct timeval in = {(time_t)(left / 1000), (suseconds_t)(left % 1000 * 1000)};
    evtimer_add(client->timer, &in);
}

static void carry_out(struct client *client, const swrcache_decision *decision)
{
    switch (decision->action) {
    case SWRCACHE_SERVE:
        if (decision->fetch)
            ask_origin(NULL, decision->fetch, client->request);
        deliver(client, decision->reply);
        break;
    case SWRCACHE_WAIT:
        client->waiting = 1;
        TAILQ_INSERT_TAIL(&proxy.parked, client, link);
        wake_at(client, decision->until);
        break;
    case SWRCACHE_FETCH:
        if (decision->until)
            wake_at(client, decision->until);
        ask_origin(client, decision->fetch, client->request);
        break;
    case SWRCACHE_GATEWAY_TIMEOUT:
        send_error(client, 504);
        break;
    default:
        ask_origin(client, NULL, client->request);
    }
}

static void look_up(struct client *client, int turn)
{
    char origin[ORIGIN];
    swrcache_field fields[MAX_FIELDS];
    swrcache_request request = {.struct_size = sizeof request};
    swrcache_decision decision = {.struct_size = sizeof decision};
    describe(client->request, &request, fields, origin);
    request.turn = turn;
    swrcache_lookup(proxy.cache, proxy.policy, &request, &decision);
    carry_out(client, &decision);
}

static void on_request(struct evhttp_request *request, void *arg)
{
    struct client *client = calloc(1, sizeof *client);
    (void)arg;
    client->request = request;
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_gone, client);
    look_up(client, SWRCACHE_FIRST);
}

/* Something has moved: everyone who waits looks again. */
static void on_ring(evutil_socket_t fd, short what, void *arg)
{
    TAILQ_HEAD(, client) round = TAILQ_HEAD_INITIALIZER(round);
    struct client *client;
    (void)fd;
    (void)what;
    (void)arg;
    swrcache_watch_clear(proxy.watch);
    TAILQ_CONCAT(&round, &proxy.parked, link);
    while ((client = TAILQ_FIRST(&round)) != NULL) {
        TAILQ_REMOVE(&round, client, link);
        if (client->reply) {
            TAILQ_INSERT_TAIL(&proxy.parked, client, link);
            follow(client);
        } else {
            client->waiting = 0;
            look_up(client, SWRCACHE_WAITED);
        }
    }
}

/* Every second; at the next turn of the loop while there is more to do. */
static void on_tidy(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval second = {1, 0}, at_once = {0, 0};
    struct event **tidy = arg;
    (void)fd;
    (void)what;
    evtimer_add(*tidy, swrcache_tidy(proxy.cache) == SWRCACHE_EAGAIN ? &at_once : &second);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

evutil_socket_t proxy_listen(unsigned short port)
{
    struct sockaddr_in address;
    int on = 1;
    evutil_socket_t listener = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    evutil_make_socket_nonblocking(listener);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 2048) != 0) {
        perror("listen");
        exit(1);
    }
    return listener;
}

int proxy_run(swrcache_cache *cache, evutil_socket_t listener, const char *origin_host, unsigned short origin_port)
{
    static const struct timeval second = {1, 0};
    int fd;
    proxy.cache = cache;
    proxy.origin_host = origin_host;
    proxy.origin_port = origin_port;
    proxy.base = event_base_new();
    TAILQ_INIT(&proxy.parked);
    if (swrcache_policy_new(&proxy.policy) != SWRCACHE_OK || swrcache_watch_new(cache, &proxy.watch) != SWRCACHE_OK)
        return 1;

    swrcache_watch_fd(proxy.watch, &fd);
    struct event *ring = event_new(proxy.base, fd, EV_READ | EV_PERSIST, on_ring, NULL);
    event_add(ring, NULL);
    struct event *tidy = evtimer_new(proxy.base, on_tidy, &tidy);
    evtimer_add(tidy, &second);
    struct event *term = evsignal_new(proxy.base, SIGTERM, on_signal, proxy.base);
    evsignal_add(term, NULL);
    struct evhttp *server = evhttp_new(proxy.base);
    evhttp_set_allowed_methods(server, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE);
    evhttp_set_gencb(server, on_request, NULL);
    if (evhttp_accept_socket(server, listener) != 0)
        return 1;

    event_base_dispatch(proxy.base);

    evhttp_free(server);
    event_free(term);
    event_free(tidy);
    event_free(ring);
    swrcache_watch_free(proxy.watch);
    event_base_free(proxy.base);
    swrcache_policy_free(proxy.policy);
    return 0;
}
