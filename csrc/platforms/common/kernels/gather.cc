/**
 * The gather stage: positions of the force's particles, in the model's order, length unit and dtype.
 *
 * OpenMM keeps each molecule in the periodic box and counts by how many box vectors it moved it; with UNWRAP the motion
 * is undone.  In mixed precision a position is the sum of two floats.
 *
 * Launch: one thread a particle.
 * posq, posqCorrection    nm, in OpenMM's order
 * slots          [n]      where OpenMM keeps the i-th particle of the force
 * cellOffsets    [n]      cells by which it was moved
 * a, b, c                 box vectors, nm
 * perNm                   the model's length units in one nm
 * positions      [n][3]   written
 */
KERNEL void gather(GLOBAL const real4* RESTRICT posq,
#ifdef USE_MIXED_PRECISION
                   GLOBAL const real4* RESTRICT posqCorrection,
#endif
                   GLOBAL const int* RESTRICT slots, GLOBAL const int4* RESTRICT cellOffsets, WIDE4 a, WIDE4 b, WIDE4 c,
                   WIDE perNm, GLOBAL MODEL_REAL* RESTRICT positions) {
    for (int i = GLOBAL_ID; i < NUM_PARTICLES; i += GLOBAL_SIZE) {
        const real4 position = posq[slots[i]];
        WIDE x = position.x, y = position.y, z = position.z;
#ifdef USE_MIXED_PRECISION
        const real4 correction = posqCorrection[slots[i]];
        x += correction.x;
        y += correction.y;
        z += correction.z;
#endif
#ifdef UNWRAP
        const int4 cells = cellOffsets[i];
        x -= cells.x * a.x + cells.y * b.x + cells.z * c.x;
        y -= cells.x * a.y + cells.y * b.y + cells.z * c.y;
        z -= cells.x * a.z + cells.y * b.z + cells.z * c.z;
#endif
        positions[3 * i] = (MODEL_REAL) (perNm * x);
        positions[3 * i + 1] = (MODEL_REAL) (perNm * y);
        positions[3 * i + 2] = (MODEL_REAL) (perNm * z);
    }
}
