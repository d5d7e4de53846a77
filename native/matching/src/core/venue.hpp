// All books and all accounts: the rules of ReferenceVenue in Python, which is the specification and the oracle.
//
// Nothing is allocated once all has grown to what is needed, but for what stands in book.hpp. One thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "accounts.hpp"
#include "book.hpp"
#include "breaker.hpp"
#include "digest.hpp"

namespace matching {

class Venue;
struct Market;

// Tells the venue what becomes of the orders of a book.
struct Clerk {
    Venue* venue = nullptr;
    Market* market = nullptr;

    void accepted(const Order& order);
    void replaced(const Order& order, int32_t price, uint32_t left);
    void canceled(const Order& order);
    void traded(const Order& taker, const Order& maker, int32_t price, uint32_t lots, uint8_t side);
    bool halts() const;
};

struct Terms {
    int64_t value, most, collar, margin;
};

constexpr uint64_t version = 2;  // of the rules, see VERSION in state.py
constexpr uint32_t max_jump = uint32_t{1} << 31;
constexpr int64_t second = 1'000'000'000;
constexpr int64_t max_ns = int64_t{1} << 62;

struct Market {
    Market(uint32_t number, uint32_t place, Phase phase, const Terms& terms, const Breaker& breaker, Venue* venue,
           std::vector<Event>* tape)
        : number(number), place(place), terms(terms), breaker(breaker), book(phase, 1024, Clerk{venue, this}, tape) {}

    Money worth() const { return Money{book.last()} * terms.value; }
    int64_t base(int64_t trigger) const { return trigger ? trigger : book.reference(); }
    int64_t away(int64_t base) const { return base * terms.collar / basis; }
    int64_t lowest(int64_t base) const { return terms.collar ? std::max<int64_t>(1, base - away(base)) : 1; }
    int64_t highest(int64_t base) const {
        return terms.collar ? std::min<int64_t>(max_price, base + away(base)) : max_price;
    }

    int64_t most_for(int64_t price, int64_t trigger) const {
        return std::max({price, base(trigger), int64_t{book.best(Side::buy)}});
    }
    // In two parts: what all lots are worth, times basis points, may have more than 128 bits.
    Money margin_of(int64_t lots, int64_t price) const {
        const Money worth = Money{lots} * price * terms.value;
        return worth / basis * terms.margin + worth % basis * terms.margin / basis;
    }

    // The worst price that a market order may take. 0: nothing says where prices are.
    int64_t worst(Side side, int64_t trigger) const {
        int64_t from = base(trigger);
        if (!from) from = book.best(side == Side::buy ? Side::sell : Side::buy);
        if (!from) return 0;
        return side == Side::buy ? highest(from) : lowest(from);
    }

    uint32_t number, place;
    Terms terms;
    Breaker breaker;
    BookFor<Clerk> book;
    bool tripped = false;
};

// What an order is to have open, and what it has open already.
struct Wish {
    Side side;
    int64_t price, quantity, trigger, old_price, old_quantity;
};

class Venue {
public:
    Venue() : account_places_(64), market_places_(16) { told_.reserve(4096); }
    Venue(const Venue&) = delete;
    Venue& operator=(const Venue&) = delete;

    void clear() { told_.clear(); }
    std::span<const Event> told() const { return told_; }

    // What is applied from now on happens then.
    void at(int64_t ns) {
        now_ns_ = std::max(now_ns_, std::min(ns, max_ns));
        second_ = now_ns_ / second;
    }

