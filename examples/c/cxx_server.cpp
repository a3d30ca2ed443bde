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

/// Calls `each` for the pieces of a body; false if it broke off.
template <typename F>
bool read_body(wire &from, const message &head, bool until_close, F &&each) {
    auto exactly = [&](std::size_t left) {
        while (left > 0) {
            std::string bytes = from.some(left);
            if (bytes.empty())
                return false;
            left -= bytes.size();
            each(std::string_view(bytes));
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
        each(std::string_view(bytes));
    return true;
}

class server {
public:
    server(std::string host, std::uint16_t port)
        : host_(std::move(host)), port_(port), cache_(64 << 20), refresher_(cache_, [this](swrcache_fetch *raw) { refresh(raw); }) {}

    void connection(wire &client) {
        message request;
        while (read_head(client, request) && answer(client, request)) {
        }
    }

private:
    struct outcome {
        int todo = SWRCACHE_DO_RELAY;
        int status = 0;
        message head;
        std::string body;
    };

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

    /// Asks the origin; feeds the cache, if it wants the answer.
    outcome ask(swrcache::fetch *fetch, const std::string &method, const std::string &target, const std::string &lines, const std::string &body) {
        outcome out;
        wire origin = connect();
        bool sent = origin.fd() >= 0 && origin.send_all(method + " " + target + " HTTP/1.1\r\n" + lines + "Connection: close\r\n\r\n" + body);
        if (!sent || !read_head(origin, out.head) || out.head.first.size() < 12) {
            if (fetch)
                out.todo = fetch->fail(SWRCACHE_FAIL_ERROR);
            return out;
        }
        out.status = std::atoi(out.head.first.c_str() + 9);
        if (fetch)
            out.todo = fetch->respond(out.status, out.head.views());
        bool bodiless = method == "HEAD" || out.status == 304 || out.status == 204, whole = true;
        bool relays = !fetch || !fetch->is_refresh();
        auto take = [&](std::string_view bytes) {
            if (relays)
                out.body += bytes;
            if (out.todo != SWRCACHE_DO_STORE)
                return;
            try {
                fetch->write(bytes);
            } catch (const swrcache::error &) {
                out.todo = SWRCACHE_DO_RELAY;  // no room: the client gets it all the same
            }
        };
        if (!bodiless)
            whole = read_body(origin, out.head, true, take);
        if (out.todo == SWRCACHE_DO_STORE)
            out.todo = whole ? fetch->finish() : fetch->fail(SWRCACHE_FAIL_ERROR);
        if (!whole)
            out.status = 0;
        return out;
    }

    outcome carry(swrcache::fetch &fetch) {
        outcome out;
        do {
            std::string lines;
            fetch.fields_to_send([&](std::string_view name, std::string_view value) {
                lines.append(name).append(": ").append(value).append("\r\n");
            });
            out = ask(&fetch, "GET", std::string(fetch.key()), lines, "");
        } while (out.todo == SWRCACHE_DO_ASK_AGAIN);
        return out;
    }

    /// In a thread of the refresher.
    void refresh(swrcache_fetch *raw) noexcept {
        swrcache::fetch fetch(raw);
        try {
            carry(fetch);
        } catch (const std::exception &e) {
            std::cerr << "refresh: " << e.what() << "\n";
        }
        (void)fetch.release();  // the refresher's
    }

    bool answer(wire &client, const message &request) {
        std::size_t space = request.first.find(' ');
        std::string method = request.first.substr(0, space);
        std::string target = request.first.substr(space + 1, request.first.find(' ', space + 1) - space - 1);
        std::string upload;
        if (!read_body(client, request, false, [&](std::string_view bytes) { upload += bytes; }))
            return false;
        std::string own = "http://" + std::string(request.get("host"));
        auto decision = cache_.lookup(policy_, method, target, request.views(), true, SWRCACHE_FIRST, 0, own.c_str());
        switch (decision.action) {
        case SWRCACHE_SERVE:
            if (decision.fetch)
                refresher_.submit(std::move(*decision.fetch));
            return deliver(client, *decision.answer, method);
        case SWRCACHE_FETCH: {
            outcome out = carry(*decision.fetch);
            if (out.todo == SWRCACHE_DO_REPLY)
                if (auto reply = decision.fetch->answer())
                    return deliver(client, *reply, method);
            return relay(client, out, method);
        }
        case SWRCACHE_GATEWAY_TIMEOUT:
            return client.send_all("HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n");
        default:
            return pass(client, request, method, target, upload);
        }
    }

    bool pass(wire &client, const message &request, const std::string &method, const std::string &target, const std::string &upload) {
        std::string lines;
        for (const auto &[name, value] : request.lines)
            if (!is_hop_by_hop(name))
                lines += name + ": " + value + "\r\n";
        if (!upload.empty())
            lines += "Content-Length: " + std::to_string(upload.size()) + "\r\n";
        outcome out = ask(nullptr, method, target, lines, upload);
        if (out.status)
            cache_.passed(policy_, method, target, request.views(), "http://" + std::string(request.get("host")), target, out.status, out.head.views());
        return relay(client, out, method);
    }

    bool deliver(wire &client, swrcache::reply &reply, const std::string &method) {
        swrcache_head head = reply.head();
        std::string text = "HTTP/1.1 " + std::to_string(head.status) + " -\r\n";
        swrcache::for_each(head.fields, head.field_count, [&](std::string_view name, std::string_view value) {
            text.append(name).append(": ").append(value).append("\r\n");
        });
        text += std::string("X-Cache: ") + swrcache_status_name(head.cache_status) + "\r\n";
        bool chunked = head.body_length < 0 && method != "HEAD";
        text += chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n";
        bool sent = client.send_all(text);
        auto send = [&](std::string_view bytes) {
            char size[32];
            if (chunked) {
                std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
                sent = sent && client.send_all(size);
            }
            sent = sent && client.send_all(bytes) && (!chunked || client.send_all("\r\n"));
        };
        try {
            reply.for_each_piece(send, 60000);
        } catch (const swrcache::error &) {
            return false;  // it broke off, and so does the connection
        }
        return sent && (!chunked || client.send_all("0\r\n\r\n"));
    }

    bool relay(wire &client, const outcome &out, const std::string &method) {
        if (out.todo == SWRCACHE_DO_GATEWAY_TIMEOUT)
            return client.send_all("HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n");
        if (out.status == 0)
            return client.send_all("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
        std::string text = "HTTP/1.1 " + std::to_string(out.status) + " -\r\n";
        for (const auto &[name, value] : out.head.lines)
            if (!is_hop_by_hop(name))
                text += name + ": " + value + "\r\n";
        std::string length(method == "HEAD" ? std::string(out.head.get("content-length")) : std::to_string(out.body.size()));
        return client.send_all(text + "Content-Length: " + length + "\r\n\r\n" + out.body);
    }

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
