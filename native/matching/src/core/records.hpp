// Commands and events, 64 bytes each: the same layout as the arrays in Python, see COMMAND and EVENT there.
#pragma once

#include <cstdint>

namespace matching {

enum class Kind : uint8_t {
    new_order = 1, cancel, replace, mass_cancel, phase, band, reference,
    open = 16, limit, deposit, kill, tick  // those of a venue
};
enum class Side : uint8_t { buy = 1, sell = 2 };
enum class TimeInForce : uint8_t { gtc, day, ioc, fok };
enum class SelfTrade : uint8_t { none, cancel_taker, cancel_maker, cancel_both };
enum class Phase : uint8_t { continuous = 1, auction, halted, closed };
enum class Told : uint8_t {
    accepted = 1, rejected, traded, rested, refreshed, canceled, replaced, triggered, uncrossed, phased, banded,
    referred, swept,
    opened = 16, limited, deposited, killed
};
enum class Reason : uint8_t {
    none, field, phase, duplicate, unknown, band, post_only, user, mass, unfilled, not_in_full, self_trade, day,
    no_book = 16, no_account, kill, number, quantity, value, collar, credit, position, rate, breaker, orders
};
enum class Limit : uint8_t { credit = 1, quantity, value, position, rate, orders };

constexpr uint8_t market = 1;     // a type
constexpr uint8_t post_only = 1;  // flags
constexpr uint8_t guarded = 2;    // PROTECTED in Python
constexpr int64_t max_price = (int64_t{1} << 31) - 1;
constexpr int64_t max_quantity = (int64_t{1} << 31) - 1;

struct Command {
    uint8_t kind, side, type, tif, flags, stp;
    uint16_t spare;
    uint32_t account, book;
    uint64_t id;
    int64_t price, quantity, display, trigger;
    uint64_t sequence;
};
static_assert(sizeof(Command) == 64);

struct Event {
    Told kind;
    uint8_t side;
    Reason reason;
    uint8_t spare;
    uint32_t command;
    uint64_t id, other;
    int64_t price, quantity, left, other_left;
    uint32_t account, other_account;
};
static_assert(sizeof(Event) == 64);

}  // namespace matching
