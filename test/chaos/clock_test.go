package chaos

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Go asks the kernel's own library in each process, the vDSO, what time it is, so no library in front of it (faketime) could lie to it. The function is written over in the memory
// of the one process: with a call of the kernel, and an addition to the seconds where the clock of the wall was asked for.
//
//	mov eax, SYS_clock_gettime; syscall; test edi, edi; jne end; add qword [rsi], seconds; end: ret
func wrongClock(seconds int32) []byte {
	code := []byte{0xb8, 0xe4, 0, 0, 0, 0x0f, 0x05, 0x85, 0xff, 0x75, 0x07, 0x48, 0x81, 0x06}
	return append(binary.LittleEndian.AppendUint32(code, uint32(seconds)), 0xc3)
}

// clock is the function of a process that answers the time.
type clock struct {
	pid      int
	at, size uint64
	original []byte
}

// shift moves the clock of a process, on amd64 alone. It answers how to put it right.
func shift(t *testing.T, pid int, by time.Duration) func() error {
	t.Helper()
	c, err := clockOf(pid)
	need(t, err)
	need(t, c.write(wrongClock(int32(by/time.Second))))
	return func() error { return c.write(c.original) }
}

// clockOf finds the function in the memory of a process.
func clockOf(pid int) (*clock, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	var begin, end uint64
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "[vdso]") {
			if _, err = fmt.Sscanf(line, "%x-%x", &begin, &end); err != nil {
				return nil, err
			}
		}
	}
	image := make([]byte, end-begin)
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, err
	}
	_, err = memory.ReadAt(image, int64(begin))
	if err = errors.Join(err, memory.Close()); err != nil {
		return nil, fmt.Errorf("vDSO of process %d: %w", pid, err)
	}
	library, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("vDSO of process %d: %w", pid, err)
	}
	symbols, err := library.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("vDSO of process %d: %w", pid, err)
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return &clock{pid: pid, at: begin + s.Value, size: s.Size, original: bytes.Clone(image[s.Value : s.Value+uint64(len(wrongClock(0)))])}, nil
		}
	}
	return nil, fmt.Errorf("the vDSO of process %d has no __vdso_clock_gettime", pid)
}

// write writes over the beginning of the function, while the process stands still and no thread of it is in the function.
func (c *clock) write(code []byte) (err error) {
	process, err := os.FindProcess(c.pid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, process.Signal(syscall.SIGCONT)) }()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if err = process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		free, lookErr := c.free()
		if lookErr != nil {
			return lookErr
		}
		if free {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("a thread of process %d is always in the function that answers the time", c.pid)
		}
		if err = process.Signal(syscall.SIGCONT); err != nil {
			return err
		}
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", c.pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = memory.WriteAt(code, int64(c.at))
	return errors.Join(err, memory.Close())
}

// free waits until all threads of a stopped process stand still, and reports whether all are outside of the function.
func (c *clock) free() (bool, error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", c.pid))
		if err != nil || len(threads) == 0 {
			return false, errors.Join(err, fmt.Errorf("process %d is gone", c.pid))
		}
		still, inside := true, false
		for _, name := range threads {
			text, readErr := os.ReadFile(name)
			if readErr != nil {
				still = false // it ended
				break
			}
			fields := strings.Fields(string(text))
			if len(fields) < 3 { // "running"
				still = false
				break
			}
			where, parseErr := strconv.ParseUint(strings.TrimPrefix(fields[len(fields)-1], "0x"), 16, 64)
			if parseErr != nil {
				return false, parseErr
			}
			inside = inside || where >= c.at && where < c.at+c.size
		}
		if still {
			return !inside, nil
		}
	}
	return false, fmt.Errorf("process %d does not stop", c.pid)
}
