/**
 * The charges outside of the force that a model is given: those within a cutoff of its particles, each as the image
 * nearest to them, in the order of their particles, in arrays of fixed size that are filled up with padding.
 *
 * Charges are dealt out in parts, one to a group: the first step looks at each and counts those of a part, so that the
 * second knows where to write them.
 *
 * With IMAGES a charge has periodic images; a, b, c are the box vectors.  With ONE_IMAGE only one may be within the
 * cutoff.  Else UNWRAP undoes what gather.cc says of it.
 *
 * posq, posqCorrection        nm, in OpenMM's order
 * slots          [NUM_CHARGES]       where OpenMM keeps the j-th charge's particle
 * cellOffsets    [NUM_CHARGES]       cells by which it was moved
 * perNm                              the model's length units in one nm
 * region         [numRegion][3]      MODEL_REAL: the model's particles
 * limit                              square of the cutoff; lengths are in the model's unit from here on
 * heights                            between opposite faces of the box
 * images         [NUM_CHARGES]       the nearest image; w: whether it is within the cutoff, or nowhere
 * partCounts     [numParts][2]       charges that are, and 1 + a charge with two images that are, 0 if there is none
 */
#ifdef IMAGES
#define SHIFT(r, count, vector)                                                                                        \
    r.x -= count * vector.x;                                                                                           \
    r.y -= count * vector.y;                                                                                           \
    r.z -= count * vector.z;
#endif

DEVICE WIDE4 findPosition(int j, GLOBAL const real4* posq,
#ifdef USE_MIXED_PRECISION
                          GLOBAL const real4* posqCorrection,
#endif
                          GLOBAL const int* slots, GLOBAL const int4* cellOffsets, WIDE4 a, WIDE4 b, WIDE4 c,
                          WIDE perNm) {
    const real4 posqOfSlot = posq[slots[j]];
    WIDE4 position;
    position.x = posqOfSlot.x;
    position.y = posqOfSlot.y;
    position.z = posqOfSlot.z;
#ifdef USE_MIXED_PRECISION
    const real4 correction = posqCorrection[slots[j]];
    position.x += correction.x;
    position.y += correction.y;
    position.z += correction.z;
#endif
    position.x *= perNm;
    position.y *= perNm;
    position.z *= perNm;
#ifdef UNWRAP
    const int4 cells = cellOffsets[j];
    position.x -= cells.x * a.x + cells.y * b.x + cells.z * c.x;
    position.y -= cells.x * a.y + cells.y * b.y + cells.z * c.y;
    position.z -= cells.x * a.z + cells.y * b.z + cells.z * c.z;
#endif
    position.w = 0;
    return position;
}

/** The largest distance of a particle of the region from its first, for all threads of a group. */
DEVICE WIDE findRadius(int numRegion, GLOBAL const MODEL_REAL* region, LOCAL_ARG WIDE* squares) {
    const int thread = LOCAL_ID, numThreads = LOCAL_SIZE;
    WIDE largest = 0;
    for (int i = thread; i < numRegion; i += numThreads) {
        const WIDE x = (WIDE)region[3 * i] - (WIDE)region[0];
        const WIDE y = (WIDE)region[3 * i + 1] - (WIDE)region[1];
        const WIDE z = (WIDE)region[3 * i + 2] - (WIDE)region[2];
        largest = max(largest, x * x + y * y + z * z);
    }
    squares[thread] = largest;
    SYNC_THREADS;
    for (int step = 1; step < numThreads; step *= 2) {
        if (thread % (2 * step) == 0 && thread + step < numThreads)
            squares[thread] = max(squares[thread], squares[thread + step]);
        SYNC_THREADS;
    }
    return sqrt(squares[0]);
}

/** Could an image of a position be this near to the first particle?  Looks at distances from planes alone. */
DEVICE int isWithinReach(WIDE4 position, GLOBAL const MODEL_REAL* region, WIDE4 a, WIDE4 b, WIDE4 c, WIDE4 heights,
                         WIDE reach) {
    WIDE x = position.x - region[0], y = position.y - region[1], z = position.z - region[2];
#ifdef IMAGES
    z /= c.z;
    y = (y - z * c.y) / b.y;
    x = (x - y * b.x - z * c.x) / a.x;
    x = (x - floor(x + (WIDE)0.5)) * heights.x;
    y = (y - floor(y + (WIDE)0.5)) * heights.y;
    z = (z - floor(z + (WIDE)0.5)) * heights.z;
#endif
    return !(fabs(x) > reach || fabs(y) > reach || fabs(z) > reach); // true if it is nowhere
}

