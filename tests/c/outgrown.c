/* Bodies that outgrow the cache: whoever leads the fetch goes on. */
#include "soundness.h"

#define PIECE 700000  /* two are more than the cache takes */

static char piece[PIECE];

/* Reads on to the end that is expected; how many bytes. */
static size_t read_to(swrcache_reply *reply, int end)
{
    struct iovec iov[8];
    size_t count, length = 0;
    int rc;
    while ((rc = swrcache_reply_read(reply, iov, 8, &count)) == SWRCACHE_OK && count > 0)
        for (size_t i = 0; i < count; i++)
            length += iov[i].iov_len;
    IS(rc, end);
    IS(swrcache_reply_read(reply, iov, 8, &count), end);
    return length;
}

/* Begins to fetch and writes a piece that fits. */
static swrcache_fetch *begin(swrcache_cache *cache, swrcache_policy *policy, const char *key)
{
    swrcache_fetch *fetch = look(cache, policy, key).fetch;
    IS(answer(fetch, 200, "max-age=60"), SWRCACHE_DO_STORE);
    IS(swrcache_fetch_write(fetch, piece, PIECE), SWRCACHE_OK);
    return fetch;
}

/* Who follows goes on from what was taken; others see that it is not the whole. */
static void followed(swrcache_cache *cache, swrcache_policy *policy)
{
    swrcache_reply *reply;
    int todo;
    swrcache_fetch *fetch = begin(cache, policy, "followed");
    IS(swrcache_fetch_reply(fetch, &reply), SWRCACHE_OK);
    swrcache_reply *other = look(cache, policy, "followed").reply;
    HOLDS(read_to(reply, SWRCACHE_EAGAIN) == PIECE);
    IS(swrcache_fetch_write(fetch, piece, PIECE), SWRCACHE_ETOOLARGE);
    HOLDS(read_to(reply, SWRCACHE_EOUTGROWN) == 0);
    IS(swrcache_fetch_write(fetch, piece, 1), SWRCACHE_ESTATE);
    IS(swrcache_fetch_finish(fetch, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_RELAY);
    IS(swrcache_fetch_finish(fetch, &todo), SWRCACHE_ESTATE);
    swrcache_fetch_free(fetch);
    HOLDS(read_to(reply, SWRCACHE_EOUTGROWN) == 0);
    HOLDS(read_to(other, SWRCACHE_EBROKEN) == PIECE);
    swrcache_reply_free(reply);
    swrcache_reply_free(other);
    IS(look(cache, policy, "followed").action, SWRCACHE_PASS);
}

/* Who has not begun gets what was taken all the same. */
static void begun_late(swrcache_cache *cache, swrcache_policy *policy)
{
    swrcache_head head = {.struct_size = sizeof head};
    swrcache_reply *reply;
    int todo;
    swrcache_fetch *fetch = begin(cache, policy, "begun late");
    IS(swrcache_fetch_write(fetch, piece, PIECE), SWRCACHE_ETOOLARGE);
    IS(swrcache_fetch_finish(fetch, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_RELAY);
    IS(swrcache_fetch_reply(fetch, &reply), SWRCACHE_OK);
    swrcache_fetch_free(fetch);
    IS(swrcache_reply_head(reply, &head), SWRCACHE_OK);
    HOLDS(head.status == 200 && head.body_length == -1 && head.cache_status == SWRCACHE_STATUS_MISS);
    HOLDS(read_to(reply, SWRCACHE_EOUTGROWN) == PIECE);
    swrcache_reply_free(reply);
}

/* A stale copy that could stand in is no reason to give it for the origin's answer; but it is there. */
static void beside_a_stale_copy(swrcache_cache *cache, swrcache_policy *policy)
{
    swrcache_head head = {.struct_size = sizeof head};
    swrcache_reply *reply;
    int todo;
    store(cache, policy, "stale", "max-age=1, stale-if-error=600", "old");
    __atomic_add_fetch(&clock_at, 2000, __ATOMIC_RELAXED);
    swrcache_fetch *fetch = begin(cache, policy, "stale");
    IS(swrcache_fetch_reply(fetch, &reply), SWRCACHE_EAGAIN);
    IS(swrcache_fetch_write(fetch, piece, PIECE), SWRCACHE_ETOOLARGE);
    IS(swrcache_fetch_finish(fetch, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_RELAY);
    IS(swrcache_fetch_reply(fetch, &reply), SWRCACHE_OK);
    IS(swrcache_reply_head(reply, &head), SWRCACHE_OK);
    HOLDS(head.body_length == -1 && head.cache_status == SWRCACHE_STATUS_EXPIRED && strcmp(head.reason, "too-large") == 0);
    HOLDS(read_to(reply, SWRCACHE_EOUTGROWN) == PIECE);
    swrcache_reply_free(reply);
    IS(swrcache_fetch_stale(fetch, &reply), SWRCACHE_OK);
    IS(swrcache_reply_head(reply, &head), SWRCACHE_OK);
    HOLDS(head.body_length == 3 && head.cache_status == SWRCACHE_STATUS_STALE);
    HOLDS(read_to(reply, SWRCACHE_OK) == 3);
    swrcache_reply_free(reply);
    __atomic_add_fetch(&clock_at, 600000, __ATOMIC_RELAXED);
    IS(swrcache_fetch_stale(fetch, &reply), SWRCACHE_ESTATE);
    swrcache_fetch_free(fetch);
}

/* Nobody waits for a refresh. */
static void refreshed(swrcache_cache *cache, swrcache_policy *policy)
{
    swrcache_statistics statistics = {.struct_size = sizeof statistics};
    int todo;
    store(cache, policy, "refreshed", "max-age=1, stale-while-revalidate=600", "old");
    __atomic_add_fetch(&clock_at, 2000, __ATOMIC_RELAXED);
    swrcache_decision decision = look(cache, policy, "refreshed");
    swrcache_reply_free(decision.reply);
    HOLDS(swrcache_fetch_is_refresh(decision.fetch));
    IS(answer(decision.fetch, 200, "max-age=60"), SWRCACHE_DO_STORE);
    IS(swrcache_fetch_write(decision.fetch, piece, PIECE), SWRCACHE_OK);
    IS(swrcache_fetch_write(decision.fetch, piece, PIECE), SWRCACHE_ETOOLARGE);
    IS(swrcache_fetch_finish(decision.fetch, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_NOTHING);
    swrcache_fetch_free(decision.fetch);
    IS(swrcache_stats(cache, &statistics), SWRCACHE_OK);
    HOLDS(statistics.refreshing == 0);
}

/* An origin that sends more than it has announced is no matter of room. */
static void longer_than_announced(swrcache_cache *cache, swrcache_policy *policy)
{
    swrcache_field lines[] = {{"Cache-Control", SWRCACHE_NUL, "max-age=60", SWRCACHE_NUL}, {"Content-Length", SWRCACHE_NUL, "3", 1}};
    swrcache_response response = {.struct_size = sizeof response, .status = 200, .fields = lines, .field_count = 2};
    swrcache_reply *reply;
    int todo;
    swrcache_fetch *fetch = look(cache, policy, "longer").fetch;
    IS(swrcache_fetch_respond(fetch, &response, &todo), SWRCACHE_OK);
    IS(swrcache_fetch_write(fetch, "fou", 3), SWRCACHE_OK);
    IS(swrcache_fetch_reply(fetch, &reply), SWRCACHE_OK);
    IS(swrcache_fetch_write(fetch, "r", 1), SWRCACHE_ETOOLARGE);
    IS(swrcache_fetch_finish(fetch, &todo), SWRCACHE_OK);
    IS(todo, SWRCACHE_DO_REPLY);
    swrcache_fetch_free(fetch);
    HOLDS(read_to(reply, SWRCACHE_EBROKEN) == 3);
    swrcache_reply_free(reply);
}

void outgrown(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    followed(cache, policy);
    begun_late(cache, policy);
    beside_a_stale_copy(cache, policy);
    refreshed(cache, policy);
    longer_than_announced(cache, policy);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}
