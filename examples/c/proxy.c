/*
 * A caching reverse proxy on libevent's evhttp, in one thread.
 *
 * Everything that may take time is an event: the head of an origin's answer, a piece of its body, its end, a ring of the cache (another
 * request's fetch has moved), a client that has room for more, a timer (a request has waited long enough). What the cache decides is
 * carried out in carry_out(), what it wants of a fetch in settle().
 *
 * No body is in memory beside the cache: what is stored, or comes in, goes out as it lies there, and of what the cache does not take an
 * origin sends as fast as the client reads.
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
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>

#define MAX_FIELDS 128
#define ORIGIN 512
#define MAX_PIECES 64
#define MAX_UNSENT (256 * 1024)
#define MAX_UPLOAD (1 << 20)  /* a request's body is held while it is sent */

/* A client's request while it is here. */
struct client {
    struct evhttp_request *request;  /* NULL once the client has gone away */
    struct event *timer;             /* when it has waited long enough */
    uint64_t until;
    struct hold *hold;               /* what it follows while it grows */
    struct call *call;               /* the fetch that it leads */
    int waiting;                     /* for the fetch of another */
    int begun;                       /* its head has been sent */
    size_t unsent;                   /* bytes that are relayed to it */
    TAILQ_ENTRY(client) link;
};

