// One book: the rules of ReferenceEngine in Python, which is the specification and the oracle of every test.
//
// Nothing here reads a clock or draws lots, and nothing is allocated once the pool, the hash and the buffer of events
// have grown to what is needed (prices far from the first one excepted: they lie in a tree). One thread per book.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "digest.hpp"
#include "ladder.hpp"
#include "pool.hpp"
#include "records.hpp"

namespace matching {

// The orders of one side, or its sleeping stops: those without a price first, then by price.
template <bool Up>
struct Half {
    Ladder<Up> ladder;
    Queue market;

    void push(Pool& pool, int32_t price, Place place) {
        if (price)
            ladder.push(pool, price, place);
        else
            market.push(pool, place);
    }

    void remove(Pool& pool, int32_t price, Place place) {
        if (price)
            ladder.remove(pool, price, place);
        else
            market.remove(pool, place);
    }

    template <typename F>
    void each(const Pool& pool, F&& visit) const {
        for (Place at = market.head; at; at = pool[at].next) visit(at);
        for (int32_t price = ladder.best(); price; price = ladder.next(price))
            for (Place at = ladder.first(price); at; at = pool[at].next) visit(at);
    }
};

struct Cross {
    int64_t price, volume, surplus;
};

// Whoever must know what becomes of orders while it happens has these functions. The orders are as they are afterwards.
struct Nobody {
    void accepted(const Order&) {}
    void replaced(const Order&, int32_t /*price before*/, uint32_t /*lots before*/) {}
    void canceled(const Order&) {}
    void traded(const Order& /*taker or buyer*/, const Order&, int32_t /*price*/, uint32_t /*lots*/, uint8_t /*side*/) {}
    bool halts() const { return false; }  // whether the book is to halt: no stop wakes any more
};

template <typename Listener = Nobody>
class BookFor {
public:
    // Events go to `tape`, and the book keeps one itself if there is none.
    explicit BookFor(Phase phase = Phase::continuous, size_t capacity = 1024, Listener listener = {},
                     std::vector<Event>* tape = nullptr)
        : pool_(capacity), ids_(capacity), told_(tape ? *tape : own_), listener_(listener), phase_(phase) {
        if (!tape) own_.reserve(4096);
    }
    BookFor(const BookFor&) = delete;
    BookFor& operator=(const BookFor&) = delete;

    // Forget the events told so far. Their place is used again.
    void clear() { told_.clear(); }
    std::span<const Event> told() const { return told_; }

    // Do one command; `index` is noted in its events.
    void apply(const Command& command, uint32_t index = 0) {
        index_ = index;
        switch (static_cast<Kind>(command.kind)) {
            case Kind::new_order: enter(command); break;
            case Kind::cancel: cancel(command); return;  // wakes nobody
            case Kind::replace: replace(command); break;
            case Kind::mass_cancel: mass_cancel(command); return;
            case Kind::phase: change_phase(command); break;
            case Kind::band: set_band(command); return;
            case Kind::reference: refer(command); return;
            default: reject(command, Reason::field); return;
        }
        wake();
    }

    size_t size() const { return ids_.size(); }
    size_t bytes() const { return pool_.bytes() + ids_.bytes(); }
    Phase phase() const { return phase_; }
    int64_t last() const { return last_; }
    int64_t reference() const { return reference_; }
    std::pair<int64_t, int64_t> band() const { return {low_band_, high_band_}; }

    // nullptr: none.
    const Order* find(uint64_t id) const {
        const Place at = ids_.find(id);
        return at ? &pool_[at] : nullptr;
    }

    // 0: it does not sleep.
    int32_t trigger(const Order& order) const { return order.sleeping ? pool_.extra(ids_.find(order.id)).trigger : 0; }

    int32_t best(Side side) const { return side == Side::buy ? buys_.ladder.best() : sells_.ladder.best(); }

