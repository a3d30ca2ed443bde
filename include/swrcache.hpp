// swrcache for C++17: what swrcache.h has, with owners that free and errors that throw.
//
// Nothing here adds meaning: the comments in swrcache.h hold. Handles are objects that can be moved and not copied, and free
// themselves; get() gives what the functions of swrcache.h take. A code that is no success becomes a swrcache::error; what may say
// "nothing yet" says so by an empty optional. Of constants the enums of swrcache.h are the types.
#ifndef SWRCACHE_HPP
#define SWRCACHE_HPP

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "swrcache.h"

namespace swrcache {

/// A code of swrcache.h that is no success.
class error : public std::exception {
public:
    explicit error(int code) : code_(code), what_(swrcache_strerror(code)) {
        const char *about = swrcache_last_error();
        if (*about)
            what_ += std::string(": ") + about;
    }
    int code() const noexcept { return code_; }
    const char *what() const noexcept override { return what_.c_str(); }

private:
    int code_;
    std::string what_;
};

namespace detail {

inline void check(int code) {
    if (code != SWRCACHE_OK)
        throw error(code);
}

template <typename T, void (*Free)(T *)>
struct deleter {
    void operator()(T *handle) const noexcept { Free(handle); }
};

template <typename T, void (*Free)(T *)>
using owner = std::unique_ptr<T, deleter<T, Free>>;

inline std::string_view view(const char *at, std::size_t length) { return {length ? at : "", length}; }

/// A struct of swrcache.h with its size.
template <typename T>
T sized() {
    T made{};
    made.struct_size = sizeof made;
    return made;
}

/// A text that a function of swrcache.h copies: `copy(buffer, size, &needed)`.
template <typename F>
std::string text(F &&copy) {
    std::size_t needed = 0;
    int code = copy(nullptr, 0, &needed);
    std::string made;
    while (code == SWRCACHE_ERANGE) {
        made.resize(needed);
        code = copy(made.data(), made.size(), &needed);
    }
    check(code);
    made.resize(needed - 1);  // without its NUL
    return made;
}

}  // namespace detail

/// The versions of the library that is loaded.
inline std::string_view version() noexcept { return swrcache_version(); }
inline std::uint32_t abi_version() noexcept { return swrcache_abi_version(); }

/// The word of a status, such as "HIT".
inline std::string_view status_name(int status) noexcept { return swrcache_status_name(status); }

/// Has the library hand what it has to say to `logger`, which must not throw; an empty one ends it. When no other thread is in the library.
inline void log(std::function<void(swrcache_log_level, std::string_view)> logger) {
    static std::function<void(swrcache_log_level, std::string_view)> kept;
    detail::check(swrcache_log(nullptr, nullptr));
    kept = std::move(logger);
    const swrcache_logger hand_on = [](void *, int level, const char *message) noexcept {
        kept(static_cast<swrcache_log_level>(level), message);
    };
    if (kept)
        detail::check(swrcache_log(hand_on, nullptr));
}

/// Header fields: views, whose strings somebody else keeps.
class fields {
public:
    fields() = default;
    fields(std::initializer_list<std::pair<std::string_view, std::string_view>> list) {
        for (const auto &[name, value] : list)
            add(name, value);
    }
    void add(std::string_view name, std::string_view value) {
        list_.push_back({name.data(), name.size(), value.data(), value.size()});
    }
    const swrcache_field *data() const noexcept { return list_.data(); }
    std::size_t size() const noexcept { return list_.size(); }

private:
    std::vector<swrcache_field> list_;
};

/// Calls `each(name, value)` for fields that the library gave.
template <typename F>
void for_each(const swrcache_field *list, std::size_t count, F &&each) {
    for (std::size_t i = 0; i < count; i++)
        each(detail::view(list[i].name, list[i].name_len), detail::view(list[i].value, list[i].value_len));
}

/// A request. What `key` and `list` view, somebody else keeps for as long as this is used.
struct request {
    request(std::string method_, std::string_view key_, fields list_ = {})
        : method(std::move(method_)), key(key_), list(std::move(list_)) {}
    /// As swrcache.h has it; it points into this.
    swrcache_request view() const noexcept {
        swrcache_request made = detail::sized<swrcache_request>();
        made.method = method.c_str();
        made.key = key.data();
        made.key_len = key.size();
        made.fields = list.data();
        made.field_count = list.size();
        made.flags = flags;
        made.turn = turn;
        made.origin = origin ? origin->c_str() : nullptr;
        made.target = target ? target->c_str() : nullptr;
        made.user = user;
        return made;
    }

