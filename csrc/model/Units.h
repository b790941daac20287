#ifndef OPENMMNNP_UNITS_H_
#define OPENMMNNP_UNITS_H_

#include <string>
#include <vector>

namespace openmmnnp {

/** The one table of units.  CODATA 2022; kJ/mol values follow from the exact e and N_A and from E_h
 * = 4.3597447222060e-18 J. */
struct Unit {
    const char* name;
    double value; // in nm or kJ/mol
};

namespace codata {
constexpr double avogadro = 6.02214076e23;           // 1/mol, exact
constexpr double elementaryCharge = 1.602176634e-19; // C, exact
constexpr double hartree = 4.3597447222060e-18;      // J
constexpr double bohr = 0.0529177210544;             // nm
} // namespace codata

inline const std::vector<Unit>& lengthUnits() {
    static const std::vector<Unit> units = {{"nm", 1}, {"angstrom", 0.1}, {"bohr", codata::bohr}};
    return units;
}

inline const std::vector<Unit>& energyUnits() {
    static const std::vector<Unit> units = {{"kJ/mol", 1},
                                            {"kcal/mol", 4.184},
                                            {"eV", codata::elementaryCharge * codata::avogadro / 1000},
                                            {"hartree", codata::hartree * codata::avogadro / 1000}};
    return units;
}

} // namespace openmmnnp

#endif // OPENMMNNP_UNITS_H_
