#ifndef OPENMMNNP_NEARBY_CHARGES_H_
#define OPENMMNNP_NEARBY_CHARGES_H_

#include "openmmnnp/ModelSpec.h"
#include <array>
#include <string>
#include <vector>

namespace openmmnnp {

/** Which charges a model is given.  Lengths are in its unit. */
struct ChargeOptions {
    double cutoff = 0;    // from the nearest particle of the region; 0: all charges
    double skin = 0;      // as in NeighborOptions
    bool images = false;  // a charge has periodic images
    bool oneImage = true; // and only one of them may be within the cutoff, since the model knows of no box
    std::string unit;     // for messages
};

/** Throws ModelError if the box is so small that a particle can have two images of one charge within the cutoff. */
OPENMMNNP_EXPORT void checkBoxForCharges(const ChargeOptions& options, const double box[9]);
/** What is wrong if a charge is within the cutoff of the region as two images. */
OPENMMNNP_EXPORT std::string describeTwoImages(const ChargeOptions& options, int particle);

/**
 * Chooses, on the host, the charges within a cutoff of a region, each as the periodic image nearest to it.
 *
 * Candidates within cutoff + skin are kept, with their images, until a particle has moved by more than half the skin or
 * the box has changed.  Each choice takes from them those within the cutoff, so that it does not depend on when they
 * were found.  Memory is allocated only where more charges are near than ever before.
 */
class OPENMMNNP_EXPORT NearbyCharges {
public:
    /** Positions of all charges: those of `particles` [count] among `positions` [][3], times `scale`. */
    struct Source {
        const double* positions;
        const int* particles;
        int count;
        double scale;
    };
    explicit NearbyCharges(const ChargeOptions& options) : options(options) {}

    /** Choose.  The region is [n][3]; throws ModelError if two images of a charge are near and only one may be. */
    void update(const std::vector<double>& region, const Source& source, const double box[9]);
    /** Indices into Source::particles, ascending.  A charge whose position is not finite is always there. */
    const std::vector<int>& getChosen() const {
        return chosen;
    }
    const std::vector<double>& getPositions() const {
        return chosenPositions; // [m][3]
    }
    long long getNumBuilds() const {
        return numBuilds;
    }

private:
    struct Candidate {
        int charge;
        std::array<int, 3> cell; // of the image, counted from the position as it is
        bool inside;             // within the cutoff as long as the candidates hold
    };
    bool candidatesHold(const std::vector<double>& region, const Source& source);
    void findCandidates();
    void findCandidatesOf(int charge);
    bool isNearRegion(const double* position) const;
    void measureRegion();
    std::array<double, 3> toFractions(const double* position) const;
    std::array<double, 3> imageOf(const Candidate& candidate) const;
    double squareToRegion(const std::array<double, 3>& position) const;
    void choose();

    const ChargeOptions options;
    double skin = 0; // no larger than the box allows
    std::vector<double> positions, builtPositions, region, builtRegion;
    std::array<double, 9> box{}, builtBox{};
    std::array<double, 3> heights{}, middle{}, halfWidth{}; // of the region, along the normals of the box's faces
    bool isBuilt = false;
    long long numBuilds = 0;
    std::vector<Candidate> candidates;
    std::vector<int> chosen, particles;
    std::vector<double> chosenPositions;
};

} // namespace openmmnnp

#endif // OPENMMNNP_NEARBY_CHARGES_H_
