/*
 * swrcache: an HTTP cache that never makes a visitor wait for a revalidation.
 *
 * This file is made from the documentation in src/ffi; it is not edited by hand.
 *
 * What holds for every function, unless its comment says otherwise:
 *
 *  - It returns 0 (SWRCACHE_OK) or an error code; swrcache_strerror() says what that means.
 *  - Outputs come last. No pointer may be NULL where that is not said; a NULL gives SWRCACHE_EINVAL, never a crash.
 *  - A handle has one owner and one function that frees it (swrcache_close, swrcache_..._free), which takes NULL too. A handle
 *    that is used up (a fetch that is over) is still freed by you, and every call on it has an answer: SWRCACHE_ESTATE.
 *  - A cache, a policy in use and a refresher may be used by any threads at once. A reply and a fetch may go from thread to
 *    thread, but are used by one at a time; a second one gets SWRCACHE_EBUSY. Freeing is for the last user alone.
 *  - Structs start with `size_t struct_size`: zero them, and set it to sizeof. New versions add members at the end, and never
 *    change the SONAME for it: a program built with another version of this header gets and gives the members that both know, what it
 *    lacks counts as 0, and a member that the library does not know is SWRCACHE_EINVAL if it is not 0. swrcache_field and
 *    swrcache_range have no size: they stay as they are.
 *  - Strings that you give have a length, which may be SWRCACHE_NUL for one that ends with NUL, or are said to end with NUL.
 *    Strings that you get in a swrcache_field are not NUL-terminated. The library keeps none of your pointers after a call.
 *  - An error inside the library gives SWRCACHE_EPANIC, and from then on SWRCACHE_EPOISONED for that handle; it can still be
 *    freed. Nothing is ever thrown or unwound through your code, and your callbacks must not do so to the library.
 *  - Times are Unix times in milliseconds.
 *
 * The life of a request:
 *
 *   swrcache_lookup -+- SWRCACHE_SERVE: send decision.reply. If there is a decision.fetch: carry it out in the background.
 *                    +- SWRCACHE_FETCH: carry out decision.fetch; the client waits.
 *                    +- SWRCACHE_WAIT:  look up again when the loop's swrcache_watch is readable, or at decision.until.
 *                    +- SWRCACHE_PASS:  proxy it yourself.
 *                    +- SWRCACHE_GATEWAY_TIMEOUT: send 504.
 *
 *   A fetch: send swrcache_fetch_fields() to the origin; then swrcache_fetch_respond() -+- SWRCACHE_DO_STORE: swrcache_fetch_write()
 *                                                                                      |    for the body, swrcache_fetch_finish()
 *                                 or, without an answer, swrcache_fetch_fail() --------+- SWRCACHE_DO_REPLY: swrcache_fetch_reply()
 *                                                                                      +- SWRCACHE_DO_RELAY: send it on yourself
 *                                                                                      +- SWRCACHE_DO_NOTHING
 *                                                                                      +- SWRCACHE_DO_ASK_AGAIN: begin again, once
 */

#ifndef SWRCACHE_H
#define SWRCACHE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/** A cache. Any thread may use it at any time. */
typedef struct swrcache_cache swrcache_cache;
/** How a server caches: directives with their values. Shared by any threads once it has been used; changed by none then. */
typedef struct swrcache_policy swrcache_policy;
/** A response to deliver. One thread at a time. It keeps what it delivers from going away until it is freed. */
typedef struct swrcache_reply swrcache_reply;
/** A fetch to carry out. One thread at a time. */
typedef struct swrcache_fetch swrcache_fetch;
/** A watcher of an event loop. Any thread may use it at any time. */
typedef struct swrcache_watch swrcache_watch;
/** A purge in pieces. One thread at a time. */
typedef struct swrcache_purger swrcache_purger;
/** A pool of threads that fetch. Any thread may use it at any time. */
typedef struct swrcache_refresher swrcache_refresher;

/** In place of a length: the string ends at its NUL. */
#define SWRCACHE_NUL SIZE_MAX