    // Do one command; `index` is noted in its events.
    void apply(const Command& c, uint32_t index = 0) {
        index_ = index;
        switch (static_cast<Kind>(c.kind)) {
            case Kind::open: return open(c);
            case Kind::limit: return limit(c);
            case Kind::deposit: return deposit(c);
            case Kind::kill: return kill(c);
            default: break;
        }
        Market* const market = find(c.book);
        if (market && market->breaker.due(now_ns_)) [[unlikely]]
            enter(*market, market->breaker.next_phase(market->book.phase(), now_ns_));
        switch (static_cast<Kind>(c.kind)) {
            case Kind::new_order: return enter(market, c);
            case Kind::replace: return replace(market, c);
            case Kind::cancel:
            case Kind::mass_cancel:
                if (!market) return reject(c, Reason::no_book);
                if (!account(c.account)) return reject(c, Reason::no_account);
                if (static_cast<Kind>(c.kind) == Kind::mass_cancel && has_nothing(c)) return swept(c);
                return pass(*market, c);
            case Kind::phase:
            case Kind::band:
            case Kind::reference:
                if (!market) return reject(c, Reason::no_book);
                return pass(*market, c);
            case Kind::tick:
                if (!market) reject(c, Reason::no_book);
                return;
            default: return reject(c, Reason::field);
        }
    }

    size_t size() const {
        size_t count = 0;
        for (const auto& market : markets_) count += market->book.size();
        return count;
    }

    size_t bytes() const {
        size_t sum = 0;
        for (const auto& market : markets_) sum += market->book.bytes();
        return sum;
    }

    // nullptr: none.
    Market* find(uint32_t book) const {
        const Place at = market_places_.find(book);
        return at ? markets_[at - 1].get() : nullptr;
    }
    const Account* account(uint32_t number) const {
        const Place at = account_places_.find(number);
        return at ? &accounts_[at - 1] : nullptr;
    }
    bool killed() const { return killed_; }
    int64_t now_ns() const { return now_ns_; }

    // What is held and what is owed come to, both at least 0.
    std::pair<Money, Money> worth(const Account& account) const {
        Money held = 0, owed = 0;
        for (const Holding& each : account.holdings) {
            const Money sum = each.position ? each.position * markets_[each.market]->worth() : 0;
            (sum < 0 ? owed : held) += sum < 0 ? -sum : sum;
        }
        return {held, owed};
    }

    Money pledged(const Account& account) const {
        Money sum = 0;
        for (const Holding& each : account.holdings) {
            const Market& market = *markets_[each.market];
            sum += market.margin_of(each.lacking(), market.book.last());
        }
        return sum;
    }

    // Lowest number first.
    std::vector<const Market*> markets() const {
        std::vector<const Market*> found;
        for (const auto& market : markets_) found.push_back(market.get());
        std::sort(found.begin(), found.end(), [](auto* one, auto* other) { return one->number < other->number; });
        return found;
    }
    std::vector<const Account*> accounts() const {
        std::vector<const Account*> found;
        for (const Account& account : accounts_) found.push_back(&account);
        std::sort(found.begin(), found.end(), [](auto* one, auto* other) { return one->number < other->number; });
        return found;
    }

    uint64_t digest() const;

    // Nobody but a loader needs these.
    void restore(int64_t now_ns, bool killed) {
        at(now_ns);
        killed_ = killed;
    }
    Market& add(uint32_t number, Phase phase, const Terms& terms, const Breaker& breaker) {
        const auto place = static_cast<uint32_t>(markets_.size());
        markets_.push_back(std::make_unique<Market>(number, place, phase, terms, breaker, this, &told_));
        market_places_.add(number, place + 1);
        return *markets_.back();
    }
    Account& add(uint32_t number) {
        accounts_.emplace_back().number = number;
        account_places_.add(number, static_cast<Place>(accounts_.size()));
        return accounts_.back();
    }
    Account* account(uint32_t number) {
        const Place at = account_places_.find(number);
        return at ? &accounts_[at - 1] : nullptr;
    }

private:
    friend struct Clerk;

    // What is said

    Event& say(Told kind) {
        Event& event = told_.emplace_back();
        event.kind = kind;
        event.command = index_;
        return event;
    }

    void reject(const Command& c, Reason reason) {
        Event& event = say(Told::rejected);
        event.id = c.id;
        event.account = c.account;
        event.reason = reason;
    }

    // Orders

