// A caching reverse proxy in C++17 on plain sockets, a thread for each connection, with swrcache.hpp.
//
//     cxx_server PORT ORIGIN_HOST ORIGIN_PORT
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "swrcache.hpp"

namespace {

using line_list = std::vector<std::pair<std::string, std::string>>;

bool same(std::string_view a, std::string_view b) {
    return a.size() == b.size() &&
           std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y)); });
}

bool is_hop_by_hop(std::string_view name) {
    for (auto other : {"connection", "proxy-connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length"})
        if (same(name, other))
            return true;
    return false;
}

/// A socket that closes itself.
class wire {
public:
    explicit wire(int fd) : fd_(fd) {
        int on = 1;
        setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    wire(wire &&other) noexcept : fd_(std::exchange(other.fd_, -1)), ahead_(std::move(other.ahead_)) {}
    ~wire() {
        if (fd_ >= 0)
            close(fd_);
    }
    bool send_all(std::string_view bytes) {
        while (!bytes.empty()) {
            ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n <= 0)
                return false;
            bytes.remove_prefix(static_cast<std::size_t>(n));
        }
        return true;
    }
    bool fill() {
        char buffer[16384];
        ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
        if (n > 0)
            ahead_.append(buffer, static_cast<std::size_t>(n));
        return n > 0;
    }
    bool line(std::string &text) {
        std::size_t end;
        while ((end = ahead_.find("\r\n")) == std::string::npos)
            if (!fill())
                return false;
        text = ahead_.substr(0, end);
        ahead_.erase(0, end + 2);
        return true;
    }
    /// Up to `max` bytes; none at the end.
    std::string some(std::size_t max) {
        if (ahead_.empty())
            fill();
        std::string bytes = ahead_.substr(0, max);
        ahead_.erase(0, bytes.size());
        return bytes;
    }
    int fd() const { return fd_; }

private:
    int fd_;
    std::string ahead_;
};

struct message {
    std::string first;
    line_list lines;
    std::string_view get(std::string_view name) const {
        for (const auto &[n, v] : lines)
            if (same(n, name))
                return v;
        return {};
    }
    swrcache::fields views() const {
        swrcache::fields views;
        for (const auto &[name, value] : lines)
            views.add(name, value);
        return views;
    }
};

bool read_head(wire &from, message &head) {
    std::string line;
    head = {};
    if (!from.line(head.first))
        return false;
    while (from.line(line)) {
        if (line.empty())
            return true;
        std::size_t colon = line.find(':'), value = line.find_first_not_of(" \t", colon + 1);
        if (colon != std::string::npos && colon > 0)
            head.lines.emplace_back(line.substr(0, colon), value == std::string::npos ? "" : line.substr(value));
    }
    return false;
}

/// Calls `each` for the pieces of a body for as long as it says true; false if the body broke off, or was not read to its end.
template <typename F>
bool read_body(wire &from, const message &head, bool until_close, F &&each) {
    auto exactly = [&](std::size_t left) {
        while (left > 0) {
            std::string bytes = from.some(left);
            if (bytes.empty() || !each(std::string_view(bytes)))
                return false;
            left -= bytes.size();
        }
        return true;
    };
    if (same(head.get("transfer-encoding"), "chunked")) {
        std::string line;
        while (from.line(line)) {
            std::size_t size = std::strtoull(line.c_str(), nullptr, 16);
            if (!exactly(size) || !from.line(line))
                return false;
            if (size == 0)
                return true;
        }
        return false;
    }
    std::string length(head.get("content-length"));
    if (!length.empty())
        return exactly(std::strtoull(length.c_str(), nullptr, 10));
    for (std::string bytes; until_close && !(bytes = from.some(16384)).empty();)
        if (!each(std::string_view(bytes)))
            return false;
    return true;
}

/// An answer on its way to a client, sent as it comes.
class outgoing {
public:
    outgoing(wire &client, const std::string &method) : client_(client), has_body_(method != "HEAD") {}
    bool has_begun() const { return has_begun_; }
    /// Whether the client is still there.
    bool is_well() const { return is_well_; }
    void begin(int status, std::string lines, bool has_length) {
        has_begun_ = true;
        has_body_ = has_body_ && status != 204 && status != 304;
        is_chunked_ = has_body_ && !has_length;
        lines += is_chunked_ ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n";
        send("HTTP/1.1 " + std::to_string(status) + " -\r\n" + lines);
    }
    void body(std::string_view bytes) {
        char size[32];
        std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
        if (!has_body_ || bytes.empty())
            return;
        if (is_chunked_)
            send(size);
        send(bytes);
        if (is_chunked_)
            send("\r\n");
    }
    void end() {
        if (is_chunked_)
            send("0\r\n\r\n");
    }
    void error(int status) { begin(status, "Content-Length: 0\r\n", true); }
    /// The connection is of no use any more: the client must not take what it has for the whole.
    void break_off() { is_well_ = false; }

