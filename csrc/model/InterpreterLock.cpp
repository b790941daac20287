#include "openmmnnp/InterpreterLock.h"

namespace openmmnnp {

namespace {
InterpreterLock interpreterLock;
}

void setInterpreterLock(InterpreterLock lock) {
    interpreterLock = lock;
}

WithoutInterpreterLock::WithoutInterpreterLock()
    : state(interpreterLock.release ? interpreterLock.release() : nullptr) {}

WithoutInterpreterLock::~WithoutInterpreterLock() {
    if (state != nullptr)
        interpreterLock.acquire(state);
}

} // namespace openmmnnp
