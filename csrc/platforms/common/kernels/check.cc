/**
 * Checks an evaluation before scatter and accumulate add it to OpenMM's: positions, energy, forces and derivatives must
 * be finite, and forces must fit OpenMM's fixed-point numbers.
 *
 * If something is wrong, forces and derivatives are set to zero, so that nothing is added, and the first wrong evaluation
 * is kept aside with all that a message about it needs.  The energy is remembered for such a message otherwise.
 *
 * Launch: one block, whose threads share the particles.
 * positions      [n][3]             in the model's dtype and unit
 * forces         [n][3]             set to zero if something is wrong; ignored if withForces is 0
 * energy         []
 * derivatives    [NUM_DERIVATIVES]  set to zero if something is wrong
 * chargeForces   [numCharges][3]    on charges outside of the force; treated like forces
 * forceLimit                        magnitude that a component of a force must not reach
 * evaluation                        its number, from 1
 * slot                              place of its energy in lastEnergies
 * lastEnergies   [4]
 * failed         []                 not 0 if an evaluation is kept already
 * kept           [5+k+6n]           evaluation, withForces, forceLimit, energy, 1 + a charge with a wrong force (0 if
 *                                   none), derivatives, forces, positions
 * hostFlag       []                 memory of the host: set to 1 if something is wrong
 * hostResults    [1+k]              memory of the host: energy and derivatives
 */
#define IS_FINITE(x) ((x) - (x) == 0)

KERNEL void check(GLOBAL const MODEL_REAL* RESTRICT positions, GLOBAL WIDE* RESTRICT forces,
                  GLOBAL const WIDE* RESTRICT energy, GLOBAL WIDE* RESTRICT derivatives,
                  GLOBAL WIDE* RESTRICT chargeForces, int numCharges, int withForces, WIDE forceLimit, WIDE evaluation,
                  int slot, GLOBAL WIDE* RESTRICT lastEnergies, GLOBAL int* RESTRICT failed,
                  GLOBAL WIDE* RESTRICT kept, GLOBAL int* RESTRICT hostFlag, GLOBAL WIDE* RESTRICT hostResults) {
    LOCAL int wrong, wrongCharge;
    if (LOCAL_ID == 0) {
        wrong = !IS_FINITE(energy[0]);
        wrongCharge = 0;
    }
    SYNC_THREADS;
    for (int i = LOCAL_ID; i < 3 * NUM_PARTICLES; i += LOCAL_SIZE) {
        const bool tooLarge = withForces && !(fabs(forces[i]) < forceLimit && IS_FINITE(forces[i]));
        if (tooLarge || !IS_FINITE(positions[i]))
            wrong = 1;
    }
    for (int i = LOCAL_ID; withForces && i < 3 * numCharges; i += LOCAL_SIZE)
        if (!(fabs(chargeForces[i]) < forceLimit && IS_FINITE(chargeForces[i]))) {
            wrong = 1;
            wrongCharge = 1 + i / 3;
        }
    for (int i = LOCAL_ID; i < NUM_DERIVATIVES; i += LOCAL_SIZE) {
        hostResults[1 + i] = derivatives[i];
        if (!IS_FINITE(derivatives[i]))
            wrong = 1;
    }
    if (LOCAL_ID == 0)
        hostResults[0] = energy[0];
    SYNC_THREADS;
    if (!wrong) {
        if (LOCAL_ID == 0)
            lastEnergies[slot] = energy[0];
        return;
    }
    const bool isFirst = (failed[0] == 0);
    SYNC_THREADS;
    GLOBAL WIDE* keptDerivatives = kept + 5;
    GLOBAL WIDE* keptForces = keptDerivatives + NUM_DERIVATIVES;
    GLOBAL WIDE* keptPositions = keptForces + 3 * NUM_PARTICLES;
    for (int i = LOCAL_ID; i < NUM_DERIVATIVES; i += LOCAL_SIZE) {
        if (isFirst)
            keptDerivatives[i] = derivatives[i];
        derivatives[i] = 0;
    }
    for (int i = LOCAL_ID; i < 3 * NUM_PARTICLES; i += LOCAL_SIZE) {
        if (isFirst) {
            keptForces[i] = withForces ? forces[i] : 0;
            keptPositions[i] = positions[i];
        }
        forces[i] = 0;
    }
    for (int i = LOCAL_ID; i < 3 * numCharges; i += LOCAL_SIZE)
        chargeForces[i] = 0;
    if (LOCAL_ID == 0) {
        if (isFirst) {
            kept[0] = evaluation;
            kept[1] = withForces;
            kept[2] = forceLimit;
            kept[3] = energy[0];
            kept[4] = wrongCharge;
        }
        failed[0] = 1;
        hostFlag[0] = 1;
    }
}