#ifdef __cplusplus
extern "C" {
#endif

/* The library. */

/**
 * The version of the binary interface that this header describes. It changes with the SONAME.
 */
#define SWRCACHE_ABI_VERSION 0

/**
 * The version of the binary interface of the library that is loaded; compare it with `SWRCACHE_ABI_VERSION`.
 *
 * Any thread.
 */
uint32_t swrcache_abi_version(void);

/**
 * The version of the library, such as "0.1.0".
 *
 * Never NULL; static. Any thread.
 */
const char *swrcache_version(void);

/* Errors, and what no return value tells. */

enum swrcache_code {
  /**
   * It worked.
   */
  SWRCACHE_OK = 0,
  /**
   * An argument is wrong: a NULL where there must be none, a length that cannot be, an unknown constant.
   */
  SWRCACHE_EINVAL = 1,
  /**
   * `struct_size` is no size of this struct in any version: set it to `sizeof` of the struct.
   */
  SWRCACHE_ESIZE = 2,
  /**
   * The call does not fit the state of the handle: it has been used up, or this is not its turn yet.
   */
  SWRCACHE_ESTATE = 3,
  /**
   * The handle is in use by another thread at this moment.
   */
  SWRCACHE_EBUSY = 4,
  /**
   * Nothing yet: wait, then ask again.
   */
  SWRCACHE_EAGAIN = 5,
  /**
   * The body broke off: what was read so far is all there will be, and it is not the whole.
   */
  SWRCACHE_EBROKEN = 6,
  /**
   * No room in the cache.
   */
  SWRCACHE_ENOSPC = 7,
  /**
   * The object is larger than the cache takes, or its body longer than announced.
   */
  SWRCACHE_ETOOLARGE = 8,
  /**
   * The queue of the refresher is full, or it is being closed.
   */
  SWRCACHE_EFULL = 9,
  /**
   * The memory or file is damaged, or holds something else, or was made with other options; see `swrcache_last_error`.
   */
  SWRCACHE_EREGION = 10,
  /**
   * The operating system refused; see `swrcache_last_error`.
   */
  SWRCACHE_ESYS = 11,
  /**
   * This version of the library can't do that.
   */
  SWRCACHE_EUNSUPPORTED = 12,
  /**
   * An error inside the library; the handle can only be freed after this.
   */
  SWRCACHE_EPANIC = 13,
  /**
   * The handle can only be freed: an earlier call on it ended in `SWRCACHE_EPANIC`.
   */
  SWRCACHE_EPOISONED = 14,
  /**
   * The buffer is too small; the size that is needed has been told.
   */
  SWRCACHE_ERANGE = 15,
  /**
   * The time is over.
   */
  SWRCACHE_ETIMEDOUT = 16,
  /**
   * What the cache took of the body has been read; the rest did not fit into it. Go on with the bytes that `swrcache_fetch_write` did
   * not take.
   */
  SWRCACHE_EOUTGROWN = 17,
  /**
   * The system has no memory for it.
   */
  SWRCACHE_ENOMEM = 18,
  /**
   * The response may not be stored; see `swrcache_last_error`.
   */
  SWRCACHE_ENOTSTORED = 19
};

/**
 * What an error code means, in English.
 *
 * Never NULL; an unknown code gives "unknown error". The text is static. May be called from any thread.
 */
const char *swrcache_strerror(int code);

/**
 * What the last error of this thread was about, such as which value of which directive was wrong.
 *
 * Never NULL; empty if the last error has nothing to say: `swrcache_strerror` says what its code means. The text is this thread's own
 * and stays until its next call into the library. A call that succeeds leaves it as it is.
 */
const char *swrcache_last_error(void);

enum swrcache_log_level {
  /**
   * A defect or damage: something has failed that should not.
   */
  SWRCACHE_LOG_ERROR = 1,
  /**
   * Something worth knowing, such as a process that has died.
   */
  SWRCACHE_LOG_NOTICE = 2
};

/**
 * Takes a message, one line without its end, which lives as long as the call. Called from any thread that calls the library and from
 * threads of refreshers, several at a time; must not call the library, nor throw or longjmp out.
 */
typedef void (*swrcache_logger)(void *user, int level, const char *message);

/**
 * Has the library hand what it has to say to `logger`: defects of its own, damaged memory, a file that had to be made anew, processes
 * that were found dead. Without one defects are written to stderr, and the rest is not said.
 *
 * One for the whole process; NULL ends it. `user` is handed to it. Any thread; when no other thread is in the library.
 *
 * Returns 0.
 */
int swrcache_log(swrcache_logger logger,
                 void *user);

/* A cache. */

enum swrcache_memory_kind {
  /**
   * Memory of this process alone: a process that it forks has no cache there, and is told to pass.
   */
  SWRCACHE_PRIVATE = 0,
  /**
   * Anonymous memory that this process shares with those that it forks after it has opened the cache.
   */
  SWRCACHE_SHARED = 1,
  /**
   * A file that any processes of this host map at the same time, and that survives all of them.
   */
  SWRCACHE_FILE = 2
};

/**
 * So many processes at most may have a cache open at the same time.
 */
#define SWRCACHE_MAX_PROCESSES 126

/**
 * Tells the time: Unix time in milliseconds. Called from any thread that calls the library; must not call the library, nor
 * throw or longjmp out.
 */
typedef uint64_t (*swrcache_clock)(void *user);

/**
 * How to open a cache. Zero it, set `struct_size` and what you need.
 */
typedef struct swrcache_options {
  /**
   * `sizeof(swrcache_options)`.
   */
  size_t struct_size;
  /**
   * `SWRCACHE_PRIVATE`, `SWRCACHE_SHARED` or `SWRCACHE_FILE`.
   */
  int memory;
  /**
   * How many processes there will be at most, old and new ones of a restart together: 1 to `SWRCACHE_MAX_PROCESSES`, 0 is 64.
   * Each takes a descriptor of every process, by which they wake each other. `SWRCACHE_PRIVATE` has one process, whatever this says.
   */
  uint32_t processes;
  /**
   * Bytes of memory: keys, heads and bodies fit into it, and nothing grows beyond. From 43,840 bytes to 64 GiB; what is out of
   * bounds is SWRCACHE_EINVAL, and `swrcache_last_error` names the bound.
   */
  size_t size;
  /**
   * The longest body that is stored, in bytes; 0 is an eighth of `size`, or what those who have the
   * `SWRCACHE_FILE` open already said.
   */
  size_t max_object;
  /**
   * `SWRCACHE_FILE`: the path, any bytes, ending with NUL. NULL otherwise. While it is open nobody may make it shorter: a mapped file
   * that lacks its end raises SIGBUS when it is touched, in the middle of any call, which a library can't handle for its host.
   */
  const char *path;
  /**
   * Another clock than the system's; NULL is the system's.
   */
  swrcache_clock clock;
  /**
   * Handed to `clock`.
   */
  void *clock_user;
} swrcache_options;

/**
 * Opens a cache.
 *
 * `*cache` is yours, to be freed with `swrcache_close`; NULL on failure. A process that forks workers opens a
 * `SWRCACHE_SHARED` cache before it forks, and each worker calls `swrcache_after_fork` once. Any process may open a
 * `SWRCACHE_FILE`: the first one makes it, the others take what is there, which must have the same `size` and, while another process
 * has it open, the same `max_object` if one is given. A file of a version of the library that lays memory out otherwise is replaced by
 * an empty one.
 *
 * Any thread. No pointer may be NULL but those that the options say.
 *
 * Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for bad options; SWRCACHE_EREGION if the file holds something else, is shorter or
 * longer, or is open with other options (`swrcache_last_error` says which); SWRCACHE_ENOMEM if there is no memory for it; SWRCACHE_ESYS
 * if the system refused; SWRCACHE_ENOSPC if too many processes use it.
 */
int swrcache_open(const struct swrcache_options *options,
                  swrcache_cache **cache);

/**
 * Makes the cache usable in a process that was forked after `swrcache_open`.
 *
 * Call it in each child, before anything else of the library; calling it again changes nothing. Fork while no other thread of the
 * parent is inside the library. Replies, fetches and watchers of the parent mean nothing in the child: free them or leave them, but
 * don't use them there. The parent goes on as before. What it takes, `swrcache_close` and the end of the process give back.
 *
 * Returns 0; SWRCACHE_ENOSPC if too many processes use the cache; SWRCACHE_EUNSUPPORTED for `SWRCACHE_PRIVATE` memory;
 * SWRCACHE_ESYS if the system refused; SWRCACHE_EINVAL if `cache` is NULL.
 */
int swrcache_after_fork(swrcache_cache *cache);

/**
 * Closes the cache in this process. NULL is ignored.
 *
 * Free its refreshers before. Replies, fetches and watchers that are still there stay usable, and keep the memory until they are
 * freed; but in a process that was forked after the cache was opened its fetches are given up, and its place is free for another.
 * A file stays where it is, with what it holds.
 * Call it when no other thread uses the cache.
 */
void swrcache_close(swrcache_cache *cache);

/**
 * The time by the cache's clock: Unix time in milliseconds.
 *
 * Any thread.
 *
 * Returns 0; SWRCACHE_EINVAL for a NULL. On failure `*now` is 0.
 */
int swrcache_now(const swrcache_cache *cache, uint64_t *now);

/**
 * Tidies up: frees what dead processes held, and drops some entries whose time is over: all their windows, or `inactive`.
 *
 * Call it about once a second, from a timer or a thread. Nothing breaks without it; others wait longer for a dead process.
 * A call takes about a millisecond. After a process has died there may be more to do than that.
 *
 * Returns 0; SWRCACHE_EAGAIN if there is more to do: call it again soon, between other work (at the next turn of an event loop).
 * With millions of entries that may go on for some seconds, until which nothing new may be stored; SWRCACHE_EREGION if the memory
 * was found damaged: every request is told to pass until the cache has been closed and opened anew; SWRCACHE_EINVAL if `cache` is
 * NULL.
 */
int swrcache_tidy(swrcache_cache *cache);

/* A policy. */

/**
 * Makes a policy in which every directive has its default.
 *
 * `*policy` is yours, to be freed with `swrcache_policy_free`; NULL on failure. The defaults do all that an origin asks
 * for with `Cache-Control: max-age=60, stale-while-revalidate=300, stale-if-error=86400`.
 *
 * Any thread.
 *
 * Returns 0, or SWRCACHE_EINVAL if `policy` is NULL.
 */
int swrcache_policy_new(swrcache_policy **policy);

/**
 * Sets one directive, in the words of the nginx module without their prefix `swr_cache_`:
 *
 * | directive | value | default |
 * |---|---|---|
 * | `methods` | `GET`, `HEAD`, `POST` | `GET HEAD` |
 * | `valid` | `[CODE ...\|any] TIME` | - |
 * | `min_uses` | number | `1` |
 * | `ignore_headers` | field names | - |
 * | `use_stale` | `error timeout invalid_header updating http_500 ...` or `off` | all of RFC 5861 |
 * | `stale_while_revalidate`, `stale_if_error` | `TIME [force]`, `origin`, `off` | `origin` |
 * | `background_update`, `revalidate`, `edge_revalidation`, `lock`, `convert_head`, `if_modified_since` | `on`, `off` | `on` |
 * | `client_control` | `on`, `off` | `off` |
 * | `lock_timeout`, `lock_age` | time | `5s` |
 * | `control_headers`, `vary_normalize`, `tag_headers` | field names, `off` | as the module |
 * | `max_range_offset` | size, `off` | `off` |
 * | `refresh_max` | number, for the whole cache | `64` |
 * | `refresh_backoff` | `MIN MAX` | `1s 60s` |
 * | `refresh_ahead` | percent, `off` | `off` |
 * | `revalidate_timeout`, `inactive` | time, `off` | `off` |
 * | `max_variants` | number | `64` |
 * | `invalidate` | `on`, `target`, `soft`, `off` | `on` |
 * | `compress` | `gzip[=LEVEL]`, `br[=LEVEL]`, `zstd[=LEVEL]`, `off`; needs `swrcache_encode` | `off` |
 * | `compress_types` | media types, `*` | text, as the module |
 * | `compress_min_length` | size | `256` |
 * | `status_header` | a name for `Cache-Status`, `off` | `off` |
 *
 * Times and sizes are as in nginx: `90`, `90s`, `1m30s`, `500ms`, `1d`, `"1d 2h"`; `512k`, `4g`. A second call adds to `methods`,
 * `valid`, `ignore_headers` and `use_stale`, as a second line does in nginx, and takes the place of the first for all others. Call it
 * before the policy is first used; one thread at a time.
 *
 * Returns 0; SWRCACHE_EINVAL for a NULL, an unknown directive or a bad value (`swrcache_last_error` names it; the policy is as it
 * was); SWRCACHE_ESTATE once the policy has been used.
 */
int swrcache_policy_set(swrcache_policy *policy,
                        const char *directive,
                        const char *value);

/**
 * Gives `policy` all that it does not set itself as `outer` has it, as nginx does with a location in a server.
 *
 * A directive that was set in `policy` stays as it is set there, also one of several lines (`valid`). `outer` counts as used from then
 * on. Call it before `policy` is first used; one thread at a time for `policy`, any for `outer`.
 *
 * Returns 0; SWRCACHE_EINVAL for a NULL; SWRCACHE_ESTATE once `policy` has been used; SWRCACHE_EBUSY if `outer` is being changed.
 */
int swrcache_policy_merge(swrcache_policy *policy,
                          const swrcache_policy *outer);

/**
 * Makes a policy that has all as another has it, to be set on from there.
 *
 * `*copy` is yours, to be freed with `swrcache_policy_free`; NULL on failure. Nothing is set in it by itself: the first `valid` takes the
 * place of those of the other, which counts as used from then on.
 *
 * Any thread.
 *
 * Returns 0; SWRCACHE_EINVAL for a NULL; SWRCACHE_EBUSY if `policy` is being changed by another thread.
 */
int swrcache_policy_copy(const swrcache_policy *policy,
                         swrcache_policy **copy);

/**
 * Frees a policy. NULL is ignored. What was made with it keeps what it needs.
 * When no other thread uses it.
 */
void swrcache_policy_free(swrcache_policy *policy);

/* A request, and what to do with it. */

/**
 * A header field line.
 *
 * Where you give one, a length may be `SWRCACHE_NUL` for a string that ends with NUL. Where you get one, the strings are
 * *not* NUL-terminated; how long they live is said where you get them.
 */
typedef struct swrcache_field {
  /**
   * The name; not NULL, not empty.
   */
  const char *name;
  /**
   * Bytes of the name.
   */
  size_t name_len;
  /**
   * The value; may be NULL if `value_len` is 0.
   */
  const char *value;
  /**
   * Bytes of the value.
   */
  size_t value_len;
} swrcache_field;

enum swrcache_request_flag {
  /**
   * `swrcache_request.flags`: don't use what is stored.
   */
  SWRCACHE_BYPASS = 1,
  /**
   * `swrcache_request.flags`: don't store the response.
   */
  SWRCACHE_NO_CACHE = 2,
  /**
   * `swrcache_request.flags`: the server has no room for a background fetch now.
   */
  SWRCACHE_NO_REFRESH = 4
};

enum swrcache_turn {
  /**
   * `swrcache_request.turn`: the request asks for the first time.
   */
  SWRCACHE_FIRST = 0,
  /**
   * `swrcache_request.turn`: it was told to wait, and something has moved.
   */
  SWRCACHE_WAITED = 1,
  /**
   * `swrcache_request.turn`: it was told to wait, and the timeout has expired.
   */
  SWRCACHE_TIMED_OUT = 2
};

/**
 * A request. Zero it, set `struct_size` and what there is. The library keeps none of your pointers after the call.
 */
typedef struct swrcache_request {
  /**
   * `sizeof(swrcache_request)`.
   */
  size_t struct_size;
  /**
   * The method, ending with NUL, such as "GET".
   */
  const char *method;
  /**
   * The key under which responses are stored: any bytes that tell resources apart, such as the URL. What has a key of 1 MiB or more
   * is not stored.
   */
  const char *key;
  /**
   * Bytes of the key, or `SWRCACHE_NUL`.
   */
  size_t key_len;
  /**
   * The request's header fields, in order.
   */
  const struct swrcache_field *fields;
  /**
   * How many.
   */
  size_t field_count;
  /**
   * `SWRCACHE_BYPASS` and the like, or 0.
   */
  uint32_t flags;
  /**
   * `SWRCACHE_FIRST` and the like.
   */
  int turn;
  /**
   * Scheme and authority as the client wrote them, such as `https://example.com:8443`, ending with NUL; NULL if you don't tell.
   * Cache groups (RFC 9875) and what an unsafe request makes invalid beside its own key are of one origin.
   */
  const char *origin;
  /**
   * Path and query as the client wrote them, ending with NUL; NULL if you don't tell. Where the key ends in them, it is known
   * what keys other targets of the origin have, which a `Location` may name.
   */
  const char *target;
  /**
   * Anything of yours, which the library hands back with the fetch (`swrcache_fetch_request`) and does not look at. What it points to
   * has to live as long as the fetch does, which a refresh may do longer than the request.
   */
  void *user;
} swrcache_request;

enum swrcache_action {
  /**
   * Pass: send the request to the origin yourself, and its response to the client. The cache takes no part.
   */
  SWRCACHE_PASS = 0,
  /**
   * Serve: answer with `reply`. If there is a `fetch` too, carry it out beside, in the background.
   */
  SWRCACHE_SERVE = 1,
  /**
   * Wait: another request fetches this. Look up again with `SWRCACHE_WAITED` when a `swrcache_watch` becomes readable, or with
   * `SWRCACHE_TIMED_OUT` at `until`. Keep the first `until` of several.
   */
  SWRCACHE_WAIT = 2,
  /**
   * Fetch: carry out `fetch`; the client waits for what comes of it.
   */
  SWRCACHE_FETCH = 3,
  /**
   * Answer 504: the client wanted only what is cached.
   */
  SWRCACHE_GATEWAY_TIMEOUT = 4
};

enum swrcache_cache_status {
  /**
   * The cache took no part.
   */
  SWRCACHE_STATUS_NONE = 0,
  /**
   * A fresh stored response.
   */
  SWRCACHE_STATUS_HIT = 1,
  /**
   * Nothing was stored.
   */
  SWRCACHE_STATUS_MISS = 2,
  /**
   * The request bypassed.
   */
  SWRCACHE_STATUS_BYPASS = 3,
  /**
   * What was stored was stale, and the client waited for the new response.
   */
  SWRCACHE_STATUS_EXPIRED = 4,
  /**
   * Stale, because the origin failed.
   */
  SWRCACHE_STATUS_STALE = 5,
  /**
   * Stale, and being refreshed where no client waits.
   */
  SWRCACHE_STATUS_UPDATING = 6,
  /**
   * What was stored was stale, and the client waited for the origin's 304.
   */
  SWRCACHE_STATUS_REVALIDATED = 7
};

/**
 * What to do with a request. Set `struct_size`; the rest is filled in.
 */
typedef struct swrcache_decision {
  /**
   * `sizeof(swrcache_decision)`, set by you.
   */
  size_t struct_size;
  /**
   * What to do: `SWRCACHE_PASS`, `_SERVE`, `_WAIT`, `_FETCH` or `_GATEWAY_TIMEOUT` (an `enum swrcache_action`).
   */
  int action;
  /**
   * For a status header or the log: `SWRCACHE_STATUS_HIT` and the like (an `enum swrcache_cache_status`). With `SWRCACHE_FETCH` what it
   * is if the fetch brings something new; the reply's head says what it has become.
   */
  int status;
  /**
   * Why, one of a fixed set of words; static, never NULL.
   */
  const char *reason;
  /**
   * `SWRCACHE_SERVE`: the answer, yours to free with `swrcache_reply_free`. NULL otherwise.
   */
  swrcache_reply *reply;
  /**
   * `SWRCACHE_FETCH`: the fetch to carry out; `SWRCACHE_SERVE`: a refresh to carry out in the background, or NULL. Yours to
   * free with `swrcache_fetch_free` (which gives it up if it is not over). NULL otherwise.
   */
  swrcache_fetch *fetch;
  /**
   * `SWRCACHE_WAIT`: when to stop waiting. `SWRCACHE_FETCH`: when the client should get `swrcache_fetch_stale` instead of
   * waiting on, while the fetch goes on; 0 is never. Unix time in milliseconds.
   */
  uint64_t until;
  /**
   * For `swrcache_wait`.
   */
  uint64_t ticket;
} swrcache_decision;

/**
 * Decides what to do with a request. Never waits.
 *
 * `decision` is filled in whatever comes: after an error it says `SWRCACHE_PASS`, so that a server may ignore errors and still
 * serve. Any number of threads at a time. About 300 ns for a hit.
 *
 * Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_EBUSY if the policy is being changed by another
 * thread; SWRCACHE_EREGION if the memory was found damaged: close the cache and open it anew.
 */
int swrcache_lookup(swrcache_cache *cache,
                    const swrcache_policy *policy,
                    const struct swrcache_request *request,
                    struct swrcache_decision *decision);

/**
 * As `swrcache_lookup`, but where that says `SWRCACHE_WAIT`, this waits (in this thread) and never says so.
 *
 * Any number of threads at a time. Returns as `swrcache_lookup`, for a NULL too.
 */
int swrcache_lookup_wait(swrcache_cache *cache,
                         const swrcache_policy *policy,
                         const struct swrcache_request *request,
                         struct swrcache_decision *decision);

/**
 * Waits, for a server with threads, until something has moved since the lookup that gave `ticket`
 * (`swrcache_decision.ticket`), or until `until` (Unix time in milliseconds by the cache's clock).
 *
 * Any number of threads may wait, also beside an event loop. `swrcache_lookup_wait` does this for you.
 *
 * Returns 0 if it is time to look again; SWRCACHE_ETIMEDOUT if `until` has come; SWRCACHE_EINVAL if `cache` is NULL.
 */
int swrcache_wait(const swrcache_cache *cache, uint64_t ticket, uint64_t until);

/**
 * Tells what `swrcache_lookup` would say, without its effects: nothing is claimed, counted, remembered or removed, and what is stored is
 * not kept for longer because of it.
 *
 * With `SWRCACHE_SERVE` there is a reply, yours to free, as `swrcache_lookup` gives it; `decision->fetch` is NULL whatever the action.
 * `turn` is not looked at. `decision` is filled in whatever comes: after an error it says `SWRCACHE_PASS`.
 *
 * Any number of threads at a time.
 *
 * Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_EBUSY if the policy is being changed by
 * another thread; SWRCACHE_EREGION if the memory was found damaged.
 */
int swrcache_peek(const swrcache_cache *cache,
                  const swrcache_policy *policy,
                  const struct swrcache_request *request,
                  struct swrcache_decision *decision);

/**
 * The word of a status: "HIT", "MISS", "BYPASS", "EXPIRED", "STALE", "UPDATING", "REVALIDATED", or "" for none.
 *
 * Never NULL; static. Any thread.
 */
const char *swrcache_status_name(int status);

/* An answer from the store. */

/**
 * The head of a reply. Set `struct_size`; the rest is filled in. The strings and the array live as long as the reply.
 */
typedef struct swrcache_head {
  /**
   * `sizeof(swrcache_head)`, set by you.
   */
  size_t struct_size;
  /**
   * The status of HTTP to send: 200, 206, 304, 412, 416, or another one that was stored.
   */
  int status;
  /**
   * For a status header or the log: `SWRCACHE_STATUS_HIT` and the like.
   */
  int cache_status;
  /**
   * Why; static, never NULL.
   */
  const char *reason;
  /**
   * The fields to send, `Date`, `Age` and, where it is known, `Content-Length` among them. Not NUL-terminated.
   */
  const struct swrcache_field *fields;
  /**
   * How many.
   */
  size_t field_count;
  /**
   * Bytes of the body that `swrcache_reply_read` will give, -1 while that is not known.
   */
  int64_t body_length;
  /**
   * Seconds since the origin made or confirmed it.
   */
  uint64_t age;
  /**
   * Seconds of freshness left, negative when stale.
   */
  int64_t ttl;
  /**
   * 1 if the origin forbids to change the body on its way, such as to compress it (`no-transform`); else 0.
   */
  int no_transform;
  /**
   * 0.
   */
  uint32_t reserved;
} swrcache_head;

/**
 * Tells the head of a reply.
 *
 * Call it as often as you like; what `*head` points to lives as long as the reply and stays as it is. On failure `*head` is as
 * it was. One thread at a time.
 *
 * Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_EBUSY if another thread uses the reply.
 */
int swrcache_reply_head(const swrcache_reply *reply,
                        struct swrcache_head *head);

/**
 * Copies the fields of a reply's head as text, one line "NAME: VALUE" with CR LF for each, for callers to whom an array of pointers is
 * no use; the status line and the empty line at the end are yours.
 *
 * Copies at most `size` bytes with their NUL to `buffer`, which may be NULL if `size` is 0; `needed`, if not NULL, gets the size that
 * is needed. One thread at a time.
 *
 * Returns 0; SWRCACHE_ERANGE if the buffer is too small (and nothing was written to it); SWRCACHE_EINVAL for a NULL.
 */
int swrcache_reply_head_text(const swrcache_reply *reply,
                             char *buffer,
                             size_t size,
                             size_t *needed);

/**
 * Reads on in the body, without copying: fills up to `capacity` elements of `iov` with where the next bytes are.
 *
 * The bytes are the cache's own memory: don't write to them; they stay where they are until the reply is freed. `*count` is
 * how many elements were filled; 0 with success is the end of the body. On failure it is 0.
 *
 * One thread at a time.
 *
 * Returns 0; SWRCACHE_EAGAIN if the body is still being fetched and there is nothing more yet: read on when a
 * `swrcache_watch` becomes readable, or use `swrcache_reply_read_wait`; SWRCACHE_EBROKEN if the rest will never come: break the client's
 * connection off, so that it knows; SWRCACHE_EOUTGROWN, to the client that leads the fetch alone, if the rest did not fit into the cache:
 * send it on yourself; SWRCACHE_EINVAL for a NULL or a capacity of 0; SWRCACHE_EBUSY.
 */
int swrcache_reply_read(swrcache_reply *reply,
                        struct iovec *iov,
                        size_t capacity,
                        size_t *count);

/**
 * As `swrcache_reply_read`, but waits up to `timeout` milliseconds in this thread for more of a body that is being fetched.
 *
 * Returns as that, for a NULL too; SWRCACHE_EAGAIN means that the timeout has expired.
 */
int swrcache_reply_read_wait(swrcache_reply *reply,
                             uint64_t timeout,
                             struct iovec *iov,
                             size_t capacity,
                             size_t *count);

/**
 * Frees a reply: what it gave out is gone. NULL is ignored.
 * When no other thread uses it.
 */
void swrcache_reply_free(swrcache_reply *reply);

/* A fetch from the origin. */

/**
 * Tells the request to send to the origin: `method` ("GET", or "POST" if the client's request was one), `fields` as
 * `swrcache_fetch_fields` tells them, and of the request that led to the fetch `key`, `origin`, `target` and `user` as they were given
 * to the lookup; `flags` and `turn` are 0.
 *
 * The strings and the array live as long as the fetch; `method`, `origin` and `target` end with NUL, the key does not; `origin` and
 * `target` are NULL if they were not told. Before `swrcache_fetch_respond`, or later if it was asked for before; one thread at a time.
 * On failure all members but the size are 0.
 *
 * Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_ESTATE if the fetch has been answered before
 * this or `swrcache_fetch_fields` was first called.
 */
int swrcache_fetch_request(swrcache_fetch *fetch,
                           struct swrcache_request *request);

/**
 * Tells the header fields to send to the origin with a GET (a POST, if the client's request was one): the client's without
 * those of one connection, ranges and conditionals; in a background refresh also without cookies and credentials; and
 * `If-None-Match` and `If-Modified-Since` where the cache has something to be validated.
 * A server whose keys hold cookies (a currency, a language) adds those to the fields of a refresh, so that it brings
 * back the page of its key.
 *
 * `*fields` is an array of `*count`, which lives as long as the fetch; NULL and 0 on failure. Its strings are not
 * NUL-terminated. Before `swrcache_fetch_respond`; one thread at a time.
 *
 * Returns 0; SWRCACHE_EINVAL for a NULL; SWRCACHE_ESTATE if the fetch has been answered before this was first called.
 */
int swrcache_fetch_fields(swrcache_fetch *fetch,
                          const struct swrcache_field **fields,
                          size_t *count);

/**
 * Copies the fields that `swrcache_fetch_fields` tells as text, as `swrcache_reply_head_text` does.
 *
 * The buffer may be NULL if `size` is 0, `needed` may be NULL. One thread at a time.
 *
 * Returns 0; SWRCACHE_ERANGE if the buffer is too small (and nothing was written to it); SWRCACHE_ESTATE if the fetch has been answered
 * before its fields were first asked for; SWRCACHE_EINVAL for a NULL.
 */
int swrcache_fetch_fields_text(swrcache_fetch *fetch,
                               char *buffer,
                               size_t size,
                               size_t *needed);

/**
 * Tells the key of a fetch: that of the request that led to it.
 *
 * `*key` has `*len` bytes, not NUL-terminated, and lives as long as the fetch. One thread at a time.
 *
 * Returns 0; SWRCACHE_EINVAL for a NULL.
 */
int swrcache_fetch_key(const swrcache_fetch *fetch, const char **key, size_t *len);

/**
 * Whether no client waits for this fetch.
 *
 * Returns 1 for a background refresh, 0 for a fetch that a client waits for, or if `fetch` is NULL or in use by another thread.
 */
int swrcache_fetch_is_refresh(const swrcache_fetch *fetch);

enum swrcache_failure {
  /**
   * The connection to the origin failed, or broke.
   */
  SWRCACHE_FAIL_ERROR = 1,
  /**
   * The origin did not answer in time.
   */
  SWRCACHE_FAIL_TIMEOUT = 2,
  /**
   * The origin's response was empty or invalid.
   */
  SWRCACHE_FAIL_INVALID = 3,
  /**
   * You give it up for reasons of your own, such as the end of the server: the origin is not to blame.
   */
  SWRCACHE_FAIL_ABORTED = 4
};

/**
 * The head of the origin's response. Zero it, set `struct_size` and what there is.
 */
typedef struct swrcache_response {
  /**
   * `sizeof(swrcache_response)`.
   */
  size_t struct_size;
  /**
   * The status, 200 to 999: an interim response (1xx) is no answer yet.
   */
  int status;
  /**
   * `SWRCACHE_NO_CACHE` if a condition of yours says of the response that it is not to be stored, or 0.
   */
  uint32_t flags;
  /**
   * The header fields, in order. A response with more than 256 lines, a name of more than 256 bytes, a value of more than 32 KiB, 64
   * KiB in all, or a line that can't stand in a header is not stored.
   */
  const struct swrcache_field *fields;
  /**
   * How many.
   */
  size_t field_count;
  /**
   * The fields that clients are to see, if others than `fields`; NULL if the same.
   */
  const struct swrcache_field *shown;
  /**
   * How many.
   */
  size_t shown_count;
  /**
   * When the request was sent to the origin (Unix time in milliseconds); 0 is when the fetch was made, or now.
   */
  uint64_t request_time;
  /**
   * `SWRCACHE_FAIL_ERROR` and the like if you made this response yourself, such as an error page, because the origin failed
   * so; 0 if it is the origin's.
   */
  int failure;
  /**
   * Must be 0.
   */
  uint32_t reserved;
} swrcache_response;

enum swrcache_todo {
  /**
   * Store: feed the body with `swrcache_fetch_write`, then call `swrcache_fetch_finish`. A client that waits may be given
   * `swrcache_fetch_reply` at once if that succeeds: it then follows the body as it grows.
   */
  SWRCACHE_DO_STORE = 1,
  /**
   * Reply: the fetch is over; answer the client that waits with `swrcache_fetch_reply`. Drop the origin's response.
   */
  SWRCACHE_DO_REPLY = 2,
  /**
   * Relay: the fetch is over and nothing is stored; send the origin's response (or your own 502 or 504, if there is none) to the
   * client that waits. If the body outgrew the cache (`swrcache_fetch_write` was refused) and you have sent or kept none of it,
   * `swrcache_fetch_reply` gives its head and what the cache took: read that to SWRCACHE_EOUTGROWN, then send the rest.
   */
  SWRCACHE_DO_RELAY = 3,
  /**
   * Nothing: the fetch is over and no client waits. Drop the origin's response.
   */
  SWRCACHE_DO_NOTHING = 4,
  /**
   * Gateway timeout: the fetch is over; the origin can't be reached, and it forbids to use the stored response without it
   * (`must-revalidate` and the like, RFC 9111 section 5.2.2.2). Send 504 to the client that waits.
   */
  SWRCACHE_DO_GATEWAY_TIMEOUT = 5,
  /**
   * Ask again: the origin's 304 does not fit what is stored. Drop it, and ask the origin once more, now, with what
   * `swrcache_fetch_fields` tells anew (it has no conditions); then call `swrcache_fetch_respond` or `swrcache_fetch_fail` as for the
   * first answer. Comes once in a fetch.
   */
  SWRCACHE_DO_ASK_AGAIN = 6
};

/**
 * The origin has answered: tells what to do with the response, one of `SWRCACHE_DO_STORE`, `_REPLY`, `_RELAY`, `_NOTHING`,
 * `_ASK_AGAIN`.
 *
 * Call it when the head has come, before the body. The library keeps none of your pointers. `*todo` is 0 on failure.
 *
 * One thread at a time.
 *
 * Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments (the fetch is as it was); SWRCACHE_ESTATE if the fetch has been
 * answered already.
 */
int swrcache_fetch_respond(swrcache_fetch *fetch,
                           const struct swrcache_response *response,
                           int *todo);

/**
 * The next bytes of the body, as the origin sent them (without chunked coding).
 *
 * One thread at a time. `bytes` may be NULL if `len` is 0.
 *
 * Returns 0 when all were taken. After any of these errors none of `bytes` was taken, and the cache takes no more of this body:
 * SWRCACHE_ETOOLARGE if the body is larger than the cache takes, or than announced; SWRCACHE_ENOSPC if there is no room. Call
 * `swrcache_fetch_finish` at once, which tells what the client gets: what the cache has taken and then, from you, `bytes` and all that
 * follows (`SWRCACHE_DO_RELAY`); or, if the body is longer than announced, what it gets when a body breaks off. A reply that already
 * follows the fetch ends in SWRCACHE_EOUTGROWN where you go on; replies of other clients end in SWRCACHE_EBROKEN. A host that can't go
 * on may give its client the stale copy, if there is one: `swrcache_fetch_stale`.
 * SWRCACHE_ESTATE if this is no time to write; SWRCACHE_EINVAL for a NULL.
 */
int swrcache_fetch_write(swrcache_fetch *fetch,
                         const char *bytes,
                         size_t len);

/**
 * The body is complete. Tells what to do, one of `SWRCACHE_DO_REPLY`, `_RELAY`, `_NOTHING`; 0 on failure.
 *
 * A body shorter than announced counts as broken off, as in `swrcache_fetch_fail`. After `swrcache_fetch_write` was refused it tells
 * how to go on.
 *
 * One thread at a time.
 *
 * Returns 0; SWRCACHE_ESTATE if there is nothing to finish; SWRCACHE_EINVAL for a NULL.
 */
int swrcache_fetch_finish(swrcache_fetch *fetch,
                          int *todo);

/**
 * The fetch failed: before a response, or in the middle of its body.
 *
 * `failure` is one of `SWRCACHE_FAIL_ERROR` and the like. `retry_after` is a pause that the origin asked for, in milliseconds from now;
 * 0 is none. Tells what to do, one of `SWRCACHE_DO_REPLY` (a stale response stands
 * in, or a client follows a body that broke off), `_RELAY` (there is nothing: answer 502 or 504), `_GATEWAY_TIMEOUT` (answer 504),
 * `_NOTHING`; 0 on failure.
 *
 * One thread at a time.
 *
 * Returns 0; SWRCACHE_ESTATE if the fetch is over; SWRCACHE_EINVAL for a NULL or an unknown failure.
 */
int swrcache_fetch_fail(swrcache_fetch *fetch,
                        int failure,
                        uint64_t retry_after,
                        int *todo);

/**
 * Gives the client that leads this fetch its answer.
 *
 * `*reply` is yours, to be freed with `swrcache_reply_free`; NULL on failure. It does not need the fetch any more. After
 * `SWRCACHE_DO_STORE` it succeeds if the body may be followed as it grows; after `SWRCACHE_DO_REPLY` always, unless a stale copy is to
 * stand in and you come when its window is over (answer 502 or 504 then); after `SWRCACHE_DO_RELAY` if a part of the body has been
 * written.
 *
 * One thread at a time for the fetch; the reply may go to another.
 *
 * Returns 0; SWRCACHE_EAGAIN if there is nothing yet; SWRCACHE_ESTATE if there will be nothing; SWRCACHE_EINVAL for a NULL.
 */
int swrcache_fetch_reply(swrcache_fetch *fetch,
                         swrcache_reply **reply);

/**
 * Gives the stale copy that may stand in now, for a client that has waited long enough (`swrcache_decision.until`) while the
 * fetch goes on: for the header, or for a body that comes in beside the copy.
 *
 * `*reply` is yours, to be freed with `swrcache_reply_free`; NULL on failure.
 *
 * One thread at a time for the fetch; the reply may go to another.
 *
 * Returns 0; SWRCACHE_ESTATE if there is none, if its time is over, or if the fetch is over; SWRCACHE_EINVAL for a NULL.
 */
int swrcache_fetch_stale(swrcache_fetch *fetch,
                         swrcache_reply **reply);

/**
 * Why the fetch went as it did, one of a fixed set of words; for the log.
 *
 * Never NULL; static.
 * One thread at a time; "" for NULL, or if another thread uses the fetch.
 */
const char *swrcache_fetch_reason(const swrcache_fetch *fetch);

/**
 * The member for `Cache-Status` (RFC 9211) of a response that is relayed.
 *
 * As `swrcache_pass_status`: the buffer may be NULL if `size` is 0, `needed` may be NULL. One thread at a time.
 *
 * Returns as that.
 */
int swrcache_fetch_status(const swrcache_fetch *fetch, char *buffer, size_t size, size_t *needed);

/**
 * Frees a fetch. NULL is ignored. One that is not over is given up: nothing is remembered of it, and the next request may
 * fetch.
 * When no other thread uses it.
 */
void swrcache_fetch_free(swrcache_fetch *fetch);

/* A request that the cache takes no part in. */

/**
 * Says how the origin answered a request that was told to pass (`SWRCACHE_PASS`); call it when the head has come.
 *
 * A method that is not cached and not safe, such as PUT, makes what is stored for the key invalid, unless it failed, and with it
 * what `Location` and `Content-Location` name on the same origin (RFC 9111 section 4.4); and the cache groups that
 * `Cache-Group-Invalidation` names (RFC 9875). These need `request->origin`, the others `request->target` too. A HEAD brings what is
 * stored up to date, or ends it (section 4.3.5). Nothing comes of others, so that it may be called for each that passed.
 *
 * Any number of threads at a time. Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_EAGAIN if
 * the cache was too busy and perhaps not all of it went: call it again; SWRCACHE_ESTATE in a process that was forked and has not
 * called `swrcache_after_fork`, or can't.
 */
int swrcache_passed(swrcache_cache *cache,
                    const swrcache_policy *policy,
                    const struct swrcache_request *request,
                    const struct swrcache_response *response);

/**
 * The member for `Cache-Status` (RFC 9211) of a request that passed, to be appended to the origin's response.
 *
 * `decision` is what a lookup with `SWRCACHE_PASS` gave; `status` is the origin's, or 0. Copies at most `size` bytes with their
 * NUL to `buffer`; `needed`, if not NULL, gets the size that is needed. Replies carry theirs already.
 *
 * Any thread.
 *
 * Returns 0; SWRCACHE_ERANGE if the buffer is too small (and nothing was written to it); SWRCACHE_EINVAL, also for a decision
 * that is no pass.
 */
int swrcache_pass_status(const swrcache_policy *policy,
                         const struct swrcache_decision *decision,
                         int status,
                         char *buffer,
                         size_t size,
                         size_t *needed);

/* Waiting in an event loop. */

/**
 * Makes a watcher: a descriptor that becomes readable when something has moved that this process waits for.
 *
 * Each event loop has one of its own, as many as there are: every watcher reports every wake-up, and none takes one from another, nor
 * from threads that wait (`swrcache_lookup_wait`, `swrcache_wait`, `swrcache_reply_read_wait`). `*watch` is yours, to be freed with
 * `swrcache_watch_free`; NULL on failure. It is of this process alone: make it after `swrcache_after_fork`. Make it before the loop
 * first looks up.
 *
 * Any thread.
 *
 * Returns 0; SWRCACHE_ESYS if the system refused a descriptor; SWRCACHE_EINVAL for a NULL.
 */
int swrcache_watch_new(swrcache_cache *cache,
                       swrcache_watch **watch);

/**
 * Tells the descriptor to watch for reading.
 *
 * When it is readable, call `swrcache_watch_clear`, then look up again all requests of this loop that were told to wait, and read on
 * in all its replies that said SWRCACHE_EAGAIN. It may become readable without a change, also the first time. It is an epoll, to be watched
 * level-triggered or edge-triggered by poll, select, epoll or io_uring; neither read nor close it: it lives as long as the watcher.
 * Where processes share a `SWRCACHE_FILE` that were not forked from one another, or are more than the options said, nobody can wake another:
 * then it becomes readable by itself, 20 ms after something was to be waited for.
 *
 * Any thread.
 *
 * Returns 0; SWRCACHE_ESTATE in a process that was forked after the watcher was made; SWRCACHE_EINVAL for a NULL. On failure `*fd` is
 * -1.
 */
int swrcache_watch_fd(const swrcache_watch *watch,
                      int *fd);

/**
 * Makes the descriptor unreadable again. Clear first, then look what has moved.
 *
 * Any thread.
 *
 * Returns 0; SWRCACHE_ESTATE in a process that was forked after the watcher was made; SWRCACHE_EINVAL for a NULL.
 */
int swrcache_watch_clear(swrcache_watch *watch);

/**
 * Frees a watcher and closes its descriptor: take that out of the loop before. NULL is ignored.
 * When no other thread uses it.
 */
void swrcache_watch_free(swrcache_watch *watch);

/* Threads that fetch, for a server without an event loop. */

/**
 * Carries out a fetch: asks the origin, and calls `swrcache_fetch_respond`, `_write`, `_finish` or `_fail`.
 *
 * Called in a thread of the refresher, several at a time. The fetch is the refresher's: don't free or keep it. If it is not
 * over on return it is given up. Must not throw or longjmp out.
 */
typedef void (*swrcache_carry)(void *user, swrcache_fetch *fetch);

/**
 * How to make a refresher. Zero it, set `struct_size` and what you need.
 */
typedef struct swrcache_refresher_options {
  /**
   * `sizeof(swrcache_refresher_options)`.
   */
  size_t struct_size;
  /**
   * How many threads, at most 1024; 0 is 4.
   */
  uint32_t threads;
  /**
   * How many fetches may wait for a thread; 0 is 64.
   */
  uint32_t queue;
  /**
   * The function that fetches; not NULL.
   */
  swrcache_carry carry;
  /**
   * Handed to `carry`.
   */
  void *user;
} swrcache_refresher_options;

/**
 * Makes a refresher for `cache` and starts its threads.
 *
 * `*refresher` is yours, to be freed with `swrcache_refresher_free`; NULL on failure. Make it after a fork: threads don't
 * follow one.
 *
 * Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_ESYS if a thread could not be started.
 */
int swrcache_refresher_new(swrcache_cache *cache,
                           const struct swrcache_refresher_options *options,
                           swrcache_refresher **refresher);

/**
 * Hands a fetch over. Never waits.
 *
 * Any thread.
 *
 * Returns 0, and the fetch is the refresher's: don't use it any more. After any error it is still yours: SWRCACHE_EFULL if the
 * queue is full (counted in `queue_refused`): free the fetch, and a later request will refresh; SWRCACHE_EINVAL for a NULL.
 */
int swrcache_refresher_submit(swrcache_refresher *refresher,
                              swrcache_fetch *fetch);

/**
 * Ends a refresher: what waits in the queue is given up, what runs is waited for, the threads are joined. NULL is ignored.
 *
 * Not from within `carry`.
 */
void swrcache_refresher_free(swrcache_refresher *refresher);

/* Compressing stored responses once. */

/**
 * Encodes one stored response, once, in the codings that the policy of a request names (`compress`), if one is asked for within `timeout`
 * milliseconds; 0 does not wait. From then on clients that accept a coding are served the encoded bytes.
 *
 * Call it from a thread of your own in a loop, with a timeout that lets the thread look whether it is to end; or with 0 when the server is
 * idle: a page takes some milliseconds, the longest body that is encoded (16 MiB) a second or more. From the first call of this or
 * `swrcache_encode_pending` on, lookups of this process ask for what clients would take and is not there yet; before it, for nothing. In
 * workers that are forked call it after `swrcache_after_fork`, and not before the fork. Whatever becomes of the call or its process, others
 * see an encoding whole or not at all.
 *
 * Any thread, several at a time; a lookup never waits for it. All calls have returned before `swrcache_close`.
 *
 * Returns 0 if it has dealt with a response; SWRCACHE_ETIMEDOUT if none was asked for; SWRCACHE_EUNSUPPORTED if the library was built
 * without encoders; SWRCACHE_ESTATE in a process that was forked after encoding had begun; SWRCACHE_EINVAL if `cache` is NULL.
 */
int swrcache_encode(swrcache_cache *cache,
                    uint64_t timeout);

/**
 * Tells how many stored responses wait for `swrcache_encode`, at most 64: for a server that encodes when it is idle.
 *
 * Any thread.
 *
 * Returns 0, or as `swrcache_encode`; SWRCACHE_EINVAL for a NULL. On failure `*count` is 0.
 */
int swrcache_encode_pending(swrcache_cache *cache, size_t *count);

/* Storing and purging. */

/**
 * Stores a response to a request that you have from elsewhere, such as to warm the cache; it takes the place of what is stored for the
 * request.
 *
 * `request` and `response` as for a lookup and `swrcache_fetch_respond`; `flags` and `turn` of the request are not looked at. `body` has
 * `len` bytes and may be NULL if that is 0.
 *
 * Any number of threads at a time.
 *
 * Returns 0; SWRCACHE_ENOTSTORED if the response may not be stored (`swrcache_last_error` has the reason, one of the fixed set of words);
 * SWRCACHE_ETOOLARGE, SWRCACHE_ENOSPC if there is no room for it; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments, such
 * as a method that the policy does not cache.
 */
int swrcache_store(swrcache_cache *cache,
                   const swrcache_policy *policy,
                   const struct swrcache_request *request,
                   const struct swrcache_response *response,
                   const char *body,
                   size_t len);

enum swrcache_purge_kind {
  /**
   * Purge: the key itself, with all its variants.
   */
  SWRCACHE_PURGE_KEY = 0,
  /**
   * Purge: all keys that begin so.
   */
  SWRCACHE_PURGE_PREFIX = 1,
  /**
   * Purge: all responses with this tag.
   */
  SWRCACHE_PURGE_TAG = 2,
  /**
   * Purge: everything.
   */
  SWRCACHE_PURGE_ALL = 3,
  /**
   * Or this to the kind of a purge to mark entries stale instead of dropping them.
   */
  SWRCACHE_PURGE_SOFT = 256
};

/**
 * Purges. A purge wins over a fill or refresh that began before it.
 *
 * `kind` is one of `SWRCACHE_PURGE_KEY`, `_PREFIX`, `_TAG`, `_ALL`, perhaps with `SWRCACHE_PURGE_SOFT`; `what` is the key,
 * prefix or tag (`len` may be `SWRCACHE_NUL`), and is not looked at with `_ALL`. `purged`, if not NULL, gets the number of
 * responses; 0 on failure. A key takes about a microsecond. The other kinds look through the memory, in which other threads go on
 * meanwhile: a tag takes some milliseconds with a hundred thousand responses, a prefix or all some 200 with a million. An event loop
 * takes a `swrcache_purger` for them.
 *
 * Any number of threads at a time.
 *
 * Returns 0, also if nothing matched; SWRCACHE_EAGAIN if the cache was too busy and perhaps not all was purged: call it
 * again; SWRCACHE_ESTATE in a process that was forked and has not called `swrcache_after_fork`, or can't; SWRCACHE_EREGION if the
 * memory was found damaged; SWRCACHE_EINVAL.
 */
int swrcache_purge(swrcache_cache *cache,
                   int kind,
                   const char *what,
                   size_t len,
                   uint64_t *purged);

/**
 * Begins a purge that is done in pieces, for an event loop: arguments as of `swrcache_purge`.
 *
 * `*purger` is yours, to be freed with `swrcache_purger_free`; NULL on failure. From now on nothing that is being fetched comes to be
 * served as if it had not been purged; what is stored goes with `swrcache_purger_step`.
 *
 * Any number of threads at a time.
 *
 * Returns 0; SWRCACHE_ESTATE in a process that was forked and has not called `swrcache_after_fork`, or can't; SWRCACHE_EINVAL.
 */
int swrcache_purger_new(swrcache_cache *cache,
                        int kind,
                        const char *what,
                        size_t len,
                        swrcache_purger **purger);

/**
 * Goes on with a purge for about a millisecond.
 *
 * `purged`, if not NULL, gets the number of responses so far; 0 for a purger that can't be used. One thread at a time.
 *
 * Returns 0 when it is done; SWRCACHE_EAGAIN if there is more: call it again, between other work (at the next turn of an event loop);
 * SWRCACHE_EREGION if the memory was found damaged; SWRCACHE_EINVAL if `purger` is NULL.
 */
int swrcache_purger_step(swrcache_purger *purger,
                         uint64_t *purged);

/**
 * Frees a purger. NULL is ignored. A purge that is not done has no effect on what it has not come to.
 * When no other thread uses it.
 */
void swrcache_purger_free(swrcache_purger *purger);

/* Figures. */

/**
 * Figures of a cache. The first part is of the memory, all processes together; the second of this process since it opened
 * the cache. Each figure is right, together they may be a moment apart.
 */
typedef struct swrcache_statistics {
  /**
   * `sizeof(swrcache_statistics)`, set by you.
   */
  size_t struct_size;
  /**
   * Bytes of the memory.
   */
  uint64_t size;
  /**
   * Bytes that can hold objects.
   */
  uint64_t capacity;
  /**
   * Bytes of these in use.
   */
  uint64_t used;
  /**
   * Bytes of keys, heads and bodies.
   */
  uint64_t payload;
  /**
   * Stored responses.
   */
  uint64_t objects;
  /**
   * Responses stored since the memory was laid out.
   */
  uint64_t inserted;
  /**
   * Responses dropped to make room.
   */
  uint64_t evictions;
  /**
   * Responses dropped because their time was over: all their windows, or `inactive`.
   */
  uint64_t expired;
  /**
   * Times that there was no room.
   */
  uint64_t refused;
  /**
   * Processes that use the memory.
   */
  uint64_t processes;
  /**
   * Processes that died in it and were cleaned up after.
   */
  uint64_t reaped;
  /**
   * The longest body that is stored.
   */
  uint64_t max_object;
  /**
   * Requests answered with `HIT`.
   */
  uint64_t hits;
  /**
   * Requests that nothing stored answered.
   */
  uint64_t misses;
  /**
   * Requests that bypassed.
   */
  uint64_t bypasses;
  /**
   * Requests that waited for a new response to a stale one.
   */
  uint64_t expireds;
  /**
   * Requests answered with a stale response because the origin failed.
   */
  uint64_t stales;
  /**
   * Requests answered with a stale response, refreshed in the background.
   */
  uint64_t updatings;
  /**
   * Requests that waited for the origin's 304.
   */
  uint64_t revalidateds;
  /**
   * Requests told to wait for the fetch of another.
   */
  uint64_t waits;
  /**
   * Fetches begun, of both kinds.
   */
  uint64_t fetches;
  /**
   * Background refreshes among them.
   */
  uint64_t refreshes;
  /**
   * Fetches that failed.
   */
  uint64_t failures;
  /**
   * Fetches that refreshers took.
   */
  uint64_t queued;
  /**
   * Fetches that refreshers refused because they were full.
   */
  uint64_t queue_refused;
  /**
   * Responses purged.
   */
  uint64_t purged;
  /**
   * Background refreshes that are not over.
   */
  uint64_t refreshing;
  /**
   * From here on of all processes that ever used the memory, as in `swrcache_stats_text`, which has the rest of the tree. Clients that
   * waited for a revalidation inside the stale-while-revalidate window: 0, unless `background_update` is `off`.
   */
  uint64_t waited;
  /**
   * Requests that shared the fetch of another.
   */
  uint64_t collapsed;
  /**
   * Background refreshes that brought a new response.
   */
  uint64_t refresh_modified;
  /**
   * Background refreshes that brought a 304, or the same bytes.
   */
  uint64_t refresh_not_modified;
  /**
   * Background refreshes that failed.
   */
  uint64_t refresh_failed;
  /**
   * Background refreshes that were left to a later request.
   */
  uint64_t refresh_deferred;
  /**
   * Requests to the origin.
   */
  uint64_t origin_requests;
  /**
   * Bytes of bodies that the origin sent for the store.
   */
  uint64_t origin_bytes;
  /**
   * Requests that the origin was spared.
   */
  uint64_t saved_requests;
  /**
   * Bytes of bodies that the origin was spared.
   */
  uint64_t saved_bytes;
} swrcache_statistics;

/**
 * Tells the figures. Any thread; takes no lock.
 *
 * Returns 0; SWRCACHE_EINVAL for a NULL; SWRCACHE_ESIZE if `statistics->struct_size` is too small. On failure
 * `*statistics` is as it was.
 */
int swrcache_stats(const swrcache_cache *cache, struct swrcache_statistics *statistics);

enum swrcache_stats_form {
  /**
   * As JSON, described by `docs/statistics.schema.json`.
   */
  SWRCACHE_STATS_JSON = 0,
  /**
   * As Prometheus reads it (text exposition format 0.0.4).
   */
  SWRCACHE_STATS_PROMETHEUS = 1,
  /**
   * As a page for a browser, which then asks its own URL for the JSON, with `?format=json`.
   */
  SWRCACHE_STATS_HTML = 2
};

/**
 * Takes a text of so many bytes, which lives as long as the call. Must not call the library, nor throw or longjmp out.
 */
typedef void (*swrcache_sink)(void *user, const char *text, size_t length);

/**
 * Hands the statistics of the cache to `sink`, in one piece, in the form `SWRCACHE_STATS_JSON`, `SWRCACHE_STATS_PROMETHEUS` or
 * `SWRCACHE_STATS_HTML`. `name` is what the cache is called there, as a zone of nginx is; `user` is handed on, and may be NULL.
 *
 * What is counted is of all processes that ever used the memory, and outlives them as the memory does. What is stored is walked over, which
 * takes some seconds for millions of entries; others go on meanwhile. Any thread.
 *
 * Returns 0; SWRCACHE_EINVAL for a NULL, a `name` that is not UTF-8 or another form; SWRCACHE_EAGAIN if the cache was too busy: call it
 * again. `sink` is called in the first case alone.
 */
int swrcache_stats_text(const swrcache_cache *cache,
                        const char *name,
                        int form,
                        swrcache_sink sink,
                        void *user);

/* The rules alone, for a server with storage of its own. */

/**
 * What a response is good for. Set `struct_size`; the rest is filled in. Times are Unix times in milliseconds.
 */
typedef struct swrcache_verdict {
  /**
   * `sizeof(swrcache_verdict)`, set by you.
   */
  size_t struct_size;
  /**
   * 1 if it may be stored, 0 if not. The times are 0 if not.
   */
  int storable;
  /**
   * 1 if every use has to be validated, however stale it is (`must-revalidate` and its kin).
   */
  int binds;
  /**
   * Why not; "" if it may. Static, never NULL.
   */
  const char *reason;
  /**
   * Fresh until then.
   */
  uint64_t fresh_until;
  /**
   * stale-while-revalidate until then; 0 is no window.
   */
  uint64_t swr_until;
  /**
   * stale-if-error until then; 0 is no window.
   */
  uint64_t sie_until;
  /**
   * How old it was when it came, in milliseconds.
   */
  uint64_t initial_age;
  /**
   * How long it is fresh from its making, in milliseconds.
   */
  uint64_t lifetime;
} swrcache_verdict;

/**
 * Judges a response to a request: whether it may be stored in a shared cache, and how long it is good for what
 * (RFC 9111, RFC 5861, RFC 9213).
 *
 * `now` is when the response came (Unix time in milliseconds); `response->request_time` 0 is the same time. Pure: any thread,
 * no cache.
 *
 * Returns 0, also if it may not be stored; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments (`*verdict` is then as it was).
 */
int swrcache_judge(const swrcache_policy *policy,
                   const struct swrcache_request *request,
                   const struct swrcache_response *response,
                   uint64_t now,
                   struct swrcache_verdict *verdict);

enum swrcache_life_phase {
  /**
   * Younger than its lifetime: serve it.
   */
  SWRCACHE_PHASE_FRESH = 0,
  /**
   * Stale inside stale-while-revalidate: serve it, and refresh it where no client waits.
   */
  SWRCACHE_PHASE_SWR = 1,
  /**
   * Stale inside stale-if-error: ask the origin, and serve it if that fails.
   */
  SWRCACHE_PHASE_SIE = 2,
  /**
   * Too old to be served without the origin's word.
   */
  SWRCACHE_PHASE_TOO_OLD = 3
};

/**
 * Tells in which phase of its life a response is at `now`: `SWRCACHE_PHASE_FRESH` and the like.
 *
 * Pure; any thread. Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments, with `*phase` as it was.
 */
int swrcache_phase(const struct swrcache_verdict *verdict,
                   uint64_t now,
                   int *phase);

/**
 * The validators of a response that a server keeps itself.
 */
typedef struct swrcache_validators {
  /**
   * `sizeof(swrcache_validators)`.
   */
  size_t struct_size;
  /**
   * Its status.
   */
  int status;
  /**
   * Must be 0.
   */
  uint32_t flags;
  /**
   * Its `ETag` with quotes and all, ending with NUL; NULL if it has none.
   */
  const char *etag;
  /**
   * Its `Last-Modified` as it stands in the field, ending with NUL; NULL if it has none.
   */
  const char *last_modified;
  /**
   * Its `Date`, Unix time in milliseconds.
   */
  uint64_t date;
  /**
   * Bytes of its body.
   */
  uint64_t length;
} swrcache_validators;

enum swrcache_answer {
  /**
   * Send the whole response.
   */
  SWRCACHE_ANSWER_FULL = 200,
  /**
   * Send the ranges that were told.
   */
  SWRCACHE_ANSWER_PARTIAL = 206,
  /**
   * Send 304.
   */
  SWRCACHE_ANSWER_NOT_MODIFIED = 304,
  /**
   * Send 412.
   */
  SWRCACHE_ANSWER_PRECONDITION_FAILED = 412,
  /**
   * Send 416.
   */
  SWRCACHE_ANSWER_UNSATISFIABLE = 416
};

/**
 * A range of bytes.
 */
typedef struct swrcache_range {
  /**
   * Offset of the first byte.
   */
  uint64_t first;
  /**
   * How many bytes.
   */
  uint64_t length;
} swrcache_range;

/**
 * Evaluates a client's conditionals and ranges against a response (RFC 9110 sections 13 and 14).
 *
 * `*answer` is one of `SWRCACHE_ANSWER_FULL` and the like. With `SWRCACHE_ANSWER_PARTIAL`, `*count` is how many ranges there
 * are, of which at most `capacity` were written to `ranges` (which may be NULL if `capacity` is 0); otherwise it is 0. Pure; any
 * thread.
 *
 * Returns 0; SWRCACHE_EINVAL, SWRCACHE_ESIZE for a NULL and other bad arguments; SWRCACHE_ERANGE if there are more than `capacity` ranges.
 */
int swrcache_conditional(const struct swrcache_request *request,
                         const struct swrcache_validators *validators,
                         int *answer,
                         struct swrcache_range *ranges,
                         size_t capacity,
                         size_t *count);

#ifdef __cplusplus
}
#endif

#endif
