/**
 * The scatter stage: adds the model's forces to OpenMM's, which are fixed-point numbers of 64 bits, so that the order of
 * additions does not matter.
 *
 * Launch: one thread a particle or link atom; there are n particles and L link atoms.
 * forces        [n + L][3]   in the model's unit
 * slots         [n + L]      where OpenMM keeps the i-th particle of the force, or the MM particle of a link atom
 * factor                     kJ/mol/nm in one model force unit, times the scale parameter
 * forceBuffer                [3][PADDED_NUM_ATOMS], added to
 * linkParents   [L]          the ML particle of a link atom, as one of the n
 * linkBonds     [L]          (u, d/|b|), of the gather stage
 */

DEVICE void addForce(WIDE4 force, int slot, GLOBAL mm_ulong* forceBuffer) {
    ATOMIC_ADD(&forceBuffer[slot], (mm_ulong) (mm_long) (force.x * 0x100000000));
    ATOMIC_ADD(&forceBuffer[slot + PADDED_NUM_ATOMS], (mm_ulong) (mm_long) (force.y * 0x100000000));
    ATOMIC_ADD(&forceBuffer[slot + 2 * PADDED_NUM_ATOMS], (mm_ulong) (mm_long) (force.z * 0x100000000));
}

KERNEL void scatter(GLOBAL const WIDE* RESTRICT forces, GLOBAL const int* RESTRICT slots, WIDE factor,
                    GLOBAL mm_ulong* RESTRICT forceBuffer
#ifdef NUM_LINKS
                    , GLOBAL const int* RESTRICT linkParents, GLOBAL const WIDE4* RESTRICT linkBonds
#endif
                    ) {
    for (int i = GLOBAL_ID; i < NUM_ATOMS_OF_MODEL; i += GLOBAL_SIZE) {
        WIDE4 force;
        force.x = factor * forces[3 * i];
        force.y = factor * forces[3 * i + 1];
        force.z = factor * forces[3 * i + 2];
        force.w = 0;
        int slot = slots[i];
#ifdef NUM_LINKS
        const int link = i - NUM_PARTICLES;
        if (link >= 0) {
            if (force.x == 0 && force.y == 0 && force.z == 0)
                continue; // as after a failed check, where the bond may be no number
            const WIDE4 onMM = findForceOnMM(force, linkBonds[link]);
            addForce(onMM, slot, forceBuffer);
            force.x -= onMM.x;
            force.y -= onMM.y;
            force.z -= onMM.z;
            slot = slots[linkParents[link]];
        }
#endif
        addForce(force, slot, forceBuffer);
    }
}
