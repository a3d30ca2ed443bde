/* Stored responses that are compressed once, by threads of the host's or when it is idle. */
#include "soundness.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LENGTH = 6000 };

static swrcache_decision ask(swrcache_cache *cache, swrcache_policy *policy, const char *key, const char *coding, const char *tag)
{
    swrcache_field fields[] = {
        {"Accept-Encoding", SWRCACHE_NUL, coding, SWRCACHE_NUL},
        {"If-None-Match", SWRCACHE_NUL, tag, SWRCACHE_NUL},
    };
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = key, .key_len = SWRCACHE_NUL};
    swrcache_decision decision = {.struct_size = sizeof decision};
    request.fields = fields;
    request.field_count = *tag ? 2 : 1;
    IS(swrcache_lookup(cache, policy, &request, &decision), SWRCACHE_OK);
    return decision;
}

static void fill(swrcache_cache *cache, swrcache_policy *policy, const char *key)
{
    static char page[LENGTH + 1];
    swrcache_field fields[] = {
        {"Content-Type", SWRCACHE_NUL, "text/html", SWRCACHE_NUL},
        {"Cache-Control", SWRCACHE_NUL, "max-age=60", SWRCACHE_NUL},
        {"ETag", SWRCACHE_NUL, "\"x\"", SWRCACHE_NUL},
    };
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = key, .key_len = SWRCACHE_NUL};
    swrcache_response response = {.struct_size = sizeof response, .status = 200, .fields = fields, .field_count = 3};
    memset(page, 'a', LENGTH);
    IS(swrcache_store(cache, policy, &request, &response, page, LENGTH), SWRCACHE_OK);
}

/* How many bytes a client gets; `part`, if it is not NULL, is in the head. */
static long served(swrcache_cache *cache, swrcache_policy *policy, const char *key, const char *coding, const char *part)
{
    swrcache_decision decision = ask(cache, policy, key, coding, "");
    swrcache_head head = {.struct_size = sizeof head};
    char text[1024];
    IS(decision.action, SWRCACHE_SERVE);
    IS(swrcache_reply_head(decision.reply, &head), SWRCACHE_OK);
    IS(swrcache_reply_head_text(decision.reply, text, sizeof text, NULL), SWRCACHE_OK);
    HOLDS(part == NULL || strstr(text, part) != NULL);
    HOLDS(strstr(text, "Vary: Accept-Encoding\r\n") != NULL);
    swrcache_reply_free(decision.reply);
    return (long)head.body_length;
}

/* Asked for and made, one step after the other. */
static void in_steps(swrcache_cache *cache, swrcache_policy *policy)
{
    size_t pending;
    fill(cache, policy, "page");
    /* Nobody encodes yet. */
    HOLDS(served(cache, policy, "page", "gzip", NULL) == LENGTH);
    IS(swrcache_encode(cache, 0), SWRCACHE_ETIMEDOUT);
    HOLDS(served(cache, policy, "page", "gzip", NULL) == LENGTH);
    IS(swrcache_encode_pending(cache, &pending), SWRCACHE_OK);
    IS((int)pending, 1);
    IS(swrcache_encode(cache, 1000), SWRCACHE_OK);
    IS(swrcache_encode(cache, 1), SWRCACHE_ETIMEDOUT);
    HOLDS(served(cache, policy, "page", "gzip", "Content-Encoding: gzip\r\n") < LENGTH / 10);
    HOLDS(served(cache, policy, "page", "gzip, br", "Content-Encoding: br\r\n") < LENGTH / 10);
    HOLDS(served(cache, policy, "page", "identity", "ETag: \"x\"\r\n") == LENGTH);
    swrcache_decision decision = ask(cache, policy, "page", "gzip", "\"x-gzip\"");
    swrcache_head head = {.struct_size = sizeof head};
    IS(swrcache_reply_head(decision.reply, &head), SWRCACHE_OK);
    IS(head.status, 304);
    swrcache_reply_free(decision.reply);
}

struct encoders {
    swrcache_cache *cache;
    int ending;
};

static void *encode(void *arg)
{
    struct encoders *encoders = arg;
    while (!__atomic_load_n(&encoders->ending, __ATOMIC_ACQUIRE)) {
        int rc = swrcache_encode(encoders->cache, 10);
        HOLDS(rc == SWRCACHE_OK || rc == SWRCACHE_ETIMEDOUT);
    }
    return NULL;
}

/* More pages than may wait, and two threads. */
static void in_threads(swrcache_cache *cache, swrcache_policy *policy)
{
    struct encoders encoders = {.cache = cache};
    pthread_t threads[2];
    char key[32];
    int missing;
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, encode, &encoders);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "page/%d", i);
        fill(cache, policy, key);
    }
    do {
        missing = 0;
        for (int i = 0; i < 200; i++) {
            snprintf(key, sizeof key, "page/%d", i);
            missing += served(cache, policy, key, "gzip", NULL) == LENGTH;
        }
    } while (missing > 0);
    __atomic_store_n(&encoders.ending, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

void encoded(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_SHARED);
    swrcache_policy *policy = new_policy();
    size_t pending = 77;
    IS(swrcache_policy_set(policy, "compress", "br=4 gzip"), SWRCACHE_OK);
    IS(swrcache_policy_set(policy, "compress", "deflate"), SWRCACHE_EINVAL);
    in_steps(cache, policy);
    in_threads(cache, policy);
    /* What is asked for is of the process that asks. */
    fill(cache, policy, "left");
    HOLDS(served(cache, policy, "left", "gzip", NULL) == LENGTH);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int refused = swrcache_encode(cache, 0) == SWRCACHE_ESTATE && swrcache_after_fork(cache) == SWRCACHE_OK;
        refused &= swrcache_encode(cache, 0) == SWRCACHE_ESTATE;
        refused &= swrcache_encode_pending(cache, &pending) == SWRCACHE_ESTATE && pending == 0;
        swrcache_policy_free(policy);
        swrcache_close(cache);
        _exit(!refused);
    }
    int status;
    HOLDS(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    IS(swrcache_encode_pending(cache, &pending), SWRCACHE_OK);
    IS((int)pending, 1);
    /* Closed with one that still waits. */
    swrcache_policy_free(policy);
    swrcache_close(cache);
}