    // Cancel all orders of an account; 0: everybody's.
    void sweep(uint32_t account, Reason reason, uint32_t index) {
        index_ = index;
        drop_all(reason, [&](const Order& order) { return !account || order.account == account; });
    }

    uint64_t digest() const {
        Digest digest;
        const auto mix = [&digest](uint64_t word) { digest.mix(word); };
        for (const int64_t word : {int64_t(phase_), int64_t(last_), int64_t(reference_), int64_t(low_band_), int64_t(high_band_)})
            mix(word);
        const auto words = [&](Place at) {
            const Order& order = pool_[at];
            const Extra& extra = pool_.extra(at);
            mix(order.id);
            mix(order.account);
            mix(order.side | uint64_t{order.type} << 8 | uint64_t{order.tif} << 16 | uint64_t{order.flags} << 24 |
                uint64_t{order.stp} << 32);
            mix(order.price);
            mix(order.left);
            mix(order.sleeping ? 0 : order.iceberg ? extra.shown : order.left);
            mix(order.iceberg ? extra.display : 0);
            mix(order.sleeping ? extra.trigger : 0);
        };
        buys_.each(pool_, words), mix(0);
        sells_.each(pool_, words), mix(0);
        buy_stops_.each(pool_, words), mix(0);
        sell_stops_.each(pool_, words), mix(0);
        return digest.value();
    }

    // Visit the orders that buy, those that sell, and the stops of either: each as they trade, or wake.
    template <typename F>
    void each(size_t queue, F&& visit) const {
        const auto one = [&](Place at) {
            const Order& order = pool_[at];
            const Extra& extra = pool_.extra(at);
            visit(order, order.iceberg ? extra.display : 0, order.sleeping ? extra.trigger : 0,
                  order.sleeping ? 0 : shown(at));
        };
        switch (queue) {
            case 0: return buys_.each(pool_, one);
            case 1: return sells_.each(pool_, one);
            case 2: return buy_stops_.each(pool_, one);
            default: return sell_stops_.each(pool_, one);
        }
    }

    // Put an order at the end of its queue, as `each` gave it. False: there is one with that id.
    bool restore(const Order& given, uint32_t display, int32_t trigger, uint32_t shown) {
        if (ids_.find(given.id)) return false;
        const Place at = pool_.take();
        pool_[at] = given;
        if (display || trigger) pool_.extra(at) = {display, shown, trigger};
        ids_.add(given.id, at);
        if (given.sleeping)
            sleep(at);
        else if (given.side == static_cast<uint8_t>(Side::buy))
            buys_.push(pool_, given.price, at);
        else
            sells_.push(pool_, given.price, at);
        return true;
    }

    void restore(int64_t last, int64_t reference, int64_t low_band, int64_t high_band) {
        last_ = static_cast<int32_t>(last);
        reference_ = static_cast<int32_t>(reference);
        low_band_ = low_band;
        high_band_ = high_band;
    }

    struct Level {
        int64_t price, shown, orders;
    };

    std::vector<Level> depth(Side side, size_t levels) const {
        return side == Side::buy ? depth_of(buys_, levels) : depth_of(sells_, levels);
    }

private:
    template <Side S>
    auto& half() {
        if constexpr (S == Side::buy)
            return buys_;
        else
            return sells_;
    }

    template <bool Up>
    std::vector<Level> depth_of(const Half<Up>& half, size_t levels) const {
        std::vector<Level> found;
        for (int32_t price = half.ladder.best(); price && found.size() < levels; price = half.ladder.next(price)) {
            Level level{price, 0, 0};
            for (Place at = half.ladder.first(price); at; at = pool_[at].next) level.shown += shown(at), ++level.orders;
            found.push_back(level);
        }
        return found;
    }

    uint32_t shown(Place at) const { return pool_[at].iceberg ? pool_.extra(at).shown : pool_[at].left; }

    // What is said

