/*
 * Everything that a C program can do wrong and that a library can stand: NULL for every pointer of every function, handles that
 * are used up or of another kind, calls in the wrong order, buffers that are too small, lengths that can't be, many threads.
 * Run as it is and under sanitisers and valgrind.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "swrcache.h"

static int checks;

#define IS(code, expected)                                                                                         \
    do {                                                                                                           \
        int is_ = (code);                                                                                          \
        __atomic_add_fetch(&checks, 1, __ATOMIC_RELAXED);                                                          \
        if (is_ != (expected)) {                                                                                   \
            fprintf(stderr, "%s:%d: %s is %d (%s; %s), not %s\n", __FILE__, __LINE__, #code, is_, swrcache_strerror(is_), \
                    swrcache_last_error(), #expected);                                                             \
            abort();                                                                                               \
        }                                                                                                          \
    } while (0)
#define HOLDS(what) IS(!(what), 0)

static uint64_t clock_at = 1700000000000;

static uint64_t at(void *user)
{
    (void)user;
    return __atomic_load_n(&clock_at, __ATOMIC_RELAXED);
}

static swrcache_cache *open_cache(int memory)
{
    swrcache_options options = {.struct_size = sizeof options};
    swrcache_cache *cache;
    options.memory = memory;
    options.size = 8 << 20;
    options.clock = at;
    IS(swrcache_open(&options, &cache), SWRCACHE_OK);
    return cache;
}

static swrcache_policy *new_policy(void)
{
    swrcache_policy *policy;
    IS(swrcache_policy_new(&policy), SWRCACHE_OK);
    return policy;
}

static swrcache_decision look(swrcache_cache *cache, swrcache_policy *policy, const char *key)
{
    swrcache_request request = {.struct_size = sizeof request};
    swrcache_decision decision = {.struct_size = sizeof decision};
    request.method = "GET";
    request.key = key;
    request.key_len = SWRCACHE_NUL;
    IS(swrcache_lookup(cache, policy, &request, &decision), SWRCACHE_OK);
    return decision;
}

/* Every response bears the tag "all", and the others in "tags". */
static const char *tags = "";

static int answer(swrcache_fetch *fetch, int status, const char *control)
{
    swrcache_field fields[] = {
        {"Cache-Control", SWRCACHE_NUL, control, SWRCACHE_NUL},
        {"Surrogate-Key", SWRCACHE_NUL, "all", SWRCACHE_NUL},
        {"Cache-Tag", SWRCACHE_NUL, tags, SWRCACHE_NUL},
    };
    swrcache_response response = {.struct_size = sizeof response};
    int todo;
    response.status = status;
    response.fields = fields;
    response.field_count = sizeof fields / sizeof *fields;
    IS(swrcache_fetch_respond(fetch, &response, &todo), SWRCACHE_OK);
    return todo;
}

