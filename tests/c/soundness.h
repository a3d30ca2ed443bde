/* What the parts of soundness.c share. */
#ifndef SOUNDNESS_H
#define SOUNDNESS_H
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "swrcache.h"

extern int checks;

#define IS(code, expected)                                                                                         \
    do {                                                                                                           \
        int is_ = (code);                                                                                          \
        __atomic_add_fetch(&checks, 1, __ATOMIC_RELAXED);                                                          \
        if (is_ != (expected)) {                                                                                   \
            fprintf(stderr, "%s:%d: %s is %d (%s; %s), not %s\n", __FILE__, __LINE__, #code, is_, swrcache_strerror(is_), \
                    swrcache_last_error(), #expected);                                                             \
            abort();                                                                                               \
        }                                                                                                          \
    } while (0)
#define HOLDS(what) IS(!(what), 0)

/* The caller's clock, in milliseconds. */
extern uint64_t clock_at;
uint64_t at(void *user);

swrcache_cache *open_cache(int memory);
swrcache_policy *new_policy(void);
swrcache_decision look(swrcache_cache *cache, swrcache_policy *policy, const char *key);

/* Every response bears the tag "all", and the others in "tags". */
extern const char *tags;

int answer(swrcache_fetch *fetch, int status, const char *control);
void store(swrcache_cache *cache, swrcache_policy *policy, const char *key, const char *control, const char *body);
int is_stored(swrcache_cache *cache, swrcache_policy *policy, const char *key);

/* arguments.c */
void nulls(void);
void lies(void);
/* order.c */
void order(void);
void requests(void);
void life(void);
/* encoded.c */
void encoded(void);
/* outgrown.c */
void outgrown(void);
/* rules.c */
void purges(void);
void passes(void);
void conditions(void);
void pure(void);
void nested(void);
void warmed(void);
void peeked(void);
void late(void);
void counted(void);
/* processes.c */
void forked(void);
void strangers(void);
void file(void);
void dead_fillers(void);
/* threads.c */
void full(void);
void threads(void);
/* watchers.c */
void watchers(void);
void given_back(void);

#endif
