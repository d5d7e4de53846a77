// Where live orders lie: a pool of 32-byte records with a free list, and a hash from ids to their places.
#pragma once

#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "records.hpp"

namespace matching {

using Place = uint32_t;  // of an order in the pool; 0 is nobody

struct Order {
    uint64_t id;
    uint32_t account;
    int32_t price;  // 0: a market order that takes any
    uint32_t left;
    Place next, prev;
    uint8_t side;
    uint8_t type : 1, tif : 2, flags : 2, stp : 2, sleeping : 1;
    uint8_t iceberg;
    uint8_t spare;
};
static_assert(sizeof(Order) == 32);

// What few orders have. Beside the orders, so that the others do not carry it through the cache.
struct Extra {
    uint32_t display, shown;
    int32_t trigger;
};

class Pool {
public:
    explicit Pool(size_t capacity) {
        orders_.reserve(capacity + 1);
        extras_.reserve(capacity + 1);
        orders_.push_back({});
        extras_.push_back({});
    }

    Order& operator[](Place place) { return orders_[place]; }
    const Order& operator[](Place place) const { return orders_[place]; }
    Extra& extra(Place place) { return extras_[place]; }
    const Extra& extra(Place place) const { return extras_[place]; }

    Place take() {
        if (free_) return std::exchange(free_, orders_[free_].next);
        orders_.push_back({});
        extras_.push_back({});
        return static_cast<Place>(orders_.size() - 1);
    }

    void give(Place place) {  // the last one out is the next one in: it is still in the cache
        orders_[place].next = std::exchange(free_, place);
    }

    size_t bytes() const { return orders_.capacity() * sizeof(Order) + extras_.capacity() * sizeof(Extra); }

private:
    std::vector<Order> orders_;
    std::vector<Extra> extras_;
    Place free_ = 0;
};

// Open addressing with linear probing and no tombstones. At most half full: probes are short, and their length easy to guess.
class Ids {
public:
    // Decides where ids lie, and nothing else: who knows it can choose ids that all lie in one place.
    static inline uint64_t seed = 0x9E3779B97F4A7C15u;

    explicit Ids(size_t capacity) { resize(std::bit_ceil(capacity * 2 + 16)); }

    Place find(uint64_t id) const {
        for (size_t at = home(id);; at = (at + 1) & mask_) {
            if (!slots_[at].place) return 0;
            if (slots_[at].id() == id) return slots_[at].place;
        }
    }

    void add(uint64_t id, Place place) {
        if ((count_ + 1) * 2 > slots_.size()) grow();
        put(id, place);
        ++count_;
    }

    void remove(uint64_t id) {
        size_t hole = home(id);
        while (slots_[hole].id() != id) hole = (hole + 1) & mask_;
        // Whoever probed past the hole moves into it, or would not be found any more.
        for (size_t at = (hole + 1) & mask_; slots_[at].place; at = (at + 1) & mask_) {
            if (((at - home(slots_[at].id())) & mask_) >= ((at - hole) & mask_)) {
                slots_[hole] = slots_[at];
                hole = at;
            }
        }
        slots_[hole] = {};
        --count_;
    }

    size_t size() const { return count_; }
    size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

private:
    struct Slot {
        uint32_t low = 0, high = 0;  // of the id, in two parts: 12 bytes instead of 16
        Place place = 0;

        uint64_t id() const { return low | uint64_t{high} << 32; }
    };

    size_t home(uint64_t id) const {  // splitmix64, as in digest.hpp
        id ^= seed_;
        id = (id ^ id >> 30) * 0xBF58476D1CE4E5B9u;
        return ((id ^ id >> 27) * 0x94D049BB133111EBu) >> shift_;
    }

    void put(uint64_t id, Place place) {
        size_t at = home(id);
        while (slots_[at].place) at = (at + 1) & mask_;
        slots_[at] = {static_cast<uint32_t>(id), static_cast<uint32_t>(id >> 32), place};
    }

    void resize(size_t size) {
        slots_.assign(size, {});
        mask_ = size - 1;
        shift_ = 64 - std::countr_zero(size);
    }

    void grow() {
        std::vector<Slot> old = std::move(slots_);
        resize(old.size() * 2);
        for (const Slot& slot : old)
            if (slot.place) put(slot.id(), slot.place);
    }

    std::vector<Slot> slots_;
    uint64_t seed_ = seed;
    size_t mask_ = 0, count_ = 0;
    int shift_ = 64;
};

}  // namespace matching
