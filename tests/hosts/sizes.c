/*
 * Every struct at the size that this program was built with: tests/hosts compiles it against headers whose structs have one member
 * less or (ADDED) one more than the library's. The members that change it does not name.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "swrcache.h"

#define IS(code, expected)                                                                                    \
    do {                                                                                                      \
        int is_ = (code);                                                                                     \
        if (is_ != (expected)) {                                                                              \
            fprintf(stderr, "%d: %s is %d (%s; %s)\n", __LINE__, #code, is_, swrcache_strerror(is_), swrcache_last_error()); \
            exit(1);                                                                                          \
        }                                                                                                     \
    } while (0)
#define HOLDS(what) IS(!(what), 0)

/* A struct with memory behind it that is not the library's to write to. */
#define STRUCT(type, name)                     \
    struct {                                   \
        type it;                               \
        unsigned char behind[64];              \
    } name;                                    \
    memset(&name, 0, sizeof name.it);          \
    memset(name.behind, 0xaa, sizeof name.behind); \
    name.it.struct_size = sizeof name.it

/* An output: what is in it before means nothing. */
#define OUTPUT(type, name)                  \
    STRUCT(type, name);                     \
    memset(&name.it, 0xee, sizeof name.it); \
    name.it.struct_size = sizeof name.it

#ifdef ADDED
/* A member that the library does not know: 0 in what comes out, refused in what goes in. */
#define IS_WHOLE(name) (is_untouched(name.behind, sizeof name.behind) && name.it.added == 0)
#define REFUSED(name, call)         \
    do {                            \
        name.it.added = 1;          \
        IS(call, SWRCACHE_EINVAL);  \
        name.it.added = 0;          \
    } while (0)
#else
#define IS_WHOLE(name) is_untouched(name.behind, sizeof name.behind)
#define REFUSED(name, call) (void)0
#endif

static int is_untouched(const unsigned char *bytes, size_t count)
{
    while (count--)
        if (*bytes++ != 0xaa)
            return 0;
    return 1;
}

static void carry(void *user, swrcache_fetch *fetch)
{
    (void)user;
    (void)fetch;
}

/* A size that no version has. */
static void no_size(swrcache_cache *cache)
{
    OUTPUT(swrcache_statistics, statistics);
    static const size_t sizes[] = {0, sizeof(size_t), sizeof statistics.it - 1, sizeof statistics.it + 4, 1 << 20, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        statistics.it.struct_size = sizes[i];
        IS(swrcache_stats(cache, &statistics.it), SWRCACHE_ESIZE);
    }
}

int main(void)
{
    static const swrcache_field lines[] = {{"Cache-Control", SWRCACHE_NUL, "max-age=60, stale-if-error=60", SWRCACHE_NUL}};
    swrcache_cache *cache;
    swrcache_policy *policy;
    swrcache_refresher *refresher;
    swrcache_range range;
    size_t count;
    int told;

    STRUCT(swrcache_options, options);
    options.it.size = 8 << 20;
    REFUSED(options, swrcache_open(&options.it, &cache));
    IS(swrcache_open(&options.it, &cache), SWRCACHE_OK);
    IS(swrcache_policy_new(&policy), SWRCACHE_OK);

    STRUCT(swrcache_request, request);
    OUTPUT(swrcache_decision, decision);
    request.it.method = "GET";
    request.it.key = "key";
    request.it.key_len = 3;
    REFUSED(request, swrcache_lookup(cache, policy, &request.it, &decision.it));
    IS(swrcache_lookup(cache, policy, &request.it, &decision.it), SWRCACHE_OK);
    HOLDS(IS_WHOLE(decision) && decision.it.action == SWRCACHE_FETCH && decision.it.fetch && !decision.it.reply);
    HOLDS(decision.it.struct_size == sizeof decision.it);

    STRUCT(swrcache_response, response);
    response.it.status = 200;
    response.it.fields = lines;
    response.it.field_count = 1;
    REFUSED(response, swrcache_fetch_respond(decision.it.fetch, &response.it, &told));
    IS(swrcache_fetch_respond(decision.it.fetch, &response.it, &told), SWRCACHE_OK);
    IS(told, SWRCACHE_DO_STORE);
    IS(swrcache_fetch_write(decision.it.fetch, "body", 4), SWRCACHE_OK);
    IS(swrcache_fetch_finish(decision.it.fetch, &told), SWRCACHE_OK);
    swrcache_fetch_free(decision.it.fetch);

    IS(swrcache_lookup(cache, policy, &request.it, &decision.it), SWRCACHE_OK);
    HOLDS(IS_WHOLE(decision) && decision.it.action == SWRCACHE_SERVE && decision.it.status == SWRCACHE_STATUS_HIT);
    OUTPUT(swrcache_head, head);
    IS(swrcache_reply_head(decision.it.reply, &head.it), SWRCACHE_OK);
    HOLDS(IS_WHOLE(head) && head.it.status == 200 && head.it.body_length == 4 && head.it.field_count > 2);
    swrcache_reply_free(decision.it.reply);

    OUTPUT(swrcache_statistics, statistics);
    IS(swrcache_stats(cache, &statistics.it), SWRCACHE_OK);
    HOLDS(IS_WHOLE(statistics) && statistics.it.hits == 1 && statistics.it.objects == 1);
    no_size(cache);

    STRUCT(swrcache_refresher_options, refreshing);
    refreshing.it.carry = carry;
    REFUSED(refreshing, swrcache_refresher_new(cache, &refreshing.it, &refresher));
    IS(swrcache_refresher_new(cache, &refreshing.it, &refresher), SWRCACHE_OK);
    swrcache_refresher_free(refresher);

    OUTPUT(swrcache_verdict, verdict);
    IS(swrcache_judge(policy, &request.it, &response.it, 1000000, &verdict.it), SWRCACHE_OK);
    HOLDS(IS_WHOLE(verdict) && verdict.it.storable == 1 && verdict.it.fresh_until == 1060000 && verdict.it.sie_until == 1120000);
    REFUSED(verdict, swrcache_phase(&verdict.it, 1070000, &told));
    IS(swrcache_phase(&verdict.it, 1070000, &told), SWRCACHE_OK);
    IS(told, SWRCACHE_PHASE_SIE);

    STRUCT(swrcache_validators, validators);
    validators.it.status = 200;
    validators.it.etag = "\"a\"";
    REFUSED(validators, swrcache_conditional(&request.it, &validators.it, &told, &range, 1, &count));
    IS(swrcache_conditional(&request.it, &validators.it, &told, &range, 1, &count), SWRCACHE_OK);
    IS(told, SWRCACHE_ANSWER_FULL);

    swrcache_policy_free(policy);
    swrcache_close(cache);
    return 0;
}
