//go:build rados

package rados

/*
#include <malloc.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

static void havn_memory(int threshold, int arenas) {
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, threshold);
	mallopt(M_ARENA_MAX, arenas);
#endif
#ifdef PR_SET_THP_DISABLE
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
#endif
}
*/
import "C"

// What librados allocates for stripes goes back to the machine at once if it is mapped by itself. glibc would raise its threshold for that to the size of the first stripe that
// is freed, and keep later ones in arenas, of which each thread may get another: 8 clients with 64 MiB each had 355 MiB resident, and 220 with these. Nor does the process use
// large pages, which a machine may have for all: librados has some fifty threads, whose stacks then take megabytes.
const (
	mapFrom   = 1 << 20
	mostArena = 4
)

// tameMemory sets glibc's allocator for the whole process, where it is glibc's, and the kernel's pages.
func tameMemory() { C.havn_memory(mapFrom, mostArena) }
