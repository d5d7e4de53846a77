// One command at a time by the C API: how long each takes, in nanoseconds. Prints JSON. With a number behind the file it
// is a venue that does them, and so many at the beginning are not measured.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "c_api.hpp"
#include "core/records.hpp"

int main(int count, char** words) {
    if (count != 2 && count != 3)
        return std::fprintf(stderr, "usage: latency FILE [OPENING]   (records of 64 bytes)\n"), 2;
    std::FILE* file = std::fopen(words[1], "rb");
    if (!file) return std::perror(words[1]), 1;
    std::vector<matching::Command> commands;
    matching::Command command;
    while (std::fread(&command, sizeof command, 1, file) == 1) commands.push_back(command);
    std::fclose(file);

    using Clock = std::chrono::steady_clock;
    am_book* book = am_new(1, commands.size());
    am_venue* venue = count == 3 ? am_venue_new() : nullptr;
    const size_t opening = venue ? std::strtoul(words[2], nullptr, 10) : 0;
    constexpr int64_t at_ns = 1'700'000'000'000'000'000, step_ns = 1'000;
    std::vector<int64_t> took;
    took.reserve(commands.size());
    const void* events = nullptr;
    size_t told = 0;
    for (size_t i = 0; i < opening && i < commands.size(); ++i) am_venue_apply(venue, &commands[i], at_ns, &events);
    const auto begun = Clock::now();
    for (size_t i = opening; i < commands.size(); ++i) {
        const auto when = at_ns + static_cast<int64_t>(i) * step_ns;
        const auto from = Clock::now();
        told += static_cast<size_t>(venue ? am_venue_apply(venue, &commands[i], when, &events)
                                          : am_apply(book, &commands[i], &events));
        took.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - from).count());
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
    std::vector<int64_t> clock;
    for (int i = 0; i < 100'000; ++i) {
        const auto from = Clock::now();
        clock.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - from).count());
    }
    const auto at = [](std::vector<int64_t>& all, double part) {
        const auto place = all.begin() + static_cast<long>(static_cast<double>(all.size() - 1) * part);
        std::nth_element(all.begin(), place, all.end());
        return static_cast<long long>(*place);
    };
    std::printf("{\"n\": %zu, \"events\": %zu, \"per_s\": %.0f, \"p50_ns\": %lld, \"p99_ns\": %lld, \"p999_ns\": %lld, "
                "\"clock_p50_ns\": %lld, \"digest\": \"%016llx\"}\n",
                took.size(), told, static_cast<double>(took.size()) / seconds, at(took, .5), at(took, .99),
                at(took, .999), at(clock, .5), static_cast<unsigned long long>(venue ? am_venue_digest(venue) : am_digest(book)));
    if (venue) am_venue_free(venue);
    am_free(book);
}
