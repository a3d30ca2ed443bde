/* Calls in the wrong order, and the life of an entry in the right one. */
#include "soundness.h"

/* Adds a text to what `user` points to, which has room for it. */
static void keep_text(void *user, const char *text, size_t length)
{
    char *room = user;
    HOLDS(length < 1 << 20);
    memcpy(room, text, length);
    room[length] = 0;
}

/* The figures as nginx's `swr_cache_stats` has them. */
static void figures(swrcache_cache *cache)
{
    char *text = malloc(1 << 20);
    HOLDS(text != NULL);
    IS(swrcache_stats_text(cache, "main", SWRCACHE_STATS_PROMETHEUS, keep_text, text), SWRCACHE_OK);
    HOLDS(strstr(text, "swr_cache_responses_total{zone=\"main\",status=\"updating\"} 1\n") != NULL);
    HOLDS(strstr(text, "swr_cache_refreshes_total{zone=\"main\",outcome=\"failed\"} 1\n") != NULL);
    IS(swrcache_stats_text(cache, "main", SWRCACHE_STATS_JSON, keep_text, text), SWRCACHE_OK);
    HOLDS(text[0] == '{' && strstr(text, "\"failing\":[{\"key\":\"k\"") != NULL);
    IS(swrcache_stats_text(cache, "main", SWRCACHE_STATS_HTML, keep_text, text), SWRCACHE_OK);
    HOLDS(strncmp(text, "<!doctype html>", 15) == 0);
    free(text);
}

/* Everything in the wrong order, and after its end. */
void order(void)
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
    IS(swrcache_reply_read_wait(reply, 5, iov, 4, &count), SWRCACHE_EAGAIN);
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

/* A fetch knows the request that led to it, whatever has become of that. */
void requests(void)
{
    static const struct {
        const char *method, *sends;
        int action;
        const char *convert_head;
    } cases[] = {
        {"GET", "GET", SWRCACHE_FETCH, "on"},
        {"HEAD", "GET", SWRCACHE_FETCH, "on"},
        {"POST", "POST", SWRCACHE_FETCH, "on"},
        {"HEAD", "HEAD", SWRCACHE_FETCH, "off"},
    };
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        swrcache_policy *policy = new_policy();
        IS(swrcache_policy_set(policy, "methods", "POST"), SWRCACHE_OK);
        IS(swrcache_policy_set(policy, "convert_head", cases[i].convert_head), SWRCACHE_OK);
        char key[] = "any key", origin[] = "http://here", target[] = "/path?query", name[] = "X-Own", value[] = "1";
        swrcache_field fields[] = {{name, SWRCACHE_NUL, value, SWRCACHE_NUL}, {"Range", 5, "bytes=0-1", 9}};
        swrcache_request request = {.struct_size = sizeof request, .method = cases[i].method, .key = key, .key_len = SWRCACHE_NUL};
        swrcache_request told = {.struct_size = sizeof told};
        swrcache_decision decision = {.struct_size = sizeof decision};
        int todo;
        request.fields = fields;
        request.field_count = 2;
        request.origin = origin;
        request.target = target;
        request.user = &cache;
        IS(swrcache_lookup(cache, policy, &request, &decision), SWRCACHE_OK);
        IS(decision.action, cases[i].action);
        memset(key, '?', sizeof key - 1);
        memset(origin, '?', sizeof origin - 1);
        memset(target, '?', sizeof target - 1);
        memset(name, '?', sizeof name - 1);
        memset(value, '?', sizeof value - 1);
        IS(swrcache_fetch_request(decision.fetch, &told), SWRCACHE_OK);
        HOLDS(strcmp(told.method, cases[i].sends) == 0 && told.key_len == 7 && memcmp(told.key, "any key", 7) == 0);
        HOLDS(strcmp(told.origin, "http://here") == 0 && strcmp(told.target, "/path?query") == 0 && told.user == &cache);
        HOLDS(told.field_count == 1 && memcmp(told.fields[0].name, "X-Own", 5) == 0 && *told.fields[0].value == '1');
        HOLDS(told.struct_size == sizeof told && told.flags == 0 && told.turn == 0);
        IS(swrcache_fetch_fail(decision.fetch, SWRCACHE_FAIL_ABORTED, 0, &todo), SWRCACHE_OK);
        IS(swrcache_fetch_request(decision.fetch, &told), SWRCACHE_OK);
        swrcache_fetch_free(decision.fetch);
        swrcache_policy_free(policy);
    }
    swrcache_policy *policy = new_policy();
    swrcache_fetch *fetch = look(cache, policy, "untold").fetch;
    swrcache_request told = {.struct_size = sizeof told};
    int todo;
    IS(swrcache_fetch_request(fetch, &told), SWRCACHE_OK);
    HOLDS(told.origin == NULL && told.target == NULL && told.user == NULL);
    swrcache_fetch_free(fetch);
    fetch = look(cache, policy, "untold").fetch;
    IS(swrcache_fetch_fail(fetch, SWRCACHE_FAIL_ABORTED, 0, &todo), SWRCACHE_OK);
    IS(swrcache_fetch_request(fetch, &told), SWRCACHE_ESTATE);
    HOLDS(told.method == NULL);
    swrcache_fetch_free(fetch);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* The caller's clock: the whole life of an entry without a pause. */
void life(void)
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
    HOLDS(statistics.refresh_failed == 1 && statistics.waited == 0 && statistics.saved_requests == 2);
    figures(cache);

    clock_at += 120000;
    decision = look(cache, policy, "k");
    IS(decision.action, SWRCACHE_FETCH);
    IS(decision.status, SWRCACHE_STATUS_EXPIRED);
    IS(swrcache_fetch_stale(decision.fetch, &reply), SWRCACHE_OK);
    swrcache_reply_free(reply);
    IS(answer(decision.fetch, 503, "no-store"), SWRCACHE_DO_REPLY);
    IS(swrcache_fetch_reply(decision.fetch, &reply), SWRCACHE_OK);
    swrcache_head head = {.struct_size = sizeof head};
    IS(swrcache_reply_head(reply, &head), SWRCACHE_OK);
    HOLDS(head.status == 200 && head.cache_status == SWRCACHE_STATUS_STALE && head.age == 181 && head.ttl == -121);
    swrcache_reply_free(reply);
    swrcache_fetch_free(decision.fetch);
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = "k", .key_len = 1, .flags = SWRCACHE_BYPASS};
    IS(swrcache_lookup(cache, policy, &request, &decision), SWRCACHE_OK);
    IS(decision.action, SWRCACHE_FETCH);
    IS(decision.status, SWRCACHE_STATUS_BYPASS);
    swrcache_fetch_free(decision.fetch);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}