    Event& say(Told kind) {
        Event& event = told_.emplace_back();
        event.kind = kind;
        event.command = index_;
        return event;
    }

    Event& tell(Told kind, const Order& order, int64_t price, int64_t quantity = 0, int64_t left = 0) {
        Event& event = say(kind);
        event.id = order.id;
        event.account = order.account;
        event.side = order.side;
        event.price = price;
        event.quantity = quantity;
        event.left = left;
        return event;
    }

    void reject(const Command& command, Reason reason) {
        Event& event = say(Told::rejected);
        event.id = command.id;
        event.account = command.account;
        event.reason = reason;
    }

    // New orders

public:
    static bool sound(const Command& c) {
        const bool in_range = c.id && c.account && c.side >= 1 && c.side <= 2 && c.type <= market && c.tif <= 3 &&
                              c.stp <= 3 && c.flags <= guarded && c.price >= 0 && c.price <= max_price &&
                              c.quantity > 0 && c.quantity <= max_quantity && c.display >= 0 &&
                              c.display <= c.quantity && c.trigger >= 0 && c.trigger <= max_price;
        const bool takes_any = c.type == market && c.flags != guarded;
        if (!in_range || takes_any != (c.price == 0) || (c.flags == guarded && c.type != market)) return false;
        const bool never_waits = c.type == market || at_once(c.tif);
        return !(c.display && never_waits) && !(c.flags == post_only && (never_waits || c.trigger));
    }

private:
    static bool at_once(uint8_t tif) { return tif >= static_cast<uint8_t>(TimeInForce::ioc); }

    Reason refusal(const Command& c) const {
        if (!sound(c)) return Reason::field;
        if (phase_ == Phase::halted || phase_ == Phase::closed) return Reason::phase;
        if (phase_ == Phase::auction && at_once(c.tif) && !c.trigger) return Reason::phase;
        if (ids_.find(c.id)) return Reason::duplicate;
        return misplaced(c.side, c.price, c.flags);
    }

    bool outside(int64_t price) const { return high_band_ && (price < low_band_ || price > high_band_); }

    Reason misplaced(uint8_t side, int64_t price, uint8_t flags) const {
        if (price && flags != guarded && outside(price)) return Reason::band;
        if (flags == post_only && phase_ == Phase::continuous) {
            const bool buy = side == static_cast<uint8_t>(Side::buy);
            const int32_t best = buy ? sells_.ladder.best() : buys_.ladder.best();
            if (best && (!price || (buy ? best <= price : best >= price))) return Reason::post_only;
        }
        return Reason::none;
    }

    void enter(const Command& c) {
        if (const Reason reason = refusal(c); reason != Reason::none) return reject(c, reason);
        const Place at = pool_.take();
        Order& order = pool_[at];
        order = {};
        order.id = c.id;
        order.account = c.account;
        order.price = static_cast<int32_t>(c.price);
        order.left = static_cast<uint32_t>(c.quantity);
        order.side = c.side;
        order.type = c.type & 1;
        order.tif = c.tif & 3;
        order.flags = c.flags & 3;
        order.stp = c.stp & 3;
        order.iceberg = c.display != 0;
        order.sleeping = c.trigger != 0;
        if (c.display || c.trigger)
            pool_.extra(at) = {static_cast<uint32_t>(c.display), 0, static_cast<int32_t>(c.trigger)};
        ids_.add(c.id, at);
        tell(Told::accepted, order, order.price, order.left);
        listener_.accepted(order);
        if (!order.sleeping) return arrive(at);
        sleep(at);
        if (phase_ == Phase::continuous && last_) low_ = high_ = last_;
    }

    void sleep(Place at) {
        const int32_t trigger = pool_.extra(at).trigger;
        if (pool_[at].side == static_cast<uint8_t>(Side::buy))
            buy_stops_.push(pool_, trigger, at);
        else
            sell_stops_.push(pool_, trigger, at);
    }

