/**
 * The neighbors stage, first half: the candidates, which are all pairs within cutoff + skin.  They are found again when
 * the host says so (the box has changed) or a particle has moved by more than half the skin; else these steps do
 * nothing.
 *
 * Particles are sorted into bins, and those in the bins around a particle are looked at.  Bins fill the periodic box;
 * in a small box a bin lies around itself, as another image.  Without a box bins repeat through space, and what is not
 * near is sorted out by its distance.
 *
 * A candidate j of a center i is a number of 64 bits: j, then the image of j in which the two are near.  Images are
 * counted from where both are inside of the box; cells [i] says by how many boxes i is outside of it.
 *
 * Each step is a function for threads of one group, so that one launch can do all for few particles (neighbors.cc).
 *
 * positions, built   [n][3]                MODEL_REAL, the model's unit; now, and when candidates were found
 * a, b, c                                  box vectors; without a box, of the space in which bins do not repeat
 * numBins, reach                           bins along each axis, and how many to either side are near
 * binBegin           [bins + 1]            where a bin begins in the order of the bins
 * sorted             [n]                   particles in that order
 * wrapped            [n]                   their positions, inside of the box
 * cells              [n]                   boxes by which a particle is outside, and its bin
 * rowCounts          [n]                   candidates of a center, also if there is no room for all
 * candidates         [n][rowCapacity]      sorted
 * state              [2]                   whether candidates must be found, and how often they were
 */
#define MUST_BUILD 0
#define NUM_BUILDS 1
#define IMAGE(x, y, z) ((mm_ulong)((x) + 512) << 20 | (mm_ulong)((y) + 512) << 10 | (mm_ulong)((z) + 512))
#define IMAGE_AXIS(candidate, axis) ((int)((candidate) >> (20 - 10 * (axis)) & 1023) - 512)

/** Whether one of the particles first, first + step... has moved too far, or is nowhere. */
DEVICE int hasMoved(GLOBAL const MODEL_REAL* positions, GLOBAL const MODEL_REAL* built, WIDE limit, int first,
                    int step) {
    int moved = 0;
    for (int i = first; i < NUM_PARTICLES; i += step) {
        const WIDE x = (WIDE)positions[3 * i] - (WIDE)built[3 * i];
        const WIDE y = (WIDE)positions[3 * i + 1] - (WIDE)built[3 * i + 1];
        const WIDE z = (WIDE)positions[3 * i + 2] - (WIDE)built[3 * i + 2];
        if (!(x * x + y * y + z * z <= limit))
            moved = 1;
    }
    return moved;
}

/** The bin along an axis at a fraction of the box; 0 if it is not a number. */
DEVICE int findBin(WIDE fraction, int numBins) {
    const int bin = fraction > 0 ? (int)(fraction * numBins) : 0;
    return bin < numBins ? bin : numBins - 1;
}

/** Where a particle belongs: cell and bin. */
DEVICE int4 findCell(WIDE x, WIDE y, WIDE z, WIDE4 a, WIDE4 b, WIDE4 c, int4 numBins) {
    const WIDE u = z / c.z, t = (y - u * c.y) / b.y, s = (x - t * b.x - u * c.x) / a.x;
    int4 cell;
    cell.x = (int)floor(s);
    cell.y = (int)floor(t);
    cell.z = (int)floor(u);
    cell.w = (findBin(s - floor(s), numBins.x) * numBins.y + findBin(t - floor(t), numBins.y)) * numBins.z +
             findBin(u - floor(u), numBins.z);
#ifndef PERIODIC
    cell.x = cell.y = cell.z = 0;
#endif
    return cell;
}

