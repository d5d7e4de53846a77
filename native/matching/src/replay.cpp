// Apply the commands of a file, print how many events came of them, a digest of the events and one of the book. With a
// number behind the file it is a venue that does them, the first at that time and each 50 ms after the one before; it is
// dumped and loaded again every 1,000 commands.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "book.hpp"
#include "dump.hpp"
#include "venue.hpp"

namespace {

struct Told {
    uint64_t digest = 0xcbf29ce484222325u, events = 0;

    void note(std::span<const matching::Event> told) {
        for (const matching::Event& event : told) {
            const auto* bytes = reinterpret_cast<const unsigned char*>(&event);
            for (size_t i = 0; i < sizeof event; ++i) digest = (digest ^ bytes[i]) * 0x100000001b3u;
            ++events;
        }
    }
    void print(uint64_t state) const {
        std::printf("%llu %016llx %016llx\n", static_cast<unsigned long long>(events),
                    static_cast<unsigned long long>(digest), static_cast<unsigned long long>(state));
    }
};

}  // namespace

int main(int count, char** words) {
    if (count != 2 && count != 3)
        return std::fprintf(stderr, "usage: replay FILE [AT_NS]   (records of 64 bytes)\n"), 2;
    std::FILE* file = std::fopen(words[1], "rb");
    if (!file) return std::perror(words[1]), 1;
    matching::Book book(matching::Phase::continuous, 16);
    auto venue = std::make_unique<matching::Venue>();
    const int64_t begin_ns = count == 3 ? std::strtoll(words[2], nullptr, 10) : 0;
    constexpr int64_t step_ns = 50'000'000;
    matching::Command command;
    Told told;
    uint32_t index = 0;
    while (std::fread(&command, sizeof command, 1, file) == 1) {
        if (count == 3) {
            venue->clear();
            venue->at(begin_ns + index * step_ns);
            venue->apply(command, index++);
            told.note(venue->told());
            if (index % 1'000 == 0) venue = matching::load(matching::dump(*venue));
        } else {
            book.clear();
            book.apply(command, index++);
            told.note(book.told());
        }
    }
    std::fclose(file);
    told.print(count == 3 ? venue->digest() : book.digest());
}
