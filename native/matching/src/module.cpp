// The book in Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "book.hpp"

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

// One thread at a time: a second one is told, instead of spoiling the book.
class Guarded {
public:
    Guarded(uint8_t phase, size_t capacity) : book_(static_cast<Phase>(phase), capacity) {
        if (phase < 1 || phase > 4) throw std::invalid_argument("phase must be 1 to 4");
    }

    Bytes apply_batch(nb::handle commands) {
        const View view(commands);
        const Use use(busy_);
        {
            const nb::gil_scoped_release released;
            book_.clear();
            Command command;  // a copy: the buffer may lie anywhere
            for (size_t i = 0; i < view.count(); ++i) {
                std::memcpy(&command, view.data() + i * sizeof command, sizeof command);
                book_.apply(command, static_cast<uint32_t>(i));
            }
        }
        return copied(book_.told());
    }

    nb::list apply(uint8_t kind, uint64_t id, uint32_t account, uint8_t side, uint8_t type, uint8_t tif, uint8_t flags,
                   uint8_t stp, int64_t price, int64_t quantity, int64_t display, int64_t trigger) {
        const Use use(busy_);
        book_.clear();
        book_.apply({kind, side, type, tif, flags, stp, 0, account, 0, id, price, quantity, display, trigger, 0});
        nb::list told;
        for (const Event& e : book_.told())
            told.append(nb::make_tuple(static_cast<int>(e.kind), e.id, e.other, e.account, e.other_account, e.side,
                                       static_cast<int>(e.reason), e.price, e.quantity, e.left, e.other_left));
        return told;
    }

    nb::list depth(uint8_t side, size_t levels) {
        const Use use(busy_);
        nb::list found;
        for (const auto& level : book_.depth(static_cast<Side>(side), levels))
            found.append(nb::make_tuple(level.price, level.shown, level.orders));
        return found;
    }

    uint64_t digest() {
        const Use use(busy_);
        return book_.digest();
    }

    size_t size() const { return book_.size(); }
    size_t bytes() const { return book_.bytes(); }

private:
    class Use {
    public:
        explicit Use(bool& busy) : busy_(busy) {
            if (busy) throw std::runtime_error("the book is in use by another thread");
            busy_ = true;
        }
        ~Use() { busy_ = false; }

    private:
        bool& busy_;
    };

    Book book_;
    bool busy_ = false;  // written while the interpreter's lock is held
};

}  // namespace

NB_MODULE(_core, module) {
    nb::class_<Guarded>(module, "Book")
        .def(nb::init<uint8_t, size_t>(), nb::kw_only(), nb::arg("phase") = 1, nb::arg("capacity") = 1024)
        .def("apply", &Guarded::apply)
        .def("apply_batch", &Guarded::apply_batch)
        .def("depth", &Guarded::depth)
        .def("digest", &Guarded::digest)
        .def_prop_ro("bytes", &Guarded::bytes)
        .def("__len__", &Guarded::size);
}