/** Sort all particles into bins; by one group. */
DEVICE void sortParticles(GLOBAL const MODEL_REAL* positions, GLOBAL MODEL_REAL* built, WIDE4 a, WIDE4 b, WIDE4 c,
                          int4 numBins, GLOBAL int* binBegin, GLOBAL int* sorted, GLOBAL WIDE4* wrapped,
                          GLOBAL int4* cells, LOCAL_ARG mm_long* sums) {
    const int thread = LOCAL_ID, numThreads = LOCAL_SIZE, total = numBins.x * numBins.y * numBins.z;
    for (int bin = thread; bin <= total; bin += numThreads)
        binBegin[bin] = bin < total ? 0 : NUM_PARTICLES;
    SYNC_THREADS;
    for (int i = thread; i < NUM_PARTICLES; i += numThreads) {
        cells[i] = findCell(positions[3 * i], positions[3 * i + 1], positions[3 * i + 2], a, b, c, numBins);
        ATOMIC_ADD(&binBegin[cells[i].w], 1);
        for (int axis = 0; axis < 3; axis++)
            built[3 * i + axis] = positions[3 * i + axis];
    }
    SYNC_THREADS;
    int end = 0; // of the bins so far
    for (int first = 0; first < total; first += numThreads) {
        const int bin = first + thread, count = bin < total ? binBegin[bin] : 0;
        const int before = (int)sumBefore(count, sums);
        if (bin < total)
            binBegin[bin] = end + before + count; // counted down to where it begins
        end += (int)sums[numThreads - 1];
    }
    SYNC_THREADS;
    for (int i = thread; i < NUM_PARTICLES; i += numThreads) {
        const int4 cell = cells[i];
        const int place = ATOMIC_ADD(&binBegin[cell.w], -1) - 1;
        WIDE4 x;
        x.x = positions[3 * i] - (cell.x * a.x + cell.y * b.x + cell.z * c.x);
        x.y = positions[3 * i + 1] - (cell.x * a.y + cell.y * b.y + cell.z * c.y);
        x.z = positions[3 * i + 2] - (cell.x * a.z + cell.y * b.z + cell.z * c.z);
        x.w = 0;
        sorted[place] = i;
        wrapped[place] = x;
    }
    SYNC_THREADS;
}

/** The box in which a bin lies whose number along an axis may be outside of it. */
DEVICE int findImage(int bin, int numBins) {
    return bin >= 0 ? bin / numBins : -((numBins - 1 - bin) / numBins);
}

/** Whether j in this image is something else than i, and, in a half list, the one of two that belongs there. */
DEVICE int isListed(int i, int j, mm_ulong image) {
#ifdef HALF
    return i < j || (i == j && image > IMAGE(0, 0, 0));
#else
    return i != j || image != IMAGE(0, 0, 0);
#endif
}

/** Add the candidates of the center at a place that are in one of the bins around it; every step-th from `first`. */
DEVICE void searchBin(int place, int which, int first, int step, WIDE4 a, WIDE4 b, WIDE4 c, int4 numBins, int4 reach,
                      WIDE limit, int rowCapacity, GLOBAL const int* binBegin, GLOBAL const int* sorted,
                      GLOBAL const WIDE4* wrapped, GLOBAL const int4* cells, GLOBAL int* rowCounts,
                      GLOBAL mm_ulong* candidates) {
    const int i = sorted[place], ownBin = cells[i].w, sizeY = 2 * reach.y + 1, sizeZ = 2 * reach.z + 1;
    const int x = ownBin / (numBins.y * numBins.z) + which / (sizeY * sizeZ) - reach.x;
    const int y = ownBin / numBins.z % numBins.y + which / sizeZ % sizeY - reach.y;
    const int z = ownBin % numBins.z + which % sizeZ - reach.z;
    int imageX = findImage(x, numBins.x), imageY = findImage(y, numBins.y), imageZ = findImage(z, numBins.z);
    const int bin =
        ((x - imageX * numBins.x) * numBins.y + y - imageY * numBins.y) * numBins.z + z - imageZ * numBins.z;
#ifndef PERIODIC
    imageX = imageY = imageZ = 0;
#endif
    const mm_ulong image = IMAGE(imageX, imageY, imageZ);
    const WIDE4 from = wrapped[place];
    const WIDE shiftX = imageX * a.x + imageY * b.x + imageZ * c.x - from.x;
    const WIDE shiftY = imageX * a.y + imageY * b.y + imageZ * c.y - from.y;
    const WIDE shiftZ = imageX * a.z + imageY * b.z + imageZ * c.z - from.z;
    for (int other = binBegin[bin] + first; other < binBegin[bin + 1]; other += step) {
        const WIDE4 to = wrapped[other];
        const WIDE dx = to.x + shiftX, dy = to.y + shiftY, dz = to.z + shiftZ;
        const int j = sorted[other];
        if (dx * dx + dy * dy + dz * dz < limit && isListed(i, j, image)) {
            const int k = ATOMIC_ADD(&rowCounts[i], 1);
            if (k < rowCapacity)
                candidates[(mm_long)i * rowCapacity + k] = (mm_ulong)j << 32 | image;
        }
    }
}

