// One command at a time by the C API: how long each takes, in nanoseconds. Prints JSON.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "c_api.hpp"
#include "core/records.hpp"

int main(int count, char** words) {
    if (count != 2) return std::fprintf(stderr, "usage: latency FILE   (records of 64 bytes)\n"), 2;
    std::FILE* file = std::fopen(words[1], "rb");
    if (!file) return std::perror(words[1]), 1;
    std::vector<matching::Command> commands;
    matching::Command command;
    while (std::fread(&command, sizeof command, 1, file) == 1) commands.push_back(command);
    std::fclose(file);

    using Clock = std::chrono::steady_clock;
    am_book* book = am_new(1, commands.size());
    std::vector<int64_t> took;
    took.reserve(commands.size());
    const void* events = nullptr;
    size_t told = 0;
    const auto begun = Clock::now();
    for (const auto& each : commands) {
        const auto from = Clock::now();
        told += static_cast<size_t>(am_apply(book, &each, &events));
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
                commands.size(), told, static_cast<double>(commands.size()) / seconds, at(took, .5), at(took, .99),
                at(took, .999), at(clock, .5), static_cast<unsigned long long>(am_digest(book)));
    am_free(book);
}