    /// Sends what the cache has, and what it gets, to its end. If the body outgrows it, more is to come.
    void deliver(swrcache::reply &reply) noexcept {
        try {
            const swrcache_head head = reply.head();
            const std::string status(swrcache::status_name(head.cache_status));
            bool has_length = false;
            swrcache::for_each(head.fields, head.field_count, [&](std::string_view name, std::string_view) {
                has_length = has_length || same(name, "content-length");
            });
            begin(head.status, reply.head_text() + "X-Cache: " + status + "\r\n", has_length);
            switch (reply.for_each_piece([this](std::string_view bytes) { body(bytes); }, 60000)) {
            case swrcache::reply::end::whole:
                return end();
            case swrcache::reply::end::outgrown:
                return;
            case swrcache::reply::end::later:
                return break_off();
            }
        } catch (const std::exception &) {
            break_off();
        }
    }

private:
    void send(std::string_view bytes) { is_well_ = is_well_ && client_.send_all(bytes); }

    wire &client_;
    bool has_body_, has_begun_ = false, is_chunked_ = false;
    std::atomic<bool> is_well_ = true;
};

/// A thread that is waited for.
struct joined : std::thread {
    using std::thread::operator=;
    void wait() {
        if (joinable())
            join();
    }
    ~joined() { wait(); }
};

class server {
public:
    server(std::string host, std::uint16_t port)
        : host_(std::move(host)), port_(port), cache_(64 << 20), refresher_(cache_, [this](swrcache::fetch &fetch) { refresh(fetch); }) {}

    void connection(wire &client) {
        message request;
        while (read_head(client, request) && answer(client, request)) {
        }
    }

private:
    wire connect() {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port_);
        inet_pton(AF_INET, host_.c_str(), &address.sin_addr);
        wire origin(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::connect(origin.fd(), reinterpret_cast<sockaddr *>(&address), sizeof address) != 0)
            return wire(-1);
        return origin;
    }

    /// An answer of the origin's: its status and head, and then its body from the same wire.
    struct answered {
        wire origin;
        message head;
        int status = 0;
        bool has_body = false;
    };

    std::optional<answered> ask(const std::string &method, const std::string &target, const std::string &lines, const std::string &body) {
        answered got{connect(), {}};
        bool sent = got.origin.fd() >= 0 && got.origin.send_all(method + " " + target + " HTTP/1.1\r\n" + lines + "Connection: close\r\n\r\n" + body);
        do
            if (!sent || !read_head(got.origin, got.head) || got.head.first.size() < 12)
                return std::nullopt;
        while ((got.status = std::atoi(got.head.first.c_str() + 9)) < 200);
        got.has_body = method != "HEAD" && got.status != 304 && got.status != 204;
        return got;
    }

    static void relay_head(outgoing &client, const answered &got) {
        std::string lines;
        for (const auto &[name, value] : got.head.lines)
            if (!is_hop_by_hop(name))
                lines += name + ": " + value + "\r\n";
        std::string length(got.head.get("content-length"));
        bool has_length = !length.empty() && got.head.get("transfer-encoding").empty();
        if (has_length)
            lines += "Content-Length: " + length + "\r\n";
        client.begin(got.status, lines, has_length);
    }

    /// Carries a fetch out. `client`, if one leads it, gets what comes: from the cache, in a thread of its own, so that a slow client
    /// does not hold up what others wait for; or, where the cache does not take it, from here.
    void carry(swrcache::fetch &fetch, outgoing *client) {
        std::optional<swrcache::reply> reply;
        joined delivery;
        auto follow = [&] {
            if (client && !reply && (reply = fetch.answer()))
                delivery = std::thread([&] { client->deliver(*reply); });
        };
        int todo = SWRCACHE_DO_ASK_AGAIN;
        while (todo == SWRCACHE_DO_ASK_AGAIN) {
            const swrcache_request request = fetch.request();
            std::string target(request.target);
            auto got = ask(request.method, target, fetch.fields_text(), "");
            if (!got) {
                todo = fetch.fail(SWRCACHE_FAIL_ERROR);
                break;
            }
            todo = fetch.respond(swrcache::response(got->status, got->head.views()));
            if (todo == SWRCACHE_DO_STORE)
                follow();
            else if (todo == SWRCACHE_DO_RELAY && client)
                relay_head(*client, *got);
            auto take = [&](std::string_view bytes) {
                if (todo == SWRCACHE_DO_STORE && !fetch.write(bytes)) {
                    todo = fetch.finish();  // it outgrows the cache: first what that has taken, then the rest
                    follow();
                    delivery.wait();
                    if (client && !client->has_begun())
                        relay_head(*client, *got);
                }
                if (todo == SWRCACHE_DO_RELAY && client)
                    client->body(bytes);
                return todo == SWRCACHE_DO_STORE || (todo == SWRCACHE_DO_RELAY && client && client->is_well());
            };
            bool is_whole = !got->has_body || read_body(got->origin, got->head, true, take);
            if (todo == SWRCACHE_DO_STORE)
                todo = is_whole ? fetch.finish() : fetch.fail(SWRCACHE_FAIL_ERROR);
            else if (todo == SWRCACHE_DO_RELAY && client)
                is_whole ? client->end() : client->break_off();
        }
        if (todo == SWRCACHE_DO_REPLY)
            follow();
        delivery.wait();
        if (client && !client->has_begun())
            client->error(todo == SWRCACHE_DO_GATEWAY_TIMEOUT ? 504 : 502);
    }

    /// In a thread of the refresher.
    void refresh(swrcache::fetch &fetch) noexcept {
        try {
            carry(fetch, nullptr);
        } catch (const std::exception &e) {
            std::cerr << "refresh: " << e.what() << "\n";
        }
    }

    /// False if the connection is to be closed.
    bool answer(wire &wire, const message &message) {
        std::size_t space = message.first.find(' ');
        std::string method = message.first.substr(0, space);
        std::string target = message.first.substr(space + 1, message.first.find(' ', space + 1) - space - 1);
        outgoing client(wire, method);
        std::string upload;
        auto take = [&](std::string_view bytes) {
            upload += bytes;
            return upload.size() <= max_upload;
        };
        if (!read_body(wire, message, false, take)) {
            client.error(413);
            return false;
        }
        const std::string own = "http://" + std::string(message.get("host"));
        const std::string key = own + target;
        swrcache::request request(method, key, message.views());
        request.origin = own;
        request.target = target;
        auto decision = cache_.lookup_wait(policy_, request);
        switch (decision.action) {
        case SWRCACHE_SERVE:
            if (decision.fetch)
                refresher_.submit(std::move(*decision.fetch));
            client.deliver(*decision.answer);
            break;
        case SWRCACHE_FETCH:
            carry(*decision.fetch, &client);
            break;
        case SWRCACHE_GATEWAY_TIMEOUT:
            client.error(504);
            break;
        case SWRCACHE_PASS:
        case SWRCACHE_WAIT:  // never comes of lookup_wait()
            pass(client, message, request, upload);
        }
        return client.is_well();
    }

    /// The cache takes no part, but for learning that something may have been written.
    void pass(outgoing &client, const message &message, const swrcache::request &request, const std::string &upload) {
        std::string lines;
        for (const auto &[name, value] : message.lines)
            if (!is_hop_by_hop(name))
                lines += name + ": " + value + "\r\n";
        if (!upload.empty())
            lines += "Content-Length: " + std::to_string(upload.size()) + "\r\n";
        auto got = ask(request.method, *request.target, lines, upload);
        if (!got)
            return client.error(502);
        cache_.passed(policy_, request, swrcache::response(got->status, got->head.views()));
        relay_head(client, *got);
        auto take = [&](std::string_view bytes) {
            client.body(bytes);
            return client.is_well();
        };
        if (!got->has_body || read_body(got->origin, got->head, true, take))
            client.end();
        else
            client.break_off();
    }

    static constexpr std::size_t max_upload = 1 << 20;  // a request's body is held while it is sent
    std::string host_;
    std::uint16_t port_;
    swrcache::policy policy_;
    swrcache::cache cache_;
    swrcache::refresher refresher_;
};

