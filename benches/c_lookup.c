/*
 * What a call through the C ABI costs: lookup + decision, zero-copy read, fill, refresh; 1 to 8 threads, and 2 processes on one
 * shared region. Nanoseconds an operation, all threads together (wall time x threads / operations), the best of five rounds.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "swrcache.h"

#define FIELD(name, value) {name, sizeof(name) - 1, value, sizeof(value) - 1}

static const swrcache_field browser[] = {
    FIELD("Host", "www.example.com"),
    FIELD("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    FIELD("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    FIELD("Accept-Language", "en-US,en;q=0.5"),
    FIELD("Accept-Encoding", "gzip, deflate, br, zstd"),
    FIELD("Connection", "keep-alive"),
    FIELD("Cookie", "session=0123456789abcdef; theme=dark"),
    FIELD("Upgrade-Insecure-Requests", "1"),
    FIELD("Sec-Fetch-Dest", "document"),
    FIELD("Sec-Fetch-Mode", "navigate"),
};
static const char key[] = "httpwww.example.com/some/path/to/a/page.html?with=query";
static swrcache_cache *cache;
static swrcache_policy *policy;
static uint64_t now = 1700000000000;
static unsigned long refused;

static uint64_t tell(void *user)
{
    (void)user;
    return now;
}

static void look(const char *at, size_t length, swrcache_decision *decision)
{
    swrcache_request request = {sizeof request, "GET", at, length, browser, sizeof browser / sizeof *browser, 0, 0};
    decision->struct_size = sizeof *decision;
    if (swrcache_lookup(cache, policy, &request, decision) != SWRCACHE_OK)
        abort();
}

static void fill(swrcache_fetch *fetch, const char *control)
{
    static const char body[1024] = {'x'};
    swrcache_field fields[] = {FIELD("Content-Type", "text/html"), {"Cache-Control", 13, control, strlen(control)}, FIELD("ETag", "\"v1\"")};
    swrcache_response response = {.struct_size = sizeof response, .status = 200, .fields = fields, .field_count = 3};
    int todo;
    if (swrcache_fetch_respond(fetch, &response, &todo))
        abort();
    /* Where several threads fill a full memory, one may find no room. */
    if (todo != SWRCACHE_DO_STORE || swrcache_fetch_write(fetch, body, sizeof body) || swrcache_fetch_finish(fetch, &todo))
        __atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
    swrcache_fetch_free(fetch);
}

static void hit(size_t n, unsigned thread)
{
    (void)thread;
    for (size_t i = 0; i < n; i++) {
        swrcache_decision decision;
        look(key, sizeof key - 1, &decision);
        swrcache_reply_free(decision.reply);
    }
}

static void hit_and_read(size_t n, unsigned thread)
{
    (void)thread;
    for (size_t i = 0; i < n; i++) {
        swrcache_decision decision;
        swrcache_head head = {.struct_size = sizeof head};
        struct iovec iov[4];
        size_t count;
        look(key, sizeof key - 1, &decision);
        swrcache_reply_head(decision.reply, &head);
        swrcache_reply_read(decision.reply, iov, 4, &count);
        swrcache_reply_free(decision.reply);
    }
}

static void miss_and_fill(size_t n, unsigned thread)
{
    static unsigned long rounds;
    unsigned long round = __atomic_add_fetch(&rounds, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < n; i++) {
        char own[64];
        swrcache_decision decision;
        size_t length = (size_t)snprintf(own, sizeof own, "%u/%lu/%zu", thread, round, i);
        look(own, length, &decision);
        if (decision.action == SWRCACHE_FETCH)
            fill(decision.fetch, "max-age=60");
    }
}

static void refresh(size_t n, unsigned thread)
{
    char own[64];
    size_t length = (size_t)snprintf(own, sizeof own, "stale %u", thread);
    for (size_t i = 0; i < n; i++) {
        swrcache_decision decision;
        look(own, length, &decision);
        swrcache_reply_free(decision.reply);
        if (decision.fetch)
            fill(decision.fetch, "max-age=0, stale-while-revalidate=60");
    }
}

struct job {
    void (*run)(size_t, unsigned);
    size_t n;
    unsigned thread;
};

static void *start(void *arg)
{
    struct job *job = arg;
    job->run(job->n, job->thread);
    return NULL;
}

static double once(void (*run)(size_t, unsigned), size_t n, unsigned threads)
{
    struct timespec from, to;
    pthread_t all[8];
    struct job jobs[8];
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned i = 0; i < threads; i++) {
        jobs[i] = (struct job){run, n / threads, i};
        pthread_create(&all[i], NULL, start, &jobs[i]);
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(all[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &to);
    return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / (double)n;
}

static void measure(const char *name, void (*run)(size_t, unsigned), size_t n)
{
    printf("%-22s", name);
    for (unsigned threads = 1; threads <= 8; threads *= 2) {
        double best = 1e18;
        for (int round = 0; round < 5; round++) {
            double took = once(run, n, threads);
            best = took < best ? took : best;
        }
        printf("  %u thread%s %7.1f", threads, threads == 1 ? " " : "s", best);
    }
    printf("\n");
    fflush(stdout);
}

int main(void)
{
    swrcache_options options = {.struct_size = sizeof options, .memory = SWRCACHE_SHARED, .size = 64 << 20, .clock = tell};
    swrcache_decision decision;
    if (swrcache_open(&options, &cache) || swrcache_policy_new(&policy))
        return 1;
    look(key, sizeof key - 1, &decision);
    fill(decision.fetch, "max-age=60, stale-while-revalidate=300");
    printf("ns of wall time an operation\n");
    measure("lookup + decision", hit, 1000000);
    measure("with head and body", hit_and_read, 500000);
    measure("miss + fill of 1 KiB", miss_and_fill, 100000);
    measure("stale + refresh", refresh, 100000);

    printf("not stored: %lu\n", refused);
    pid_t pids[2];
    for (int i = 0; i < 2; i++) {
        fflush(stdout);
        if ((pids[i] = fork()) == 0) {
            if (swrcache_after_fork(cache))
                _exit(1);
            double best = 1e18;
            for (int round = 0; round < 5; round++) {
                double took = once(hit, 1000000, 1);
                best = took < best ? took : best;
            }
            printf("lookup + decision, process %d of 2: %.1f\n", i + 1, best);
            fflush(stdout);
            _exit(0);
        }
    }
    for (int i = 0; i < 2; i++)
        waitpid(pids[i], NULL, 0);
    swrcache_policy_free(policy);
    swrcache_close(cache);
    return 0;
}
