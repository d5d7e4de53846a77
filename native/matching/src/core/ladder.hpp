// Queues by price, best first.
//
// Prices near the first one seen lie in an array of 2^18 queues, with a bitmap of three levels that finds the best in
// three steps. All others lie in a tree: right, and slower. When nothing is left, the array settles anew.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>

#include "pool.hpp"

namespace matching {

struct Queue {
    Place head = 0, tail = 0;

    void push(Pool& pool, Place place) {
        Order& order = pool[place];
        order.next = 0;
        order.prev = tail;
        (tail ? pool[tail].next : head) = place;
        tail = place;
    }

    void remove(Pool& pool, Place place) {
        const Order& order = pool[place];
        (order.prev ? pool[order.prev].next : head) = order.next;
        (order.next ? pool[order.next].prev : tail) = order.prev;
    }
};

// Up: the lowest price is the best.
template <bool Up>
class Ladder {
    static constexpr int bits = 18;
    static constexpr int64_t width = int64_t{1} << bits;

public:
    Ladder() : queues_(static_cast<Queue*>(std::calloc(width, sizeof(Queue)))) {  // untouched pages cost nothing
        if (!queues_) throw std::bad_alloc();
    }

    // 0: none.
    int32_t best() const {
        if (!near_ && outside_.empty()) return 0;
        const int32_t in = near_ ? priced(best_) : 0;
        if (outside_.empty()) return in;
        const int32_t out = Up ? outside_.begin()->first : outside_.rbegin()->first;
        return !in || before(out, in) ? out : in;
    }

    // The best price that is worse than `price`. 0: none.
    int32_t next(int32_t price) const {
        int32_t in = 0;
        if (near_) {
            const int64_t from = slot(price) + 1;  // prices before the window: from its first slot
            if (from < width) in = found(scan(from < 0 ? 0 : from));
        }
        int32_t out = 0;
        if constexpr (Up) {
            const auto it = outside_.upper_bound(price);
            if (it != outside_.end()) out = it->first;
        } else {
            auto it = outside_.lower_bound(price);
            if (it != outside_.begin()) out = (--it)->first;
        }
        return !in || (out && before(out, in)) ? out : in;
    }

    Place first(int32_t price) const { return queue(price).head; }

    void push(Pool& pool, int32_t price, Place place) {
        if (!near_ && outside_.empty()) base_ = price - (int64_t{1} << (bits - 1));
        const int64_t at = slot(price);
        if (at < 0 || at >= width) {
            outside_[price].push(pool, place);
            return;
        }
        if (!queues_[at].head) {
            mark(at);
            if (!near_++ || at < best_) best_ = at;
        }
        queues_[at].push(pool, place);
    }

    void remove(Pool& pool, int32_t price, Place place) {
        const int64_t at = slot(price);
        if (at < 0 || at >= width) {
            const auto it = outside_.find(price);
            it->second.remove(pool, place);
            if (!it->second.head) outside_.erase(it);
            return;
        }
        queues_[at].remove(pool, place);
        if (!queues_[at].head) {
            clear(at);
            if (--near_ && at == best_) best_ = scan(at);
        }
    }

    static bool before(int32_t one, int32_t other) { return Up ? one < other : one > other; }

private:
    // In slots a lower number is always a better price.
    int64_t slot(int32_t price) const { return Up ? price - base_ : width - 1 - (price - base_); }
    int32_t priced(int64_t at) const { return static_cast<int32_t>(Up ? base_ + at : base_ + width - 1 - at); }
    int32_t found(int64_t at) const { return at < 0 ? 0 : priced(at); }

    const Queue& queue(int32_t price) const {
        static const Queue none;
        const int64_t at = slot(price);
        if (at >= 0 && at < width) return queues_[at];
        const auto it = outside_.find(price);
        return it == outside_.end() ? none : it->second;
    }

    // The first marked slot at or after `from`, or -1.
    int64_t scan(int64_t from) const {
        if (const uint64_t here = low_[from >> 6] >> (from & 63)) return from + std::countr_zero(here);
        int64_t word = (from >> 6) + 1;
        if (word >= 4096) return -1;
        uint64_t there = middle_[word >> 6] >> (word & 63);
        if (there) {
            word += std::countr_zero(there);
        } else {
            const int64_t group = (word >> 6) + 1;
            if (group >= 64) return -1;
            const uint64_t above = top_ >> group;
            if (!above) return -1;
            word = (group + std::countr_zero(above)) << 6;
            word += std::countr_zero(middle_[word >> 6]);
        }
        return (word << 6) + std::countr_zero(low_[word]);
    }

    void mark(int64_t at) {
        low_[at >> 6] |= uint64_t{1} << (at & 63);
        middle_[at >> 12] |= uint64_t{1} << (at >> 6 & 63);
        top_ |= uint64_t{1} << (at >> 12);
    }

    void clear(int64_t at) {
        if (low_[at >> 6] &= ~(uint64_t{1} << (at & 63))) return;
        if (middle_[at >> 12] &= ~(uint64_t{1} << (at >> 6 & 63))) return;
        top_ &= ~(uint64_t{1} << (at >> 12));
    }

    struct Free {
        void operator()(Queue* queues) const { std::free(queues); }
    };
    std::unique_ptr<Queue[], Free> queues_;
    std::array<uint64_t, 4096> low_{};
    std::array<uint64_t, 64> middle_{};
    uint64_t top_ = 0;
    int64_t base_ = 0;
    int64_t near_ = 0;  // prices in the array
    int64_t best_ = 0;  // the first of them, if there is one
    std::map<int32_t, Queue> outside_;
};

}  // namespace matching
