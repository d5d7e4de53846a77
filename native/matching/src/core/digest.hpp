// 64 bits over numbers in their order: see digest.py.
#pragma once

#include <cstdint>

namespace matching {

class Digest {
public:
    void mix(uint64_t word) {
        state_ = (state_ + 0x9E3779B97F4A7C15u) ^ word;
        state_ = (state_ ^ state_ >> 30) * 0xBF58476D1CE4E5B9u;
        state_ = (state_ ^ state_ >> 27) * 0x94D049BB133111EBu;
        state_ ^= state_ >> 31;
    }
    uint64_t value() const { return state_; }

private:
    uint64_t state_ = 0;
};

}  // namespace matching
