package readcache

import (
	"os"
	"syscall"

	"github.com/havn-registry/havn/internal/blob"
)

// OnWrite makes writes of copies go through a function.
func (c *Cache) OnWrite(do func() error) {
	c.write = func(f *os.File, p []byte, off int64) (int, error) {
		if err := do(); err != nil {
			return 0, err
		}
		return f.WriteAt(p, off)
	}
}

// Used answers what the cache believes that its copies take, and how many it has, made and being made.
func (c *Cache) Used() (bytes int64, copies, fills int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used, c.order.Len(), len(c.fills)
}

// Readers answers how many read along with the copy of an object that is being made.
func (c *Cache) Readers(o blob.Object) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.fills[keyOf(o.Name)]
	if f == nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.users - 1
}

// Path answers where the copy of an object is.
func (c *Cache) Path(o blob.Object) string { return c.path(keyOf(o.Name)) }

// ShareLock answers a second descriptor of the lock, as a process has it that is forked and has not yet run its program.
func (c *Cache) ShareLock() (int, error) { return syscall.Dup(int(c.lock.Fd())) }
