package rados

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// runBuffer is what reading or writing a run takes.
	runBuffer = 4 << 10
	// maxName is longer than RADOS lets a name be.
	maxName = 64 << 10
)

// sorter puts any number of names in order, in the memory of one run: the others are in a file without a name. It is not safe for concurrent use.
type sorter struct {
	dir    string // for the file
	most   int    // names in a run
	run    []string
	file   *os.File
	out    *bufio.Writer
	ends   []int64 // of the runs in the file
	length int64   // of the file
}

// add takes a name.
func (s *sorter) add(name string) error {
	s.run = append(s.run, name)
	if len(s.run) < s.most {
		return nil
	}
	return s.spill()
}

func (s *sorter) spill() error {
	if s.file == nil {
		f, err := unnamed(s.dir)
		if err != nil {
			return sortFailed(err, s.dir)
		}
		s.file, s.out = f, bufio.NewWriterSize(f, runBuffer)
	}
	slices.Sort(s.run)
	var length [binary.MaxVarintLen64]byte
	for _, name := range s.run {
		n, err := s.out.Write(length[:binary.PutUvarint(length[:], uint64(len(name)))])
		if err == nil {
			_, err = s.out.WriteString(name)
		}
		if err != nil {
			return sortFailed(err, s.dir)
		}
		s.length += int64(n) + int64(len(name))
	}
	s.ends = append(s.ends, s.length)
	s.run = s.run[:0]
	return nil
}

// sorted answers the names in order. The sorter takes no more.
func (s *sorter) sorted() (*merged, error) {
	m := &merged{file: s.file}
	if s.out != nil {
		if err := s.out.Flush(); err != nil {
			return nil, errors.Join(sortFailed(err, s.dir), s.close())
		}
	}
	slices.Sort(s.run)
	all := []*runReader{{names: s.run}}
	begin := int64(0)
	for _, end := range s.ends {
		all = append(all, &runReader{in: bufio.NewReaderSize(io.NewSectionReader(s.file, begin, end-begin), runBuffer)})
		begin = end
	}
	for _, r := range all {
		more, err := r.advance()
		if err != nil {
			return nil, errors.Join(sortFailed(err, s.dir), m.close())
		}
		if more {
			m.runs = append(m.runs, r)
		}
	}
	heap.Init(&m.runs)
	return m, nil
}

func (s *sorter) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// merged are names in order.
type merged struct {
	file *os.File // nil: all were in memory
	runs runs
}

// next answers the next name; false at the end.
func (m *merged) next() (string, bool, error) {
	if len(m.runs) == 0 {
		return "", false, nil
	}
	first := m.runs[0]
	name := first.name
	more, err := first.advance()
	switch {
	case err != nil:
		return "", false, sortFailed(err, "")
	case more:
		heap.Fix(&m.runs, 0)
	default:
		heap.Pop(&m.runs)
	}
	return name, true, nil
}

func (m *merged) close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}

// runReader reads one run, from memory or from the file.
type runReader struct {
	names []string
	in    *bufio.Reader
	name  string // the one that it stands at
}

// advance goes to the next name; false at the end.
func (r *runReader) advance() (bool, error) {
	if r.in == nil {
		if len(r.names) == 0 {
			return false, nil
		}
		r.name, r.names = r.names[0], r.names[1:]
		return true, nil
	}
	length, err := binary.ReadUvarint(r.in)
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	if err == nil && length > maxName {
		err = errors.New("the file holds other than what was written")
	}
	if err != nil {
		return false, err
	}
	name := make([]byte, length)
	if _, err = io.ReadFull(r.in, name); err != nil {
		return false, err
	}
	r.name = string(name)
	return true, nil
}

// runs are a heap: the one that stands at the least name is first.
type runs []*runReader

// Len is the heap's.
func (r runs) Len() int { return len(r) }

// Less is the heap's.
func (r runs) Less(i, j int) bool { return r[i].name < r[j].name }

// Swap is the heap's.
func (r runs) Swap(i, j int) { r[i], r[j] = r[j], r[i] }

// Push is the heap's; nothing is pushed.
func (r *runs) Push(x any) {
	if one, ok := x.(*runReader); ok {
		*r = append(*r, one)
	}
}

// Pop is the heap's.
func (r *runs) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}

// unnamed makes a file that is gone when it is closed, or when the process ends; in the machine's own directory for such files if dir is "".
func unnamed(dir string) (*os.File, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	f, err := os.CreateTemp(dir, "part-names-")
	if err != nil {
		return nil, err
	}
	if err = os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func sortFailed(err error, dir string) error {
	return fail.E(fail.Unavailable, err, "sort the names of objects in a file in %q", dir).Hint("free space there, or mend the directory")
}
