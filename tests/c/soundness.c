/*
 * Everything that a C program can do wrong and that a library can stand: NULL for every pointer of every function, handles that
 * are used up or of another kind, calls in the wrong order, buffers that are too small, lengths that can't be, many threads.
 * Run as it is and under sanitisers and valgrind. The parts are in the files beside this one.
 */
#include "soundness.h"

int checks;
uint64_t clock_at = 1700000000000;
const char *tags = "";

uint64_t at(void *user)
{
    (void)user;
    return __atomic_load_n(&clock_at, __ATOMIC_RELAXED);
}

swrcache_cache *open_cache(int memory)
{
    swrcache_options options = {.struct_size = sizeof options};
    swrcache_cache *cache;
    options.memory = memory;
    options.size = 8 << 20;
    options.clock = at;
    IS(swrcache_open(&options, &cache), SWRCACHE_OK);
    return cache;
}

swrcache_policy *new_policy(void)
{
    swrcache_policy *policy;
    IS(swrcache_policy_new(&policy), SWRCACHE_OK);
    return policy;
}

swrcache_decision look(swrcache_cache *cache, swrcache_policy *policy, const char *key)
{
    swrcache_request request = {.struct_size = sizeof request};
    swrcache_decision decision = {.struct_size = sizeof decision};
    request.method = "GET";
    request.key = key;
    request.key_len = SWRCACHE_NUL;
    IS(swrcache_lookup(cache, policy, &request, &decision), SWRCACHE_OK);
    return decision;
}

int answer(swrcache_fetch *fetch, int status, const char *control)
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

void store(swrcache_cache *cache, swrcache_policy *policy, const char *key, const char *control, const char *body)
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

int is_stored(swrcache_cache *cache, swrcache_policy *policy, const char *key)
{
    swrcache_decision decision = look(cache, policy, key);
    swrcache_reply_free(decision.reply);
    swrcache_fetch_free(decision.fetch);
    return decision.action == SWRCACHE_SERVE;
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
        requests();
        life();
        encoded();
        outgrown();
        purges();
        passes();
        conditions();
        forked();
        given_back();
        dead_fillers();
        strangers();
        pure();
        nested();
        warmed();
        peeked();
        late();
        counted();
        file();
    }
    full();
    threads();
    watchers();
    printf("%d checks\n", checks);
    return 0;
}
