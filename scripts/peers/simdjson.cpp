// Events and exact users per day and type, by hand: on-demand simdjson,
// libisal and libzstd.  What somebody writes who knows these libraries and
// needs the figures by tonight.
//
//     simdjson THREADS users|kpis FILE...
//
// prints day,type,events,users as CSV; with kpis, users that are active,
// churned and reactivated and sessions too, as lines that begin with #.
// Lines that simdjson finds fault with are dropped; the rest of a value that
// is skipped is not validated; no sketch, no state is written.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <thread>
#include <tuple>
#include <unistd.h>
#include <vector>

#include <isa-l/igzip_lib.h>
#include <simdjson.h>
#include <xxhash.h>
#include <zstd.h>

namespace {

namespace od = simdjson::ondemand;

constexpr int64_t day_ms = 86400000, gap_ms = 1800000;
constexpr size_t chunk_bytes = 1 << 20;

[[noreturn]] void die(const char *text, const char *what)
{
    std::fprintf(stderr, "simdjson: %s: %s\n", what, text);
    std::exit(1);
}

// A set of hashes: open addressing, at most half full; 0 is kept as 1.
class hash_set {
public:
    bool add(uint64_t x)
    {
        x += x == 0;
        if (2 * n_ >= slot_.size())
            grow();
        return place(x);
    }
    size_t size() const { return n_; }
    template <typename F> void each(F f) const
    {
        for (uint64_t x : slot_)
            if (x)
                f(x);
    }

private:
    bool place(uint64_t x)
    {
        size_t mask = slot_.size() - 1, i = x & mask;
        while (slot_[i]) {
            if (slot_[i] == x)
                return false;
            i = (i + 1) & mask;
        }
        slot_[i] = x;
        n_++;
        return true;
    }
    void grow()
    {
        std::vector<uint64_t> old(std::max<size_t>(64, 2 * slot_.size()));
        old.swap(slot_);
        n_ = 0;
        for (uint64_t x : old)
            if (x)
                place(x);
    }
    std::vector<uint64_t> slot_;
    size_t n_ = 0;
};

struct cell {
    uint64_t events = 0;
    hash_set users;
};

struct moment {
    uint64_t user;
    int64_t time;
};

using cells = std::map<std::pair<int64_t, std::string>, cell, std::less<>>;

// The digits a token begins with, in quotes or not.
bool parse_time(std::string_view text, int64_t &out)
{
    size_t i = !text.empty() && text[0] == '"', from = i;
    out = 0;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; i++)
        out = 10 * out + (text[i] - '0');
    return i > from && i - from <= 13;
}

class counter {
public:
    explicit counter(bool with_kpis) : kpis_(with_kpis) {}

    cells table;
    std::vector<moment> moments[256]; // by the hash's low byte

    void file(const char *name)
    {
        int fd = open(name, O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) != 0)
            die("cannot open", name);
        size_t n = (size_t)st.st_size;
        void *p = n ? mmap(nullptr, n, PROT_READ, MAP_PRIVATE | MAP_POPULATE,
                          fd, 0)
                    : nullptr;
        if (p == MAP_FAILED)
            die("cannot map", name);
        const uint8_t *in = static_cast<const uint8_t *>(p);
        close(fd);
        kept_ = 0;
        if (n > 2 && in[0] == 0x1f && in[1] == 0x8b)
            gzip(in, n, name);
        else if (n > 4 && std::memcmp(in, "\x28\xb5\x2f\xfd", 4) == 0)
            zstd(in, n, name);
        else
            plain(in, n);
        if (kept_ > 0)
            lines(kept_);
        if (n)
            munmap(p, n);
    }

