// The state of a venue as bytes, without the header: the form that state.py describes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

#include "venue.hpp"

namespace matching {

class Writer {
public:
    explicit Writer(std::vector<uint8_t>& bytes) : bytes_(bytes) {}

    template <typename T, typename... Words>
    void put(Words... words) {
        (append(static_cast<T>(words)), ...);
    }
    void money(Money amount) { put<uint64_t>(amount, amount >> 64); }

private:
    template <typename T>
    void append(T word) {
        const size_t at = bytes_.size();
        bytes_.resize(at + sizeof word);
        std::memcpy(bytes_.data() + at, &word, sizeof word);
    }
    std::vector<uint8_t>& bytes_;
};

class Reader {
public:
    explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

    template <typename T>
    T get() {
        if (bytes_.size() - at_ < sizeof(T)) throw std::invalid_argument("the dump ends within its records");
        T word;
        std::memcpy(&word, bytes_.data() + at_, sizeof word);
        at_ += sizeof word;
        return word;
    }
    Money money() {
        const uint64_t low = get<uint64_t>();
        return static_cast<Money>(static_cast<unsigned __int128>(get<uint64_t>()) << 64 | low);
    }
    bool done() const { return at_ == bytes_.size(); }

private:
    std::span<const uint8_t> bytes_;
    size_t at_ = 0;
};

constexpr size_t queues = 4;

inline void dump_book(const Market& market, Writer& to) {
    const Breaker& breaker = market.breaker;
    const auto [low, high] = market.book.band();
    to.put<uint32_t>(market.number, market.book.phase(), market.terms.value, market.terms.most, market.terms.collar,
                     breaker.halt);
    to.put<int64_t>(breaker.window_ns, breaker.pause_ns, breaker.auction_ns, breaker.due_ns, market.book.last(),
                    market.book.reference(), low, high);
    to.put<uint32_t>(breaker.count());
    for (size_t queue = 0; queue < queues; ++queue) {
        uint32_t count = 0;
        market.book.each(queue, [&](auto&&...) { ++count; });
        to.put<uint32_t>(count);
    }
    to.put<uint32_t>(market.terms.margin);
    for (size_t i = 0; i < breaker.count(); ++i) {
        to.put<int64_t>(breaker.slice(i).number);
        to.put<uint32_t>(breaker.slice(i).low, breaker.slice(i).high);
    }
    for (size_t queue = 0; queue < queues; ++queue) {
        market.book.each(queue, [&](const Order& order, uint32_t display, int32_t trigger, uint32_t shown) {
            to.put<uint64_t>(order.id);
            to.put<uint32_t>(order.account);
            to.put<uint8_t>(order.side, order.type, order.tif, order.flags, order.stp, 0, 0, 0);
            to.put<uint32_t>(order.price, order.left, display, trigger, shown);
        });
    }
}

inline void dump_account(const Account& account, Writer& to) {
    uint32_t held = 0;
    for (const Holding& each : account.holdings) held += each.position != 0;
    to.put<uint32_t>(account.number, account.killed);
    to.money(account.cash);
    to.money(account.paid_in);
    for (const int64_t each : account.limits) to.put<int64_t>(each);
    to.put<int64_t>(account.second);
    to.put<uint32_t>(account.sent, account.last_number, held, account.last_deposit);
    for (const Holding& each : account.holdings) {
        if (!each.position) continue;
        to.put<uint32_t>(each.book, 0);
        to.put<int64_t>(each.position);
    }
}

inline std::vector<uint8_t> dump(const Venue& venue) {
    std::vector<uint8_t> bytes;
    Writer to(bytes);
    const auto markets = venue.markets();
    const auto accounts = venue.accounts();
    to.put<int64_t>(venue.now_ns());
    to.put<uint32_t>(venue.killed(), markets.size(), accounts.size(), 0);
    for (const Market* each : markets) dump_book(*each, to);
    for (const Account* each : accounts) dump_account(*each, to);
    return bytes;
}

inline void require(bool sound) {
    if (!sound) throw std::invalid_argument("the dump has a record that cannot be");
}

inline void load_order(Reader& from, Market& to, size_t queue) {
    const bool sleeping = queue >= 2;
    Order order{};
    order.id = from.get<uint64_t>();
    order.account = from.get<uint32_t>();
    uint8_t bytes[8];
    for (uint8_t& each : bytes) each = from.get<uint8_t>();
    require(bytes[1] <= market && bytes[2] <= 3 && bytes[3] <= guarded && bytes[4] <= 3 && !bytes[5] && !bytes[6] &&
            !bytes[7]);
    order.side = bytes[0];
    order.type = bytes[1] & 1;
    order.tif = bytes[2] & 3;
    order.flags = bytes[3] & 3;
    order.stp = bytes[4] & 3;
    const auto price = from.get<uint32_t>(), left = from.get<uint32_t>(), display = from.get<uint32_t>(),
               trigger = from.get<uint32_t>(), shown = from.get<uint32_t>();
    require(order.id && order.account && order.side == 1 + queue % 2 && price <= max_price && left &&
            left <= max_quantity && display <= max_quantity && trigger <= max_price && sleeping == (trigger != 0) &&
            (sleeping ? !shown : display ? shown && shown <= left : shown == left));
    order.price = static_cast<int32_t>(price);
    order.left = left;
    order.sleeping = sleeping;
    order.iceberg = display != 0;
    require(to.book.restore(order, display, static_cast<int32_t>(trigger), shown));
}

inline void load_book(Reader& from, Venue& venue) {
    const auto number = from.get<uint32_t>(), phase = from.get<uint32_t>();
    Terms terms{};
    for (int64_t* each : {&terms.value, &terms.most, &terms.collar}) *each = from.get<uint32_t>();
    const int64_t halt = from.get<uint32_t>();
    int64_t words[8];
    for (int64_t& each : words) each = from.get<int64_t>();
    const auto [window, pause, auction, due, last, reference, low, high] = words;
    uint32_t counts[1 + queues];
    for (uint32_t& each : counts) each = from.get<uint32_t>();
    terms.margin = from.get<uint32_t>();
    const auto is_price = [](int64_t price) { return price >= 0 && price <= max_price; };
    const auto is_time = [](int64_t time, int64_t most) { return time >= 0 && time <= most; };
    constexpr int64_t longest = 255 * second;  // that OPEN can say
    require(number && !venue.find(number) && phase >= 1 && phase <= 4 && terms.value >= 1 && is_price(terms.value) &&
            is_price(terms.most) && is_price(terms.collar) && terms.margin <= basis && is_price(halt) &&
            window >= second && window <= longest && is_time(pause, longest) && is_time(auction, longest) &&
            is_time(due, max_ns + longest) && is_price(last) && is_price(reference) && is_price(low) &&
            is_price(high) && low <= high);
    Market& market = venue.add(number, static_cast<Phase>(phase), terms, Breaker(halt, window, pause, auction));
    market.breaker.due_ns = due;
    market.book.restore(last, reference, low, high);
    for (uint32_t i = 0; i < counts[0]; ++i) {
        Breaker::Slice slice{from.get<int64_t>(), from.get<uint32_t>(), from.get<uint32_t>()};
        require(is_time(slice.number, max_ns / (window / Breaker::slices)) && slice.low && slice.low <= slice.high &&
                is_price(slice.high) && market.breaker.restore(slice));
    }
    for (size_t queue = 0; queue < queues; ++queue)
        for (uint32_t i = 0; i < counts[1 + queue]; ++i) load_order(from, market, queue);
}

inline void load_account(Reader& from, Venue& venue) {
    const auto number = from.get<uint32_t>();
    require(number && !venue.account(number));
    Account& account = venue.add(number);
    const auto killed = from.get<uint32_t>();
    require(killed <= 1);
    account.killed = killed;
    account.cash = from.money();
    account.paid_in = from.money();
    for (const Money money : {account.cash, account.paid_in}) require(money >> 125 == 0 || money >> 125 == -1);
    for (int64_t& each : account.limits) {
        each = from.get<int64_t>();
        require(each >= 0);
    }
    account.second = from.get<int64_t>();
    account.sent = from.get<uint32_t>();
    account.last_number = from.get<uint32_t>();
    const auto held = from.get<uint32_t>();
    account.last_deposit = from.get<uint32_t>();
    for (uint32_t i = 0; i < held; ++i) {
        const auto book = from.get<uint32_t>();
        require(!from.get<uint32_t>());
        const Market* const market = venue.find(book);
        require(market);
        Holding& holding = account.holding(book, market->place);
        holding.position = from.get<int64_t>();
        require(holding.position >> 62 == 0 || holding.position >> 62 == -1);
        account.shorts += holding.lacking() > 0;
    }
}

// At the highest price and by the margin all that an account has stays within 125 bits, so that no sum of it overflows.
inline void require_adds_up(const Account& account, Venue& venue) {
    Money bound = 0;
    for (const Holding& each : account.holdings) {
        const Terms& terms = venue.find(each.book)->terms;
        const Money lots = Money{each.position < 0 ? -each.position : each.position} + each.buying + each.selling;
        bound += lots * terms.value * std::max<int64_t>(1, terms.margin);
        require(bound >> 94 == 0);
    }
}

// std::invalid_argument: the bytes are no dump.
inline std::unique_ptr<Venue> load(std::span<const uint8_t> bytes) {
    auto venue = std::make_unique<Venue>();
    Reader from(bytes);
    const auto now = from.get<int64_t>();
    const auto killed = from.get<uint32_t>(), books = from.get<uint32_t>(), accounts = from.get<uint32_t>();
    require(now >= 0 && now <= max_ns && killed <= 1 && !from.get<uint32_t>());
    venue->restore(now, killed);
    for (uint32_t i = 0; i < books; ++i) load_book(from, *venue);
    for (uint32_t i = 0; i < accounts; ++i) load_account(from, *venue);
    require(from.done());
    for (const Market* each : venue->markets()) {
        Market& market = *venue->find(each->number);
        for (size_t queue = 0; queue < queues; ++queue)
            market.book.each(queue, [&](const Order& order, auto...) {
                require(venue->account(order.account));
                Clerk{venue.get(), &market}.accepted(order);
            });
    }
    for (const Account* each : venue->accounts()) require_adds_up(*each, *venue);
    return venue;
}

}  // namespace matching