    std::string method;
    std::string_view key;
    fields list;
    std::optional<std::string> origin{};
    std::optional<std::string> target{};
    void *user = nullptr;
    std::uint32_t flags = 0;
    swrcache_turn turn = SWRCACHE_FIRST;
};

/// The head of the origin's response. What `list` and `shown` view, somebody else keeps for as long as this is used.
struct response {
    explicit response(int status_, fields list_ = {}) : status(status_), list(std::move(list_)) {}
    /// As swrcache.h has it; it points into this.
    swrcache_response view() const noexcept {
        swrcache_response made = detail::sized<swrcache_response>();
        made.status = status;
        made.flags = flags;
        made.fields = list.data();
        made.field_count = list.size();
        if (shown) {
            made.shown = shown->size() ? shown->data() : &none;
            made.shown_count = shown->size();
        }
        made.request_time = request_time;
        made.failure = failure;
        return made;
    }

    int status;
    fields list;
    std::optional<fields> shown{};
    std::uint32_t flags = 0;
    std::uint64_t request_time = 0;
    int failure = 0;

private:
    static constexpr swrcache_field none{};
};

struct decision;

class policy {
public:
    policy() {
        swrcache_policy *made = nullptr;
        detail::check(swrcache_policy_new(&made));
        handle_.reset(made);
    }
    policy &set(const std::string &directive, const std::string &value) {
        detail::check(swrcache_policy_set(handle_.get(), directive.c_str(), value.c_str()));
        return *this;
    }
    /// Takes what is not set here as `outer` has it.
    policy &merge(const policy &outer) {
        detail::check(swrcache_policy_merge(handle_.get(), outer.get()));
        return *this;
    }
    policy copy() const {
        swrcache_policy *made = nullptr;
        detail::check(swrcache_policy_copy(handle_.get(), &made));
        return policy(made);
    }
    /// The member for `Cache-Status` of a request that was told to pass, which the origin answered with `status` (or 0).
    std::string pass_status(const decision &passed, int status) const;
    swrcache_policy *get() const noexcept { return handle_.get(); }

private:
    explicit policy(swrcache_policy *handle) : handle_(handle) {}
    detail::owner<swrcache_policy, swrcache_policy_free> handle_;
};

/// An answer from the store.
class reply {
public:
    explicit reply(swrcache_reply *handle) : handle_(handle) {}
    /// Its pointers live as long as the reply.
    swrcache_head head() const {
        swrcache_head head = detail::sized<swrcache_head>();
        detail::check(swrcache_reply_head(handle_.get(), &head));
        return head;
    }
    /// Lines "NAME: VALUE", each with its CR LF.
    std::string head_text() const {
        return detail::text([this](char *buffer, std::size_t size, std::size_t *needed) {
            return swrcache_reply_head_text(handle_.get(), buffer, size, needed);
        });
    }
    /// Reads on: how many elements, 0 is the end; empty if there is nothing yet (SWRCACHE_EAGAIN). Throws where the body ends that is not
    /// the whole: SWRCACHE_EBROKEN, SWRCACHE_EOUTGROWN.
    std::optional<std::size_t> read(struct iovec *iov, std::size_t capacity) {
        std::size_t count = 0;
        const int code = swrcache_reply_read(handle_.get(), iov, capacity, &count);
        return some(code, count);
    }
    /// The same, waiting up to `timeout` milliseconds; empty if there is nothing even then.
    std::optional<std::size_t> read_wait(std::uint64_t timeout, struct iovec *iov, std::size_t capacity) {
        std::size_t count = 0;
        const int code = swrcache_reply_read_wait(handle_.get(), timeout, iov, capacity, &count);
        return some(code, count);
    }
    /// How a body ended, as far as it is there.
    enum class end {
        whole,     ///< All of it has been read.
        later,     ///< There is nothing more yet.
        outgrown,  ///< The rest is yours to send (SWRCACHE_EOUTGROWN).
    };
    /// Calls `each(string_view)` for every piece of the body that is there, or comes within `timeout` milliseconds of the one before.
    /// Throws SWRCACHE_EBROKEN if the rest will never come.
    template <typename F>
    end for_each_piece(F &&each, std::uint64_t timeout = 0) {
        struct iovec pieces[16];
        for (;;) {
            std::size_t count = 0;
            const int code = swrcache_reply_read_wait(handle_.get(), timeout, pieces, 16, &count);
            if (code == SWRCACHE_EAGAIN)
                return end::later;
            if (code == SWRCACHE_EOUTGROWN)
                return end::outgrown;
            detail::check(code);
            if (count == 0)
                return end::whole;
            for (std::size_t i = 0; i < count; i++)
                each(std::string_view(static_cast<const char *>(pieces[i].iov_base), pieces[i].iov_len));
        }
    }
    swrcache_reply *get() const noexcept { return handle_.get(); }

private:
    static std::optional<std::size_t> some(int code, std::size_t count) {
        if (code == SWRCACHE_EAGAIN)
            return std::nullopt;
        detail::check(code);
        return count;
    }
    detail::owner<swrcache_reply, swrcache_reply_free> handle_;
};

/// A fetch to carry out; given up when it is destroyed before its end.
class fetch {
public:
    explicit fetch(swrcache_fetch *handle) : handle_(handle) {}
    bool is_refresh() const noexcept { return swrcache_fetch_is_refresh(handle_.get()) != 0; }
    std::string_view key() const {
        const char *key = nullptr;
        std::size_t length = 0;
        detail::check(swrcache_fetch_key(handle_.get(), &key, &length));
        return detail::view(key, length);
    }
    /// The request to send to the origin; its pointers live as long as the fetch.
    swrcache_request request() {
        swrcache_request request = detail::sized<swrcache_request>();
        detail::check(swrcache_fetch_request(handle_.get(), &request));
        return request;
    }
    /// The fields to send to the origin: `each(name, value)`.
    template <typename F>
    void fields_to_send(F &&each) {
        const swrcache_field *list = nullptr;
        std::size_t count = 0;
        detail::check(swrcache_fetch_fields(handle_.get(), &list, &count));
        for_each(list, count, std::forward<F>(each));
    }
    /// The same as lines "NAME: VALUE", each with its CR LF.
    std::string fields_text() {
        return detail::text([this](char *buffer, std::size_t size, std::size_t *needed) {
            return swrcache_fetch_fields_text(handle_.get(), buffer, size, needed);
        });
    }
    swrcache_todo respond(const response &answered) {
        const swrcache_response view = answered.view();
        int todo = 0;
        detail::check(swrcache_fetch_respond(handle_.get(), &view, &todo));
        return static_cast<swrcache_todo>(todo);
    }
    /// False if the body outgrows the cache, which took none of `bytes`: call finish() at once, which tells how to go on.
    bool write(std::string_view bytes) {
        const int code = swrcache_fetch_write(handle_.get(), bytes.data(), bytes.size());
        if (code == SWRCACHE_ETOOLARGE || code == SWRCACHE_ENOSPC)
            return false;
        detail::check(code);
        return true;
    }
    swrcache_todo finish() {
        int todo = 0;
        detail::check(swrcache_fetch_finish(handle_.get(), &todo));
        return static_cast<swrcache_todo>(todo);
    }
    swrcache_todo fail(swrcache_failure failure, std::uint64_t retry_after = 0) {
        int todo = 0;
        detail::check(swrcache_fetch_fail(handle_.get(), failure, retry_after, &todo));
        return static_cast<swrcache_todo>(todo);
    }
    /// Empty if there is nothing (yet).
    std::optional<reply> answer() { return optional(swrcache_fetch_reply); }
    std::optional<reply> stale() { return optional(swrcache_fetch_stale); }
    std::string_view reason() const noexcept { return swrcache_fetch_reason(handle_.get()); }
    /// The member for `Cache-Status` of a response that is relayed.
    std::string status() const {
        return detail::text([this](char *buffer, std::size_t size, std::size_t *needed) {
            return swrcache_fetch_status(handle_.get(), buffer, size, needed);
        });
    }
    swrcache_fetch *get() const noexcept { return handle_.get(); }
    swrcache_fetch *release() noexcept { return handle_.release(); }

private:
    std::optional<reply> optional(int (*ask)(swrcache_fetch *, swrcache_reply **)) {
        swrcache_reply *made = nullptr;
        int code = ask(handle_.get(), &made);
        if (code == SWRCACHE_EAGAIN || code == SWRCACHE_ESTATE)
            return std::nullopt;
        detail::check(code);
        return reply(made);
    }
    detail::owner<swrcache_fetch, swrcache_fetch_free> handle_;
};

/// What to do with a request: `action` says which of the others there are.
struct decision {
    swrcache_action action;
    swrcache_cache_status status;
    std::string_view reason;  ///< Static, and ends with NUL.
    std::optional<swrcache::reply> answer;
    std::optional<swrcache::fetch> fetch;
    std::uint64_t until;
    std::uint64_t ticket;
};

inline std::string policy::pass_status(const decision &passed, int status) const {
    swrcache_decision view = detail::sized<swrcache_decision>();
    view.action = passed.action;
    view.reason = passed.reason.data();
    return detail::text([&](char *buffer, std::size_t size, std::size_t *needed) {
        return swrcache_pass_status(handle_.get(), &view, status, buffer, size, needed);
    });
}

class cache {
public:
    explicit cache(const swrcache_options &options) {
        swrcache_cache *made = nullptr;
        detail::check(swrcache_open(&options, &made));
        handle_.reset(made);
    }
    /// A cache in memory of this process, or (`SWRCACHE_SHARED`) of it and those that it forks.
    explicit cache(std::size_t size, swrcache_memory_kind memory = SWRCACHE_PRIVATE) : cache(options(size, memory, nullptr)) {}
    /// A cache in a file.
    cache(std::size_t size, const std::string &path) : cache(options(size, SWRCACHE_FILE, path.c_str())) {}

