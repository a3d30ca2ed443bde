/*
 * What the C library does in a second: hits, reads, fills and refreshes by 1 to 8 threads, and by 2 processes on one shared
 * region. Prints a table of Markdown.
 *
 * All workers of a turn begin at the same moment and work for the same time; an operation counts if it did what it is named
 * for (a fill that finds no room does not). What is told is the time between two operations of all workers together: their
 * time divided by their count, the lower quartile of the turns. With enough cores and nothing in each other's way, 8 workers would be
 * at an eighth of what 1 is. Turns of all kinds take turns, so that a noisy machine is noisy for all of them.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "swrcache.h"

#define FIELD(name, value) {name, sizeof(name) - 1, value, sizeof(value) - 1}
#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define WORKERS 8
#define KEYS 10000
#define TURNS 9
#define A_TURN 0.1 /* seconds */

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
static char keys[KEYS][64];
static swrcache_cache *cache;
static swrcache_policy *policy;

static uint64_t tell(void *user)
{
    (void)user;
    return 1700000000000;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static swrcache_decision look(const char *key)
{
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = key, .key_len = strlen(key)};
    swrcache_decision decision = {.struct_size = sizeof decision};
    request.fields = browser;
    request.field_count = LENGTH(browser);
    if (swrcache_lookup(cache, policy, &request, &decision) != SWRCACHE_OK)
        abort();
    return decision;
}

/* Whether the response came to be stored. */
static int fill(swrcache_fetch *fetch, const char *control)
{
    static const char body[1024] = {'x'};
    swrcache_field fields[] = {FIELD("Content-Type", "text/html"), {"Cache-Control", 13, control, strlen(control)}, FIELD("ETag", "\"v1\"")};
    swrcache_response response = {.struct_size = sizeof response, .status = 200, .fields = fields, .field_count = LENGTH(fields)};
    int todo, stored;
    if (fetch == NULL)
        return 0;
    stored = swrcache_fetch_respond(fetch, &response, &todo) == SWRCACHE_OK && todo == SWRCACHE_DO_STORE &&
             swrcache_fetch_write(fetch, body, sizeof body) == SWRCACHE_OK && swrcache_fetch_finish(fetch, &todo) == SWRCACHE_OK;
    swrcache_fetch_free(fetch);
    return stored;
}

/* The operations: each tells whether it did what it is for. */

static int hit(const char *key)
{
    swrcache_decision decision = look(key);
    swrcache_reply_free(decision.reply);
    return decision.status == SWRCACHE_STATUS_HIT;
}

static int hit_one(unsigned worker, unsigned long nth)
{
    (void)worker;
    (void)nth;
    return hit(keys[0]);
}

static int hit_many(unsigned worker, unsigned long nth)
{
    return hit(keys[(nth * 7919 + worker * 1009) % KEYS]);
}

static int read_one(unsigned worker, unsigned long nth)
{
    swrcache_decision decision = look(keys[(nth * 7919 + worker * 1009) % KEYS]);
    swrcache_head head = {.struct_size = sizeof head};
    struct iovec iov[4];
    size_t count = 0, bytes = 0;
    swrcache_reply_head(decision.reply, &head);
    while (swrcache_reply_read(decision.reply, iov, 4, &count) == SWRCACHE_OK && count > 0)
        for (size_t i = 0; i < count; i++)
            bytes += iov[i].iov_len;
    swrcache_reply_free(decision.reply);
    return bytes == 1024 && head.field_count > 0;
}

static int miss_and_fill(unsigned worker, unsigned long nth)
{
    char key[64];
    snprintf(key, sizeof key, "http://www.example.com/%u/%d/%lu", worker, (int)getpid(), nth);
    return fill(look(key).fetch, "max-age=60");
}

static int refresh(unsigned worker, unsigned long nth)
{
    /* A refresh that failed (no room, or a lock that was not to be had in time) pauses its entry, and the clock stands still:
     * then another entry's turn has come, which is a miss at first. */
    static _Thread_local unsigned entry;
    char key[64];
    (void)nth;
    snprintf(key, sizeof key, "http://www.example.com/stale/%u/%d/%u", worker, (int)getpid(), entry);
    swrcache_decision decision = look(key);
    int refreshes = decision.reply != NULL;
    swrcache_reply_free(decision.reply);
    if (!fill(decision.fetch, "max-age=0, stale-while-revalidate=60"))
        return entry++, 0;
    return refreshes;
}

/* Fills may have evicted what is to be hit. */
static void prepare(void)
{
    for (int i = 0; i < KEYS; i++) {
        swrcache_decision decision = look(keys[i]);
        swrcache_reply_free(decision.reply);
        if (decision.fetch && !fill(decision.fetch, "max-age=60, stale-while-revalidate=300"))
            abort();
    }
}

