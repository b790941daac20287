#ifndef OPENMMNNP_LIBRARIES_H_
#define OPENMMNNP_LIBRARIES_H_

#include <string>
#include <vector>

namespace openmmnnp {

/**
 * Load the libraries that register the operators and classes a TorchScript program uses, for good, unless they are in
 * the process.  `names` are those of a spec's "libraries".  They are looked for, in the layout of their packages on
 * PyPI or as bare files, in the folders that OPENMMNNP_EXTENSIONS lists (with colons), then in the folder that holds
 * torch. Throws ModelError with the command that installs what is missing.
 */
void loadLibraries(const std::vector<std::string>& names);

} // namespace openmmnnp

#endif // OPENMMNNP_LIBRARIES_H_