/* A request to the origin. */
struct call {
    struct evhttp_connection *connection;
    swrcache_fetch *fetch;           /* NULL: the request only passes through */
    struct client *client;           /* NULL: nobody waits */
    int todo;                        /* 0 until its head has come */
    const char *method;              /* of a request that only passes through */
    char *key, *target, origin[ORIGIN];
    struct event *cleanup;           /* once it is over */
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

/* The request as the cache wants it; `fields` and `origin` are room for it, and the key is to be freed. */
static char *describe(struct evhttp_request *from, swrcache_request *request, swrcache_field *fields, char origin[ORIGIN])
{
    static const struct { enum evhttp_cmd_type command; const char *name; } methods[] = {
        {EVHTTP_REQ_GET, "GET"}, {EVHTTP_REQ_HEAD, "HEAD"}, {EVHTTP_REQ_POST, "POST"}, {EVHTTP_REQ_PUT, "PUT"},
        {EVHTTP_REQ_DELETE, "DELETE"}, {EVHTTP_REQ_OPTIONS, "OPTIONS"}, {EVHTTP_REQ_PATCH, "PATCH"}};
    request->method = "OTHER";
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (methods[i].command == evhttp_request_get_command(from))
            request->method = methods[i].name;
    request->fields = fields;
    request->field_count = fields_of(evhttp_request_get_input_headers(from), fields);
    const char *host = evhttp_find_header(evhttp_request_get_input_headers(from), "Host");
    snprintf(origin, ORIGIN, "http://%s", host ? host : "");
    request->origin = origin;
    request->target = evhttp_request_get_uri(from);
    char *key = NULL;
    if (asprintf(&key, "%s%s", origin, request->target) < 0)
        key = NULL;  /* the cache takes no part */
    request->key = key;
    request->key_len = SWRCACHE_NUL;
    return key;
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

/* A reply goes out without being copied: it is freed with the last of its pieces, when nobody reads on in it either. */

struct hold {
    swrcache_reply *reply;
    int count;
};

static void let_go(struct hold *hold)
{
    if (hold == NULL || --hold->count > 0)
        return;
    swrcache_reply_free(hold->reply);
    free(hold);
}

static void on_drained(const void *data, size_t length, void *hold)
{
    (void)data;
    (void)length;
    let_go(hold);
}

/* The life of a client's request. */

static void finish(struct call *call);

static void forget(struct client *client)
{
    if (client->waiting || client->hold)
        TAILQ_REMOVE(&proxy.parked, client, link);
    if (client->call) {
        client->call->client = NULL;  /* the fetch goes on without it; what the cache does not take is of no use to others */
        if (client->call->todo == SWRCACHE_DO_RELAY)
            finish(client->call);
    }
    if (client->timer)
        event_free(client->timer);
    let_go(client->hold);
    free(client);
}

static void on_gone(struct evhttp_connection *connection, void *arg)
{
    struct client *client = arg;
    struct evhttp_request *request = client->request;
    (void)connection;
    forget(client);
    /* evhttp leaves a request that is not answered to the end to us. */
    if (evhttp_request_get_connection(request) == NULL)
        evhttp_request_free(request);
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

/* Adds what there is; 0 at the end, SWRCACHE_EAGAIN if there will be more, SWRCACHE_EBROKEN. */
static int add_body(struct hold *hold, struct evbuffer *out)
{
    struct iovec pieces[MAX_PIECES];
    size_t count;
    int rc;
    while ((rc = swrcache_reply_read(hold->reply, pieces, MAX_PIECES, &count)) == SWRCACHE_OK && count > 0) {
        for (size_t i = 0; i < count; i++) {
            hold->count++;
            if (evbuffer_add_reference(out, pieces[i].iov_base, pieces[i].iov_len, on_drained, hold) != 0)
                hold->count--;
        }
    }
    return rc;
}

/* The client has taken what it was sent: the origin may go on. */
static void on_sent(struct evhttp_connection *connection, void *arg)
{
    struct client *client = arg;
    (void)connection;
    client->unsent = 0;
    if (client->call)
        bufferevent_enable(evhttp_connection_get_bufferevent(client->call->connection), EV_READ);
}

/* Relays a piece of a body. */
static void send_piece(struct client *client, struct evbuffer *piece)
{
    size_t length = evbuffer_get_length(piece);
    if (evhttp_request_get_command(client->request) == EVHTTP_REQ_HEAD || length == 0)
        return;
    client->unsent += length;
    evhttp_send_reply_chunk_with_cb(client->request, piece, on_sent, client);
}

/* The client shall see that this is not the whole. */
static void break_off(struct client *client)
{
    struct evhttp_request *request = done(client);
    evhttp_connection_free(evhttp_request_get_connection(request));
}

static void begin(struct client *client, int status)
{
    client->begun = 1;
    evhttp_send_reply_start(client->request, status, NULL);
}

/* Nobody reads on in what the client has followed. */
static void leave(struct client *client)
{
    TAILQ_REMOVE(&proxy.parked, client, link);
    let_go(client->hold);
    client->hold = NULL;
}

/* Goes on with a body that grows. What outgrows the cache the call relays. */
static void follow(struct client *client)
{
    struct evbuffer *body = evbuffer_new();
    int rc = add_body(client->hold, body);
    if (evbuffer_get_length(body) > 0)
        evhttp_send_reply_chunk(client->request, body);
    evbuffer_free(body);
    if (rc == SWRCACHE_EOUTGROWN)
        leave(client);
    else if (rc == SWRCACHE_OK)
        evhttp_send_reply_end(done(client));
    else if (rc != SWRCACHE_EAGAIN)
        break_off(client);
}

/* Gives the client a reply: all of it, or what there is so far. */
static void deliver(struct client *client, swrcache_reply *reply)
{
    swrcache_head head = {.struct_size = sizeof head};
    struct evkeyvalq *headers = evhttp_request_get_output_headers(client->request);
    struct hold *hold = malloc(sizeof *hold);
    if (hold == NULL || swrcache_reply_head(reply, &head) != SWRCACHE_OK) {
        swrcache_reply_free(reply);
        free(hold);
        send_error(client, 500);
        return;
    }
    for (size_t i = 0; i < head.field_count; i++)
        add_field(headers, &head.fields[i]);
    evhttp_add_header(headers, "X-Cache", swrcache_status_name(head.cache_status));
    *hold = (struct hold){reply, 1};
    struct evbuffer *body = evbuffer_new();
    int rc = add_body(hold, body);
    if (rc == SWRCACHE_OK) {
        evhttp_send_reply(done(client), head.status, NULL, body);
        let_go(hold);
    } else {
        client->hold = hold;
        TAILQ_INSERT_TAIL(&proxy.parked, client, link);
        begin(client, head.status);
        if (evbuffer_get_length(body) > 0)
            evhttp_send_reply_chunk(client->request, body);
        follow(client);
    }
    evbuffer_free(body);
}

/* Begins to send what the origin says as it is. */
static void relay(struct client *client, struct evhttp_request *answer)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(client->request);
    struct evkeyval *header;
    TAILQ_FOREACH(header, evhttp_request_get_input_headers(answer), next)
        if (!is_hop_by_hop(header->key))
            evhttp_add_header(headers, header->key, header->value);
    begin(client, evhttp_request_get_response_code(answer));
}

/* The call is over for its client. */
static struct client *part(struct call *call)
{
    struct client *client = call->client;
    call->client = NULL;
    if (client)
        client->call = NULL;
    return client;
}

/* What the cache wants to be done: the client, if one waits, gets what there is for it. */
static void settle(struct call *call, struct evhttp_request *answer)
{
    swrcache_reply *reply = NULL;
    struct client *client = call->client;
    if (client == NULL || call->todo == SWRCACHE_DO_ASK_AGAIN)
        return;
    if (call->todo != SWRCACHE_DO_STORE && call->todo != SWRCACHE_DO_RELAY)
        part(call);
    if (client->hold)
        follow(client);
    else if (client->begun)
        return;
    else if (call->fetch && swrcache_fetch_reply(call->fetch, &reply) == SWRCACHE_OK)
        deliver(client, reply);
    else if (call->todo == SWRCACHE_DO_RELAY && answer)
        relay(client, answer);
    else if (call->todo != SWRCACHE_DO_STORE)
        send_error(client, call->todo == SWRCACHE_DO_GATEWAY_TIMEOUT ? 504 : 502);
}

static void on_cleanup(evutil_socket_t fd, short what, void *arg)
{
    struct call *call = arg;
    (void)fd;
    (void)what;
    event_free(call->cleanup);
    evhttp_connection_free(call->connection);
    swrcache_fetch_free(call->fetch);
    free(call->key);
    free(call->target);
    free(call);
}

/* Frees the call in the next turn: evhttp still uses the connection in this one. */
static void finish(struct call *call)
{
    if (call->cleanup)
        return;
    call->cleanup = event_new(proxy.base, -1, 0, on_cleanup, call);
    event_active(call->cleanup, 0, 0);
}

static void ask_origin(struct client *client, swrcache_fetch *fetch, struct evhttp_request *from);

/* The origin's head has come. */
static int on_head(struct evhttp_request *answer, void *arg)
{
    struct call *call = arg;
    swrcache_field fields[MAX_FIELDS];
    swrcache_response response = {.struct_size = sizeof response, .fields = fields};
    response.status = evhttp_request_get_response_code(answer);
    response.field_count = fields_of(evhttp_request_get_input_headers(answer), fields);
    if (call->todo || response.status < 200)
        return 0;
    call->todo = SWRCACHE_DO_RELAY;
    if (call->fetch) {
        swrcache_fetch_respond(call->fetch, &response, &call->todo);
    } else {
        /* The cache learns of what it took no part in: something may have been written. */
        swrcache_request said = {.struct_size = sizeof said, .method = call->method, .key = call->key, .key_len = SWRCACHE_NUL};
        said.origin = call->origin;
        said.target = call->target;
        swrcache_passed(proxy.cache, proxy.policy, &said, &response);
    }
    settle(call, answer);
    return 0;
}

/* A piece of the body has come. */
static void on_piece(struct evhttp_request *answer, void *arg)
{
    struct call *call = arg;
    struct evbuffer *body = evhttp_request_get_input_buffer(answer);
    struct evbuffer_iovec piece;
    while (call->todo == SWRCACHE_DO_STORE && evbuffer_peek(body, -1, NULL, &piece, 1) > 0 && piece.iov_len > 0) {
        if (swrcache_fetch_write(call->fetch, piece.iov_base, piece.iov_len) == SWRCACHE_OK) {
            evbuffer_drain(body, piece.iov_len);
        } else {
            swrcache_fetch_finish(call->fetch, &call->todo);  /* it outgrows the cache: first what that has taken, then the rest */
            settle(call, answer);
        }
    }
    if (call->todo == SWRCACHE_DO_STORE && call->client && call->client->hold)
        follow(call->client);
    if (call->todo != SWRCACHE_DO_RELAY)
        return;
    if (call->client == NULL) {
        finish(call);
        return;
    }
    send_piece(call->client, body);
    if (call->client->unsent >= MAX_UNSENT)
        bufferevent_disable(evhttp_connection_get_bufferevent(call->connection), EV_READ);
}

/* The answer is over; NULL: it broke off, or there was none. */
static void on_end(struct evhttp_request *answer, void *arg)
{
    struct call *call = arg;
    struct client *client;
    if (call->cleanup)
        return;
    if (answer != NULL && evhttp_request_get_response_code(answer) == 0)
        answer = NULL;
    if (call->todo == SWRCACHE_DO_RELAY) {
        if ((client = part(call)) != NULL && answer)
            evhttp_send_reply_end(done(client));
        else if (client != NULL)
            break_off(client);
    } else if (call->todo == SWRCACHE_DO_ASK_AGAIN && answer) {
        client = part(call);
        ask_origin(client, call->fetch, answer);
        call->fetch = NULL;
    } else {
        if (call->todo == SWRCACHE_DO_STORE && answer)
            swrcache_fetch_finish(call->fetch, &call->todo);
        else if (call->fetch == NULL)
            call->todo = SWRCACHE_DO_RELAY;  /* of nothing: 502 */
        else if (answer == NULL)
            swrcache_fetch_fail(call->fetch, SWRCACHE_FAIL_ERROR, 0, &call->todo);
        settle(call, NULL);
    }
    finish(call);
}

/* Asks the origin: for the cache, or (fetch is NULL) for this client alone. */
static void ask_origin(struct client *client, swrcache_fetch *fetch, struct evhttp_request *from)
{
    struct call *call = calloc(1, sizeof *call);
    call->fetch = fetch;
    call->client = fetch == NULL || !swrcache_fetch_is_refresh(fetch) ? client : NULL;
    if (call->client)
        client->call = call;
    call->connection = evhttp_connection_base_new(proxy.base, NULL, proxy.origin_host, proxy.origin_port);
    evhttp_connection_set_timeout(call->connection, 60);

    struct evhttp_request *request = evhttp_request_new(on_end, call);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    evhttp_request_set_header_cb(request, on_head);
    evhttp_request_set_chunked_cb(request, on_piece);
    if (fetch) {
        const swrcache_field *fields;
        size_t count;
        if (swrcache_fetch_fields(fetch, &fields, &count) == SWRCACHE_OK)
            for (size_t i = 0; i < count; i++)
                add_field(headers, &fields[i]);
    } else {
        swrcache_field fields[MAX_FIELDS];
        swrcache_request said;
        struct evkeyval *header;
        call->key = describe(from, &said, fields, call->origin);
        call->method = said.method;
        call->target = strdup(said.target);
        TAILQ_FOREACH(header, evhttp_request_get_input_headers(from), next)
            if (!is_hop_by_hop(header->key))
                evhttp_add_header(headers, header->key, header->value);
        evbuffer_add_buffer(evhttp_request_get_output_buffer(request), evhttp_request_get_input_buffer(from));
    }
    evhttp_add_header(headers, "Connection", "close");
    evhttp_make_request(call->connection, request, fetch ? EVHTTP_REQ_GET : evhttp_request_get_command(from), evhttp_request_get_uri(from));
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
    } else if (client->call && !client->begun && swrcache_fetch_stale(client->call->fetch, &stale) == SWRCACHE_OK) {
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
    char *key = describe(client->request, &request, fields, origin);
    request.turn = turn;
    swrcache_lookup(proxy.cache, proxy.policy, &request, &decision);
    free(key);
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
        if (client->hold) {
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
    evhttp_set_max_body_size(server, MAX_UPLOAD);
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