    /// Decides; never waits.
    decision lookup(const policy &policy, const request &asked) {
        const swrcache_request view = asked.view();
        return decided([&](swrcache_decision *made) { return swrcache_lookup(handle_.get(), policy.get(), &view, made); });
    }
    /// Decides; waits in this thread for the fetch of another where that is to be waited for.
    decision lookup_wait(const policy &policy, const request &asked) {
        const swrcache_request view = asked.view();
        return decided([&](swrcache_decision *made) { return swrcache_lookup_wait(handle_.get(), policy.get(), &view, made); });
    }
    /// What lookup() would say, without an effect.
    decision peek(const policy &policy, const request &asked) const {
        const swrcache_request view = asked.view();
        return decided([&](swrcache_decision *made) { return swrcache_peek(handle_.get(), policy.get(), &view, made); });
    }
    /// Waits until something has moved since the lookup that gave `ticket`; false if `until` has come.
    bool wait(std::uint64_t ticket, std::uint64_t until) const {
        const int code = swrcache_wait(handle_.get(), ticket, until);
        if (code != SWRCACHE_ETIMEDOUT)
            detail::check(code);
        return code == SWRCACHE_OK;
    }
    /// Stores a response that nobody has asked for; false if it may not be stored (swrcache_last_error() has the reason).
    bool store(const policy &policy, const request &asked, const response &answered, std::string_view body) {
        const swrcache_request view = asked.view();
        const swrcache_response head = answered.view();
        const int code = swrcache_store(handle_.get(), policy.get(), &view, &head, body.data(), body.size());
        if (code != SWRCACHE_ENOTSTORED)
            detail::check(code);
        return code == SWRCACHE_OK;
    }
    /// How the origin answered a request that was told to pass.
    void passed(const policy &policy, const request &asked, const response &answered) {
        const swrcache_request view = asked.view();
        const swrcache_response head = answered.view();
        detail::check(swrcache_passed(handle_.get(), policy.get(), &view, &head));
    }
    /// `kind` is a swrcache_purge_kind, perhaps with SWRCACHE_PURGE_SOFT.
    std::uint64_t purge(int kind, std::string_view what) {
        std::uint64_t purged = 0;
        detail::check(swrcache_purge(handle_.get(), kind, what.data(), what.size(), &purged));
        return purged;
    }
    swrcache_statistics statistics() const {
        swrcache_statistics figures = detail::sized<swrcache_statistics>();
        detail::check(swrcache_stats(handle_.get(), &figures));
        return figures;
    }
    /// All figures as text, in which the cache is called `name`.
    std::string statistics_text(const std::string &name, swrcache_stats_form form) const {
        std::string text;
        const swrcache_sink keep = [](void *user, const char *at, std::size_t length) noexcept {
            static_cast<std::string *>(user)->assign(at, length);
        };
        detail::check(swrcache_stats_text(handle_.get(), name.c_str(), form, keep, &text));
        return text;
    }
    /// Unix time in milliseconds by the cache's clock.
    std::uint64_t now() const {
        std::uint64_t now = 0;
        detail::check(swrcache_now(handle_.get(), &now));
        return now;
    }
    void after_fork() { detail::check(swrcache_after_fork(handle_.get())); }
    /// Encodes one stored response; false if none is asked for within `timeout` milliseconds.
    bool encode(std::uint64_t timeout = 0) {
        const int code = swrcache_encode(handle_.get(), timeout);
        if (code != SWRCACHE_ETIMEDOUT)
            detail::check(code);
        return code == SWRCACHE_OK;
    }
    /// How many stored responses wait for encode().
    std::size_t encode_pending() {
        std::size_t count = 0;
        detail::check(swrcache_encode_pending(handle_.get(), &count));
        return count;
    }
    /// True if there is more to do: call it again soon.
    bool tidy() {
        const int code = swrcache_tidy(handle_.get());
        if (code != SWRCACHE_EAGAIN)
            detail::check(code);
        return code == SWRCACHE_EAGAIN;
    }
    swrcache_cache *get() const noexcept { return handle_.get(); }

private:
    template <typename F>
    static decision decided(F &&look) {
        swrcache_decision made = detail::sized<swrcache_decision>();
        detail::check(look(&made));
        decision decided{static_cast<swrcache_action>(made.action), static_cast<swrcache_cache_status>(made.status),
                         made.reason, std::nullopt, std::nullopt, made.until, made.ticket};
        if (made.reply)
            decided.answer.emplace(made.reply);
        if (made.fetch)
            decided.fetch.emplace(made.fetch);
        return decided;
    }
    static swrcache_options options(std::size_t size, swrcache_memory_kind memory, const char *path) {
        swrcache_options options = detail::sized<swrcache_options>();
        options.memory = memory;
        options.size = size;
        options.path = path;
        return options;
    }
    detail::owner<swrcache_cache, swrcache_close> handle_;
};

/// What an event loop watches; made after a fork.
class watch {
public:
    explicit watch(const cache &cache) {
        swrcache_watch *made = nullptr;
        detail::check(swrcache_watch_new(cache.get(), &made));
        handle_.reset(made);
    }
    int fd() const {
        int fd = -1;
        detail::check(swrcache_watch_fd(handle_.get(), &fd));
        return fd;
    }
    /// Clear first, then look what has moved.
    void clear() { detail::check(swrcache_watch_clear(handle_.get())); }

private:
    detail::owner<swrcache_watch, swrcache_watch_free> handle_;
};

/// A purge in pieces.
class purger {
public:
    purger(const cache &cache, int kind, std::string_view what) {
        swrcache_purger *made = nullptr;
        detail::check(swrcache_purger_new(cache.get(), kind, what.data(), what.size(), &made));
        handle_.reset(made);
    }
    /// Goes on for about a millisecond: how many responses that were; empty while there is more to do.
    std::optional<std::uint64_t> step() {
        std::uint64_t purged = 0;
        const int code = swrcache_purger_step(handle_.get(), &purged);
        if (code == SWRCACHE_EAGAIN)
            return std::nullopt;
        detail::check(code);
        return purged;
    }

private:
    detail::owner<swrcache_purger, swrcache_purger_free> handle_;
};

/// Threads that fetch. The function must not throw; it is called by several threads at once, and must not keep the fetch.
class refresher {
public:
    using work = std::function<void(fetch &)>;
    refresher(cache &cache, work carry, unsigned threads = 4, unsigned queue = 64)
        : carry_(std::make_unique<work>(std::move(carry))) {
        swrcache_refresher_options options = detail::sized<swrcache_refresher_options>();
        options.threads = threads;
        options.queue = queue;
        options.user = carry_.get();
        options.carry = [](void *user, swrcache_fetch *handle) noexcept {
            fetch lent(handle);
            (*static_cast<work *>(user))(lent);
            (void)lent.release();  // it stays the refresher's
        };
        swrcache_refresher *made = nullptr;
        detail::check(swrcache_refresher_new(cache.get(), &options, &made));
        handle_.reset(made);
    }
    /// False if the queue is full: the fetch is given up, and a later request will refresh.
    bool submit(fetch fetch) {
        int code = swrcache_refresher_submit(handle_.get(), fetch.get());
        if (code == SWRCACHE_OK)
            fetch.release();
        else if (code != SWRCACHE_EFULL)
            throw error(code);
        return code == SWRCACHE_OK;
    }

private:
    std::unique_ptr<work> carry_;  // outlives the threads
    detail::owner<swrcache_refresher, swrcache_refresher_free> handle_;
};

/// Judges a response that came at `now`, for a server with storage of its own.
inline swrcache_verdict judge(const policy &policy, const request &asked, const response &answered, std::uint64_t now) {
    const swrcache_request view = asked.view();
    const swrcache_response head = answered.view();
    swrcache_verdict verdict = detail::sized<swrcache_verdict>();
    detail::check(swrcache_judge(policy.get(), &view, &head, now, &verdict));
    return verdict;
}

/// In which phase of its life a response is at `now`.
inline swrcache_life_phase phase(const swrcache_verdict &verdict, std::uint64_t now) {
    int phase = 0;
    detail::check(swrcache_phase(&verdict, now, &phase));
    return static_cast<swrcache_life_phase>(phase);
}

/// What a client's conditionals and ranges come to: the answer, and its ranges.
inline std::pair<swrcache_answer, std::vector<swrcache_range>> conditional(const request &asked, const swrcache_validators &validators) {
    const swrcache_request view = asked.view();
    std::vector<swrcache_range> ranges(16);
    int answer = 0, code;
    std::size_t count = 0;
    while ((code = swrcache_conditional(&view, &validators, &answer, ranges.data(), ranges.size(), &count)) == SWRCACHE_ERANGE)
        ranges.resize(count);
    detail::check(code);
    ranges.resize(count);
    return {static_cast<swrcache_answer>(answer), std::move(ranges)};
}

}  // namespace swrcache

#endif
