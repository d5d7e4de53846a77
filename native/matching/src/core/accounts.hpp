// What the venue knows of an account: the rules of accounts.py.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "records.hpp"

namespace matching {

__extension__ typedef __int128 Money;  // lots, ticks and value of a lot have 31 bits each

constexpr int64_t no_limit = INT64_MAX;

struct Holding {
    uint32_t book;
    uint32_t market;  // its place in the venue
    int64_t position = 0, buying = 0, selling = 0;

    int64_t open(Side side) const { return side == Side::buy ? buying : selling; }
    int64_t lacking() const { return std::max<int64_t>(0, selling - position); }  // `short` in Python
    int64_t closing(Side side) const { return std::max<int64_t>(0, side == Side::buy ? -position : position); }
};

struct Account {
    uint32_t number = 0;
    bool killed = false;
    Money cash = 0, paid_in = 0, reserved = 0;
    std::array<int64_t, 6> limits{0, no_limit, no_limit, no_limit, no_limit, no_limit};
    uint32_t last_number = 0, last_deposit = 0;
    int64_t second = 0;
    uint32_t sent = 0;
    uint32_t orders = 0;            // that are live
    uint32_t shorts = 0;            // holdings that are below 0, or would be once all open sales were done
    std::vector<Holding> holdings;  // by book

    int64_t limit(Limit which) const { return limits[static_cast<size_t>(which) - 1]; }
    Money payable() const { return cash + limit(Limit::credit) - reserved; }

    // nullptr: nothing.
    const Holding* held(uint32_t book) const {
        for (const Holding& each : holdings)
            if (each.book == book) return &each;
        return nullptr;
    }

    Holding& holding(uint32_t book, uint32_t market) {
        const auto at = std::lower_bound(holdings.begin(), holdings.end(), book,
                                         [](const Holding& each, uint32_t wanted) { return each.book < wanted; });
        if (at != holdings.end() && at->book == book) return *at;
        return *holdings.insert(at, {book, market});
    }

    void bind(Holding& holding, uint8_t side, int64_t price, int64_t lots, int64_t value) {
        if (side == static_cast<uint8_t>(Side::buy)) {
            holding.buying += lots;
            reserved += Money{price} * lots * value;
        } else {
            shorts -= holding.lacking() > 0;
            holding.selling += lots;
            shorts += holding.lacking() > 0;
        }
    }

    void trade(Holding& holding, bool buys, int64_t lots, Money money) {
        shorts -= holding.lacking() > 0;
        holding.position += buys ? lots : -lots;
        shorts += holding.lacking() > 0;
        cash += buys ? -money : money;
    }

    uint32_t count(int64_t now) {
        if (now != second) {
            second = now;
            sent = 0;
        }
        return ++sent;
    }
};

}  // namespace matching
