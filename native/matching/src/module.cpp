// The book and the venue in Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>

#include "book.hpp"
#include "dump.hpp"
#include "venue.hpp"

namespace nb = nanobind;
using namespace matching;

namespace {

// The bytes of an object, as long as this lives.
class View {
public:
    explicit View(nb::handle object) {
        if (PyObject_GetBuffer(object.ptr(), &buffer_, PyBUF_C_CONTIGUOUS)) throw nb::python_error();
        if (buffer_.len % sizeof(Command)) {
            PyBuffer_Release(&buffer_);
            throw std::invalid_argument("commands are records of 64 bytes");
        }
    }
    ~View() { PyBuffer_Release(&buffer_); }
    View(const View&) = delete;
    View& operator=(const View&) = delete;

    const char* data() const { return static_cast<const char*>(buffer_.buf); }
    size_t count() const { return static_cast<size_t>(buffer_.len) / sizeof(Command); }

private:
    Py_buffer buffer_{};
};

using Bytes = nb::ndarray<nb::numpy, uint8_t, nb::ndim<1>>;

Bytes copied(std::span<const Event> told) {
    const size_t size = told.size_bytes();
    auto* bytes = new uint8_t[std::max<size_t>(size, 1)];
    std::memcpy(bytes, told.data(), size);
    return Bytes(bytes, {size}, nb::capsule(bytes, [](void* p) noexcept { delete[] static_cast<uint8_t*>(p); }));
}

enum class State { idle, busy, torn };

// One thread at a time: a second one is told, instead of spoiling the state. What ended within a command is torn.
class Use {
public:
    explicit Use(State& state) : state_(state) {
        if (state == State::busy) throw std::runtime_error("it is in use by another thread");
        if (state == State::torn)
            throw std::runtime_error("memory ran out within a command, and its state is torn: make it again from the log");
        state_ = State::busy;
    }
    ~Use() {
        if (state_ == State::busy) state_ = State::idle;
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

    void tear() { state_ = State::torn; }

private:
    State& state_;  // written while the interpreter's lock is held
};

// Without the interpreter's lock.
template <typename Machine>
void apply_each(Machine& machine, const View& view) {
    const nb::gil_scoped_release released;
    machine.clear();
    Command command;  // a copy: the buffer may lie anywhere
    for (size_t i = 0; i < view.count(); ++i) {
        std::memcpy(&command, view.data() + i * sizeof command, sizeof command);
        machine.apply(command, static_cast<uint32_t>(i));
    }
}

template <typename Machine>
Bytes apply_all(Machine& machine, Use& use, const View& view) {
    try {
        apply_each(machine, view);
        return copied(machine.told());
    } catch (...) {
        use.tear();
        throw;
    }
}

template <typename Levels>
nb::list listed(const Levels& levels) {
    nb::list found;
    for (const auto& level : levels) found.append(nb::make_tuple(level.price, level.shown, level.orders));
    return found;
}

class Guarded {
public:
    Guarded(uint8_t phase, size_t capacity) : book_(static_cast<Phase>(phase), capacity) {
        if (phase < 1 || phase > 4) throw std::invalid_argument("phase must be 1 to 4");
    }

    Bytes apply_batch(nb::handle commands) {
        const View view(commands);
        Use use(state_);
        return apply_all(book_, use, view);
    }

    nb::list apply(uint8_t kind, uint64_t id, uint32_t account, uint8_t side, uint8_t type, uint8_t tif, uint8_t flags,
                   uint8_t stp, int64_t price, int64_t quantity, int64_t display, int64_t trigger) {
        Use use(state_);
        try {
            book_.clear();
            book_.apply({kind, side, type, tif, flags, stp, 0, account, 0, id, price, quantity, display, trigger, 0});
        } catch (...) {
            use.tear();
            throw;
        }
        nb::list told;
        for (const Event& e : book_.told())
            told.append(nb::make_tuple(static_cast<int>(e.kind), e.id, e.other, e.account, e.other_account, e.side,
                                       static_cast<int>(e.reason), e.price, e.quantity, e.left, e.other_left));
        return told;
    }