/** Make a position its image nearest to the region, w telling whether that is within the cutoff; true if two are. */
DEVICE int findImage(WIDE4* position, int numRegion, GLOBAL const MODEL_REAL* region, WIDE4 a, WIDE4 b, WIDE4 c,
                     WIDE limit) {
    const WIDE4 x = *position;
    WIDE closest = limit;
    WIDE4 nearest = x, cell;
    cell.x = cell.y = cell.z = 0;
    int isNear = 0, hasTwo = 0;
    for (int i = 0; i < numRegion; i++) {
        WIDE4 r, count;
        r.x = x.x - region[3 * i];
        r.y = x.y - region[3 * i + 1];
        r.z = x.z - region[3 * i + 2];
        count.x = count.y = count.z = 0;
#ifdef IMAGES
        count.z = floor(r.z / c.z + (WIDE)0.5);
        SHIFT(r, count.z, c)
        count.y = floor(r.y / b.y + (WIDE)0.5);
        SHIFT(r, count.y, b)
        count.x = floor(r.x / a.x + (WIDE)0.5);
        SHIFT(r, count.x, a)
#endif
        const WIDE square = r.x * r.x + r.y * r.y + r.z * r.z;
        if (square >= limit)
            continue;
#ifdef ONE_IMAGE
        if (isNear && square < limit && closest < limit &&
            (count.x != cell.x || count.y != cell.y || count.z != cell.z))
            hasTwo = 1;
#endif
        if (!isNear || square < closest) {
            closest = square;
            cell = count;
        }
        isNear = 1;
    }
#ifdef IMAGES
    SHIFT(nearest, cell.x, a)
    SHIFT(nearest, cell.y, b)
    SHIFT(nearest, cell.z, c)
#endif
    nearest.w = isNear;
    *position = nearest;
    return hasTwo;
}

/** Launch: one group a part.  Writes images and partCounts. */
KERNEL void markCharges(int numParts, GLOBAL const real4* RESTRICT posq,
#ifdef USE_MIXED_PRECISION
                        GLOBAL const real4* RESTRICT posqCorrection,
#endif
                        GLOBAL const int* RESTRICT slots, GLOBAL const int4* RESTRICT cellOffsets, WIDE4 a, WIDE4 b,
                        WIDE4 c, WIDE perNm, int numRegion, GLOBAL const MODEL_REAL* RESTRICT region, WIDE limit,
                        WIDE4 heights, GLOBAL WIDE4* RESTRICT images, GLOBAL mm_long* RESTRICT partCounts) {
    LOCAL mm_long sums[GROUP_SIZE];
    LOCAL WIDE squares[GROUP_SIZE];
    const WIDE reach = (WIDE)1.0001 * (findRadius(numRegion, region, squares) + sqrt(limit));
    const int perPart = (NUM_CHARGES + numParts - 1) / numParts;
    for (int part = GROUP_ID; part < numParts; part += NUM_GROUPS) {
        const int end = min((part + 1) * perPart, NUM_CHARGES);
        mm_long count = 0, twice = 0;
        for (int j = part * perPart + (int)LOCAL_ID; j < end; j += LOCAL_SIZE) {
            WIDE4 position = findPosition(j, posq,
#ifdef USE_MIXED_PRECISION
                                          posqCorrection,
#endif
                                          slots, cellOffsets, a, b, c, perNm);
            if (isWithinReach(position, region, a, b, c, heights, reach) &&
                findImage(&position, numRegion, region, a, b, c, limit))
                twice = j + 1;
            images[j] = position;
            count += position.w != 0;
        }
        twice = findLargest(twice, sums);
        sumBefore(count, sums);
        if (LOCAL_ID == 0) {
            partCounts[2 * part] = sums[LOCAL_SIZE - 1];
            partCounts[2 * part + 1] = twice;
        }
        SYNC_THREADS;
    }
}