    Reason gate(Account* account, const Command& c) {
        if (!account) return Reason::no_account;
        if (static_cast<Kind>(c.kind) == Kind::new_order) {
            const auto number = static_cast<uint32_t>(c.id);
            if (c.id >> 32 != c.account || !number) return Reason::field;
            if (number <= account->last_number || number - account->last_number > max_jump) return Reason::number;
            account->last_number = number;
        }
        if (account->killed || killed_) return Reason::kill;
        return account->count(second_) > account->limit(Limit::rate) ? Reason::rate : Reason::none;
    }

    void enter(Market* market, const Command& c) {
        Account* const who = account(c.account);
        if (const Reason reason = gate(who, c); reason != Reason::none) return reject(c, reason);
        if (!market) return reject(c, Reason::no_book);
        if (!BookFor<Clerk>::sound(c)) return reject(c, Reason::field);
        const auto side = static_cast<Side>(c.side);
        Command order = c;
        if (c.type == matching::market && !c.price) {
            order.price = market->worst(side, c.trigger);
            if (!order.price) return reject(c, Reason::collar);
            order.flags |= guarded;
        }
        const Reason reason = refusal(*who, *market, {side, order.price, order.quantity, order.trigger, 0, 0});
        if (reason != Reason::none) return reject(c, reason);
        pass(*market, order);
    }

    void replace(Market* market, const Command& c) {
        Account* const who = account(c.account);
        if (const Reason reason = gate(who, c); reason != Reason::none) return reject(c, reason);
        if (!market) return reject(c, Reason::no_book);
        const Order* const old = market->book.find(c.id);
        if (!old || old->account != c.account) return pass(*market, c);
        Command order = c;
        if (old->type == matching::market) {
            if (c.price) return reject(c, Reason::field);
            order.price = old->price;
        }
        const auto fits = [](int64_t lots) { return lots > 0 && lots <= max_quantity; };
        if (c.trigger) {
            if (!fits(c.trigger) || !fits(c.quantity)) return reject(c, Reason::field);
            order.quantity -= std::max<int64_t>(0, c.trigger - int64_t{old->left});
        }
        const bool in_range = fits(order.quantity) && order.price > 0 && order.price <= max_price;
        if (in_range && (order.price != old->price || order.quantity > int64_t{old->left})) {
            const Reason reason = refusal(*who, *market, {static_cast<Side>(old->side), order.price, order.quantity,
                                                          market->book.trigger(*old), old->price, old->left});
            if (reason != Reason::none) return reject(c, reason);
        }
        pass(*market, order);
    }

    Reason refusal(Account& account, Market& market, const Wish& wish) {
        const int64_t base = market.base(wish.trigger);
        if (base && (wish.price < market.lowest(base) || wish.price > market.highest(base))) return Reason::collar;
        const int64_t most = market.terms.most;
        if (wish.quantity > account.limit(Limit::quantity) || (most && wish.quantity > most)) return Reason::quantity;
        const bool buys = wish.side == Side::buy;
        const int64_t price = buys ? wish.price : market.most_for(wish.price, wish.trigger);
        const Money worth = Money{price} * wish.quantity * market.terms.value;
        if (worth > account.limit(Limit::value)) return Reason::value;
        if (!wish.old_quantity && account.orders >= account.limit(Limit::orders)) return Reason::orders;
        const Holding& holding = account.holding(market.number, market.place);
        const int64_t lots = holding.open(wish.side) - wish.old_quantity + wish.quantity;
        const int64_t position = buys ? holding.position : -holding.position;
        if (position + lots > account.limit(Limit::position)) return Reason::position;

        Money need = 0;
        if (buys) need = worth - Money{wish.old_price} * wish.old_quantity * market.terms.value;
        bool pays;
        if (need <= 0 && wish.quantity <= wish.old_quantity) {
            pays = true;
        } else if (lots <= holding.closing(wish.side)) {
            pays = !buys || need <= std::max<Money>(0, account.payable());
        } else {
            const int64_t last = market.book.last();
            if (!buys)
                need = market.margin_of(lots - holding.position, std::max(price, last)) -
                       market.margin_of(holding.lacking(), last);
            pays = need <= account.payable() - bound(account);
        }
        return pays ? Reason::none : Reason::credit;
    }

