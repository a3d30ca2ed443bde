// swrcache.hpp, all of it: tests/hosts builds and runs this.
#undef NDEBUG
#include <cassert>
#include <cstring>
#include <poll.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "swrcache.hpp"

namespace {

const swrcache::response fresh(200, {{"Cache-Control", "max-age=60"}});

template <typename F>
int code_of(F &&call) {
    try {
        call();
    } catch (const swrcache::error &error) {
        return error.code();
    }
    return SWRCACHE_OK;
}

// A body that grows: nothing yet is no error, the end is no element.
void grows(swrcache::cache &cache, const swrcache::policy &policy) {
    swrcache::watch watch(cache);
    int mine = 0;
    swrcache::request asked("GET", "key", {{"X-Own", "1"}});
    asked.origin = "https://example.com";
    asked.target = "/path?query";
    asked.user = &mine;
    auto decided = cache.lookup(policy, asked);
    assert(decided.action == SWRCACHE_FETCH && decided.status == SWRCACHE_STATUS_MISS && decided.fetch);
    assert(decided.fetch->key() == "key" && !decided.fetch->is_refresh());
    const swrcache_request request = decided.fetch->request();
    assert(!std::strcmp(request.method, "GET") && request.field_count == 1 && request.user == &mine);
    assert(!std::strcmp(request.origin, "https://example.com") && !std::strcmp(request.target, "/path?query"));
    assert(decided.fetch->fields_text() == "X-Own: 1\r\n");
    decided.fetch->fields_to_send([](std::string_view name, std::string_view value) { assert(name == "X-Own" && value == "1"); });
    assert(!decided.fetch->answer());

    const auto second = cache.lookup(policy, asked);
    assert(second.action == SWRCACHE_WAIT && !cache.wait(second.ticket, cache.now() + 1));
    assert(cache.peek(policy, asked).action == SWRCACHE_WAIT);
    assert(decided.fetch->respond(fresh) == SWRCACHE_DO_STORE);
    auto reply = decided.fetch->answer();
    struct iovec piece;
    assert(reply && !reply->read(&piece, 1) && !reply->read_wait(1, &piece, 1));
    assert(reply->for_each_piece([](std::string_view) {}) == swrcache::reply::end::later);
    watch.clear();
    assert(decided.fetch->write("body"));
    struct pollfd rung = {watch.fd(), POLLIN, 0};
    assert(poll(&rung, 1, 10000) == 1);
    assert(reply->read(&piece, 1) == std::size_t{1} && piece.iov_len == 4);
    assert(decided.fetch->finish() == SWRCACHE_DO_REPLY && decided.fetch->reason() == "fetched");
    assert(reply->read(&piece, 1) == std::size_t{0});
    assert(reply->head().status == 200 && reply->head_text().find("Cache-Control: max-age=60\r\n") != std::string::npos);
    assert(!decided.fetch->stale());
    assert(decided.fetch->status().rfind("swrcache; fwd=uri-miss", 0) == 0);
}

// What outgrows the cache is gone on with, what breaks off is an error.
void ends(swrcache::cache &cache, const swrcache::policy &policy) {
    const std::string large(2 << 20, 'x');
    auto led = cache.lookup(policy, swrcache::request("GET", "large"));
    assert(led.fetch->respond(fresh) == SWRCACHE_DO_STORE && led.fetch->write("taken"));
    assert(!led.fetch->write(large) && led.fetch->finish() == SWRCACHE_DO_RELAY);
    std::string taken;
    auto answer = led.fetch->answer();
    assert(answer->for_each_piece([&](std::string_view bytes) { taken += bytes; }) == swrcache::reply::end::outgrown);
    assert(taken == "taken");

    auto broken = cache.lookup(policy, swrcache::request("GET", "broken"));
    assert(broken.fetch->respond(fresh) == SWRCACHE_DO_STORE);
    auto reply = broken.fetch->answer();
    assert(broken.fetch->fail(SWRCACHE_FAIL_ERROR) == SWRCACHE_DO_REPLY);
    assert(code_of([&] { reply->for_each_piece([](std::string_view) {}); }) == SWRCACHE_EBROKEN);
    assert(code_of([&] { broken.fetch->finish(); }) == SWRCACHE_ESTATE);
}

// Storing, looking without an effect, passing, purging.
void stores(swrcache::cache &cache, const swrcache::policy &policy) {
    const swrcache::request asked("GET", "stored");
    assert(cache.peek(policy, asked).action == SWRCACHE_FETCH);
    assert(cache.store(policy, asked, fresh, "whole"));
    swrcache::response mine(200, {{"Cache-Control", "private"}});
    assert(!cache.store(policy, swrcache::request("GET", "private"), mine, "mine"));
    swrcache::response shown(200, {{"Cache-Control", "max-age=60"}, {"X-Inner", "1"}});
    shown.shown.emplace();
    assert(cache.store(policy, swrcache::request("GET", "shown"), shown, ""));
    assert(cache.peek(policy, swrcache::request("GET", "shown")).answer->head_text().find("X-Inner") == std::string::npos);

    const auto before = cache.statistics();
    auto peeked = cache.peek(policy, asked);
    assert(peeked.action == SWRCACHE_SERVE && peeked.reason == "fresh" && !peeked.fetch);
    std::string body;
    assert(peeked.answer->for_each_piece([&](std::string_view bytes) { body += bytes; }) == swrcache::reply::end::whole);
    assert(body == "whole" && cache.statistics().hits == before.hits);

    const swrcache::request put("PUT", "stored");
    const auto passed = cache.lookup_wait(policy, put);
    assert(passed.action == SWRCACHE_PASS && policy.pass_status(passed, 204).rfind("swrcache; fwd=method; fwd-status=204", 0) == 0);
    cache.passed(policy, put, swrcache::response(204));
    assert(cache.peek(policy, asked).action == SWRCACHE_FETCH);

    assert(cache.purge(SWRCACHE_PURGE_KEY, "shown") == 1);
    swrcache::purger purger(cache, SWRCACHE_PURGE_PREFIX, "k");
    std::optional<std::uint64_t> purged;
    while (!(purged = purger.step())) {
    }
    assert(*purged == 1);
    while (cache.tidy()) {
    }
    assert(!cache.encode() && cache.encode_pending() == 0);
    const std::string figures = cache.statistics_text("mine", SWRCACHE_STATS_JSON);
    assert(figures.find("\"mine\"") != std::string::npos);
}

// A thread of the refresher carries a refresh out.
void refreshes(swrcache::cache &cache, const swrcache::policy &policy) {
    const swrcache::request asked("GET", "refreshed");
    swrcache::response stale(200, {{"Cache-Control", "max-age=60, stale-while-revalidate=60"}, {"Age", "61"}});
    assert(cache.store(policy, asked, stale, "old"));
    {
        swrcache::refresher refresher(cache, [](swrcache::fetch &fetch) {
            if (fetch.respond(fresh) == SWRCACHE_DO_STORE && fetch.write("new"))
                fetch.finish();
        });
        auto decided = cache.lookup(policy, asked);
        assert(decided.status == SWRCACHE_STATUS_UPDATING && decided.answer && decided.fetch->is_refresh());
        assert(refresher.submit(std::move(*decided.fetch)));
        while (cache.peek(policy, asked).status != SWRCACHE_STATUS_HIT)
            std::this_thread::yield();
    }
}

void rules(const swrcache::policy &policy) {
    const swrcache::request asked("GET", "k", {{"Range", "bytes=0-1,10-11"}});
    const swrcache_verdict verdict = swrcache::judge(policy, asked, fresh, 1000);
    assert(verdict.storable && verdict.lifetime == 60000 && swrcache::phase(verdict, 2000) == SWRCACHE_PHASE_FRESH);
    swrcache_validators validators{};
    validators.struct_size = sizeof validators;
    validators.status = 200;
    validators.length = 100;
    const auto [answer, ranges] = swrcache::conditional(asked, validators);
    assert(answer == SWRCACHE_ANSWER_PARTIAL && ranges.size() == 2 && ranges[1].first == 10);
}

// What the library has to say; a child of private memory is told to pass, one of shared memory takes part.
void processes(const swrcache::policy &policy) {
    static std::string said;
    swrcache::log([](swrcache_log_level level, std::string_view message) {
        if (level == SWRCACHE_LOG_NOTICE)
            said += message;
    });
    swrcache::cache shared(8 << 20, SWRCACHE_SHARED);
    const swrcache::request asked("GET", "k");
    if (const pid_t child = fork()) {
        int status = 1;
        assert(waitpid(child, &status, 0) == child && status == 0);
    } else {
        shared.after_fork();
        _exit(!shared.store(policy, asked, fresh, "of the child"));
    }
    assert(shared.lookup(policy, asked).action == SWRCACHE_SERVE);
    while (shared.tidy() || said.empty()) {
    }
    swrcache::log({});
}

}  // namespace

int main() {
    assert(swrcache::abi_version() == SWRCACHE_ABI_VERSION && !swrcache::version().empty());
    assert(swrcache::status_name(SWRCACHE_STATUS_STALE) == "STALE");
    assert(code_of([] { swrcache::policy().set("nonsense", "on"); }) == SWRCACHE_EINVAL);
    assert(code_of([] { swrcache::cache cache(1); }) == SWRCACHE_EINVAL);
    swrcache::policy outer;
    outer.set("valid", "200 1m");
    swrcache::policy inner;
    inner.set("lock", "off").merge(outer);
    swrcache::policy policy = outer.copy();

    swrcache::cache cache(8 << 20);
    grows(cache, policy);
    ends(cache, policy);
    stores(cache, policy);
    refreshes(cache, policy);
    rules(policy);
    processes(policy);
}