private:
    // Text is unpacked behind what is left of the last line; whole lines go
    // on while they are still in the cache.
    uint8_t *room(size_t n)
    {
        if (buffer_.size() < kept_ + n + simdjson::SIMDJSON_PADDING)
            buffer_.resize(2 * (kept_ + n) + simdjson::SIMDJSON_PADDING);
        return buffer_.data() + kept_;
    }
    void came(size_t n)
    {
        size_t end = kept_ + n;
        const void *last =
            n ? memrchr(buffer_.data() + kept_, '\n', n) : nullptr;
        if (!last) {
            kept_ = end;
            return;
        }
        size_t whole = (size_t)(static_cast<const uint8_t *>(last) -
                                buffer_.data()) + 1;
        lines(whole);
        kept_ = end - whole;
        std::memmove(buffer_.data(), buffer_.data() + whole, kept_);
    }
    void gzip(const uint8_t *p, size_t n, const char *name)
    {
        while (n > 0) {
            isal_inflate_init(&gzip_);
            gzip_.crc_flag = ISAL_GZIP;
            gzip_.next_in = const_cast<uint8_t *>(p);
            gzip_.avail_in = (uint32_t)n;
            do {
                gzip_.next_out = room(chunk_bytes);
                gzip_.avail_out = chunk_bytes;
                if (isal_inflate(&gzip_) != ISAL_DECOMP_OK ||
                    gzip_.avail_out == chunk_bytes)
                    die("bad gzip", name);
                came(chunk_bytes - gzip_.avail_out);
            } while (gzip_.block_state != ISAL_BLOCK_FINISH);
            p += n - gzip_.avail_in;
            n = gzip_.avail_in;
        }
    }
    void zstd(const uint8_t *p, size_t n, const char *name)
    {
        ZSTD_inBuffer in = {p, n, 0};
        size_t left = 1;
        while (in.pos < n || left > 0) {
            ZSTD_outBuffer out = {room(chunk_bytes), chunk_bytes, 0};
            left = ZSTD_decompressStream(zstd_.get(), &out, &in);
            if (ZSTD_isError(left) || (in.pos == n && left > 0 && !out.pos))
                die("bad zstd", name);
            came(out.pos);
        }
    }
    void plain(const uint8_t *p, size_t n)
    {
        while (n > 0) {
            size_t some = std::min(n, chunk_bytes);
            std::memcpy(room(some), p, some);
            came(some);
            p += some;
            n -= some;
        }
    }

    void lines(size_t n)
    {
        size_t at = n > 2 && std::memcmp(buffer_.data(), "\xef\xbb\xbf", 3) == 0
                        ? 3 : 0;
        od::document_stream stream;
        if (parser_.iterate_many(buffer_.data() + at, n - at, n - at + 64)
                .get(stream))
            return;
        for (auto i = stream.begin(); i != stream.end(); ++i) {
            od::document_reference line;
            if (!(*i).get(line))
                event(line);
        }
    }

    void event(od::document_reference &line)
    {
        std::string_view type, user;
        int64_t time = -1;
        od::object whole;
        bool has_user = false;
        if (line.get_object().get(whole))
            return;
        for (auto field : whole) {
            std::string_view key;
            od::value value;
            if (field.unescaped_key().get(key) || field.value().get(value))
                return;
            if (key == "data") {
                if (!data(value, type, user, has_user))
                    return;
            } else if (key == "meta") {
                if (!meta(value, time))
                    return;
            }
        }
        if (time >= 0 && !type.empty())
            count(time, type, user, has_user);
    }
    bool data(od::value value, std::string_view &type, std::string_view &user,
        bool &has_user)
    {
        od::object object;
        if (value.get_object().get(object))
            return false;
        for (auto field : object) {
            std::string_view key;
            od::value member;
            if (field.unescaped_key().get(key) || field.value().get(member))
                return false;
            if (key == "type") {
                if (member.get_string().get(type))
                    return false;
            } else if (key == "attributes") {
                od::object attributes;
                if (member.get_object().get(attributes))
                    return false;
                user_of(attributes, user, has_user);
            }
        }
        return true;
    }
    // The key as it is nearly always written first; escaped if need be.
    void user_of(od::object &attributes, std::string_view &user, bool &has_user)
    {
        od::value value;
        if (!attributes.find_field("user_id").get(value)) {
            user_value(value, user, has_user);
            return;
        }
        if (attributes.reset().error())
            return;
        for (auto field : attributes) {
            std::string_view key;
            if (field.unescaped_key().get(key) || key != "user_id" ||
                field.value().get(value))
                continue;
            user_value(value, user, has_user);
            return;
        }
    }
    void user_value(od::value &value, std::string_view &user, bool &has_user)
    {
        if (!value.get_string().get(user)) {
            has_user = !user.empty();
            return;
        }
        user = value.raw_json_token();
        size_t n = user.find_last_of("0123456789");
        has_user = n != user.npos && user[0] != 'n';
        user = user.substr(0, n + 1);
    }
    static bool meta(od::value value, int64_t &time)
    {
        od::object object;
        if (value.get_object().get(object))
            return false;
        for (auto field : object) {
            std::string_view key;
            od::value member;
            if (field.unescaped_key().get(key) || field.value().get(member))
                return false;
            if (key == "created_at" &&
                !parse_time(member.raw_json_token(), time))
                return false;
        }
        return true;
    }

    void count(int64_t time, std::string_view type, std::string_view user,
        bool has_user)
    {
        int64_t day = time / day_ms;
        if (!last_ || day != last_day_ || type != last_type_) {
            last_type_ = type;
            last_day_ = day;
            last_ = &table[{day, last_type_}];
        }
        last_->events++;
        if (!has_user)
            return;
        uint64_t hash = XXH64(user.data(), user.size(), 0);
        last_->users.add(hash);
        if (kpis_)
            moments[hash & 255].push_back({hash, time});
    }

    bool kpis_;
    od::parser parser_;
    std::vector<uint8_t> buffer_;
    size_t kept_ = 0;
    inflate_state gzip_;
    std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx *)> zstd_{
        ZSTD_createDCtx(), ZSTD_freeDCtx};
    std::string last_type_;
    int64_t last_day_ = 0;
    cell *last_ = nullptr;
};

