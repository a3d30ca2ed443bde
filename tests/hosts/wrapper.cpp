// What swrcache.hpp has beside the servers' use of it: tests/hosts builds and runs this.
#undef NDEBUG
#include <cassert>
#include <cstring>
#include <poll.h>

#include "swrcache.hpp"

int main() {
    swrcache::cache cache(8 << 20);
    swrcache::policy outer;
    outer.set("valid", "200 1m");
    swrcache::policy inner;
    inner.set("lock", "off").merge(outer);
    swrcache::policy policy = outer.copy();
    swrcache::watch watch(cache);

    // A body that grows: nothing yet is no error, the end is no element.
    auto decided = cache.lookup(policy, "GET", "key", {{"X-Own", "1"}}, false);
    assert(decided.action == SWRCACHE_FETCH && decided.fetch);
    const swrcache_request request = decided.fetch->request();
    assert(!std::strcmp(request.method, "GET") && request.field_count == 1);
    assert(decided.fetch->respond(200, {}) == SWRCACHE_DO_STORE);
    auto reply = decided.fetch->answer();
    struct iovec piece;
    assert(reply && !reply->read(&piece, 1));
    try {
        reply->for_each_piece([](std::string_view) {}, 1);
        assert(false);
    } catch (const swrcache::error &error) {
        assert(error.code() == SWRCACHE_EAGAIN);
    }
    watch.clear();
    decided.fetch->write("body");
    struct pollfd rung = {watch.fd(), POLLIN, 0};
    assert(poll(&rung, 1, 10000) == 1);
    watch.clear();
    assert(reply->read(&piece, 1) == std::size_t{1} && piece.iov_len == 4);
    assert(decided.fetch->finish() == SWRCACHE_DO_REPLY);
    assert(reply->read(&piece, 1) == std::size_t{0});

    swrcache::purger purger(cache, SWRCACHE_PURGE_PREFIX, "k");
    std::optional<std::uint64_t> purged;
    while (!(purged = purger.step())) {
    }
    assert(*purged == 1);
}