static void store(swrcache_cache *cache, swrcache_policy *policy, const char *key, const char *control, const char *body)
{
    swrcache_decision decision = look(cache, policy, key);
    int todo;
    IS(decision.action, SWRCACHE_FETCH);
    IS(answer(decision.fetch, 200, control), SWRCACHE_DO_STORE);
    IS(swrcache_fetch_write(decision.fetch, body, strlen(body)), SWRCACHE_OK);
    IS(swrcache_fetch_finish(decision.fetch, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_REPLY);
    swrcache_fetch_free(decision.fetch);
}

/* Purges, and checks how many responses that were. */
static void purge(swrcache_cache *cache, int kind, const char *what, uint64_t expected)
{
    uint64_t purged = 77;
    IS(swrcache_purge(cache, kind, what, SWRCACHE_NUL, &purged), SWRCACHE_OK);
    HOLDS(purged == expected);
}

/* Each kind of purge, hard and soft. */
static void purges(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    swrcache_decision decision;
    tags = "news, front page";
    store(cache, policy, "/news/1", "max-age=60", "one");
    tags = "news";
    store(cache, policy, "/news/2", "max-age=60, stale-while-revalidate=60", "two");
    tags = "";
    store(cache, policy, "/other", "max-age=60", "three");
    purge(cache, SWRCACHE_PURGE_TAG, "ne", 0);
    purge(cache, SWRCACHE_PURGE_TAG, "front", 1);
    purge(cache, SWRCACHE_PURGE_PREFIX, "/news/1", 0);
    purge(cache, SWRCACHE_PURGE_TAG | SWRCACHE_PURGE_SOFT, "news", 1);
    decision = look(cache, policy, "/news/2");
    IS(decision.action, SWRCACHE_SERVE);
    HOLDS(strcmp(decision.reason, "swr-refresh") == 0 && decision.fetch != NULL);
    swrcache_reply_free(decision.reply);
    swrcache_fetch_free(decision.fetch);
    purge(cache, SWRCACHE_PURGE_KEY | SWRCACHE_PURGE_SOFT, "/other", 1);
    purge(cache, SWRCACHE_PURGE_PREFIX | SWRCACHE_PURGE_SOFT, "/", 2);
    purge(cache, SWRCACHE_PURGE_PREFIX, "/news", 1);
    purge(cache, SWRCACHE_PURGE_TAG, "all", 1);
    store(cache, policy, "/other", "max-age=60", "three");
    purge(cache, SWRCACHE_PURGE_ALL | SWRCACHE_PURGE_SOFT, "", 1);
    IS(swrcache_purge(cache, SWRCACHE_PURGE_ALL, NULL, 0, NULL), SWRCACHE_OK);
    purge(cache, SWRCACHE_PURGE_ALL, "", 0);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

static void passed(swrcache_cache *cache, swrcache_policy *policy, const char *method, const char *key, const char *target, swrcache_field field)
{
    swrcache_request request = {.struct_size = sizeof request, .method = method, .key = key, .key_len = SWRCACHE_NUL};
    swrcache_response response = {.struct_size = sizeof response, .status = 200, .fields = &field, .field_count = 1};
    request.origin = "http://here";
    request.target = target;
    IS(swrcache_passed(cache, policy, &request, &response), SWRCACHE_OK);
}

static int is_stored(swrcache_cache *cache, swrcache_policy *policy, const char *key)
{
    swrcache_decision decision = look(cache, policy, key);
    swrcache_reply_free(decision.reply);
    swrcache_fetch_free(decision.fetch);
    return decision.action == SWRCACHE_SERVE;
}

/* What passes: writing to a key makes it invalid, with what the response names; reading does not. */
static void passes(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    static const swrcache_field nothing = {"X", 1, "y", 1}, location = {"Location", 8, "/two", 4};
    store(cache, policy, "here/one", "max-age=60", "one");
    store(cache, policy, "here/two", "max-age=60", "two");
    passed(cache, policy, "GET", "here/one", "/one", location);
    passed(cache, policy, "OPTIONS", "here/one", "/one", location);
    HOLDS(is_stored(cache, policy, "here/one") && is_stored(cache, policy, "here/two"));
    passed(cache, policy, "PUT", "here/one", "/one", nothing);
    HOLDS(!is_stored(cache, policy, "here/one") && is_stored(cache, policy, "here/two"));
    passed(cache, policy, "DELETE", "here/one", "/elsewhere", location);
    HOLDS(is_stored(cache, policy, "here/two"));  /* the key does not end in the target: nothing is known of others */
    passed(cache, policy, "POST", "here/one", "/one", location);
    HOLDS(!is_stored(cache, policy, "here/two"));

    /* Long keys have text as they are given, whatever they end in. */
    char key[700];
    for (int last = '0'; last <= 'z'; last += 5) {
        memset(key, 'k', sizeof key);
        key[sizeof key - 2] = (char)last;
        key[sizeof key - 1] = 0;
        store(cache, policy, key, "max-age=60", "long");
        key[sizeof key - 2] = 0;
        purge(cache, SWRCACHE_PURGE_PREFIX, key, 1);
    }

    /* A HEAD that passes ends what is stored if that has another length. */
    swrcache_field same = {"Content-Length", 14, "5", 1}, other = {"Content-Length", 14, "9", 1};
    store(cache, policy, "here/three", "max-age=60", "three");
    passed(cache, policy, "HEAD", "here/three", "/three", same);
    HOLDS(is_stored(cache, policy, "here/three"));
    passed(cache, policy, "HEAD", "here/three", "/three", other);
    HOLDS(!is_stored(cache, policy, "here/three"));
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* What a host says of a response, and of a failure. */
static void conditions(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    swrcache_field control = {"Cache-Control", 13, "max-age=60, stale-if-error=600", 30};
    swrcache_response response = {.struct_size = sizeof response, .status = 200, .fields = &control, .field_count = 1};
    swrcache_decision decision = look(cache, policy, "secret");
    int todo;
    response.flags = SWRCACHE_NO_CACHE;
    IS(swrcache_fetch_respond(decision.fetch, &response, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_RELAY);
    HOLDS(strcmp(swrcache_fetch_reason(decision.fetch), "no-cache-condition") == 0);
    swrcache_fetch_free(decision.fetch);

    /* A page that the host made because the origin failed is no answer: the stale copy is. */
    store(cache, policy, "page", "max-age=1, stale-if-error=600", "body");
    __atomic_add_fetch(&clock_at, 2000, __ATOMIC_RELAXED);
    decision = look(cache, policy, "page");
    IS(decision.action, SWRCACHE_FETCH);
    response.flags = 0;
    response.failure = SWRCACHE_FAIL_TIMEOUT;
    IS(swrcache_fetch_respond(decision.fetch, &response, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_REPLY);
    swrcache_fetch_free(decision.fetch);

    /* The origin asked for a long pause: until it is over it is left alone. */
    __atomic_add_fetch(&clock_at, 100000, __ATOMIC_RELAXED);
    decision = look(cache, policy, "page");
    IS(decision.action, SWRCACHE_FETCH);
    IS(swrcache_fetch_fail(decision.fetch, SWRCACHE_FAIL_ERROR, 300000, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_REPLY);
    swrcache_fetch_free(decision.fetch);
    __atomic_add_fetch(&clock_at, 200000, __ATOMIC_RELAXED);
    decision = look(cache, policy, "page");
    IS(decision.action, SWRCACHE_SERVE);
    HOLDS(strcmp(decision.reason, "sie-backoff") == 0);
    swrcache_reply_free(decision.reply);
    __atomic_add_fetch(&clock_at, 200000, __ATOMIC_RELAXED);
    decision = look(cache, policy, "page");
    IS(decision.action, SWRCACHE_FETCH);
    swrcache_fetch_free(decision.fetch);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* Waits for the children that end with 0. */
static void wait_for(pid_t child)
{
    int status;
    HOLDS(child > 0 && waitpid(child, &status, 0) == child);
    HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Private memory stays with the process. */
static void forked(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    store(cache, policy, "k", "max-age=60", "body");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int passes = look(cache, policy, "k").action == SWRCACHE_PASS;
        int refused = swrcache_after_fork(cache) == SWRCACHE_EUNSUPPORTED;
        swrcache_policy_free(policy);
        swrcache_close(cache);
        _exit(!(passes && refused));
    }
    wait_for(child);
    HOLDS(is_stored(cache, policy, "k"));
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* Two processes that open the same file and are not forked from one another: the one that waits is woken all the same. */
static void strangers(void)
{
    char path[] = "/tmp/swrcache-strangers-XXXXXX";
    int from[2], file = mkstemp(path), fd;
    swrcache_options options = {.struct_size = sizeof options, .memory = SWRCACHE_FILE, .size = 8 << 20};
    swrcache_cache *cache;
    char byte = 0;
    HOLDS(file >= 0 && unlink(path) == 0 && close(file) == 0 && pipe(from) == 0);
    options.path = path;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        /* Leads a fetch of 300 ms. */
        swrcache_policy *policy = new_policy();
        IS(swrcache_open(&options, &cache), SWRCACHE_OK);
        swrcache_decision decision = look(cache, policy, "k");
        IS(decision.action, SWRCACHE_FETCH);
        if (write(from[1], "x", 1) != 1)
            _exit(1);
        usleep(300000);
        int todo;
        IS(answer(decision.fetch, 200, "max-age=60"), SWRCACHE_DO_STORE);
        IS(swrcache_fetch_write(decision.fetch, "body", 4), SWRCACHE_OK);
        IS(swrcache_fetch_finish(decision.fetch, &todo), SWRCACHE_OK);
        swrcache_fetch_free(decision.fetch);
        usleep(200000);
        swrcache_policy_free(policy);
        swrcache_close(cache);
        _exit(0);
    }
    HOLDS(read(from[0], &byte, 1) == 1);
    swrcache_policy *policy = new_policy();
    IS(swrcache_open(&options, &cache), SWRCACHE_OK);
    IS(swrcache_event_fd(cache, &fd), SWRCACHE_OK);
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = "k", .key_len = 1};
    swrcache_decision decision = {.struct_size = sizeof decision};
    int rings = 0;
    for (;;) {
        struct pollfd poll_for = {fd, POLLIN, 0};
        IS(swrcache_event_clear(cache), SWRCACHE_OK);
        IS(swrcache_lookup(cache, policy, &request, &decision), SWRCACHE_OK);
        if (decision.action != SWRCACHE_WAIT)
            break;
        IS(poll(&poll_for, 1, 2000), 1);
        rings++;
        request.turn = SWRCACHE_WAITED;
    }
    IS(decision.action, SWRCACHE_SERVE);
    HOLDS(rings > 3 && rings < 100);
    swrcache_reply_free(decision.reply);
    IS(swrcache_lookup_wait(cache, policy, &request, &decision), SWRCACHE_OK);
    IS(decision.action, SWRCACHE_SERVE);
    swrcache_reply_free(decision.reply);
    wait_for(child);
    close(from[0]);
    close(from[1]);
    unlink(path);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

static void nothing(void *user, swrcache_fetch *fetch)
{
    (void)user;
    (void)fetch;
}

/* NULL for every pointer of every function, one at a time with the others in order. */
static void nulls(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE), *none;
    swrcache_policy *policy = new_policy();
    swrcache_options options = {.struct_size = sizeof options, .memory = SWRCACHE_FILE, .size = 8 << 20};
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = "k", .key_len = 1};
    swrcache_decision decision = {.struct_size = sizeof decision};
    swrcache_response response = {.struct_size = sizeof response, .status = 200};
    swrcache_statistics statistics = {.struct_size = sizeof statistics};
    swrcache_refresher_options refreshing = {.struct_size = sizeof refreshing};
    swrcache_verdict verdict = {.struct_size = sizeof verdict};
    swrcache_validators validators = {.struct_size = sizeof validators, .status = 200};
    swrcache_head head = {.struct_size = sizeof head};
    swrcache_refresher *refresher;
    swrcache_reply *reply = NULL;
    swrcache_range range;
    struct iovec iov;
    const swrcache_field *fields;
    const char *text;
    size_t count;
    uint64_t number;
    int fd, todo;
    char buffer[64];

    IS(swrcache_open(NULL, &none), SWRCACHE_EINVAL);
    HOLDS(none == NULL);
    IS(swrcache_open(&options, NULL), SWRCACHE_EINVAL);
    IS(swrcache_open(&options, &none), SWRCACHE_EINVAL);  /* a file without a path */
    IS(swrcache_after_fork(NULL), SWRCACHE_EINVAL);
    IS(swrcache_event_fd(NULL, &fd), SWRCACHE_EINVAL);
    IS(swrcache_event_fd(cache, NULL), SWRCACHE_EINVAL);
    IS(swrcache_event_clear(NULL), SWRCACHE_EINVAL);
    IS(swrcache_wait(NULL, 0, 0), SWRCACHE_EINVAL);
    IS(swrcache_tidy(NULL), SWRCACHE_EINVAL);
    IS(swrcache_purge(NULL, SWRCACHE_PURGE_KEY, "k", 1, &number), SWRCACHE_EINVAL);
    IS(swrcache_purge(cache, SWRCACHE_PURGE_KEY, NULL, 1, &number), SWRCACHE_EINVAL);
    IS(swrcache_purge(cache, SWRCACHE_PURGE_KEY, "k", 1, NULL), SWRCACHE_OK);
    IS(swrcache_passed(NULL, policy, &request, &response), SWRCACHE_EINVAL);
    IS(swrcache_passed(cache, NULL, &request, &response), SWRCACHE_EINVAL);
    IS(swrcache_passed(cache, policy, NULL, &response), SWRCACHE_EINVAL);
    IS(swrcache_passed(cache, policy, &request, NULL), SWRCACHE_EINVAL);
    IS(swrcache_stats(NULL, &statistics), SWRCACHE_EINVAL);
    IS(swrcache_stats(cache, NULL), SWRCACHE_EINVAL);
    IS(swrcache_now(NULL, &number), SWRCACHE_EINVAL);
    IS(swrcache_now(cache, NULL), SWRCACHE_EINVAL);
    IS(swrcache_policy_new(NULL), SWRCACHE_EINVAL);
    IS(swrcache_policy_set(NULL, "lock", "on"), SWRCACHE_EINVAL);
    IS(swrcache_policy_set(policy, NULL, "on"), SWRCACHE_EINVAL);
    IS(swrcache_policy_set(policy, "lock", NULL), SWRCACHE_EINVAL);

    for (int waits = 0; waits < 2; waits++) {
        int (*lookup)(swrcache_cache *, swrcache_policy *, const swrcache_request *, swrcache_decision *) =
            waits ? swrcache_lookup_wait : swrcache_lookup;
        IS(lookup(NULL, policy, &request, &decision), SWRCACHE_EINVAL);
        IS(decision.action, SWRCACHE_PASS);
        HOLDS(decision.reason != NULL && decision.reply == NULL && decision.fetch == NULL);
        IS(lookup(cache, NULL, &request, &decision), SWRCACHE_EINVAL);
        IS(lookup(cache, policy, NULL, &decision), SWRCACHE_EINVAL);
        IS(lookup(cache, policy, &request, NULL), SWRCACHE_EINVAL);
        swrcache_request bad = request;
        bad.method = NULL;
        IS(lookup(cache, policy, &bad, &decision), SWRCACHE_EINVAL);
        bad = request;
        bad.key = NULL;
        IS(lookup(cache, policy, &bad, &decision), SWRCACHE_EINVAL);
        bad = request;
        bad.field_count = 1;
        IS(lookup(cache, policy, &bad, &decision), SWRCACHE_EINVAL);
        swrcache_field field = {NULL, 1, "v", 1};
        bad.fields = &field;
        IS(lookup(cache, policy, &bad, &decision), SWRCACHE_EINVAL);
        field = (swrcache_field){"n", 1, NULL, 1};
        IS(lookup(cache, policy, &bad, &decision), SWRCACHE_EINVAL);
    }
    IS(swrcache_pass_status(NULL, &decision, 200, buffer, sizeof buffer, &count), SWRCACHE_EINVAL);
    IS(swrcache_pass_status(policy, NULL, 200, buffer, sizeof buffer, &count), SWRCACHE_EINVAL);
    IS(swrcache_pass_status(policy, &decision, 200, NULL, sizeof buffer, &count), SWRCACHE_EINVAL);
    IS(swrcache_pass_status(policy, &decision, 200, buffer, sizeof buffer, NULL), SWRCACHE_OK);

    decision = look(cache, policy, "k");
    IS(swrcache_fetch_fields(NULL, &fields, &count), SWRCACHE_EINVAL);
    IS(swrcache_fetch_fields(decision.fetch, NULL, &count), SWRCACHE_EINVAL);
    IS(swrcache_fetch_fields(decision.fetch, &fields, NULL), SWRCACHE_EINVAL);
    IS(swrcache_fetch_key(NULL, &text, &count), SWRCACHE_EINVAL);
    IS(swrcache_fetch_key(decision.fetch, NULL, &count), SWRCACHE_EINVAL);
    IS(swrcache_fetch_key(decision.fetch, &text, NULL), SWRCACHE_EINVAL);
    IS(swrcache_fetch_is_refresh(NULL), 0);
    IS(swrcache_fetch_respond(NULL, &response, &todo), SWRCACHE_EINVAL);
    IS(swrcache_fetch_respond(decision.fetch, NULL, &todo), SWRCACHE_EINVAL);
    IS(swrcache_fetch_respond(decision.fetch, &response, NULL), SWRCACHE_EINVAL);
    IS(swrcache_fetch_write(NULL, "x", 1), SWRCACHE_EINVAL);
    IS(swrcache_fetch_write(decision.fetch, NULL, 1), SWRCACHE_EINVAL);
    IS(swrcache_fetch_finish(NULL, &todo), SWRCACHE_EINVAL);
    IS(swrcache_fetch_finish(decision.fetch, NULL), SWRCACHE_EINVAL);
    IS(swrcache_fetch_fail(NULL, SWRCACHE_FAIL_ERROR, 0, &todo), SWRCACHE_EINVAL);
    IS(swrcache_fetch_fail(decision.fetch, SWRCACHE_FAIL_ERROR, 0, NULL), SWRCACHE_EINVAL);
    IS(swrcache_fetch_reply(NULL, &reply), SWRCACHE_EINVAL);
    IS(swrcache_fetch_reply(decision.fetch, NULL), SWRCACHE_EINVAL);
    IS(swrcache_fetch_stale(NULL, &reply), SWRCACHE_EINVAL);
    IS(swrcache_fetch_stale(decision.fetch, NULL), SWRCACHE_EINVAL);
    HOLDS(*swrcache_fetch_reason(NULL) == 0);
    IS(swrcache_fetch_status(NULL, buffer, sizeof buffer, &count), SWRCACHE_EINVAL);
    IS(swrcache_fetch_status(decision.fetch, NULL, sizeof buffer, &count), SWRCACHE_EINVAL);
    IS(swrcache_fetch_status(decision.fetch, buffer, sizeof buffer, NULL), SWRCACHE_OK);
    swrcache_fetch_free(decision.fetch);

    store(cache, policy, "k", "max-age=60", "body");
    decision = look(cache, policy, "k");
    IS(decision.action, SWRCACHE_SERVE);
    IS(swrcache_reply_head(NULL, &head), SWRCACHE_EINVAL);
    IS(swrcache_reply_head(decision.reply, NULL), SWRCACHE_EINVAL);
    IS(swrcache_reply_read(NULL, &iov, 1, &count), SWRCACHE_EINVAL);
    IS(swrcache_reply_read(decision.reply, NULL, 1, &count), SWRCACHE_EINVAL);
    IS(swrcache_reply_read(decision.reply, &iov, 0, &count), SWRCACHE_EINVAL);
    IS(swrcache_reply_read(decision.reply, &iov, 1, NULL), SWRCACHE_EINVAL);
    IS(swrcache_reply_read_wait(NULL, &iov, 1, &count, 1), SWRCACHE_EINVAL);
    IS(swrcache_reply_read_wait(decision.reply, NULL, 1, &count, 1), SWRCACHE_EINVAL);
    IS(swrcache_reply_read_wait(decision.reply, &iov, 1, NULL, 1), SWRCACHE_EINVAL);
    IS(swrcache_pass_status(policy, &decision, 200, buffer, sizeof buffer, &count), SWRCACHE_EINVAL);  /* no pass */
    swrcache_reply_free(decision.reply);

    IS(swrcache_refresher_new(NULL, &refreshing, &refresher), SWRCACHE_EINVAL);
    IS(swrcache_refresher_new(cache, NULL, &refresher), SWRCACHE_EINVAL);
    IS(swrcache_refresher_new(cache, &refreshing, NULL), SWRCACHE_EINVAL);
    IS(swrcache_refresher_new(cache, &refreshing, &refresher), SWRCACHE_EINVAL);  /* no function */
    refreshing.carry = nothing;
    IS(swrcache_refresher_new(cache, &refreshing, &refresher), SWRCACHE_OK);
    IS(swrcache_refresher_submit(refresher, NULL), SWRCACHE_EINVAL);
    decision = look(cache, policy, "other");
    IS(swrcache_refresher_submit(NULL, decision.fetch), SWRCACHE_EINVAL);
    IS(swrcache_refresher_submit(refresher, decision.fetch), SWRCACHE_OK);
    swrcache_refresher_free(refresher);

    IS(swrcache_judge(NULL, &request, &response, 1, &verdict), SWRCACHE_EINVAL);
    IS(swrcache_judge(policy, NULL, &response, 1, &verdict), SWRCACHE_EINVAL);
    IS(swrcache_judge(policy, &request, NULL, 1, &verdict), SWRCACHE_EINVAL);
    IS(swrcache_judge(policy, &request, &response, 1, NULL), SWRCACHE_EINVAL);
    IS(swrcache_phase(NULL, 1, &todo), SWRCACHE_EINVAL);
    IS(swrcache_phase(&verdict, 1, NULL), SWRCACHE_EINVAL);
    IS(swrcache_conditional(NULL, &validators, &todo, &range, 1, &count), SWRCACHE_EINVAL);
    IS(swrcache_conditional(&request, NULL, &todo, &range, 1, &count), SWRCACHE_EINVAL);
    IS(swrcache_conditional(&request, &validators, NULL, &range, 1, &count), SWRCACHE_EINVAL);
    IS(swrcache_conditional(&request, &validators, &todo, NULL, 1, &count), SWRCACHE_EINVAL);
    IS(swrcache_conditional(&request, &validators, &todo, &range, 1, NULL), SWRCACHE_EINVAL);
    IS(swrcache_conditional(&request, &validators, &todo, NULL, 0, &count), SWRCACHE_OK);

    swrcache_close(NULL);
    swrcache_policy_free(NULL);
    swrcache_reply_free(NULL);
    swrcache_fetch_free(NULL);
    swrcache_refresher_free(NULL);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* Struct sizes, lengths, counts, constants that can't be. */
static void lies(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE), *none;
    swrcache_policy *policy = new_policy();
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = "k", .key_len = 1};
    swrcache_decision decision = {.struct_size = sizeof decision};
    swrcache_field field = {"n", 1, "v", 1};
    size_t small = sizeof(size_t), needed;
    uint64_t number;
    int todo;
    char buffer[256], c = 'x';

    /* Structs of which only the size is there. */
    IS(swrcache_open((const swrcache_options *)(void *)&small, &none), SWRCACHE_ESIZE);
    IS(swrcache_lookup(cache, policy, (const swrcache_request *)(void *)&small, &decision), SWRCACHE_ESIZE);
    IS(swrcache_lookup(cache, policy, &request, (swrcache_decision *)(void *)&small), SWRCACHE_ESIZE);
    IS(swrcache_stats(cache, (swrcache_statistics *)(void *)&small), SWRCACHE_ESIZE);

    swrcache_request bad = request;
    bad.key_len = SIZE_MAX - 1;
    IS(swrcache_lookup(cache, policy, &bad, &decision), SWRCACHE_EINVAL);
    bad = request;
    bad.fields = &field;
    bad.field_count = SIZE_MAX;
    IS(swrcache_lookup(cache, policy, &bad, &decision), SWRCACHE_EINVAL);
    bad.field_count = 1;
    field.name_len = 0;
    IS(swrcache_lookup(cache, policy, &bad, &decision), SWRCACHE_EINVAL);
    field.name_len = (size_t)1 << 63;
    IS(swrcache_lookup(cache, policy, &bad, &decision), SWRCACHE_EINVAL);
    bad = request;
    bad.turn = 99;
    IS(swrcache_lookup(cache, policy, &bad, &decision), SWRCACHE_EINVAL);
    /* A struct that does not lie where it may. */
    char space[sizeof request + 1];
    memcpy(space + 1, &request, sizeof request);
    IS(swrcache_lookup(cache, policy, (const swrcache_request *)(void *)(space + 1), &decision), SWRCACHE_EINVAL);
    /* A later version of a struct is longer. */
    struct {
        swrcache_request request;
        char more[64];
    } later = {.request = request, .more = {0}};
    later.request.struct_size = sizeof later;
    IS(swrcache_lookup(cache, policy, &later.request, &decision), SWRCACHE_OK);
    HOLDS(decision.struct_size == sizeof decision);
    swrcache_fetch_free(decision.fetch);

    IS(swrcache_purge(cache, 77, "k", 1, &number), SWRCACHE_EINVAL);
    IS(swrcache_purge(cache, -1, "k", 1, &number), SWRCACHE_EINVAL);
    swrcache_response odd = {.struct_size = sizeof odd, .status = 70000};
    IS(swrcache_passed(cache, policy, &request, &odd), SWRCACHE_EINVAL);
    odd.status = 200;
    odd.failure = 99;
    IS(swrcache_passed(cache, policy, &request, &odd), SWRCACHE_EINVAL);
    IS(swrcache_policy_set(policy, "no such", "on"), SWRCACHE_ESTATE);  /* it has been used */
    swrcache_policy *fresh = new_policy();
    IS(swrcache_policy_set(fresh, "no such", "on"), SWRCACHE_EINVAL);
    HOLDS(strstr(swrcache_last_error(), "no such") != NULL);
    IS(swrcache_policy_set(fresh, "lock", "\xff\xfe"), SWRCACHE_EINVAL);
    IS(swrcache_policy_set(fresh, "stale_if_error", "99999999999999999999s"), SWRCACHE_EINVAL);
    swrcache_policy_free(fresh);

    /* A handle of another kind. */
    IS(swrcache_tidy((swrcache_cache *)(void *)policy), SWRCACHE_EINVAL);

    decision = look(cache, policy, "k");
    swrcache_response response = {.struct_size = sizeof response, .status = 99};
    IS(swrcache_fetch_respond(decision.fetch, &response, &todo), SWRCACHE_EINVAL);
    response.status = 200;
    response.flags = 1u << 31;
    IS(swrcache_fetch_respond(decision.fetch, &response, &todo), SWRCACHE_EINVAL);
    IS(swrcache_fetch_fail(decision.fetch, 99, 0, &todo), SWRCACHE_EINVAL);

    /* Tiny buffers: nothing is written, and the size is told. */
    IS(swrcache_fetch_status(decision.fetch, &c, 1, &needed), SWRCACHE_ERANGE);
    HOLDS(c == 'x' && needed > 1);
    IS(swrcache_fetch_status(decision.fetch, NULL, 0, &needed), SWRCACHE_ERANGE);
    memset(buffer, '?', sizeof buffer);
    IS(swrcache_fetch_status(decision.fetch, buffer, needed - 1, NULL), SWRCACHE_ERANGE);
    HOLDS(buffer[0] == '?');
    IS(swrcache_fetch_status(decision.fetch, buffer, needed, NULL), SWRCACHE_OK);
    HOLDS(strlen(buffer) + 1 == needed && buffer[needed] == '?');

    /* A body longer than announced, and one that the cache does not take. */
    swrcache_field lines[] = {{"Cache-Control", SWRCACHE_NUL, "max-age=60", SWRCACHE_NUL}, {"Content-Length", SWRCACHE_NUL, "3", 1}};
    response = (swrcache_response){.struct_size = sizeof response, .status = 200, .fields = lines, .field_count = 2};
    IS(swrcache_fetch_respond(decision.fetch, &response, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_STORE);
    IS(swrcache_fetch_write(decision.fetch, buffer, SWRCACHE_NUL), SWRCACHE_EINVAL);
    IS(swrcache_fetch_write(decision.fetch, "four", 4), SWRCACHE_ETOOLARGE);
    IS(swrcache_fetch_write(decision.fetch, "f", 1), SWRCACHE_ESTATE);
    swrcache_fetch_free(decision.fetch);
    decision = look(cache, policy, "large");
    IS(decision.action, SWRCACHE_FETCH);
    IS(answer(decision.fetch, 200, "max-age=60"), SWRCACHE_DO_STORE);
    char *piece = calloc(1, 1 << 20);
    int rc = SWRCACHE_OK;
    for (int i = 0; i < 64 && rc == SWRCACHE_OK; i++)
        rc = swrcache_fetch_write(decision.fetch, piece, 1 << 20);
    IS(rc, SWRCACHE_ETOOLARGE);
    free(piece);
    swrcache_fetch_free(decision.fetch);

    HOLDS(strcmp(swrcache_strerror(12345), "unknown error") == 0);
    HOLDS(*swrcache_status_name(-5) == 0);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* Everything in the wrong order, and after its end. */
static void order(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    swrcache_reply *reply, *other;
    const swrcache_field *fields;
    size_t count;
    int todo;
    struct iovec iov[4];

    swrcache_decision decision = look(cache, policy, "k");
    swrcache_fetch *fetch = decision.fetch;
    IS(swrcache_fetch_write(fetch, "x", 1), SWRCACHE_ESTATE);
    IS(swrcache_fetch_finish(fetch, &todo), SWRCACHE_ESTATE);
    IS(swrcache_fetch_reply(fetch, &reply), SWRCACHE_EAGAIN);
    IS(swrcache_fetch_stale(fetch, &reply), SWRCACHE_ESTATE);
    HOLDS(reply == NULL);
    IS(answer(fetch, 200, "max-age=60, stale-while-revalidate=60"), SWRCACHE_DO_STORE);
    swrcache_response response = {.struct_size = sizeof response, .status = 200};
    IS(swrcache_fetch_respond(fetch, &response, &todo), SWRCACHE_ESTATE);
    IS(swrcache_fetch_write(fetch, "bo", 2), SWRCACHE_OK);

    /* Who leads may read along; who comes then is served what grows. */
    IS(swrcache_fetch_reply(fetch, &reply), SWRCACHE_OK);
    IS(swrcache_reply_read(reply, iov, 4, &count), SWRCACHE_OK);
    HOLDS(count == 1 && memcmp(iov[0].iov_base, "bo", 2) == 0);
    IS(swrcache_reply_read(reply, iov, 4, &count), SWRCACHE_EAGAIN);
    IS(swrcache_reply_read_wait(reply, iov, 4, &count, 5), SWRCACHE_EAGAIN);
    decision = look(cache, policy, "k");
    IS(decision.action, SWRCACHE_SERVE);
    other = decision.reply;
    IS(swrcache_fetch_write(fetch, "dy", 2), SWRCACHE_OK);
    IS(swrcache_fetch_finish(fetch, &todo), SWRCACHE_OK);
    IS(swrcache_fetch_finish(fetch, &todo), SWRCACHE_ESTATE);
    IS(swrcache_fetch_fail(fetch, SWRCACHE_FAIL_ERROR, 0, &todo), SWRCACHE_ESTATE);
    IS(swrcache_fetch_write(fetch, "x", 1), SWRCACHE_ESTATE);
    swrcache_fetch_free(fetch);
    IS(swrcache_reply_read(reply, iov, 4, &count), SWRCACHE_OK);
    HOLDS(count == 1 && memcmp(iov[0].iov_base, "dy", 2) == 0);
    IS(swrcache_reply_read(reply, iov, 4, &count), SWRCACHE_OK);
    HOLDS(count == 0);
    swrcache_reply_free(reply);

    /* A reply outlives the purge of what it delivers, the policy, and the cache itself. */
    uint64_t purged;
    IS(swrcache_purge(cache, SWRCACHE_PURGE_KEY, "k", 1, &purged), SWRCACHE_OK);
    HOLDS(purged == 1);
    IS(swrcache_purge(cache, SWRCACHE_PURGE_KEY, "k", 1, &purged), SWRCACHE_OK);
    HOLDS(purged == 0);

    /* A fetch that is given up leaves its place to the next; one purged away comes to nothing, but its client is served. */
    decision = look(cache, policy, "k");
    IS(decision.action, SWRCACHE_FETCH);
    IS(look(cache, policy, "k").action, SWRCACHE_WAIT);
    swrcache_fetch_free(decision.fetch);
    decision = look(cache, policy, "k");
    IS(decision.action, SWRCACHE_FETCH);
    IS(answer(decision.fetch, 200, "max-age=60"), SWRCACHE_DO_STORE);
    IS(swrcache_fetch_write(decision.fetch, "new", 3), SWRCACHE_OK);
    IS(swrcache_purge(cache, SWRCACHE_PURGE_KEY, "k", 1, NULL), SWRCACHE_OK);
    IS(swrcache_fetch_finish(decision.fetch, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_REPLY);
    IS(swrcache_fetch_reply(decision.fetch, &reply), SWRCACHE_OK);
    swrcache_reply_free(reply);
    swrcache_fetch_free(decision.fetch);
    decision = look(cache, policy, "k");
    IS(decision.action, SWRCACHE_FETCH);
    IS(swrcache_fetch_fail(decision.fetch, SWRCACHE_FAIL_TIMEOUT, 0, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_RELAY);
    IS(swrcache_fetch_fields(decision.fetch, &fields, &count), SWRCACHE_ESTATE);
    IS(swrcache_fetch_reply(decision.fetch, &reply), SWRCACHE_ESTATE);
    swrcache_fetch_free(decision.fetch);

    /* Break a body off under its reader. */
    decision = look(cache, policy, "cut");
    IS(answer(decision.fetch, 200, "max-age=60"), SWRCACHE_DO_STORE);
    IS(swrcache_fetch_write(decision.fetch, "half", 4), SWRCACHE_OK);
    IS(swrcache_fetch_reply(decision.fetch, &reply), SWRCACHE_OK);
    IS(swrcache_fetch_fail(decision.fetch, SWRCACHE_FAIL_ERROR, 0, &todo), SWRCACHE_OK);
    IS(swrcache_reply_read(reply, iov, 4, &count), SWRCACHE_OK);
    IS(swrcache_reply_read(reply, iov, 4, &count), SWRCACHE_EBROKEN);
    swrcache_reply_free(reply);
    swrcache_fetch_free(decision.fetch);

    /* The rest of a reply after everything else is gone. */
    decision = look(cache, policy, "left behind");
    IS(answer(decision.fetch, 200, "max-age=60"), SWRCACHE_DO_STORE);
    swrcache_policy_free(policy);
    swrcache_close(cache);
    IS(swrcache_reply_read(other, iov, 4, &count), SWRCACHE_OK);
    HOLDS(count >= 1 && memcmp(iov[0].iov_base, "bo", 2) == 0);
    swrcache_reply_free(other);
    (void)swrcache_fetch_write(decision.fetch, "x", 1);
    swrcache_fetch_free(decision.fetch);
}

/* The caller's clock: the whole life of an entry without a pause. */
static void life(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    swrcache_reply *reply;
    swrcache_statistics statistics = {.struct_size = sizeof statistics};
    int todo;
    store(cache, policy, "k", "max-age=60, stale-while-revalidate=60, stale-if-error=600", "body");
    swrcache_decision decision = look(cache, policy, "k");
    IS(decision.status, SWRCACHE_STATUS_HIT);
    swrcache_reply_free(decision.reply);

    clock_at += 61000;
    decision = look(cache, policy, "k");
    IS(decision.status, SWRCACHE_STATUS_UPDATING);
    HOLDS(decision.fetch != NULL && swrcache_fetch_is_refresh(decision.fetch));
    IS(swrcache_fetch_reply(decision.fetch, &reply), SWRCACHE_ESTATE);
    swrcache_reply_free(decision.reply);
    IS(swrcache_stats(cache, &statistics), SWRCACHE_OK);
    HOLDS(statistics.refreshing == 1 && statistics.updatings == 1 && statistics.hits == 1 && statistics.refreshes == 1);
    IS(swrcache_fetch_fail(decision.fetch, SWRCACHE_FAIL_ERROR, 0, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_NOTHING);
    swrcache_fetch_free(decision.fetch);
    IS(swrcache_stats(cache, &statistics), SWRCACHE_OK);
    HOLDS(statistics.refreshing == 0 && statistics.failures == 1);

    clock_at += 120000;
    decision = look(cache, policy, "k");
    IS(decision.action, SWRCACHE_FETCH);
    IS(swrcache_fetch_stale(decision.fetch, &reply), SWRCACHE_OK);
    swrcache_reply_free(reply);
    IS(answer(decision.fetch, 503, "no-store"), SWRCACHE_DO_REPLY);
    IS(swrcache_fetch_reply(decision.fetch, &reply), SWRCACHE_OK);
    swrcache_head head = {.struct_size = sizeof head};
    IS(swrcache_reply_head(reply, &head), SWRCACHE_OK);
    HOLDS(head.status == 200 && head.cache_status == SWRCACHE_STATUS_STALE && head.age == 181 && head.ttl == -121);
    swrcache_reply_free(reply);
    swrcache_fetch_free(decision.fetch);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* The rules alone. */
static void pure(void)
{
    swrcache_policy *policy = new_policy();
    swrcache_field in[] = {{"Range", SWRCACHE_NUL, "bytes=0-1,4-5", SWRCACHE_NUL}};
    swrcache_field out[] = {{"Cache-Control", SWRCACHE_NUL, "max-age=60, stale-while-revalidate=30, stale-if-error=90", SWRCACHE_NUL}};
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = "k", .key_len = 1, .fields = in, .field_count = 1};
    swrcache_response response = {.struct_size = sizeof response, .status = 200, .fields = out, .field_count = 1};
    swrcache_verdict verdict = {.struct_size = sizeof verdict};
    swrcache_validators validators = {.struct_size = sizeof validators, .status = 200, .etag = "\"a\"", .length = 10};
    swrcache_range ranges[2];
    size_t count;
    int told;
    IS(swrcache_judge(policy, &request, &response, 1000000, &verdict), SWRCACHE_OK);
    HOLDS(verdict.storable && verdict.fresh_until == 1060000 && verdict.swr_until == 1090000 && verdict.sie_until == 1150000);
    static const struct {
        uint64_t at;
        int phase;
    } phases[] = {{1059999, SWRCACHE_PHASE_FRESH}, {1060000, SWRCACHE_PHASE_SWR}, {1090000, SWRCACHE_PHASE_SIE}, {1150000, SWRCACHE_PHASE_TOO_OLD}};
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        IS(swrcache_phase(&verdict, phases[i].at, &told), SWRCACHE_OK);
        IS(told, phases[i].phase);
    }
    out[0].value = "no-store";
    IS(swrcache_judge(policy, &request, &response, 1000000, &verdict), SWRCACHE_OK);
    HOLDS(!verdict.storable && strcmp(verdict.reason, "no-store") == 0);
    IS(swrcache_conditional(&request, &validators, &told, ranges, 2, &count), SWRCACHE_OK);
    HOLDS(told == SWRCACHE_ANSWER_PARTIAL && count == 2 && ranges[1].first == 4 && ranges[1].length == 2);
    ranges[1].first = 77;
    IS(swrcache_conditional(&request, &validators, &told, ranges, 1, &count), SWRCACHE_ERANGE);
    HOLDS(count == 2 && ranges[1].first == 77);
    in[0] = (swrcache_field){"If-None-Match", SWRCACHE_NUL, "W/\"a\"", SWRCACHE_NUL};
    IS(swrcache_conditional(&request, &validators, &told, ranges, 2, &count), SWRCACHE_OK);
    IS(told, SWRCACHE_ANSWER_NOT_MODIFIED);
    swrcache_policy_free(policy);
}

/* A file: closed and opened again, with what it holds; another size is refused, what is no cache is left alone. */
static void file(void)
{
    char path[] = "/tmp/swrcache-soundness-XXXXXX";
    swrcache_options options = {.struct_size = sizeof options, .memory = SWRCACHE_FILE, .size = 8 << 20, .clock = at, .path = path};
    swrcache_cache *cache, *same;
    swrcache_policy *policy = new_policy();
    close(mkstemp(path));
    IS(swrcache_open(&options, &cache), SWRCACHE_OK);
    store(cache, policy, "k", "max-age=60", "kept");
    IS(swrcache_open(&options, &same), SWRCACHE_OK);
    swrcache_decision decision = look(same, policy, "k");
    IS(decision.status, SWRCACHE_STATUS_HIT);
    swrcache_reply_free(decision.reply);
    swrcache_close(same);
    swrcache_close(cache);
    pid_t child = fork();
    if (child == 0) {
        IS(swrcache_open(&options, &cache), SWRCACHE_OK);
        static swrcache_reply *held;
        decision = look(cache, policy, "k");
        IS(decision.status, SWRCACHE_STATUS_HIT);
        held = decision.reply;
        HOLDS(held != NULL);
        swrcache_policy_free(policy);
        _exit(0);  /* with a reply in its hands */
    }
    int status;
    HOLDS(waitpid(child, &status, 0) == child && status == 0);
    options.size = 16 << 20;
    IS(swrcache_open(&options, &cache), SWRCACHE_EREGION);
    HOLDS(strstr(swrcache_last_error(), "8388608") && strstr(swrcache_last_error(), "16777216"));
    FILE *foreign = fopen(path, "w");
    for (int i = 0; i < (8 << 20); i++)
        fputc('x', foreign);
    fclose(foreign);
    options.size = 8 << 20;
    IS(swrcache_open(&options, &cache), SWRCACHE_EREGION);
    unlink(path);
    options.path = "/no/such/folder/at/all";
    IS(swrcache_open(&options, &cache), SWRCACHE_ESYS);
    swrcache_policy_free(policy);
}

/* Many threads on one cache, and on handles that are for one. */

struct shared {
    swrcache_cache *cache;
    swrcache_policy *policy;
    swrcache_refresher *refresher;
    swrcache_reply *reply;
};

static void carry(void *user, swrcache_fetch *fetch)
{
    int todo;
    (void)user;
    if (answer(fetch, 200, "max-age=1, stale-while-revalidate=600") == SWRCACHE_DO_STORE) {
        IS(swrcache_fetch_write(fetch, "refreshed", 9), SWRCACHE_OK);
        IS(swrcache_fetch_finish(fetch, &todo), SWRCACHE_OK);
    }
}

static void *work(void *arg)
{
    struct shared *shared = arg;
    static const char *const keys[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 2000; i++) {
        swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = keys[i % 4], .key_len = 1};
        swrcache_decision decision = {.struct_size = sizeof decision};
        struct iovec iov[4];
        size_t count;
        int todo;
        IS(swrcache_lookup_wait(shared->cache, shared->policy, &request, &decision), SWRCACHE_OK);
        if (decision.reply) {
            swrcache_head head = {.struct_size = sizeof head};
            IS(swrcache_reply_head(decision.reply, &head), SWRCACHE_OK);
            char sum = 0;
            for (size_t f = 0; f < head.field_count; f++)
                sum = (char)(sum + head.fields[f].value[0]);
            HOLDS(sum != 0 || head.field_count > 0);
            while (swrcache_reply_read_wait(decision.reply, iov, 4, &count, 1000) == SWRCACHE_OK && count > 0) {
            }
            swrcache_reply_free(decision.reply);
        }
        if (decision.action == SWRCACHE_SERVE && decision.fetch) {
            if (swrcache_refresher_submit(shared->refresher, decision.fetch) != SWRCACHE_OK)
                swrcache_fetch_free(decision.fetch);
        } else if (decision.fetch) {
            carry(NULL, decision.fetch);
            swrcache_fetch_free(decision.fetch);
        }
        if (i % 97 == 0)
            __atomic_add_fetch(&clock_at, 1000, __ATOMIC_RELAXED);
        if (i % 500 == 0)
            while ((todo = swrcache_purge(shared->cache, SWRCACHE_PURGE_KEY, keys[i / 500 % 4], 1, NULL)) != SWRCACHE_OK)
                IS(todo, SWRCACHE_EAGAIN);  /* busy */
        /* A handle that is for one thread at a time says so to the second. */
        todo = swrcache_reply_read(shared->reply, iov, 1, &count);
        HOLDS(todo == SWRCACHE_OK || todo == SWRCACHE_EBUSY);
    }
    return NULL;
}

static void threads(void)
{
    struct shared shared = {.cache = open_cache(SWRCACHE_PRIVATE), .policy = new_policy()};
    swrcache_refresher_options refreshing = {.struct_size = sizeof refreshing, .threads = 2, .queue = 2, .carry = carry};
    pthread_t all[8];
    IS(swrcache_refresher_new(shared.cache, &refreshing, &shared.refresher), SWRCACHE_OK);
    store(shared.cache, shared.policy, "shared", "max-age=100000", "body");
    shared.reply = look(shared.cache, shared.policy, "shared").reply;
    for (int i = 0; i < 8; i++)
        pthread_create(&all[i], NULL, work, &shared);
    for (int i = 0; i < 8; i++)
        pthread_join(all[i], NULL);
    swrcache_refresher_free(shared.refresher);
    swrcache_reply_free(shared.reply);
    swrcache_statistics statistics = {.struct_size = sizeof statistics};
    IS(swrcache_stats(shared.cache, &statistics), SWRCACHE_OK);
    HOLDS(statistics.refreshing == 0 && statistics.queued > 0);
    HOLDS(statistics.queued + statistics.queue_refused == statistics.refreshes);
    swrcache_policy_free(shared.policy);
    swrcache_close(shared.cache);
}

/* A full queue refuses, says so, and leaves the fetch to its owner. */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void blocked(void *user, swrcache_fetch *fetch)
{
    (void)user;
    (void)fetch;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

static void full(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    swrcache_refresher_options refreshing = {.struct_size = sizeof refreshing, .threads = 1, .queue = 2, .carry = blocked};
    swrcache_statistics statistics = {.struct_size = sizeof statistics};
    swrcache_refresher *refresher;
    int taken = 0;
    pthread_mutex_lock(&gate);
    IS(swrcache_refresher_new(cache, &refreshing, &refresher), SWRCACHE_OK);
    for (int i = 0; i < 10; i++) {
        char key[8];
        snprintf(key, sizeof key, "%d", i);
        swrcache_decision decision = look(cache, policy, key);
        IS(decision.action, SWRCACHE_FETCH);
        if (swrcache_refresher_submit(refresher, decision.fetch) == SWRCACHE_OK) {
            taken++;
        } else {
            IS(swrcache_fetch_is_refresh(decision.fetch), 0);
            swrcache_fetch_free(decision.fetch);
        }
    }
    HOLDS(taken == 2 || taken == 3);  /* one may be in the thread's hands */
    IS(swrcache_stats(cache, &statistics), SWRCACHE_OK);
    HOLDS((int)statistics.queued == taken && (int)statistics.queue_refused == 10 - taken);
    pthread_mutex_unlock(&gate);
    swrcache_refresher_free(refresher);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

int main(int argc, char **argv)
{
    IS((int)swrcache_abi_version(), SWRCACHE_ABI_VERSION);
    HOLDS(strchr(swrcache_version(), '.') != NULL);
    HOLDS(strcmp(swrcache_status_name(SWRCACHE_STATUS_HIT), "HIT") == 0 && *swrcache_status_name(-1) == 0);
    HOLDS(strcmp(swrcache_strerror(4711), "unknown error") == 0);
    if (argc < 2 || strcmp(argv[1], "threads") != 0) {
        nulls();
        lies();
        order();
        life();
        purges();
        passes();
        conditions();
        forked();
        strangers();
        pure();
        file();
    }
    full();
    threads();
    printf("%d checks\n", checks);
    return 0;
}