/**
 * Launch: one group a part.
 * allCharges     [NUM_CHARGES]    e
 * padding                         from the first particle of the region
 * positions      [capacity][3]    written; padded with region[0] + padding
 * charges        [capacity]       written; padded with 0
 * chosen         [capacity]       written: which of all charges; padded with -1
 * numbers        [2]              for the host: how many are within the cutoff, and what partCounts [][1] says
 */
KERNEL void writeCharges(int numParts, GLOBAL const WIDE4* RESTRICT images, GLOBAL const mm_long* RESTRICT partCounts,
                         GLOBAL const WIDE* RESTRICT allCharges, GLOBAL const MODEL_REAL* RESTRICT region,
                         WIDE4 padding, int capacity, GLOBAL MODEL_REAL* RESTRICT positions,
                         GLOBAL MODEL_REAL* RESTRICT charges, GLOBAL int* RESTRICT chosen,
                         GLOBAL mm_long* RESTRICT numbers) {
    LOCAL mm_long sums[GROUP_SIZE];
    mm_long total = 0, twice = 0;
    for (int part = LOCAL_ID; part < numParts; part += LOCAL_SIZE) {
        total += partCounts[2 * part];
        twice = max(twice, partCounts[2 * part + 1]);
    }
    twice = findLargest(twice, sums);
    sumBefore(total, sums);
    total = sums[LOCAL_SIZE - 1];
    const int perPart = (NUM_CHARGES + numParts - 1) / numParts;
    for (int part = GROUP_ID; part < numParts; part += NUM_GROUPS) {
        mm_long before = 0;
        for (int other = LOCAL_ID; other < part; other += LOCAL_SIZE)
            before += partCounts[2 * other];
        sumBefore(before, sums);
        before = sums[LOCAL_SIZE - 1];
        const int end = min((part + 1) * perPart, NUM_CHARGES);
        for (int begin = part * perPart; begin < end; begin += LOCAL_SIZE) {
            const int j = begin + (int)LOCAL_ID;
            const int isNear = j < end && images[j].w != 0;
            const mm_long k = before + sumBefore(isNear, sums);
            if (isNear && k < capacity) {
                positions[3 * k] = (MODEL_REAL)images[j].x;
                positions[3 * k + 1] = (MODEL_REAL)images[j].y;
                positions[3 * k + 2] = (MODEL_REAL)images[j].z;
                charges[k] = (MODEL_REAL)allCharges[j];
                chosen[k] = j;
            }
            before += sums[LOCAL_SIZE - 1];
        }
    }
    for (mm_long k = total + GLOBAL_ID; k < capacity; k += GLOBAL_SIZE) {
        positions[3 * k] = (MODEL_REAL)(region[0] + padding.x);
        positions[3 * k + 1] = (MODEL_REAL)(region[1] + padding.y);
        positions[3 * k + 2] = (MODEL_REAL)(region[2] + padding.z);
        charges[k] = 0;
        chosen[k] = -1;
    }
    if (GLOBAL_ID == 0) {
        numbers[0] = total;
        numbers[1] = twice;
    }
}

/**
 * Adds the model's forces on the charges to OpenMM's, as scatter.cc does.
 *
 * Launch: one thread a charge that was given to the model.
 * forces        [capacity][3]    in the model's unit
 * chosen        [capacity]       which of all charges; -1 for padding
 */
KERNEL void scatterToCharges(GLOBAL const WIDE* RESTRICT forces, GLOBAL const int* RESTRICT chosen,
                             GLOBAL const int* RESTRICT slots, WIDE factor, int count,
                             GLOBAL mm_ulong* RESTRICT forceBuffer) {
    for (int k = GLOBAL_ID; k < count; k += GLOBAL_SIZE) {
        if (chosen[k] < 0)
            continue;
        const int slot = slots[chosen[k]];
        for (int axis = 0; axis < 3; axis++)
            ATOMIC_ADD(&forceBuffer[slot + axis * PADDED_NUM_ATOMS],
                       (mm_ulong) (mm_long) (factor * forces[3 * k + axis] * 0x100000000));
    }
}