    nb::list depth(uint8_t side, size_t levels) {
        const Use use(state_);
        return listed(book_.depth(static_cast<Side>(side), levels));
    }

    uint64_t digest() {
        const Use use(state_);
        return book_.digest();
    }

    size_t size() {
        const Use use(state_);
        return book_.size();
    }
    size_t bytes() {
        const Use use(state_);
        return book_.bytes();
    }

private:
    Book book_;
    State state_ = State::idle;
};

// Of 128 bits, in two halves.
nb::tuple halves(Money amount) {
    return nb::make_tuple(static_cast<int64_t>(amount >> 64), static_cast<uint64_t>(amount));
}

class GuardedVenue {
public:
    GuardedVenue() : venue_(std::make_unique<Venue>()) {}
    explicit GuardedVenue(nb::bytes body)
        : venue_(load({static_cast<const uint8_t*>(body.data()), body.size()})) {}

    Bytes apply_batch(nb::handle commands, int64_t at_ns) {
        const View view(commands);
        Use use(state_);
        venue_->at(at_ns);
        return apply_all(*venue_, use, view);
    }

    nb::list depth(uint32_t book, uint8_t side, size_t levels) {
        const Use use(state_);
        const Market* const market = venue_->find(book);
        if (!market) throw nb::key_error(std::to_string(book).c_str());
        return listed(market->book.depth(static_cast<Side>(side), levels));
    }

    nb::tuple standing(uint32_t number) {
        const Use use(state_);
        const Account* const account = venue_->account(number);
        if (!account) throw nb::key_error(std::to_string(number).c_str());
        nb::list positions;
        for (const Holding& each : account->holdings)
            if (each.position) positions.append(nb::make_tuple(each.book, each.position));
        const auto [held, owed] = venue_->worth(*account);
        return nb::make_tuple(halves(account->cash), halves(account->reserved), halves(held + owed),
                              halves(account->cash + held - owed - account->paid_in), positions,
                              account->killed || venue_->killed());
    }

    uint64_t digest() {
        const Use use(state_);
        return venue_->digest();
    }

    nb::bytes dump() {
        const Use use(state_);
        const auto bytes = matching::dump(*venue_);
        return nb::bytes(bytes.data(), bytes.size());
    }

    size_t size() {
        const Use use(state_);
        return venue_->size();
    }
    size_t bytes() {
        const Use use(state_);
        return venue_->bytes();
    }

private:
    std::unique_ptr<Venue> venue_;
    State state_ = State::idle;
};

}  // namespace

NB_MODULE(_core, module) {
    std::random_device draw;
    Ids::seed = uint64_t{draw()} << 32 | draw();
    module.attr("RULES") = version;
    nb::set_leak_warnings(false);  // at the end of a process its modules are let go in no order
    nb::class_<Guarded>(module, "Book")
        .def(nb::init<uint8_t, size_t>(), nb::kw_only(), nb::arg("phase") = 1, nb::arg("capacity") = 1024)
        .def("apply", &Guarded::apply)
        .def("apply_batch", &Guarded::apply_batch)
        .def("depth", &Guarded::depth)
        .def("digest", &Guarded::digest)
        .def_prop_ro("bytes", &Guarded::bytes)
        .def("__len__", &Guarded::size);
    nb::class_<GuardedVenue>(module, "Venue")
        .def(nb::init<>())
        .def(nb::init<nb::bytes>())
        .def("apply_batch", &GuardedVenue::apply_batch)
        .def("depth", &GuardedVenue::depth)
        .def("standing", &GuardedVenue::standing)
        .def("digest", &GuardedVenue::digest)
        .def("dump", &GuardedVenue::dump)
        .def_prop_ro("memory_bytes", &GuardedVenue::bytes)
        .def("__len__", &GuardedVenue::size);
}
