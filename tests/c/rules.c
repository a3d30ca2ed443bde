/* Purges, what passes by the cache, what a host says of a response, and the rules alone. */
#include "soundness.h"

#include <time.h>

/* Purges, and checks how many responses that were. */
static void purge(swrcache_cache *cache, int kind, const char *what, uint64_t expected)
{
    uint64_t purged = 77;
    IS(swrcache_purge(cache, kind, what, SWRCACHE_NUL, &purged), SWRCACHE_OK);
    HOLDS(purged == expected);
}

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* A key is found without looking through the memory; the other kinds in steps that no loop minds. */
static void in_pieces(swrcache_cache *cache, swrcache_policy *policy)
{
    swrcache_purger *purger;
    uint64_t purged, before = 0;
    int steps = 1, rc;
    char key[32];
    for (int i = 0; i < 6000; i++) {
        snprintf(key, sizeof key, "many/%d", i);
        store(cache, policy, key, "max-age=60", "");
    }
    double began = milliseconds(), keys, whole;
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "many/%d", 60 * i);
        purge(cache, SWRCACHE_PURGE_KEY, key, 1);
    }
    keys = (milliseconds() - began) / 100;
    began = milliseconds();
    purge(cache, SWRCACHE_PURGE_PREFIX, "none", 0);
    whole = milliseconds() - began;
    HOLDS(keys < whole);
    IS(swrcache_purger_new(cache, SWRCACHE_PURGE_PREFIX, "many/", SWRCACHE_NUL, &purger), SWRCACHE_OK);
    while ((rc = swrcache_purger_step(purger, &purged)) == SWRCACHE_EAGAIN) {
        HOLDS(purged >= before);
        before = purged;
        steps++;
    }
    IS(rc, SWRCACHE_OK);
    IS((int)purged, 5900);
    IS(swrcache_purger_step(purger, &purged), SWRCACHE_OK);
    swrcache_purger_free(purger);

    /* Begun is enough for what is being fetched: it does not come to be served. */
    swrcache_decision decision = look(cache, policy, "many/0");
    IS(decision.action, SWRCACHE_FETCH);
    IS(swrcache_purger_new(cache, SWRCACHE_PURGE_PREFIX, "many/", SWRCACHE_NUL, &purger), SWRCACHE_OK);
    swrcache_purger_free(purger);
    if (answer(decision.fetch, 200, "max-age=60") == SWRCACHE_DO_STORE)
        swrcache_fetch_finish(decision.fetch, &rc);
    swrcache_fetch_free(decision.fetch);
    HOLDS(!is_stored(cache, policy, "many/0"));
}

/* Each kind of purge, hard and soft. */
void purges(void)
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
    in_pieces(cache, policy);
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

