/* Memory that processes share, and such that they do not. */
#include "soundness.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Waits for the children that end with 0. */
static void wait_for(pid_t child)
{
    int status;
    HOLDS(child > 0 && waitpid(child, &status, 0) == child);
    HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Private memory stays with the process. */
void forked(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_PRIVATE);
    swrcache_policy *policy = new_policy();
    store(cache, policy, "k", "max-age=60", "body");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int passes = look(cache, policy, "k").action == SWRCACHE_PASS;
        int refused = swrcache_after_fork(cache) == SWRCACHE_EUNSUPPORTED;
        refused &= swrcache_purge(cache, SWRCACHE_PURGE_KEY, "k", 1, NULL) == SWRCACHE_ESTATE;
        swrcache_policy_free(policy);
        swrcache_close(cache);
        _exit(!(passes && refused));
    }
    wait_for(child);
    HOLDS(is_stored(cache, policy, "k"));
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* An empty file for a cache, where TMPDIR says. */
static void temporary(char *path, size_t size, const char *name)
{
    const char *folder = getenv("TMPDIR");
    int length = snprintf(path, size, "%s/swrcache-%s-XXXXXX", folder && *folder ? folder : P_tmpdir, name);
    HOLDS(length > 0 && (size_t)length < size);
    int fd = mkstemp(path);
    HOLDS(fd >= 0 && close(fd) == 0);
}

/* Two processes that open the same file and are not forked from one another: the one that waits is woken all the same. */
void strangers(void)
{
    char path[4096];
    int from[2], fd;
    swrcache_options options = {.struct_size = sizeof options, .memory = SWRCACHE_FILE, .size = 8 << 20};
    swrcache_cache *cache;
    swrcache_watch *watch;
    char byte = 0;
    temporary(path, sizeof path, "strangers");
    HOLDS(unlink(path) == 0 && pipe(from) == 0);
    options.path = path;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        /* Leads a fetch of 300 ms. */
        swrcache_policy *policy = new_policy();
        IS(swrcache_open(&options, &cache), SWRCACHE_OK);
        swrcache_decision decision = look(cache, policy, "k");
        IS(decision.action, SWRCACHE_FETCH);
        if (write(from[1], "x", 1) != 1)
            _exit(1);
        usleep(300000);
        int todo;
        IS(answer(decision.fetch, 200, "max-age=60"), SWRCACHE_DO_STORE);
        IS(swrcache_fetch_write(decision.fetch, "body", 4), SWRCACHE_OK);
        IS(swrcache_fetch_finish(decision.fetch, &todo), SWRCACHE_OK);
        swrcache_fetch_free(decision.fetch);
        usleep(200000);
        swrcache_policy_free(policy);
        swrcache_close(cache);
        _exit(0);
    }
    HOLDS(read(from[0], &byte, 1) == 1);
    swrcache_policy *policy = new_policy();
    IS(swrcache_open(&options, &cache), SWRCACHE_OK);
    IS(swrcache_watch_new(cache, &watch), SWRCACHE_OK);
    IS(swrcache_watch_fd(watch, &fd), SWRCACHE_OK);
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = "k", .key_len = 1};
    swrcache_decision decision = {.struct_size = sizeof decision};
    int rings = 0;
    for (;;) {
        struct pollfd poll_for = {fd, POLLIN, 0};
        IS(swrcache_watch_clear(watch), SWRCACHE_OK);
        IS(swrcache_lookup(cache, policy, &request, &decision), SWRCACHE_OK);
        if (decision.action != SWRCACHE_WAIT)
            break;
        IS(poll(&poll_for, 1, 2000), 1);
        rings++;
        request.turn = SWRCACHE_WAITED;
    }
    IS(decision.action, SWRCACHE_SERVE);
    HOLDS(rings > 3 && rings < 100);
    swrcache_reply_free(decision.reply);
    IS(swrcache_lookup_wait(cache, policy, &request, &decision), SWRCACHE_OK);
    IS(decision.action, SWRCACHE_SERVE);
    swrcache_reply_free(decision.reply);
    wait_for(child);
    swrcache_watch_free(watch);
    close(from[0]);
    close(from[1]);
    unlink(path);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}