    void arrive(Place at) {
        if (pool_[at].side == static_cast<uint8_t>(Side::buy))
            arrive_on<Side::buy>(at);
        else
            arrive_on<Side::sell>(at);
    }

    template <Side S>
    void arrive_on(Place at) {
        Order& order = pool_[at];
        if (phase_ == Phase::continuous) {
            if (order.tif == static_cast<uint8_t>(TimeInForce::fok) && !fills<S>(order))
                return drop(at, Reason::not_in_full);
            if (!match<S>(at)) return;
            if (order.type == market || order.tif == static_cast<uint8_t>(TimeInForce::ioc)) return drop(at, Reason::unfilled);
        }
        rest(at, Told::rested);
    }

    void rest(Place at, Told told) {
        Order& order = pool_[at];
        show(at);
        if (order.side == static_cast<uint8_t>(Side::buy))
            buys_.push(pool_, order.price, at);
        else
            sells_.push(pool_, order.price, at);
        tell(told, order, order.price, shown(at), order.left);
    }

    void show(Place at) {
        if (pool_[at].iceberg) pool_.extra(at).shown = std::min(pool_.extra(at).display, pool_[at].left);
    }

    // Matching

    template <Side S>
    static bool crosses(int32_t best, int32_t limit) {
        return !limit || (S == Side::buy ? best <= limit : best >= limit);
    }

    template <Side S>
    auto& other() {
        return half<S == Side::buy ? Side::sell : Side::buy>();
    }

    static bool self_trade(const Order& taker, const Order& maker) {
        return taker.stp && taker.account == maker.account;
    }

    template <Side S>
    bool fills(const Order& order) {
        const auto& ladder = other<S>().ladder;
        uint64_t found = 0;
        for (int32_t price = ladder.best(); price && found < order.left && crosses<S>(price, order.price);
             price = ladder.next(price)) {
            for (Place at = ladder.first(price); at; at = pool_[at].next) {
                if (!self_trade(order, pool_[at]))
                    found += pool_[at].left;
                else if (order.stp != static_cast<uint8_t>(SelfTrade::cancel_maker))
                    return false;
            }
        }
        return found >= order.left;
    }

    // Whether the taker is still live.
    template <Side S>
    bool match(Place at) {
        auto& makers = other<S>();
        Order& taker = pool_[at];
        for (;;) {
            const int32_t price = makers.ladder.best();
            if (!price || !crosses<S>(price, taker.price)) return true;
            const Place from = makers.ladder.first(price);
            Order& maker = pool_[from];
            if (self_trade(taker, maker)) [[unlikely]] {
                const auto choice = static_cast<SelfTrade>(taker.stp);
                if (choice != SelfTrade::cancel_taker) {
                    makers.ladder.remove(pool_, price, from);
                    drop(from, Reason::self_trade);
                }
                if (choice != SelfTrade::cancel_maker) {
                    drop(at, Reason::self_trade);
                    return false;
                }
                continue;
            }
            const uint32_t lots = std::min(taker.left, shown(from));
            trade(at, from, price, lots, taker.side);
            if (!maker.left) {
                makers.ladder.remove(pool_, price, from);
                release(from);
            } else if (maker.iceberg && !pool_.extra(from).shown) {
                makers.ladder.remove(pool_, price, from);
                rest(from, Told::refreshed);
            }
            if (!taker.left) {
                release(at);
                return false;
            }
        }
    }

    void trade(Place one, Place two, int32_t price, uint32_t lots, uint8_t aggressor) {
        Order &taker = pool_[one], &maker = pool_[two];
        taker.left -= lots;
        maker.left -= lots;
        if (taker.iceberg) pool_.extra(one).shown -= lots;
        if (maker.iceberg) pool_.extra(two).shown -= lots;
        last_ = reference_ = price;
        low_ = low_ ? std::min(low_, price) : price;
        high_ = std::max(high_, price);
        Event& event = say(Told::traded);
        event.side = aggressor;
        event.id = taker.id;
        event.other = maker.id;
        event.account = taker.account;
        event.other_account = maker.account;
        event.price = price;
        event.quantity = lots;
        event.left = taker.left;
        event.other_left = maker.left;
        listener_.traded(taker, maker, price, lots, aggressor);
    }