    // What of an account's money its short sales bind, besides what is reserved.
    Money bound(const Account& account) const {
        return account.shorts ? worth(account).second + pledged(account) : 0;
    }

    bool has_nothing(const Command& c) const {
        if (c.side > 2) return false;
        const Holding* const held = account(c.account)->held(c.book);
        return !held || !((c.side != 2 && held->buying) || (c.side != 1 && held->selling));
    }

    void swept(const Command& c) { say(Told::swept).account = c.account; }

    // Have a book do a command, and halt it if that moved the price too far.
    void pass(Market& market, const Command& c) {
        const bool stays = static_cast<Kind>(c.kind) == Kind::phase && c.type == static_cast<uint8_t>(market.book.phase());
        if (stays && market.breaker.due_ns) {  // it stays in it, until it is told otherwise
            market.breaker.due_ns = 0;
            say(Told::phased).quantity = c.type;
            return;
        }
        const size_t from = told_.size();
        market.book.apply(c, index_);
        if (static_cast<Kind>(c.kind) == Kind::phase) {
            for (size_t i = from; i < told_.size(); ++i)
                if (told_[i].kind == Told::phased) market.breaker.due_ns = 0;  // whoever said so decides from now on
        }
        if (market.tripped) [[unlikely]]
            halt(market);
    }

    void halt(Market& market) {
        market.tripped = false;
        market.breaker.trip(now_ns_);
        enter(market, Phase::halted);
    }

    // Have the breaker enter a phase.
    void enter(Market& market, Phase phase) {
        Command c{};
        c.kind = static_cast<uint8_t>(Kind::phase);
        c.type = static_cast<uint8_t>(phase);
        const size_t from = told_.size();
        market.book.apply(c, index_);
        for (size_t i = from; i < told_.size(); ++i)
            if (told_[i].kind == Told::phased) told_[i].reason = Reason::breaker;
        if (market.tripped) halt(market);
    }

    // What concerns the whole venue

    void open(const Command& c) {
        if (find(c.book)) return reject(c, Reason::duplicate);
        const auto fits = [](int64_t number) { return number >= 0 && number <= max_price; };
        if (!c.book || c.type < 1 || c.type > 4 || c.price < 1 || !fits(c.price) || !fits(c.quantity) ||
            !fits(c.display) || !fits(c.trigger) || c.id > basis)
            return reject(c, Reason::field);
        const Breaker breaker(c.trigger, (c.tif ? c.tif : 60) * second, (c.flags ? c.flags : 30) * second,
                              (c.stp ? c.stp : 30) * second);
        add(c.book, static_cast<Phase>(c.type), {c.price, c.quantity, c.display, static_cast<int64_t>(c.id)}, breaker);
        Event& event = say(Told::opened);
        event.id = c.id;
        event.other = c.type;
        event.price = c.price;
        event.quantity = c.quantity;
        event.left = c.display;
        event.other_left = c.trigger;
    }

    void limit(const Command& c) {
        if (!c.account || c.type < 1 || c.type > 6 || c.quantity < 0) return reject(c, Reason::field);
        Account* who = account(c.account);
        if (!who) who = &add(c.account);
        who->limits[c.type - 1u] = c.quantity;
        Event& event = say(Told::limited);
        event.other = c.type;
        event.account = c.account;
        event.quantity = c.quantity;
    }

    void deposit(const Command& given) {
        Command c = given;
        c.id = 0;  // it is no order's, so no answer names it
        Account* const who = account(c.account);
        if (!who) return reject(c, Reason::no_account);
        if (!c.quantity) return reject(c, Reason::field);
        if (given.id && (given.id <= who->last_deposit || given.id > UINT32_MAX)) return reject(c, Reason::number);
        if (c.quantity < 0 && who->cash - who->reserved - bound(*who) + c.quantity < 0)
            return reject(c, Reason::credit);
        if (given.id) who->last_deposit = static_cast<uint32_t>(given.id);
        who->cash += c.quantity;
        who->paid_in += c.quantity;
        Event& event = say(Told::deposited);
        event.account = c.account;
        event.quantity = c.quantity;
    }

