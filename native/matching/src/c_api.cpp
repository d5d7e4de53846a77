#include "c_api.hpp"

#include <new>

#include "book.hpp"

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
