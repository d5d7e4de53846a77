// Apply the commands of a file, print how many events came of them, a digest of the events and one of the book.
#include <cstdio>
#include <vector>

#include "book.hpp"

int main(int count, char** words) {
    if (count != 2) return std::fprintf(stderr, "usage: replay FILE   (records of 64 bytes)\n"), 2;
    std::FILE* file = std::fopen(words[1], "rb");
    if (!file) return std::perror(words[1]), 1;
    matching::Book book(matching::Phase::continuous, 16);
    matching::Command command;
    uint64_t digest = 0xcbf29ce484222325u, events = 0;
    uint32_t index = 0;
    while (std::fread(&command, sizeof command, 1, file) == 1) {
        book.clear();
        book.apply(command, index++);
        for (const matching::Event& event : book.told()) {
            const auto* bytes = reinterpret_cast<const unsigned char*>(&event);
            for (size_t i = 0; i < sizeof event; ++i) digest = (digest ^ bytes[i]) * 0x100000001b3u;
            ++events;
        }
    }
    std::fclose(file);
    std::printf("%llu %016llx %016llx\n", static_cast<unsigned long long>(events),
                static_cast<unsigned long long>(digest), static_cast<unsigned long long>(book.digest()));
}
