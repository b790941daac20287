/**
 * The neighbors stage, second half: the edges, which are the candidates within the cutoff, in their order.
 *
 * Candidates are looked at in words of 32 of one center.  A word becomes a mask of those within the cutoff; that
 * decides once which pairs are edges.  Words are dealt out in parts, one to a group, so that their edges can be
 * counted, and where those of a part begin is known before they are written.
 *
 * What candidates.cc says of its arrays, and:
 * numParts, rowCapacity                    rowCapacity is a multiple of 32
 * masks        [n][rowCapacity / 32]
 * partCounts   [numParts][2]               edges of a part, and its longest row of candidates
 * edges        [2][capacity]               INDEX: centers, neighbors; padded with (0, 0)
 * shifts       [capacity][3]               SHIFT: cells or Cartesian; padded with (padding, 0, 0)
 * numbers      [3]                         for the host: edges, longest row, number of builds
 */
DEVICE int countBits(unsigned int mask) {
    mask = mask - (mask >> 1 & 0x55555555);
    mask = (mask & 0x33333333) + (mask >> 2 & 0x33333333);
    return (int)(((mask + (mask >> 4)) & 0x0f0f0f0f) * 0x01010101 >> 24);
}

/** The cell S of a candidate j of i. */
DEVICE int4 findShift(mm_ulong candidate, int i, GLOBAL const int4* cells) {
    int4 shift;
#ifdef PERIODIC
    const int4 from = cells[i], to = cells[(int)(candidate >> 32)];
    shift.x = IMAGE_AXIS(candidate, 0) + from.x - to.x;
    shift.y = IMAGE_AXIS(candidate, 1) + from.y - to.y;
    shift.z = IMAGE_AXIS(candidate, 2) + from.z - to.z;
#else
    shift.x = shift.y = shift.z = 0;
#endif
    shift.w = 0;
    return shift;
}

DEVICE int isWithinCutoff(int i, int j, int4 shift, WIDE4 a, WIDE4 b, WIDE4 c, WIDE limit,
                          GLOBAL const MODEL_REAL* positions) {
    WIDE x = (WIDE)positions[3 * j] - (WIDE)positions[3 * i];
    WIDE y = (WIDE)positions[3 * j + 1] - (WIDE)positions[3 * i + 1];
    WIDE z = (WIDE)positions[3 * j + 2] - (WIDE)positions[3 * i + 2];
#ifdef PERIODIC
    x += shift.x * a.x + shift.y * b.x + shift.z * c.x;
    y += shift.x * a.y + shift.y * b.y + shift.z * c.y;
    z += shift.x * a.z + shift.y * b.z + shift.z * c.z;
#endif
    return x * x + y * y + z * z < limit;
}

/** Make the masks of a part, and count its edges; by one group. */
DEVICE void markPart(int part, int numParts, GLOBAL const MODEL_REAL* positions, WIDE4 a, WIDE4 b, WIDE4 c, WIDE limit,
                     int rowCapacity, GLOBAL const int4* cells, GLOBAL const int* rowCounts,
                     GLOBAL const mm_ulong* candidates, GLOBAL unsigned int* masks, GLOBAL mm_long* partCounts,
                     LOCAL_ARG mm_long* sums) {
    const int numWords = NUM_PARTICLES * (rowCapacity / 32), perPart = (numWords + numParts - 1) / numParts;
    const int end = min((part + 1) * perPart, numWords);
    mm_long numEdges = 0, longestRow = 0;
    for (int word = part * perPart + (int)LOCAL_ID; word < end; word += LOCAL_SIZE) {
        const int i = word / (rowCapacity / 32), first = 32 * (word % (rowCapacity / 32)), rowCount = rowCounts[i];
        const int count = min(min(rowCount, rowCapacity) - first, 32);
        GLOBAL const mm_ulong* row = candidates + (mm_long)i * rowCapacity + first;
        unsigned int mask = 0;
        for (int k = 0; k < count; k++) {
            const int4 shift = findShift(row[k], i, cells);
            if (isWithinCutoff(i, (int)(row[k] >> 32), shift, a, b, c, limit, positions))
                mask |= 1u << k;
        }
        masks[word] = mask;
        numEdges += countBits(mask);
        longestRow = max(longestRow, (mm_long)rowCount);
    }
    longestRow = findLargest(longestRow, sums);
    sumBefore(numEdges, sums);
    if (LOCAL_ID == 0) {
        partCounts[2 * part] = sums[LOCAL_SIZE - 1];
        partCounts[2 * part + 1] = longestRow;
    }
    SYNC_THREADS;
}