    void wake() {
        while (phase_ == Phase::continuous && !listener_.halts()) {
            if (high_) {
                collect(buy_stops_, high_);
                collect(sell_stops_, low_);
            }
            low_ = high_ = 0;
            if (next_woken_ == woken_.size()) {
                woken_.clear();
                next_woken_ = 0;
                return;
            }
            const Place at = woken_[next_woken_++];
            tell(Told::triggered, pool_[at], pool_.extra(at).trigger);
            pool_[at].sleeping = false;
            arrive(at);
        }
        // At each trigger all or none are here: their order stays as it was.
        while (next_woken_ < woken_.size()) sleep(woken_[next_woken_++]);
        woken_.clear();
        next_woken_ = 0;
        low_ = high_ = 0;
    }

    template <bool Up>
    void collect(Half<Up>& stops, int32_t touched) {
        for (int32_t trigger = stops.ladder.best(); trigger && !Ladder<Up>::before(touched, trigger);
             trigger = stops.ladder.best()) {
            const Place at = stops.ladder.first(trigger);
            stops.ladder.remove(pool_, trigger, at);
            woken_.push_back(at);
        }
    }

    // Changing and cancelling

    Place of(const Command& c) const {
        const Place at = ids_.find(c.id);
        return at && pool_[at].account == c.account ? at : 0;
    }

    void cancel(const Command& c) {
        const Place at = of(c);
        if (!at) return reject(c, Reason::unknown);
        take_out(at);
        drop(at, Reason::user);
    }

    void replace(const Command& c) {
        const Place at = of(c);
        const Reason reason = at ? irreplaceable(pool_[at], c) : Reason::unknown;
        if (reason != Reason::none) return reject(c, reason);
        Order& order = pool_[at];
        const bool keeps = order.sleeping || (c.price == order.price && c.quantity <= int64_t{order.left});
        if (!keeps) take_out(at);
        const int32_t price = std::exchange(order.price, static_cast<int32_t>(c.price));
        const uint32_t left = std::exchange(order.left, static_cast<uint32_t>(c.quantity));
        tell(Told::replaced, order, order.price, order.left).other = keeps;
        listener_.replaced(order, price, left);
        if (!keeps) return arrive(at);
        if (order.iceberg && !order.sleeping) pool_.extra(at).shown = std::min(pool_.extra(at).shown, order.left);
    }

    Reason irreplaceable(const Order& order, const Command& c) const {
        if (phase_ == Phase::halted || phase_ == Phase::closed) return Reason::phase;
        if (c.quantity <= 0 || c.quantity > max_quantity || c.price < 0 || c.price > max_price) return Reason::field;
        if ((c.price != 0) != (order.price != 0)) return Reason::field;
        return misplaced(order.side, c.price, order.flags);
    }

    void mass_cancel(const Command& c) {
        if (!c.account || c.side > 2) return reject(c, Reason::field);
        const size_t count = drop_all(Reason::mass, [&](const Order& order) {
            return order.account == c.account && (!c.side || order.side == c.side);
        });
        Event& event = say(Told::swept);
        event.account = c.account;
        event.quantity = static_cast<int64_t>(count);
    }

    template <typename F>
    size_t drop_all(Reason reason, F&& chosen) {
        picked_.clear();
        const auto pick = [&](Place at) {
            if (chosen(pool_[at])) picked_.push_back(at);
        };
        buys_.each(pool_, pick);
        sells_.each(pool_, pick);
        buy_stops_.each(pool_, pick);
        sell_stops_.each(pool_, pick);
        for (const Place at : picked_) {
            take_out(at);
            drop(at, reason);
        }
        return picked_.size();
    }

