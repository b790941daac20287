/**
 * The accumulate stage: adds dE/dparameter to OpenMM's.  (The energy itself is returned by the host as a double.)
 *
 * Launch: one thread a derivative.
 * derivatives       [numDerivatives]   in the model's energy unit
 * indices           [numDerivatives]   where OpenMM keeps each of them in a row of its buffer
 * factor                               kJ/mol in one model energy unit, times the scale parameter
 * derivativeBuffer                     its first row is added to
 */
KERNEL void accumulate(GLOBAL const WIDE* RESTRICT derivatives, GLOBAL const int* RESTRICT indices, int numDerivatives,
                       WIDE factor, GLOBAL mixed* RESTRICT derivativeBuffer) {
    for (int i = GLOBAL_ID; i < numDerivatives; i += GLOBAL_SIZE)
        derivativeBuffer[indices[i]] += factor * derivatives[i];
}
