/* The book and the venue in C. A command and an event have 64 bytes each, see core/records.hpp. No function throws. */
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

typedef struct am_book am_book;

/* A new book with room for `capacity` orders before anything is allocated. NULL: there is no memory. */
am_book* am_new(uint8_t phase, size_t capacity);
void am_free(am_book* book);

/* Do one command. `*events` is good until the next call; returns how many there are, or -1: there is no memory, and the
 * book must not be used any more. */
long am_apply(am_book* book, const void* command, const void** events);

uint64_t am_digest(const am_book* book);

typedef struct am_venue am_venue;

/* The same of a venue, whose books and accounts are made by commands. `at_ns` is when, since 1970. */
am_venue* am_venue_new(void);
void am_venue_free(am_venue* venue);
long am_venue_apply(am_venue* venue, const void* command, int64_t at_ns, const void** events);
uint64_t am_venue_digest(const am_venue* venue);
}
