// The circuit breaker of a book: the rules of breaker.py.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "records.hpp"

namespace matching {

constexpr int64_t basis = 10'000;

class Breaker {
public:
    static constexpr int64_t slices = 8;
    static constexpr int64_t never = INT64_MAX;

    struct Slice {
        int64_t number, low, high;
    };

    Breaker(int64_t halt, int64_t window_ns, int64_t pause_ns, int64_t auction_ns)
        : halt(halt), window_ns(window_ns), pause_ns(pause_ns), auction_ns(auction_ns) {}

    // Note the price of a trade; whether it is too far from another.
    bool trips(int64_t price, int64_t at_ns) {
        if (!halt) return false;
        if (!count_ || at_ns >= ends_ns_) advance(at_ns);
        const bool far = high_ && ((price - low_) * basis >= halt * low_ || (high_ - price) * basis >= halt * high_);
        Slice& newest = all_[count_ - 1];
        newest.low = newest.low ? std::min(newest.low, price) : price;
        newest.high = std::max(newest.high, price);
        low_ = low_ ? std::min(low_, price) : price;
        high_ = std::max(high_, price);
        return far;
    }

    void trip(int64_t at_ns) {
        restart();
        due_ns = at_ns + pause_ns;
    }

    void restart() {
        count_ = 0;
        low_ = high_ = 0;
    }

    // The phase that is due, and when the next one is.
    Phase next_phase(Phase phase, int64_t at_ns) {
        if (phase == Phase::halted) {
            due_ns = at_ns + auction_ns;
            return Phase::auction;
        }
        due_ns = 0;
        return Phase::continuous;
    }
    bool due(int64_t at_ns) const { return due_ns && at_ns >= due_ns; }

    size_t count() const { return count_; }
    const Slice& slice(size_t at) const { return all_[at]; }
    bool restore(const Slice& slice) {
        if (count_ == all_.size()) return false;
        all_[count_++] = slice;
        measure();
        ends_ns_ = (slice.number + 1) * (window_ns / slices);
        return true;
    }

    int64_t halt, window_ns, pause_ns, auction_ns, due_ns = 0;

private:
    // Begin a slice and forget what is too old.
    void advance(int64_t at_ns) {
        const int64_t number = at_ns / (window_ns / slices);
        const auto* last = std::remove_if(all_.begin(), all_.begin() + count_,
                                          [&](const Slice& each) { return each.number < number - slices; });
        count_ = static_cast<size_t>(last - all_.begin());
        all_[count_++] = {number, 0, 0};
        measure();
        ends_ns_ = (number + 1) * (window_ns / slices);
    }

    void measure() {
        low_ = high_ = 0;
        for (size_t i = 0; i < count_; ++i) {
            if (!all_[i].low) continue;
            low_ = low_ ? std::min(low_, all_[i].low) : all_[i].low;
            high_ = std::max(high_, all_[i].high);
        }
    }

    std::array<Slice, slices + 1> all_{};
    size_t count_ = 0;
    int64_t low_ = 0, high_ = 0;  // over all slices; 0: there are none
    int64_t ends_ns_ = 0;         // of the newest slice
};

}  // namespace matching
