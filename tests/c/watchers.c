/*
 * Event loops and threads of one process wait beside each other, and none misses a ring: in each round all of them wait for the same,
 * which is told once. SWRCACHE_RINGS: how many are to be heard, by all together.
 */
#include "soundness.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOPS 8
#define THREADS 8
#define WAITERS (LOOPS + THREADS)
#define LOST 30000  /* milliseconds after which a ring has been lost */

static struct {
    swrcache_cache *cache;
    swrcache_policy *policy;
    swrcache_fetch *fetch;
    pthread_barrier_t barrier;
    long rounds;
    int waiting;
    char key[32];
} all;

/* An event loop, or (without a watcher) a thread that waits. */
struct waiter {
    pthread_t thread;
    swrcache_watch *watch;
    int epoll;
};

/* Half of the loops watch edge-triggered, as some do. */
static void begin(struct waiter *waiter, int nth)
{
    struct epoll_event event = {.events = EPOLLIN | (nth % 2 ? EPOLLET : 0)};
    int fd;
    if (nth >= LOOPS)
        return;
    IS(swrcache_watch_new(all.cache, &waiter->watch), SWRCACHE_OK);
    IS(swrcache_watch_fd(waiter->watch, &fd), SWRCACHE_OK);
    waiter->epoll = epoll_create1(0);
    HOLDS(waiter->epoll >= 0 && epoll_ctl(waiter->epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void end(struct waiter *waiter)
{
    if (waiter->watch)
        close(waiter->epoll);
    swrcache_watch_free(waiter->watch);
}

static void await(struct waiter *waiter, uint64_t ticket)
{
    if (waiter->watch) {
        struct epoll_event event;
        IS(epoll_wait(waiter->epoll, &event, 1, LOST), 1);
        IS(swrcache_watch_clear(waiter->watch), SWRCACHE_OK);
    } else {
        IS(swrcache_wait(all.cache, ticket, at(NULL) + LOST), SWRCACHE_OK);
    }
}

/* One key a round, until its fetch has come to nothing. */
static void look_again(struct waiter *waiter)
{
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = all.key, .key_len = SWRCACHE_NUL};
    swrcache_decision decision = {.struct_size = sizeof decision};
    int first = 1;
    for (;;) {
        IS(swrcache_lookup(all.cache, all.policy, &request, &decision), SWRCACHE_OK);
        if (first)
            __atomic_add_fetch(&all.waiting, 1, __ATOMIC_SEQ_CST);
        first = 0;
        if (decision.action != SWRCACHE_WAIT)
            break;
        await(waiter, decision.ticket);
        request.turn = SWRCACHE_WAITED;
    }
    /* What is remembered of the key may have made room for another's. */
    HOLDS(decision.action == SWRCACHE_PASS || decision.action == SWRCACHE_FETCH);
    swrcache_fetch_free(decision.fetch);
}

/* One byte of a growing body a round. */
static void read_on(struct waiter *waiter, swrcache_reply *reply)
{
    struct iovec iov;
    size_t count;
    int rc = swrcache_reply_read(reply, &iov, 1, &count);
    __atomic_add_fetch(&all.waiting, 1, __ATOMIC_SEQ_CST);
    while (rc == SWRCACHE_EAGAIN && waiter->watch) {
        await(waiter, 0);
        rc = swrcache_reply_read(reply, &iov, 1, &count);
    }
    if (rc == SWRCACHE_EAGAIN)
        rc = swrcache_reply_read_wait(reply, LOST, &iov, 1, &count);
    IS(rc, SWRCACHE_OK);
    HOLDS(count == 1 && iov.iov_len == 1);
}

static void *wait_in_rounds(void *arg)
{
    struct waiter *waiter = arg;
    for (long round = 0; round < all.rounds; round++) {
        pthread_barrier_wait(&all.barrier);
        look_again(waiter);
        pthread_barrier_wait(&all.barrier);
    }
    swrcache_reply *reply = look(all.cache, all.policy, "grows").reply;
    HOLDS(reply != NULL);
    for (long round = 0; round < all.rounds; round++) {
        pthread_barrier_wait(&all.barrier);
        read_on(waiter, reply);
        pthread_barrier_wait(&all.barrier);
    }
    swrcache_reply_free(reply);
    return NULL;
}

/* In every other round the ring comes when all wait, in the others at any moment. */
static void meet(long round)
{
    pthread_barrier_wait(&all.barrier);
    while (round % 2 && __atomic_load_n(&all.waiting, __ATOMIC_SEQ_CST) < WAITERS)
        usleep(20);
}

void watchers(void)
{
    struct waiter waiters[WAITERS] = {0};
    const char *rings = getenv("SWRCACHE_RINGS");
    all.cache = open_cache(SWRCACHE_PRIVATE);
    all.policy = new_policy();
    all.rounds = (rings ? atol(rings) : 6400) / WAITERS / 2;
    pthread_barrier_init(&all.barrier, NULL, WAITERS + 1);
    swrcache_fetch *grows = look(all.cache, all.policy, "grows").fetch;
    IS(answer(grows, 200, "max-age=60"), SWRCACHE_DO_STORE);
    for (int i = 0; i < WAITERS; i++) {
        begin(&waiters[i], i);
        pthread_create(&waiters[i].thread, NULL, wait_in_rounds, &waiters[i]);
    }
    for (long round = 0; round < all.rounds; round++) {
        snprintf(all.key, sizeof all.key, "round %ld", round);
        swrcache_fetch *fetch = look(all.cache, all.policy, all.key).fetch;
        all.waiting = 0;
        meet(round);
        IS(answer(fetch, 200, "no-store"), SWRCACHE_DO_RELAY);
        swrcache_fetch_free(fetch);
        pthread_barrier_wait(&all.barrier);
    }
    for (long round = 0; round < all.rounds; round++) {
        all.waiting = 0;
        meet(round);
        IS(swrcache_fetch_write(grows, "x", 1), SWRCACHE_OK);
        pthread_barrier_wait(&all.barrier);
    }
    for (int i = 0; i < WAITERS; i++) {
        pthread_join(waiters[i].thread, NULL);
        end(&waiters[i]);
    }
    pthread_barrier_destroy(&all.barrier);
    swrcache_fetch_free(grows);
    swrcache_policy_free(all.policy);
    swrcache_close(all.cache);
}

static int descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    HOLDS(folder != NULL);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* A process alone needs no descriptors for others. */
static void few_descriptors(void)
{
    int before = descriptors();
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    HOLDS(descriptors() - before <= 2);
    swrcache_close(cache);
    HOLDS(descriptors() == before);
}

/* A child waits for the parent's fetch with a bell of its own, is not rung before, and hears the ring. */
static void hear_the_parent(swrcache_cache *cache, swrcache_policy *policy, swrcache_watch *inherited, int ready)
{
    swrcache_watch *watch;
    int fd;
    IS(swrcache_after_fork(cache), SWRCACHE_OK);
    IS(swrcache_after_fork(cache), SWRCACHE_OK);
    IS(swrcache_watch_fd(inherited, &fd), SWRCACHE_ESTATE);
    HOLDS(fd == -1);
    IS(swrcache_watch_clear(inherited), SWRCACHE_ESTATE);
    swrcache_watch_free(inherited);
    IS(swrcache_watch_new(cache, &watch), SWRCACHE_OK);
    IS(swrcache_watch_fd(watch, &fd), SWRCACHE_OK);
    struct pollfd poll_for = {fd, POLLIN, 0};
    IS(look(cache, policy, "k").action, SWRCACHE_WAIT);
    IS(swrcache_watch_clear(watch), SWRCACHE_OK);
    IS(poll(&poll_for, 1, 60), 0);
    HOLDS(write(ready, "x", 1) == 1);
    IS(poll(&poll_for, 1, LOST), 1);
    swrcache_watch_free(watch);
    swrcache_policy_free(policy);
    swrcache_close(cache);
    _exit(0);
}

/* What a child takes after the fork is given back, so that the next has it. */
void given_back(void)
{
    swrcache_options options = {.struct_size = sizeof options, .memory = SWRCACHE_SHARED, .size = 8 << 20, .processes = 2, .clock = at};
    swrcache_policy *policy = new_policy();
    swrcache_cache *cache;
    swrcache_watch *watch;
    int ready[2], status;
    char byte;
    few_descriptors();
    IS(swrcache_open(&options, &cache), SWRCACHE_OK);
    IS(swrcache_watch_new(cache, &watch), SWRCACHE_OK);
    HOLDS(pipe(ready) == 0);
    fflush(stdout);
    for (int i = 0; i < 3; i++) {
        swrcache_decision decision = look(cache, policy, "k");
        IS(decision.action, SWRCACHE_FETCH);
        pid_t child = fork();
        if (child == 0)
            hear_the_parent(cache, policy, watch, ready[1]);
        HOLDS(read(ready[0], &byte, 1) == 1);
        swrcache_fetch_free(decision.fetch);
        HOLDS(waitpid(child, &status, 0) == child && status == 0);
        swrcache_statistics statistics = {.struct_size = sizeof statistics};
        IS(swrcache_stats(cache, &statistics), SWRCACHE_OK);
        IS((int)statistics.processes, 1);
    }
    close(ready[0]);
    close(ready[1]);
    swrcache_watch_free(watch);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}
