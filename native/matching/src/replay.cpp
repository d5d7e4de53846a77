// Apply the commands of a file, print how many events came of them, a digest of the events and one of the book. With a
// number behind the file it is a venue that does them, the first at that time and each 50 ms after the one before; it is
// dumped and loaded again every 1,000 commands. With a dump, without its header, and a number behind that: so often the
// dump is changed somewhere and loaded; what is taken does the commands. Prints how many were refused, and how many not.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
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

using Bytes = std::vector<uint8_t>;

constexpr int64_t step_ns = 50'000'000;

template <typename T>
std::vector<T> read(const char* name) {
    std::FILE* const file = std::fopen(name, "rb");
    if (!file) std::perror(name), std::exit(1);
    std::vector<T> found;
    T one;
    while (std::fread(&one, sizeof one, 1, file) == 1) found.push_back(one);
    std::fclose(file);
    return found;
}

void replay(const std::vector<matching::Command>& commands) {
    matching::Book book(matching::Phase::continuous, 16);
    Told told;
    uint32_t index = 0;
    for (const matching::Command& command : commands) {
        book.clear();
        book.apply(command, index++);
        told.note(book.told());
    }
    told.print(book.digest());
}

void replay(const std::vector<matching::Command>& commands, int64_t begin_ns) {
    auto venue = std::make_unique<matching::Venue>();
    Told told;
    uint32_t index = 0;
    for (const matching::Command& command : commands) {
        venue->clear();
        venue->at(begin_ns + index * step_ns);
        venue->apply(command, index++);
        told.note(venue->told());
        if (index % 1'000 == 0) venue = matching::load(matching::dump(*venue));
    }
    told.print(venue->digest());
}

// Changed in one to three places: a bit, a byte that is one of the edges, or a piece that is cut out or there twice.
Bytes changed(Bytes bytes, std::mt19937_64& chance) {
    constexpr uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff};
    for (uint64_t left = 1 + chance() % 3; left && !bytes.empty(); --left) {
        const auto at = static_cast<std::ptrdiff_t>(chance() % bytes.size());
        const auto end = at + static_cast<std::ptrdiff_t>(chance() % (bytes.size() - at) % 160);
        switch (chance() % 8) {
            case 0: bytes.erase(bytes.begin() + at, bytes.begin() + end); break;
            case 1: {
                const Bytes piece(bytes.begin() + at, bytes.begin() + end);
                bytes.insert(bytes.begin() + at, piece.begin(), piece.end());
                break;
            }
            case 2: case 3: case 4: bytes[at] = edges[chance() % std::size(edges)]; break;
            default: bytes[at] ^= uint8_t(1u << chance() % 8);
        }
    }
    return bytes;
}

void load_changed(const Bytes& dump, const std::vector<matching::Command>& commands, int64_t at_ns, long times) {
    std::mt19937_64 chance(7);
    long refused = 0, taken = 0;
    for (; refused + taken < times;) {
        const Bytes bytes = changed(dump, chance);
        std::unique_ptr<matching::Venue> venue;
        try {
            venue = matching::load(bytes);
        } catch (const std::invalid_argument&) {
            ++refused;
            continue;
        }
        ++taken;
        venue->at(at_ns);
        for (const matching::Command& command : commands) venue->apply(command);
        const auto again = matching::load(matching::dump(*venue));
        if (again->digest() != venue->digest()) std::fprintf(stderr, "it was loaded otherwise\n"), std::exit(1);
    }
    std::printf("%ld %ld\n", refused, taken);
}

}  // namespace

int main(int count, char** words) {
    if (count != 2 && count != 3 && count != 5)
        return std::fprintf(stderr, "usage: replay FILE [AT_NS [DUMP TIMES]]   (records of 64 bytes)\n"), 2;
    const auto commands = read<matching::Command>(words[1]);
    const int64_t at_ns = count > 2 ? std::strtoll(words[2], nullptr, 10) : 0;
    if (count == 2)
        replay(commands);
    else if (count == 3)
        replay(commands, at_ns);
    else
        load_changed(read<uint8_t>(words[3]), commands, at_ns, std::strtol(words[4], nullptr, 10));
}