struct day_kpis {
    uint64_t users = 0, active = 0, churned = 0, reactivated = 0, sessions = 0;
};

// Of the users whose hashes end in one byte.
void count_kpis(std::vector<std::unique_ptr<counter>> &counters, size_t byte,
    int64_t last_day, std::map<int64_t, day_kpis> &days)
{
    std::vector<moment> all;
    for (auto &c : counters)
        all.insert(all.end(), c->moments[byte].begin(), c->moments[byte].end());
    std::sort(all.begin(), all.end(), [](const moment &a, const moment &b) {
        return a.user != b.user ? a.user < b.user : a.time < b.time;
    });
    int64_t before = 0;
    for (size_t i = 0; i < all.size(); i++) {
        int64_t day = all[i].time / day_ms;
        bool first = i == 0 || all[i - 1].user != all[i].user;
        bool last = i + 1 == all.size() || all[i + 1].user != all[i].user;
        if (first || all[i].time - all[i - 1].time > gap_ms)
            days[day].sessions++;
        if (first || day != before) {
            bool came = !first && before == day - 1;
            days[day].users++;
            (came ? days[day].active : days[day].reactivated)++;
            if (!first && !came)
                days[before + 1].churned++;
        }
        before = day;
        if (last && day < last_day)
            days[day + 1].churned++;
    }
}

std::string day_text(int64_t day)
{
    time_t at = (time_t)(day * 86400);
    char text[32];
    struct tm tm;
    std::strftime(text, sizeof text, "%Y-%m-%d", gmtime_r(&at, &tm));
    return text;
}

void print_kpis(std::vector<std::unique_ptr<counter>> &counters,
    size_t n_threads, int64_t last_day)
{
    std::vector<std::map<int64_t, day_kpis>> part(n_threads);
    std::vector<std::thread> threads;
    for (size_t t = 0; t < n_threads; t++)
        threads.emplace_back([&, t] {
            for (size_t byte = t; byte < 256; byte += n_threads)
                count_kpis(counters, byte, last_day, part[t]);
        });
    for (auto &thread : threads)
        thread.join();
    for (size_t t = 1; t < n_threads; t++)
        for (auto &[day, x] : part[t]) {
            day_kpis &sum = part[0][day];
            sum.users += x.users;
            sum.active += x.active;
            sum.churned += x.churned;
            sum.reactivated += x.reactivated;
            sum.sessions += x.sessions;
        }
    for (auto &[day, x] : part[0])
        std::printf("#%s,%llu,%llu,%llu,%llu,%llu\n", day_text(day).c_str(),
            (unsigned long long)x.users, (unsigned long long)x.active,
            (unsigned long long)x.churned, (unsigned long long)x.reactivated,
            (unsigned long long)x.sessions);
}

} // namespace

int main(int argc, char **argv)
{
    if (argc < 4)
        die("simdjson THREADS users|kpis FILE...", "usage");
    size_t n_threads = (size_t)std::max(1, std::atoi(argv[1]));
    bool with_kpis = std::strcmp(argv[2], "kpis") == 0;
    std::atomic<int> next{3};
    std::vector<std::unique_ptr<counter>> counters;
    std::vector<std::thread> threads;
    for (size_t t = 0; t < n_threads; t++)
        counters.push_back(std::make_unique<counter>(with_kpis));
    for (size_t t = 0; t < n_threads; t++)
        threads.emplace_back([&, t] {
            for (int i; (i = next++) < argc;)
                counters[t]->file(argv[i]);
        });
    for (auto &thread : threads)
        thread.join();
    cells &sum = counters[0]->table;
    for (size_t t = 1; t < n_threads; t++)
        for (auto &[key, one] : counters[t]->table) {
            cell &into = sum[key];
            into.events += one.events;
            one.users.each([&](uint64_t x) { into.users.add(x); });
        }
    for (auto &[key, one] : sum)
        std::printf("%s,\"%s\",%llu,%zu\n", day_text(key.first).c_str(),
            key.second.c_str(), (unsigned long long)one.events,
            one.users.size());
    if (with_kpis && !sum.empty())
        print_kpis(counters, n_threads, sum.rbegin()->first.first);
    return 0;
}