DEVICE void writeEdge(mm_long edge, int i, mm_ulong candidate, WIDE4 a, WIDE4 b, WIDE4 c, mm_long capacity,
                      GLOBAL const int4* cells, GLOBAL INDEX* edges, GLOBAL SHIFT* shifts) {
    const int4 shift = findShift(candidate, i, cells);
    edges[edge] = (INDEX)i;
    edges[capacity + edge] = (INDEX)(candidate >> 32);
#ifdef CARTESIAN
    shifts[3 * edge] = (SHIFT)(shift.x * a.x + shift.y * b.x + shift.z * c.x);
    shifts[3 * edge + 1] = (SHIFT)(shift.x * a.y + shift.y * b.y + shift.z * c.y);
    shifts[3 * edge + 2] = (SHIFT)(shift.x * a.z + shift.y * b.z + shift.z * c.z);
#else
    shifts[3 * edge] = (SHIFT)shift.x;
    shifts[3 * edge + 1] = (SHIFT)shift.y;
    shifts[3 * edge + 2] = (SHIFT)shift.z;
#endif
}

/** Write the edges of a part, as far as there is room, beginning with number `first`; by one group. */
DEVICE void writePart(int part, int numParts, mm_long first, WIDE4 a, WIDE4 b, WIDE4 c, int rowCapacity,
                      mm_long capacity, GLOBAL const int4* cells, GLOBAL const mm_ulong* candidates,
                      GLOBAL const unsigned int* masks, GLOBAL INDEX* edges, GLOBAL SHIFT* shifts,
                      LOCAL_ARG mm_long* sums) {
    const int numWords = NUM_PARTICLES * (rowCapacity / 32), perPart = (numWords + numParts - 1) / numParts;
    const int end = min((part + 1) * perPart, numWords);
    for (int begin = part * perPart; begin < end; begin += LOCAL_SIZE) {
        const int word = begin + (int)LOCAL_ID, i = word / (rowCapacity / 32);
        unsigned int mask = word < end ? masks[word] : 0;
        mm_long edge = first + sumBefore(countBits(mask), sums);
        for (mm_long k = (mm_long)word * 32; mask != 0 && edge < capacity; k++, mask >>= 1)
            if (mask & 1)
                writeEdge(edge++, i, candidates[k], a, b, c, capacity, cells, edges, shifts);
        first += sums[LOCAL_SIZE - 1];
    }
}

/** Fill with padding edges from number `first` on, each thread its share. */
DEVICE void pad(mm_long first, int step, WIDE padding, mm_long capacity, GLOBAL INDEX* edges, GLOBAL SHIFT* shifts) {
    for (mm_long edge = first; edge < capacity; edge += step) {
        edges[edge] = edges[capacity + edge] = 0;
        shifts[3 * edge] = (SHIFT)padding;
        shifts[3 * edge + 1] = shifts[3 * edge + 2] = 0;
    }
}

/** Tell the host, and have the candidates kept; by one thread. */
DEVICE void report(mm_long numEdges, mm_long longestRow, GLOBAL int* state, GLOBAL mm_long* numbers) {
    numbers[0] = numEdges;
    numbers[1] = longestRow;
    numbers[2] = state[NUM_BUILDS];
    state[MUST_BUILD] = 0;
}

/** Launch: one group a part.  Writes masks and partCounts. */
KERNEL void markEdges(int numParts, GLOBAL const MODEL_REAL* RESTRICT positions, WIDE4 a, WIDE4 b, WIDE4 c,
                      WIDE cutoffLimit, int rowCapacity, GLOBAL const int4* RESTRICT cells,
                      GLOBAL const int* RESTRICT rowCounts, GLOBAL const mm_ulong* RESTRICT candidates,
                      GLOBAL unsigned int* RESTRICT masks, GLOBAL mm_long* RESTRICT partCounts) {
    LOCAL mm_long sums[GROUP_SIZE];
    for (int part = GROUP_ID; part < numParts; part += NUM_GROUPS)
        markPart(part, numParts, positions, a, b, c, cutoffLimit, rowCapacity, cells, rowCounts, candidates, masks,
                 partCounts, sums);
}

