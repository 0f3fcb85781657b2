package parts

// keptMost bounds what all streams of a pool keep in files: they may be as long as objects are, and the disk is not theirs alone.
const keptMost = 8 << 30

// Keeper keeps what a stream brings, so that it can be read again: in the pool's memory, as much as is this stream's share, then in a file. What does not
// fit there either is lost; the stream itself goes on. It is not safe for concurrent use.
type Keeper struct {
	part   Part
	buffer *[]byte // for what is not in memory
	lost   bool
}

// Keep begins to keep a stream.
func (p *Pool) Keep() *Keeper {
	// A stream with something on its way takes its share of the memory and no more.
	return &Keeper{part: Part{pool: p, owner: &Cutter{pool: p, out: 1}}}
}

// Room answers where the stream's next bytes can be read to. Add must follow.
func (k *Keeper) Room() []byte {
	if !k.lost {
		if to := k.part.room(); to != nil {
			return to
		}
	}
	return k.spare()
}

// Add keeps the first n bytes of the last Room. They are good until the next one.
func (k *Keeper) Add(n int) {
	if n == 0 || k.lost {
		return
	}
	p := &k.part
	size := int64(n)
	if p.file == nil && p.inMem+size <= int64(len(p.chunks))*chunkBytes {
		p.Size, p.inMem = p.Size+size, p.inMem+size
		return
	}
	if p.pool.kept.Add(size) > keptMost {
		p.pool.kept.Add(-size)
		k.lost = true
		return
	}
	var err error
	if p.file == nil {
		p.file, err = p.pool.file()
	}
	if err == nil {
		_, err = p.file.Write(k.spare()[:n])
	}
	p.Size += size
	k.lost = err != nil
}

// Lost reports whether a part of the stream can't be read again.
func (k *Keeper) Lost() bool { return k.lost }

// Bytes answers bytes of the stream from an offset, at least one, where some were kept. They are good until the next call.
func (k *Keeper) Bytes(off int64) ([]byte, error) {
	p := &k.part
	if off < p.inMem {
		return p.pool.chunk(p.chunks[off/chunkBytes])[off%chunkBytes : min(chunkBytes, p.inMem-off/chunkBytes*chunkBytes)], nil
	}
	buffer := k.spare()
	n, err := p.file.ReadAt(buffer[:min(int64(len(buffer)), p.Size-off)], off-p.inMem)
	if n > 0 {
		err = nil
	}
	return buffer[:n], err
}

// spare answers the buffer for what is not in memory.
func (k *Keeper) spare() []byte {
	if k.buffer == nil {
		if b, ok := spillBuffers.Get().(*[]byte); ok {
			k.buffer = b
		}
	}
	return *k.buffer
}

// Release gives all that was kept back.
func (k *Keeper) Release() error {
	if k.buffer != nil {
		spillBuffers.Put(k.buffer)
		k.buffer = nil
	}
	k.part.pool.kept.Add(k.part.inMem - k.part.Size)
	k.part.Size, k.part.inMem = 0, 0
	return k.part.Release()
}
