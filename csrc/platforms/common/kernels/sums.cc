/** What the threads of a group find together; `sums` and `values` [LOCAL_SIZE] are theirs. */

/** The sum of the values of the threads before this one; `sums` [LOCAL_SIZE] holds at its end that of all. */
DEVICE mm_long sumBefore(mm_long value, LOCAL_ARG mm_long* sums) {
    const int thread = LOCAL_ID, numThreads = LOCAL_SIZE;
    SYNC_THREADS;
    sums[thread] = value;
    SYNC_THREADS;
    for (int offset = 1; offset < numThreads; offset *= 2) {
        const mm_long other = thread >= offset ? sums[thread - offset] : 0;
        SYNC_THREADS;
        sums[thread] += other;
        SYNC_THREADS;
    }
    return sums[thread] - value;
}

/** The largest of the values of all threads. */
DEVICE mm_long findLargest(mm_long value, LOCAL_ARG mm_long* values) {
    const int thread = LOCAL_ID, numThreads = LOCAL_SIZE;
    SYNC_THREADS;
    values[thread] = value;
    SYNC_THREADS;
    for (int step = 1; step < numThreads; step *= 2) {
        if (thread % (2 * step) == 0 && thread + step < numThreads)
            values[thread] = max(values[thread], values[thread + step]);
        SYNC_THREADS;
    }
    return values[0];
}
