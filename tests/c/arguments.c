/* Pointers, sizes, lengths and constants that can't be. */
#include "soundness.h"

static int texts_taken;

static void take_text(void *user, const char *text, size_t length)
{
    (void)user;
    (void)text;
    (void)length;
    texts_taken++;
}

static void nothing(void *user, swrcache_fetch *fetch)
{
    (void)user;
    (void)fetch;
}

/* What an output holds after a failure, whatever stood in it. */
static void outputs(swrcache_cache *cache, swrcache_policy *policy)
{
    swrcache_fetch *bad[] = {NULL, (swrcache_fetch *)(void *)policy};
    for (int i = 0; i < 2; i++) {
        const swrcache_field *fields = (const swrcache_field *)(void *)cache;
        const char *key = "x";
        swrcache_reply *reply = (swrcache_reply *)(void *)cache;
        swrcache_response response = {.struct_size = sizeof response, .status = 200};
        size_t count = 77, length = 77;
        uint64_t now = 77, purged = 77;
        int todo = 77;
        IS(swrcache_fetch_fields(bad[i], &fields, &count), SWRCACHE_EINVAL);
        HOLDS(fields == NULL && count == 0);
        IS(swrcache_fetch_key(bad[i], &key, &length), SWRCACHE_EINVAL);
        HOLDS(key == NULL && length == 0);
        IS(swrcache_fetch_respond(bad[i], &response, &todo), SWRCACHE_EINVAL);
        IS(todo, 0);
        todo = 77;
        IS(swrcache_fetch_finish(bad[i], &todo), SWRCACHE_EINVAL);
        IS(todo, 0);
        todo = 77;
        IS(swrcache_fetch_fail(bad[i], SWRCACHE_FAIL_ERROR, 0, &todo), SWRCACHE_EINVAL);
        IS(todo, 0);
        IS(swrcache_fetch_reply(bad[i], &reply), SWRCACHE_EINVAL);
        HOLDS(reply == NULL);
        reply = (swrcache_reply *)(void *)cache;
        IS(swrcache_fetch_stale(bad[i], &reply), SWRCACHE_EINVAL);
        HOLDS(reply == NULL);
        IS(swrcache_now((swrcache_cache *)(void *)bad[i], &now), SWRCACHE_EINVAL);
        HOLDS(now == 0);
        IS(swrcache_purge((swrcache_cache *)(void *)bad[i], SWRCACHE_PURGE_KEY, "k", 1, &purged), SWRCACHE_EINVAL);
        HOLDS(purged == 0);
        IS(swrcache_reply_read((swrcache_reply *)(void *)bad[i], &(struct iovec){0}, 1, &count), SWRCACHE_EINVAL);
        HOLDS(count == 0);
    }

    /* A text is of the last error, not of one before. */
    IS(swrcache_purge(cache, 77, "k", 1, NULL), SWRCACHE_EINVAL);
    HOLDS(*swrcache_last_error() != 0);
    swrcache_fetch *fetch = look(cache, policy, "errors").fetch;
    swrcache_reply *reply;
    IS(swrcache_fetch_reply(fetch, &reply), SWRCACHE_EAGAIN);
    HOLDS(*swrcache_last_error() == 0);
    swrcache_fetch_free(fetch);
}

