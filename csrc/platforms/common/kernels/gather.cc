/**
 * The gather stage: positions of the force's particles and of its link atoms, in the model's order, length unit and
 * dtype.
 *
 * OpenMM keeps each molecule in the periodic box and counts by how many box vectors it moved it; with UNWRAP the motion
 * is undone.  In mixed precision a position is the sum of two floats.
 *
 * Launch: one thread a particle or link atom; there are n particles and L link atoms.
 * posq, posqCorrection    nm, in OpenMM's order
 * slots          [n + L]      where OpenMM keeps the i-th particle of the force, or the MM particle of a link atom
 * cellOffsets    [n + L]      cells by which it was moved
 * a, b, c                     box vectors, nm
 * perNm                       the model's length units in one nm
 * positions      [n + L][3]   written
 * linkParents    [L]          the ML particle of a link atom, as one of the n
 * linkDistances  [L]          nm
 * linkBonds      [L]          written: (u, d/|b|), for the scatter stage
 */

/** The position in nm of the i-th of the slots. */
DEVICE WIDE4 locate(int i, GLOBAL const real4* posq,
#ifdef USE_MIXED_PRECISION
                    GLOBAL const real4* posqCorrection,
#endif
                    GLOBAL const int* slots, GLOBAL const int4* cellOffsets, WIDE4 a, WIDE4 b, WIDE4 c) {
    const real4 position = posq[slots[i]];
    WIDE4 r;
    r.x = position.x;
    r.y = position.y;
    r.z = position.z;
    r.w = 0;
#ifdef USE_MIXED_PRECISION
    const real4 correction = posqCorrection[slots[i]];
    r.x += correction.x;
    r.y += correction.y;
    r.z += correction.z;
#endif
#ifdef UNWRAP
    const int4 cells = cellOffsets[i];
    r.x -= cells.x * a.x + cells.y * b.x + cells.z * c.x;
    r.y -= cells.x * a.y + cells.y * b.y + cells.z * c.y;
    r.z -= cells.x * a.z + cells.y * b.z + cells.z * c.z;
#endif
    return r;
}

#ifdef USE_MIXED_PRECISION
#define LOCATE(i) locate(i, posq, posqCorrection, slots, cellOffsets, a, b, c)
#else
#define LOCATE(i) locate(i, posq, slots, cellOffsets, a, b, c)
#endif

KERNEL void gather(GLOBAL const real4* RESTRICT posq,
#ifdef USE_MIXED_PRECISION
                   GLOBAL const real4* RESTRICT posqCorrection,
#endif
                   GLOBAL const int* RESTRICT slots, GLOBAL const int4* RESTRICT cellOffsets, WIDE4 a, WIDE4 b, WIDE4 c,
                   WIDE perNm, GLOBAL MODEL_REAL* RESTRICT positions
#ifdef NUM_LINKS
                   , GLOBAL const int* RESTRICT linkParents, GLOBAL const WIDE* RESTRICT linkDistances,
                   GLOBAL WIDE4* RESTRICT linkBonds
#endif
                   ) {
    for (int i = GLOBAL_ID; i < NUM_ATOMS_OF_MODEL; i += GLOBAL_SIZE) {
        WIDE4 r = LOCATE(i);
#ifdef NUM_LINKS
        const int link = i - NUM_PARTICLES;
        if (link >= 0) {
            const WIDE4 parent = LOCATE(linkParents[link]);
            linkBonds[link] = findLinkBond(parent, r, linkDistances[link], a, b, c);
            r = placeLink(parent, linkBonds[link], linkDistances[link]);
        }
#endif
        positions[3 * i] = (MODEL_REAL) (perNm * r.x);
        positions[3 * i + 1] = (MODEL_REAL) (perNm * r.y);
        positions[3 * i + 2] = (MODEL_REAL) (perNm * r.z);
    }
}
