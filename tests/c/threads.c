/* Many threads on one cache, and on handles that are for one. */
#include "soundness.h"

#include <pthread.h>

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
            while (swrcache_reply_read_wait(decision.reply, 1000, iov, 4, &count) == SWRCACHE_OK && count > 0) {
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

void threads(void)
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

void full(void)
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
