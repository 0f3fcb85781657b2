package server

import (
	"net/http"
	"time"
)

const (
	// firstPiece is written of an answer at a time while it is not known how it moves: as a rule that is all. Pieces are slowPiece from where one took a part of the limit, and quickPiece from where many in a row took
	// next to nothing of it: a few do on any line, as long as the kernel has room for them.
	firstPiece, slowPiece, quickPiece = 16 << 10, 4 << 10, 64 << 10
	slowPart, quickPart, quickPieces  = 16, 64, 64
	// movesPerLimit is how often the deadline is moved on in the time that it gives.
	movesPerLimit = 8
)

// stream writes an answer of HTTP/2 so that it is cut off where no byte of it moves, and not where all of it does not move in time: the protocol's server has a deadline for a stream that nothing but its handler
// moves on, and a stream shares its line with others. With HTTP/1.1 the connection sees to that: see slotted.
type stream struct {
	limit time.Duration // 0: the answer is written as it comes
	piece int           // 0: nothing was written yet
	quick int           // pieces in a row that took next to nothing
	moved time.Time     // when the deadline was moved on last
}

// write writes, and moves the deadline on between pieces. The first one has the time that the stream was given.
func (s *stream) write(to http.ResponseWriter, p []byte) (int, error) {
	if s.limit == 0 {
		return to.Write(p)
	}
	sum := 0
	for begun := true; begun || len(p) > 0; begun = false {
		now := time.Now()
		switch {
		case s.piece == 0:
			s.piece = firstPiece
		case now.Sub(s.moved) >= s.limit/movesPerLimit:
			if http.NewResponseController(to).SetWriteDeadline(now.Add(s.limit)) != nil {
				s.limit = 0 // a writer without deadlines
				n, err := to.Write(p)
				return sum + n, err
			}
			s.moved = now
		}
		n, err := to.Write(p[:min(len(p), s.piece)])
		sum += n
		if err != nil {
			return sum, err
		}
		p = p[n:]
		switch took := time.Since(now); {
		case took > s.limit/slowPart:
			s.piece, s.quick = slowPiece, 0
		case took > s.limit/quickPart:
			s.quick = 0
		default:
			if s.quick++; s.quick == quickPieces {
				s.piece = quickPiece
			}
		}
	}
	return sum, nil
}
