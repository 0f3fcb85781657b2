//go:build rados

package rados

/*
#include <malloc.h>

static void havn_malloc(int threshold, int arenas) {
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, threshold);
	mallopt(M_ARENA_MAX, arenas);
#endif
}
*/
import "C"

// What librados allocates for stripes goes back to the machine at once if it is mapped by itself. glibc would raise its threshold for that to the size of the first stripe that
// is freed, and keep later ones in arenas, of which each thread may get another: 8 clients with 64 MiB each had 355 MiB resident, and 220 with these.
const (
	mapFrom   = 1 << 20
	mostArena = 4
)

// tameMalloc sets glibc's allocator for the whole process, where it is glibc's. Go's own memory is not its business.
func tameMalloc() { C.havn_malloc(mapFrom, mostArena) }
