#ifndef OPENMMNNP_INTERPRETER_LOCK_H_
#define OPENMMNNP_INTERPRETER_LOCK_H_

#include "openmmnnp/ModelSpec.h"

namespace openmmnnp {

/**
 * How a thread gives up an interpreter's lock (Python's GIL) for the time in which a model is loaded or evaluated.
 * A library of Python registers it; a program without Python has none.
 */
struct InterpreterLock {
    void* (*release)() = nullptr;     // gives the lock up if this thread holds it; null if it does not
    void (*acquire)(void*) = nullptr; // takes it back; the argument is what release() gave
};

OPENMMNNP_EXPORT void setInterpreterLock(InterpreterLock lock);

/** Gives the interpreter's lock up, if this thread holds it, until the end of the scope. */
class OPENMMNNP_EXPORT WithoutInterpreterLock {
public:
    WithoutInterpreterLock();
    ~WithoutInterpreterLock();
    WithoutInterpreterLock(const WithoutInterpreterLock&) = delete;
    WithoutInterpreterLock& operator=(const WithoutInterpreterLock&) = delete;

private:
    void* state;
};

} // namespace openmmnnp

#endif // OPENMMNNP_INTERPRETER_LOCK_H_
