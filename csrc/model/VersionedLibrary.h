#ifndef OPENMMNNP_VERSIONED_LIBRARY_H_
#define OPENMMNNP_VERSIONED_LIBRARY_H_

#include <string>

namespace openmmnnp {

/**
 * A library of ours beside libOpenMMNNP that needs torch's C++ ABI, which changes with every minor release: there may
 * be one lib<stem>-<minor>.so for each.  Opened for good with the one for the torch that is installed.
 */
class VersionedLibrary {
public:
    /** `need` and `alternative` begin and end the ModelError that is thrown if there is none, which says for which
       there are. */
    VersionedLibrary(const std::string& stem, const std::string& need, const std::string& alternative);
    /** A function that the library exports.  Throws ModelError. */
    template <class F>
    void take(const char* name, F& function) const {
        function = reinterpret_cast<F>(find(name));
    }

private:
    void* find(const char* name) const;

    std::string path;
    void* library = nullptr;
};

} // namespace openmmnnp

#endif // OPENMMNNP_VERSIONED_LIBRARY_H_