    void take_out(Place at) {
        const Order& order = pool_[at];
        const bool buy = order.side == static_cast<uint8_t>(Side::buy);
        if (order.sleeping) {
            const int32_t trigger = pool_.extra(at).trigger;
            buy ? buy_stops_.remove(pool_, trigger, at) : sell_stops_.remove(pool_, trigger, at);
        } else {
            buy ? buys_.remove(pool_, order.price, at) : sells_.remove(pool_, order.price, at);
        }
    }

    void drop(Place at, Reason reason) {
        const Order& order = pool_[at];
        tell(Told::canceled, order, order.price, 0, order.left).reason = reason;
        listener_.canceled(order);
        release(at);
    }

    void release(Place at) {
        ids_.remove(pool_[at].id);
        pool_.give(at);
    }

    // The book as a whole

    static bool may_follow(Phase from, Phase to) {
        switch (from) {
            case Phase::continuous: return to != Phase::continuous;
            case Phase::auction: return to != Phase::auction;
            case Phase::halted: return to == Phase::auction || to == Phase::closed;
            default: return to == Phase::auction;
        }
    }

    void change_phase(const Command& c) {
        if (c.type < 1 || c.type > 4) return reject(c, Reason::field);
        const auto phase = static_cast<Phase>(c.type);
        if (!may_follow(phase_, phase)) return reject(c, Reason::phase);
        if (phase_ == Phase::auction && phase != Phase::halted) uncross();
        phase_ = phase;
        say(Told::phased).quantity = c.type;
        if (phase == Phase::closed)
            drop_all(Reason::day, [](const Order& o) { return o.tif == static_cast<uint8_t>(TimeInForce::day); });
        if (phase == Phase::continuous && last_) {
            low_ = low_ ? low_ : last_;
            high_ = high_ ? high_ : last_;
        }
    }

    void uncross() {
        if (const auto cross = crossing(); cross && !outside(cross->price)) {
            Event& event = say(Told::uncrossed);
            event.price = cross->price;
            event.quantity = cross->volume;
            event.left = cross->surplus;
            trade_at(static_cast<int32_t>(cross->price), cross->volume);
        }
        drop_all(Reason::unfilled, [](const Order& order) { return order.type == market && !order.sleeping; });
    }

    // See `crossing` in auction.py.
    std::optional<Cross> crossing() {
        struct Step {
            int32_t price;
            int64_t bought, sold;
            bool limit;  // or only market orders, whose prices are no candidates
        };
        const auto lots = [&](Place head) {
            int64_t sum = 0;
            for (Place at = head; at; at = pool_[at].next) sum += pool_[at].left;
            return sum;
        };
        const auto limit = [&](Place head) {
            for (Place at = head; at; at = pool_[at].next)
                if (pool_[at].type != market) return true;
            return false;
        };
        std::vector<Step> steps;
        for (int32_t p = buys_.ladder.best(); p; p = buys_.ladder.next(p)) {
            const Place head = buys_.ladder.first(p);
            steps.push_back({p, lots(head), 0, limit(head)});
        }
        for (int32_t p = sells_.ladder.best(); p; p = sells_.ladder.next(p)) {
            const Place head = sells_.ladder.first(p);
            steps.push_back({p, 0, lots(head), limit(head)});
        }
        if (reference_ && std::none_of(steps.begin(), steps.end(), [](const Step& each) { return each.limit; }))
            steps.push_back({reference_, 0, 0, true});
        std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.price < b.price; });