/* NULL for every pointer of every function, one at a time with the others in order. */
void nulls(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE), *none;
    swrcache_policy *policy = new_policy(), *copy;
    swrcache_options options = {.struct_size = sizeof options, .memory = SWRCACHE_FILE, .size = 8 << 20};
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = "k", .key_len = 1};
    swrcache_request told = request;
    swrcache_decision decision = {.struct_size = sizeof decision};
    swrcache_response response = {.struct_size = sizeof response, .status = 200};
    swrcache_statistics statistics = {.struct_size = sizeof statistics};
    swrcache_refresher_options refreshing = {.struct_size = sizeof refreshing};
    swrcache_verdict verdict = {.struct_size = sizeof verdict};
    swrcache_validators validators = {.struct_size = sizeof validators, .status = 200};
    swrcache_head head = {.struct_size = sizeof head};
    swrcache_refresher *refresher;
    swrcache_watch *watch;
    swrcache_purger *purger;
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
    IS(swrcache_watch_new(NULL, &watch), SWRCACHE_EINVAL);
    HOLDS(watch == NULL);
    IS(swrcache_watch_new(cache, NULL), SWRCACHE_EINVAL);
    IS(swrcache_watch_new(cache, &watch), SWRCACHE_OK);
    IS(swrcache_watch_fd(NULL, &fd), SWRCACHE_EINVAL);
    HOLDS(fd == -1);
    IS(swrcache_watch_fd(watch, NULL), SWRCACHE_EINVAL);
    IS(swrcache_watch_clear(NULL), SWRCACHE_EINVAL);
    swrcache_watch_free(watch);
    swrcache_watch_free(NULL);
    IS(swrcache_wait(NULL, 0, 0), SWRCACHE_EINVAL);
    IS(swrcache_tidy(NULL), SWRCACHE_EINVAL);
    IS(swrcache_encode(NULL, 0), SWRCACHE_EINVAL);
    IS(swrcache_encode_pending(NULL, &count), SWRCACHE_EINVAL);
    IS(swrcache_encode_pending(cache, NULL), SWRCACHE_EINVAL);
    IS(swrcache_purge(NULL, SWRCACHE_PURGE_KEY, "k", 1, &number), SWRCACHE_EINVAL);
    IS(swrcache_purge(cache, SWRCACHE_PURGE_KEY, NULL, 1, &number), SWRCACHE_EINVAL);
    IS(swrcache_purge(cache, SWRCACHE_PURGE_KEY, "k", 1, NULL), SWRCACHE_OK);
    IS(swrcache_purger_new(NULL, SWRCACHE_PURGE_KEY, "k", 1, &purger), SWRCACHE_EINVAL);
    HOLDS(purger == NULL);
    IS(swrcache_purger_new(cache, SWRCACHE_PURGE_KEY, NULL, 1, &purger), SWRCACHE_EINVAL);
    IS(swrcache_purger_new(cache, SWRCACHE_PURGE_KEY, "k", 1, NULL), SWRCACHE_EINVAL);
    IS(swrcache_purger_step(NULL, &number), SWRCACHE_EINVAL);
    swrcache_purger_free(NULL);
    IS(swrcache_passed(NULL, policy, &request, &response), SWRCACHE_EINVAL);
    IS(swrcache_passed(cache, NULL, &request, &response), SWRCACHE_EINVAL);
    IS(swrcache_passed(cache, policy, NULL, &response), SWRCACHE_EINVAL);
    IS(swrcache_passed(cache, policy, &request, NULL), SWRCACHE_EINVAL);
    IS(swrcache_stats(NULL, &statistics), SWRCACHE_EINVAL);
    IS(swrcache_stats(cache, NULL), SWRCACHE_EINVAL);
    IS(swrcache_stats_text(NULL, "main", SWRCACHE_STATS_JSON, take_text, NULL), SWRCACHE_EINVAL);
    IS(swrcache_stats_text(cache, NULL, SWRCACHE_STATS_JSON, take_text, NULL), SWRCACHE_EINVAL);
    IS(swrcache_stats_text(cache, "main", SWRCACHE_STATS_JSON, NULL, NULL), SWRCACHE_EINVAL);
    IS(swrcache_stats_text(cache, "main", 7, take_text, NULL), SWRCACHE_EINVAL);
    IS(swrcache_stats_text(cache, "\xff", SWRCACHE_STATS_JSON, take_text, NULL), SWRCACHE_EINVAL);
    HOLDS(texts_taken == 0);
    IS(swrcache_now(NULL, &number), SWRCACHE_EINVAL);
    IS(swrcache_now(cache, NULL), SWRCACHE_EINVAL);
    IS(swrcache_policy_new(NULL), SWRCACHE_EINVAL);
    IS(swrcache_policy_set(NULL, "lock", "on"), SWRCACHE_EINVAL);
    IS(swrcache_policy_set(policy, NULL, "on"), SWRCACHE_EINVAL);
    IS(swrcache_policy_set(policy, "lock", NULL), SWRCACHE_EINVAL);

    IS(swrcache_policy_merge(NULL, policy), SWRCACHE_EINVAL);
    IS(swrcache_policy_merge(policy, NULL), SWRCACHE_EINVAL);
    IS(swrcache_policy_copy(NULL, &copy), SWRCACHE_EINVAL);
    HOLDS(copy == NULL);
    IS(swrcache_policy_copy(policy, NULL), SWRCACHE_EINVAL);
    IS(swrcache_store(NULL, policy, &request, &response, "", 0), SWRCACHE_EINVAL);
    IS(swrcache_store(cache, NULL, &request, &response, "", 0), SWRCACHE_EINVAL);
    IS(swrcache_store(cache, policy, NULL, &response, "", 0), SWRCACHE_EINVAL);
    IS(swrcache_store(cache, policy, &request, NULL, "", 0), SWRCACHE_EINVAL);
    IS(swrcache_store(cache, policy, &request, &response, NULL, 1), SWRCACHE_EINVAL);

    for (int waits = 0; waits < 2; waits++) {
        int (*lookup)(swrcache_cache *, const swrcache_policy *, const swrcache_request *, swrcache_decision *) =
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
    IS(swrcache_peek(NULL, policy, &request, &decision), SWRCACHE_EINVAL);
    HOLDS(decision.action == SWRCACHE_PASS && decision.reason != NULL && decision.reply == NULL);
    IS(swrcache_peek(cache, NULL, &request, &decision), SWRCACHE_EINVAL);
    IS(swrcache_peek(cache, policy, NULL, &decision), SWRCACHE_EINVAL);
    IS(swrcache_peek(cache, policy, &request, NULL), SWRCACHE_EINVAL);
    IS(swrcache_pass_status(NULL, &decision, 200, buffer, sizeof buffer, &count), SWRCACHE_EINVAL);
    IS(swrcache_pass_status(policy, NULL, 200, buffer, sizeof buffer, &count), SWRCACHE_EINVAL);
    IS(swrcache_pass_status(policy, &decision, 200, NULL, sizeof buffer, &count), SWRCACHE_EINVAL);
    IS(swrcache_pass_status(policy, &decision, 200, buffer, sizeof buffer, NULL), SWRCACHE_OK);

    decision = look(cache, policy, "k");
    IS(swrcache_fetch_fields(NULL, &fields, &count), SWRCACHE_EINVAL);
    IS(swrcache_fetch_fields(decision.fetch, NULL, &count), SWRCACHE_EINVAL);
    IS(swrcache_fetch_fields(decision.fetch, &fields, NULL), SWRCACHE_EINVAL);
    IS(swrcache_fetch_request(NULL, &told), SWRCACHE_EINVAL);
    HOLDS(told.method == NULL && told.key == NULL);
    IS(swrcache_fetch_request(decision.fetch, NULL), SWRCACHE_EINVAL);
    IS(swrcache_fetch_fields_text(NULL, buffer, sizeof buffer, &count), SWRCACHE_EINVAL);
    IS(swrcache_fetch_fields_text(decision.fetch, NULL, sizeof buffer, &count), SWRCACHE_EINVAL);
    IS(swrcache_fetch_fields_text(decision.fetch, buffer, sizeof buffer, NULL), SWRCACHE_OK);
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
    IS(swrcache_reply_head_text(NULL, buffer, sizeof buffer, &count), SWRCACHE_EINVAL);
    IS(swrcache_reply_head_text(decision.reply, NULL, sizeof buffer, &count), SWRCACHE_EINVAL);
    IS(swrcache_reply_read(NULL, &iov, 1, &count), SWRCACHE_EINVAL);
    IS(swrcache_reply_read(decision.reply, NULL, 1, &count), SWRCACHE_EINVAL);
    IS(swrcache_reply_read(decision.reply, &iov, 0, &count), SWRCACHE_EINVAL);
    IS(swrcache_reply_read(decision.reply, &iov, 1, NULL), SWRCACHE_EINVAL);
    IS(swrcache_reply_read_wait(NULL, 1, &iov, 1, &count), SWRCACHE_EINVAL);
    IS(swrcache_reply_read_wait(decision.reply, 1, NULL, 1, &count), SWRCACHE_EINVAL);
    IS(swrcache_reply_read_wait(decision.reply, 1, &iov, 1, NULL), SWRCACHE_EINVAL);
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

    outputs(cache, policy);
    swrcache_log(NULL, NULL);
    swrcache_close(NULL);
    swrcache_policy_free(NULL);
    swrcache_reply_free(NULL);
    swrcache_fetch_free(NULL);
    swrcache_refresher_free(NULL);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* Struct sizes, lengths, counts, constants that can't be. */
void lies(void)
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
    swrcache_options options = {.struct_size = sizeof options, .size = 8 << 20, .processes = SWRCACHE_MAX_PROCESSES + 1};
    IS(swrcache_open(&options, &none), SWRCACHE_EINVAL);
    options.processes = 0;
    options.size = 1000;
    IS(swrcache_open(&options, &none), SWRCACHE_EINVAL);
    HOLDS(strstr(swrcache_last_error(), "at least") != NULL);
    options.size = SIZE_MAX;
    IS(swrcache_open(&options, &none), SWRCACHE_EINVAL);
    HOLDS(strstr(swrcache_last_error(), "at most") != NULL);
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
    bad.flags = 1u << 20;
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
    response.status = 103;
    IS(swrcache_fetch_respond(decision.fetch, &response, &todo), SWRCACHE_EINVAL);
    HOLDS(strstr(swrcache_last_error(), "interim") != NULL);
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
