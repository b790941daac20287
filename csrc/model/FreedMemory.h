#ifndef OPENMMNNP_FREED_MEMORY_H_
#define OPENMMNNP_FREED_MEMORY_H_

#include "openmmnnp/ModelSpec.h"

namespace openmmnnp {

/**
 * Let the process keep the memory that tensors on the host free, for the next evaluation.
 *
 * By default glibc gives freed memory back to the system, and gets it again in the next evaluation, a page fault for
 * each 4 KiB: always for blocks above 32 MiB, and for the free end of the heap above a limit that depends on what was
 * freed before.  Afterwards blocks up to 256 MiB (32 MiB where glibc allows no more) come from the heap, and 512 MiB of
 * its free end stay.  This is for the whole process; threads but the main one have heaps of 64 MiB, and keep less.
 * Nothing is done if the environment sets malloc's parameters (mallopt(3): M_MMAP_THRESHOLD, M_TRIM_THRESHOLD).
 */
OPENMMNNP_EXPORT void keepFreedMemory();

} // namespace openmmnnp

#endif // OPENMMNNP_FREED_MEMORY_H_