/// The connections that are open, so that the end of the server can end them.
class crowd {
public:
    bool enter(int fd) {
        std::lock_guard lock(mutex_);
        if (!ending_)
            inside_.insert(fd);
        return !ending_;
    }
    void leave(int fd) {
        std::lock_guard lock(mutex_);
        inside_.erase(fd);
        empty_.notify_all();
    }
    void end() {
        std::unique_lock lock(mutex_);
        ending_ = true;
        for (int fd : inside_)
            shutdown(fd, SHUT_RDWR);
        empty_.wait(lock, [this] { return inside_.empty(); });
    }

private:
    std::mutex mutex_;
    std::condition_variable empty_;
    std::set<int> inside_;
    bool ending_ = false;
};

}  // namespace

int main(int argc, char **argv) try {
    if (argc != 4) {
        std::cerr << "usage: " << argv[0] << " PORT ORIGIN_HOST ORIGIN_PORT\n";
        return 2;
    }
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, nullptr);

    server server(argv[2], static_cast<std::uint16_t>(std::atoi(argv[3])));
    static crowd crowd;  // a thread that has left may still be about to say so
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[1])));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0 || listen(listener, 2048) != 0) {
        std::perror("listen");
        return 1;
    }
    std::thread accepting([&] {
        for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
            wire client(fd);
            if (!crowd.enter(fd))
                continue;
            std::thread([&server, fd, client = std::move(client)]() mutable {
                try {
                    server.connection(client);
                } catch (const std::exception &e) {
                    std::cerr << "connection: " << e.what() << "\n";
                }
                crowd.leave(fd);
            }).detach();
        }
    });
    int signal;
    sigwait(&ends, &signal);
    shutdown(listener, SHUT_RDWR);
    accepting.join();
    close(listener);
    crowd.end();
    return 0;
} catch (const std::exception &e) {
    std::cerr << e.what() << "\n";
    return 1;
}