/** Launch: one group a part.  Writes edges, shifts and numbers. */
KERNEL void writeEdges(int numParts, WIDE4 a, WIDE4 b, WIDE4 c, int rowCapacity, mm_long capacity, WIDE padding,
                       GLOBAL const int4* RESTRICT cells, GLOBAL const mm_ulong* RESTRICT candidates,
                       GLOBAL const unsigned int* RESTRICT masks, GLOBAL const mm_long* RESTRICT partCounts,
                       GLOBAL INDEX* RESTRICT edges, GLOBAL SHIFT* RESTRICT shifts, GLOBAL int* RESTRICT state,
                       GLOBAL mm_long* RESTRICT numbers) {
    LOCAL mm_long sums[GROUP_SIZE];
    mm_long numEdges = 0, longestRow = 0;
    for (int part = LOCAL_ID; part < numParts; part += LOCAL_SIZE) {
        numEdges += partCounts[2 * part];
        longestRow = max(longestRow, partCounts[2 * part + 1]);
    }
    longestRow = findLargest(longestRow, sums);
    sumBefore(numEdges, sums);
    numEdges = sums[LOCAL_SIZE - 1];
    for (int part = GROUP_ID; part < numParts; part += NUM_GROUPS) {
        mm_long before = 0;
        for (int other = LOCAL_ID; other < part; other += LOCAL_SIZE)
            before += partCounts[2 * other];
        sumBefore(before, sums);
        writePart(part, numParts, sums[LOCAL_SIZE - 1], a, b, c, rowCapacity, capacity, cells, candidates, masks, edges,
                  shifts, sums);
    }
    pad(numEdges + GLOBAL_ID, GLOBAL_SIZE, padding, capacity, edges, shifts);
    if (GLOBAL_ID == 0)
        report(numEdges, longestRow, state, numbers);
}

/** Launch: one group, which does all steps for few particles. */
KERNEL void findNeighborsOfFew(GLOBAL const MODEL_REAL* RESTRICT positions, GLOBAL MODEL_REAL* built, WIDE moveLimit,
                               int mustBuild, WIDE4 a, WIDE4 b, WIDE4 c, int4 numBins, int4 reach, WIDE rangeLimit,
                               WIDE cutoffLimit, int rowCapacity, mm_long capacity, WIDE padding, GLOBAL int* binBegin,
                               GLOBAL int* sorted, GLOBAL WIDE4* wrapped, GLOBAL int4* cells, GLOBAL int* rowCounts,
                               GLOBAL mm_ulong* candidates, GLOBAL unsigned int* masks, GLOBAL mm_long* partCounts,
                               GLOBAL INDEX* edges, GLOBAL SHIFT* shifts, GLOBAL int* state, GLOBAL mm_long* numbers) {
    LOCAL mm_long sums[GROUP_SIZE];
    LOCAL int build;
    if (LOCAL_ID == 0)
        build = mustBuild;
    SYNC_THREADS;
    if (hasMoved(positions, built, moveLimit, LOCAL_ID, LOCAL_SIZE))
        build = 1;
    SYNC_THREADS;
    if (build) {
        sortParticles(positions, built, a, b, c, numBins, binBegin, sorted, wrapped, cells, sums);
        findRows(0, NUM_PARTICLES, a, b, c, numBins, reach, rangeLimit, rowCapacity, binBegin, sorted, wrapped, cells,
                 rowCounts, candidates);
        sortRows(0, NUM_PARTICLES, rowCapacity, sorted, rowCounts, candidates);
        if (LOCAL_ID == 0)
            state[NUM_BUILDS]++;
    }
    markPart(0, 1, positions, a, b, c, cutoffLimit, rowCapacity, cells, rowCounts, candidates, masks, partCounts, sums);
    writePart(0, 1, 0, a, b, c, rowCapacity, capacity, cells, candidates, masks, edges, shifts, sums);
    pad(partCounts[0] + LOCAL_ID, LOCAL_SIZE, padding, capacity, edges, shifts);
    if (LOCAL_ID == 0)
        report(partCounts[0], partCounts[1], state, numbers);
}
