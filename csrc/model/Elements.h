#ifndef OPENMMNNP_ELEMENTS_H_
#define OPENMMNNP_ELEMENTS_H_

#include <string>

namespace openmmnnp {

/** "H" for 1, up to 118; "" for other numbers. */
std::string elementSymbol(int atomicNumber);
/** 1 for "H"; 0 if there is no such element. */
int findElement(const std::string& symbol);

} // namespace openmmnnp

#endif // OPENMMNNP_ELEMENTS_H_