/* What passes: writing to a key makes it invalid, with what the response names; reading does not. */
void passes(void)
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

    /* Cache groups are of one origin. */
    static const swrcache_field grouped[] = {{"Cache-Control", 13, "max-age=60", 10}, {"Cache-Groups", 12, "\"g\"", 3}};
    static const char *const origins[] = {"http://here", "http://there"};
    for (int i = 0; i < 2; i++) {
        swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = origins[i], .key_len = SWRCACHE_NUL};
        swrcache_response response = {.struct_size = sizeof response, .status = 200, .fields = grouped, .field_count = 2};
        swrcache_decision decision = {.struct_size = sizeof decision};
        int todo;
        request.origin = origins[i];
        IS(swrcache_lookup(cache, policy, &request, &decision), SWRCACHE_OK);
        IS(swrcache_fetch_respond(decision.fetch, &response, &todo), SWRCACHE_OK);
        IS(todo, SWRCACHE_DO_STORE);
        IS(swrcache_fetch_finish(decision.fetch, &todo), SWRCACHE_OK);
        swrcache_fetch_free(decision.fetch);
        HOLDS(is_stored(cache, policy, origins[i]));
    }
    passed(cache, policy, "POST", "any", "/any", (swrcache_field){"Cache-Group-Invalidation", 24, "\"g\"", 3});
    HOLDS(!is_stored(cache, policy, origins[0]) && is_stored(cache, policy, origins[1]));

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
void conditions(void)
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

    /* The origin asked for a pause, longer than the policy's longest: until that is over it is left alone. */
    __atomic_add_fetch(&clock_at, 100000, __ATOMIC_RELAXED);
    decision = look(cache, policy, "page");
    IS(decision.action, SWRCACHE_FETCH);
    IS(swrcache_fetch_fail(decision.fetch, SWRCACHE_FAIL_ERROR, 300000, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_REPLY);
    swrcache_fetch_free(decision.fetch);
    __atomic_add_fetch(&clock_at, 50000, __ATOMIC_RELAXED);
    decision = look(cache, policy, "page");
    IS(decision.action, SWRCACHE_SERVE);
    HOLDS(strcmp(decision.reason, "sie-backoff") == 0);
    swrcache_reply_free(decision.reply);
    __atomic_add_fetch(&clock_at, 10000, __ATOMIC_RELAXED);
    decision = look(cache, policy, "page");
    IS(decision.action, SWRCACHE_FETCH);

    /* A 304 that does not fit: the same fetch asks again, without conditions, and its client gets what comes of that. */
    const swrcache_field *first, *second;
    size_t asked, again;
    swrcache_field tag = {"ETag", 4, "\"other\"", 7};
    IS(swrcache_fetch_fields(decision.fetch, &first, &asked), SWRCACHE_OK);
    HOLDS(asked == 1 && first->name_len == 17 && memcmp(first->name, "If-Modified-Since", 17) == 0);
    response = (swrcache_response){.struct_size = sizeof response, .status = 304, .fields = &tag, .field_count = 1};
    IS(swrcache_fetch_respond(decision.fetch, &response, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_ASK_AGAIN);
    IS(swrcache_fetch_fields(decision.fetch, &second, &again), SWRCACHE_OK);
    HOLDS(again == 0 && memcmp(first->name, "If-Modified-Since", 17) == 0);
    IS(answer(decision.fetch, 200, "max-age=60"), SWRCACHE_DO_STORE);
    IS(swrcache_fetch_write(decision.fetch, "new", 3), SWRCACHE_OK);
    IS(swrcache_fetch_finish(decision.fetch, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_REPLY);
    swrcache_fetch_free(decision.fetch);
    HOLDS(is_stored(cache, policy, "page"));
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* The rules alone. */
void pure(void)
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

/* A policy inside another takes what it does not set itself; each has its own lines. */
void nested(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *outer = new_policy(), *inner = new_policy(), *copy;
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = "k", .key_len = 1};
    swrcache_response response = {.struct_size = sizeof response, .status = 200};
    swrcache_verdict verdict = {.struct_size = sizeof verdict};
    IS(swrcache_policy_set(outer, "valid", "404 1m"), SWRCACHE_OK);
    IS(swrcache_policy_set(outer, "valid", "200 10m"), SWRCACHE_OK);
    IS(swrcache_policy_set(outer, "stale_if_error", "1h"), SWRCACHE_OK);
    IS(swrcache_policy_set(inner, "stale_if_error", "2h"), SWRCACHE_OK);
    IS(swrcache_policy_merge(inner, outer), SWRCACHE_OK);
    IS(swrcache_policy_merge(outer, outer), SWRCACHE_ESTATE);
    IS(swrcache_judge(inner, &request, &response, 1000000, &verdict), SWRCACHE_OK);
    HOLDS(verdict.storable && verdict.fresh_until == 1600000 && verdict.sie_until == 1600000 + 7200000);

    IS(swrcache_policy_copy(outer, &copy), SWRCACHE_OK);
    IS(swrcache_policy_set(copy, "valid", "200 1m"), SWRCACHE_OK);
    IS(swrcache_policy_set(copy, "valid", "nonsense"), SWRCACHE_EINVAL);
    IS(swrcache_judge(copy, &request, &response, 1000000, &verdict), SWRCACHE_OK);
    HOLDS(verdict.fresh_until == 1060000 && verdict.sie_until == 1060000 + 3600000);
    response.status = 404;
    IS(swrcache_judge(copy, &request, &response, 1000000, &verdict), SWRCACHE_OK);
    HOLDS(!verdict.storable);
    IS(swrcache_judge(outer, &request, &response, 1000000, &verdict), SWRCACHE_OK);
    HOLDS(verdict.fresh_until == 1060000);
    swrcache_policy_free(copy);
    swrcache_policy_free(inner);
    swrcache_policy_free(outer);
    swrcache_close(cache);
}

/* What no client has asked for, and heads as text. */
void warmed(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    swrcache_field control = {"Cache-Control", SWRCACHE_NUL, "max-age=60", SWRCACHE_NUL};
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = "warm", .key_len = SWRCACHE_NUL};
    swrcache_response response = {.struct_size = sizeof response, .status = 200, .fields = &control, .field_count = 1};
    size_t needed;
    char text[512], c = 'x';
    struct iovec iov;
    static const char *const bodies[] = {"first", "second"};
    for (int i = 0; i < 2; i++) {
        IS(swrcache_store(cache, policy, &request, &response, bodies[i], strlen(bodies[i])), SWRCACHE_OK);
        swrcache_decision decision = look(cache, policy, "warm");
        IS(decision.status, SWRCACHE_STATUS_HIT);
        IS(swrcache_reply_read(decision.reply, &iov, 1, &needed), SWRCACHE_OK);
        HOLDS(iov.iov_len == strlen(bodies[i]) && memcmp(iov.iov_base, bodies[i], iov.iov_len) == 0);
        IS(swrcache_reply_head_text(decision.reply, &c, 1, &needed), SWRCACHE_ERANGE);
        HOLDS(c == 'x' && needed > 20);
        IS(swrcache_reply_head_text(decision.reply, text, needed, NULL), SWRCACHE_OK);
        HOLDS(strlen(text) + 1 == needed && strstr(text, "Cache-Control: max-age=60\r\n") && strstr(text, "\r\nAge: 0\r\n"));
        swrcache_reply_free(decision.reply);
    }
    control.value = "no-store";
    request.key = "cold";
    IS(swrcache_store(cache, policy, &request, &response, "", 0), SWRCACHE_ENOTSTORED);
    HOLDS(strcmp(swrcache_last_error(), "no-store") == 0);
    HOLDS(!is_stored(cache, policy, "warmer"));
    control.value = "max-age=60";
    char *huge = calloc(1, 2 << 20);
    IS(swrcache_store(cache, policy, &request, &response, huge, 2 << 20), SWRCACHE_ETOOLARGE);
    free(huge);
    request.method = "PUT";
    IS(swrcache_store(cache, policy, &request, &response, "", 0), SWRCACHE_EINVAL);

    static const swrcache_field own = {"X-Own", 5, "1", 1};
    swrcache_decision decision = {.struct_size = sizeof decision};
    request = (swrcache_request){.struct_size = sizeof request, .method = "GET", .key = "asked", .key_len = 5, .fields = &own, .field_count = 1};
    IS(swrcache_lookup(cache, policy, &request, &decision), SWRCACHE_OK);
    IS(swrcache_fetch_fields_text(decision.fetch, text, sizeof text, &needed), SWRCACHE_OK);
    HOLDS(strcmp(text, "X-Own: 1\r\n") == 0 && needed == 11);
    swrcache_fetch_free(decision.fetch);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* What a lookup would say, which changes nothing. */
void peeked(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    swrcache_statistics before = {.struct_size = sizeof before}, after = before;
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = "k", .key_len = 1};
    swrcache_decision peek = {.struct_size = sizeof peek}, decision;
    swrcache_head head = {.struct_size = sizeof head};
    int todo;
    IS(swrcache_stats(cache, &before), SWRCACHE_OK);
    IS(swrcache_peek(cache, policy, &request, &peek), SWRCACHE_OK);
    HOLDS(peek.action == SWRCACHE_FETCH && peek.status == SWRCACHE_STATUS_MISS && !peek.fetch && !peek.reply);
    IS(swrcache_stats(cache, &after), SWRCACHE_OK);
    HOLDS(memcmp(&before, &after, sizeof before) == 0);

    /* Nothing was claimed: the place is free for who comes. */
    decision = look(cache, policy, "k");
    IS(decision.action, SWRCACHE_FETCH);
    IS(swrcache_peek(cache, policy, &request, &peek), SWRCACHE_OK);
    IS(peek.action, SWRCACHE_WAIT);
    IS(answer(decision.fetch, 200, "max-age=1, stale-while-revalidate=600"), SWRCACHE_DO_STORE);
    IS(swrcache_fetch_write(decision.fetch, "body", 4), SWRCACHE_OK);
    IS(swrcache_fetch_finish(decision.fetch, &todo), SWRCACHE_OK);
    swrcache_fetch_free(decision.fetch);

    IS(swrcache_stats(cache, &before), SWRCACHE_OK);
    IS(swrcache_peek(cache, policy, &request, &peek), SWRCACHE_OK);
    HOLDS(peek.action == SWRCACHE_SERVE && peek.status == SWRCACHE_STATUS_HIT && strcmp(peek.reason, "fresh") == 0);
    IS(swrcache_reply_head(peek.reply, &head), SWRCACHE_OK);
    HOLDS(head.body_length == 4 && head.ttl == 1);
    swrcache_reply_free(peek.reply);
    __atomic_add_fetch(&clock_at, 2000, __ATOMIC_RELAXED);
    IS(swrcache_peek(cache, policy, &request, &peek), SWRCACHE_OK);
    HOLDS(peek.action == SWRCACHE_SERVE && peek.status == SWRCACHE_STATUS_UPDATING && !peek.fetch);
    swrcache_reply_free(peek.reply);
    IS(swrcache_stats(cache, &after), SWRCACHE_OK);
    HOLDS(memcmp(&before, &after, sizeof before) == 0);
    decision = look(cache, policy, "k");
    HOLDS(decision.fetch != NULL);
    swrcache_reply_free(decision.reply);
    swrcache_fetch_free(decision.fetch);

    request.method = "PUT";
    IS(swrcache_peek(cache, policy, &request, &peek), SWRCACHE_OK);
    HOLDS(peek.action == SWRCACHE_PASS && strcmp(peek.reason, "method") == 0);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* A stale copy stands in for as long as its window is open, not for as long as its host takes. */
void late(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    swrcache_reply *reply;
    int todo;
    store(cache, policy, "k", "max-age=1, stale-if-error=10", "old");
    __atomic_add_fetch(&clock_at, 5000, __ATOMIC_RELAXED);
    swrcache_decision decision = look(cache, policy, "k");
    IS(swrcache_fetch_fail(decision.fetch, SWRCACHE_FAIL_ERROR, 0, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_REPLY);
    IS(swrcache_fetch_reply(decision.fetch, &reply), SWRCACHE_OK);
    swrcache_reply_free(reply);
    __atomic_add_fetch(&clock_at, 6000, __ATOMIC_RELAXED);
    IS(swrcache_fetch_reply(decision.fetch, &reply), SWRCACHE_ESTATE);
    HOLDS(reply == NULL && strstr(swrcache_last_error(), "stale-if-error window") != NULL);
    swrcache_fetch_free(decision.fetch);

    /* What the origin has sent is for who waited for it, however late it comes. */
    decision = look(cache, policy, "k");
    IS(answer(decision.fetch, 200, "max-age=1"), SWRCACHE_DO_STORE);
    IS(swrcache_fetch_finish(decision.fetch, &todo), SWRCACHE_OK);
    __atomic_add_fetch(&clock_at, 60000, __ATOMIC_RELAXED);
    IS(swrcache_fetch_reply(decision.fetch, &reply), SWRCACHE_OK);
    swrcache_reply_free(reply);
    swrcache_fetch_free(decision.fetch);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

static void keep(void *user, const char *text, size_t length)
{
    char *kept = user;
    HOLDS(length < 1 << 16);
    memcpy(kept, text, length < 1 << 16 ? length : 0);
    kept[length < 1 << 16 ? length : 0] = 0;
}

/* Bytes are counted as they are given out: of parts, none of a HEAD and a 304, none that a host does not read. */
void counted(void)
{
    static char text[1 << 16];
    static const struct { const char *method, *name, *value; } asked[] = {
        {"GET", "X-A", "b"}, {"GET", "Range", "bytes=2-4"}, {"HEAD", "X-A", "b"}, {"GET", "If-Modified-Since", "Sun, 06 Nov 2044 08:49:37 GMT"}};
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    swrcache_request request = {.struct_size = sizeof request, .key = "k", .key_len = 1, .field_count = 1};
    swrcache_decision decision = {.struct_size = sizeof decision};
    struct iovec iov[4];
    size_t count;
    store(cache, policy, "k", "max-age=60", "0123456789");
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        swrcache_field field = {asked[i].name, SWRCACHE_NUL, asked[i].value, SWRCACHE_NUL};
        request.method = asked[i].method;
        request.fields = &field;
        IS(swrcache_lookup(cache, policy, &request, &decision), SWRCACHE_OK);
        IS(decision.action, SWRCACHE_SERVE);
        while (swrcache_reply_read(decision.reply, iov, 4, &count) == SWRCACHE_OK && count > 0)
            ;
        swrcache_reply_free(decision.reply);
    }
    decision = look(cache, policy, "k");
    swrcache_reply_free(decision.reply);
    IS(swrcache_stats_text(cache, "main", SWRCACHE_STATS_JSON, keep, text), SWRCACHE_OK);
    HOLDS(strstr(text, "\"hit\":{\"responses\":5,\"bytes\":13}") != NULL);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}