    void kill(const Command& c) {
        if (c.type > 1) return reject(c, Reason::field);
        Account* const who = account(c.account);
        if (!who && c.account) return reject(c, Reason::no_account);
        (who ? who->killed : killed_) = c.type;
        Event& event = say(Told::killed);
        event.account = c.account;
        event.quantity = c.type;
        if (!c.type) return;
        for (const Market* each : markets()) {
            const size_t from = told_.size();
            markets_[each->place]->book.sweep(c.account, Reason::kill, index_);
            for (size_t i = from; i < told_.size(); ++i) told_[i].other = each->number;
        }
    }

    std::vector<Event> told_;
    std::vector<Account> accounts_;
    std::vector<std::unique_ptr<Market>> markets_;
    Ids account_places_, market_places_;  // of what lies one before in either
    int64_t now_ns_ = 0, second_ = 0;
    uint32_t index_ = 0;
    bool killed_ = false;
};

inline void Clerk::accepted(const Order& order) {
    Account& who = *venue->account(order.account);
    ++who.orders;
    who.bind(who.holding(market->number, market->place), order.side, order.price, order.left, market->terms.value);
}

inline void Clerk::replaced(const Order& order, int32_t price, uint32_t left) {
    Account& who = *venue->account(order.account);
    Holding& holding = who.holding(market->number, market->place);
    who.bind(holding, order.side, price, -int64_t{left}, market->terms.value);
    who.bind(holding, order.side, order.price, order.left, market->terms.value);
}

inline void Clerk::canceled(const Order& order) {
    Account& who = *venue->account(order.account);
    Holding& holding = who.holding(market->number, market->place);
    --who.orders;
    who.bind(holding, order.side, order.price, -int64_t{order.left}, market->terms.value);
}

inline void Clerk::traded(const Order& taker, const Order& maker, int32_t price, uint32_t lots, uint8_t side) {
    const Money money = Money{price} * lots * market->terms.value;
    for (const Order* order : {&taker, &maker}) {
        Account& who = *venue->account(order->account);
        Holding& holding = who.holding(market->number, market->place);
        who.bind(holding, order->side, order->price, -int64_t{lots}, market->terms.value);
        who.orders -= !order->left;
        who.trade(holding, order->side == static_cast<uint8_t>(Side::buy), lots, money);
    }
    if (!side) market->breaker.restart();
    const bool far = market->breaker.trips(price, venue->now_ns_);
    if (side && far) market->tripped = true;
}

inline bool Clerk::halts() const { return market->tripped; }

inline uint64_t Venue::digest() const {
    Digest digest;
    const auto mix = [&](auto... words) { (digest.mix(static_cast<uint64_t>(words)), ...); };
    mix(version, now_ns_, killed_, markets_.size(), accounts_.size());
    for (const Market* market : markets()) {
        const Breaker& breaker = market->breaker;
        mix(market->number, market->terms.value, market->terms.most, market->terms.collar, market->terms.margin, breaker.halt,
            breaker.window_ns, breaker.pause_ns, breaker.auction_ns, breaker.due_ns);
        for (size_t i = 0; i < breaker.count(); ++i)
            mix(breaker.slice(i).number, breaker.slice(i).low, breaker.slice(i).high);
        mix(market->book.digest());
    }
    for (const Account* account : accounts()) {
        mix(account->number, account->killed, account->last_number, account->last_deposit, account->second, account->sent);
        for (const Money money : {account->cash, account->paid_in, account->reserved}) mix(money, money >> 64);
        for (const int64_t each : account->limits) mix(each);
        for (const Holding& each : account->holdings)
            if (each.position || each.buying || each.selling) mix(each.book, each.position, each.buying, each.selling);
    }
    return digest.value();
}

}  // namespace matching