        int64_t bought = lots(buys_.market.head), sold = lots(sells_.market.head);
        for (const Step& step : steps) bought += step.bought;
        std::vector<Cross> found;
        for (size_t i = 0; i < steps.size();) {
            const int32_t price = steps[i].price;
            int64_t leaving = 0;
            bool candidate = false;
            for (; i < steps.size() && steps[i].price == price; ++i) {
                sold += steps[i].sold;
                leaving += steps[i].bought;
                candidate |= steps[i].limit;
            }
            if (const int64_t volume = std::min(bought, sold); volume && candidate)
                found.push_back({price, volume, bought - sold});
            bought -= leaving;
        }
        if (found.empty()) return std::nullopt;
        const auto keep = [&found](auto&& measure) {  // only those with the greatest measure
            int64_t most = INT64_MIN;
            for (const Cross& each : found) most = std::max(most, measure(each));
            std::erase_if(found, [&](const Cross& each) { return measure(each) != most; });
        };
        const auto away = [](int64_t n) { return n < 0 ? -n : n; };
        keep([](const Cross& each) { return each.volume; });
        keep([&](const Cross& each) { return -away(each.surplus); });
        if (std::all_of(found.begin(), found.end(), [](const Cross& each) { return each.surplus > 0; })) return found.back();
        if (std::all_of(found.begin(), found.end(), [](const Cross& each) { return each.surplus < 0; })) return found.front();
        if (reference_) keep([&](const Cross& each) { return -away(each.price - reference_); });
        return found.back();
    }

    void trade_at(int32_t price, int64_t volume) {
        Place buy = first_of(buys_), sell = first_of(sells_);
        picked_.clear();
        while (volume) {
            const auto lots = static_cast<uint32_t>(
                std::min<int64_t>(volume, std::min(pool_[buy].left, pool_[sell].left)));
            volume -= lots;
            trade(buy, sell, price, lots, 0);
            const Place bought = buy, sold = sell;
            if (!pool_[bought].left) take_out(bought), release_later(bought);
            if (!pool_[sold].left) take_out(sold), release_later(sold);
            if (!volume) break;
            if (!pool_[bought].left) buy = first_of(buys_);
            if (!pool_[sold].left) sell = first_of(sells_);
        }
        for (const Place at : {buy, sell}) {
            if (pool_[at].left && pool_[at].iceberg) {
                take_out(at);
                rest(at, Told::refreshed);
            }
        }
        for (const Place at : picked_) release(at);
    }

    // Its place must not be used again while the auction still looks at it.
    void release_later(Place at) { picked_.push_back(at); }

    template <bool Up>
    static Place first_of(const Half<Up>& half) {
        return half.market.head ? half.market.head : half.ladder.first(half.ladder.best());
    }

    void set_band(const Command& c) {
        const bool none = !c.price && !c.trigger;
        if (!none && !(0 < c.price && c.price <= c.trigger && c.trigger <= max_price)) return reject(c, Reason::field);
        low_band_ = c.price;
        high_band_ = c.trigger;
        Event& event = say(Told::banded);
        event.price = c.price;
        event.left = c.trigger;
        drop_all(Reason::band, [&](const Order& order) { return order.type != market && outside(order.price); });
    }

    void refer(const Command& c) {
        if (c.price <= 0 || c.price > max_price) return reject(c, Reason::field);
        reference_ = static_cast<int32_t>(c.price);
        say(Told::referred).price = c.price;
    }

    Pool pool_;
    Ids ids_;
    Half<false> buys_;
    Half<true> sells_;
    Half<true> buy_stops_;    // the lowest trigger wakes first
    Half<false> sell_stops_;
    std::vector<Event> own_;
    std::vector<Event>& told_;
    [[no_unique_address]] Listener listener_;
    std::vector<Place> woken_, picked_;
    size_t next_woken_ = 0;
    uint32_t index_ = 0;
    int32_t low_ = 0, high_ = 0;  // of the trades since stops were last woken
    int32_t last_ = 0, reference_ = 0;
    int64_t low_band_ = 0, high_band_ = 0;
    Phase phase_;
};

using Book = BookFor<>;

}  // namespace matching