static const struct operation {
    const char *name;
    int (*run)(unsigned worker, unsigned long nth);
} operations[] = {
    {"lookup + decision, one key", hit_one},
    {"lookup + decision, 10,000 keys", hit_many},
    {"the same, head and 1 KiB body, zero-copy", read_one},
    {"miss, fill with 1 KiB (evicting)", miss_and_fill},
    {"stale, refresh with 1 KiB", refresh},
};

struct job {
    const struct operation *operation;
    double from;
    unsigned worker;
    unsigned long done, failed;
    double took;
};

static unsigned long numbers;  /* so that no two turns fill the same keys */

static void work(struct job *job)
{
    unsigned long nth = __atomic_fetch_add(&numbers, 1000000000, __ATOMIC_RELAXED);
    double now;
    /* A process that was just forked touches its memory for the first time. */
    for (int i = 0; i < 1000; i++)
        job->operation->run(job->worker, nth++);
    while (seconds() < job->from) {
    }
    do {
        for (int i = 0; i < 32; i++)
            job->operation->run(job->worker, nth++) ? job->done++ : job->failed++;
        now = seconds();
    } while (now < job->from + A_TURN);
    job->took = now - job->from;
}

static void *work_in_thread(void *job)
{
    work(job);
    return NULL;
}

static void in_threads(struct job *jobs, unsigned count)
{
    pthread_t threads[WORKERS];
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, work_in_thread, &jobs[i]))
            abort();
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static void in_processes(struct job *jobs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (fork() == 0) {
            if (swrcache_after_fork(cache) != SWRCACHE_OK)
                _exit(1);
            work(&jobs[i]);
            swrcache_close(cache);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        int status;
        if (wait(&status) < 0 || status != 0)
            abort();
    }
}

static const struct crew {
    const char *name;
    unsigned count;
    void (*start)(struct job *, unsigned);
} crews[] = {
    {"1 thread", 1, in_threads}, {"2", 2, in_threads}, {"4", 4, in_threads}, {"8", 8, in_threads}, {"2 processes", 2, in_processes},
};

static int by_size(const void *a, const void *b)
{
    return *(const double *)a < *(const double *)b ? -1 : 1;
}

int main(void)
{
    static double nanos[LENGTH(operations)][LENGTH(crews)][TURNS];
    unsigned long failed[LENGTH(operations)] = {0}, all[LENGTH(operations)] = {0};
    swrcache_options options = {.struct_size = sizeof options, .memory = SWRCACHE_SHARED, .size = 128 << 20, .clock = tell};
    struct job *jobs = mmap(NULL, WORKERS * sizeof *jobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (jobs == MAP_FAILED || swrcache_open(&options, &cache) || swrcache_policy_new(&policy))
        return 1;
    for (int i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof keys[i], "http://www.example.com/some/path/page%d.html?with=query", i);
    for (int turn = 0; turn < TURNS; turn++) {
        for (size_t o = 0; o < LENGTH(operations); o++) {
            for (size_t c = 0; c < LENGTH(crews); c++) {
                unsigned long done = 0;
                double took = 0, from;
                prepare();
                from = seconds() + 0.02;
                for (unsigned i = 0; i < crews[c].count; i++)
                    jobs[i] = (struct job){.operation = &operations[o], .from = from, .worker = i};
                crews[c].start(jobs, crews[c].count);
                for (unsigned i = 0; i < crews[c].count; i++) {
                    done += jobs[i].done;
                    took += jobs[i].took / crews[c].count;
                    failed[o] += jobs[i].failed;
                }
                all[o] += done;
                nanos[o][c][turn] = took * 1e9 / (double)done;
            }
        }
    }
    printf("| ns between two operations |");
    for (size_t c = 0; c < LENGTH(crews); c++)
        printf(" %s |", crews[c].name);
    printf(" not done |\n|---|");
    for (size_t c = 0; c <= LENGTH(crews); c++)
        printf("---|");
    printf("\n");
    for (size_t o = 0; o < LENGTH(operations); o++) {
        printf("| %s |", operations[o].name);
        for (size_t c = 0; c < LENGTH(crews); c++) {
            qsort(nanos[o][c], TURNS, sizeof(double), by_size);
            printf(" %.0f |", nanos[o][c][TURNS / 4]);
        }
        printf(" %.2f %% |\n", 100.0 * (double)failed[o] / (double)(all[o] + failed[o]));
    }
    swrcache_policy_free(policy);
    swrcache_close(cache);
    return 0;
}
