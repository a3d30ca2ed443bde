// swrcache for C++17: what swrcache.h has, with owners that free and errors that throw.
//
// Nothing here adds meaning: the comments in swrcache.h hold. A fetch, a reply, a policy, a cache and a refresher are objects that
// can be moved and not copied, and free themselves. A code that is no success becomes a swrcache::error; what may say "nothing
// yet" says so by an empty optional.
#ifndef SWRCACHE_HPP
#define SWRCACHE_HPP

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

}  // namespace detail

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
    swrcache_policy *get() const noexcept { return handle_.get(); }

private:
    explicit policy(swrcache_policy *handle) : handle_(handle) {}
    detail::owner<swrcache_policy, swrcache_policy_free> handle_;
};

/// An answer from the store.
class reply {
public:
    explicit reply(swrcache_reply *handle) : handle_(handle) {}
    swrcache_head head() const {
        swrcache_head head{};
        head.struct_size = sizeof head;
        detail::check(swrcache_reply_head(handle_.get(), &head));
        return head;
    }
    /// Reads on, waiting up to `timeout` milliseconds: how many elements, 0 is the end; empty if there is nothing yet.
    std::optional<std::size_t> read(struct iovec *iov, std::size_t capacity, std::uint64_t timeout = 0) {
        std::size_t count = 0;
        const int code = swrcache_reply_read_wait(handle_.get(), timeout, iov, capacity, &count);
        if (code == SWRCACHE_EAGAIN)
            return std::nullopt;
        detail::check(code);
        return count;
    }
    /// Calls `each(string_view)` for every piece of the body, waiting up to `timeout` milliseconds for each; throws SWRCACHE_EAGAIN when
    /// the time is over.
    template <typename F>
    void for_each_piece(F &&each, std::uint64_t timeout) {
        struct iovec pieces[16];
        for (;;) {
            const std::optional<std::size_t> count = read(pieces, 16, timeout);
            if (!count)
                throw error(SWRCACHE_EAGAIN);
            if (*count == 0)
                return;
            for (std::size_t i = 0; i < *count; i++)
                each(std::string_view(static_cast<const char *>(pieces[i].iov_base), pieces[i].iov_len));
        }
    }
    swrcache_reply *get() const noexcept { return handle_.get(); }

private:
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
        swrcache_request request{};
        request.struct_size = sizeof request;
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
    int respond(int status, const fields &list, std::uint64_t request_time = 0) {
        swrcache_response response{};
        response.struct_size = sizeof response;
        response.status = status;
        response.fields = list.data();
        response.field_count = list.size();
        response.request_time = request_time;
        int todo = 0;
        detail::check(swrcache_fetch_respond(handle_.get(), &response, &todo));
        return todo;
    }
    void write(std::string_view bytes) { detail::check(swrcache_fetch_write(handle_.get(), bytes.data(), bytes.size())); }
    int finish() {
        int todo = 0;
        detail::check(swrcache_fetch_finish(handle_.get(), &todo));
        return todo;
    }
    int fail(int failure, std::uint64_t retry_after = 0) {
        int todo = 0;
        detail::check(swrcache_fetch_fail(handle_.get(), failure, retry_after, &todo));
        return todo;
    }
    /// Empty if there is nothing (yet).
    std::optional<reply> answer() { return optional(swrcache_fetch_reply); }
    std::optional<reply> stale() { return optional(swrcache_fetch_stale); }
    std::string_view reason() const noexcept { return swrcache_fetch_reason(handle_.get()); }
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
    int action;
    int status;
    std::string_view reason;
    std::optional<swrcache::reply> answer;
    std::optional<swrcache::fetch> fetch;
    std::uint64_t until;
    std::uint64_t ticket;
};

class cache {
public:
    explicit cache(const swrcache_options &options) {
        swrcache_cache *made = nullptr;
        detail::check(swrcache_open(&options, &made));
        handle_.reset(made);
    }
    /// A cache in memory of this process, or (`SWRCACHE_SHARED`) of it and those that it forks.
    explicit cache(std::size_t size, int memory = SWRCACHE_PRIVATE) : cache(options(size, memory, nullptr)) {}
    /// A cache in a file.
    cache(std::size_t size, const std::string &path) : cache(options(size, SWRCACHE_FILE, path.c_str())) {}

    /// Decides; with `wait`, in this thread waits for the fetch of another where the library says so.
    decision lookup(const policy &policy, const std::string &method, std::string_view key, const fields &list, bool wait = true,
                    int turn = SWRCACHE_FIRST, unsigned flags = 0, const char *origin = nullptr) {
        swrcache_request request = described(method, key, list);
        request.turn = turn;
        request.flags = flags;
        request.origin = origin;
        swrcache_decision made{};
        made.struct_size = sizeof made;
        auto look = wait ? swrcache_lookup_wait : swrcache_lookup;
        detail::check(look(handle_.get(), policy.get(), &request, &made));
        decision decided{made.action, made.status, made.reason, std::nullopt, std::nullopt, made.until, made.ticket};
        if (made.reply)
            decided.answer.emplace(made.reply);
        if (made.fetch)
            decided.fetch.emplace(made.fetch);
        return decided;
    }
    std::uint64_t purge(int kind, std::string_view what) {
        std::uint64_t purged = 0;
        detail::check(swrcache_purge(handle_.get(), kind, what.data(), what.size(), &purged));
        return purged;
    }
    /// How the origin answered a request that was told to pass (`swrcache_passed`).
    void passed(const policy &policy, const std::string &method, std::string_view key, const fields &list, const std::string &origin,
                const std::string &target, int status, const fields &answered) {
        swrcache_request request = described(method, key, list);
        request.origin = origin.c_str();
        request.target = target.c_str();
        swrcache_response response{};
        response.struct_size = sizeof response;
        response.status = status;
        response.fields = answered.data();
        response.field_count = answered.size();
        detail::check(swrcache_passed(handle_.get(), policy.get(), &request, &response));
    }
    swrcache_statistics statistics() const {
        swrcache_statistics figures{};
        figures.struct_size = sizeof figures;
        detail::check(swrcache_stats(handle_.get(), &figures));
        return figures;
    }
    void after_fork() { detail::check(swrcache_after_fork(handle_.get())); }
    /// True if there is more to do: call it again soon.
    bool tidy() {
        const int code = swrcache_tidy(handle_.get());
        if (code != SWRCACHE_EAGAIN)
            detail::check(code);
        return code == SWRCACHE_EAGAIN;
    }
    swrcache_cache *get() const noexcept { return handle_.get(); }

private:
    static swrcache_request described(const std::string &method, std::string_view key, const fields &list) {
        swrcache_request request{};
        request.struct_size = sizeof request;
        request.method = method.c_str();
        request.key = key.data();
        request.key_len = key.size();
        request.fields = list.data();
        request.field_count = list.size();
        return request;
    }
    static swrcache_options options(std::size_t size, int memory, const char *path) {
        swrcache_options options{};
        options.struct_size = sizeof options;
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
    using work = std::function<void(swrcache_fetch *)>;
    refresher(cache &cache, work carry, unsigned threads = 4, unsigned queue = 64)
        : carry_(std::make_unique<work>(std::move(carry))) {
        swrcache_refresher_options options{};
        options.struct_size = sizeof options;
        options.threads = threads;
        options.queue = queue;
        options.user = carry_.get();
        options.carry = [](void *user, swrcache_fetch *fetch) noexcept { (*static_cast<work *>(user))(fetch); };
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

}  // namespace swrcache

#endif