/** Find the candidates of the centers at places begin...end of the order, unsorted; by one group. */
DEVICE void findRows(int begin, int end, WIDE4 a, WIDE4 b, WIDE4 c, int4 numBins, int4 reach, WIDE limit,
                     int rowCapacity, GLOBAL const int* binBegin, GLOBAL const int* sorted, GLOBAL const WIDE4* wrapped,
                     GLOBAL const int4* cells, GLOBAL int* rowCounts, GLOBAL mm_ulong* candidates) {
    const int thread = LOCAL_ID, numThreads = LOCAL_SIZE;
    const int near = (2 * reach.x + 1) * (2 * reach.y + 1) * (2 * reach.z + 1);
    const int perBin = max(numThreads / near / (end - begin), 1), perRow = near * perBin; // threads
    for (int place = begin + thread; place < end; place += numThreads)
        rowCounts[sorted[place]] = 0;
    SYNC_THREADS;
    for (mm_long task = thread; task < (mm_long)(end - begin) * perRow; task += numThreads) {
        const int place = begin + (int)(task / perRow), rest = (int)(task % perRow);
        searchBin(place, rest / perBin, rest % perBin, perBin, a, b, c, numBins, reach, limit, rowCapacity, binBegin,
                  sorted, wrapped, cells, rowCounts, candidates);
    }
    SYNC_THREADS;
}

/**
 * Sort the candidates of these centers; by one group.  A bitonic network in which the smaller of two always goes to the
 * front, so that what lies beyond the end of a row stays there.
 */
DEVICE void sortRows(int begin, int end, int rowCapacity, GLOBAL const int* sorted, GLOBAL const int* rowCounts,
                     GLOBAL mm_ulong* candidates) {
    for (int size = 2; size < 2 * rowCapacity; size *= 2)
        for (int span = size; span > 1; span /= 2) {
            const int flip = span == size ? size - 1 : span / 2;
            for (int task = LOCAL_ID; task < (end - begin) * rowCapacity; task += LOCAL_SIZE) {
                const int i = sorted[begin + task / rowCapacity], k = task % rowCapacity, other = k ^ flip;
                GLOBAL mm_ulong* row = candidates + (mm_long)i * rowCapacity;
                if (other > k && other < rowCounts[i] && other < rowCapacity && row[other] < row[k]) {
                    const mm_ulong smaller = row[other];
                    row[other] = row[k];
                    row[k] = smaller;
                }
            }
            SYNC_THREADS;
        }
}

/** Launch: one thread a particle.  Sets state[MUST_BUILD] if a particle has moved too far, or the host says so. */
KERNEL void findMoved(GLOBAL const MODEL_REAL* RESTRICT positions, GLOBAL const MODEL_REAL* RESTRICT built,
                      WIDE moveLimit, int mustBuild, GLOBAL int* RESTRICT state) {
    if (hasMoved(positions, built, moveLimit, GLOBAL_ID, GLOBAL_SIZE) || (mustBuild && GLOBAL_ID == 0))
        state[MUST_BUILD] = 1;
}

/** Launch: one group.  Writes built, binBegin, sorted, wrapped, cells if candidates must be found. */
KERNEL void sortIntoBins(GLOBAL const MODEL_REAL* RESTRICT positions, GLOBAL MODEL_REAL* RESTRICT built, WIDE4 a,
                         WIDE4 b, WIDE4 c, int4 numBins, GLOBAL int* binBegin, GLOBAL int* sorted,
                         GLOBAL WIDE4* wrapped, GLOBAL int4* cells, GLOBAL int* state) {
    LOCAL mm_long sums[GROUP_SIZE];
    if (!state[MUST_BUILD])
        return;
    sortParticles(positions, built, a, b, c, numBins, binBegin, sorted, wrapped, cells, sums);
    if (LOCAL_ID == 0)
        state[NUM_BUILDS]++;
}

/** Launch: one group a center.  Writes rowCounts and candidates if they must be found. */
KERNEL void findCandidates(WIDE4 a, WIDE4 b, WIDE4 c, int4 numBins, int4 reach, WIDE rangeLimit, int rowCapacity,
                           GLOBAL const int* RESTRICT binBegin, GLOBAL const int* RESTRICT sorted,
                           GLOBAL const WIDE4* RESTRICT wrapped, GLOBAL const int4* RESTRICT cells,
                           GLOBAL int* rowCounts, GLOBAL mm_ulong* candidates, GLOBAL const int* RESTRICT state) {
    if (!state[MUST_BUILD])
        return;
    for (int place = GROUP_ID; place < NUM_PARTICLES; place += NUM_GROUPS) {
        findRows(place, place + 1, a, b, c, numBins, reach, rangeLimit, rowCapacity, binBegin, sorted, wrapped, cells,
                 rowCounts, candidates);
        sortRows(place, place + 1, rowCapacity, sorted, rowCounts, candidates);
    }
}
