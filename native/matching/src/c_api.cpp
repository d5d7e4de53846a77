#include "c_api.hpp"

#include <new>

#include "book.hpp"
#include "venue.hpp"

struct am_book {
    matching::Book book;
};

am_book* am_new(uint8_t phase, size_t capacity) {
    try {
        return new am_book{matching::Book(static_cast<matching::Phase>(phase), capacity)};
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

void am_free(am_book* book) { delete book; }

long am_apply(am_book* book, const void* command, const void** events) {
    try {
        book->book.clear();
        book->book.apply(*static_cast<const matching::Command*>(command));
    } catch (const std::bad_alloc&) {
        return -1;
    }
    *events = book->book.told().data();
    return static_cast<long>(book->book.told().size());
}

uint64_t am_digest(const am_book* book) { return book->book.digest(); }

struct am_venue {
    matching::Venue venue;
};

am_venue* am_venue_new() {
    try {
        return new am_venue;
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

void am_venue_free(am_venue* venue) { delete venue; }

long am_venue_apply(am_venue* venue, const void* command, int64_t at_ns, const void** events) {
    try {
        venue->venue.clear();
        venue->venue.at(at_ns);
        venue->venue.apply(*static_cast<const matching::Command*>(command));
    } catch (const std::bad_alloc&) {
        return -1;
    }
    *events = venue->venue.told().data();
    return static_cast<long>(venue->venue.told().size());
}

uint64_t am_venue_digest(const am_venue* venue) { return venue->venue.digest(); }
