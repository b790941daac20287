/**
 * The scatter stage: adds the model's forces to OpenMM's, which are fixed-point numbers of 64 bits.
 *
 * Launch: one thread a particle.
 * forces        [n][3]   in the model's unit
 * slots         [n]      where OpenMM keeps the i-th particle of the force
 * factor                 kJ/mol/nm in one model force unit, times the scale parameter
 * forceBuffer            [3][PADDED_NUM_ATOMS], added to
 */
KERNEL void scatter(GLOBAL const WIDE* RESTRICT forces, GLOBAL const int* RESTRICT slots, WIDE factor,
                    GLOBAL mm_ulong* RESTRICT forceBuffer) {
    for (int i = GLOBAL_ID; i < NUM_PARTICLES; i += GLOBAL_SIZE)
        for (int axis = 0; axis < 3; axis++)
            ATOMIC_ADD(&forceBuffer[slots[i] + axis * PADDED_NUM_ATOMS],
                       (mm_ulong) (mm_long) (factor * forces[3 * i + axis] * 0x100000000));
}