/* A file: closed and opened again, with what it holds; another size is refused, what is no cache is left alone. */
void file(void)
{
    char path[4096];
    swrcache_options options = {.struct_size = sizeof options, .memory = SWRCACHE_FILE, .size = 8 << 20, .clock = at, .path = path};
    swrcache_cache *cache, *same;
    swrcache_policy *policy = new_policy();
    temporary(path, sizeof path, "soundness\xff\xfe");  /* a path is bytes */
    IS(swrcache_open(&options, &cache), SWRCACHE_OK);
    store(cache, policy, "k", "max-age=60", "kept");
    IS(swrcache_open(&options, &same), SWRCACHE_OK);
    swrcache_decision decision = look(same, policy, "k");
    IS(decision.status, SWRCACHE_STATUS_HIT);
    swrcache_reply_free(decision.reply);
    swrcache_close(same);
    swrcache_close(cache);
    pid_t child = fork();
    if (child == 0) {
        IS(swrcache_open(&options, &cache), SWRCACHE_OK);
        static swrcache_reply *held;
        decision = look(cache, policy, "k");
        IS(decision.status, SWRCACHE_STATUS_HIT);
        held = decision.reply;
        HOLDS(held != NULL);
        swrcache_policy_free(policy);
        _exit(0);  /* with a reply in its hands */
    }
    int status;
    HOLDS(waitpid(child, &status, 0) == child && status == 0);
    /* Who has it open has agreed on its limits. */
    options.max_object = 100000;
    IS(swrcache_open(&options, &cache), SWRCACHE_OK);
    options.max_object = 200000;
    IS(swrcache_open(&options, &same), SWRCACHE_EREGION);
    HOLDS(strstr(swrcache_last_error(), "100000") && strstr(swrcache_last_error(), "200000"));
    options.max_object = 0;
    IS(swrcache_open(&options, &same), SWRCACHE_OK);
    swrcache_statistics statistics = {.struct_size = sizeof statistics};
    IS(swrcache_stats(same, &statistics), SWRCACHE_OK);
    HOLDS(statistics.max_object == 100000);
    swrcache_close(same);
    swrcache_close(cache);
    /* One that lacks its end is refused. */
    HOLDS(truncate(path, 4 << 20) == 0);
    IS(swrcache_open(&options, &cache), SWRCACHE_EREGION);
    HOLDS(truncate(path, 8 << 20) == 0);
    options.size = 16 << 20;
    IS(swrcache_open(&options, &cache), SWRCACHE_EREGION);
    HOLDS(strstr(swrcache_last_error(), "8388608") && strstr(swrcache_last_error(), "16777216"));
    FILE *foreign = fopen(path, "w");
    for (int i = 0; i < (8 << 20); i++)
        fputc('x', foreign);
    fclose(foreign);
    options.size = 8 << 20;
    IS(swrcache_open(&options, &cache), SWRCACHE_EREGION);
    unlink(path);
    options.path = "/no/such/folder/at/all";
    IS(swrcache_open(&options, &cache), SWRCACHE_ESYS);
    swrcache_policy_free(policy);
}

/* Begins to fetch two keys in a child: one whose body grows, and one of which nothing has come. */
static pid_t begin_in_child(swrcache_cache *cache, swrcache_policy *policy)
{
    int ready[2];
    char byte;
    HOLDS(pipe(ready) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        IS(swrcache_after_fork(cache), SWRCACHE_OK);
        swrcache_fetch *grows = look(cache, policy, "grows").fetch;
        IS(answer(grows, 200, "max-age=86400"), SWRCACHE_DO_STORE);
        IS(swrcache_fetch_write(grows, "half", 4), SWRCACHE_OK);
        IS(look(cache, policy, "asked for").action, SWRCACHE_FETCH);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    HOLDS(child > 0 && read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void kill_child(pid_t child)
{
    int status;
    HOLDS(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
}

/* A fetch whose process has died is nobody's, also where nobody tidies up: in time for who waits, and at once for who comes. */
void dead_fillers(void)
{
    swrcache_cache *cache = open_cache(SWRCACHE_SHARED);
    swrcache_policy *policy = new_policy();
    swrcache_watch *watch;
    swrcache_reply *replies[2];
    struct iovec iov[4];
    size_t count;
    int fd;
    IS(swrcache_watch_new(cache, &watch), SWRCACHE_OK);
    IS(swrcache_watch_fd(watch, &fd), SWRCACHE_OK);
    struct pollfd poll_for = {fd, POLLIN, 0};

    pid_t child = begin_in_child(cache, policy);
    for (int i = 0; i < 2; i++) {
        replies[i] = look(cache, policy, "grows").reply;
        IS(swrcache_reply_read(replies[i], iov, 4, &count), SWRCACHE_OK);
        IS(swrcache_reply_read(replies[i], iov, 4, &count), SWRCACHE_EAGAIN);
    }
    IS(swrcache_watch_clear(watch), SWRCACHE_OK);
    IS(look(cache, policy, "asked for").action, SWRCACHE_WAIT);
    kill_child(child);
    IS(poll(&poll_for, 1, 5000), 1);
    IS(swrcache_watch_clear(watch), SWRCACHE_OK);
    IS(swrcache_reply_read(replies[0], iov, 4, &count), SWRCACHE_EBROKEN);
    IS(swrcache_reply_read_wait(replies[1], 5000, iov, 4, &count), SWRCACHE_EBROKEN);
    for (int i = 0; i < 2; i++)
        swrcache_reply_free(replies[i]);
    HOLDS(!is_stored(cache, policy, "grows"));
    swrcache_decision decision = look(cache, policy, "asked for");
    IS(decision.action, SWRCACHE_FETCH);
    swrcache_fetch_free(decision.fetch);

    /* Who waits in a thread; the first that comes after a death. */
    child = begin_in_child(cache, policy);
    replies[0] = look(cache, policy, "grows").reply;
    kill_child(child);
    decision = look(cache, policy, "grows");
    IS(decision.action, SWRCACHE_FETCH);
    swrcache_fetch_free(decision.fetch);
    IS(swrcache_reply_read_wait(replies[0], 5000, iov, 4, &count), SWRCACHE_OK);
    IS(swrcache_reply_read_wait(replies[0], 5000, iov, 4, &count), SWRCACHE_EBROKEN);
    swrcache_reply_free(replies[0]);
    child = begin_in_child(cache, policy);
    kill_child(child);
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key = "asked for", .key_len = SWRCACHE_NUL};
    uint64_t before = clock_at;
    IS(swrcache_lookup_wait(cache, policy, &request, &decision), SWRCACHE_OK);
    IS(decision.action, SWRCACHE_FETCH);
    HOLDS(clock_at == before);
    swrcache_fetch_free(decision.fetch);
    swrcache_watch_free(watch);
    swrcache_policy_free(policy);
    swrcache_close(cache);
}
